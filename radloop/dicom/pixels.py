"""The frames of an instance: cut out of the file, and read where they are uncompressed.

The glue to the codecs is one line for whoever may import both rooms:

    raw, syntax = stored_frame(data, instance, index)
    frame = native_array(raw, instance) if syntax == EXPLICIT_LE else decode_frame(raw, syntax, **described(instance))
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import DoesNotDecode, NotFound, PixelDataMismatch, UnsupportedPixels
from radloop.dicom.elements import (
    DEFLATED_FRAME,
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    RLE,
    Data,
    Element,
    Part10,
    read_part10,
)
from radloop.dicom.image import ImageDescription, pixel_element
from radloop.dicom.parse import Instance, instance_of
from radloop.dicom.values import binary_numbers, value_bytes

__all__ = [
    "StoredFrames",
    "described",
    "frame_bytes",
    "frames_encapsulated",
    "native_array",
    "stored_frame",
    "unpacked",
]

_COLOUR = 3
_RLE_HEADER = 64
_RLE_RATIO, _DEFLATE_RATIO = 64, 1032
"""How many bytes one may stand for, at most."""

_EXTENDED_OFFSETS = 0x7FE00001
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""How a JPEG or JPEG-LS, a JPEG 2000 codestream and a JP2 file begin."""

_Span = tuple[int, int]

Unpack = Callable[[bytes, int], bytes]


def described(instance: Instance) -> dict[str, Any]:
    """What a codec must know of a frame, as the keyword arguments of `codec.decoders.decode_frame`.

    Raises:
        UnsupportedPixels: The instance has no pixels.
    """
    image = _image(instance)
    return {
        "rows": image.rows,
        "columns": image.columns,
        "samples": image.samples,
        "bits_allocated": image.bits_allocated,
        "bits_stored": image.bits_stored,
        "signed": image.signed,
        "photometric": image.photometric,
    }


def frames_encapsulated(data: bytes) -> list[bytes]:
    """All frames of encapsulated pixel data, each with its fragments joined.

    Raises:
        InvalidInput: What `parse` raises of the file.
        PixelDataMismatch: The pixel data are not encapsulated, or nothing tells where frames begin.
    """
    part = read_part10(data)
    image = _image(instance_of(part))
    return [_joined(part.data, spans) for spans in _frame_spans(part, image.frames)]


def frame_bytes(data: bytes, instance: Instance, index: int) -> bytes:
    """One frame in its transfer syntax's own encoding; see `stored_frame`, which also tells which one that is."""
    return stored_frame(data, instance, index)[0]


def stored_frame(data: bytes, instance: Instance, index: int) -> tuple[bytes, str]:
    """One frame as stored, and the transfer syntax these bytes are in; see `StoredFrames`, which does many.

    Raises:
        NotFound: There is no such frame.
        UnsupportedPixels: The instance has no pixels, or of a layout we cannot cut.
        PixelDataMismatch: Nothing tells where frames begin, or a frame has not the size described.
    """
    return StoredFrames(data, instance).frame(index)


