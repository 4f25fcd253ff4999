"""What a change comes to: from how records stand to one transaction of DynamoDB.

The writes of a change are tried out, one after the other, on what was read; what differs in the end becomes actions.
Each record they touch is written under the condition that it stands as it was read, and each new place under the
condition that nobody has taken it, so that a transaction is made on exactly what it was thought out on, or not at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from radloop.aws.items import (
    Address,
    Item,
    Standing,
    columns_text,
    names,
    pack,
    part_addresses,
    part_items,
    parts_of,
    row_address,
    row_item,
    sequence_address,
    weight_bytes,
)
from radloop.core.errors import Conflict, NotFound, TooLarge
from radloop.core.ports import Adjust, AuditEntry, Delete, Put, Stands, Table
from radloop.security.chain import GENESIS, link

AUDIT = Table("audit", ("principal", "subject"), facts=("action",))
"""Entries of the audit's chain; an entry's place is its sequence number."""

Action = Mapping[str, Mapping[str, Any]]
"""One member of TransactItems."""

_MOST_ACTIONS = 100
_MOST_BYTES = 3_000_000  # of 4 MB; some servers count the text that goes over the wire, a third more than the bytes
_MOST_ITEM_BYTES = 390_000  # of 400 KB


class Ref(NamedTuple):
    """Names a record."""

    table: Table
    key: str


@dataclass(frozen=True, slots=True)
class Places:
    """The last place of a table that was given away, and the head of its chain if it is one."""

    last: int = 0
    head: str = ""


@dataclass(frozen=True, slots=True)
class Once:
    """Write a record unless there is one under its key."""

    put: Put


Write = Put | Adjust | Delete | Stands | Once


def refs_of(writes: Iterable[Write]) -> list[Ref]:
    """The records that `writes` touch, each once."""
    plain = (write.put if isinstance(write, Once) else write for write in writes)
    return list(dict.fromkeys(Ref(write.table, write.key) for write in plain))


def growing(writes: Iterable[Write]) -> set[Table]:
    """The tables that may come to hold more records by `writes`."""
    puts = (write.put if isinstance(write, Once) else write for write in writes)
    return {write.table for write in puts if isinstance(write, Put) and not write.expected}


class Plan:
    """A change thought out on how things stand."""

    def __init__(self, found: Mapping[Ref, Standing], places: Mapping[Table, Places]) -> None:
        self._before = found
        self._after: dict[Ref, Standing | None] = dict(found)
        self._packed: dict[Ref, bytes] = {}
        self._touched: dict[Ref, None] = {}
        self._given = places
        self._places = dict(places)

    def add(self, write: Write) -> None:
        """Try a write out.

        Raises:
            Conflict: The revision it expects does not stand.
            NotFound: There is no record to adjust, or none that is to stand.
        """
        match write:
            case Put():
                self._put(write)
            case Adjust():
                self._adjust(write)
            case Delete():
                ref = Ref(write.table, write.key)
                self._touched[ref] = None
                self._after.pop(ref, None)
            case Stands():
                ref = Ref(write.table, write.key)
                if self._after.get(ref) is None:
                    raise NotFound(f"no {ref.table.name} record {ref.key}")
                self._touched[ref] = None
            case Once(put):
                if Ref(put.table, put.key) not in self._after:
                    self._put(put)

    def note(self, time: str, entry: AuditEntry, count: int) -> None:
        """Add an entry to the chain of the audit."""
        known = self._places.get(AUDIT, Places())
        fields = (known.last + 1, time, entry.principal, entry.action, entry.subject, entry.outcome, count)
        head = link(known.head or GENESIS, fields)
        document = dict(zip(_NOTED, (*fields[1:], head), strict=True))
        columns = {"principal": entry.principal, "action": entry.action, "subject": entry.subject}
        self._put(Put(AUDIT, f"{fields[0]:016d}", document, columns, expected=0))
        self._places[AUDIT] = replace(self._places[AUDIT], head=head)

    def actions(self, table_name: str) -> list[Action]:
        """The transaction, without the table's name in each.

        Raises:
            TooLarge: It is more than DynamoDB takes at once.
        """
        found = [action for ref in self._touched for action in self._of_record(ref)]
        found += [_grown(table, self._given.get(table, Places()), now) for table, now in self._grown()]
        _check(found)
        return [{verb: {"TableName": table_name, **rest} for verb, rest in action.items()} for action in found]

    def _grown(self) -> Iterator[tuple[Table, Places]]:
        return ((table, now) for table, now in self._places.items() if now != self._given.get(table))

    def _put(self, write: Put) -> None:
        ref = Ref(write.table, write.key)
        before = self._after.get(ref)
        revision = 0 if before is None else before.revision
        if write.expected is not None and write.expected != revision:
            raise Conflict(f"{ref.table.name} record is at revision {revision}, expected {write.expected}")
        packed = pack(write.document)
        self._touched[ref] = None
        self._packed[ref] = packed
        self._after[ref] = Standing(
            revision=revision + 1,
            place=self._next(ref.table) if before is None else before.place,
            columns={name: write.columns.get(name) for name in ref.table.columns},
            parts=parts_of(packed, revision + 1),
        )

    def _adjust(self, write: Adjust) -> None:
        ref = Ref(write.table, write.key)
        before = self._after.get(ref)
        if before is None:
            raise NotFound(f"no {ref.table.name} record to adjust")
        columns = dict(before.columns)
        for name in (*write.add, *write.assign):
            if name not in ref.table.columns:
                raise KeyError(name)
        columns |= {name: (columns.get(name) or 0) + more for name, more in write.add.items()}
        columns |= write.assign
        self._touched[ref] = None
        self._after[ref] = replace(before, revision=before.revision + 1, columns=columns)

    def _next(self, table: Table) -> int:
        now = self._places.get(table, Places())
        self._places[table] = replace(now, last=now.last + 1)
        return now.last + 1

    def _of_record(self, ref: Ref) -> Iterator[Action]:
        before, after = self._before.get(ref), self._after.get(ref)
        as_read = _stands(before)
        if after is not None and after == before:
            yield {"ConditionCheck": {"Key": row_address(*ref).key(), **as_read}}
        elif after is None:
            verb = "ConditionCheck" if before is None else "Delete"
            yield {verb: {"Key": row_address(*ref).key(), **as_read}}
        elif ref in self._packed:
            packed = self._packed[ref]
            yield {"Put": {"Item": row_item(*ref, after, packed), **as_read}}
            if after.parts.count:
                yield from ({"Put": {"Item": item}} for item in part_items(*ref, after, packed))
        else:
            yield _adjusted(ref, after, as_read)
        yield from _moved(names(*ref, before), names(*ref, after))
        yield from map(_delete, _lost_parts(ref, before, after))


_NOTED = ("time", "principal", "action", "subject", "outcome", "count", "hash")


def _stands(before: Standing | None) -> Mapping[str, Any]:
    """The condition that a record stands as it was read; a place is never given away twice."""
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    values = {":r": {"N": str(before.revision)}, ":p": {"N": str(before.place)}}
    return {"ConditionExpression": "r = :r AND p = :p", "ExpressionAttributeValues": values}


def _adjusted(ref: Ref, after: Standing, as_read: Mapping[str, Any]) -> Action:
    values = {":now": {"N": str(after.revision)}, ":c": {"S": columns_text(after.columns)}}
    return {
        "Update": {
            "Key": row_address(*ref).key(),
            "UpdateExpression": "SET r = :now, c = :c",
            "ConditionExpression": as_read["ConditionExpression"],
            "ExpressionAttributeValues": {**as_read["ExpressionAttributeValues"], **values},
        }
    }


def _moved(before: Mapping[Address, Item], after: Mapping[Address, Item]) -> Iterator[Action]:
    yield from (_delete(address) for address in before if address not in after)
    yield from ({"Put": {"Item": item}} for address, item in after.items() if address not in before)


def _lost_parts(ref: Ref, before: Standing | None, after: Standing | None) -> Iterator[Address]:
    if before is None:
        return
    kept = () if after is None else part_addresses(*ref, after)
    yield from (address for address in part_addresses(*ref, before) if address not in kept)


def _delete(address: Address) -> Action:
    return {"Delete": {"Key": address.key()}}


def _grown(table: Table, before: Places, now: Places) -> Action:
    is_as_read = "n = :before" if before.last else "attribute_not_exists(pk)"
    values = {":n": {"N": str(now.last)}, ":h": {"S": now.head}}
    if before.last:
        values[":before"] = {"N": str(before.last)}
    return {
        "Update": {
            "Key": sequence_address(table).key(),
            "UpdateExpression": "SET n = :n, h = :h",
            "ConditionExpression": is_as_read,
            "ExpressionAttributeValues": values,
        }
    }


def _check(actions: Sequence[Action]) -> None:
    """Refuse what DynamoDB would refuse, before it is sent; the stamp's action comes on top."""
    if len(actions) >= _MOST_ACTIONS:
        raise TooLarge(
            f"a change of {len(actions)} items is more than the {_MOST_ACTIONS - 1} that are written at once"
        )
    weights = [_weight_bytes(action) for action in actions]
    if sum(weights) > _MOST_BYTES:
        raise TooLarge(f"a change of {sum(weights)} bytes is more than the {_MOST_BYTES} that are written at once")
    if max(weights, default=0) > _MOST_ITEM_BYTES:
        raise TooLarge(f"the columns of a record are longer than the {_MOST_ITEM_BYTES} bytes that an item holds")


def _weight_bytes(action: Action) -> int:
    (rest,) = action.values()
    return sum(weight_bytes(rest.get(name, {})) for name in ("Key", "Item", "ExpressionAttributeValues"))
