"""A data set as DICOM JSON (PS3.18 Annex F), its large binary values left where they are."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR, private_dictionary_VR, tag_for_keyword

from radloop.core.errors import NotFound
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
from radloop.dicom.values import (
    binary_numbers,
    decimal,
    decoded,
    encodings_of,
    integer,
    unsigned,
    value_bytes,
)

INLINE_LIMIT = 1024
"""Bytes of a binary value that still stand in the document."""

DOCUMENT_LIMIT = 1_000_000
"""Entries inside sequences that a document of a file may hold; one that repeats another of the file counts half."""

REPEATED_ITEMS_BYTES, REMEMBERED_SEQUENCES = 4096, 1 << 12
_REPEATED_BYTES, _REMEMBERED = 64, 1 << 16
_LONGEST = 1 << 20
"""Bytes of any other value that still do; only an implicit encoding, or a lie, has longer ones."""

_PIXELS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA})
_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"})
_LONG_TEXT = frozenset({"LT", "ST", "UT", "UR"})
_NUMBERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_BINARY = frozenset({"OB", "UN", *_WORDS})
_KNOWN = _TEXT | _LONG_TEXT | _NUMBERS | _BINARY | {"AT", "DS", "IS", "PN", "SQ"}
_CHARACTER_SET = 0x00080005
_REPRESENTATION = 0x00280103
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

BulkUri = Callable[[str], str]
Document = dict[str, Any]


def dicom_json(data: Data, bulk_uri: BulkUri | None = None) -> Document:
    """The DICOM JSON object of a Part 10 file, private elements included, file meta information left out.

    Args:
        data: The whole file.
        bulk_uri: From the path of a value (`bulk_value` takes it too) to its BulkDataURI. Pixel data and binary
            values over `INLINE_LIMIT` get one; without this argument they are left out.

    Returns:
        Tags of eight hexadecimal digits, ascending, to `{"vr": ..., "Value" | "InlineBinary" | "BulkDataURI": ...}`.
        The character set is told as UTF-8, which is what JSON is in. Entries inside sequences that are the same may be
        one object: change none in place. Sequences that go beyond `DOCUMENT_LIMIT` are left out.

    Raises:
        InvalidInput: What `read_part10` raises of the file; a value that cannot be read is a null, never an error.
    """
    part = read_part10(data)
    return _DocumentWriter(part, bulk_uri).data_set(part.elements, "", ("iso8859",))


def bulk_value(data: bytes, path: str) -> bytes:
    """The value a BulkDataURI stands for, little endian; encapsulated pixel data as its items stand in the file.

    Args:
        data: The whole file.
        path: As handed to `bulk_uri`: a tag, or tag/item/tag for a value inside a sequence, items from 0.

    Raises:
        NotFound: There is no such value.
        InvalidInput: What `read_part10` raises of the file.
    """
    part = read_part10(data)
    elements, steps = part.elements, path.split("/")
    try:
        for tag, item in zip(steps[:-1:2], steps[1::2], strict=True):
            sequence = elements[int(tag, 16)].items or ()
            elements = sequence[_index(item)]
        tag_number = int(steps[-1], 16)
        element = elements[tag_number]
    except (KeyError, IndexError, ValueError):
        raise NotFound("the instance has no such value") from None
    return little_endian(part, element, resolved_vr(part, elements, tag_number, element, is_signed=False))


def tag_of(keyword: str) -> str | None:
    """The tag of an attribute as documents write it, or None where the dictionary does not know the keyword.

    >>> tag_of("PatientID"), tag_of("Nobody")
    ('00100020', None)
    """
    tag = tag_for_keyword(keyword)
    return None if tag is None else f"{tag:08X}"


def _index(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


class Full(Exception):
    """The document holds as much as it may."""


class _DocumentWriter:
    """Writes one file's document; knows what items inherit from the data set around them.

    Tens of thousands of frames say much the same in their functional groups: what repeats is written once, and stands
    in every place.
    """

    def __init__(self, part: Part10, bulk_uri: BulkUri | None) -> None:
        self.part = part
        self.bulk_uri = bulk_uri
        self.is_signed = unsigned(part, part.elements, _REPRESENTATION) == 1
        self._left = 2 * DOCUMENT_LIMIT
        self._addressed = 0  # entries so far that depend on their path
        self._entries: dict[tuple[int, str, Sequence[str], bytes], Document] = {}
        self._sequences: dict[tuple[str, Sequence[str], bytes], list[Any]] = {}

    def data_set(self, elements: Elements, prefix: str, encodings: Sequence[str]) -> Document:
        """One data set or item; `prefix` is the path that leads to it."""
        encodings = encodings_of(self.part, elements, encodings)
        document: Document = {}
        for tag in sorted(elements):
            if not tag & 0xFFFF:
                continue  # group lengths say nothing about a document (PS3.18 F.2.2)
            element = elements[tag]
            vr = resolved_vr(self.part, elements, tag, element, is_signed=self.is_signed)
            name = _name_of(tag)
            if prefix:
                entry = self.nested(tag, vr, element, prefix, encodings)
            else:
                try:
                    entry = self.entry(tag, vr, element, name, encodings)
                except Full:
                    continue
            if entry is not None:
                document[name] = entry
        return document

    def nested(self, tag: int, vr: str, element: Element, prefix: str, encodings: Sequence[str]) -> Document | None:
        """An element of an item; the same again where the same stood before.

        Raises:
            Full: There would be too many of them.
        """
        is_short = element.length <= _REPEATED_BYTES and vr != "SQ" and tag not in _PIXELS and not element.fragments
        if is_short:
            value = self.part.data[element.start : element.start + element.length]
            key = (tag, vr, encodings, value)
            known = self._entries.get(key)
            if known is not None:
                self._left -= 1
                if self._left < 0:
                    raise Full
                return known
        self._left -= 2
        if self._left < 0:
            raise Full
        entry = self.entry(tag, vr, element, f"{prefix}{_name_of(tag)}", encodings)
        if is_short and entry is not None and len(self._entries) < _REMEMBERED:
            self._entries[key] = entry
        return entry

    def entry(self, tag: int, vr: str, element: Element, path: str, encodings: Sequence[str]) -> Document | None:
        """One element, or None for a bulk value nobody can be pointed to.

        Raises:
            Full: It is a sequence with too many entries.
        """
        if vr in _BINARY or (element.length > _LONGEST and vr != "SQ"):
            return self.binary(tag, vr, element, path)
        if vr == "SQ":
            values = self.items(element, path, encodings)
        elif tag == _CHARACTER_SET:
            values = ["ISO_IR 192"]
        else:
            values = _values(self.part, vr, element, encodings)
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def items(self, element: Element, path: str, encodings: Sequence[str]) -> list[Any]:
        """The items of a sequence; the same again where the same bytes stood before, but for what tells its path."""
        key = None
        if element.length <= REPEATED_ITEMS_BYTES:
            value = self.part.data[element.start : element.start + element.length]
            key = (element.vr, encodings, value)
            if key in self._sequences:
                return self._sequences[key]
        before = self._addressed
        values = [self.data_set(item, f"{path}/{index}/", encodings) for index, item in enumerate(element.items or ())]
        if key is not None and self._addressed == before and len(self._sequences) < REMEMBERED_SEQUENCES:
            self._sequences[key] = values
        return values

    def binary(self, tag: int, vr: str, element: Element, path: str) -> Document | None:
        """Bytes in place, or where to fetch them."""
        if not element.length:
            return {"vr": vr}
        if element.length > INLINE_LIMIT or tag in _PIXELS or element.fragments is not None:
            self._addressed += 1
            return {"vr": vr, "BulkDataURI": self.bulk_uri(path)} if self.bulk_uri else None
        value = little_endian(self.part, element, vr)
        return {"vr": vr, "InlineBinary": base64.b64encode(value).decode("ascii")}


def resolved_vr(part: Part10, elements: Elements, tag: int, element: Element, *, is_signed: bool) -> str:
    """The VR as written; where none is, by the dictionary and, for what that leaves open, by PS3.5 Annex A.1."""
    if element.items is not None:
        return "SQ"
    if element.vr in _KNOWN and element.vr != "UN":
        return element.vr
    if element.vr not in _KNOWN and element.vr:
        return "UN"
    vr = _private_vr(part, elements, tag) if tag >> 16 & 1 else _public_vr(tag)
    if vr == "US or SS":
        return "SS" if is_signed else "US"
    if " or " in vr:
        return "OB" if element.fragments is not None else "OW"
    return "UN" if vr == "SQ" else vr


@lru_cache(maxsize=1 << 16)
def _name_of(tag: int) -> str:
    return f"{tag:08X}"


@lru_cache(maxsize=8192)
def _public_vr(tag: int) -> str:
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return vr if vr in _KNOWN or " or " in vr else "UN"


def _private_vr(part: Part10, elements: Elements, tag: int) -> str:
    """The VR of a private element whose creator pydicom's dictionary knows."""
    block = tag >> 8 & 0xFF
    if not block:
        return "LO" if tag & 0xFFFF > 0xF else "UN"  # noqa: PLR2004 — creators stand from 0010 on
    creator = elements.get(tag & 0xFFFF0000 | block)
    return _creator_vr(tag, value_bytes(part, creator).decode("latin-1").strip(" \0")) if creator else "UN"


