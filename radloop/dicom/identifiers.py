"""Identifiers of queries: small data sets of keys and values, read from and written to the network (PS3.4 §C.4.1)."""

import struct
from collections.abc import Mapping

from pydicom._dicom_dict import DicomDictionary

from radloop.core.errors import InvalidInput
from radloop.dicom.elements import EXPLICIT_LE, IMPLICIT_LE, Element, Part10, read_part10
from radloop.dicom.header import file_header
from radloop.dicom.values import binary_numbers, encodings_of, texts

SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE)
"""Transfer syntaxes of identifiers, in our order of preference."""

SPECIFIC_CHARACTER_SET = 0x00080005

LONGEST = 1 << 20
"""Bytes an identifier may have: a list of 16,000 UIDs."""

_NUMBERS = frozenset({"US", "SS", "UL", "SL"})
_OPAQUE = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "AT", "FL", "FD", "SV", "UV"})
_LONG_HEADER = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "UC", "UR", "UT", "SV", "UV"})
_LONGEST_SHORT = 0xFFFE


def vr_of(tag: int) -> str:
    """Value representation of a tag in the dictionary; UN where it is not there or not one.

    >>> vr_of(0x00100010), vr_of(0x00091001)
    ('PN', 'UN')
    """
    vr = str(DicomDictionary.get(tag, ("UN",))[0])
    return vr if len(vr) == 2 else "UN"  # noqa: PLR2004 — some entries leave a choice, such as "US or SS"


def read_identifier(data: bytes, transfer_syntax: str) -> dict[int, str]:
    r"""Keys of an identifier and what they ask for, values separated by a backslash; "" matches everything.

    What is no text or number (sequences, above all) is told as "". Group lengths are left out.

    Raises:
        InvalidInput: It cannot be read, is too long, or is in a transfer syntax that is not for identifiers.
    """
    if transfer_syntax not in SYNTAXES or len(data) > LONGEST:
        raise InvalidInput("the identifier is too long or in a transfer syntax that is not for identifiers")
    part = read_part10(file_header(sop_class="", sop_uid="", transfer_syntax=transfer_syntax) + data)
    encodings = encodings_of(part, part.elements)
    return {
        tag: _value(part, tag, element, encodings)
        for tag, element in part.elements.items()
        if tag & 0xFFFF and tag != SPECIFIC_CHARACTER_SET
    }


def write_identifier(values: Mapping[int, object], transfer_syntax: str) -> bytes:
    """An identifier in UTF-8 (ISO_IR 192), ready for the network.

    Args:
        values: By tag: text, a number, a list of either, or None for what is asked for and not known.
        transfer_syntax: One of `SYNTAXES`.
    """
    known = {SPECIFIC_CHARACTER_SET: "ISO_IR 192", **values}
    return b"".join(_element(tag, known[tag], transfer_syntax == EXPLICIT_LE) for tag in sorted(known))


def _value(part: Part10, tag: int, element: Element, encodings: object) -> str:
    vr = element.vr or vr_of(tag)
    if element.items is not None or vr in _OPAQUE:
        return ""
    if vr in _NUMBERS:
        return "\\".join(str(number) for number in binary_numbers(part, element, vr))
    values = texts(part, element, encodings, is_name=vr == "PN")  # type: ignore[arg-type]
    return "\\".join(values)


def _element(tag: int, value: object, explicit: bool) -> bytes:
    vr = vr_of(tag)
    data = _encoded(vr, value)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack("<L", len(data)) + data
    if vr in _LONG_HEADER:
        return head + vr.encode() + struct.pack("<HL", 0, len(data)) + data
    return head + vr.encode() + struct.pack("<H", len(data)) + data


def _encoded(vr: str, value: object) -> bytes:
    values = list(value) if isinstance(value, list | tuple) else [] if value in (None, "") else [value]
    if not values or vr in _OPAQUE:
        return b""
    if vr in _NUMBERS:
        return struct.pack(f"<{len(values)}{'H' if vr in {'US', 'SS'} else 'L'}", *(int(str(each)) for each in values))
    data = "\\".join(map(str, values)).encode()
    if len(data) > _LONGEST_SHORT and vr not in _LONG_HEADER:
        data = data[:_LONGEST_SHORT].decode(errors="ignore").encode()
    return data + (b"\0" if vr == "UI" else b" ") * (len(data) % 2)
