"""Whether what is stored is whole: every record opened, every count counted again, nothing changed.

What is found is a fault (something is lost, wrong or unreachable) or a leftover (bytes that nobody names, which the
next start sweeps away). A fault is looked for twice, so that a store at work does not seem damaged: what was moved or
committed between two looks is right at the second.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from radloop.codec.htj2k import decode, resolution_ends
from radloop.core.errors import Corrupt, NotFound, RadloopError
from radloop.core.images import ImageSet, Storage
from radloop.core.ports import Blobs, Cipher, Job, Keys, Records, Row, Span
from radloop.core.tables import (
    IMAGE_SETS,
    INSTANCES,
    METADATA,
    PACKS,
    QUARANTINE,
    SERIES,
    STUDIES,
    TOMBSTONES,
    VERSIONS,
    image_set_of,
    study_key,
)
from radloop.store.folding import native_bytes
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.leftovers import SWEPT
from radloop.store.packs import MAGIC, Ref, pack_key, read_record, ref_of
from radloop.store.studies import study_of

SEND_AGAIN = (
    "Restore the home from a backup, or send the instance again from its source: it is known as lost by its id."
)
ADVICE: Mapping[str, str] = {
    "index-damaged": "Stop the server and restore the home from a backup; do not write to it before.",
    "key-damaged": "keys/kek is not the one this home was written with, or the record is damaged: restore it.",
    "pack-missing": SEND_AGAIN,
    "pack-damaged": "The pack's first bytes are wrong; its records are told of by themselves. Check the disk.",
    "record-damaged": SEND_AGAIN,
    "frame-damaged": SEND_AGAIN,
    "file-differs": SEND_AGAIN,
    "pack-not-recorded": "Stop the server, and start none before the home is restored: a start would sweep the pack.",
    "count-differs": "Nothing is lost; counts in lists are wrong. Report it: this is a fault of radloop.",
    "study-differs": "Nothing is lost; counts of the study are wrong. Report it: this is a fault of radloop.",
    "series-astray": "Late instances of the series will open another image set. Report it.",
    "image-set-missing": "Restore the home from a backup: records are there without their image set.",
    "version-damaged": "The order of slices is lost for this version. Restore the home from a backup, or report it.",
    "never-folds": "No job is left to fold it; nothing is lost. Replay the dead letter, or report it.",
    "job-astray": "A job waits for an image set that is not there; it will end as a dead letter.",
    "quarantine-damaged": "The quarantined file is lost; send it again from its source.",
    "metadata-damaged": "Only what HealthImaging tells of this version is lost; the files are not. Report it.",
}
"""What to do for each code."""

_BEGIN = Span(0, len(MAGIC))
_Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        code: One of `ADVICE`.
        image_set: Its id, "" where it is not about one.
        subject: The instance, pack, version, job or entry it is about.
        detail: Which record, which count; never a value of a patient.
    """

    code: str
    image_set: str = ""
    subject: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what is wrong.

    Attributes:
        leftovers: Packs that no record names; the next start removes them.
    """

    image_sets: int
    instances: int
    versions: int
    records: int
    bytes: int
    deep: bool
    faults: tuple[Fault, ...]
    leftovers: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong."""
        return not self.faults

    def plain(self) -> dict[str, Any]:
        """The same as JSON values, with what to do for each code that was met."""
        codes = Counter(fault.code for fault in self.faults)
        return {
            "clean": self.is_clean,
            "deep": self.deep,
            "image_sets": self.image_sets,
            "instances": self.instances,
            "versions": self.versions,
            "records": self.records,
            "bytes": self.bytes,
            "faults": [asdict(fault) for fault in self.faults],
            "leftovers": list(self.leftovers),
            "advice": {code: ADVICE[code] for code in codes},
        }


