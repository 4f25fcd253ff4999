"""Changes of image sets after they arrived: attributes updated or put back, instances copied, whole sets deleted.

Every change is one commit and makes one version. The files stay as they came: an update lies over them as an edit, an
instance taken out is only no longer shown, and going back to a version shows it again. Only deleting is for good: the
records go, the data key with them, and then the sealed bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from radloop.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from radloop.core.events import Event
from radloop.core.identity import Principal, new_id
from radloop.core.images import ImageSet, Notice, State, Storage
from radloop.core.ports import (
    Adjust,
    AuditEntry,
    Blobs,
    Change,
    Cipher,
    Clock,
    Delete,
    Job,
    Keys,
    Put,
    Records,
    Row,
    Term,
)
from radloop.core.tables import (
    EDITS,
    FRAME_FACTS,
    IMAGE_SETS,
    INSTANCES,
    METADATA,
    PACKS,
    SERIES,
    STUDIES,
    TAGS,
    TOMBSTONES,
    VERSIONS,
    image_set_of,
    put_image_set,
    study_key,
)
from radloop.dicom.levels import level_of
from radloop.dicom.parse import parse
from radloop.dicom.plain import Plain, plain_values
from radloop.store.datastores import resource_of
from radloop.store.edits import LEVELS, Edit, Edits, edited_instance, edited_set, read_edits, write_edits
from radloop.store.images import ImageStore, arranged, facts_of
from radloop.store.instances import StoredFrame, StoredInstance, instance_of, put_instance
from radloop.store.landing import instance_id, primary_key, series_key
from radloop.store.packs import PackWriter, Ref, new_pack, pack_key, put_pack, read_record
from radloop.store.studies import ATTRIBUTES, columns_of
from radloop.store.updates import by_instance, read_copies, read_update
from radloop.store.versions import COPIED, UPDATED, put_version, version_of

TAKEN_OUT = "taken-out"
"""Stands where a successor's id would: the instance is kept and not shown."""

MOST_COPIED_FRAMES = 5000

_TRIES = 20
_T = TypeVar("_T")
_Write = Put | Adjust | Delete
_CHANGED = Notice("changed-since-verified", "Instances came or went after the image set was verified")


class _Moved(Conflict):
    """A record changed between reading and writing, by folding perhaps: look again."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is still told of a deleted image set; nothing of it is a patient's."""

    id: str
    datastore: str
    version: int
    is_primary: bool
    created_at: datetime
    deleted_at: datetime


@dataclass(frozen=True, slots=True)
class _Held:
    """An image set as a change finds it: its record, its shown instances, and what lies over them."""

    row: Row
    image_set: ImageSet
    instances: tuple[StoredInstance, ...]
    edits: Edits


