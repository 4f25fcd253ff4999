"""The Records port on SQLite, with the outbox, the jobs and the audit in the same transaction."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import apsw
import orjson

from radloop.core.errors import Conflict, NotFound
from radloop.core.ports import Adjust, Change, Clock, Delete, Job, Put, Row, Stands, Table, Term
from radloop.local.audit import append
from radloop.local.database import Database

_LAST = "\U0010ffff"
_WILD = re.compile(r"[*?]")
_NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})


class SqliteRecords:
    """The Records port on one database file; a commit returns once it is flushed to the disk."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, table: Table, key: str, *, columns: tuple[str, ...] | None = None) -> Row | None:
        """See `Records.get`."""
        names = table.columns if columns is None else columns
        found = self._database.read().execute(_getting(table, names), (key,)).fetchone()
        return None if found is None else _row(names, found)

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
        clause, values = _where(table, where)
        if after:
            clause += f" AND place {'<' if newest_first else '>'} ?"
            values.append(after)
        order = "DESC" if newest_first else "ASC"
        query = (
            f"SELECT {_selected(table, table.columns)} FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
            f" ORDER BY place {order} LIMIT ?"
        )
        values.append(-1 if limit is None else limit)
        names = table.columns
        return [_row(names, found) for found in self._database.read().execute(query, values)]

    def count(self, table: Table, where: Mapping[str, str | int | None] | None = None) -> int:
        """See `Records.count`."""
        clause, values = _where(table, where)
        query = f"SELECT COUNT(*) FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
        return int(self._database.read().execute(query, values).fetchone()[0])  # type: ignore[index]

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
        return list(
            self.each(
                table,
                terms,
                columns=columns,
                order=order,
                descending=descending,
                limit=limit,
                offset=offset,
                after=after,
            )
        )

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
        shape, values = _terms(terms)
        beyond = ""
        if after:
            beyond = "<" if descending else ">"
            values.append(after)
        names = table.columns if columns is None else columns
        query = _searching(table, shape, names, order, "DESC" if descending else "ASC", beyond)
        values += (-1 if limit is None else limit, offset)
        found = self._database.read().execute(query, values).fetchall()
        return (_row(names, one) for one in found)

    def search_count(self, table: Table, terms: Sequence[Term] = ()) -> int:
        """See `Records.search_count`."""
        shape, values = _terms(terms)
        return int(self._database.read().execute(_counting(table, shape), values).fetchone()[0])  # type: ignore[index]

    def stamp(self) -> int:
        """See `Records.stamp`."""
        return self._database.stamp()

    def alone(self) -> AbstractContextManager[None]:
        """See `Records.alone`."""
        return self._database.alone()

    def commit(self, change: Change) -> None:
        """See `Records.commit`."""
        now = self._clock()

        def work(connection: apsw.Connection) -> None:
            for write in change.writes:
                _apply(connection, write)
            connection.executemany(
                "INSERT INTO events (id, time, source, detail_type, detail, trace) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT(id) DO NOTHING",
                (
                    (event.id, event.time, event.source, event.detail_type, _json(event.detail), event.trace)
                    for event in change.events
                ),
            )
            insert_jobs(connection, change.jobs)
            append(connection, now.isoformat(), ((entry, 1) for entry in change.audit))
            for need in change.needs:
                need()

        self._database.write(work)


def insert_jobs(connection: apsw.Connection, jobs: Any) -> None:
    """Ask for jobs; one that was asked for before is left as it is."""
    connection.executemany(
        "INSERT INTO jobs (id, lane, kind, payload, trace, state, due) VALUES (?, ?, ?, ?, ?, 'waiting', ?)"
        " ON CONFLICT(id) DO NOTHING",
        ((job.id, job.lane, job.kind, _json(job.payload), job.trace, time.time() + job.delay_s) for job in _jobs(jobs)),
    )


def _jobs(jobs: Any) -> list[Job]:
    return list(jobs)


def _apply(connection: apsw.Connection, write: Put | Adjust | Delete | Stands) -> None:
    name = write.table.name
    if isinstance(write, Stands):
        query = f"SELECT 1 FROM {name} WHERE key = ?"  # noqa: S608 — names are ours
        if connection.execute(query, (write.key,)).fetchone() is None:
            raise NotFound(f"no {name} record {write.key}")
        return
    if isinstance(write, Adjust):
        _adjust(connection, write)
        return
    if isinstance(write, Delete):
        connection.execute(f"DELETE FROM {name} WHERE key = ?", (write.key,))  # noqa: S608 — names are ours
        return
    if write.expected == 0:
        _insert(connection, write)  # a record that is there already breaks a constraint, which is a conflict too
        return
    query = f"SELECT {', '.join(('revision', *write.table.columns))} FROM {name} WHERE key = ?"  # noqa: S608 — names are ours
    found = connection.execute(query, (write.key,)).fetchone()
    revision = 0 if found is None else int(found[0])
    if write.expected is not None and write.expected != revision:
        raise Conflict(f"{name} record is at revision {revision}, expected {write.expected}")
    if found is None:
        _insert(connection, write)
    else:
        _update(connection, write, found[1:])


def _insert(connection: apsw.Connection, write: Put) -> None:
    columns = write.table.columns
    names = "".join(f", {column}" for column in columns)
    connection.execute(
        f"INSERT INTO {write.table.name} (key, revision, document{names})"  # noqa: S608 — names are ours
        f" VALUES (?, 1, ?{', ?' * len(columns)})",
        (write.key, _json(write.document), *map(write.columns.get, columns)),
    )


