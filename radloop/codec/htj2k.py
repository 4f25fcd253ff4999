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
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import Corrupt, UnsupportedPixels

TRANSFER_SYNTAX = "1.2.840.10008.1.2.4.202"

Frame = NDArray[Any]

_DECOMPOSITIONS = 5
_BASE_LIMIT = 64
_PREVIEW_LEVEL = 0.004
_DTYPES = frozenset({"uint8", "int8", "uint16", "int16"})
_RGB = 3

_SOC, _SOT, _SOD, _EOC = 0xFF4F, 0xFF90, 0xFF93, 0xFFD9
_TLM = 0xFF55


def decompositions(rows: int, columns: int) -> int:
    """How often a frame is halved: five times, more where the base would exceed 64, fewer for tiny frames.

    >>> decompositions(512, 512), decompositions(4096, 3000), decompositions(8, 8)
    (5, 6, 3)
    """
    wanted = max(_DECOMPOSITIONS, (-(-max(rows, columns) // _BASE_LIMIT) - 1).bit_length())
    return min(wanted, (min(rows, columns)).bit_length() - 1)