@lru_cache(maxsize=8192)
def _creator_vr(tag: int, creator: str) -> str:
    try:
        vr = private_dictionary_VR(tag, creator)
    except KeyError:
        return "UN"
    return vr if vr in _KNOWN else "UN"


def _values(part: Part10, vr: str, element: Element, encodings: Sequence[str]) -> list[Any]:
    """What stands under "Value": a null for each value that is empty or cannot be told in JSON."""
    if not element.length:
        return []
    if vr in _NUMBERS:
        return [_finite(number) for number in binary_numbers(part, element, vr)]
    if vr == "AT":
        words = binary_numbers(part, element._replace(length=element.length // 4 * 4), "US")
        return [f"{group:04X}{number:04X}" for group, number in zip(words[::2], words[1::2], strict=True)]
    text = decoded(value_bytes(part, element), encodings, is_name=vr == "PN")
    if vr in _LONG_TEXT:
        text = text.rstrip(" \0")
        return [text] if text else []
    pieces = [piece.strip(" \0") for piece in text.split("\\")]
    return [_value(vr, piece) for piece in pieces] if any(pieces) else []


def _value(vr: str, text: str) -> Any:
    """One value of a text VR; a DS or IS that is no number stands there as text, which PS3.18 F.2.3 allows."""
    if vr == "PN":
        return _name(text)
    number = decimal(text) if vr == "DS" else integer(text) if vr == "IS" else None
    return number if number is not None else text or None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _name(text: str) -> Mapping[str, str] | None:
    groups = zip(_NAME_GROUPS, text.split("="), strict=False)
    return {group: value for group, value in groups if value} or None


def little_endian(part: Part10, element: Element, vr: str) -> bytes:
    """A binary value with its words little endian, whatever the file is; fragments of pixels as they stand."""
    value = value_bytes(part, element)
    size = _WORDS.get(vr, 1)
    if not part.is_big_endian or size == 1 or len(value) % size or element.fragments is not None:
        return value
    return np.frombuffer(value, dtype=f">u{size}").astype(f"<u{size}").tobytes()
