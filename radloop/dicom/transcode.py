"""A Part 10 file written anew in another transfer syntax, its pixels as they are or as they are handed in.

Values are copied, not understood: a bad date or a number that is none comes out as it went in. What a transfer syntax
asks to be different is made so: value representations are written or left out, big endian becomes little, sequences
get lengths, group lengths go. The preamble is written empty, because what another format kept there points into a
file that is no longer this one.

See:
    PS3.5 §7 and §A (encoding), PS3.10 §7 (the file).
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from radloop.core.errors import UnsupportedPixels
from radloop.dicom.document import resolved_vr
from radloop.dicom.elements import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    PIXEL_DATA,
    Element,
    Elements,
    Part10,
)
from radloop.dicom.make import IMPLEMENTATION
from radloop.dicom.values import text, unsigned, value_bytes

UNCOMPRESSED = frozenset({IMPLICIT_LE, EXPLICIT_LE})
"""Uncompressed transfer syntaxes that are written."""

_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_WORDS = {
    "US": 2, "SS": 2, "AT": 2, "OW": 2,
    "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4,
    "FD": 8, "OD": 8, "SV": 8, "UV": 8, "OV": 8,
}  # fmt: skip
_PADDED_BY_ZERO = frozenset({"UI", "OB", "UN"})
_SHORT_LIMIT = 0xFFFF
_UNDEFINED = 0xFFFFFFFF
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002})
_REPRESENTATION, _BITS_ALLOCATED = 0x00280103, 0x00280100
_BYTE = 8
_GROUP_LENGTH, _VERSION, _CLASS, _INSTANCE = 0x00020000, 0x00020001, 0x00020002, 0x00020003
_SYNTAX, _IMPLEMENTATION_CLASS, _IMPLEMENTATION_VERSION = 0x00020010, 0x00020012, 0x00020013
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True, slots=True)
class Pixels:
    """What is to stand in place of the pixel data.

    Attributes:
        frames: One codestream a frame where `is_encapsulated`, else pieces of the uncompressed value.
        attributes: Elements of the image description that change with it: VR and value, little endian.
    """

    frames: Sequence[bytes]
    is_encapsulated: bool
    attributes: Mapping[int, tuple[str, bytes]] = field(default_factory=dict)


def rewritten(part: Part10, syntax: str, pixels: Pixels | None = None) -> bytes:
    """The file in another transfer syntax.

    Args:
        part: The file taken apart.
        syntax: What to write. Explicit VR Little Endian is written for all but Implicit VR Little Endian.
        pixels: In place of the pixel data; None to copy those of an uncompressed file.

    Raises:
        UnsupportedPixels: The pixel data would have to be decoded or encoded and `pixels` is None; big endian and
            deflated files are not written.
    """
    if syntax in {EXPLICIT_BE, DEFLATED_LE}:
        raise UnsupportedPixels(f"files of transfer syntax {syntax} are not written")
    found = part.elements.get(PIXEL_DATA)
    if pixels is None and found is not None and (found.fragments is not None or syntax not in UNCOMPRESSED):
        raise UnsupportedPixels("compressed pixel data cannot be copied into another transfer syntax")
    writer = _Writer(part, is_explicit=syntax != IMPLICIT_LE)
    return b"".join((bytes(128), b"DICM", _meta(part, syntax), writer.data_set(part.elements, pixels)))


class _Writer:
    """Writes the data set of one file."""

    def __init__(self, part: Part10, *, is_explicit: bool) -> None:
        self._part = part
        self._is_explicit = is_explicit
        self._is_signed = unsigned(part, part.elements, _REPRESENTATION) == 1
        self._bits_allocated = unsigned(part, part.elements, _BITS_ALLOCATED) or 0

    def data_set(self, elements: Elements, pixels: Pixels | None = None) -> bytes:
        """One data set or item."""
        changed = {} if pixels is None else dict(pixels.attributes)
        written = []
        for tag in sorted({*elements, *changed}):
            if not tag & 0xFFFF or (pixels is not None and tag in _OFFSET_TABLES):
                continue  # group lengths and offsets would be those of another file
            if pixels is not None and tag == PIXEL_DATA:
                written.append(self._pixels(pixels))
            elif tag in changed:
                written.append(self._element(tag, *changed[tag]))
            else:
                written.append(self._copied(elements, tag, elements[tag]))
        return b"".join(written)

    def _copied(self, elements: Elements, tag: int, element: Element) -> bytes:
        vr = element.vr
        if element.items is not None or not vr or not self._part.is_explicit:
            vr = resolved_vr(self._part, elements, tag, element, is_signed=self._is_signed)
        if element.items is not None:
            items = (self.data_set(item) for item in element.items)
            return self._element(tag, "SQ", b"".join(_item(item) for item in items))
        if element.fragments is not None:
            raise UnsupportedPixels("compressed pixel data stand where none are expected")
        return self._element(tag, vr, self._little_endian(tag, vr, value_bytes(self._part, element)))

    def _little_endian(self, tag: int, vr: str, value: bytes) -> bytes:
        """Numbers turned round; pixels of more than 16 bits are turned whole, as everyone writes them."""
        size = _WORDS.get(vr, 1)
        if tag == PIXEL_DATA and vr == "OW":
            size = max(size, self._bits_allocated // _BYTE)
        if not self._part.is_big_endian or size == 1 or len(value) % size:
            return value
        return np.frombuffer(value, dtype=f">u{size}").astype(f"<u{size}").tobytes()

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        if len(value) % 2:
            value += b"\0" if vr in _PADDED_BY_ZERO or vr in _WORDS else b" "
        return _header(tag, vr, len(value), is_explicit=self._is_explicit) + value

    def _pixels(self, pixels: Pixels) -> bytes:
        if not pixels.is_encapsulated:
            value = b"".join(pixels.frames)
            return self._element(PIXEL_DATA, "OW" if self._is_wide() else "OB", value)
        frames = [frame + b"\0" * (len(frame) % 2) for frame in pixels.frames]
        return b"".join(
            (
                _header(PIXEL_DATA, "OB", _UNDEFINED, is_explicit=True),
                _item(_offsets(frames)),
                *(_item(frame) for frame in frames),
                _SEQUENCE_END,
                bytes(4),
            )
        )

    def _is_wide(self) -> bool:
        """OW in all but explicit files of 8 bits (PS3.5 §A.2)."""
        return not self._is_explicit or self._bits_allocated > _BYTE


def _header(tag: int, vr: str, length: int, *, is_explicit: bool) -> bytes:
    """Tag, VR and length; a value too long for the length field of its VR is of VR UN (PS3.5 §6.2.2)."""
    group, number = tag >> 16, tag & 0xFFFF
    if not is_explicit:
        return struct.pack("<HHL", group, number, length)
    if vr not in _LONG_VRS and length > _SHORT_LIMIT:
        vr = "UN"
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHL", group, number, vr.encode("ascii"), 0, length)
    return struct.pack("<HH2sH", group, number, vr.encode("ascii"), length)


def _item(value: bytes) -> bytes:
    return _ITEM + struct.pack("<L", len(value)) + value


def _offsets(frames: Sequence[bytes]) -> bytes:
    """The basic offset table; empty where an offset would not fit it."""
    offsets, at = [], 0
    for frame in frames:
        offsets.append(at)
        at += len(frame) + 8
    return struct.pack(f"<{len(offsets)}L", *offsets) if offsets[-1] <= _UNDEFINED else b""


def _meta(part: Part10, syntax: str) -> bytes:
    """Group 0002 of a file that we write: its transfer syntax and we ourselves are new, the rest stays."""
    values: dict[int, tuple[str, bytes]] = {}
    if not part.is_inflated:  # else its offsets count in the file, which is not at hand
        values = {tag: (element.vr or "UN", value_bytes(part, element)) for tag, element in part.meta.items()}
    values |= {
        _VERSION: ("OB", b"\0\1"),
        _CLASS: ("UI", text(part, part.elements, 0x00080016).encode("ascii", "replace")),
        _INSTANCE: ("UI", text(part, part.elements, 0x00080018).encode("ascii", "replace")),
        _SYNTAX: ("UI", syntax.encode("ascii")),
        _IMPLEMENTATION_CLASS: ("UI", IMPLEMENTATION.encode("ascii")),
        _IMPLEMENTATION_VERSION: ("SH", b"RADLOOP"),
    }
    values.pop(_GROUP_LENGTH, None)
    body = b"".join(_meta_element(tag, *values[tag]) for tag in sorted(values))
    return _meta_element(_GROUP_LENGTH, "UL", struct.pack("<L", len(body))) + body


def _meta_element(tag: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr in _PADDED_BY_ZERO else b" ") * (len(value) % 2)
    return _header(tag, vr, len(value), is_explicit=True) + value