class Inspection:
    """One walk over a store.

    Args:
        blobs: Where packs lie.
        records: Where everything else stands.
        keys: What opens them.
        deep: Decode every frame, rebuild every file and compare its SHA-256 with that of what arrived.
    """

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, *, deep: bool = False) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._deep = deep
        self._seen = Counter[str]()

    def size(self) -> int:
        """Bytes that `run` will read, for its progress."""
        return sum(int(row.document["stored_bytes"]) for row in self._records.find(IMAGE_SETS))

    def run(self, jobs: Callable[[], Iterable[Job]], *, told: _Told = lambda _: None) -> Report:
        """Look at everything.

        Args:
            jobs: What gives the jobs that wait, run, or were given up on.
            told: Called with the bytes read since the last call.
        """
        faults: list[Fault] = []
        for identity in [row.key for row in self._records.find(IMAGE_SETS)]:
            faults += self._twice(lambda identity=identity, told=told: self._image_set(identity, jobs, told))  # type: ignore[misc]
        faults += self._twice(lambda: [*self._studies(), *self._strays()])
        faults += self._twice(lambda: self._jobs(jobs()))
        faults += self._twice(self._quarantine)
        unnamed = set(self._unnamed()) & set(self._unnamed())
        return Report(
            image_sets=self._seen["image_sets"],
            instances=self._seen["instances"],
            versions=self._seen["versions"],
            records=self._seen["records"],
            bytes=self._seen["bytes"],
            deep=self._deep,
            faults=tuple(faults),
            leftovers=tuple(sorted(unnamed)),
        )

    def _twice(self, look: Callable[[], Iterable[Fault]]) -> list[Fault]:
        """Faults that are there at a second look too."""
        found = list(look())
        if not found:
            return []
        before = self._seen.copy()
        again = set(look())
        self._seen = before
        return [fault for fault in found if fault in again]

    # image sets

    def _image_set(self, identity: str, jobs: Callable[[], Iterable[Job]], told: _Told) -> Iterator[Fault]:
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            return  # deleted meanwhile
        image_set = image_set_of(row)
        instances = [instance_of(each) for each in self._records.find(INSTANCES, {"image_set": identity})]
        self._seen["image_sets"] += 1
        self._seen["instances"] += len(instances)
        try:
            cipher = self._keys.cipher(image_set.wrapped_key)
        except Corrupt:
            yield Fault("key-damaged", identity, identity)
            return
        yield from self._packs(identity, instances)
        for instance in instances:
            yield from self._instance(cipher, instance, told)
        yield from self._documents(identity, cipher)
        yield from self._counts(image_set, instances)
        yield from self._versions(image_set, {instance.id: instance for instance in instances})
        if image_set.is_closed and image_set.landed and not any(_is_fold(job, identity) for job in jobs()):
            yield Fault("never-folds", identity, identity)

    def _packs(self, identity: str, instances: list[StoredInstance]) -> Iterator[Fault]:
        """Packs that records name: on the disk, begun as packs are, and known as named."""
        recorded = {row.key.partition("/")[2] for row in self._records.find(PACKS, {"image_set": identity})}
        used = {ref.pack for instance in instances for ref in instance.refs}
        for pack in sorted(used | recorded):
            try:
                begin = self._blobs.get(pack_key(identity, pack), _BEGIN)
            except NotFound:
                yield Fault("pack-missing", identity, pack)
                continue
            if begin != MAGIC:
                yield Fault("pack-damaged", identity, pack)
            if pack not in recorded:
                yield Fault("pack-not-recorded", identity, pack)

    def _instance(self, cipher: Cipher, instance: StoredInstance, told: _Told) -> Iterator[Fault]:
        identity, parts = instance.image_set, dict[Ref, bytes]()
        for ref in instance.refs:
            data = self._opened(cipher, identity, ref)
            told(ref.length)
            if data is None:
                yield Fault("record-damaged", identity, instance.id, f"{ref.kind} {ref.index} of pack {ref.pack}")
            elif ref.kind != "preview":
                parts[ref] = data
        if len(parts) < sum(ref.kind != "preview" for ref in instance.refs):
            return
        for number, frame in enumerate(instance.frames):
            if not self._is_frame(parts[frame.full], frame.ends):
                yield Fault("frame-damaged", identity, instance.id, f"frame {number}")
                return
        if instance.original is not None:
            if hashlib.sha256(parts[instance.original]).hexdigest() != instance.digest:
                yield Fault("file-differs", identity, instance.id)
        elif self._deep and _rebuilt(instance, parts) != instance.digest:
            yield Fault("file-differs", identity, instance.id)

    def _opened(self, cipher: Cipher, identity: str, ref: Ref) -> bytes | None:
        """A record's bytes; None where it is gone or fails its seal."""
        self._seen["records"] += 1
        self._seen["bytes"] += ref.length
        try:
            return read_record(self._blobs, cipher, identity, ref)
        except (Corrupt, NotFound):
            return None

    def _is_frame(self, codestream: bytes, ends: tuple[int, ...]) -> bool:
        try:
            if self._deep:
                decode(codestream)
            return resolution_ends(codestream) == tuple(ends)
        except RadloopError:
            return False

    def _documents(self, identity: str, cipher: Cipher) -> Iterator[Fault]:
        for row in self._records.find(METADATA, {"image_set": identity}):
            if self._opened(cipher, identity, ref_of(row.document["ref"])) is None:
                yield Fault("metadata-damaged", identity, row.key)

    def _counts(self, image_set: ImageSet, instances: list[StoredInstance]) -> Iterator[Fault]:
        current = [instance for instance in instances if instance.superseded_by is None]
        counted = {
            "instances": len(current),
            "frames": sum(instance.frame_count for instance in current),
            "landed": sum(instance.storage is Storage.LANDED for instance in current),
            "kept": sum(instance.storage is Storage.KEPT for instance in current),
            "original_bytes": sum(instance.size_bytes for instance in instances),
            "stored_bytes": sum(instance.stored_bytes for instance in instances),
        }
        for name, count in counted.items():
            written = getattr(image_set, name)
            if written != count:
                yield Fault("count-differs", image_set.id, image_set.id, f"{name}: {written} written, {count} there")

    def _versions(self, image_set: ImageSet, instances: Mapping[str, StoredInstance]) -> Iterator[Fault]:
        rows = self._records.find(VERSIONS, {"image_set": image_set.id})
        self._seen["versions"] += len(rows)
        for row in rows:
            if not _is_version(row, instances):
                yield Fault("version-damaged", image_set.id, row.key)
        if not image_set.is_closed:
            return
        if not rows:
            yield Fault("version-damaged", image_set.id, f"{image_set.id}/{image_set.version:08d}", "not there")
            return
        shown = set(rows[-1].document["instances"])
        if shown != {name for name, instance in instances.items() if instance.superseded_by is None}:
            yield Fault("version-damaged", image_set.id, rows[-1].key, "holds other instances than the image set")

    # what lies around them

    def _studies(self) -> Iterator[Fault]:
        series, instances = Counter[str](), Counter[str]()
        for image_set in map(image_set_of, self._records.find(IMAGE_SETS)):
            key = study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)
            series[key] += 1
            instances[key] += image_set.instances
        rows = {row.key: study_of(row) for row in self._records.find(STUDIES)}
        for key in sorted(series.keys() | rows.keys()):
            written = (rows[key].series, rows[key].instances) if key in rows else (0, 0)
            if written != (series[key], instances[key]):
                there = f"{series[key]} image sets and {instances[key]} instances are there"
                yield Fault("study-differs", "", key, f"{written[0]} and {written[1]} written, {there}")

    def _strays(self) -> Iterator[Fault]:
        """Records whose image set is not there."""
        known = {row.key for row in self._records.find(IMAGE_SETS)}
        for table, code in ((SERIES, "series-astray"), (INSTANCES, "image-set-missing"), (PACKS, "image-set-missing")):
            told = set(known)
            for row in self._records.find(table):
                owner = str(row.columns["image_set"])
                if owner not in told and owner != SWEPT:
                    yield Fault(code, owner, row.key)
                    told.add(owner)

    def _jobs(self, jobs: Iterable[Job]) -> Iterator[Fault]:
        for job in jobs:
            name = _image_set_of(job)
            if name and self._records.get(IMAGE_SETS, name) is None and self._records.get(TOMBSTONES, name) is None:
                yield Fault("job-astray", name, job.id, job.kind)

    def _quarantine(self) -> Iterator[Fault]:
        for row in self._records.find(QUARANTINE):
            try:
                cipher = self._keys.cipher(bytes.fromhex(row.document["wrapped_key"]))
                data = cipher.open(self._blobs.get(f"training-data/quarantine/{row.key}/file.sealed"), row.key.encode())
            except (Corrupt, NotFound):
                yield Fault("quarantine-damaged", "", row.key)
                continue
            if hashlib.sha256(data).hexdigest() != row.document["sha256"]:
                yield Fault("quarantine-damaged", "", row.key)

    def _unnamed(self) -> Iterator[str]:
        """Packs on the disk that no record names."""
        for key in self._blobs.keys("image-sets/"):
            _, identity, name = key.split("/")
            if self._records.get(PACKS, f"{identity}/{name.removesuffix('.pack')}") is None:
                yield key


