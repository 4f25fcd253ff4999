"""The metadata document of an image set, and its frames by the names that document gives them.

The document tells every attribute by keyword, at the level it belongs to, and of every frame its name, its size, its
least and greatest pixel value, and a CRC-32 of its pixels at each resolution, by which a reader proves its decoder.
What a frame is measured at is kept: it is true for ever. So is the document of a closed version.

See:
    `docs/healthimaging.md`; PS3.18 §F for the form this one differs from.
"""

import gzip
import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from radloop.codec.encoders import JPEG_2000_LOSSLESS, encode_frame
from radloop.codec.htj2k import TRANSFER_SYNTAX, decode, encode_lossless
from radloop.codec.resolutions import resolutions
from radloop.core.errors import Corrupt, InvalidInput, NotFound
from radloop.core.images import ImageSet, Storage
from radloop.core.ports import Blobs, Keys, Put, Records, Stands
from radloop.core.tables import FRAME_FACTS, IMAGE_SETS, INSTANCES
from radloop.dicom.elements import read_part10
from radloop.dicom.image import pixel_element
from radloop.dicom.levels import level_of
from radloop.dicom.parse import Instance, parse
from radloop.dicom.pixels import native_array, stored_frame
from radloop.dicom.plain import Plain, plain_values
from radloop.store.apart import commit_apart
from radloop.store.described import Described, FrameFacts, facts_of, plain_facts
from radloop.store.edits import Edits, read_edits
from radloop.store.folding import EXPLICIT_LE, pixels_of
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.kept import Kept
from radloop.store.opened import FrameAddress
from radloop.store.packs import read_record
from radloop.store.versions import Version, version_of

SCHEMA_VERSION = "1.1"
CONTENT_TYPES: Mapping[str, str] = {
    EXPLICIT_LE: "application/octet-stream",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.91": "image/j2c",
    JPEG_2000_LOSSLESS: "image/j2c",
    TRANSFER_SYNTAX: "image/jph",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    **{f"1.2.840.10008.1.2.4.{name}": "video/mpeg" for name in ("100", "100.1", "101", "101.1")},
    **{f"1.2.840.10008.1.2.4.{name}{more}": "video/mp4" for name in range(102, 107) for more in ("", ".1")},
    "1.2.840.10008.1.2.4.107": "video/H256",
    "1.2.840.10008.1.2.4.108": "video/H256",
}
"""What a frame is called by the transfer syntax it is given out in."""

LOSSLESS: Mapping[str, str] = {"HTJ2K": TRANSFER_SYNTAX, "JPEG_2000_LOSSLESS": JPEG_2000_LOSSLESS}
"""Transfer syntax of lossless frames, by the storage format of a data store."""

_AS_RECEIVED = frozenset(CONTENT_TYPES) - {EXPLICIT_LE, *LOSSLESS.values()}
_STREAMS = frozenset(syntax for syntax, kind in CONTENT_TYPES.items() if kind.startswith("video/"))
_REMEMBERED = 32
_THREADS = 2


@dataclass(frozen=True, slots=True)
class GivenFrame:
    """A frame as it is given out."""

    data: bytes
    content_type: str


def frame_id(instance: str, number: int) -> str:
    """The name of a frame: 32 hexadecimal digits, the same for ever."""
    return hashlib.sha256(f"frame|{instance}|{number}".encode()).hexdigest()[:32]


