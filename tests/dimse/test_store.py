"""C-STORE by pynetdicom: what is sent is what is kept, and the status tells what became of it."""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from radloop.core.errors import Denied, Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.core.platform import Platform
from radloop.core.ports import Landing, Upload
from radloop.core.tables import IMAGE_SETS, INSTANCES, QUARANTINE
from radloop.dicom.elements import read_part10
from radloop.dicom.header import data_set_start, file_header
from radloop.dicom.parse import parse
from radloop.dicom.values import text
from radloop.dimse.store import Intake
from tests.dimse.door import (
    CT,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    Door,
    associated,
    data_set_of,
    open_door,
    send,
    send_raw,
)
from tests.store.house import phantom

PRIVATE = "1.3.46.670589.5.0.11"


def test_an_echo_is_answered(door: Door) -> None:
    with associated(door.port, (VERIFICATION, [IMPLICIT])) as association:
        assert association.send_c_echo().Status == 0x0000


def test_the_data_set_is_kept_byte_for_byte_under_a_header_of_ours(door: Door) -> None:
    file = phantom()[0]
    with associated(door.port, (CT, [EXPLICIT]), title="CT-ROOM 2") as association:
        assert send(association, file).Status == 0x0000
    (kept,) = door.exported().values()
    assert data_set_of(kept) == data_set_of(file)
    part = read_part10(kept)
    assert part.transfer_syntax == EXPLICIT
    assert text(part, part.meta, 0x00020016) == "CT-ROOM 2"
    assert text(part, part.meta, 0x00020003) == parse(file).sop_uid
    assert door.audited("associate") == 1


def test_a_whole_series_becomes_one_image_set(door: Door) -> None:
    with associated(door.port, (CT, [EXPLICIT])) as association:
        assert [send(association, file).Status for file in phantom()] == [0, 0, 0, 0]
    assert door.installation.platform.records.count(IMAGE_SETS) == 1
    assert sorted(map(data_set_of, door.exported().values())) == sorted(map(data_set_of, phantom()))


def test_the_same_instance_again_is_a_success_and_stays_one(door: Door) -> None:
    for _ in range(2):
        with associated(door.port, (CT, [EXPLICIT])) as association:
            assert send(association, phantom()[0]).Status == 0x0000
    assert door.installation.platform.records.count(INSTANCES) == 1


@pytest.mark.parametrize("folded", [False, True])
def test_the_same_data_set_from_a_file_or_another_peer_is_known_too(door: Door, folded: bool) -> None:
    images = door.installation.images
    images.land([Upload(file) for file in phantom()], by=OWNER)
    if folded:
        (name,) = images.complete_quiet(-1, by=OWNER)
        images.fold(name)
    for title in ("CT", "PACS"):
        with associated(door.port, (CT, [EXPLICIT]), title=title) as association:
            assert [send(association, file).Status for file in phantom()] == [0, 0, 0, 0]
    assert door.exported() == {parse(file).sop_uid: file for file in phantom()}
    assert door.installation.platform.records.count(INSTANCES) == 4


def test_other_bytes_under_the_same_uid_are_a_newer_version_and_the_older_ones_stay(door: Door) -> None:
    first = phantom()[0]
    second = first.replace(b"PHANTOM-00001", b"PHANTOM-00001")[:-2] + b"\x11\x01"
    with associated(door.port, (CT, [EXPLICIT])) as association:
        assert send(association, first).Status == 0x0000
        assert send(association, second).Status == 0x0000
    (kept,) = door.exported().values()
    assert data_set_of(kept) == data_set_of(second)
    assert door.installation.platform.records.count(INSTANCES) == 2


@pytest.mark.parametrize(
    ("data_set", "status"),
    [
        (b"this is no data set at all, not even from afar", 0xC000),
        (data_set_of(phantom()[0])[:-100], 0xC000),
        (struct.pack("<HH2sH", 0x0008, 0x0016, b"UI", 26) + CT.encode() + b"\0", 0xA900),
    ],
    ids=["noise", "cut", "without identity"],
)
def test_what_cannot_be_kept_is_refused_and_put_into_quarantine(door: Door, data_set: bytes, status: int) -> None:
    with associated(door.port, (CT, [EXPLICIT])) as association:
        response = send_raw(association, data_set, syntax=EXPLICIT, sop_class=CT, sop_uid="1.2.3")
        assert response.Status == status
        assert send(association, phantom()[0]).Status == 0x0000  # the association goes on
    (entry,) = door.installation.platform.records.find(QUARANTINE)
    assert response.ErrorComment == entry.document["code"]


def test_an_instance_that_is_another_than_the_command_says_is_kept_with_a_warning(door: Door) -> None:
    with associated(door.port, (CT, [EXPLICIT])) as association:
        assert send(association, phantom()[0], sop_uid="1.2.3.4", sop_class=CT).Status == 0xB007
    assert list(door.exported()) == [parse(phantom()[0]).sop_uid]


@dataclass(frozen=True)
class BrokenDisk:
    """A lander whose disk is full."""

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = "") -> list[Landing]:
        raise Unavailable("the disk refuses to write: ENOSPC")


