"""Changes of image sets after they arrived: attributes updated or put back, instances taken out, whole sets deleted.

Every change is one commit and makes one version. The files stay as they came: an update lies over them as an edit, an
instance taken out is only no longer shown, and going back to a version shows it again. Only deleting is for good: the
records go, the data key with them, and then the sealed bytes.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from radloop.core.errors import Conflict, InvalidInput, NotFound
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.core.ports import AuditEntry, Blobs, Change, Clock, Job, Put, Records, Term
from radloop.core.tables import (
    IMAGE_SETS,
    INSTANCES,
    PACKS,
    SERIES,
    TOMBSTONES,
    image_set_of,
    put_image_set,
    study_key,
)
from radloop.dicom.make import RESULTS, result_series
from radloop.dicom.parse import parse
from radloop.store.arranging import arranged
from radloop.store.changing import Changing, Held, Write, claim, folding, require_in_scope
from radloop.store.edits import Edits, edited_instance, edited_set, may_be_written, write_edits
from radloop.store.erasing import HANGING, first_to_go, hanging
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance, instance_of, put_instance
from radloop.store.landing import primary_key, series_key
from radloop.store.layers import discard
from radloop.store.learning import discard_copies
from radloop.store.moves import Move, Moves
from radloop.store.packs import pack_key
from radloop.store.updates import by_instance, read_update
from radloop.store.versions import UPDATED, put_version, version_of, versions_of

TAKEN_OUT = "taken-out"
"""Stands where a successor's id would: the instance is kept and not shown."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is still told of a deleted image set; nothing of it is a patient's."""

    id: str
    datastore: str
    version: int
    is_primary: bool
    created_at: datetime
    deleted_at: datetime


class Revisions:
    """Changes of the image sets of one installation."""

    def __init__(self, blobs: Blobs, records: Records, clock: Clock, images: ImageStore) -> None:
        self._blobs = blobs
        self._records = records
        self._clock = clock
        self._images = images
        self._changing = Changing(records, clock, images)
        self._moves = Moves(records, images.studies, clock)

    def update(
        self,
        identity: str,
        *,
        updating: bytes | None,
        removing: bytes | None,
        expected: int,
        by: Principal,
        force: bool = False,
        whole_study: bool = False,
    ) -> ImageSet:
        """Change attributes of an image set, or take instances out of it; returns its next version.

        Args:
            identity: Of the image set.
            updating: Metadata document of the attributes to set.
            removing: Metadata document of the attributes and instances to take away.
            expected: The version that must be the present one.
            by: Who asks.
            force: Identifiers and private attributes may be changed.
            whole_study: Changes of patient and study go to every primary image set of the study.

        Raises:
            NotFound: There is no such image set.
            InvalidInput: A document is not of its shape, or asks for what cannot be changed.
            Denied: It would become an image set of a patient out of the caller's scope.
            Conflict: The image set is at another version or still arriving, or another holds the identifiers it would
                get.
        """

        def attempt() -> ImageSet:
            return self._update(
                identity, updating, removing, expected=expected, by=by, force=force, whole_study=whole_study
            )

        return self._changing.retried(attempt)

    def _update(
        self,
        identity: str,
        updating: bytes | None,
        removing: bytes | None,
        *,
        expected: int,
        by: Principal,
        force: bool,
        whole_study: bool,
    ) -> ImageSet:
        held = self._changing.held(identity, expected)
        asked = read_update(updating, removing, series_uid=held.image_set.series_uid, force=force)
        later, gone = by_instance(asked, held.instances)
        after, writes, jobs = self._updated(held, later, gone, force=force)
        require_in_scope(after, by)
        moves: list[Move] = [(held.image_set, after)]
        if whole_study:
            shared = Edits({level: later.of(level) for level in ("Patient", "Study")})
            for other in map(self._changing.held, self._others(held.image_set) if shared else ()):
                changed, more, more_jobs = self._updated(other, shared, frozenset(), force=force)
                writes, jobs = [*writes, *more], [*jobs, *more_jobs]
                moves.append((other.image_set, changed))
        writes += self._moves.writes(moves)
        self._changing.commit(Change(writes, jobs=jobs, audit=[AuditEntry(by.id, "update", identity)]))
        return after

    def revert(self, identity: str, *, to: int, expected: int, by: Principal) -> ImageSet:
        """Show again what version `to` held, as the next version.

        Raises:
            NotFound: There is no such image set.
            InvalidInput: There is no such version.
            Denied: It would become an image set of a patient out of the caller's scope.
            Conflict: The image set is at another version or still arriving.
        """
        return self._changing.retried(lambda: self._revert(identity, to, expected, by))

    def _revert(self, identity: str, to: int, expected: int, by: Principal) -> ImageSet:
        held = self._changing.held(identity, expected)
        try:
            target = version_of(self._records, held.image_set, to)
        except NotFound:
            raise InvalidInput(f"there is no version {to} to revert to") from None
        stored = {row.key: instance_of(row) for row in self._records.find(INSTANCES, {"image_set": identity})}
        known = self._as_they_came(held.image_set, stored.values())
        shown = [edited_instance(replace(known[name], superseded_by=None), target.edits) for name in target.instances]
        kept = [
            edited_instance(replace(known[name], superseded_by=None), target.edits.own) for name in target.instances
        ]
        there = set(target.instances)
        kept += [
            replace(one, superseded_by=one.superseded_by or TAKEN_OUT)
            for name, one in known.items()
            if name not in there
        ]
        first = self._changing.received(known[target.instances[0]]) if target.instances else None
        base = held.image_set if first is None else self._as_received(held.image_set, first)
        after = self._changing.following(edited_set(base, target.edits), shown, held.image_set)
        require_in_scope(after, by)
        _, order = arranged(shown)
        writes: list[Write] = [
            put_image_set(after, expected=held.row.revision),
            *(put_instance(one, expected=None) for one in kept if one != stored[one.id]),
            put_version(after, order, cause=UPDATED, edits=target.edits, at=after.updated_at),
            write_edits(identity, target.edits),
            *self._claims(held.image_set, after),
            *self._moves.writes([(held.image_set, after)]),
        ]
        audit = AuditEntry(by.id, "revert", identity)
        self._changing.commit(Change(writes, jobs=folding(after), audit=[audit]))
        return after

    def delete(self, identity: str, *, by: Principal) -> Tombstone:
        """Delete an image set for good: its records, its data key, its bytes, and the results that we wrote of it.

        `store.erasing` tells what goes and what stays. Copies of pixels that are not sealed go first, so that a crash
        in between leaves sealed bytes that nothing opens any more, which the next start removes. A store whose changes
        are too small for that takes the image set away here, and has a job delete the rest.

        Raises:
            NotFound: There is no such image set.
            Unavailable: It kept changing.
        """
        for name in self._results_of(identity):
            with suppress(NotFound):  # somebody else was faster
                self._changing.retried(partial(self._delete, name, by))
        return self._changing.retried(lambda: self._delete(identity, by))

    def _results_of(self, identity: str) -> list[str]:
        """The image sets that hold what was written of this one as DICOM: reports and pictures."""
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        where = {"datastore": row.columns["datastore"]}
        series = [result_series(kind, identity) for kind in RESULTS]
        return [found.key for uid in series for found in self._records.find(IMAGE_SETS, {**where, "series_uid": uid})]

    def _delete(self, identity: str, by: Principal) -> Tombstone:
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        image_set, now = image_set_of(row), self._clock()
        grave = Tombstone(
            identity, image_set.datastore, image_set.version, image_set.is_primary, image_set.created_at, now
        )
        jobs = self._images.erased_by(identity)
        gone = [each for table in (() if jobs else HANGING) for each in hanging(self._records, table, identity)]
        if not jobs:
            discard_copies(self._blobs, self._records, identity)
            discard(self._blobs, identity)
        writes: list[Write] = [
            put_image_set(image_set, expected=row.revision),  # nothing may have landed meanwhile
            *first_to_go(image_set),
            *gone,
            *self._moves.writes([(image_set, None)]),
            _put_tombstone(grave),
        ]
        self._changing.commit(Change(writes, jobs=jobs, audit=[AuditEntry(by.id, "delete", identity)]))
        if not jobs:
            for each in gone:
                if each.table is PACKS:
                    self._blobs.delete(pack_key(identity, each.key.partition("/")[2]))
            discard(self._blobs, identity)  # what was laid down meanwhile
        return grave

    def tombstone(self, identity: str) -> Tombstone | None:
        """What is told of a deleted image set; None where there never was one."""
        row = self._records.get(TOMBSTONES, identity)
        if row is None:
            return None
        document = dict(row.document)
        for name in ("created_at", "deleted_at"):
            document[name] = datetime.fromisoformat(document[name])
        return Tombstone(**document)

    # updating

    def _updated(
        self, held: Held, later: Edits, gone: frozenset[str], *, force: bool
    ) -> tuple[ImageSet, list[Write], list[Job]]:
        """The next version with edits over it and without the instances `gone`, and what writes it."""
        edits = held.edits.then(later)
        shown = [edited_instance(one, later) for one in held.instances if one.id not in gone]
        if len({one.sop_uid for one in shown}) < len(shown):
            raise Conflict("two instances of the image set would have the same SOPInstanceUID")
        if not shown:
            raise InvalidInput("an image set cannot be without instances; delete it instead")
        after = self._changing.following(
            edited_set(held.image_set, later), shown, held.image_set, is_changed=bool(gone)
        )
        _, order = arranged(shown)
        before = {one.id: one for one in held.instances}
        hidden = [replace(before[name], superseded_by=TAKEN_OUT) for name in gone]
        writes: list[Write] = [
            put_image_set(after, expected=held.row.revision),
            *(put_instance(one, expected=None) for one in shown if later.of(one.id)),
            *(put_instance(one, expected=None) for one in hidden),
            put_version(after, order, cause=UPDATED, edits=edits, at=after.updated_at, forced=force),
            write_edits(after.id, edits),
            *self._claims(held.image_set, after),
        ]
        return after, writes, folding(after)

    def _claims(self, before: ImageSet, after: ImageSet) -> list[Write]:
        """Under which names later instances find the image set.

        Raises:
            Conflict: Another is the primary one of the series it would become.
        """
        writes: list[Write] = []
        alias = series_key(after.datastore, after.patient_id, after.study_uid, after.series_uid)
        if self._records.get(SERIES, alias) is None:
            writes.append(claim(alias, after.id, expected=0))
        if after.is_primary and (before.study_uid, before.series_uid) != (after.study_uid, after.series_uid):
            primary = primary_key(after.datastore, after.study_uid, after.series_uid)
            row = self._records.get(SERIES, primary)
            if row is not None and row.document["image_set"] != after.id:
                raise Conflict("another image set is the primary one of that series")
            writes.append(claim(primary, after.id, expected=0 if row is None else row.revision))
        return writes

    def _others(self, image_set: ImageSet) -> list[str]:
        """The other primary image sets of its study."""
        key = study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)
        terms = [
            Term("study_uid", "is", (image_set.study_uid,)),
            Term("study", "is", (key,)),
            Term("is_primary", "is", (1,)),
        ]
        return [row.key for row in self._records.search(IMAGE_SETS, terms) if row.key != image_set.id]

    # going back

    def _as_they_came(self, image_set: ImageSet, stored: Iterable[StoredInstance]) -> dict[str, StoredInstance]:
        """Instances with the attributes that their files have; files are read only where a record may tell others."""
        edits = [version.edits for version in versions_of(self._records, image_set)]
        edited = [each for each in edits if each]

        def came(one: StoredInstance) -> StoredInstance:
            is_edited = one.received_uid is not None or any(
                may_be_written(each.of_instance(one.id), one) for each in edited
            )
            return self._changing.received(one) if is_edited else one

        return {one.id: came(one) for one in stored}

    def _as_received(self, image_set: ImageSet, first: StoredInstance) -> ImageSet:
        parsed = parse(self._images.header(first))
        return replace(
            image_set,
            attributes=parsed.attributes,
            patient_id=str(parsed.attributes.get("PatientID") or ""),
            study_uid=parsed.study_uid,
            series_uid=parsed.series_uid,
        )


def _put_tombstone(grave: Tombstone) -> Put:
    document: Mapping[str, Any] = {
        "id": grave.id,
        "datastore": grave.datastore,
        "version": grave.version,
        "is_primary": grave.is_primary,
        "created_at": grave.created_at.isoformat(),
        "deleted_at": grave.deleted_at.isoformat(),
    }
    return Put(TOMBSTONES, grave.id, document, {"datastore": grave.datastore})
