"""Palettes of PALETTE COLOR images (PS3.3 C.7.9)."""

from base64 import b64encode
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import UnsupportedPixels
from radloop.dicom.elements import Elements, Part10, read_part10
from radloop.dicom.values import binary_numbers, value_bytes

_DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
_TABLES = (0x00281201, 0x00281202, 0x00281203)
_SEGMENTED = 0x00281221
_FULL = 65536
_BYTE = 8


class Palette(NamedTuple):
    """Colours by index: uint8 (entries, 3), RGB; `first` is the index of the first one."""

    colours: NDArray[np.uint8]
    first: int


def palette_of(data: bytes) -> Palette:
    """The palette of a file, its colours in 8 bits.

    Raises:
        UnsupportedPixels: There is none, it is a segmented one, or it has fewer entries than it says.
        InvalidInput: What `read_part10` raises of the file.
    """
    return _palette(read_part10(data))


def shown_palette(part: Part10) -> tuple[int, str] | None:
    """The index of the first colour, and all colours, RGB in 8 bits, as base64; None where `palette_of` would raise."""
    try:
        palette = _palette(part)
    except UnsupportedPixels:
        return None
    return palette.first, b64encode(palette.colours.tobytes()).decode("ascii")


def _palette(part: Part10) -> Palette:
    if _SEGMENTED in part.elements:
        raise UnsupportedPixels("segmented palettes are not rendered")
    planes, first = [], 0
    for descriptor, table in zip(_DESCRIPTORS, _TABLES, strict=True):
        plane, first = _plane(part, part.elements, descriptor, table)
        planes.append(plane)
    if len({len(plane) for plane in planes}) > 1:
        raise UnsupportedPixels("the three tables of the palette are of different lengths")
    return Palette(np.stack(planes, axis=-1), first)


def _plane(part: Part10, elements: Elements, descriptor: int, table: int) -> tuple[NDArray[np.uint8], int]:
    """One colour's table and the index of its first entry."""
    if descriptor not in elements or table not in elements:
        raise UnsupportedPixels("the image has no palette")
    described = binary_numbers(part, elements[descriptor], "US")
    if len(described) < 3:  # noqa: PLR2004 — entries, first, bits
        raise UnsupportedPixels("the palette is not described")
    entries, first, bits = (int(number) for number in described[:3])
    entries = entries or _FULL
    if elements[descriptor].vr == "SS" and first > 0x7FFF:  # noqa: PLR2004 — the sign of 16 bits
        first -= _FULL
    value = value_bytes(part, elements[table])
    if len(value) >= 2 * entries:
        words = np.frombuffer(value, dtype=">u2" if part.is_big_endian else "<u2", count=entries)
        # Tables of 8 bits in 16: some writers fill the upper byte, some the lower.
        return (words >> (_BYTE if bits > _BYTE or words.max(initial=0) > 0xFF else 0)).astype(np.uint8), first  # noqa: PLR2004
    if len(value) >= entries:
        return np.frombuffer(value, dtype=np.uint8, count=entries), first
    raise UnsupportedPixels("the palette has fewer entries than it says")
