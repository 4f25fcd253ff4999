"""The Records port on one table of DynamoDB, with the outbox, the jobs and the audit in the same transaction.

How records lie in the table stands in `items`, how a change becomes a transaction in `changes`, how a search finds its
way in `searches`; why in `docs/decisions/0015-one-table-read-consistently.md`.

A commit reads how the records it touches stand, thinks the change out on that, and writes it under the condition that
all still stands so. Where another was faster, it reads and thinks again; whether that means a conflict is then seen by
the revisions the change expects. What DynamoDB refuses for a moment (throttling, another transaction on the same item)
is sent again, with one and the same token for one and the same transaction, so that an answer that was lost on its way
cannot make it twice.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from radloop.aws.changes import AUDIT, Action, Places, Plan, Write, growing, refs_of
from radloop.aws.clients import code_of, translated
from radloop.aws.items import (
    STAMPS,
    Address,
    Item,
    Standing,
    part_addresses,
    place_in,
    row_address,
    sequence_address,
    stamp_address,
    standing_of,
    unpack,
)
from radloop.aws.outbox import once_asked, once_told
from radloop.aws.rights import WHOLE, Rights
from radloop.aws.searches import Path, meets, path_of, rank, require
from radloop.core.errors import NotFound, RadloopError, Unavailable
from radloop.core.ports import AuditEntry, Change, Clock, Row, Table, Term

_TRIES = 60
_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.5
_AT_ONCE = 100  # keys a BatchGetItem takes
_FEWEST_AT_ONCE = 25
_LOOKS = 4
_LOOK_AGAIN_S = 0.02
_BUSY_REASONS = frozenset(
    {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded", "None"}
)
_BUSY = frozenset(
    {
        *("ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"),
        *("TransactionInProgressException", "InternalServerError", "ServiceUnavailable", "LimitExceededException"),
    }
)


_Value = TypeVar("_Value")


class _Outcome(Enum):
    MADE = "made"
    STALE = "what it was thought out on has changed"
    BUSY = "worth sending again as it is"


class _Named(NamedTuple):
    """A record as an index names it."""

    key: str
    place: int


class DynamoRecords:
    """The Records port on the table that `contracts/table.json` describes.

    Every read is consistent: what was committed is found. Records that a search gives are each whole, but need not be
    of one moment, and a transaction that is just being made may be seen in part. Threads of one process commit one
    after the other, which spares them from meeting in the table; other processes do not wait for them.

    Args:
        client: A client of DynamoDB.
        table_name: The table.
        clock: The present moment.
        rights: What is written, told and asked for from here.
    """

    def __init__(self, client: Any, table_name: str, clock: Clock, *, rights: Rights = WHOLE) -> None:
        self._client = client
        self._rights = rights
        self._table_name = table_name
        self._clock = clock
        self._turn = threading.RLock()

    def get(self, table: Table, key: str, *, columns: tuple[str, ...] | None = None) -> Row | None:
        """See `Records.get`."""
        wanted = _wanted(table, columns)
        item = self._items([row_address(table, key)]).get(row_address(table, key))
        held = None if item is None else self._held(table, key, item)
        return None if held is None else held.row(wanted)

    def find(
        self,
        table: Table,
        where: Mapping[str, str | int | None] | None = None,
        *,
        after: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Row]:
        """See `Records.find`."""
        return self.search(table, _terms(where), after=after, limit=limit, descending=newest_first)

    def count(self, table: Table, where: Mapping[str, str | int | None] | None = None) -> int:
        """See `Records.count`."""
        return self.search_count(table, _terms(where))

    def search(
        self,
        table: Table,
        terms: Sequence[Term] = (),
        *,
        columns: tuple[str, ...] | None = None,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        after: int = 0,
    ) -> list[Row]:
        """See `Records.search`."""
        found = self.each(
            table,
            terms,
            columns=columns,
            order=order,
            descending=descending,
            limit=limit,
            offset=offset,
            after=after,
        )
        return list(found)

    def each(
        self,
        table: Table,
        terms: Sequence[Term] = (),
        *,
        columns: tuple[str, ...] | None = None,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        after: int = 0,
    ) -> Iterator[Row]:
        """See `Records.each`."""
        wanted = _wanted(table, columns)
        if order is not None:
            require(table, order)
        path = path_of(table, terms, after=after, descending=descending)
        most = None if limit is None or path.column != order else offset + limit
        found: Iterable[_Found] = self._matching(table, terms, path, after=after, descending=descending, most=most)
        if path.column != order:
            found = sorted(found, key=lambda each: each.by(order), reverse=descending)
        cut = islice(found, offset, None if limit is None else offset + limit)
        held = [self._held(table, each.key, each.item) for each in cut]
        return (each.row(wanted) for each in held if each is not None)

    def search_count(self, table: Table, terms: Sequence[Term] = ()) -> int:
        """See `Records.search_count`."""
        path = path_of(table, terms)
        if not path.is_exact:
            return sum(1 for _ in self._matching(table, terms, path))
        pages = (page for span in path.spans for page in self._pages(path, span, Select="COUNT"))
        return sum(int(page["Count"]) for page in pages)

    def stamp(self) -> int:
        """See `Records.stamp`."""
        found = self._items([stamp_address(shard) for shard in range(STAMPS)])
        return sum(int(item["n"]["N"]) for item in found.values())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `Records.alone`; others of this process wait, those of other processes do not."""
        with self._turn:
            yield

    def commit(self, change: Change) -> None:
        """See `Records.commit`.

        Raises:
            Denied: It writes a table that is not written from here; nothing of it is made.
            TooLarge: It is more than DynamoDB takes into one transaction: 99 items of ours or 3 MB.
            Unavailable: Others were faster every time, or DynamoDB did not answer; then it may have been made.
        """
        self._rights.hold(change)
        self._commit(change, [(entry, 1) for entry in change.audit])

    def note(self, entries: Sequence[tuple[AuditEntry, int]]) -> None:
        """Add audit entries, each with how many times it was done.

        Raises:
            Unavailable: See `commit`.
        """
        self._commit(Change(), entries)

    # Writing

    def _commit(self, change: Change, entries: Sequence[tuple[AuditEntry, int]]) -> None:
        now = self._clock()
        writes: list[Write] = [*change.writes, *map(once_told, change.events)]
        writes += (once_asked(job, now.timestamp()) for job in change.jobs)
        needs = list(change.needs)

        def actions() -> list[Action]:
            plan = self._plan(writes, has_entries=bool(entries))
            for entry, times in entries:
                plan.note(now.isoformat(), entry, times)
            thought = plan.actions(self._table_name)
            while needs:
                needs.pop(0)()
            return thought

        with self._turn:
            self._make(actions)

    def _make(self, actions: Callable[[], list[Action]]) -> None:
        thought: list[Action] | None = None
        token = ""
        for turn in range(_TRIES):
            if turn:
                time.sleep(random.uniform(0.0, min(_PAUSE_S * 2**turn, _LONGEST_PAUSE_S)))  # noqa: S311 — nothing secret
            if thought is None:
                thought, token = actions(), str(uuid.uuid4())
                if not thought:
                    return
                thought.append(self._stamped())
            outcome = self._send(thought, token)
            if outcome is _Outcome.MADE:
                return
            if outcome is _Outcome.STALE:
                thought = None
        raise Unavailable("others wrote to the same records every time, or dynamodb was too busy")

    def _plan(self, writes: Sequence[Write], *, has_entries: bool) -> Plan:
        """Think writes out on how their records stand now."""
        tables = growing(writes) | ({AUDIT} if has_entries else set())
        rows = {row_address(*ref): ref for ref in refs_of(writes)}
        counted = {sequence_address(table): table for table in tables}
        found = self._items([*rows, *counted], ProjectionExpression="pk, sk, r, p, c, w, n, h")
        standing = {ref: standing_of(found[address]) for address, ref in rows.items() if address in found}
        given = {
            table: Places(int(found[address]["n"]["N"]), found[address]["h"]["S"])
            for address, table in counted.items()
            if address in found
        }
        plan = Plan(standing, given)
        for write in writes:
            plan.add(write)
        return plan

    def _stamped(self) -> Action:
        key = stamp_address(random.randrange(STAMPS)).key()  # noqa: S311 — nothing secret
        return {
            "Update": {
                "TableName": self._table_name,
                "Key": key,
                "UpdateExpression": "ADD n :one",
                "ExpressionAttributeValues": {":one": {"N": "1"}},
            }
        }

    def _send(self, actions: Sequence[Action], token: str) -> _Outcome:
        try:
            self._client.transact_write_items(TransactItems=actions, ClientRequestToken=token)
        except HTTPClientError:
            return _Outcome.BUSY  # whether it was made is not known, and the token makes it safe to ask
        except (BotoCoreError, ClientError) as error:
            return _refused(error)
        return _Outcome.MADE

    # Reading

    def _matching(
        self,
        table: Table,
        terms: Sequence[Term],
        path: Path,
        *,
        after: int = 0,
        descending: bool = False,
        most: int | None = None,
    ) -> Iterator["_Found"]:
        """Records on a path that meet all terms, each once, in the order of the path; `most` is what is hoped for."""
        seen: set[int] = set()
        at_once = _AT_ONCE if most is None else min(max(most, _FEWEST_AT_ONCE), _AT_ONCE)
        options = {"ScanIndexForward": not descending} | ({} if most is None else {"Limit": at_once})
        pages = (page for span in path.spans for page in self._pages(path, span, **options))
        entries = (_Named(item["k"]["S"], place_in(item["sk"]["S"])) for page in pages for item in page["Items"])
        beyond = (each for each in entries if not after or (each.place < after if descending else each.place > after))
        for some in _in_batches(beyond, at_once):
            items = self._rows(table, some)
            for named in some:
                item = items.get(row_address(table, named.key))
                if item is None or named.place in seen:
                    continue
                standing = standing_of(item)
                if standing.place == named.place and meets(standing.columns, terms):
                    seen.add(named.place)
                    yield _Found(named.key, item, standing)

    def _rows(self, table: Table, named: Sequence[_Named]) -> Mapping[Address, Item]:
        """The items of records that an index names; the two may come into sight one shortly after the other."""
        wanted = [row_address(table, each.key) for each in named]
        found = self._items(wanted)
        for _ in range(_LOOKS):
            missing = [address for address in wanted if address not in found]
            if not missing:
                break
            time.sleep(_LOOK_AGAIN_S)
            found |= self._items(missing)
        return found

    def _pages(self, path: Path, span: tuple[str, str], **options: Any) -> Iterator[Mapping[str, Any]]:
        low, high = span
        asked = {
            "TableName": self._table_name,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :high",
            "ExpressionAttributeValues": {":pk": {"S": path.partition}, ":low": {"S": low}, ":high": {"S": high}},
            **options,
        }
        start: Mapping[str, Any] | None = None if low > high else {}
        while start is not None:
            page = self._ask("query", **asked, **start)
            yield page
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else None

    def _held(self, table: Table, key: str, item: Item) -> "_Held | None":
        """A record with its document; read again where it changed before its document was all here."""
        current: Item | None = item
        for _ in range(_TRIES):
            if current is None:
                return None
            standing = standing_of(current)
            if not standing.parts.count:
                return _Held(key, standing, current["d"]["B"])
            addresses = part_addresses(table, key, standing)
            parts = self._items(addresses)
            if len(parts) == len(addresses):
                return _Held(key, standing, b"".join(parts[each]["d"]["B"] for each in addresses))
            current = self._items([row_address(table, key)]).get(row_address(table, key))
        raise Unavailable("a record kept changing while it was read")

    def _items(self, addresses: Sequence[Address], **options: Any) -> dict[Address, Item]:
        """Items by their keys, as they stand now; those that are not there are left out, none is asked for twice."""
        found: dict[Address, Item] = {}
        for some in _in_batches(dict.fromkeys(addresses), _AT_ONCE):
            left: Any = [address.key() for address in some]
            for turn in range(_TRIES):
                request = {self._table_name: {"Keys": left, "ConsistentRead": True, **options}}
                answer = self._ask("batch_get_item", RequestItems=request)
                for item in answer["Responses"].get(self._table_name, ()):
                    found[Address(item["pk"]["S"], item["sk"]["S"])] = item
                left = answer.get("UnprocessedKeys", {}).get(self._table_name, {}).get("Keys")
                if not left:
                    break
                time.sleep(random.uniform(0.0, min(_PAUSE_S * 2**turn, _LONGEST_PAUSE_S)))  # noqa: S311 — nothing secret
            else:
                raise Unavailable("dynamodb was too busy to read all that was asked for")
        return found

    def _ask(self, operation: str, **asked: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._client, operation)(**asked)
        except (BotoCoreError, ClientError) as error:
            raise _translated(error) from None
        return answer


