"""Image sets as their users meet them: landed, closed, folded, read, exported."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from radloop.codec.htj2k import decode, encode_lossless
from radloop.codec.png import thumbnail_png
from radloop.core.errors import Conflict, Corrupt, NotFound, Unavailable, UnsupportedPixels
from radloop.core.identity import Principal
from radloop.core.images import ImageSet, Notice
from radloop.core.ports import AuditEntry, Blobs, Change, Cipher, Clock, Job, Keys, Landing, Records, Upload
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, INSTANCES, PACKS, VERSIONS, image_set_of, put_image_set
from radloop.dicom.document import dicom_json
from radloop.dicom.geometry import Geometry, volume_geometry
from radloop.dicom.image import ImageDescription
from radloop.dicom.parse import parse
from radloop.store.edits import edited_instance, read_edits
from radloop.store.folding import Foldings, native_bytes, pixels_of
from radloop.store.instances import StoredFrame, StoredInstance, instance_of, put_instance
from radloop.store.landing import Landings
from radloop.store.packs import Ref, read_record, record_at_once
from radloop.store.studies import Studies, Study
from radloop.store.versions import CREATED, IMPORTED, put_version

_TRIES = 20
_REMEMBERED = 16
_REMEMBERED_FRAMES = 8192
_SERIES_REMEMBERED = 256
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FrameAddress:
    """Frame `index` of an image set is frame `number` of `instance`."""

    instance: StoredInstance
    number: int


@dataclass(frozen=True, slots=True)
class Glance:
    """A frame of an image set that was read lately, so that finding it takes no waiting."""

    image_set: ImageSet
    address: FrameAddress
    _read: Callable[[Ref], bytes | None]

    def full(self) -> bytes | None:
        """What `ImageStore.frame` gives; None where that would have to wait.

        Raises:
            Corrupt: The record fails its seal.
        """
        frames = self.address.instance.frames
        return self._read(frames[self.address.number].full) if frames else None

    def preview(self) -> bytes | None:
        """What `ImageStore.preview` gives; None where that would have to wait, or where there is none.

        Raises:
            Corrupt: The record fails its seal.
        """
        frames = self.address.instance.frames
        ref = frames[self.address.number].preview if frames else None
        return None if ref is None else self._read(ref)


@dataclass(slots=True)
class _Opened:
    """An image set that was read lately.

    It holds while the records' stamp is the one it was seen at, and, where anybody has committed anything since,
    while its own revision stands; then it takes the new stamp. `places` tells where in `addresses` a frame of an
    instance, by SOP instance UID and number, is.
    """

    image_set: ImageSet
    revision: int
    stamp: int
    addresses: tuple[FrameAddress, ...]
    places: Mapping[tuple[str, int], int]
    cipher: Cipher
    read: Callable[[Ref], bytes | None]


class ImageStore:
    """The image sets of one installation."""

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._landings = Landings(blobs, records, keys, clock)
        self._foldings = Foldings(blobs, records, keys, clock)
        self.studies = Studies(records, clock)
        self._remembered: OrderedDict[str, _Opened] = OrderedDict()
        self._only: dict[tuple[str, str, str], tuple[int, str | None]] = {}
        self._guard = threading.Lock()

    # arriving

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        """Land files, in order; on return each is durable, a known duplicate, or quarantined."""
        return self._landings.land(uploads, by=by, datastore=datastore)

    def complete(self, identity: str, *, by: Principal) -> ImageSet:
        """Close an image set: derive its geometry, fix its version, announce it, ask for folding.

        Closing twice is closing once.

        Raises:
            NotFound: There is no such image set.
        """
        for _ in range(_TRIES):
            row = self._records.get(IMAGE_SETS, identity)
            if row is None:
                raise NotFound(f"no image set {identity}")
            image_set = image_set_of(row)
            if image_set.is_closed:
                return image_set
            instances = self.instances(identity)
            geometry, order = arranged(instances)
            oddities = [*image_set.notices, *geometry.warnings, *self._reused(image_set, instances)]
            notices = tuple(dict.fromkeys(oddities))
            closed, event = image_set.close(geometry=facts_of(geometry), notices=notices, at=self._clock())
            edits = read_edits(self._records, identity)
            cause = CREATED if closed.version == 1 else IMPORTED
            version = put_version(closed, order, cause=cause, edits=edits, at=closed.updated_at)
            late = [(one, edited_instance(one, edits)) for one in instances] if edits else []
            told = event.told(at=self._clock(), trace=identity)
            job = Job(
                id=f"fold-{identity}-{closed.version}",
                lane="fold",
                kind="fold",
                payload={"image_set": identity},
                trace=identity,
            )
            try:
                self._records.commit(
                    Change(
                        writes=[
                            put_image_set(closed, expected=row.revision),
                            version,
                            *(put_instance(new, expected=None) for old, new in late if new != old),
                        ],
                        events=[told],
                        jobs=[job],
                        audit=[AuditEntry(by.id, "complete", identity)],
                    )
                )
            except Conflict:
                continue  # an instance landed meanwhile: look again
            return closed
        raise Unavailable("the image set kept changing while it was closed")

    def complete_quiet(self, quiet_s: float, *, by: Principal) -> list[str]:
        """Close every image set that has been quiet for `quiet_s` seconds; returns their ids."""
        before = self._clock() - timedelta(seconds=quiet_s)
        waiting = [image_set_of(row) for row in self._records.find(IMAGE_SETS, {"is_closed": 0})]
        quiet = [image_set.id for image_set in waiting if image_set.updated_at <= before]
        for identity in quiet:
            self.complete(identity, by=by)
        return quiet

    def complete_study(self, key: str, *, by: Principal) -> Study:
        """Close every image set of a study and announce it as received, once for what it holds now.

        Raises:
            NotFound: There is no such study.
        """
        for identity in self.studies.image_sets(self.studies.get(key)):
            self.complete(identity, by=by)
        return self.studies.received(key, by=by)

    def complete_quiet_studies(self, quiet_s: float, *, by: Principal) -> list[str]:
        """Complete every study that has been quiet for `quiet_s` seconds; returns their ids."""
        quiet = self.studies.quiet(quiet_s)
        for key in quiet:
            self.complete_study(key, by=by)
        return quiet

    def fold(
        self, identity: str, *, executor: Executor | None = None, told: Callable[[int], None] | None = None
    ) -> ImageSet:
        """Fold what is landed in an image set; folding what is folded changes nothing.

        Raises:
            NotFound: There is no such image set.
            Unavailable: It kept changing; worth another try.
        """
        for _ in range(_TRIES):
            image_set = self.get(identity)
            landed = [address for address in self.instances(identity) if address.storage == "landed"]
            if not landed:
                return image_set
            try:
                return self._foldings.fold(image_set, landed, executor=executor, told=told)
            except (Conflict, NotFound):
                continue  # a late object replaced one of them, or another fold was first
        raise Unavailable("the image set kept changing while it was folded")

    # reading

    def get(self, identity: str) -> ImageSet:
        """One image set.

        Raises:
            NotFound: There is no such image set.
        """
        held = self._held(identity)
        if held is not None:
            return held.image_set
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        return image_set_of(row)

    def glance(self, identity: str, index: int) -> Glance | None:
        """Frame `index`, if the image set was read lately and the frame is there; never waits for a disk."""
        held = self._held(identity)
        if held is None or not 0 <= index < len(held.addresses):
            return None
        return Glance(held.image_set, held.addresses[index], held.read)

    def glance_at(self, series: tuple[str, str, str], sop_uid: str, number: int) -> Glance | None:
        """Frame `number`, from 0, of the instance in a series that has one image set only; else as `glance`.

        Args:
            series: Data store, study instance UID and series instance UID.
            sop_uid: SOP instance UID.
            number: Of the frame.
        """
        identity = self._only_image_set(series)
        held = None if identity is None else self._held(identity)
        index = None if held is None else held.places.get((sop_uid, number))
        return None if held is None or index is None else Glance(held.image_set, held.addresses[index], held.read)

    def instances(self, identity: str) -> list[StoredInstance]:
        """Its current instances: in slice order once closed, by instance number before."""
        found = [instance_of(row) for row in self._records.find(INSTANCES, {"image_set": identity})]
        current = [instance for instance in found if instance.superseded_by is None]
        order = {name: place for place, name in enumerate(self._version(identity)["instances"])}
        return sorted(current, key=lambda i: (order.get(i.id, len(order)), i.number, i.sop_uid))

    def frames(self, identity: str) -> tuple[FrameAddress, ...]:
        """Every frame of an image set, in slice order."""
        return self._addresses(identity)[1]

    def frame(self, identity: str, index: int) -> tuple[bytes, str]:
        """Frame `index` as an HTJ2K codestream at full quality, and `lossless` or `lossy-as-received`.

        Raises:
            NotFound: There is no such image set or frame.
            UnsupportedPixels: No codec of ours decodes it; export gives the file as it came.
        """
        return self._retried(lambda: self._full(identity, index))

    def frame_at(self, instance: StoredInstance, number: int) -> bytes:
        """Frame `number` of an instance, also of one that is no longer shown, as an HTJ2K codestream at full quality.

        Raises:
            NotFound: There is no such instance or frame.
            UnsupportedPixels: No codec of ours decodes it.
        """

        def read() -> bytes:
            current = self._fresh(instance)
            if not 0 <= number < current.frame_count:
                raise NotFound(f"the instance has {current.frame_count} frames")
            return self._full_at(self.get(current.image_set), FrameAddress(current, number))

        return self._retried(read)

    def preview(self, identity: str, index: int) -> bytes:
        """The lossy full-resolution preview of frame `index`, HTJ2K; for moving only.

        Raises:
            NotFound: There is no such frame, or it is not folded yet.
        """

        def read() -> bytes:
            image_set, address = self._address(identity, index)
            frames = address.instance.frames
            ref = frames[address.number].preview if frames else None
            if ref is None:
                raise NotFound(f"frame {index} has no preview yet")
            return read_record(self._blobs, self._cipher(image_set), identity, ref)

        return self._retried(read)

    def pixels(self, identity: str, index: int) -> NDArray[np.generic]:
        """Frame `index` decoded: (rows, columns) or (rows, columns, 3), stored values.

        Raises:
            NotFound: There is no such image set or frame.
            UnsupportedPixels: No codec of ours decodes it.
        """
        return self._retried(lambda: self._pixels(identity, index))

    def thumbnail(self, identity: str) -> bytes:
        """A small PNG of the middle frame, badged as a picture for finding, not for reading.

        Raises:
            NotFound: There is no such image set, or it has no frames.
            UnsupportedPixels: No codec of ours decodes it.
        """
        addresses = self.frames(identity)
        if not addresses:
            raise NotFound(f"image set {identity} has no frames")
        middle = len(addresses) // 2
        pixels = self.pixels(identity, middle)
        image = addresses[middle].instance.image or {}
        if image.get("photometric") == "MONOCHROME1":
            pixels = np.invert(pixels)
            return thumbnail_png(pixels)
        return thumbnail_png(pixels, _stored_window(image))

    def volume(self, identity: str) -> NDArray[np.generic]:
        """All frames as training and prediction want them.

        Returns:
            CT: int16 (slices, rows, columns), HU. Else: uint16 (views, rows, columns), MONOCHROME2, full range.

        Raises:
            UnsupportedPixels: A frame is colour, undecodable, or differs in size from the others.
        """
        image_set = self.get(identity)
        addresses = self.frames(identity)
        frames = [
            _grey(self.pixels(identity, index), a.instance.image or {}, image_set.modality)
            for index, a in enumerate(addresses)
        ]
        if not frames or any(frame.shape != frames[0].shape for frame in frames):
            raise UnsupportedPixels("the frames of the image set do not form one volume")
        return np.stack(frames)

    def export(self, instance: StoredInstance) -> bytes:
        """The Part 10 file exactly as it arrived.

        Raises:
            Corrupt: What is stored does not rebuild the file.
        """
        return self._retried(lambda: self._export(self._fresh(instance)))

    def document(self, instance: StoredInstance, bulk_uri: Callable[[str], str] | None = None) -> dict[str, Any]:
        """The instance's header as a DICOM JSON object (PS3.18 Annex F), with what was edited since it arrived."""
        document = dicom_json(self.header(instance), bulk_uri)
        edit = read_edits(self._records, instance.image_set).of_instance(instance.id)
        return edit.over_document(document) if edit else document

    def header(self, instance: StoredInstance) -> bytes:
        """The file as it arrived, but for its pixels: zeros may stand for them."""

        def read() -> bytes:
            current = self._fresh(instance)
            cipher = self._cipher(self.get(current.image_set))
            ref = current.head or current.original
            if ref is None:
                raise Corrupt(f"instance {current.id} names no bytes")
            data = read_record(self._blobs, cipher, current.image_set, ref)
            if current.head is not None:
                tail = (
                    b"" if current.tail is None else read_record(self._blobs, cipher, current.image_set, current.tail)
                )
                data += bytes(current.size_bytes - len(data) - len(tail)) + tail  # pixels are not part of the answer
            return data

        return self._retried(read)

    def sweep(self) -> int:
        """Remove packs that a crash left unnamed; only the sole owner of the store may call this, before it works."""
        removed = 0
        for key in list(self._blobs.keys("image-sets/")):
            _, identity, name = key.split("/")
            if self._records.get(PACKS, f"{identity}/{name.removesuffix('.pack')}") is None:
                self._blobs.delete(key)
                removed += 1
        return removed

    # within

    def _reused(self, image_set: ImageSet, instances: Sequence[StoredInstance]) -> list[Notice]:
        """A notice where another image set of the data store holds an object under the same SOP instance UID."""
        for instance in instances:
            for row in self._records.find(INSTANCES, {"sop_uid": instance.sop_uid}):
                other = str(row.columns["image_set"])
                if other != image_set.id and self._is_in(image_set.datastore, other):
                    return [Notice("sop-uid-elsewhere", "Another series holds an object of the same SOP instance UID")]
        return []

    def _is_in(self, datastore: str, identity: str) -> bool:
        row = self._records.get(IMAGE_SETS, identity)
        return row is not None and row.columns["datastore"] == datastore

    def _version(self, identity: str) -> Mapping[str, Any]:
        """The order of the version that was closed last; empty before the first closing."""
        rows = self._records.find(VERSIONS, {"image_set": identity}, newest_first=True, limit=1)
        return rows[0].document if rows else {"instances": [], "frames": []}

    def _held(self, identity: str) -> _Opened | None:
        """What is remembered of an image set, if it still holds."""
        held = self._remembered.get(identity)
        if held is None:
            return None
        stamp = self._records.stamp()  # before the row, which is then at least as new
        if held.stamp != stamp:
            row = self._records.get(IMAGE_SETS, identity)
            if row is None or row.revision != held.revision:
                return None
            held.stamp = stamp
        return held

    def _only_image_set(self, series: tuple[str, str, str]) -> str | None:
        """The id of the one image set of a series; None where there are several, or none."""
        stamp = self._records.stamp()
        known = self._only.get(series)
        if known is not None and known[0] == stamp:
            return known[1]
        datastore, study_uid, series_uid = series
        rows = self._records.find(
            IMAGE_SETS, {"datastore": datastore, "study_uid": study_uid, "series_uid": series_uid}, limit=2
        )
        identity = rows[0].key if len(rows) == 1 else None
        if len(self._only) >= _SERIES_REMEMBERED:
            self._only.clear()
        self._only[series] = stamp, identity
        return identity

    def _opened(self, identity: str) -> _Opened:
        held = self._held(identity)
        if held is None:
            held = self._open(identity)
        with self._guard:
            self._remembered[identity] = held
            self._remembered.move_to_end(identity)
            frames = sum(len(each.addresses) for each in self._remembered.values())
            while len(self._remembered) > 1 and (len(self._remembered) > _REMEMBERED or frames > _REMEMBERED_FRAMES):
                frames -= len(self._remembered.popitem(last=False)[1].addresses)
        return held

    def _open(self, identity: str) -> _Opened:
        stamp = self._records.stamp()
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            with self._guard:
                self._remembered.pop(identity, None)
            raise NotFound(f"no image set {identity}")
        image_set = image_set_of(row)
        instances = self.instances(identity)
        places = [(instance, number) for instance in instances for number in range(instance.frame_count)]
        if image_set.is_closed:
            places = [(instances[place], number) for place, number in self._version(identity)["frames"]]
        addresses = tuple(FrameAddress(instance, number) for instance, number in places)
        cipher = self._keys.cipher(image_set.wrapped_key)
        read = partial(record_at_once, self._blobs, cipher, identity)
        order = {(address.instance.sop_uid, address.number): index for index, address in enumerate(addresses)}
        return _Opened(image_set, row.revision, stamp, addresses, order, cipher, read)

    def _addresses(self, identity: str) -> tuple[ImageSet, tuple[FrameAddress, ...]]:
        held = self._opened(identity)
        return held.image_set, held.addresses

    def _address(self, identity: str, index: int) -> tuple[ImageSet, FrameAddress]:
        image_set, addresses = self._addresses(identity)
        if not 0 <= index < len(addresses):
            raise NotFound(f"frame {index} does not exist; image set {identity} has {len(addresses)}")
        return image_set, addresses[index]

    def _full(self, identity: str, index: int) -> tuple[bytes, str]:
        image_set, address = self._address(identity, index)
        quality = "lossy-as-received" if address.instance.is_lossy else "lossless"
        return self._full_at(image_set, address), quality

    def _full_at(self, image_set: ImageSet, address: FrameAddress) -> bytes:
        stored = self._stored_frame(address)
        if stored is not None:
            return read_record(self._blobs, self._cipher(image_set), image_set.id, stored.full)
        data = self._export(address.instance)
        return encode_lossless(pixels_of(data, parse(data), address.number))

    def _pixels(self, identity: str, index: int) -> NDArray[np.generic]:
        image_set, address = self._address(identity, index)
        stored = self._stored_frame(address)
        if stored is not None:
            return decode(read_record(self._blobs, self._cipher(image_set), identity, stored.full))
        data = self._export(address.instance)
        return pixels_of(data, parse(data), address.number)

    @staticmethod
    def _stored_frame(address: FrameAddress) -> StoredFrame | None:
        frames = address.instance.frames
        return frames[address.number] if frames else None

    def _export(self, instance: StoredInstance) -> bytes:
        cipher = self._cipher(self.get(instance.image_set))
        name = instance.image_set
        if instance.original is not None:
            return read_record(self._blobs, cipher, name, instance.original)
        if instance.head is None or instance.image is None:
            raise Corrupt(f"instance {instance.id} names no bytes")
        parts = [read_record(self._blobs, cipher, name, instance.head)]
        for frame in instance.frames:
            pixels = decode(read_record(self._blobs, cipher, name, frame.full))
            parts.append(native_bytes(pixels, int(instance.image["planar"])))
        if instance.tail is not None:
            parts.append(read_record(self._blobs, cipher, name, instance.tail))
        return b"".join(parts)

    def _fresh(self, instance: StoredInstance) -> StoredInstance:
        """The instance as it is stored now; folding may have moved its bytes since it was read."""
        row = self._records.get(INSTANCES, instance.id)
        if row is None:
            raise NotFound(f"no instance {instance.id}")
        return instance_of(row)

    def _cipher(self, image_set: ImageSet) -> Cipher:
        return self._keys.cipher(image_set.wrapped_key)

    def _retried(self, read: Callable[[], _T]) -> _T:
        """Read; where folding removed the pack between looking and reading, look again once."""
        try:
            return read()
        except NotFound:
            with self._guard:
                self._remembered.clear()
            return read()


