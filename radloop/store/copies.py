"""Copies: instances of an image set in another, their bytes sealed anew under its own data key."""

from collections.abc import Sequence
from dataclasses import replace

from radloop.core.errors import Conflict, InvalidInput
from radloop.core.events import Event
from radloop.core.identity import Principal, new_id
from radloop.core.images import ImageSet, State
from radloop.core.ports import AuditEntry, Blobs, Change, Cipher, Clock, Keys, Put, Records
from radloop.core.tables import FRAME_FACTS, SERIES, put_image_set
from radloop.dicom.levels import level_of
from radloop.dicom.plain import Plain, plain_values
from radloop.store.arranging import arranged
from radloop.store.changing import Changing, Held, Write, claim, folding
from radloop.store.edits import LEVELS, Edit, Edits, edited_instance, write_edits
from radloop.store.images import ImageStore
from radloop.store.instances import StoredFrame, StoredInstance, put_instance
from radloop.store.landing import instance_id, primary_key, series_key
from radloop.store.moves import Moves
from radloop.store.packs import PackWriter, Ref, new_pack, pack_key, put_pack, read_record
from radloop.store.updates import read_copies
from radloop.store.versions import COPIED, put_version

MOST_COPIED_FRAMES = 5000


class Copies:
    """Copies between the image sets of one installation."""

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock, images: ImageStore) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._images = images
        self._changing = Changing(records, clock, images)
        self._moves = Moves(records, images.studies, clock)

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
            InvalidInput: `copies` is not of its shape, too much is asked for, or another store keeps the bytes.
            Conflict: A version is another, patient, study or series differ, an instance is there already, or the
                source cannot be promoted.
        """

        def attempt() -> ImageSet:
            source = self._changing.held(identity, expected)
            chosen = self._chosen(source, copies)
            target = self._target(source.image_set, into, promote=promote)
            if target is not None and by.patients is not None and target.image_set.patient_id not in by.patients:
                raise Conflict("the primary image set of the series is one of a patient out of the caller's scope")
            if target is not None:
                return self._copied_into(source, chosen, target, force=force, by=by)
            return self._copied_anew(source, chosen, is_primary=promote, by=by)

        return self._changing.retried(attempt)

    def _chosen(self, source: Held, copies: str | None) -> list[StoredInstance]:
        chosen = list(source.instances)
        if copies is not None:
            wanted = read_copies(copies, series_uid=source.image_set.series_uid)
            chosen = [one for one in chosen if one.sop_uid in wanted]
            if len(chosen) != len(wanted):
                raise InvalidInput("copiableAttributes names instances that the image set does not hold")
        if not all(one.refs for one in chosen):
            raise InvalidInput("the bytes of these instances are kept by another store, which alone copies them")
        if sum(one.frame_count for one in chosen) > MOST_COPIED_FRAMES:
            raise InvalidInput(f"at most {MOST_COPIED_FRAMES} frames are copied at once")
        return chosen

    def _target(self, source: ImageSet, into: tuple[str, int] | None, *, promote: bool) -> Held | None:
        """The image set to copy into; None for a new one."""
        if promote and source.is_primary:
            raise Conflict(f"image set {source.id} is the primary one of its series already")
        if into is not None:
            if into[0] == source.id:
                raise InvalidInput("an image set is not copied into itself")
            return self._changing.held(*into)
        if not promote:
            return None
        row = self._records.get(SERIES, primary_key(source.datastore, source.study_uid, source.series_uid))
        return None if row is None else self._changing.held(row.document["image_set"])

    def _copied_into(
        self, source: Held, chosen: list[StoredInstance], target: Held, *, force: bool, by: Principal
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
        after = self._changing.following(before, shown, before, is_changed=True)
        after = replace(
            after,
            original_bytes=before.original_bytes + sum(one.size_bytes for one in copied),
            stored_bytes=before.stored_bytes + sum(one.stored_bytes for one in copied),
        )
        writes = [
            put_image_set(after, expected=target.row.revision),
            *self._copy_writes(after, shown, copied, chosen, edits=edits, pack=pack.name, forced=force),
            *self._moves.writes([(before, after)]),
        ]
        self._commit_copy(after, writes, pack.name, source.image_set, by)
        return after

    def _copied_anew(self, source: Held, chosen: list[StoredInstance], *, is_primary: bool, by: Principal) -> ImageSet:
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
            case=None,
            wrapped_key=wrapped,
            is_primary=is_primary,
            original_bytes=sum(one.size_bytes for one in copied),
            stored_bytes=sum(one.stored_bytes for one in copied),
            created_at=now,
        )
        after = self._changing.following(opened, copied, opened)
        writes: list[Write] = [
            put_image_set(after, expected=0),
            *self._copy_writes(after, copied, copied, chosen, edits=edits, pack=pack.name, forced=False),
            *self._moves.writes([(None, after)]),
        ]
        if is_primary:
            alias = series_key(after.datastore, after.patient_id, after.study_uid, after.series_uid)
            writes.append(claim(alias, identity, expected=None))
            writes.append(claim(primary_key(after.datastore, after.study_uid, after.series_uid), identity, expected=0))
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
    ) -> list[Write]:
        """What a copy writes besides the image set and its study."""
        _, order = arranged(shown)
        new = {one.id for one in copied}
        writes: list[Write] = [
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
        self, after: ImageSet, writes: Sequence[Write], pack: str, source: ImageSet, by: Principal
    ) -> None:
        opened = replace(after, is_closed=False)
        _, happening = opened.close(geometry=after.geometry, notices=after.notices, at=after.updated_at)
        events: list[Event] = [happening.told(at=after.updated_at, trace=after.id)]
        audit = [AuditEntry(by.id, "copy", source.id), AuditEntry(by.id, "copy-into", after.id)]
        try:
            self._changing.commit(Change(writes, events, folding(after), audit))
        except Conflict:
            self._blobs.delete(pack_key(after.id, pack))
            raise

    def _aligned(self, source: Held, instance: StoredInstance, target: Held) -> Edit:
        """What makes an instance tell of patient, study and series what the destination tells."""
        ours, theirs = self._shared(source, instance), self._shared(target, target.instances[0])
        return Edit(
            values={name: value for name, value in theirs.items() if ours.get(name, ...) != value},
            removed=frozenset(ours.keys() - theirs.keys()),
        )

    def _shared(self, held: Held, instance: StoredInstance) -> Plain:
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
        received = self._changing.received(instance).sop_uid
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
