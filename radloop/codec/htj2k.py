"""Frames as HTJ2K that unfolds from coarse to fine, and the small lossy picture shown while moving.

A lossless frame is a codestream of transfer syntax 1.2.840.10008.1.2.4.202: RPCL, TLM, one tile, one tile-part per
resolution. So the bytes up to the end of a tile-part are the frame at that resolution, and `resolution_ends` finds
them in the main header alone. Measured on a 512x512 chest CT: 2.1 to 2.5 times smaller than raw, 145 to 165 MB/s in,
240 MB/s out per core.

Frames at a lower resolution must be decoded by OpenJPH itself (the viewer does): imagecodecs wraps the wavelet's
undershoot of unsigned data to 65,535. Everything here decodes in full, where no codec is at fault.

See:
    PS3.5 §8.2.4 and §10.18; ISO/IEC 15444-1 Annex A (markers), 15444-15 (HTJ2K).
"""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radloop.codec.openjph import openjph
from radloop.core.errors import Corrupt, UnsupportedPixels

TRANSFER_SYNTAX = "1.2.840.10008.1.2.4.202"
PREVIEW_TRANSFER_SYNTAX = "1.2.840.10008.1.2.4.203"

Frame = NDArray[Any]

CODEC_FAULTS = (RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
"""What imagecodecs raises; its own error classes are RuntimeErrors."""

_DECOMPOSITIONS = 5
_BASE_LIMIT = 64
_DTYPES = frozenset({"uint8", "int8", "uint16", "int16"})
_RGB = 3

_PREVIEW_LEVEL = {1: 0.064, 2: 0.004}
_PREVIEW_RANGE = {1: 64, 2: 1024}
_PREVIEW_COARSEST = 0.25
_PREVIEW_COARSEST_CLIPPED = 0.016
_PREVIEW_BITS = 0.22
_PREVIEW_BYTES = 512

SOC_SIZ = b"\xff\x4f\xff\x51"
"""The two markers every codestream begins with."""

_SIZ_BYTES = 42
_TILE_LIMIT = 0xFFFF
_SOC, _SIZ, _COD, _SOT, _EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF90, 0xFFD9
_SOT_BYTES = 12


def decompositions(rows: int, columns: int) -> int:
    """How often a frame is halved: five times, more where the base would exceed 64, fewer for tiny frames.

    Never less than once: imagecodecs takes 0 for its default.

    >>> decompositions(512, 512), decompositions(4096, 3000), decompositions(8, 8), decompositions(1, 1)
    (5, 6, 3, 1)
    """
    needed = (-(-max(rows, columns) // _BASE_LIMIT) - 1).bit_length()
    return max(needed, min(_DECOMPOSITIONS, min(rows, columns).bit_length() - 1), 1)


def encode_lossless(frame: Frame) -> bytes:
    """A frame as HTJ2K that decodes to exactly the same values.

    Args:
        frame: uint8, int8, uint16 or int16 (rows, columns) or (rows, columns, 3).

    Raises:
        UnsupportedPixels: Another type or shape, or a single row or column of pixels: OpenJPH 0.32 loses such
            frames silently, as `verify` would tell.
    """
    frame = _fit(frame)
    return _encode(frame, reversible=True)


def encode_preview(frame: Frame) -> bytes:
    """A frame at full size and low quality, about 6 KB for a 512x512 CT; for moving, never for measuring.

    The quantiser's step is 0.004 of 16 bits (262 HU of a CT at the finest scale), finer where the frame uses few
    grey values, coarser where it would take more than 0.22 bits a pixel and sample.

    Signed values within an eighth of the type's ends are clipped: a decoder that does not clamp would turn the
    wavelet's overshoot of black padding into white. Unsigned values cannot be, for black is 0; the viewer's decoder
    clamps them, imagecodecs' does not. The preview of an int8 frame, where that room is too narrow, is lossless.

    Args:
        frame: As for `encode_lossless`.

    Raises:
        UnsupportedPixels: As `encode_lossless`.
    """
    frame = _fit(frame)
    size, coarsest = frame.dtype.itemsize, _PREVIEW_COARSEST
    if frame.dtype.name == "int8":
        return _encode(frame, reversible=True)
    if frame.dtype.kind == "i":
        limits = np.iinfo(frame.dtype)
        room = limits.max // 8
        if frame.min() < limits.min + room or frame.max() > limits.max - room:
            frame = np.clip(frame, limits.min + room, limits.max - room)
            coarsest = _PREVIEW_COARSEST_CLIPPED
    level = _PREVIEW_LEVEL[size] * min(1.0, max(_spread(frame), 1) / _PREVIEW_RANGE[size])
    budget = _PREVIEW_BYTES + int(frame.size * _PREVIEW_BITS / 8)
    while True:
        preview = _encode(frame, reversible=False, level=level)
        if len(preview) <= budget or level >= coarsest:
            return preview
        # Bytes fall a little slower than the step grows: this finds the level in one more try, two at most.
        level = min(level * max(1.2, (len(preview) / budget) ** 1.1), coarsest)


class FrameHeader(NamedTuple):
    """What a codestream says of the frame in it."""

    rows: int
    columns: int
    components: int


def frame_header(codestream: bytes) -> FrameHeader | None:
    """The header of a JPEG 2000 or HTJ2K codestream (ISO/IEC 15444-1 A.5.1).

    None for what is none and for what our codecs stumble over: components of several sizes or depths, over 16 bits,
    and a tile of size zero, by which OpenJPH divides and takes the process with it.
    """
    if len(codestream) < _SIZ_BYTES or not codestream.startswith(SOC_SIZ):
        return None
    length, _, right, bottom, left, top, *tile, components = struct.unpack_from(">HH8LH", codestream, 4)
    tile_columns, tile_rows, tile_left, tile_top = tile
    depths, *sampling = (codestream[_SIZ_BYTES + place : _SIZ_BYTES + 3 * components : 3] for place in range(3))
    if not components or length != _SIZ_BYTES - 4 + 3 * components or len(sampling[1]) != components:
        return None
    if len(set(depths)) > 1 or set(sampling[0]) | set(sampling[1]) != {1}:
        return None
    across = left < right and tile_left <= left < tile_left + tile_columns
    down = top < bottom and tile_top <= top < tile_top + tile_rows
    if not (across and down):
        return None
    tiles = -(-(right - tile_left) // tile_columns) * -(-(bottom - tile_top) // tile_rows)
    if tiles > _TILE_LIMIT or depths[0] & 0x7F > 15:  # noqa: PLR2004 — 16 bits are written as 15
        return None
    return FrameHeader(bottom - top, right - left, components)


def decode(codestream: bytes) -> Frame:
    """The values of a whole codestream, (rows, columns) or (rows, columns, samples).

    A codestream that was cut is found out; one whose coded bits were changed mostly is not, for HTJ2K has no checksum
    and imagecodecs leaves black what OpenJPH gives up on. What guards stored frames is their seal.

    Raises:
        Corrupt: It is no codestream, is cut short, or does not decode.
    """
    if frame_header(codestream) is None:
        raise Corrupt("these bytes are no HTJ2K codestream we decode")
    resolution_ends(codestream)  # OpenJPH takes for zeros what is missing at the end
    try:
        return np.asarray(openjph().htj2k_decode(codestream, planar=False))
    except CODEC_FAULTS as error:
        raise Corrupt(f"an HTJ2K codestream of {len(codestream)} bytes does not decode") from error


def verify(frame: Frame, codestream: bytes) -> None:
    """Decode and compare; a codec that is wrong about one pixel must not cost the original.

    Raises:
        Corrupt: The codestream is not exactly `frame`.
    """
    found = decode(codestream)
    if found.shape != frame.shape or found.dtype != frame.dtype.newbyteorder("=") or not np.array_equal(found, frame):
        raise Corrupt("an HTJ2K codestream decodes to other pixels than were encoded")


def resolution_ends(codestream: bytes) -> tuple[int, ...]:
    """Where each resolution ends, base to full: the bytes up to there are the frame at that resolution.

    Returns:
        One offset per resolution, the last the length of the codestream; only that one where the codestream is not
        divided by resolution.

    Raises:
        Corrupt: It is no codestream, shorter than its tile-parts say, or without its end marker.
    """
    ends = []
    try:
        resolutions, offset = _main_header(codestream)
        while struct.unpack_from(">H", codestream, offset)[0] == _SOT:
            length = struct.unpack_from(">L", codestream, offset + 6)[0]
            length = length or len(codestream.rstrip(b"\0")) - offset - 2  # zero: all there is before the end marker
            offset += length
            if length < _SOT_BYTES:
                raise Corrupt("a tile-part of an HTJ2K codestream is shorter than its header")
            ends.append(offset)
        if struct.unpack_from(">H", codestream, offset)[0] != _EOC:
            raise Corrupt("an HTJ2K codestream has no end marker where its tile-parts end")
    except struct.error:
        raise Corrupt("an HTJ2K codestream breaks off") from None
    if len(ends) != resolutions:
        return (len(codestream),)
    return (*ends[:-1], len(codestream))


def _main_header(codestream: bytes) -> tuple[int, int]:
    """Number of resolutions, and the offset of the first tile-part."""
    if struct.unpack_from(">HH", codestream) != (_SOC, _SIZ):
        raise Corrupt("these bytes are no JPEG 2000 codestream")
    offset, resolutions = 2, 0
    while True:
        marker, length = struct.unpack_from(">HH", codestream, offset)
        if marker == _SOT:
            return resolutions, offset
        if marker == _COD:
            resolutions = codestream[offset + 9] + 1 if offset + 9 < len(codestream) else 0
        if marker < _SOC or length < 2:  # noqa: PLR2004 — a marker's length counts itself
            raise Corrupt("the main header of a codestream holds no marker where one should stand")
        offset += 2 + length


def _fit(frame: Frame) -> Frame:
    """The frame as OpenJPH takes it: contiguous, native byte order."""
    if frame.dtype.name not in _DTYPES:
        raise UnsupportedPixels(f"HTJ2K frames are of 8 or 16 bit integers, not {frame.dtype.name}")
    if frame.ndim not in {2, 3} or (frame.ndim == _RGB and frame.shape[2] != _RGB) or not frame.size:
        raise UnsupportedPixels(f"HTJ2K frames are (rows, columns) or (rows, columns, 3), not {frame.shape}")
    rows, columns = frame.shape[:2]
    if min(rows, columns) == 1 and max(rows, columns) > 1:
        raise UnsupportedPixels("HTJ2K frames have more than one row and column, or are one pixel")
    return np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("="))


def _encode(frame: Frame, *, reversible: bool, level: float | None = None) -> bytes:
    try:
        return bytes(
            openjph().htj2k_encode(
                frame,
                level=level,
                reversible=reversible,
                resolutions=decompositions(*frame.shape[:2]),
                rgb=frame.ndim == _RGB,
                planar=False,
                tlm=True,
                tilepart=openjph().HTJ2K.TILEPART.RESOLUTIONS,
            )
        )
    except CODEC_FAULTS as error:
        raise UnsupportedPixels(f"OpenJPH refuses a frame of {frame.shape} {frame.dtype.name}") from error


def _spread(frame: Frame) -> float:
    """Grey values between the darkest and the brightest hundredth, on every so many pixels."""
    sample = frame.reshape(-1)[:: max(1, frame.size // 4096)]
    low, high = np.percentile(sample, (1, 99))
    return float(high - low)
