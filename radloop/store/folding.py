"""Folding: landed files become packs of verified HTJ2K frames, and only then are the originals let go.

`fold_file` is pure and runs in worker processes; `Foldings` reads, seals, writes and commits.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from radloop.codec.htj2k import encode_lossless, encode_preview, resolution_ends, verify
from radloop.codec.isolated import decode_isolated, unpack_isolated
from radloop.core.errors import Conflict, Corrupt, InvalidInput, NotFound, Unavailable, UnsupportedPixels
from radloop.core.events import ImageFolded
from radloop.core.images import ImageSet, Storage
from radloop.core.ports import Adjust, Blobs, Change, Clock, Delete, Keys, Put, Records
from radloop.core.tables import IMAGE_SETS, INSTANCES, image_set_of, put_image_set
from radloop.dicom.image import ImageDescription
from radloop.dicom.parse import Instance, parse
from radloop.dicom.pixels import StoredFrames, described, native_array
from radloop.store.instances import StoredFrame, StoredInstance, instance_of, put_instance
from radloop.store.packs import PackWriter, Ref, drop_pack, new_pack, pack_key, put_pack, read_record

EXPLICIT_LE = "1.2.840.10008.1.2.1"
_TRIES = 20
_TINY_BITS, _TINY_FRAMES = 8 * 1024, 10_000
"""Frames smaller than this, in such numbers, would take a hundred times their own bytes when folded."""

_AHEAD = 6  # two a process, and two more, of half a megabyte to many each


@dataclass(frozen=True, slots=True)
class FoldedFrame:
    """One frame encoded: lossless, its preview, and the byte end of every resolution."""

    full: bytes
    preview: bytes | None
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FoldedFile:
    """One file folded.

    Attributes:
        head: What stands before the pixel data; `tail` what stands behind. Both empty where the file is kept.
        frames: Empty where no codec takes the pixels.
        why_kept: None where head, frames and tail rebuild the file exactly; else a stable code, and the file is kept.
    """

    head: bytes
    tail: bytes
    frames: tuple[FoldedFrame, ...]
    why_kept: str | None


def fold_file(data: bytes, digest: str) -> FoldedFile:
    """Encode every frame, decode it again and compare, rebuild the file and compare its SHA-256 with `digest`."""
    instance = parse(data)
    if instance.image is None:
        return FoldedFile(b"", b"", (), "no-pixel-data")
    if instance.image.frames > _TINY_FRAMES and instance.image.frame_bits < _TINY_BITS:
        return FoldedFile(b"", b"", (), UnsupportedPixels.code)
    try:
        if instance.pixel_span is None:
            decoded = Decoded(data, instance)
            frames = tuple(_fold_frame(decoded.frame(i), instance.image) for i in range(instance.image.frames))
            return FoldedFile(b"", b"", frames, "compressed-as-received")
        return _fold_native(data, digest, instance)
    except UnsupportedPixels as error:
        return FoldedFile(b"", b"", (), error.code)
    except (InvalidInput, Corrupt):
        return FoldedFile(b"", b"", (), "does-not-decode")


class Decoded:
    """The frames of an instance decoded; those of a codec in a process that may die of them.

    Args:
        data: The whole file.
        instance: What `parse` gave of it.

    Raises:
        UnsupportedPixels: The instance has no pixels.
    """

    def __init__(self, data: bytes, instance: Instance) -> None:
        self._stored = StoredFrames(data, instance, unpack=unpack_isolated)
        self._instance = instance

    def frame(self, index: int) -> NDArray[np.generic]:
        """Frame `index`: (rows, columns) or (rows, columns, 3), in the instance's own sample type.

        Raises:
            NotFound: There is no such frame.
            UnsupportedPixels: No codec of ours takes its transfer syntax.
            InvalidInput: The frame is damaged.
        """
        raw, syntax = self._stored.frame(index)
        if syntax == EXPLICIT_LE:
            return native_array(raw, self._instance)
        return decode_isolated(raw, syntax, **described(self._instance))


def pixels_of(data: bytes, instance: Instance, index: int) -> NDArray[np.generic]:
    """One frame decoded; see `Decoded`, which does many."""
    return Decoded(data, instance).frame(index)


def native_bytes(pixels: NDArray[np.generic], planar: int) -> bytes:
    """Pixels as uncompressed little endian pixel data; `planar` 1 puts the colour planes one behind the other."""
    if pixels.ndim == 3 and planar == 1:  # noqa: PLR2004 — rows, columns, samples
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _fold_native(data: bytes, digest: str, instance: Instance) -> FoldedFile:
    image = instance.image
    if image is None or instance.pixel_span is None:
        raise UnsupportedPixels("the instance holds no pixels")
    start, _ = instance.pixel_span
    size = image.rows * image.columns * image.samples * image.bits_allocated // 8
    end = start + size * image.frames
    whole = hashlib.sha256(data[:start])
    frames, decoded = [], Decoded(data, instance)
    for index in range(image.frames):
        pixels = decoded.frame(index)
        frame = _fold_frame(pixels, image)
        whole.update(native_bytes(pixels, image.planar))  # `_fold_frame` has proven that these are what decodes
        frames.append(frame)
    whole.update(data[end:])
    if whole.hexdigest() != digest:
        return FoldedFile(b"", b"", tuple(frames), "does-not-rebuild")
    return FoldedFile(data[:start], data[end:], tuple(frames), None)


def _fold_frame(pixels: NDArray[np.generic], image: ImageDescription) -> FoldedFrame:
    full = encode_lossless(pixels)
    verify(pixels, full)
    return framed(pixels, full, image.photometric)


def framed(pixels: NDArray[np.generic], full: bytes, photometric: str) -> FoldedFrame:
    """A frame that is encoded already, and its preview.

    Args:
        pixels: What `full` decodes to.
        full: An HTJ2K codestream.
        photometric: What the values mean. What is near an index of a palette is any other colour: there is no preview
            of that.
    """
    try:
        preview = None if photometric == "PALETTE COLOR" else encode_preview(pixels)
    except UnsupportedPixels:
        preview = None
    return FoldedFrame(full=full, preview=preview, ends=tuple(resolution_ends(full)))


class Foldings:
    """Folds the landed instances of one image set into one pack."""

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock

    def fold(
        self,
        image_set: ImageSet,
        instances: list[StoredInstance],
        *,
        executor: Executor | None,
        told: Callable[[int], None] | None = None,
    ) -> ImageSet:
        """Fold `instances` (all landed, in slice order); on return they are folded or kept for good.

        Args:
            image_set: The one they belong to.
            instances: What to fold.
            executor: Where `fold_file` runs; None for here.
            told: Called with the number of instances done so far.

        Raises:
            Conflict: An instance changed meanwhile; nothing has happened, try again.
            Corrupt: A record written does not read back; nothing has happened.
        """
        cipher = self._keys.cipher(image_set.wrapped_key)
        originals = ((i, read_record(self._blobs, cipher, image_set.id, _original(i))) for i in instances)
        with new_pack(self._blobs, cipher, image_set.id) as pack:
            written: list[_Written] = []
            for instance, result in _spread(originals, executor):
                written.append(_write_frames(instance, result, pack))
                if told is not None:
                    told(len(written))
            # previews stand behind all frames, so that one range read covers those of many slices
            folded = [_write_rest(item, pack) for item in written]
        self._read_back(image_set, folded, pack.name)
        return self._commit(image_set.id, instances, folded, pack.name)

    def _read_back(self, image_set: ImageSet, folded: list[StoredInstance], pack: str) -> None:
        """Open every record of the new pack once more from the disk before any original goes."""
        cipher = self._keys.cipher(image_set.wrapped_key)
        for instance in folded:
            for ref in instance.refs:
                if ref.pack == pack:
                    read_record(self._blobs, cipher, image_set.id, ref)

    def _commit(self, identity: str, before: list[StoredInstance], folded: list[StoredInstance], pack: str) -> ImageSet:
        """Swap the references; the old packs go once nobody names them."""
        grown = sum(i.stored_bytes for i in folded) - sum(i.stored_bytes for i in before)
        kept = sum(i.storage is Storage.KEPT for i in folded)
        still = {ref.pack for instance in folded for ref in instance.refs}
        for _ in range(_TRIES):
            row = self._records.get(IMAGE_SETS, identity)
            if row is None:
                raise NotFound(f"no image set {identity}")
            now = image_set_of(row)
            emptied = {_original(i).pack for i in before} - still - self._named_elsewhere(now, folded)
            after = replace(
                now,
                landed=now.landed - len(folded),
                kept=now.kept + kept,
                stored_bytes=now.stored_bytes + grown,
            )
            event = ImageFolded(
                image_set=identity,
                version=now.version,
                folded=len(folded) - kept,
                kept=kept,
                original_bytes=after.original_bytes,
                stored_bytes=after.stored_bytes,
            ).told(at=self._clock())
            writes: list[Put | Adjust | Delete] = [
                put_instance(instance, expected=instance.revision) for instance in folded
            ]
            writes += [put_pack(identity, pack), *(drop_pack(identity, name) for name in emptied)]
            try:
                self._records.commit(
                    Change(writes=[*writes, put_image_set(after, expected=row.revision)], events=[event])
                )
            except Conflict:
                fresh = self._records.get(IMAGE_SETS, identity)
                if fresh is not None and fresh.revision == row.revision:
                    raise  # an instance changed, not the image set
                continue
            for name in emptied:
                self._blobs.delete(pack_key(identity, name))
            return after
        raise Unavailable("the image set kept changing while it was folded")

    def _named_elsewhere(self, image_set: ImageSet, folded: list[StoredInstance]) -> set[str]:
        """Packs that instances outside this fold still name."""
        mine = {instance.id for instance in folded}
        rows = self._records.find(INSTANCES, {"image_set": image_set.id})
        return {ref.pack for row in rows if row.key not in mine for ref in instance_of(row).refs}


@dataclass(frozen=True, slots=True)
class _Written:
    """A file whose frames are in the pack and whose smaller parts still wait."""

    instance: StoredInstance
    frames: tuple[tuple[Ref, tuple[int, ...], bytes | None], ...]
    head: bytes
    tail: bytes
    why_kept: str | None


def _write_frames(instance: StoredInstance, result: FoldedFile, pack: PackWriter) -> _Written:
    frames = tuple((pack.add("frame", frame.full), frame.ends, frame.preview) for frame in result.frames)
    return _Written(instance, frames, result.head, result.tail, result.why_kept)


def _write_rest(item: _Written, pack: PackWriter) -> StoredInstance:
    frames = tuple(
        StoredFrame(full=ref, preview=None if preview is None else pack.add("preview", preview), ends=ends)
        for ref, ends, preview in item.frames
    )
    if item.why_kept is not None:
        return replace(item.instance, storage=Storage.KEPT, frames=frames, why_kept=item.why_kept)
    return replace(
        item.instance,
        storage=Storage.FOLDED,
        original=None,
        head=pack.add("head", item.head),
        tail=pack.add("tail", item.tail) if item.tail else None,
        frames=frames,
    )


def _spread(
    originals: Iterable[tuple[StoredInstance, bytes]], executor: Executor | None
) -> Iterator[tuple[StoredInstance, FoldedFile]]:
    """Fold files in order, a few ahead of the one being written, so that memory stays small."""
    waiting: deque[tuple[StoredInstance, Future[FoldedFile]]] = deque()
    for instance, data in originals:
        if executor is None:
            yield instance, fold_file(data, instance.digest)
            continue
        waiting.append((instance, executor.submit(fold_file, data, instance.digest)))
        if len(waiting) >= _AHEAD:
            ahead, future = waiting.popleft()
            yield ahead, future.result()
    for ahead, future in waiting:
        yield ahead, future.result()


def _original(instance: StoredInstance) -> Ref:
    if instance.original is None:
        raise Corrupt(f"instance {instance.id} names no original")
    return instance.original