class Revisions:
    """Changes of the image sets of one installation."""

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock, images: ImageStore) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._images = images

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
            Conflict: The image set is at another version or still arriving, or another holds the identifiers it would
                get.
        """

        def attempt() -> ImageSet:
            return self._update(
                identity, updating, removing, expected=expected, by=by, force=force, whole_study=whole_study
            )

        return self._retried(attempt)

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
        held = self._held(identity, expected)
        asked = read_update(updating, removing, series_uid=held.image_set.series_uid, force=force)
        later, gone = by_instance(asked, held.instances)
        after, writes, jobs = self._updated(held, later, gone, force=force)
        if whole_study:
            shared = Edits({level: later.of(level) for level in ("Patient", "Study")})
            for other in self._others(held.image_set) if shared else ():
                _, more, more_jobs = self._updated(self._held(other), shared, frozenset(), force=force)
                writes, jobs = [*writes, *more], [*jobs, *more_jobs]
        self._commit(Change(writes, jobs=jobs, audit=[AuditEntry(by.id, "update", identity)]))
        return after

    def revert(self, identity: str, *, to: int, expected: int, by: Principal) -> ImageSet:
        """Show again what version `to` held, as the next version.

        Raises:
            NotFound: There is no such image set.
            InvalidInput: There is no such version.
            Conflict: The image set is at another version or still arriving.
        """
        return self._retried(lambda: self._revert(identity, to, expected, by))

    def _revert(self, identity: str, to: int, expected: int, by: Principal) -> ImageSet:
        held = self._held(identity, expected)
        try:
            target = version_of(self._records, held.image_set, to)
        except NotFound:
            raise InvalidInput(f"there is no version {to} to revert to") from None
        rows = self._records.find(INSTANCES, {"image_set": identity})
        known = {row.key: self._received(instance_of(row)) for row in rows}
        shown = [edited_instance(replace(known[name], superseded_by=None), target.edits) for name in target.instances]
        hidden = [
            replace(one, superseded_by=one.superseded_by or TAKEN_OUT)
            for name, one in known.items()
            if name not in target.instances
        ]
        first = self._received(known[target.instances[0]]) if target.instances else None
        base = held.image_set if first is None else self._as_received(held.image_set, first)
        after = self._next(edited_set(base, target.edits), shown, held.image_set)
        _, order = arranged(shown)
        writes: list[_Write] = [
            put_image_set(after, expected=held.row.revision),
            *(put_instance(one, expected=None) for one in (*shown, *hidden)),
            put_version(after, order, cause=UPDATED, edits=target.edits, at=after.updated_at),
            write_edits(identity, target.edits),
            *self._moved(held.image_set, after),
        ]
        audit = AuditEntry(by.id, "revert", identity)
        self._commit(Change(writes, jobs=_folding(after), audit=[audit]))
        return after

    def copy(
        self,
        identity: str,
        *,
        expected: int,
        by: Principal,
        copies: str | None = None,
        into: tuple[str, int] | None = None,
        promote: bool = False,
        force: bool = False,
    ) -> ImageSet:
        """Copy instances of an image set into a new one, or into another; returns that one.

        The bytes are sealed anew under the other's data key; the source stays as it is.

        Args:
            identity: Of the source.
            expected: The version of it that must be the present one.
            by: Who asks.
            copies: Metadata document that names the instances; all of them without it.
            into: Id and present version of the image set to copy into.
            promote: Make the copy the primary image set of its series; where there is one, copy into that.
            force: Copy even where patient, study or series differ; the copies are then told as of the destination's.

        Raises:
            NotFound: There is no such image set.
            InvalidInput: `copies` is not of its shape, or too much is asked for.
            Conflict: A version is another, patient, study or series differ, an instance is there already, or the
                source cannot be promoted.
        """

        def attempt() -> ImageSet:
            source = self._held(identity, expected)
            chosen = self._chosen(source, copies)
            target = self._target(source.image_set, into, promote=promote)
            if target is not None:
                return self._copied_into(source, chosen, target, force=force, by=by)
            return self._copied_anew(source, chosen, is_primary=promote, by=by)

        return self._retried(attempt)

    def delete(self, identity: str, *, by: Principal) -> Tombstone:
        """Delete an image set for good: its records, its data key, its bytes.

        A crash in between leaves sealed bytes that nothing opens any more, and the next start removes them.

        Raises:
            NotFound: There is no such image set.
            Unavailable: It kept changing.
        """
        return self._retried(lambda: self._delete(identity, by))

    def _delete(self, identity: str, by: Principal) -> Tombstone:
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        image_set, now = image_set_of(row), self._clock()
        grave = Tombstone(
            identity, image_set.datastore, image_set.version, image_set.is_primary, image_set.created_at, now
        )
        where = {"image_set": identity}
        packs = self._records.find(PACKS, where)
        tables = (INSTANCES, SERIES, VERSIONS, PACKS, FRAME_FACTS, METADATA)
        gone = [Delete(table, found.key) for table in tables for found in self._records.find(table, where)]
        writes: list[_Write] = [
            put_image_set(image_set, expected=row.revision),  # nothing may have landed meanwhile
            Delete(IMAGE_SETS, identity),
            Delete(EDITS, identity),
            Delete(TAGS, resource_of(image_set.datastore, identity)),
            *gone,
            self._without(image_set),
            _put_tombstone(grave),
        ]
        self._commit(Change(writes, audit=[AuditEntry(by.id, "delete", identity)]))
        for pack in packs:
            self._blobs.delete(pack_key(identity, pack.key.partition("/")[2]))
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

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        for _ in range(_TRIES):
            try:
                return attempt()
            except _Moved:
                continue
        raise Unavailable("the image set kept changing")

    def _commit(self, change: Change) -> None:
        try:
            self._records.commit(change)
        except Conflict as error:
            raise _Moved(str(error)) from None

    # updating

    def _held(self, identity: str, expected: int | None = None) -> _Held:
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        image_set = image_set_of(row)
        if expected is not None and image_set.version != expected:
            raise Conflict(f"image set {identity} is at version {image_set.version}, not {expected}")
        if not image_set.is_closed:
            raise Conflict(f"image set {identity} is still arriving")
        return _Held(row, image_set, tuple(self._images.instances(identity)), read_edits(self._records, identity))

    def _updated(
        self, held: _Held, later: Edits, gone: frozenset[str], *, force: bool
    ) -> tuple[ImageSet, list[_Write], list[Job]]:
        """The next version with edits over it and without the instances `gone`, and what writes it."""
        edits = held.edits.then(later)
        shown = [edited_instance(one, later) for one in held.instances if one.id not in gone]
        if len({one.sop_uid for one in shown}) < len(shown):
            raise Conflict("two instances of the image set would have the same SOPInstanceUID")
        if not shown:
            raise InvalidInput("an image set cannot be without instances; delete it instead")
        after = self._next(edited_set(held.image_set, later), shown, held.image_set, is_changed=bool(gone))
        _, order = arranged(shown)
        before = {one.id: one for one in held.instances}
        hidden = [replace(before[name], superseded_by=TAKEN_OUT) for name in gone]
        writes: list[_Write] = [
            put_image_set(after, expected=held.row.revision),
            *(put_instance(one, expected=None) for one in shown if one != before[one.id]),
            *(put_instance(one, expected=None) for one in hidden),
            put_version(after, order, cause=UPDATED, edits=edits, at=after.updated_at, forced=force),
            write_edits(after.id, edits),
            *self._moved(held.image_set, after),
        ]
        return after, writes, _folding(after)

    def _next(
        self, edited: ImageSet, shown: Sequence[StoredInstance], before: ImageSet, *, is_changed: bool = False
    ) -> ImageSet:
        """The version after `before`, with these instances."""
        geometry, _ = arranged(shown)
        notices = before.notices
        if is_changed and before.state is State.VERIFIED and _CHANGED not in notices:
            notices = (*notices, _CHANGED)
        return replace(
            edited,
            version=before.version + 1,
            instances=len(shown),
            frames=sum(one.frame_count for one in shown),
            landed=sum(one.storage is Storage.LANDED for one in shown),
            kept=sum(one.storage is Storage.KEPT for one in shown),
            geometry=facts_of(geometry),
            notices=notices,
            updated_at=self._clock(),
        )

    def _moved(self, before: ImageSet, after: ImageSet) -> list[_Write]:
        """What changes for the study, and under which names later instances find the image set."""
        writes: list[_Write] = []
        old, new = (study_key(one.datastore, one.patient_id, one.study_uid) for one in (before, after))
        if old != new:
            writes += [
                self._without(before),
                self._images.studies.grown(after, new=True, instances=after.instances),
            ]
        else:
            writes.append(self._study(new, before, after))
        alias = series_key(after.datastore, after.patient_id, after.study_uid, after.series_uid)
        if self._records.get(SERIES, alias) is None:
            writes.append(_claim(alias, after.id, expected=0))
        if after.is_primary and (before.study_uid, before.series_uid) != (after.study_uid, after.series_uid):
            claim = primary_key(after.datastore, after.study_uid, after.series_uid)
            row = self._records.get(SERIES, claim)
            if row is not None and row.document["image_set"] != after.id:
                raise Conflict("another image set is the primary one of that series")
            writes.append(_claim(claim, after.id, expected=0 if row is None else row.revision))
        return writes

    def _study(self, key: str, before: ImageSet, after: ImageSet) -> _Write:
        """The study with an image set changed in it."""
        row = self._records.get(STUDIES, key)
        if row is None:
            return self._images.studies.grown(after, new=True, instances=after.instances)
        changed = {
            name: after.attributes.get(name)
            for name in ATTRIBUTES
            if before.attributes.get(name) != after.attributes.get(name)
        }
        document = {**row.document, "attributes": {**row.document["attributes"], **changed}}
        columns = {**row.columns, **columns_of(document), "updated": after.updated_at.timestamp()}
        columns["instances"] = int(row.columns["instances"]) + after.instances - before.instances
        return Put(STUDIES, key, document, columns, expected=row.revision)

    def _without(self, image_set: ImageSet) -> _Write:
        """The study with the image set counted out; the last one takes the study with it."""
        key = study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)
        row = self._records.get(STUDIES, key)
        if row is None or int(row.columns["series"]) <= 1:
            return Delete(STUDIES, key)
        return self._images.studies.shrunk(image_set)

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

    def _received(self, instance: StoredInstance) -> StoredInstance:
        """The instance with the attributes its file has."""
        parsed = parse(self._images.header(instance))
        return replace(instance, attributes=parsed.attributes, sop_uid=parsed.sop_uid)

    def _as_received(self, image_set: ImageSet, first: StoredInstance) -> ImageSet:
        parsed = parse(self._images.header(first))
        return replace(
            image_set,
            attributes=parsed.attributes,
            patient_id=str(parsed.attributes.get("PatientID") or ""),
            study_uid=parsed.study_uid,
            series_uid=parsed.series_uid,
        )

    # copying

    def _chosen(self, source: _Held, copies: str | None) -> list[StoredInstance]:
        chosen = list(source.instances)
        if copies is not None:
            wanted = read_copies(copies, series_uid=source.image_set.series_uid)
            chosen = [one for one in chosen if one.sop_uid in wanted]
            if len(chosen) != len(wanted):
                raise InvalidInput("copiableAttributes names instances that the image set does not hold")
        if sum(one.frame_count for one in chosen) > MOST_COPIED_FRAMES:
            raise InvalidInput(f"at most {MOST_COPIED_FRAMES} frames are copied at once")
        return chosen

    def _target(self, source: ImageSet, into: tuple[str, int] | None, *, promote: bool) -> _Held | None:
        """The image set to copy into; None for a new one."""
        if promote and source.is_primary:
            raise Conflict(f"image set {source.id} is the primary one of its series already")
        if into is not None:
            if into[0] == source.id:
                raise InvalidInput("an image set is not copied into itself")
            return self._held(*into)
        if not promote:
            return None
        row = self._records.get(SERIES, primary_key(source.datastore, source.study_uid, source.series_uid))
        return None if row is None else self._held(row.document["image_set"])

    def _copied_into(
        self, source: _Held, chosen: list[StoredInstance], target: _Held, *, force: bool, by: Principal
    ) -> ImageSet:
        before = target.image_set
        there = {one.sop_uid for one in target.instances}
        if any(one.sop_uid in there for one in chosen):
            raise Conflict("an instance of the same SOPInstanceUID is in the destination already")
        aligned = {one.id: self._aligned(source, one, target) for one in chosen}
        if any(aligned.values()) and not force:
            raise Conflict("patient, study or series of source and destination differ; make them agree, or use force")
        cipher = self._keys.cipher(before.wrapped_key)
        with new_pack(self._blobs, cipher, before.id) as pack:
            copied = [self._resealed(one, source.image_set, before.id, pack) for one in chosen]
        scopes = {
            new.id: source.edits.of_instance(old.id).then(aligned[old.id])
            for old, new in zip(chosen, copied, strict=True)
        }
        edits = target.edits.then(Edits({name: edit for name, edit in scopes.items() if edit}))
        shown = [*target.instances, *(edited_instance(one, Edits({one.id: edits.of(one.id)})) for one in copied)]
        after = self._next(before, shown, before, is_changed=True)
        after = replace(
            after,
            original_bytes=before.original_bytes + sum(one.size_bytes for one in copied),
            stored_bytes=before.stored_bytes + sum(one.stored_bytes for one in copied),
        )
        writes = [
            put_image_set(after, expected=target.row.revision),
            *self._copy_writes(after, shown, copied, chosen, edits=edits, pack=pack.name, forced=force),
            self._study(study_key(after.datastore, after.patient_id, after.study_uid), before, after),
        ]
        self._commit_copy(after, writes, pack.name, source.image_set, by)
        return after

    def _copied_anew(self, source: _Held, chosen: list[StoredInstance], *, is_primary: bool, by: Principal) -> ImageSet:
        now, identity, wrapped = self._clock(), new_id(), self._keys.create()
        with new_pack(self._blobs, self._keys.cipher(wrapped), identity) as pack:
            copied = [self._resealed(one, source.image_set, identity, pack) for one in chosen]
        names = {old.id: new.id for old, new in zip(chosen, copied, strict=True)}
        edits = Edits({names.get(scope, scope): edit for scope, edit in source.edits.scopes.items()})
        edits = Edits({name: edit for name, edit in edits.scopes.items() if name in {*LEVELS, *names.values()}})
        opened = replace(
            source.image_set,
            id=identity,
            version=0,
            state=State.INGESTED,
            truth=None,
            prediction=None,
            wrapped_key=wrapped,
            is_primary=is_primary,
            original_bytes=sum(one.size_bytes for one in copied),
            stored_bytes=sum(one.stored_bytes for one in copied),
            created_at=now,
        )
        after = self._next(opened, copied, opened)
        writes: list[_Write] = [
            put_image_set(after, expected=0),
            *self._copy_writes(after, copied, copied, chosen, edits=edits, pack=pack.name, forced=False),
            self._images.studies.grown(after, new=True, instances=after.instances),
        ]
        if is_primary:
            alias = series_key(after.datastore, after.patient_id, after.study_uid, after.series_uid)
            writes.append(_claim(alias, identity, expected=None))
            writes.append(_claim(primary_key(after.datastore, after.study_uid, after.series_uid), identity, expected=0))
        self._commit_copy(after, writes, pack.name, source.image_set, by)
        return after

    def _copy_writes(
        self,
        after: ImageSet,
        shown: Sequence[StoredInstance],
        copied: Sequence[StoredInstance],
        chosen: Sequence[StoredInstance],
        *,
        edits: Edits,
        pack: str,
        forced: bool,
    ) -> list[_Write]:
        """What a copy writes besides the image set and its study."""
        _, order = arranged(shown)
        new = {one.id for one in copied}
        writes: list[_Write] = [
            *(put_instance(one, expected=0) for one in shown if one.id in new),
            put_pack(after.id, pack),
            put_version(after, order, cause=COPIED, edits=edits, at=after.updated_at, forced=forced),
            write_edits(after.id, edits),
        ]
        for old, one in zip(chosen, copied, strict=True):
            facts = self._records.get(FRAME_FACTS, old.id)
            if facts is not None:
                writes.append(Put(FRAME_FACTS, one.id, facts.document, {"image_set": after.id}))
        return writes

    def _commit_copy(
        self, after: ImageSet, writes: Sequence[_Write], pack: str, source: ImageSet, by: Principal
    ) -> None:
        opened = replace(after, is_closed=False)
        _, happening = opened.close(geometry=after.geometry, notices=after.notices, at=after.updated_at)
        events: list[Event] = [happening.told(at=after.updated_at, trace=after.id)]
        audit = [AuditEntry(by.id, "copy", source.id), AuditEntry(by.id, "copy-into", after.id)]
        try:
            self._commit(Change(writes, events, _folding(after), audit))
        except Conflict:
            self._blobs.delete(pack_key(after.id, pack))
            raise

    def _aligned(self, source: _Held, instance: StoredInstance, target: _Held) -> Edit:
        """What makes an instance tell of patient, study and series what the destination tells."""
        ours, theirs = self._shared(source, instance), self._shared(target, target.instances[0])
        return Edit(
            values={name: value for name, value in theirs.items() if ours.get(name, ...) != value},
            removed=frozenset(ours.keys() - theirs.keys()),
        )

    def _shared(self, held: _Held, instance: StoredInstance) -> Plain:
        """The attributes of patient, study and series that an instance tells."""
        values, _ = plain_values(self._images.header(instance))
        told = held.edits.of_instance(instance.id).over(values)
        return {name: value for name, value in told.items() if level_of(name) in LEVELS}

    def _resealed(self, instance: StoredInstance, source: ImageSet, image_set: str, pack: PackWriter) -> StoredInstance:
        """The instance in another image set, its records sealed anew into `pack`."""
        cipher = self._keys.cipher(source.wrapped_key)

        def copy(ref: Ref | None) -> Ref | None:
            return None if ref is None else self._copy_record(ref, cipher, source.id, pack)

        frames = []
        for frame in instance.frames:
            full = self._copy_record(frame.full, cipher, source.id, pack)
            frames.append(StoredFrame(full=full, preview=copy(frame.preview), ends=frame.ends))
        received = self._received(instance).sop_uid
        return replace(
            instance,
            id=instance_id(image_set, received, instance.digest),
            image_set=image_set,
            original=copy(instance.original),
            head=copy(instance.head),
            tail=copy(instance.tail),
            frames=tuple(frames),
        )

    def _copy_record(self, ref: Ref, cipher: Cipher, source: str, pack: PackWriter) -> Ref:
        return pack.add(ref.kind, read_record(self._blobs, cipher, source, ref))


def _claim(key: str, image_set: str, *, expected: int | None) -> Put:
    return Put(SERIES, key, {"image_set": image_set}, {"image_set": image_set}, expected)


def _folding(image_set: ImageSet) -> list[Job]:
    """The job that folds what is not folded yet."""
    if not image_set.landed:
        return []
    identity = f"fold-{image_set.id}-{image_set.version}"
    return [Job(identity, "fold", "fold", {"image_set": image_set.id}, trace=image_set.id)]


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
