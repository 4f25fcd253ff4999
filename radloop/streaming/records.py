"""What is asked for of a stream, and how it is answered: items in, records out. docs/stream.md tells both."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import orjson

from radloop.core.errors import InvalidInput, NotFound

MOST_ITEMS = 512
MOST_BYTES = 8 << 20
PREVIEW = 0x80000000
"""Set in the frame number of a record that is of the preview layer."""

NOT_GIVEN = 0xFFFFFFFF
"""Stands where a record begins that tells why there is no other."""

NO_PREVIEW = "the frame has no preview"
"""Why a preview is not given that never will be."""

PACK = 64
STRIDES = (16, 8, 4, 2, 1)

_HEADER = struct.Struct("<III")
_ITEM = re.compile(r"(p?)([0-9]{1,9}):([0-9]{1,9}):([0-9]{1,9})")
_BETWEEN = re.compile(r"[,\n]")


@dataclass(frozen=True, slots=True)
class Item:
    """Bytes `start` up to and without `end` of a frame or of its preview; `end` 0 is the end of it."""

    frame: int
    is_preview: bool
    start: int = 0
    end: int = 0

    def known_bytes(self, size: int) -> int:
        """How many bytes are asked for of something `size` bytes long; 0 where that is not known."""
        return max(0, min(self.end or size, size) - self.start)


def items_of(text: str) -> list[Item]:
    """What a body asks for: `frame:from:to`, or `pframe:from:to` for previews, with commas or newlines between.

    Raises:
        InvalidInput: An item is not of this form or asks for nothing, or there are none, or too many.

    >>> items_of("3:0:1484,p4:0:0")[1]
    Item(frame=4, is_preview=True, start=0, end=0)
    """
    pieces = _BETWEEN.split(text.strip())
    if pieces == [""]:
        raise InvalidInput("the body names no frames")
    if len(pieces) > MOST_ITEMS:
        raise InvalidInput(f"a request is for {MOST_ITEMS} items at most, found {len(pieces)}")
    return [_item(number, piece.strip()) for number, piece in enumerate(pieces, start=1)]


def _item(number: int, piece: str) -> Item:
    found = _ITEM.fullmatch(piece)
    if found is None:
        raise InvalidInput(f"item {number} is not of the form frame:from:to or pframe:from:to")
    frame, start, end = (int(found[place]) for place in (2, 3, 4))
    if end and end <= start:
        raise InvalidInput(f"item {number} ends before it begins; to is exclusive, and 0 for the end")
    return Item(frame, bool(found[1]), start, end)


def header_of(item: Item, length: int) -> bytes:
    """The 12 bytes before `length` bytes of what an item asks for."""
    return _HEADER.pack(_number(item), item.start, length)


def refusal_of(item: Item, code: str, message: str) -> bytes:
    """The record that tells why an item cannot be given."""
    told = orjson.dumps({"code": code, "message": message})
    return _HEADER.pack(_number(item), NOT_GIVEN, len(told)) + told


def no_preview(item: Item) -> bytes:
    """The record of a frame that has no preview and never will under this version."""
    return refusal_of(item, NotFound.code, NO_PREVIEW)


def _number(item: Item) -> int:
    return item.frame | PREVIEW if item.is_preview else item.frame


def by_stride(count: int) -> Iterator[int]:
    """All numbers below `count`, every sixteenth first, then those that halve the gaps.

    >>> list(by_stride(10))
    [0, 8, 4, 2, 6, 1, 3, 5, 7, 9]
    """
    yield from range(0, count, STRIDES[0])
    for stride in STRIDES[1:]:
        yield from range(stride, count, 2 * stride)


def packs_of(count: int) -> int:
    """How many packs `count` frames make."""
    return -(-count // PACK)


def chosen_for(pack: int, count: int) -> list[int]:
    """The frames of `count` whose previews lie in a pack, in the order they lie in."""
    return list(islice(by_stride(count), pack * PACK, (pack + 1) * PACK))
