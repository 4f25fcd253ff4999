"""Frames in the lossless codecs that other archives and viewers ask for.

Nothing leaves here unproven: what was encoded is decoded again and compared, because a codec that is wrong about one
pixel must not be found out by a reader. Colour is encoded as it is given, without a colour transform, so that the
photometric interpretation of the image stays true.

See:
    PS3.5 §8.2.3 (JPEG-LS), §8.2.4 (JPEG 2000), §8.2.14 (HTJ2K), §A.4.
"""

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.codec.decoders import decode_frame
from radloop.codec.htj2k import CODEC_FAULTS, decompositions
from radloop.codec.openjph import openjph
from radloop.core.errors import InvalidInput, UnsupportedPixels

JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"

Frame = NDArray[Any]

_DTYPES = frozenset({"uint8", "int8", "uint16", "int16"})
_COLOUR = 3
_HEADERS = 4096


def encode_frame(frame: Frame, transfer_syntax: str, *, bits_stored: int) -> bytes:
    """A frame in a lossless transfer syntax, as `codec.decoders.decode_frame` reads it back.

    Args:
        frame: uint8, int8, uint16 or int16 (rows, columns) or (rows, columns, 3), stored values.
        transfer_syntax: One of `ENCODED`.
        bits_stored: Bits in use; the values must fit them.

    Raises:
        UnsupportedPixels: Another transfer syntax, type or shape, values that need more bits, or a codec that does
            not give back what it was given (OpenJPH loses frames of one row or column).
    """
    encoder = _ENCODERS.get(transfer_syntax)
    if encoder is None:
        raise UnsupportedPixels(f"no codec of ours encodes transfer syntax {transfer_syntax}")
    if frame.dtype.name not in _DTYPES or frame.ndim not in {2, 3} or not frame.size:
        raise UnsupportedPixels(f"a frame of {frame.shape} {frame.dtype.name} is not compressed")
    if frame.ndim == _COLOUR and frame.shape[2] != _COLOUR:
        raise UnsupportedPixels(f"a frame of {frame.shape[2]} samples is not compressed")
    frame = np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("="))
    try:
        codestream = bytes(encoder(frame, bits_stored))
    except CODEC_FAULTS as error:
        raise UnsupportedPixels(f"the codec of {transfer_syntax} refuses the frame") from error
    _prove(frame, codestream, transfer_syntax, bits_stored)
    return codestream


def _jpeg_ls(frame: Frame, bits_stored: int) -> Any:
    """JPEG-LS knows no sign: of signed values the stored bits are kept, as two's complement (PS3.5 §8.2.3)."""
    unsigned = frame.view(f"u{frame.dtype.itemsize}")
    if frame.dtype.kind == "i":
        unsigned = unsigned & unsigned.dtype.type((1 << bits_stored) - 1)
    # The codec's own guess of the room it needs is too small for noise.
    return imagecodecs.jpegls_encode(np.ascontiguousarray(unsigned), out=frame.nbytes * 2 + _HEADERS)


def _jpeg_2000(frame: Frame, bits_stored: int) -> Any:
    return imagecodecs.jpeg2k_encode(
        frame, level=0, codecformat="j2k", bitspersample=bits_stored, reversible=True, mct=False, planar=False
    )


def _htj2k(frame: Frame, bits_stored: int) -> Any:  # noqa: ARG001 — OpenJPH writes the precision of the type
    return openjph().htj2k_encode(
        frame,
        reversible=True,
        resolutions=decompositions(*frame.shape[:2]),
        rgb=False,
        planar=False,
        tlm=True,
        tilepart=imagecodecs.HTJ2K.TILEPART.RESOLUTIONS,
    )


_ENCODERS: dict[str, Callable[[Frame, int], Any]] = {
    JPEG_LS_LOSSLESS: _jpeg_ls,
    JPEG_2000_LOSSLESS: _jpeg_2000,
    HTJ2K_LOSSLESS: _htj2k,
    HTJ2K_RPCL: _htj2k,
}

ENCODED = frozenset(_ENCODERS)
"""Transfer syntaxes `encode_frame` makes."""


def _prove(frame: Frame, codestream: bytes, transfer_syntax: str, bits_stored: int) -> None:
    """Decode what was encoded and compare.

    Raises:
        UnsupportedPixels: It is something else.
    """
    try:
        found = decode_frame(
            codestream,
            transfer_syntax,
            rows=frame.shape[0],
            columns=frame.shape[1],
            samples=1 if frame.ndim < _COLOUR else _COLOUR,
            bits_allocated=frame.dtype.itemsize * 8,
            bits_stored=bits_stored,
            signed=frame.dtype.kind == "i",
            photometric="MONOCHROME2" if frame.ndim < _COLOUR else "RGB",
        )
    except InvalidInput as error:
        raise UnsupportedPixels(f"the codec of {transfer_syntax} does not read what it wrote") from error
    if not np.array_equal(found, frame):
        raise UnsupportedPixels(f"the codec of {transfer_syntax} gives other pixels back than it was given")