class _Found(NamedTuple):
    """A record that a search came upon."""

    key: str
    item: Item
    standing: Standing

    def by(self, column: str | None) -> tuple[Any, int]:
        """What it is sorted by: a column, and among equals the place."""
        return rank(self.standing.columns.get(column) if column else None), self.standing.place


class _Held(NamedTuple):
    """A record with its document, which is unpacked when it is asked for."""

    key: str
    standing: Standing
    packed: bytes

    def row(self, columns: tuple[str, ...]) -> Row:
        """As the port tells it."""
        standing = self.standing
        told = {name: standing.columns.get(name) for name in columns}
        return Row(self.key, standing.revision, unpack(self.packed), standing.place, told)


def _in_batches(values: Iterable[_Value], size: int) -> Iterator[list[_Value]]:
    left = iter(values)
    while some := list(islice(left, size)):
        yield some


def _wanted(table: Table, columns: tuple[str, ...] | None) -> tuple[str, ...]:
    for column in columns or ():
        require(table, column)
    return table.columns if columns is None else columns


def _terms(where: Mapping[str, str | int | None] | None) -> list[Term]:
    return [Term(column, "is", (value,)) for column, value in (where or {}).items()]


def _refused(error: BotoCoreError | ClientError) -> _Outcome:
    """What to do about a transaction that was not made; nothing that was sent becomes part of an error."""
    if not isinstance(error, ClientError):
        raise _translated(error) from None
    if code_of(error) in _BUSY:
        return _Outcome.BUSY
    if code_of(error) != "TransactionCanceledException":
        raise _translated(error) from None
    reasons = {str(each.get("Code", "None")) for each in error.response.get("CancellationReasons", ())}
    if "ConditionalCheckFailed" in reasons:
        return _Outcome.STALE
    if reasons <= _BUSY_REASONS:
        return _Outcome.BUSY
    raise Unavailable(f"dynamodb cancels a transaction: {', '.join(sorted(reasons - {'None'}))}") from None


def _translated(error: BotoCoreError | ClientError) -> RadloopError:
    """Our error; a table that is not there is a fault of the installation and not of who asks."""
    told = translated(error, "dynamodb")
    return Unavailable(str(told)) if isinstance(told, NotFound) else told
