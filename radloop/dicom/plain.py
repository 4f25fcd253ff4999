"""A data set as plain values by keyword: the form of a HealthImaging metadata document.

DS and IS stand there as text, with the blank that pads them, so that nothing is lost by reading them as floating
point numbers; attributes that may have several values are lists even where there is one; an empty value is a null;
binary values are base64. What the dictionary does not know, private elements above all, stands under its tag in eight
hexadecimal digits, and its VR beside it.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag, tag_for_keyword

from radloop.core.errors import InvalidInput
from radloop.dicom.document import (
    DOCUMENT_LIMIT,
    REMEMBERED_SEQUENCES,
    REPEATED_ITEMS_BYTES,
    Full,
    little_endian,
    resolved_vr,
)
from radloop.dicom.elements import (
    DOUBLE_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    Data,
    Element,
    Elements,
    Part10,
    read_part10,
)
from radloop.dicom.values import binary_numbers, decimal, decoded, encodings_of, integer, is_uid, unsigned, value_bytes

__all__ = ["Plain", "dicom_entries", "is_keyword", "plain_values", "tag_and_vr"]

Plain = dict[str, Any]

_PIXELS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA})
_META = 0x0002
_CHARACTER_SET, _REPRESENTATION = 0x00080005, 0x00280103
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_NUMBERS = frozenset({"FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_LONG_TEXT = frozenset({"LT", "ST", "UT", "UR"})
_WHOLE = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})
_TAG = re.compile(r"[0-9A-F]{8}")
_SHAPES: Mapping[str, Callable[[str], bool]] = {
    "DA": lambda text: re.fullmatch(r"\d{8}", text, re.ASCII) is not None,
    "TM": lambda text: re.fullmatch(r"\d{2,6}(\.\d{1,6})?", text, re.ASCII) is not None,
    "UI": is_uid,
    "DS": lambda text: decimal(text) is not None,
    "IS": lambda text: integer(text) is not None,
    "CS": lambda text: re.fullmatch(r"[A-Z0-9 _]{1,16}", text) is not None,
}
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def plain_values(data: Data) -> tuple[Plain, dict[str, str]]:
    """Every attribute of a Part 10 file but its pixels, file meta information included.

    Returns:
        Values by keyword, and the VRs of those that stand under their tag. Values inside sequences that are the same
        may be one object: change none in place. Sequences that go beyond `DOCUMENT_LIMIT` are left out.

    Raises:
        InvalidInput: What `read_part10` raises of the file.
    """
    part = read_part10(data)
    meta = _Writer(replace(part, data=data, is_big_endian=False))  # as the file has them (PS3.10 §7.1)
    writer = _Writer(part)
    values = meta.data_set(part.meta, ("iso8859",))
    values |= writer.data_set(part.elements, ("iso8859",))
    return values, writer.vrs


class _Writer:
    """Writes one file's values and remembers the VRs nobody could look up."""

    def __init__(self, part: Part10) -> None:
        self.part = part
        self.vrs: dict[str, str] = {}
        self.is_signed = unsigned(part, part.elements, _REPRESENTATION) == 1
        self._left = DOCUMENT_LIMIT
        self._sequences: dict[tuple[str, Sequence[str], bytes], list[Plain]] = {}

    def data_set(self, elements: Elements, encodings: Sequence[str], *, is_item: bool = False) -> Plain:
        """One data set or item.

        Raises:
            Full: An item, and there would be too many values.
        """
        encodings = encodings_of(self.part, elements, encodings)
        values: Plain = {}
        for tag in sorted(elements):
            if tag in _PIXELS or (not tag & 0xFFFF and tag >> 16 != _META):
                continue  # lengths of groups say nothing about a document
            element = elements[tag]
            vr = resolved_vr(self.part, elements, tag, element, is_signed=self.is_signed)
            keyword, is_list, is_tag = _named(tag)
            if is_item:
                self._left -= 1
                if self._left < 0:
                    raise Full
            if is_tag:
                self.vrs[keyword] = vr
            try:
                values[keyword] = self.value(tag, vr, element, encodings, is_list=is_list)
            except Full:
                if is_item:
                    raise
        return values

    def value(self, tag: int, vr: str, element: Element, encodings: Sequence[str], *, is_list: bool) -> Any:
        """One value, a list of them, or None.

        Raises:
            Full: It is a sequence with too many values.
        """
        if vr == "SQ":
            return self._items(element, encodings)
        return self._simple(tag, vr, element, encodings, is_list=is_list) if element.length else None

    def _items(self, element: Element, encodings: Sequence[str]) -> list[Plain]:
        """The items of a sequence; the same again where the same bytes stood before."""
        if element.length > REPEATED_ITEMS_BYTES:
            return [self.data_set(item, encodings, is_item=True) for item in element.items or ()]
        key = (element.vr, encodings, value_bytes(self.part, element))
        known = self._sequences.get(key)
        if known is None:
            known = [self.data_set(item, encodings, is_item=True) for item in element.items or ()]
            if len(self._sequences) < REMEMBERED_SEQUENCES:
                self._sequences[key] = known
        return known

    def _simple(self, tag: int, vr: str, element: Element, encodings: Sequence[str], *, is_list: bool) -> Any:
        if vr in _BINARY:
            return base64.b64encode(little_endian(self.part, element, vr)).decode("ascii")
        if vr in _NUMBERS:
            numbers = [n if math.isfinite(n) else None for n in binary_numbers(self.part, element, vr)]
            return _listed(numbers, is_list=is_list)
        if vr == "AT":
            words = binary_numbers(self.part, element._replace(length=element.length // 4 * 4), "US")
            tags = [f"{group:04X}{number:04X}" for group, number in zip(words[::2], words[1::2], strict=True)]
            return _listed(tags, is_list=is_list)
        if tag == _CHARACTER_SET:
            return ["ISO_IR 192"]
        return _text(decoded(value_bytes(self.part, element), encodings, is_name=vr == "PN"), vr, is_list=is_list)


def _text(text: str, vr: str, *, is_list: bool) -> Any:
    """The value of a text VR."""
    if vr in _LONG_TEXT:
        return text.rstrip(" \0") or None
    pieces = [piece.strip("\0") if vr in {"DS", "IS"} else piece.strip(" \0") for piece in text.split("\\")]
    found = [piece or None for piece in pieces]
    return _listed(found, is_list=is_list) if any(found) else None


def _listed(values: list[Any], *, is_list: bool) -> Any:
    """Values as they stand in the document: one alone only where there may be no more."""
    return values if is_list or len(values) > 1 else next(iter(values), None)


@lru_cache(maxsize=1 << 16)
def _named(tag: int) -> tuple[str, bool, bool]:
    """The name a value stands under, whether it is always a list, and whether its name is its tag."""
    keyword = keyword_for_tag(tag)
    if not keyword or tag >> 16 & 1:
        return f"{tag:08X}", False, True
    return keyword, dictionary_VM(tag) != "1", False


def is_keyword(keyword: str) -> bool:
    """Whether the dictionary knows an attribute under this keyword."""
    return tag_for_keyword(keyword) is not None


def dicom_entries(values: Mapping[str, Any], vrs: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Plain values as entries of a DICOM JSON object (PS3.18 Annex F).

    Args:
        values: By keyword, or by tag in eight hexadecimal digits; None is an empty value.
        vrs: The VRs of those that stand under their tag; LO where it tells none.

    Raises:
        InvalidInput: A keyword that the dictionary does not know, or a value its VR does not allow.
    """
    entries: dict[str, Any] = {}
    for name, value in values.items():
        tag, vr = tag_and_vr(name, vrs or {})
        entries[tag] = _entry(name, vr.partition(" or ")[0], value)
    return dict(sorted(entries.items()))


def tag_and_vr(name: str, vrs: Mapping[str, str]) -> tuple[str, str]:
    """The tag of a name that plain values stand under, and its VR, which may still be open (`US or SS`).

    Raises:
        InvalidInput: It is neither a keyword that the dictionary knows nor a tag.
    """
    number = tag_for_keyword(name)
    if number is not None:
        return f"{number:08X}", dictionary_VR(number)
    if _TAG.fullmatch(name):
        return name, vrs.get(name, "LO")
    raise InvalidInput("a metadata document names an attribute that the DICOM dictionary does not know")


def _entry(name: str, vr: str, value: Any) -> dict[str, Any]:
    if value is None or value in ("", []):
        return {"vr": vr}
    if vr in _BINARY:
        if not isinstance(value, str):
            raise InvalidInput(f"{name} takes base64 text")
        return {"vr": vr, "InlineBinary": value}
    values = value if isinstance(value, list) else [value]
    if vr == "SQ":
        if not all(isinstance(item, Mapping) for item in values):
            raise InvalidInput(f"{name} takes a list of objects")
        return {"vr": vr, "Value": [dicom_entries(item) for item in values]}
    if isinstance(value, str) and vr not in _LONG_TEXT and "\\" in value:
        values = value.split("\\")
    return {"vr": vr, "Value": [_single(name, vr, each) for each in values]}


def _single(name: str, vr: str, value: Any) -> Any:
    """One value as DICOM JSON tells it.

    Raises:
        InvalidInput: It is none of this VR.
    """
    if value is None:
        return None
    if vr in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int if vr in _WHOLE else int | float):
            raise InvalidInput(f"{name} takes numbers")
        return value
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise InvalidInput(f"{name} takes text")
    check = _SHAPES.get(vr)
    if text and check is not None and not check(text.strip(" ")):
        raise InvalidInput(f"{name} has a value that VR {vr} does not allow")
    if vr == "PN":
        groups = zip(_NAME_GROUPS, text.split("="), strict=False)
        return {group: part for group, part in groups if part} or None
    if vr == "DS":
        return decimal(text)
    return integer(text) if vr == "IS" else text
