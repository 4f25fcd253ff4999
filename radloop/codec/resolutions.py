"""An HTJ2K frame at each of its resolutions, as a decoder that clamps shows it.

The wavelet's low passes overshoot the range of the samples. imagecodecs lets such values wrap around, so that black
becomes white in every type it decodes to. The remedy is in the header: told that the samples are signed numbers of 20
bits, the same codestream decodes to numbers wide enough for the overshoot and without the level shift of unsigned
samples, which is then added here, and the result is cut to the range. OpenJPH's own decoders give the same picture.

See:
    ISO/IEC 15444-1 A.5.1 (SIZ) and G.1 (level shift).
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radloop.codec.htj2k import CODEC_FAULTS, SOC_SIZ, resolution_ends
from radloop.codec.openjph import openjph
from radloop.core.errors import Corrupt

_COMPONENTS, _FIRST_DEPTH, _DEPTH_STEP = 40, 42, 3
_SIGNED_20 = 0x80 | 19
_SIGNED = 0x80


def resolutions(codestream: bytes) -> list[NDArray[Any]]:
    """The frame at every resolution, base to full, each half the size of the next.

    Args:
        codestream: One tile, all components alike, up to 16 bits: what `htj2k.encode_lossless` makes.

    Returns:
        Arrays (rows, columns) or (rows, columns, 3) of the frame's own type.

    Raises:
        Corrupt: It is no such codestream.
    """
    ends = resolution_ends(codestream)
    depth, widened = _widened(codestream)
    bits, is_signed = (depth & 0x7F) + 1, bool(depth & _SIGNED)
    kind = f"{'i' if is_signed else 'u'}{1 if bits <= 8 else 2}"  # noqa: PLR2004 — bits of a byte
    shift = 0 if is_signed else 1 << (bits - 1)
    limits = np.iinfo(kind)
    pictures = []
    for skipped in reversed(range(len(ends))):
        try:
            wide = np.asarray(openjph().htj2k_decode(widened, skipres=skipped))
        except CODEC_FAULTS as error:
            raise Corrupt("an HTJ2K codestream does not decode at one of its resolutions") from error
        pictures.append(np.clip(wide + shift, limits.min, limits.max).astype(kind))
    return pictures


def _widened(codestream: bytes) -> tuple[int, bytes]:
    """The depth byte of the first component, and the codestream with every depth set to 20 bits, signed."""
    if not codestream.startswith(SOC_SIZ) or len(codestream) < _FIRST_DEPTH + _DEPTH_STEP:
        raise Corrupt("these bytes are no JPEG 2000 codestream")
    changed = bytearray(codestream)
    (components,) = struct.unpack_from(">H", changed, _COMPONENTS)
    for component in range(components):
        changed[_FIRST_DEPTH + _DEPTH_STEP * component] = _SIGNED_20
    return codestream[_FIRST_DEPTH], bytes(changed)