class Metadata:
    """Writes and keeps metadata documents, and finds frames by name."""

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, images: ImageStore) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._images = images
        self._kept = Kept(blobs, records)
        self._names: OrderedDict[tuple[str, object], Mapping[str, FrameAddress]] = OrderedDict()
        self._guard = threading.Lock()

    def document(self, image_set: ImageSet, version: int | None = None, *, lossless: str = TRANSFER_SYNTAX) -> bytes:
        """The metadata document of a version, gzipped JSON.

        Args:
            image_set: Whose.
            version: The present one without it.
            lossless: Transfer syntax that lossless frames of its data store are given out in.

        Raises:
            NotFound: There is no such version.
        """
        number = image_set.version if version is None else version
        if not image_set.is_closed and number == image_set.version:
            edits = read_edits(self._records, image_set.id)
            instances = self._images.instances(image_set.id)
            return _gzipped(self._written(image_set, instances, edits, lossless))
        cipher, name = self._keys.cipher(image_set.wrapped_key), f"{number:08d}"
        kept = self._kept.get(cipher, image_set.id, name)
        if kept is not None:
            return kept
        wanted = version_of(self._records, image_set, number)
        instances = self._held(image_set, wanted)
        document = _gzipped(self._written(image_set, instances, wanted.edits, lossless))
        if not image_set.landed:  # folding may still find that a frame does not become HTJ2K
            self._kept.put(cipher, image_set.id, name, document)
        return document

    def frame(self, image_set: ImageSet, name: str, *, lossless: str = TRANSFER_SYNTAX) -> GivenFrame:
        """A frame by the name the metadata document gives it; frames of former versions too.

        Args:
            image_set: Whose.
            name: Of the frame.
            lossless: Transfer syntax that lossless frames are given out in: HTJ2K or JPEG 2000.

        Raises:
            NotFound: The image set has no such frame.
            UnsupportedPixels: It can be given out in no way.
        """
        found = self._frames_of(image_set).get(name)
        if found is None:
            raise NotFound(f"image set {image_set.id} has no frame of that name")
        return self._given(image_set, found, lossless)

    def measure(self, image_set: ImageSet) -> int:
        """Measure every frame that is not measured yet; returns how many instances were."""
        return self._facts_of(self._images.instances(image_set.id))[1]

    # frames

    def _given(self, image_set: ImageSet, address: FrameAddress, lossless: str) -> GivenFrame:
        instance, number = address.instance, address.number
        syntax = given_syntax(instance)
        if syntax == TRANSFER_SYNTAX:
            stored = self._codestream(image_set, address)
            if lossless == TRANSFER_SYNTAX:
                return GivenFrame(stored, CONTENT_TYPES[syntax])
            bits = int((instance.image or {})["bits_stored"])
            return GivenFrame(encode_frame(decode(stored), lossless, bits_stored=bits), CONTENT_TYPES[lossless])
        data = self._images.export(instance)
        if syntax in _STREAMS:
            return GivenFrame(_stream(data), CONTENT_TYPES[syntax])
        raw, received = stored_frame(data, parse(data), number)
        return GivenFrame(raw, CONTENT_TYPES.get(received, "application/octet-stream"))

    def _codestream(self, image_set: ImageSet, address: FrameAddress) -> bytes:
        """A frame as HTJ2K; read where the remembered instance says, else where it lies now."""
        frames = address.instance.frames
        if frames:
            cipher = self._keys.cipher(image_set.wrapped_key)
            try:
                return read_record(self._blobs, cipher, image_set.id, frames[address.number].full)
            except NotFound:
                pass  # folding or deleting has just removed the pack
        return self._images.frame_at(address.instance, address.number)

    def _frames_of(self, image_set: ImageSet) -> Mapping[str, FrameAddress]:
        """Where every frame is that there is or was, by its name; remembered until the image set changes."""
        key = (image_set.id, (image_set.updated_at, image_set.landed, image_set.stored_bytes))  # folding is no update
        with self._guard:
            if key in self._names:
                self._names.move_to_end(key)
                return self._names[key]
        rows = self._records.find(INSTANCES, {"image_set": image_set.id})
        names = {
            frame_id(instance.id, number): FrameAddress(instance, number)
            for instance in map(instance_of, rows)
            for number in range(instance.frame_count)
        }
        with self._guard:
            self._names[key] = names
            while len(self._names) > _REMEMBERED:
                self._names.popitem(last=False)
        return names

    def _held(self, image_set: ImageSet, version: Version) -> list[StoredInstance]:
        """The instances that a version held, in slice order."""
        rows = {row.key: row for row in self._records.find(INSTANCES, {"image_set": image_set.id})}
        if not rows.keys() >= set(version.instances):
            raise NotFound(f"image set {image_set.id} does not hold all of its version {version.number} any more")
        return [instance_of(rows[name]) for name in version.instances]

    # measuring

    def _facts_of(self, instances: Sequence[StoredInstance]) -> tuple[dict[str, list[FrameFacts]], int]:
        """The facts of every frame by instance, and how many instances had to be measured for it."""
        facts: dict[str, list[FrameFacts]] = {}
        waiting = []
        for instance in instances:
            row = self._records.get(FRAME_FACTS, instance.id)
            if row is not None:
                facts[instance.id] = [facts_of(values) for values in row.document["frames"]]
            elif instance.image is not None:
                waiting.append(instance)
        with ThreadPoolExecutor(_THREADS) as pool:
            measured = list(pool.map(self._measured, waiting))
        writes = []
        for instance, found in zip(waiting, measured, strict=True):
            facts[instance.id] = found
            if instance.storage is Storage.LANDED and not all(each.checksums for each in found):
                continue  # it may be given out otherwise once it is kept for good
            document = {"frames": [plain_facts(each) for each in found]}
            writes.append(Put(FRAME_FACTS, instance.id, document, {"image_set": instance.image_set}))
        owners = [Stands(IMAGE_SETS, name) for name in {each.image_set for each in waiting}]
        commit_apart(self._records, writes, while_stands=owners)  # each is true by itself, for ever
        return facts, len(waiting)

    def _measured(self, instance: StoredInstance) -> list[FrameFacts]:
        """The facts of every frame of one instance, whose file is read once."""
        syntax = given_syntax(instance)
        if syntax == TRANSFER_SYNTAX and instance.frames:
            return [self._measured_frame(instance, number) for number in range(instance.frame_count)]
        data = self._images.export(instance)
        if syntax in _STREAMS:
            return [FrameFacts((), None, None, len(_stream(data)))]
        parsed = parse(data)
        return [_measured_received(data, parsed, number, syntax) for number in range(instance.frame_count)]

    def _measured_frame(self, instance: StoredInstance, number: int) -> FrameFacts:
        return _measured_at(resolutions(self._images.frame_at(instance, number)))

    # writing

    def _written(
        self, image_set: ImageSet, instances: Sequence[StoredInstance], edits: Edits, lossless: str
    ) -> dict[str, Any]:
        """The document as plain values, instances in slice order."""
        described = self._images.described(image_set.id)
        told = {each.id: described[each.uid_as_received] for each in instances if each.uid_as_received in described}
        proven = {each.id for each in instances if each.id in told and _are_its(told[each.id], each)}
        facts, _ = self._facts_of([each for each in instances if each.id not in proven])
        facts |= {name: list(told[name].facts) for name in proven}
        headers = [self._values(instance, told.get(instance.id), edits) for instance in instances]
        common: dict[str, Plain] = {"Patient": {}, "Study": {}, "Series": {}}
        for values, _ in headers:
            for keyword, value in values.items():
                level = level_of(keyword)
                if level in common:
                    common[level].setdefault(keyword, value)
        series_uid = str(common["Series"].get("SeriesInstanceUID", image_set.series_uid))
        shown = {
            str(values.get("SOPInstanceUID", instance.sop_uid)): _instance_document(
                instance, values, vrs, common, facts=facts.get(instance.id, []), lossless=lossless
            )
            for instance, (values, vrs) in zip(instances, headers, strict=True)
        }
        return {
            "SchemaVersion": SCHEMA_VERSION,
            "DatastoreID": image_set.datastore,
            "ImageSetID": image_set.id,
            "Patient": {"DICOM": common["Patient"]},
            "Study": {
                "DICOM": common["Study"],
                "Series": {series_uid: {"DICOM": common["Series"], "Instances": shown}},
            },
        }

    def _values(self, instance: StoredInstance, told: Described | None, edits: Edits) -> tuple[Plain, dict[str, str]]:
        if told is None:
            values, vrs = plain_values(self._images.header(instance))
        else:
            values, vrs = dict(told.values), dict(told.vrs)
        edit = edits.of_instance(instance.id)
        return edit.over(values), {**vrs, **edit.vrs}