def test_a_fault_of_ours_is_told_as_out_of_resources_so_that_the_sender_tries_again(tmp_path: Path) -> None:
    def broken(platform: Platform) -> Platform:
        return replace(platform, images=BrokenDisk())

    with open_door(tmp_path, platform=broken) as door, associated(door.port, (CT, [EXPLICIT])) as association:
        response = send(association, phantom()[0])
    assert (response.Status, response.ErrorComment) == (0xA700, "unavailable")


@dataclass(frozen=True)
class ReadOnly:
    """A policy under which nobody writes."""

    def allows(self, principal: Principal, action: str, patient_id: str | None = None) -> bool:
        return action != "image.write"

    def demand(self, principal: Principal, action: str, patient_id: str | None = None) -> None:
        if not self.allows(principal, action):
            raise Denied("this principal may not write")


def test_a_peer_that_may_not_write_is_told_so(tmp_path: Path) -> None:
    def read_only(platform: Platform) -> Platform:
        return replace(platform, policy=ReadOnly())

    with open_door(tmp_path, platform=read_only) as door, associated(door.port, (CT, [EXPLICIT])) as association:
        assert send(association, phantom()[0]).Status == 0x0124
        assert door.exported() == {}


def test_one_fault_in_a_batch_does_not_touch_the_others(tmp_path: Path) -> None:
    @dataclass
    class Choosy:
        landed: int = 0

        def land(self, uploads: list[Upload], *, by: Principal, datastore: str = "") -> list[Landing]:
            if any(upload.data == b"bad" for upload in uploads):
                raise ZeroDivisionError
            self.landed += len(uploads)
            return [Landing("ingested") for _ in uploads]

    with open_door(tmp_path) as door:
        intake = Intake(replace(door.installation.platform, images=Choosy()))
        principal = Principal("ae:X", frozenset())
        assert intake.land(b"good", principal).outcome == "ingested"
        with pytest.raises(ZeroDivisionError):
            intake.land(b"bad", principal)
        assert intake.land(b"good", principal).outcome == "ingested"
        intake.close()
        with pytest.raises(Unavailable):
            intake.land(b"late", principal)


def test_an_unknown_class_is_kept_like_any_other(door: Door) -> None:
    file = phantom()[0].replace(CT.encode() + b"\0", PRIVATE.encode() + b"\0" * (26 - len(PRIVATE)))
    with associated(door.port, (PRIVATE, [EXPLICIT])) as association:
        assert send(association, file, sop_uid=parse(file).sop_uid, sop_class=PRIVATE).Status == 0x0000
    assert len(door.exported()) == 1


def test_of_several_syntaxes_in_one_context_the_one_every_sender_can_write_is_taken(door: Door) -> None:
    jpeg, j2k = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
    offers: Mapping[tuple[str, ...], str] = {
        (jpeg, IMPLICIT, EXPLICIT): EXPLICIT,
        (jpeg, IMPLICIT): IMPLICIT,
        (jpeg, j2k): j2k,
        (jpeg,): jpeg,
        ("1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.202"): "1.2.840.10008.1.2.4.202",
        ("1.2.840.10008.1.2.4.110",): "1.2.840.10008.1.2.4.110",
    }
    with associated(door.port, *((CT, list(offer)) for offer in offers)) as association:
        chosen = [str(context.transfer_syntax[0]) for context in association.accepted_contexts]
    assert chosen == list(offers.values())


def test_other_services_and_unknown_syntaxes_are_declined_one_by_one(door: Door) -> None:
    print_class, made_up = "1.2.840.10008.5.1.1.9", "1.2.3.4.5"
    with associated(door.port, (VERIFICATION, [IMPLICIT]), (print_class, [IMPLICIT]), (CT, [made_up])) as association:
        assert [context.abstract_syntax for context in association.accepted_contexts] == [VERIFICATION]
        assert [context.result for context in association.rejected_contexts] == [3, 4]


def test_a_header_is_read_back_as_it_was_written() -> None:
    header = file_header(sop_class=CT, sop_uid="1.2.3", transfer_syntax=IMPLICIT, source="A")
    assert data_set_start(header) == (IMPLICIT, len(header))
    assert struct.unpack("<L", header[140:144])[0] == len(header) - 144


@pytest.mark.data
def test_every_transfer_syntax_is_kept_as_it_is_sent(tmp_path: Path) -> None:
    folder = Path(os.environ.get("RADLOOP_TEST_DATA", "")) / "transfer-syntaxes"
    if not os.environ.get("RADLOOP_TEST_DATA") or not folder.is_dir():
        pytest.skip("RADLOOP_TEST_DATA names no folder with transfer-syntaxes")
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            try:
                instance = parse(data)
            except Exception:  # noqa: BLE001 — the folder holds broken ones, too
                continue
            files.setdefault(instance.sop_uid, (instance, data))
    assert len({instance.transfer_syntax for instance, _ in files.values()}) > 5
    with open_door(tmp_path) as door:
        for instance, data in files.values():
            with associated(door.port, (instance.sop_class, [instance.transfer_syntax])) as association:
                assert send(association, data).Status == 0x0000, instance.transfer_syntax
        kept = door.exported()
    assert {uid: data_set_of(data) for uid, data in kept.items()} == {
        uid: data_set_of(data) for uid, (_, data) in files.items()
    }