class StoredFrames:
    """The frames of an instance as stored; a compressed or deflated file is taken apart once for all of them.

    Encapsulated frames come as their codestream. Uncompressed ones come as they stand in the file, and what is no
    codec of its own (big endian, deflated, RLE) comes uncompressed and little endian: the transfer syntax is then
    Explicit VR Little Endian.

    Args:
        data: The whole file that `instance` was parsed from.
        instance: What `parse` gave.
        unpack: What unpacks a segment of an RLE frame to so many bytes; doors give one that runs elsewhere.

    Raises:
        UnsupportedPixels: The instance has no pixels.
    """

    def __init__(self, data: bytes, instance: Instance, *, unpack: Unpack | None = None) -> None:
        self._data = data
        self._instance = instance
        self._image = _image(instance)
        self._unpack = unpack or unpacked
        self._part: Part10 | None = None
        self._spans: list[list[_Span]] | None = None
        self._swapped: bytes | None = None

    def frame(self, index: int) -> tuple[bytes, str]:
        """Frame `index`, from 0, and the transfer syntax of its bytes.

        Raises:
            NotFound: There is no such frame.
            UnsupportedPixels: It is of a layout we cannot cut.
            PixelDataMismatch: Nothing tells where frames begin, or a frame has not the size described.
        """
        image, instance = self._image, self._instance
        if not 0 <= index < image.frames:
            raise NotFound(f"there is no frame {index}; the instance has {image.frames}")
        if instance.pixel_span is not None:
            return _cut(self._data, instance.pixel_span[0], image, index), EXPLICIT_LE
        part = self._part = self._part or read_part10(self._data)
        found = pixel_element(part.elements)
        if found is None:
            raise PixelDataMismatch("the file is not the one the instance was read from")
        if found[1].fragments is None:
            return self._native(part, found[1], index), EXPLICIT_LE
        if self._spans is None:
            self._spans = _frame_spans(part, image.frames)
        codestream = _joined(part.data, self._spans[index])
        if instance.transfer_syntax == RLE:
            return _rle(codestream, image, self._unpack), EXPLICIT_LE
        if instance.transfer_syntax == DEFLATED_FRAME:
            return _inflated(codestream, image), EXPLICIT_LE
        return codestream, instance.transfer_syntax

    def _native(self, part: Part10, pixels: Element, index: int) -> bytes:
        if self._instance.transfer_syntax not in {DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE, EXPLICIT_LE}:
            raise UnsupportedPixels(f"uncompressed pixels of transfer syntax {self._instance.transfer_syntax}")
        if not part.is_big_endian:
            return _cut(part.data, pixels.start, self._image, index)
        if self._swapped is None:
            self._swapped = _swapped(value_bytes(part, pixels), self._image, pixels.vr)
        return _cut(self._swapped, 0, self._image, index)


