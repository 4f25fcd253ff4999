"""Frames in the codecs that scanners and archives send, decoded to grey, palette indices or RGB.

What comes out: (rows, columns) for one sample, (rows, columns, 3) for three, in 8 or 16 bits by BitsAllocated, signed
by PixelRepresentation. Three samples are always RGB: the transform a codestream declares is undone by its codec, and
where only the photometric interpretation tells of YBR it is undone here.

See:
    PS3.5 §8.2 and §A.4; PS3.3 C.7.6.3.1.2 (photometric interpretation).
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.codec import htj2k
from radloop.codec.htj2k import CODEC_FAULTS, SOC_SIZ, frame_header
from radloop.core.errors import Corrupt, DoesNotDecode, PixelDataMismatch, UnsupportedPixels

Frame = NDArray[Any]

JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
JPEG_LOSSLESS = frozenset({"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"})
JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
HTJ2K = frozenset({"1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"})

DECODED = JPEG | JPEG_LOSSLESS | JPEG_LS | JPEG_2000 | HTJ2K
"""Transfer syntaxes `decode_frame` takes."""

FRAME_LIMIT = 1 << 30
"""Bytes a decoded frame may have; a header of 20 bytes can ask for 25 GB."""

_COLOUR = 3
_END = b"\xff\xd9"
_HEADER = 4096
_ADOBE_LENGTH = b"\0\x0e"
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def decode_frame(
    raw: bytes,
    transfer_syntax: str,
    *,
    rows: int,
    columns: int,
    samples: int,
    bits_allocated: int,
    bits_stored: int,
    signed: bool,
    photometric: str = "MONOCHROME2",
) -> Frame:
    """Decode one frame; the other arguments are the image description it came with.

    Returns:
        uint8, int8, uint16 or int16 (rows, columns) or (rows, columns, 3).

    Raises:
        UnsupportedPixels: No codec of ours takes the transfer syntax.
        DoesNotDecode: The codec refuses these bytes.
        PixelDataMismatch: The codestream holds an image of another size than described.
    """
    decoder = _decoder(transfer_syntax, photometric)
    if bits_allocated not in {8, 16} or samples not in {1, _COLOUR}:
        raise UnsupportedPixels(f"{samples} samples of {bits_allocated} bits are not decoded")
    if rows * columns * samples * bits_allocated // 8 > FRAME_LIMIT:
        raise UnsupportedPixels(f"a frame of {rows} x {columns} is larger than we decode")
    if transfer_syntax in JPEG_2000 | HTJ2K:
        raw = raw[max(raw.find(SOC_SIZ), 0) :]  # some writers put the codestream into a JP2 file
    _check_size(raw, transfer_syntax, rows, columns, samples)
    try:
        frame = np.asarray(decoder(raw))
    except (Corrupt, *CODEC_FAULTS) as error:
        raise DoesNotDecode(f"the codec of {transfer_syntax} refuses the frame") from error
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    if frame.shape != shape or frame.dtype.itemsize > 2:  # noqa: PLR2004 — 16 bits
        raise PixelDataMismatch("the decoded frame has not the shape of its description")
    frame = _stored_values(frame, bits_allocated, bits_stored, signed=signed)
    if samples == _COLOUR and photometric in _YBR and not _undoes_ybr(raw, transfer_syntax):
        frame = ybr_to_rgb(frame, bits_stored)
    return np.ascontiguousarray(frame)


def unpack_bits(segment: bytes, length: int) -> bytes:
    """The first `length` bytes of a segment of an RLE frame; a padding byte may unpack to more (PS3.5 §G.3.1).

    Raises:
        DoesNotDecode: The segment is damaged.
        PixelDataMismatch: It holds fewer bytes.
    """
    try:
        unpacked = imagecodecs.packbits_decode(segment, out=length + 256)
    except CODEC_FAULTS as error:
        raise DoesNotDecode("a segment of an RLE frame is damaged") from error
    if len(unpacked) < length:
        raise PixelDataMismatch(f"a segment of an RLE frame has {len(unpacked)} bytes for {length} pixels")
    return bytes(unpacked[:length])


def ybr_to_rgb(frame: Frame, bits_stored: int = 8) -> Frame:
    """RGB of full-range YBR, rounded, of the same unsigned type (PS3.3 C.7.6.3.1.2)."""
    half, top = 1 << (bits_stored - 1), (1 << bits_stored) - 1
    luma = frame[..., 0].astype(np.float32)
    blue, red = frame[..., 1].astype(np.float32) - half, frame[..., 2].astype(np.float32) - half
    planes = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
    rgb: Frame = np.clip(np.rint(np.stack(planes, axis=-1)), 0, top).astype(frame.dtype)
    return rgb


def _decoder(transfer_syntax: str, photometric: str) -> Callable[[bytes], Any]:
    if transfer_syntax in JPEG:
        return partial(_jpeg, photometric=photometric)
    codecs: tuple[tuple[frozenset[str], Callable[[bytes], Any]], ...] = (
        (JPEG_LOSSLESS, imagecodecs.jpegsof3_decode),
        (JPEG_LS, _jpeg_ls),
        (JPEG_2000, imagecodecs.jpeg2k_decode),
        (HTJ2K, htj2k.decode),
    )
    for syntaxes, codec in codecs:
        if transfer_syntax in syntaxes:
            return codec
    raise UnsupportedPixels(f"no codec of ours decodes transfer syntax {transfer_syntax}")


def _jpeg(raw: bytes, *, photometric: str) -> Any:
    """Baseline and extended JPEG, 8 and 12 bits.

    A JFIF or Adobe marker tells the truth about the colours; without one DICOM's photometric interpretation does,
    where libjpeg would guess YBR.
    """
    if photometric == "RGB" and not _marked(raw):
        return imagecodecs.jpeg8_decode(raw, colorspace="RGB", outcolorspace="RGB")
    return imagecodecs.jpeg8_decode(raw)


def _jpeg_ls(raw: bytes) -> Any:
    """JPEG-LS; CharLS looks four seconds for an end marker that is not there, so there always is one."""
    ended = raw.rstrip(b"\0").endswith(_END)
    return imagecodecs.jpegls_decode(raw if ended else raw + _END)


def _marked(raw: bytes) -> bool:
    """Whether a JFIF or a whole Adobe marker is there; libjpeg passes over a cut one, and then guesses."""
    adobe = raw.find(b"\xff\xee", 0, _HEADER)
    is_adobe = adobe >= 0 and raw[adobe + 4 : adobe + 9] == b"Adobe" and raw[adobe + 2 : adobe + 4] >= _ADOBE_LENGTH
    return is_adobe or b"JFIF\0" in raw[:_HEADER]


def _undoes_ybr(raw: bytes, transfer_syntax: str) -> bool:
    """Whether the codec has turned YBR into RGB itself."""
    if transfer_syntax in JPEG:
        return True
    if transfer_syntax in JPEG_2000 | HTJ2K:
        cod = raw.find(b"\xff\x52")
        return cod >= 0 and raw[cod + 8 : cod + 9] == b"\x01"
    return False


def _stored_values(frame: Frame, bits_allocated: int, bits_stored: int, *, signed: bool) -> Frame:
    """The codec's numbers as the file means them: codecs know neither the sign nor the bits in use."""
    kind = "i" if signed else "u"
    size = bits_allocated // 8
    if frame.dtype.kind != kind:
        frame = frame.view(f"{kind}{frame.dtype.itemsize}")
    spare = frame.dtype.itemsize * 8 - bits_stored
    if signed and spare > 0:
        frame = (frame << spare) >> spare  # arithmetic: the sign of the stored bits spreads
    return frame.astype(f"{kind}{size}", copy=False)