def arranged(instances: Sequence[StoredInstance]) -> tuple[Geometry, dict[str, Any]]:
    """The geometry, and what a version remembers: its instances and its frames, both in slice order."""
    pictured = [instance for instance in instances if instance.image is not None]
    geometry = volume_geometry([ImageDescription.from_plain(i.image) for i in pictured if i.image is not None])
    names = [pictured[place].id for place in geometry.order]
    names += [instance.id for instance in instances if instance.image is None]
    frames = [[names.index(pictured[place].id), number] for place, number in geometry.frames]
    return geometry, {"instances": names, "frames": frames}


def facts_of(geometry: Geometry) -> dict[str, Any]:
    """What an image set tells of its geometry; the order of frames stands in its version."""
    return {name: value for name, value in geometry.plain().items() if name not in {"order", "frames", "warnings"}}


def _stored_window(image: Mapping[str, Any]) -> tuple[float, float] | None:
    """The file's window in stored values instead of rescaled ones."""
    center, width, slope = image.get("window_center"), image.get("window_width"), float(image.get("slope") or 1.0)
    if center is None or not width:
        return None
    return (float(center) - float(image.get("intercept") or 0.0)) / slope, float(width) / slope


def _grey(pixels: NDArray[np.generic], image: Any, modality: str) -> NDArray[np.generic]:
    if pixels.ndim != 2:  # noqa: PLR2004 — rows, columns
        raise UnsupportedPixels("colour frames are not used for training")
    slope, intercept = float(image.get("slope") or 1.0), float(image.get("intercept") or 0.0)
    if modality == "CT":
        hounsfield = np.rint(pixels.astype(np.float32) * slope + intercept)
        clipped: NDArray[np.int16] = np.clip(hounsfield, -32768, 32767).astype(np.int16)
        return clipped
    bits = int(image["bits_stored"])
    offset = 1 << (bits - 1) if image["signed"] else 0
    scaled = (pixels.astype(np.float64) + offset) / ((1 << bits) - 1)
    if image.get("photometric") == "MONOCHROME1":
        scaled = 1.0 - scaled
    spread: NDArray[np.uint16] = np.rint(np.clip(scaled, 0.0, 1.0) * 65535).astype(np.uint16)
    return spread
