"""What an element's value says: text in its character set, numbers, UIDs.

Nothing here raises for a bad value: a value that cannot be read is None, and the caller decides what that means.
"""

import math
import re
import struct
import warnings
from collections.abc import Sequence
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes, python_encoding

from radloop.dicom.elements import Element, Elements, Part10

_SPECIFIC_CHARACTER_SET = 0x00080005
_DECIMAL = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(_DECIMAL)
_NUMBERS = re.compile(rf"[ \0]*{_DECIMAL}[ \0]*(?:\\[ \0]*{_DECIMAL}[ \0]*)*")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LIMIT = 64
_READ_LIMIT = 1 << 16
"""Bytes of a value that are looked at for one text or a few numbers; explicit encodings allow no more."""

_INTEGER_LIMIT = 1 << 31
_ESCAPE = 0x1B
_NAME_DELIMITERS = {0x5E, 0x3D}
_TEXT_DELIMITERS = {0x0D, 0x0A, 0x09, 0x0C}
_FORMATS = {
    "US": "H",
    "SS": "h",
    "UL": "L",
    "SL": "l",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
    "OF": "f",
    "OD": "d",
    "OL": "L",
    "OV": "Q",
}


def value_bytes(part: Part10, element: Element) -> bytes:
    """The bytes of a value, padding included."""
    return part.data[element.start : element.start + element.length]


def _short(element: Element) -> Element:
    return element if element.length <= _READ_LIMIT else element._replace(length=_READ_LIMIT)


def encodings_of(part: Part10, elements: Elements, inherited: Sequence[str] = ("iso8859",)) -> Sequence[str]:
    """Python's names for the character sets of a data set or item; an item without its own inherits (PS3.3 C.12.1.1.2).

    What is not a defined term is read as Latin-1, in which every byte means something.
    """
    element = elements.get(_SPECIFIC_CHARACTER_SET)
    if element is None:
        return inherited
    return _encodings(value_bytes(part, _short(element)))


@lru_cache(maxsize=64)
def _encodings(value: bytes) -> Sequence[str]:
    terms = [term.strip(" \0") for term in value.decode("latin-1").split("\\")]
    if any(term not in python_encoding for term in terms):
        return ("iso8859",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(convert_encodings(terms))


def decoded(value: bytes, encodings: Sequence[str], *, is_name: bool = False) -> str:
    """Text in its character set, never failing: what cannot be read becomes U+FFFD."""
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(value, encodings, _NAME_DELIMITERS if is_name else _TEXT_DELIMITERS)
        except (LookupError, ValueError):
            return value.decode(encodings[0] if len(encodings) == 1 else "ascii", "replace")


def texts(part: Part10, element: Element, encodings: Sequence[str], *, is_name: bool = False) -> list[str]:
    """Values of a text element, without the padding that means nothing (PS3.5 §6.2)."""
    value = part.data[element.start : element.start + element.length]
    if value.isascii() and _ESCAPE not in value:
        text = value.decode("ascii")
    else:
        text = decoded(value, encodings, is_name=is_name)
    if "\\" not in text:
        return [text.strip(" \0")]
    return [single.strip(" \0") for single in text.split("\\")]


def text(part: Part10, elements: Elements, tag: int, encodings: Sequence[str] = ("iso8859",)) -> str:
    """The first value of a text element, "" where it is absent or empty."""
    element = elements.get(tag)
    return "" if element is None else texts(part, _short(element), encodings)[0]


def decimal(value: str) -> float | None:
    """A DS as a finite number; Python's own spellings (nan, inf, 1_000) are not numbers here.

    >>> decimal(" 1.50"), decimal("1_0"), decimal("nan")
    (1.5, None, None)
    """
    value = value.strip(" \0")
    if not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def integer(value: str) -> int | None:
    """An IS as a number that fits 32 bits, else None; some writers put a decimal point in it.

    >>> integer("12 "), integer("12.0"), integer("99999999999")
    (12, 12, None)
    """
    number = decimal(value)
    if number is None or not number.is_integer() or not -_INTEGER_LIMIT <= number < _INTEGER_LIMIT:
        return None
    return int(number)


def decimals(part: Part10, elements: Elements, tag: int) -> tuple[float, ...] | None:
    """All values of a DS, or None where it is absent, empty or has a value that is no number."""
    element = elements.get(tag)
    if element is None or not 0 < element.length <= _READ_LIMIT:
        return None
    if element.vr in {"FD", "FL"}:
        numbers = tuple(map(float, binary_numbers(part, element, element.vr)))
    else:
        text = part.data[element.start : element.start + element.length].decode("latin-1")
        if not _NUMBERS.fullmatch(text):
            return None
        numbers = tuple(map(float, text.replace("\0", " ").split("\\")))
    return numbers if numbers and all(map(math.isfinite, numbers)) else None


def binary_numbers(part: Part10, element: Element, vr: str) -> tuple[int | float, ...]:
    """Numbers of a binary VR; a last incomplete one is left out."""
    code = _FORMATS[vr]
    size = struct.calcsize("=" + code)
    count = element.length // size
    order = ">" if part.is_big_endian else "<"
    return struct.unpack(f"{order}{count}{code}", part.data[element.start : element.start + count * size])


def unsigned(part: Part10, elements: Elements, tag: int) -> int | None:
    """The first value of a US element, or None."""
    element = elements.get(tag)
    if element is None or element.length < 2:  # noqa: PLR2004 — a US has two bytes
        return None
    return int.from_bytes(
        part.data[element.start : element.start + 2], "big" if part.is_big_endian else "little", signed=False
    )


def is_uid(value: str) -> bool:
    """Whether it is digits and dots as PS3.5 §9.1 wants; leading zeros, which it does not want, are let pass.

    >>> is_uid("1.2.840.10008.1.2"), is_uid("1..2"), is_uid("")
    (True, False, False)
    """
    return len(value) <= _UID_LIMIT and _UID.fullmatch(value) is not None