def _check_size(raw: bytes, transfer_syntax: str, rows: int, columns: int, samples: int) -> None:
    """Hold the codestream's own header against the description before a codec allocates by it."""
    if transfer_syntax in JPEG_2000 | HTJ2K:
        header = frame_header(raw)
        found = header and (header.rows, header.columns, header.components)
    else:
        found = _jpeg_size(raw)
    if found is None:
        raise DoesNotDecode(f"no frame header of {transfer_syntax} is there")
    if found != (rows, columns, samples):
        raise PixelDataMismatch(
            f"the codestream is of {found[0]} x {found[1]} x {found[2]}, described is {rows} x {columns} x {samples}"
        )


def _jpeg_size(raw: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of a JPEG or JPEG-LS codestream."""
    offset = 2
    while offset + 10 <= len(raw):
        if raw[offset] != 0xFF:  # noqa: PLR2004 — every marker begins so
            return None
        marker = raw[offset + 1]
        if marker in _SOF:
            rows, columns = struct.unpack_from(">HH", raw, offset + 5)
            return rows, columns, raw[offset + 9]
        if marker == 0xFF or marker in _STANDALONE:  # noqa: PLR2004 — fill bytes
            offset += 1 if marker == 0xFF else 2  # noqa: PLR2004 — as above
            continue
        offset += 2 + struct.unpack_from(">H", raw, offset + 2)[0]
    return None
