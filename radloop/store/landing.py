"""Landing: files become durable, queryable instances, or go to quarantine with a reason."""

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from radloop.core.errors import Conflict, InvalidInput, NotFound, OutOfScope, Unavailable
from radloop.core.identity import Principal, derived_id, new_id
from radloop.core.images import ImageSet, State, Storage
from radloop.core.ports import (
    Adjust,
    AuditEntry,
    Blobs,
    Change,
    Clock,
    Delete,
    Keys,
    Landing,
    Put,
    Records,
    Term,
    Upload,
)
from radloop.core.tables import (
    DEFAULT_DATASTORE,
    IMAGE_SETS,
    INSTANCES,
    SERIES,
    image_set_of,
    put_image_set,
)
from radloop.dicom.parse import Instance, parse
from radloop.store.aside import Aside
from radloop.store.growing import grown, newest_shown, replaced_by
from radloop.store.instances import StoredInstance, instance_of, put_instance, supersede
from radloop.store.packs import GrowingPack, OpenPacks, PackWriter, is_pack_named, name_again, put_pack
from radloop.store.recent import Recent, Standing
from radloop.store.studies import Studies

_TRIES = 20
_PAUSE_S = 0.002  # more with every try, so that those who try at the same time come apart
_LONGEST_PAUSE_S = 0.02
_STRIPES = 64
_TOGETHER_BYTES = 64 << 20
_ASKED_AT_ONCE = 500
_WORTH_A_THREAD = 128 << 10


@dataclass(frozen=True, slots=True)
class _Arrival:
    """One parsed upload with its place in the sender's list."""

    place: int
    data: bytes
    digest: str
    parsed: Instance


class _Sorted(NamedTuple):
    """Arrivals held against what an image set holds.

    Attributes:
        landings: What is to be told of each, by place.
        fresh: Those that are new to it, by the id they get.
        older: Shown instances of it under the SOP instance UIDs that arrived.
    """

    landings: dict[int, Landing]
    fresh: dict[str, _Arrival]
    older: list[StoredInstance]


@dataclass(frozen=True, slots=True)
class _Packed:
    """Arrivals in a pack on its way to the disk, that no record names yet; `instances` by id."""

    image_set: str
    version: int
    wrapped_key: bytes
    pack: GrowingPack
    instances: Mapping[str, StoredInstance]

    def serves(self, image_set: ImageSet, wanted: Iterable[str]) -> bool:
        """Whether instances `wanted` of `image_set` can be read from it; what else is in it does no harm.

        A pack that is named already may be dropped by whoever folds its version, which makes it useless for the next.
        """
        is_its_own = (image_set.id, image_set.wrapped_key) == (self.image_set, self.wrapped_key)
        is_safe = not self.pack.is_named or (not image_set.is_closed and image_set.version == self.version)
        return is_its_own and is_safe and self.instances.keys() >= set(wanted)


@dataclass(slots=True, eq=False)
class _Held:
    """What is kept from one try to the next: arrivals that are sealed already, and the image set opened for them."""

    packed: _Packed | None = None
    opened: ImageSet | None = None

    def let_go(self) -> None:
        """Of what was sealed: it is of no use any more."""
        if self.packed is not None:
            self.packed.pack.close()
            self.packed = None


