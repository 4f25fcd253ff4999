"""A Part 10 file made of plain values and frames: the way back from a HealthImaging metadata document.

What comes out holds the same attributes and the same pixels. It is not the file that once came in: text is UTF-8,
padding is the standard's, sequences have lengths, and an attribute whose VR nobody knows any more is UN.

See:
    PS3.5 §7 and §A.2 (Explicit VR Little Endian), §A.4 (encapsulated pixel data); PS3.10 §7.
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from radloop.core.errors import InvalidInput
from radloop.dicom.elements import EXPLICIT_LE
from radloop.dicom.plain import tag_and_vr

_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_FORMATS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_SHORT_LIMIT = 0xFFFF
_BYTE = 8
_META = 0x0002
_GROUP_LENGTH, _SYNTAX = 0x00020000, 0x00020010
_PIXEL_DATA = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def part10_of(
    values: Mapping[str, Any],
    vrs: Mapping[str, str],
    frames: Sequence[bytes],
    *,
    transfer_syntax: str = EXPLICIT_LE,
) -> bytes:
    """A Part 10 file, Explicit VR Little Endian.

    Args:
        values: Attributes by keyword, or by tag in eight hexadecimal digits, file meta information among them.
        vrs: The VRs of those that stand under their tag.
        frames: Uncompressed little endian frames, or codestreams of `transfer_syntax`; empty for no pixel data.
        transfer_syntax: What the frames are in.

    Raises:
        InvalidInput: A value that its VR cannot hold, or an attribute that the dictionary does not know.
    """
    is_signed = values.get("PixelRepresentation") == 1
    elements: dict[int, bytes] = {}
    for name, value in values.items():
        tag, vr = _tag_and_vr(name, vrs, is_signed=is_signed)
        elements[tag] = _element(tag, vr, _bytes_of(name, vr, value, vrs, is_signed=is_signed))
    elements[_SYNTAX] = _element(_SYNTAX, "UI", _padded(transfer_syntax.encode(), "UI"))
    if frames:
        elements[_PIXEL_DATA] = _pixels(values, frames, transfer_syntax)
    meta = b"".join(elements[tag] for tag in sorted(elements) if tag >> 16 == _META and tag != _GROUP_LENGTH)
    length = _element(_GROUP_LENGTH, "UL", struct.pack("<L", len(meta)))
    body = b"".join(elements[tag] for tag in sorted(elements) if tag >> 16 > _META)
    return bytes(128) + b"DICM" + length + meta + body


def _tag_and_vr(name: str, vrs: Mapping[str, str], *, is_signed: bool) -> tuple[int, str]:
    tag, vr = tag_and_vr(name, vrs)
    if vr.startswith("US or SS"):
        vr = "SS" if is_signed else "US"
    return int(tag, 16), vr.split(" or ")[-1] if " or " in vr else vr


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    if len(value) > _SHORT_LIMIT:
        raise InvalidInput(f"a value of VR {vr} is longer than its encoding can tell")
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def _bytes_of(name: str, vr: str, value: Any, vrs: Mapping[str, str], *, is_signed: bool) -> bytes:
    """The value as it stands in the file."""
    if vr == "SQ":
        return b"".join(_item(item, vrs, is_signed=is_signed) for item in value or ())
    if value is None or value in ("", []):
        return b""
    try:
        if vr in _BINARY:
            return _padded(base64.b64decode(value, validate=True), vr)
        values = value if isinstance(value, list) else [value]
        if vr in _FORMATS:
            numbers = [float("nan") if number is None else number for number in values]
            return struct.pack(f"<{len(numbers)}{_FORMATS[vr]}", *numbers)
        if vr == "AT":
            return b"".join(struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) for tag in values)
    except (ValueError, TypeError, struct.error):
        raise InvalidInput(f"{name} has a value that VR {vr} cannot hold") from None
    return _padded("\\".join("" if each is None else str(each) for each in values).encode(), vr)


def _item(item: Mapping[str, Any], vrs: Mapping[str, str], *, is_signed: bool) -> bytes:
    elements = {}
    for name, value in item.items():
        tag, vr = _tag_and_vr(name, vrs, is_signed=is_signed)
        elements[tag] = _element(tag, vr, _bytes_of(name, vr, value, vrs, is_signed=is_signed))
    body = b"".join(elements[tag] for tag in sorted(elements))
    return _ITEM + struct.pack("<L", len(body)) + body


def _padded(value: bytes, vr: str) -> bytes:
    return value + (b"\0" if vr == "UI" or vr in _BINARY else b" ") * (len(value) % 2)


def _pixels(values: Mapping[str, Any], frames: Sequence[bytes], transfer_syntax: str) -> bytes:
    bits = int(values.get("BitsAllocated") or _BYTE)
    if transfer_syntax == EXPLICIT_LE:
        return _element(_PIXEL_DATA, "OW" if bits > _BYTE else "OB", _padded(b"".join(frames), "OB"))
    even = [_padded(frame, "OB") for frame in frames]
    items = b"".join(_ITEM + struct.pack("<L", len(frame)) + frame for frame in [b"", *even])
    head = struct.pack("<HH2sHL", _PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF, b"OB", 0, _UNDEFINED)
    return head + items + _SEQUENCE_END
