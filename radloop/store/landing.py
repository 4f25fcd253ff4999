"""Landing: files become durable, queryable instances, or go to quarantine with a reason."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import orjson

from radloop.core.errors import Conflict, InvalidInput, OutOfScope, Unavailable
from radloop.core.events import ImageQuarantined
from radloop.core.identity import Principal, derived_id, new_id
from radloop.core.images import ImageSet, Notice, State, Storage
from radloop.core.ports import (
    Adjust,
    AuditEntry,
    Blobs,
    Change,
    Cipher,
    Clock,
    Delete,
    Keys,
    Landing,
    Put,
    Records,
    Row,
    Upload,
)
from radloop.core.tables import (
    DEFAULT_DATASTORE,
    IMAGE_SETS,
    INSTANCES,
    QUARANTINE,
    SERIES,
    image_set_of,
    put_image_set,
)
from radloop.dicom.parse import Instance, parse
from radloop.store.instances import StoredInstance, instance_of, put_instance, supersede
from radloop.store.packs import PackWriter, new_pack, pack_key, put_pack
from radloop.store.studies import Studies

_TRIES = 20
_STRIPES = 64
_NOTICES_KEPT = 20
_TOGETHER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Arrival:
    """One parsed upload with its place in the sender's list."""

    place: int
    data: bytes
    digest: str
    parsed: Instance


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
    """Takes uploads in. Each batch writes one pack per series and commits once per series.

    Callers that wait for the same series are landed together by whichever of them comes to its turn: one pack, one
    commit, two flushes for all of them.

    Acknowledged means durable: the pack is flushed before the commit that names it, and the commit is flushed before
    `land` returns. A crash in between leaves a pack nobody names, which the next start sweeps away.
    """

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._studies = Studies(records, clock)
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._waiting: dict[tuple[str, str], list[_Waiting]] = {}  # by series and principal
        self._guard = threading.Lock()
        self._hashers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="hasher")

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        """See `Lander.land`."""
        landings: list[Landing | None] = [None] * len(uploads)
        series: dict[str, list[_Arrival]] = {}
        digests = [self._hashers.submit(_digest, upload.data) for upload in uploads]  # beside parsing, not before it
        for place, upload in enumerate(uploads):
            try:
                parsed = parse(upload.data)
                _require_in_scope(parsed, by)
            except InvalidInput as error:
                landings[place] = self._quarantine(upload.data, digests[place].result(), error, by)
                continue
            arrival = _Arrival(place, upload.data, digests[place].result(), parsed)
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
        for _ in range(_TRIES):
            try:
                return self._attempt(key, arrivals, by, datastore, callers=callers)
            except Conflict:
                continue  # another process landed into the same series: look again
        raise Unavailable("the image set kept changing while files were landing")

    def _attempt(
        self, key: str, arrivals: list[_Arrival], by: Principal, datastore: str, *, callers: int
    ) -> dict[int, Landing]:
        found = self._image_set(key)
        first = arrivals[0].parsed
        image_set, expected = (
            (self._opened(first, datastore), 0) if found is None else (image_set_of(found), found.revision)
        )
        landings, fresh = self._sort_out(image_set, arrivals)
        if not fresh:
            return landings
        cipher = self._keys.cipher(image_set.wrapped_key)
        with self._pack(cipher, image_set.id) as pack:
            stored = _newest_shown([_landed(image_set.id, arrival, pack) for arrival in fresh])
        writes: list[Put | Adjust | Delete] = [put_instance(instance, expected=0) for instance in stored]
        writes.append(put_pack(image_set.id, pack.name))
        if expected == 0:
            writes.append(Put(SERIES, key, {"image_set": image_set.id}, {"image_set": image_set.id}, expected=0))
            if image_set.is_primary:
                primary = _primary_key(datastore, first)
                writes.append(
                    Put(SERIES, primary, {"image_set": image_set.id}, {"image_set": image_set.id}, expected=0)
                )
        replaced = self._superseded(image_set.id, stored) if expected else []
        writes += [supersede(old, by=new) for old, new in replaced]
        twice = {new for _, new in replaced} | _doubled(stored)
        for arrival, instance in zip(fresh, stored, strict=True):
            landings[arrival.place] = replace(landings[arrival.place], is_replacement=instance.id in twice)
        hidden = [old for old, _ in replaced] + [one for one in stored if one.superseded_by is not None]
        grown = _grown(image_set, stored, hidden, replace_open=expected == 0)
        grown = replace(grown, updated_at=self._clock())
        writes.append(put_image_set(grown, expected=expected))
        writes.append(self._studies.grown(grown, new=expected == 0, instances=grown.instances - image_set.instances))
        try:
            self._records.commit(Change(writes=writes, audit=[AuditEntry(by.id, "land", image_set.id)] * callers))
        except Conflict:
            self._blobs.delete(pack_key(image_set.id, pack.name))
            raise
        return landings

    def _sort_out(self, image_set: ImageSet, arrivals: list[_Arrival]) -> tuple[dict[int, Landing], list[_Arrival]]:
        """Tell duplicates, here or within the batch itself, from what is new."""
        landings: dict[int, Landing] = {}
        fresh: dict[str, _Arrival] = {}
        for arrival in arrivals:
            instance = _instance_id(image_set.id, arrival)
            known = instance in fresh or self._records.get(INSTANCES, instance) is not None
            landings[arrival.place] = Landing(
                outcome="duplicate" if known else "ingested",
                image_set=image_set.id,
                instance=arrival.parsed.sop_uid,
                sop_class=arrival.parsed.sop_class,
                study_uid=image_set.study_uid,
                series_uid=image_set.series_uid,
            )
            if not known:
                fresh[instance] = arrival
        return landings, list(fresh.values())

    def _superseded(self, image_set: str, stored: list[StoredInstance]) -> list[tuple[StoredInstance, str]]:
        """Instances that came earlier under a SOP instance UID that now comes with other bytes."""
        replaced: list[tuple[StoredInstance, str]] = []
        for new in stored:
            if new.superseded_by is not None:
                continue
            rows = self._records.find(INSTANCES, {"image_set": image_set, "sop_uid": new.sop_uid})
            replaced += [(old, new.id) for old in map(instance_of, rows) if old.superseded_by is None]
        return replaced

    def _image_set(self, key: str) -> Row | None:
        series = self._records.get(SERIES, key)
        return None if series is None else self._records.get(IMAGE_SETS, series.document["image_set"])

    def _opened(self, parsed: Instance, datastore: str) -> ImageSet:
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
            is_primary=self._records.get(SERIES, _primary_key(datastore, parsed)) is None,
        )

    @contextmanager
    def _pack(self, cipher: Cipher, image_set: str) -> Iterator[PackWriter]:
        with new_pack(self._blobs, cipher, image_set) as pack:
            yield pack

    def _quarantine(self, data: bytes, digest: str, error: InvalidInput, by: Principal) -> Landing:
        """Put a file aside, sealed, with its reason beside it in clear. The same file again is the same entry."""
        identity = derived_id("quarantine", digest)
        landing = Landing(outcome="quarantined", reason=error.code, sentence=str(error), quarantine_id=identity)
        if self._records.get(QUARANTINE, identity) is not None:
            return landing
        now = self._clock()
        wrapped = self._keys.create()
        reason = {
            "code": error.code,
            "sentence": str(error),
            "quarantine_id": identity,
            "size_bytes": len(data),
            "sha256": digest,
            "time": now.isoformat(),
        }
        folder = f"training-data/quarantine/{identity}"
        self._blobs.put(f"{folder}/file.sealed", self._keys.cipher(wrapped).seal(data, identity.encode()))
        self._blobs.put(f"{folder}/reason.json", orjson.dumps(reason, option=orjson.OPT_INDENT_2))
        record = Put(
            QUARANTINE,
            identity,
            {**reason, "wrapped_key": wrapped.hex()},
            {"reason": error.code, "digest": digest},
        )
        event = ImageQuarantined(quarantine_id=identity, reason=error.code).told(at=now)
        audit = AuditEntry(by.id, "quarantine", identity)
        self._records.commit(Change(writes=[record], events=[event], audit=[audit]))
        return landing


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


