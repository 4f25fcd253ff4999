"""How records lie in the one table, item by item.

====================  =============================  ==========================================================
pk                    sk                             what
====================  =============================  ==========================================================
`<table>/<key>`       `row`                          a record: revision, place, columns, document
`<table>/<key>`       `part/<place>/<revision>/<n>`  a piece of a document too long for its record's item
`<table>`             `<place>`                      names the record at a place: the table in the order of writing
`<table>.<column>`    `<value>` NUL `<place>`        names a record by an indexed column that is not None
`:sequence`           `<table>`                      the last place given away; for the audit, the chain's head too
`:stamp`              `0` to `7`                     counts commits
====================  =============================  ==========================================================

Names of records by place and by column are items of the table and no secondary index: those are brought up to date
after a write has been answered, and whoever looked for what was just written would miss it. Here they are part of the
same transaction and are read consistently. A value is written so that the order of keys is the order of values:
numbers before texts, numbers as sixteen digits, texts by code point.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import orjson

from radloop.core.ports import Table

Item = Mapping[str, Mapping[str, Any]]
"""An item in DynamoDB's own spelling: attribute, type, value."""

STAMPS = 8
"""Into so many items the count of commits is split, so that commits seldom meet in it."""

_PART_BYTES = 300_000  # an item holds 400 KB, its attributes' names among them
_TEXT_BYTES = 900  # a sort key holds 1,024
_PLACE_DIGITS = 16
_LAST = "\U0010ffff"
_SIGN = 1 << 63
_ALL_BITS = (1 << 64) - 1


class Address(NamedTuple):
    """The key of an item."""

    pk: str
    sk: str

    def key(self) -> Item:
        """As DynamoDB wants it."""
        return {"pk": {"S": self.pk}, "sk": {"S": self.sk}}


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a document lies: with its record, or in `count` pieces of the revision it was written at."""

    written_at: int
    count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A record as it stands, without its document."""

    revision: int
    place: int
    columns: Mapping[str, Any]
    parts: Parts


def row_address(table: Table, key: str) -> Address:
    """Where a record lies."""
    return Address(f"{table.name}/{key}", "row")


def sequence_address(table: Table) -> Address:
    """Where the places of a table are counted."""
    return Address(":sequence", table.name)


def stamp_address(shard: int) -> Address:
    """Where a part of all commits is counted."""
    return Address(":stamp", str(shard))


def names(table: Table, key: str, standing: Standing | None) -> Mapping[Address, Item]:
    """The items that name a record by its place and by its columns."""
    if standing is None:
        return {}
    told = {"k": {"S": key}}
    found = [Address(table.name, placed(standing.place))]
    for column in table.indexed:
        value = standing.columns.get(column)
        if value is not None:
            found.append(Address(f"{table.name}.{column}", f"{sortable(value)}\0{placed(standing.place)}"))
    return {each: {**each.key(), **told} for each in found}


def part_addresses(table: Table, key: str, standing: Standing) -> list[Address]:
    """Where the pieces of a record's document lie; none where it lies with the record."""
    parts = standing.parts
    begins = f"part/{standing.place}/{parts.written_at}"
    return [Address(f"{table.name}/{key}", f"{begins}/{number}") for number in range(parts.count)]


def row_item(table: Table, key: str, standing: Standing, packed: bytes) -> Item:
    """The item of a record; `packed` is its document as `pack` made it."""
    item = {
        **row_address(table, key).key(),
        "r": {"N": str(standing.revision)},
        "p": {"N": str(standing.place)},
        "c": {"S": columns_text(standing.columns)},
        "w": {"N": str(standing.parts.written_at)},
        "n": {"N": str(standing.parts.count)},
    }
    return item if standing.parts.count else {**item, "d": {"B": packed}}


def part_items(table: Table, key: str, standing: Standing, packed: bytes) -> Iterator[Item]:
    """The pieces of a document that is too long for its record's item."""
    for address, start in zip(part_addresses(table, key, standing), count(0, _PART_BYTES), strict=False):
        yield {**address.key(), "d": {"B": packed[start : start + _PART_BYTES]}}


def parts_of(packed: bytes, revision: int) -> Parts:
    """Where a document that is written at `revision` goes."""
    return Parts(revision, 0 if len(packed) <= _PART_BYTES else -(-len(packed) // _PART_BYTES))


def standing_of(item: Item) -> Standing:
    """The record that an item holds."""
    return Standing(
        revision=int(item["r"]["N"]),
        place=int(item["p"]["N"]),
        columns=orjson.loads(item["c"]["S"]),
        parts=Parts(int(item["w"]["N"]), int(item["n"]["N"])),
    )


def pack(document: Mapping[str, Any]) -> bytes:
    """A document as it is stored."""
    return zlib.compress(orjson.dumps(dict(document)), 1)


def unpack(packed: bytes) -> Mapping[str, Any]:
    """A document as it was before `pack`."""
    document: dict[str, Any] = orjson.loads(zlib.decompress(packed))
    return document


def columns_text(columns: Mapping[str, Any]) -> str:
    """Columns as they are stored; those that are None are not."""
    return orjson.dumps({name: value for name, value in columns.items() if value is not None}).decode()


def weight_bytes(item: Item) -> int:
    """What an item counts against DynamoDB's limits."""
    return sum(len(name) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    (inner,) = value.values()
    return len(inner) if isinstance(inner, bytes) else len(str(inner).encode())


# Sort keys


def placed(place: int) -> str:
    """A place as text that sorts."""
    return f"{place:0{_PLACE_DIGITS}d}"


def place_in(sort_key: str) -> int:
    """The place that a sort key ends in."""
    return int(sort_key[-_PLACE_DIGITS:])


def sortable(value: str | float) -> str:
    r"""A value of a column as text that sorts as values do; NUL is not in it.

    >>> sortable(-1.5) < sortable(0) < sortable(2) < sortable(10) < sortable("") < sortable("a") < sortable("a\0")
    True
    """
    return f"t{_cut(value)}" if isinstance(value, str) else f"n{_digits(value):016x}"


def is_whole(value: str | float | None) -> bool:
    """Whether `sortable` tells this value apart from all others."""
    if isinstance(value, str):
        return len(_escaped(value).encode()) <= _TEXT_BYTES
    return value is None or float(value) == value


def prefixed(prefix: str) -> tuple[str, str]:
    """The first and the last sort key of texts that begin with `prefix`."""
    begins = sortable(prefix)
    return begins, begins + _LAST


def _escaped(text: str) -> str:
    return text.replace("\x01", "\x01\x02").replace("\0", "\x01\x01")


def _cut(text: str) -> str:
    """As much of a text as a key holds, whole characters only."""
    return _escaped(text).encode()[:_TEXT_BYTES].decode(errors="ignore")


def _digits(number: float) -> int:
    """The bits of a float in the order of floats: negative ones turned over, others after them."""
    bits: int = struct.unpack(">Q", struct.pack(">d", float(number) + 0.0))[0]  # adding makes -0.0 a plain 0.0
    return bits ^ (_ALL_BITS if bits & _SIGN else _SIGN)