def _are_its(told: Described, instance: StoredInstance) -> bool:
    """Whether frames are given out as whoever measured them did, so that the checksums are theirs."""
    return told.transfer_syntax == given_syntax(instance) and len(told.facts) == instance.frame_count


def is_video(syntax: str) -> bool:
    """Whether a transfer syntax is one of video, whose frames nobody gives out singly."""
    return syntax in _STREAMS


def given_syntax(instance: StoredInstance) -> str:
    """The transfer syntax an instance's frames are given out in: HTJ2K, but for what loses by it or cannot be it."""
    if instance.transfer_syntax in _AS_RECEIVED:
        return instance.transfer_syntax
    image = instance.image or {}
    is_codable = image.get("bits_allocated") in {8, 16} and image.get("samples") in {1, 3} and not image.get("is_float")
    if instance.why_kept is not None and not instance.frames:
        is_codable = False
    if is_codable:
        return TRANSFER_SYNTAX
    return EXPLICIT_LE if instance.pixel_span is not None else instance.transfer_syntax


def _instance_document(
    instance: StoredInstance,
    values: Mapping[str, Any],
    vrs: Mapping[str, str],
    common: Mapping[str, Mapping[str, Any]],
    *,
    facts: Iterable[FrameFacts],
    lossless: str,
) -> dict[str, Any]:
    """One instance; what it tells otherwise of patient, study or series than the others stands with it."""
    own = {}
    for keyword, value in values.items():
        level = level_of(keyword)
        if level not in common or common[level].get(keyword) != value:
            own[keyword] = value
    syntax = given_syntax(instance)
    if syntax == TRANSFER_SYNTAX and lossless != syntax:
        syntax = lossless
        facts = [replace(each, checksums=each.checksums[-1:]) for each in facts]  # of HTJ2K's own resolutions
    return {
        "DICOM": own,
        "DICOMVRs": dict(vrs),
        "StoredTransferSyntaxUID": syntax,
        "ChecksumType": "DECOMPRESSED",
        "ImageFrames": [_frame_document(instance.id, number, each) for number, each in enumerate(facts)],
    }