def _primary_key(datastore: str, parsed: Instance) -> str:
    return primary_key(datastore, parsed.study_uid, parsed.series_uid)


def instance_id(image_set: str, sop_uid: str, digest: str) -> str:
    """The id of an instance: the same file in the same image set is the same instance."""
    return derived_id("instance", image_set, sop_uid, digest)


def _instance_id(image_set: str, arrival: _Arrival) -> str:
    return instance_id(image_set, arrival.parsed.sop_uid, arrival.digest)


def _landed(image_set: str, arrival: _Arrival, pack: PackWriter) -> StoredInstance:
    parsed = arrival.parsed
    return StoredInstance(
        id=_instance_id(image_set, arrival),
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


def _newest_shown(stored: list[StoredInstance]) -> list[StoredInstance]:
    """Of objects that came together under one SOP instance UID, the last is shown and the others stand behind it."""
    last = {instance.sop_uid: instance.id for instance in stored}
    return [
        instance if last[instance.sop_uid] == instance.id else replace(instance, superseded_by=last[instance.sop_uid])
        for instance in stored
    ]


def _grown(
    image_set: ImageSet, new: list[StoredInstance], old: list[StoredInstance], *, replace_open: bool
) -> ImageSet:
    """The image set with instances added; one that was closed opens again under its next version."""
    notices = list(image_set.notices)
    for instance in new:
        notices += [notice for notice in instance.notices if notice not in notices]
    if old:
        notice = Notice(
            "sop-uid-reused", "An instance came again with other content; both are kept, the newer one is shown"
        )
        notices += [] if notice in notices else [notice]
    reopened = image_set.is_closed and not replace_open
    if reopened and image_set.state is State.VERIFIED:
        notice = Notice("changed-since-verified", "Instances arrived after the image set was verified")
        notices += [] if notice in notices else [notice]
    return replace(
        image_set,
        version=image_set.version + (1 if reopened else 0),
        is_closed=False,
        instances=image_set.instances + len(new) - len(old),
        frames=image_set.frames + sum(i.frame_count for i in new) - sum(i.frame_count for i in old),
        landed=image_set.landed + len(new) - sum(i.storage is Storage.LANDED for i in old),
        kept=image_set.kept - sum(i.storage is Storage.KEPT for i in old),
        original_bytes=image_set.original_bytes + sum(i.size_bytes for i in new),
        stored_bytes=image_set.stored_bytes + sum(i.stored_bytes for i in new),
        notices=tuple(notices[:_NOTICES_KEPT]),
    )
