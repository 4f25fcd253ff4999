"""What doors are promised of an image set of many slices, whichever store keeps it, and however little a change holds.

Subclass it, say what the store does not do, and provide the `long` fixture: an image set of `SLICES` files of one
series, closed. Each test leaves it changed and asks for no version by its number.
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from radloop.codec.htj2k import decode
from radloop.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from radloop.core.identity import OWNER
from radloop.core.images import ImageSet
from radloop.core.ports import Blobs, Change, Clock, Keys, Records
from radloop.core.tables import FRAME_FACTS, METADATA, STUDIES, TABLES
from radloop.dicom.parse import parse
from radloop.store.copies import Copies
from radloop.store.images import ImageStore
from radloop.store.metadata import Metadata
from radloop.store.revisions import Revisions

SLICES = 110
"""More than the 99 items of a change of DynamoDB, of which a slice's record is five."""


class Killed(BaseException):
    """The process ends here; nothing catches it, as nothing catches the end of a process."""


@dataclass(frozen=True)
class Long:
    """An image set of many slices, and what doors read and change it by."""

    images: ImageStore
    blobs: Blobs
    records: Records
    keys: Keys
    clock: Clock
    identity: str
    files: tuple[bytes, ...]

    @property
    def now(self) -> ImageSet:
        return self.images.get(self.identity)

    @property
    def metadata(self) -> Metadata:
        """As a process that has just started has it."""
        return Metadata(self.blobs, self.records, self.keys, self.images)

    @property
    def revisions(self) -> Revisions:
        return Revisions(self.blobs, self.records, self.clock, self.images)

    @property
    def copies(self) -> Copies:
        return Copies(self.blobs, self.records, self.keys, self.clock, self.images)

    def document(self, version: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(gzip.decompress(self.metadata.document(self.now, version)))
        return found

    def instances(self, version: int | None = None) -> dict[str, Any]:
        """What the metadata document tells of every instance."""
        (series,) = self.document(version)["Study"]["Series"].values()
        told: dict[str, Any] = series["Instances"]
        return told

    def update(self, *, removing: dict[str, Any] | None = None, force: bool = False, **levels: Any) -> ImageSet:
        return self.revisions.update(
            self.identity,
            updating=_as_bytes(levels) if levels else None,
            removing=None if removing is None else _as_bytes(removing),
            expected=self.now.version,
            by=OWNER,
            force=force,
        )

    def rename(self, name: str) -> ImageSet:
        return self.update(Patient={"DICOM": {"PatientName": name}})

    def of_instances(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"Study": {"Series": {self.now.series_uid: {"Instances": told}}}}

    def written(self) -> list[tuple[str, str, int]]:
        """Revisions of all records but those of what was only worked out."""
        kept = [table for table in TABLES if table not in {FRAME_FACTS, METADATA}]
        return [(table.name, row.key, row.revision) for table in kept for row in self.records.find(table)]


def _as_bytes(levels: dict[str, Any]) -> bytes:
    return json.dumps({"SchemaVersion": "1.1", **levels}).encode()


class LongImageSetContract:
    """See the head of this file."""

    copies = True
    is_bounded = False
    """Whether a change holds less than all instances' records."""

    def test_its_metadata_is_whole_and_proves_its_frames(self, long: Long) -> None:
        told = long.instances()
        assert sorted(told) == sorted(parse(data).sop_uid for data in long.files)
        assert {len(each["ImageFrames"]) for each in told.values()} == {1}
        for one in (told[min(told)], told[max(told)]):
            (frame,) = one["ImageFrames"]
            pixels = decode(long.metadata.frame(long.now, frame["ID"]).data)
            assert (
                zlib.crc32(np.ascontiguousarray(pixels).tobytes())
                == (frame["PixelDataChecksumFromBaseToFullResolution"][-1]["Checksum"])
            )
            assert (frame["MinPixelValue"], frame["MaxPixelValue"]) == (pixels.min(), pixels.max())

    def test_killed_while_its_metadata_is_made_it_comes_out_the_same(
        self, long: Long, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, kills = long.rename("Before^The Kill"), 0
        for turn in range(1, 40):
            before = long.written()
            try:
                with monkeypatch.context() as patch:
                    kill_at(patch, long.records, turn)
                    first = long.metadata.document(whole)
            except Killed:
                kills += 1
                assert long.written()[: len(before)] == before
                continue
            break
        assert kills
        assert long.metadata.document(whole) == first
        assert json.loads(gzip.decompress(first))["Patient"]["DICOM"]["PatientName"] == "Before^The Kill"

    def test_a_change_of_the_patient_shows_everywhere_at_once_and_goes_back(self, long: Long) -> None:
        before = long.now
        former = long.document()
        after = long.rename("Changed^Name")
        assert after.version == before.version + 1
        names = {one.attributes["PatientName"] for one in long.images.instances(long.identity)}
        assert names == {"Changed^Name"}
        assert long.document()["Patient"]["DICOM"]["PatientName"] == "Changed^Name"
        (study,) = long.records.find(STUDIES)
        assert study.document["attributes"]["PatientName"] == "Changed^Name"
        assert long.images.export(long.images.instances(long.identity)[0]) in long.files
        back = long.revisions.revert(long.identity, to=before.version, expected=after.version, by=OWNER)
        assert back.attributes["PatientName"] == before.attributes["PatientName"]
        assert {one.attributes["PatientName"] for one in long.images.instances(long.identity)} == {
            before.attributes["PatientName"]
        }
        assert long.document() == former
        with pytest.raises(Conflict):
            long.revisions.revert(long.identity, to=before.version, expected=after.version, by=OWNER)

    @pytest.mark.parametrize("is_after", [False, True])
    def test_killed_at_a_change_all_of_it_or_none_is_seen(
        self, long: Long, monkeypatch: pytest.MonkeyPatch, is_after: bool
    ) -> None:
        before, name = long.now, f"Killed^{is_after}"
        with monkeypatch.context() as patch:
            kill_at(patch, long.records, 1, is_after=is_after)
            with pytest.raises(Killed):
                long.rename(name)
        now = long.now
        assert now.version == before.version + is_after
        names = {one.attributes["PatientName"] for one in long.images.instances(long.identity)}
        assert names == {now.attributes["PatientName"]}
        assert (now.attributes["PatientName"] == name) is is_after
        assert long.document()["Patient"]["DICOM"]["PatientName"] == now.attributes["PatientName"]

    def test_one_instance_is_changed_and_another_taken_out(self, long: Long) -> None:
        first, second, *_ = (one.sop_uid for one in long.images.instances(long.identity))
        before = long.now
        long.update(**long.of_instances({first: {"DICOM": {"ImageComments": "looked at"}}}))
        after = long.update(removing=long.of_instances({second: {}}))
        told = long.instances()
        assert after.instances == before.instances - 1 == len(told)
        assert second not in told
        assert [name for name, each in told.items() if "ImageComments" in each["DICOM"]] == [first]
        back = long.revisions.revert(long.identity, to=before.version, expected=after.version, by=OWNER)
        assert back.instances == before.instances
        assert not any("ImageComments" in each["DICOM"] for each in long.instances().values())

    def test_an_instance_under_the_uid_of_one_taken_out_keeps_its_own_pixels(self, long: Long) -> None:
        before, (gone, *_, heir) = long.now, long.images.instances(long.identity)
        pixels = [decode(long.images.frame_at(one, 0)).tobytes() for one in (gone, heir)]
        assert pixels[0] != pixels[1]
        long.update(removing=long.of_instances({gone.sop_uid: {}}))
        named = {heir.sop_uid: {"DICOM": {"SOPInstanceUID": gone.sop_uid}}}
        after = long.update(force=True, **long.of_instances(named))
        (now,) = (one for one in long.images.instances(long.identity) if one.sop_uid == gone.sop_uid)
        assert now.id == heir.id
        assert decode(long.images.frame_at(now, 0)).tobytes() == pixels[1]
        (frame,) = long.instances()[gone.sop_uid]["ImageFrames"]
        assert frame["PixelDataChecksumFromBaseToFullResolution"][-1]["Checksum"] == zlib.crc32(pixels[1])
        long.revisions.revert(long.identity, to=before.version, expected=after.version, by=OWNER)
        assert [one.sop_uid for one in long.images.instances(long.identity)][-1] == heir.sop_uid

    def test_own_changes_of_every_instance_are_made_together_or_not_at_all(self, long: Long) -> None:
        before, written = long.now, long.written()
        uids = [one.sop_uid for one in long.images.instances(long.identity)]
        told = long.of_instances({uid: {"DICOM": {"ImageComments": "all"}} for uid in uids})
        if self.is_bounded:
            with pytest.raises(TooLarge):
                long.update(**told)
            assert long.written() == written
            return
        after = long.update(**told)
        assert {each["DICOM"]["ImageComments"] for each in long.instances().values()} == {"all"}
        long.revisions.revert(long.identity, to=before.version, expected=after.version, by=OWNER)

    def test_a_copy_is_whole_or_refused_without_a_trace(self, long: Long) -> None:
        before, blobs = long.written(), sorted(long.blobs.keys(""))
        if not self.copies:
            for promote in (False, True):
                with pytest.raises((InvalidInput, Conflict)):
                    long.copies.copy(long.identity, expected=long.now.version, promote=promote, by=OWNER)
            assert long.written() == before
            assert sorted(long.blobs.keys("")) == blobs
            return
        copy = long.copies.copy(long.identity, expected=long.now.version, by=OWNER)
        ours, theirs = (long.images.instances(each) for each in (long.identity, copy.id))
        assert [one.digest for one in theirs] == [one.digest for one in ours]
        assert {long.images.export(one) for one in theirs} == {long.images.export(one) for one in ours}
        long.revisions.delete(copy.id, by=OWNER)
        with pytest.raises(NotFound):
            long.images.get(copy.id)


def kill_at(patch: pytest.MonkeyPatch, records: Records, turn: int, *, is_after: bool = False) -> None:
    """Let the process end at the nth change from now on, before or after it is made."""
    commit, turns = records.commit, iter(range(1, turn + 1))

    def watched(change: Change) -> None:
        is_now = next(turns) == turn
        if is_now and not is_after:
            raise Killed
        commit(change)
        if is_now:
            raise Killed

    patch.setattr(records, "commit", watched)