def _frame_document(instance: str, number: int, facts: FrameFacts) -> dict[str, Any]:
    return {
        "ID": frame_id(instance, number),
        "PixelDataChecksumFromBaseToFullResolution": [
            {"Width": width, "Height": height, "Checksum": checksum} for width, height, checksum in facts.checksums
        ],
        "MinPixelValue": facts.least,
        "MaxPixelValue": facts.greatest,
        "FrameSizeInBytes": facts.size_bytes,
    }


def _measured_at(pictures: Sequence[NDArray[Any]]) -> FrameFacts:
    full = pictures[-1]
    checksums = tuple(
        (int(each.shape[1]), int(each.shape[0]), zlib.crc32(np.ascontiguousarray(each).tobytes())) for each in pictures
    )
    return FrameFacts(checksums, full.min().item(), full.max().item(), int(full.nbytes))


def _measured_received(data: bytes, parsed: Instance, number: int, syntax: str) -> FrameFacts:
    """The facts of a frame that is still, or for good, as it arrived; those of none where it does not decode."""
    try:
        if syntax == TRANSFER_SYNTAX:
            return _measured_at(resolutions(encode_lossless(pixels_of(data, parsed, number))))
        raw, stored = stored_frame(data, parsed, number)
        if stored != EXPLICIT_LE:
            return _measured_at([pixels_of(data, parsed, number)])
        pixels = native_array(raw, parsed)
        size = (int(pixels.shape[1]), int(pixels.shape[0]), zlib.crc32(raw))
        return FrameFacts((size,), pixels.min().item(), pixels.max().item(), len(raw))
    except (InvalidInput, Corrupt):
        return FrameFacts((), None, None, 0)


def _stream(data: bytes) -> bytes:
    """The one stream that all frames of a video are in."""
    part = read_part10(data)
    found = pixel_element(part.elements)
    fragments = () if found is None else found[1].fragments or ()
    return b"".join(part.data[start : start + length] for start, length in fragments[1:])


def _gzipped(document: Mapping[str, Any]) -> bytes:
    return gzip.compress(orjson.dumps(document), compresslevel=6, mtime=0)