def _is_version(row: Row, instances: Mapping[str, StoredInstance]) -> bool:
    """Whether a version holds instances that are there, and frames that these have."""
    names, frames = row.document["instances"], row.document["frames"]
    if any(name not in instances for name in names):
        return False
    counts = [instances[name].frame_count for name in names]
    return all(0 <= place < len(counts) and 0 <= number < counts[place] for place, number in frames)


def _rebuilt(instance: StoredInstance, parts: Mapping[Ref, bytes]) -> str:
    """SHA-256 of the file as head, frames and tail give it."""
    whole = hashlib.sha256(b"" if instance.head is None else parts[instance.head])
    planar = int((instance.image or {}).get("planar", 0))
    for frame in instance.frames:
        whole.update(native_bytes(decode(parts[frame.full]), planar))
    if instance.tail is not None:
        whole.update(parts[instance.tail])
    return whole.hexdigest()


def _is_fold(job: Job, identity: str) -> bool:
    return job.kind == "fold" and job.payload.get("image_set") == identity


def _image_set_of(job: Job) -> str:
    """The image set a job or the event in it is about, or ""."""
    detail = job.payload.get("detail")
    found = job.payload.get("image_set") or (detail.get("image_set") if isinstance(detail, Mapping) else None)
    return found if isinstance(found, str) else ""