@dataclass(slots=True, eq=False)
class _Waiting:
    """Arrivals of one series and one caller, and what became of them."""

    arrivals: list[_Arrival]
    landings: dict[int, Landing] | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether somebody has dealt with them."""
        return self.landings is not None or self.error is not None

    def told(self) -> dict[int, Landing]:
        """What became of them, by place."""
        if self.error is not None:
            raise self.error
        assert self.landings is not None
        return self.landings


class Landings:
    """Takes uploads in. Each batch adds to one pack per series and commits once per series.

    Callers that wait for the same series are landed together by whichever of them comes to its turn: one commit, two
    flushes for all of them. Who comes after them adds to the same pack: to make a file costs more than to seal one.

    Acknowledged means durable: the pack is flushed before the commit that names it, and the commit is flushed before
    `land` returns. While the pack is on its way to the disk the commit is made ready. A crash in between leaves a pack
    nobody names, which the next start sweeps away.

    Other processes may land into the same series. Whoever commits second looks again while the others wait and commits
    again, with the pack that is on its way already; a record in it that somebody else has landed meanwhile is referred
    to by nobody.
    """

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._aside = Aside(blobs, records, keys, clock)
        self._studies = Studies(records, clock)
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._waiting: dict[tuple[str, str], list[_Waiting]] = {}  # by series and principal
        self._guard = threading.Lock()
        self._open = OpenPacks()
        self._recent = Recent(records)
        self._hashers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="hasher")

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        """See `Lander.land`."""
        landings: list[Landing | None] = [None] * len(uploads)
        series: dict[str, list[_Arrival]] = {}
        digests = self._digests(uploads)
        for place, upload in enumerate(uploads):
            try:
                parsed = parse(upload.data)
                _require_in_scope(parsed, by)
            except InvalidInput as error:
                landings[place] = self._aside.put(upload.data, digests[place](), error, by=by)
                continue
            arrival = _Arrival(place, upload.data, digests[place](), parsed)
            series.setdefault(_series_key(datastore, parsed), []).append(arrival)
        if len(series) == 1:
            parts = [self._land_series(key, arrivals, by, datastore) for key, arrivals in series.items()]
        else:
            with ThreadPoolExecutor(max_workers=8) as pool:
                parts = list(pool.map(lambda item: self._land_series(item[0], item[1], by, datastore), series.items()))
        for part in parts:
            for place, landing in part.items():
                landings[place] = landing
        return [landing for landing in landings if landing is not None]

    def _digests(self, uploads: list[Upload]) -> list[Callable[[], str]]:
        """What gives the digest of each, computed beside parsing where the file is long enough to be worth a thread."""
        if len(uploads) == 1 and len(uploads[0].data) < _WORTH_A_THREAD:
            return [partial(_digest, uploads[0].data)]
        return [self._hashers.submit(_digest, upload.data).result for upload in uploads]

    def _land_series(self, key: str, arrivals: list[_Arrival], by: Principal, datastore: str) -> dict[int, Landing]:
        mine = _Waiting(arrivals)
        with self._guard:
            self._waiting.setdefault((key, by.id), []).append(mine)
        with self._stripes[hash(key) % _STRIPES]:
            if not mine.is_done:
                self._land_together(key, self._taken(key, by, mine), by, datastore)
        return mine.told()

    def _taken(self, key: str, by: Principal, mine: _Waiting) -> list[_Waiting]:
        """Mine and whoever else waits for the same, up to a size; the rest goes on waiting."""
        with self._guard:
            queue = self._waiting.pop((key, by.id))
            queue.remove(mine)
            taken, size = [mine], _size(mine)
            while queue and size + _size(queue[0]) <= _TOGETHER_BYTES:
                size += _size(queue[0])
                taken.append(queue.pop(0))
            if queue:
                self._waiting[key, by.id] = queue
        return taken

    def _land_together(self, key: str, waiting: list[_Waiting], by: Principal, datastore: str) -> None:
        """Land what several callers brought; where that fails for a reason not foreseen, each by itself."""
        places = [(one, arrival.place) for one in waiting for arrival in one.arrivals]
        arrivals = [arrival for one in waiting for arrival in one.arrivals]
        numbered = [replace(arrival, place=number) for number, arrival in enumerate(arrivals)]
        try:
            landed = self._retried(key, numbered, by, datastore, callers=len(waiting))
        except Exception as error:  # noqa: BLE001 — every caller is told, each in its own thread
            if len(waiting) > 1 and not isinstance(error, Unavailable):
                for one in waiting:
                    self._land_together(key, [one], by, datastore)
                return
            for one in waiting:
                one.error = error
            return
        for one in waiting:
            one.landings = {}
        for number, (one, place) in enumerate(places):
            assert one.landings is not None
            one.landings[place] = landed[number]

    def _retried(
        self, key: str, arrivals: list[_Arrival], by: Principal, datastore: str, *, callers: int
    ) -> dict[int, Landing]:
        """Commit until nobody else has changed the image set in between; the pack is written and flushed only once.

        Raises:
            Unavailable: Others were faster every time.
        """
        held = _Held(self._sealed_ahead(key, arrivals))
        for turn in range(_TRIES):
            if turn > 1:  # the store cannot make others wait
                time.sleep(random.uniform(0.0, min(_PAUSE_S * turn, _LONGEST_PAUSE_S)))  # noqa: S311 — nothing secret
            is_alone = turn > 0 or held.packed is not None
            try:
                with self._records.alone() if is_alone else nullcontext():
                    landings, standing = self._tried(
                        key, arrivals, by, datastore, held, again=turn > 0, callers=callers
                    )
                    standing.stamp = self._records.stamp() if is_alone else None
                    self._recent.keep(key, standing)
                    return landings
            except Conflict:
                self._recent.forget(key)  # another process landed into the same series: look again
                self._let_go_if_dropped(held)
            except BaseException:
                self._recent.forget(key)
                held.let_go()
                raise
        held.let_go()
        raise Unavailable("the image set kept changing while files were landing")

    def _let_go_if_dropped(self, held: _Held) -> None:
        """What lies in a pack that folding has emptied and dropped is sealed once more, into another."""
        if held.packed is None or not held.packed.pack.is_named:
            return
        if not is_pack_named(self._records, held.packed.image_set, held.packed.pack.name):
            held.let_go()

    def _sealed_ahead(self, key: str, arrivals: list[_Arrival]) -> _Packed | None:
        """Arrivals in the open pack of the image set they most likely go to, before others are made to wait.

        None where that set is not known, or where what arrived is known to it.
        """
        recent = self._recent.get(key)
        if recent is None or recent.image_set.is_closed:
            return None
        fresh = {instance_id(recent.image_set.id, one.parsed.sop_uid, one.digest): one for one in arrivals}
        if recent.uids is not None:
            is_known = not recent.uids.isdisjoint(one.parsed.sop_uid for one in arrivals)
        else:
            is_known = any(self._records.get(INSTANCES, identity) is not None for identity in fresh)
        return None if is_known else self._packed(recent.image_set, fresh)

    def _tried(
        self,
        key: str,
        arrivals: list[_Arrival],
        by: Principal,
        datastore: str,
        held: _Held,
        *,
        again: bool,
        callers: int,
    ) -> tuple[dict[int, Landing], Standing]:
        """Commit as the image set stands now; what became of the arrivals, and of the image set.

        Raises:
            Conflict: Somebody else has changed it in between.
        """
        standing = self._standing(key, arrivals[0].parsed, datastore, held)
        image_set = standing.image_set
        landings, fresh, older = self._sort_out(standing, arrivals, again=again)
        if held.packed is not None and not (fresh and held.packed.serves(image_set, fresh)):
            held.let_go()
        if not fresh:
            return landings, standing
        if held.packed is None:
            held.packed = self._packed(image_set, fresh)
        stored = newest_shown([held.packed.instances[identity] for identity in fresh])
        replaced = replaced_by(stored, older)
        grown, writes = self._writes(key, image_set, stored, replaced, expected=standing.revision)
        self._record(grown, held.packed.pack, writes, [AuditEntry(by.id, "land", image_set.id)] * callers)
        for identity in {new for _, new in replaced} | _doubled(stored):
            place = fresh[identity].place
            landings[place] = replace(landings[place], is_replacement=True)
        if standing.uids is not None:
            standing.uids.update(one.sop_uid for one in stored)
        return landings, Standing(grown, standing.revision + 1, standing.uids)

    def _standing(self, key: str, parsed: Instance, datastore: str, held: _Held) -> Standing:
        """The image set that a series lands into: as remembered, as read, or opened."""
        recent = self._recent.now(key)
        if recent is not None:
            return recent
        series = self._records.get(SERIES, key)
        row = None if series is None else self._records.get(IMAGE_SETS, series.document["image_set"])
        if row is not None:
            return Standing(image_set_of(row), row.revision)
        held.opened = self._opened(parsed, datastore, again=held.opened)
        return Standing(held.opened, 0, set())

    def _packed(self, image_set: ImageSet, fresh: Mapping[str, _Arrival]) -> _Packed:
        """Seal arrivals into the open pack of an image set, or a new one; they are on their way when this returns."""
        pack = None if image_set.is_closed else self._open.take(image_set.id, image_set.version)
        if pack is None:
            pack = GrowingPack(self._blobs, self._keys.cipher(image_set.wrapped_key), image_set.id)
        instances = {identity: _landed(identity, image_set.id, arrival, pack) for identity, arrival in fresh.items()}
        return _Packed(image_set.id, image_set.version, image_set.wrapped_key, pack, instances)

    def _record(
        self, grown: ImageSet, pack: GrowingPack, writes: list[Put | Adjust | Delete], audit: list[AuditEntry]
    ) -> None:
        """Commit once the pack is on the disk, and keep it for what lands next.

        Raises:
            Conflict: Somebody else has changed the image set.
        """
        naming = name_again(grown.id, pack.name) if pack.is_named else put_pack(grown.id, pack.name)
        try:
            self._records.commit(Change(writes=[*writes, naming], audit=audit, needs=[pack.settle]))
        except NotFound:
            raise Conflict("the pack has been dropped meanwhile") from None
        pack.is_named = True
        self._open.give(grown.id, grown.version, pack)

    def _writes(
        self,
        key: str,
        image_set: ImageSet,
        stored: list[StoredInstance],
        replaced: list[tuple[StoredInstance, str]],
        *,
        expected: int,
    ) -> tuple[ImageSet, list[Put | Adjust | Delete]]:
        """What records instances in an image set at revision `expected`, 0 where it is opened, and what it becomes."""
        hidden = [old for old, _ in replaced] + [one for one in stored if one.superseded_by is not None]
        now_there = grown(image_set, stored, hidden, replace_open=not expected, at=self._clock())
        more = now_there.instances - image_set.instances
        writes: list[Put | Adjust | Delete] = [
            put_image_set(now_there, expected=expected),  # first, for that is where others get in between
            self._studies.grown(now_there, new=not expected, instances=more),
            *(put_instance(instance, expected=0) for instance in stored),
            *(supersede(old, by=new) for old, new in replaced),
        ]
        if not expected:
            claims = [key]
            if image_set.is_primary:
                claims.append(primary_key(image_set.datastore, image_set.study_uid, image_set.series_uid))
            named = {"image_set": image_set.id}
            writes += [Put(SERIES, claim, named, named, expected=0) for claim in claims]
        return now_there, writes

    def _sort_out(self, standing: Standing, arrivals: list[_Arrival], *, again: bool) -> _Sorted:
        """Tell duplicates, here or within the batch itself, from what is new.

        An instance whose SOP instance UID was edited stands under another one than it came with. The commit finds
        that it is there already, and it is looked for by its id when this is done `again`.
        """
        image_set = standing.image_set
        uids = list({arrival.parsed.sop_uid for arrival in arrivals})
        if standing.uids is not None:
            uids = [uid for uid in uids if uid in standing.uids]
        rows = [
            row
            for first in range(0, len(uids), _ASKED_AT_ONCE)
            for row in self._records.search(
                INSTANCES, [Term("sop_uid", "in", tuple(uids[first : first + _ASKED_AT_ONCE]))]
            )
            if row.columns["image_set"] == image_set.id
        ]
        there = {row.key for row in rows}
        landings: dict[int, Landing] = {}
        fresh: dict[str, _Arrival] = {}
        for arrival in arrivals:
            identity = instance_id(image_set.id, arrival.parsed.sop_uid, arrival.digest)
            known = identity in fresh or identity in there
            if again and not known:
                known = self._records.get(INSTANCES, identity) is not None
            landings[arrival.place] = Landing(
                outcome="duplicate" if known else "ingested",
                image_set=image_set.id,
                instance=arrival.parsed.sop_uid,
                sop_class=arrival.parsed.sop_class,
                study_uid=image_set.study_uid,
                series_uid=image_set.series_uid,
                notices=arrival.parsed.warnings,
            )
            if not known:
                fresh[identity] = arrival
        return _Sorted(landings, fresh, [one for one in map(instance_of, rows) if one.superseded_by is None])

    def _opened(self, parsed: Instance, datastore: str, *, again: ImageSet | None) -> ImageSet:
        """The image set of a series that has none; the one of the try before, where that opened one in vain."""
        claim = primary_key(datastore, parsed.study_uid, parsed.series_uid)
        is_primary = self._records.get(SERIES, claim) is None
        if again is not None:
            return replace(again, is_primary=is_primary)
        now = self._clock()
        return ImageSet(
            id=new_id(),
            version=1,
            state=State.INGESTED,
            is_closed=False,
            patient_id=str(parsed.attributes.get("PatientID") or ""),
            study_uid=parsed.study_uid,
            series_uid=parsed.series_uid,
            attributes=parsed.attributes,
            instances=0,
            frames=0,
            landed=0,
            kept=0,
            original_bytes=0,
            stored_bytes=0,
            notices=(),
            geometry={},
            truth=None,
            prediction=None,
            wrapped_key=self._keys.create(),
            created_at=now,
            updated_at=now,
            datastore=datastore,
            is_primary=is_primary,
        )


def _require_in_scope(parsed: Instance, by: Principal) -> None:
    """Whoever may not know of a patient can neither add to that patient's images nor learn that a file is known.

    Raises:
        OutOfScope: The patient is not one of the sender's.
    """
    if by.patients is not None and str(parsed.attributes.get("PatientID") or "") not in by.patients:
        raise OutOfScope("the patient is not one that the sender may know of")


def _doubled(instances: list[StoredInstance]) -> set[str]:
    """Ids of instances that share their SOP instance UID with another of these."""
    counts = Counter(instance.sop_uid for instance in instances)
    return {instance.id for instance in instances if counts[instance.sop_uid] > 1}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _size(waiting: _Waiting) -> int:
    return sum(len(arrival.data) for arrival in waiting.arrivals)


def series_key(datastore: str, patient_id: str, study_uid: str, series_uid: str) -> str:
    """Instances belong together when data store, patient, study and series all agree."""
    return derived_id("series", datastore, patient_id, study_uid, series_uid)


def primary_key(datastore: str, study_uid: str, series_uid: str) -> str:
    """The claim to be the one image set of a series, which the first to come has."""
    return derived_id("primary", datastore, study_uid, series_uid)


def _series_key(datastore: str, parsed: Instance) -> str:
    patient_id = str(parsed.attributes.get("PatientID") or "")
    return series_key(datastore, patient_id, parsed.study_uid, parsed.series_uid)


def instance_id(image_set: str, sop_uid: str, digest: str) -> str:
    """The id of an instance: the same file in the same image set is the same instance."""
    return derived_id("instance", image_set, sop_uid, digest)


def _landed(identity: str, image_set: str, arrival: _Arrival, pack: PackWriter) -> StoredInstance:
    parsed = arrival.parsed
    return StoredInstance(
        id=identity,
        image_set=image_set,
        sop_uid=parsed.sop_uid,
        sop_class=parsed.sop_class,
        transfer_syntax=parsed.transfer_syntax,
        digest=arrival.digest,
        size_bytes=len(arrival.data),
        number=0 if parsed.image is None else parsed.image.number or 0,
        storage=Storage.LANDED,
        attributes=parsed.attributes,
        image=None if parsed.image is None else parsed.image.plain(),
        pixel_span=parsed.pixel_span,
        is_lossy=parsed.lossy,
        notices=parsed.warnings,
        original=pack.add("original", arrival.data),
    )