def native_array(raw: bytes, instance: Instance) -> NDArray[Any]:
    """The pixels of an uncompressed little endian frame.

    Bits beside the stored ones (overlays, rubbish) are cleared, the sign is spread over them, and YBR becomes RGB.
    Where none of that was needed, and the planes were not apart, the array's bytes are `raw`.

    Args:
        raw: From `stored_frame`.
        instance: Whose frame it is.

    Returns:
        uint8, int8, uint16, int16, uint32, int32, float32 or float64 (rows, columns) or (rows, columns, samples).

    Raises:
        UnsupportedPixels: The instance has no pixels, or of other than 1, 8, 16, 32 or 64 bits.
        PixelDataMismatch: `raw` has another length than a frame.
    """
    image = _image(instance)
    if len(raw) != -(-image.frame_bits // 8):
        raise PixelDataMismatch(f"a frame has {-(-image.frame_bits // 8)} bytes, these are {len(raw)}")
    if image.bits_allocated == 1:
        return _bits(raw, image)
    pixels = np.frombuffer(raw, dtype=_dtype(image))
    if image.photometric == "YBR_FULL_422" and image.samples == _COLOUR:
        return _ybr_to_rgb(_shared_colour(pixels, image), image.bits_stored)
    if image.samples > 1 and image.planar:
        pixels = pixels.reshape(image.samples, image.rows, image.columns).transpose(1, 2, 0)
    elif image.samples > 1:
        pixels = pixels.reshape(image.rows, image.columns, image.samples)
    else:
        pixels = pixels.reshape(image.rows, image.columns)
    pixels = _meant(pixels, image)
    if image.photometric == "YBR_FULL" and image.samples == _COLOUR:
        return _ybr_to_rgb(pixels, image.bits_stored)
    return np.ascontiguousarray(pixels)


def _image(instance: Instance) -> ImageDescription:
    if instance.image is None:
        raise UnsupportedPixels("the instance has no pixels")
    return instance.image


def _cut(data: Data, start: int, image: ImageDescription, index: int) -> bytes:
    """One frame of uncompressed pixels; frames of single bits need not begin at a byte."""
    first, bits = index * image.frame_bits, image.frame_bits
    if first % 8 == 0 and bits % 8 == 0:
        return data[start + first // 8 : start + (first + bits) // 8]
    piece = np.frombuffer(data[start + first // 8 : start + -(-(first + bits) // 8)], dtype=np.uint8)
    unpacked = np.unpackbits(piece, bitorder="little")[first % 8 : first % 8 + bits]
    return np.packbits(unpacked, bitorder="little").tobytes()


def _swapped(value: bytes, image: ImageDescription, vr: str) -> bytes:
    """Little endian from big endian: pixels of OW are words, even where two 8-bit pixels share one (PS3.5 §8.1.1)."""
    size = max(image.bits_allocated // 8, 2 if vr == "OW" else 1)
    if size == 1 or len(value) % size:
        return value
    return np.frombuffer(value, dtype=f">u{size}").astype(f"<u{size}").tobytes()


def _frame_spans(part: Part10, frames: int) -> list[list[_Span]]:
    """Which fragments make up each frame (PS3.5 §A.4): by offset table, one by one, or by how frames begin."""
    found = pixel_element(part.elements)
    if found is None or found[1].fragments is None:
        raise PixelDataMismatch("the pixel data are not encapsulated")
    table, *fragments = found[1].fragments
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    for offsets in (_extended_offsets(part, frames), _basic_offsets(part.data, table, frames)):
        spans = _by_offsets(fragments, offsets, frames)
        if spans is not None:
            return spans
    starts = [place for place, (start, _) in enumerate(fragments) if part.data[start : start + 8].startswith(_STARTS)]
    if len(starts) != frames or starts[0] != 0:
        raise PixelDataMismatch(f"nothing tells where {frames} frames begin in {len(fragments)} fragments")
    return [fragments[start:end] for start, end in zip(starts, [*starts[1:], len(fragments)], strict=True)]


def _extended_offsets(part: Part10, frames: int) -> Sequence[int]:
    element = part.elements.get(_EXTENDED_OFFSETS)
    if element is None or element.length != 8 * frames:
        return ()
    return [int(offset) for offset in binary_numbers(part, element, "OV")]


def _basic_offsets(data: Data, table: _Span, frames: int) -> Sequence[int]:
    start, length = table
    return struct.unpack(f"<{frames}L", data[start : start + length]) if length == 4 * frames else ()


def _by_offsets(fragments: Sequence[_Span], offsets: Sequence[int], frames: int) -> list[list[_Span]] | None:
    """Fragments by frame, or None where the offsets are not one per frame, ascending, each at a fragment."""
    if len(offsets) != frames:
        return None
    origin = fragments[0][0] - 8
    places = {start - 8 - origin: place for place, (start, _) in enumerate(fragments)}
    starts = [places.get(offset, -1) for offset in offsets]
    if starts[0] != 0 or -1 in starts or sorted(set(starts)) != starts:
        return None
    return [list(fragments[start:end]) for start, end in zip(starts, [*starts[1:], len(fragments)], strict=True)]


def _joined(data: Data, spans: Sequence[_Span]) -> bytes:
    return b"".join(data[start : start + length] for start, length in spans)


def _rle(codestream: bytes, image: ImageDescription, unpack: Unpack) -> bytes:
    """An RLE frame as uncompressed little endian bytes, its planes laid out as PlanarConfiguration says (PS3.5 §G).

    Segments are cut here, because imagecodecs' own reader of the whole frame follows offsets out of the buffer.
    """
    size, plane = image.bits_allocated // 8, image.rows * image.columns
    if image.bits_allocated not in {8, 16, 32}:
        raise UnsupportedPixels(f"RLE of {image.bits_allocated} bits")
    if len(codestream) < _RLE_HEADER:
        raise DoesNotDecode("the RLE frame has no header")
    count, *offsets = struct.unpack_from("<16L", codestream)
    if count != image.samples * size:
        raise PixelDataMismatch(f"an RLE frame has {count} segments, described are {image.samples * size}")
    ends = [*offsets[1:count], len(codestream)]
    if any(not _RLE_HEADER <= start <= end for start, end in zip(offsets, ends, strict=False)):
        raise DoesNotDecode("the segments of an RLE frame do not follow each other")
    if any(plane > _RLE_RATIO * (end - start) for start, end in zip(offsets, ends, strict=False)):
        raise DoesNotDecode(f"a segment of an RLE frame is too short for {plane} pixels")
    planes = np.empty((plane, image.samples, size), dtype=np.uint8)
    for segment, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        sample, byte = divmod(segment, size)
        planes[:, sample, size - 1 - byte] = np.frombuffer(unpack(codestream[start:end], plane), dtype=np.uint8)
    if image.planar:
        planes = planes.transpose(1, 0, 2)
    return planes.tobytes()


def unpacked(segment: bytes, length: int) -> bytes:
    """The first `length` bytes of one segment; a padding byte may unpack to more than there are (PS3.5 §G.3.1).

    Raises:
        DoesNotDecode: The segment is damaged.
        PixelDataMismatch: It holds fewer bytes.
    """
    try:
        whole = imagecodecs.packbits_decode(segment, out=length + 256)
    except (RuntimeError, ValueError) as error:
        raise DoesNotDecode("a segment of an RLE frame is damaged") from error
    if len(whole) < length:
        raise PixelDataMismatch(f"a segment of an RLE frame has {len(whole)} bytes for {length} pixels")
    return bytes(whole[:length])


def _inflated(codestream: bytes, image: ImageDescription) -> bytes:
    """A frame of the Deflated Image Frame transfer syntax."""
    wanted = -(-image.frame_bits // 8)
    if wanted > _DEFLATE_RATIO * len(codestream):
        raise DoesNotDecode(f"a deflated frame is too short for {wanted} bytes")
    try:
        frame = zlib.decompressobj(-zlib.MAX_WBITS).decompress(codestream, wanted)
    except zlib.error:
        raise DoesNotDecode("the deflated frame is damaged") from None
    if len(frame) != wanted:
        raise PixelDataMismatch(f"a deflated frame gives {len(frame)} bytes, described are {wanted}")
    return frame


def _dtype(image: ImageDescription) -> str:
    size = image.bits_allocated // 8
    if image.is_float:
        return f"<f{size}"
    if image.bits_allocated not in {8, 16, 32, 64}:
        raise UnsupportedPixels(f"pixels of {image.bits_allocated} bits")
    return f"<{'i' if image.signed else 'u'}{size}"


def _bits(frame: bytes, image: ImageDescription) -> NDArray[Any]:
    count = image.rows * image.columns * image.samples
    pixels = np.unpackbits(np.frombuffer(frame, dtype=np.uint8), count=count, bitorder="little")
    if image.samples > 1:
        raise UnsupportedPixels(f"{image.samples} samples of one bit")
    return pixels.reshape(image.rows, image.columns)


def _meant(pixels: NDArray[Any], image: ImageDescription) -> NDArray[Any]:
    """The stored bits alone, moved down and sign-extended where they do not fill the pixel (PS3.5 §8.1.1)."""
    spare = image.bits_allocated - image.bits_stored
    if image.is_float or spare <= 0:
        return pixels
    above = image.bits_allocated - 1 - image.high_bit
    low, high = int(pixels.min()), int(pixels.max())
    top = 1 << (image.bits_stored - image.signed)
    if above == spare and (-top if image.signed else 0) <= low and high < top:
        return pixels
    shifted: NDArray[Any] = (pixels << above) >> spare
    return shifted.astype(pixels.dtype, copy=False)


def _shared_colour(pixels: NDArray[Any], image: ImageDescription) -> NDArray[Any]:
    """YBR per pixel from Y1 Y2 B R per two of them (PS3.3 C.7.6.3.1.2)."""
    if image.columns % 2:
        raise UnsupportedPixels("YBR_FULL_422 of an odd number of columns")
    pairs = pixels.reshape(image.rows, image.columns // 2, 4)
    full = np.empty((image.rows, image.columns, 3), dtype=pixels.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    full[..., 1] = np.repeat(pairs[..., 2], 2, axis=1)
    full[..., 2] = np.repeat(pairs[..., 3], 2, axis=1)
    return full


def _ybr_to_rgb(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """RGB of full-range YBR, rounded (PS3.3 C.7.6.3.1.2)."""
    half, top = 1 << (bits - 1), (1 << bits) - 1
    luma = pixels[..., 0].astype(np.float32)
    blue, red = pixels[..., 1].astype(np.float32) - half, pixels[..., 2].astype(np.float32) - half
    planes = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
    rgb: NDArray[Any] = np.clip(np.rint(np.stack(planes, axis=-1)), 0, top).astype(pixels.dtype)
    return rgb
