"""Frames as answers bring them, decoded to compare them with what was stored."""

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.conform.model import Differs
from radloop.conform.wire import Part
from radloop.dicom.specimens import native

_JPEG_2000 = frozenset({"image/jp2", "image/jpx", "image/j2c", "image/jph", "image/jphc", "image/htj2k"})
_SOC = b"\xff\x4f"
_CAPABILITIES = b"\xff\x50"
_RLE_HEADER = 64


def decoded(part: Part, like: NDArray[Any]) -> NDArray[Any]:
    """The frame that a part holds, in the shape and type of the one that was stored.

    Raises:
        Differs: It cannot be decoded, or has another size.
    """
    name = part.kind.name
    try:
        frame = _decode(name, part.data, like)
    except (ValueError, RuntimeError, IndexError) as error:
        raise Differs(f"a frame of {len(part.data)} bytes that does not decode as {name}") from error
    if frame.shape != like.shape or frame.itemsize != like.itemsize:
        raise Differs(f"a frame of shape {frame.shape}, {frame.itemsize * 8} bits, as {name}")
    return frame.view(like.dtype)


def same(part: Part, stored: NDArray[Any]) -> None:
    """Go on only where a part holds exactly this frame.

    Raises:
        Differs: It holds another.
    """
    wrong = int(np.count_nonzero(decoded(part, stored) != stored))
    if wrong:
        raise Differs(f"{wrong} of {stored.size} samples differ, as {part.kind.name}")


def picture(data: bytes) -> NDArray[Any]:
    """A JPEG, PNG or GIF as uint8 (rows, columns) or (rows, columns, samples).

    Raises:
        Differs: It is none of them.
    """
    readers = {b"\xff\xd8": imagecodecs.jpeg8_decode, b"\x89P": imagecodecs.png_decode, b"GI": imagecodecs.gif_decode}
    try:
        return np.asarray(readers[data[:2]](data))
    except (KeyError, ValueError, RuntimeError):
        raise Differs(f"{len(data)} bytes that are no JPEG, PNG or GIF") from None


def _decode(name: str, data: bytes, like: NDArray[Any]) -> NDArray[Any]:
    if name == "application/octet-stream":
        if len(data) != len(native(like)):
            raise Differs(f"a frame of {len(data)} bytes instead of {len(native(like))}")
        return np.frombuffer(data, like.dtype.newbyteorder("<")).reshape(like.shape).astype(like.dtype)
    if name in _JPEG_2000:
        start = data.find(_SOC)
        is_high_throughput = _CAPABILITIES in data[start : start + 256]
        decode = imagecodecs.htj2k_decode if is_high_throughput else imagecodecs.jpeg2k_decode
        return np.asarray(decode(data))
    if name == "image/jls":
        return np.asarray(imagecodecs.jpegls_decode(data))
    if name == "image/jpeg":
        try:
            return np.asarray(imagecodecs.ljpeg_decode(data))
        except (ValueError, RuntimeError):
            return np.asarray(imagecodecs.jpeg8_decode(data))
    if name == "image/dicom-rle":
        return _run_lengths(data, like)
    raise Differs(f"a frame as {name or 'nothing that is named'}")


def _run_lengths(data: bytes, like: NDArray[Any]) -> NDArray[Any]:
    """RLE (PS3.5 §G) undone: planes from the high byte down, sample by sample."""
    head = np.frombuffer(data[:_RLE_HEADER], "<u4")
    ends = [*head[2 : 1 + head[0]], len(data)]
    planes = [_unrolled(data[start:end], like.size) for start, end in zip(head[1 : 1 + head[0]], ends, strict=True)]
    whole = np.frombuffer(b"".join(planes), np.uint8).reshape(len(planes), -1)
    if like.itemsize == 1:
        return whole.T.reshape(like.shape)
    return whole.T.copy().view(like.dtype.newbyteorder(">")).reshape(like.shape).astype(like.dtype)


def _unrolled(data: bytes, most: int) -> bytes:
    out, at = bytearray(), 0
    while at + 1 < len(data) and len(out) < most:
        count = data[at]
        if count < 128:  # noqa: PLR2004 — literal bytes
            out += data[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            out += data[at + 1 : at + 2] * ((257 - count) % 129)
            at += 2
    return bytes(out[:most])