def _update(connection: apsw.Connection, write: Put, before: tuple[Any, ...]) -> None:
    """Write the document and those columns that change: a column that is set again costs a page of its index."""
    wanted = [(column, write.columns.get(column)) for column in write.table.columns]
    changed = [(column, value) for (column, value), old in zip(wanted, before, strict=True) if value != old]
    names = "".join(f", {column} = ?" for column, _ in changed)
    connection.execute(
        f"UPDATE {write.table.name} SET revision = revision + 1, document = ?{names} WHERE key = ?",  # noqa: S608 — names are ours
        (_json(write.document), *(value for _, value in changed), write.key),
    )


def _adjust(connection: apsw.Connection, write: Adjust) -> None:
    added = [f"{_column(write.table, name)} = COALESCE({name}, 0) + ?" for name in write.add]
    assigned = [f"{_column(write.table, name)} = ?" for name in write.assign]
    query = f"UPDATE {write.table.name} SET {', '.join(['revision = revision + 1', *added, *assigned])} WHERE key = ?"  # noqa: S608 — names are ours
    connection.execute(query, (*write.add.values(), *write.assign.values(), write.key))
    if not connection.changes():
        raise NotFound(f"no {write.table.name} record to adjust")


# Statements: one is written once for all searches of its shape, which differ in nothing but the values


_STATEMENTS = 1024
_Shape = tuple[tuple[str, str], ...]
_Clause = tuple[str, tuple[Any, ...]]


@lru_cache(_STATEMENTS)
def _getting(table: Table, columns: tuple[str, ...]) -> str:
    return f"SELECT {_selected(table, columns)} FROM {table.name} WHERE key = ?"  # noqa: S608 — names are ours


@lru_cache(_STATEMENTS)
def _searching(  # noqa: PLR0917 — a look into the cache with names costs twice as much
    table: Table, shape: _Shape, columns: tuple[str, ...], order: str | None, way: str, beyond: str
) -> str:
    clause = _clause(table, shape)
    if beyond:
        clause += f" AND place {beyond} ?"
    ordered = f"{_column(table, order)} {way}, place {way}" if order is not None else f"place {way}"
    return (
        f"SELECT {_selected(table, columns)} FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
        f" ORDER BY {ordered} LIMIT ? OFFSET ?"
    )


@lru_cache(_STATEMENTS)
def _counting(table: Table, shape: _Shape) -> str:
    return f"SELECT COUNT(*) FROM {table.name} WHERE {_clause(table, shape)}"  # noqa: S608 — names are ours


def _clause(table: Table, shape: _Shape) -> str:
    return " AND ".join(["1", *(text.format(_column(table, column)) for column, text in shape)])


def _terms(terms: Sequence[Term]) -> tuple[_Shape, list[Any]]:
    """What the WHERE clause of `terms` says of which column, and the values for its question marks."""
    shape: list[tuple[str, str]] = []
    values: list[Any] = []
    for term in terms:
        text, bound = _RELATIONS[term.relation](term.values)
        shape.append((term.column, text))
        values += bound
    return tuple(shape), values


def _is(values: tuple[Any, ...]) -> _Clause:
    return "{0} IS ?", values


def _in(values: tuple[Any, ...]) -> _Clause:
    return f"{{0}} IN ({', '.join('?' * len(values))})", values


def _between(values: tuple[Any, ...]) -> _Clause:
    low, high = values
    if low is None:
        return ("{0} IS NOT NULL", ()) if high is None else ("{0} <= ?", (high,))
    return ("{0} >= ?", (low,)) if high is None else ("{0} >= ? AND {0} <= ?", values)


def _prefix(values: tuple[Any, ...]) -> _Clause:
    text = str(values[0])
    return "{0} >= ? AND {0} < ?", (text, text + _LAST)


def _glob(values: tuple[Any, ...]) -> _Clause:
    """A pattern that begins with letters is also a prefix, which the index can look up."""
    pattern = str(values[0])
    begins = _WILD.split(pattern, maxsplit=1)[0]
    text, bound = _prefix((begins,)) if begins else ("1", ())
    return f"{text} AND {{0}} GLOB ?", (*bound, pattern.replace("[", "[[]"))


def _has(values: tuple[Any, ...]) -> _Clause:
    return "instr({0}, ?) > 0", (f"\\{values[0]}\\",)


_RELATIONS: Mapping[str, Callable[[tuple[Any, ...]], _Clause]] = {
    "is": _is,
    "in": _in,
    "between": _between,
    "prefix": _prefix,
    "glob": _glob,
    "has": _has,
}


def _column(table: Table, name: str) -> str:
    """A column's name, once it is known to be one; nothing else ever becomes part of a statement."""
    if name not in table.columns:
        raise KeyError(name)
    return name


def _selected(table: Table, columns: tuple[str, ...]) -> str:
    return ", ".join(("key", "revision", "document", "place", *(_column(table, column) for column in columns)))


def _where(table: Table, where: Mapping[str, str | int | None] | None) -> tuple[str, list[Any]]:
    clauses, values = ["1"], []
    for column, value in (where or {}).items():
        clauses.append(f"{_column(table, column)} IS ?")
        values.append(value)
    return " AND ".join(clauses), values


def _row(names: tuple[str, ...], found: tuple[Any, ...]) -> Row:
    columns = dict(zip(names, found[4:], strict=True)) if names else _NO_COLUMNS  # four stand before `names`
    return Row(found[0], found[1], orjson.loads(found[2]), found[3], columns)


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value)).decode()
