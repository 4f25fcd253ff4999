"""The Records port on SQLite, with the outbox, the jobs and the audit in the same transaction."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apsw
import orjson

from radloop.core.errors import Conflict, NotFound
from radloop.core.ports import Adjust, Change, Clock, Delete, Job, Put, Row, Table, Term
from radloop.local.audit import append
from radloop.local.database import Database

_LAST = "\U0010ffff"
_WILD = re.compile(r"[*?]")


class SqliteRecords:
    """The Records port on one database file; a commit returns once it is flushed to the disk."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, table: Table, key: str) -> Row | None:
        """See `Records.get`."""
        query = f"SELECT {_selected(table)} FROM {table.name} WHERE key = ?"  # noqa: S608 — names are ours
        found = self._database.read().execute(query, (key,)).fetchone()
        return None if found is None else _row(table, found)

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
            f"SELECT {_selected(table)} FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
            f" ORDER BY place {order} LIMIT ?"
        )
        values.append(-1 if limit is None else limit)
        return [_row(table, found) for found in self._database.read().execute(query, values)]

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
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        after: int = 0,
    ) -> list[Row]:
        """See `Records.search`."""
        clause, values = _terms(table, terms)
        if after:
            clause += f" AND place {'<' if descending else '>'} ?"
            values.append(after)
        way = "DESC" if descending else "ASC"
        ordered = f"{_column(table, order)} {way}, place {way}" if order is not None else f"place {way}"
        query = (
            f"SELECT {_selected(table)} FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
            f" ORDER BY {ordered} LIMIT ? OFFSET ?"
        )
        values += [-1 if limit is None else limit, offset]
        return [_row(table, found) for found in self._database.read().execute(query, values)]

    def search_count(self, table: Table, terms: Sequence[Term] = ()) -> int:
        """See `Records.search_count`."""
        clause, values = _terms(table, terms)
        query = f"SELECT COUNT(*) FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
        return int(self._database.read().execute(query, values).fetchone()[0])  # type: ignore[index]

    def stamp(self) -> int:
        """See `Records.stamp`."""
        return self._database.stamp()

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


def _apply(connection: apsw.Connection, write: Put | Adjust | Delete) -> None:
    name = write.table.name
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


def _terms(table: Table, terms: Sequence[Term]) -> tuple[str, list[Any]]:
    """The WHERE clause of `terms`, and its values."""
    clauses, values = ["1"], []
    for term in terms:
        column = _column(table, term.column)
        for clause, value in _RELATIONS[term.relation](column, term.values):
            clauses.append(clause)
            values += value
    return " AND ".join(clauses), values


_Clauses = list[tuple[str, list[Any]]]


def _is(column: str, values: tuple[Any, ...]) -> _Clauses:
    return [(f"{column} IS ?", [values[0]])]


def _in(column: str, values: tuple[Any, ...]) -> _Clauses:
    return [(f"{column} IN ({', '.join('?' * len(values))})", list(values))]


def _between(column: str, values: tuple[Any, ...]) -> _Clauses:
    low, high = values
    found: _Clauses = []
    if low is not None:
        found.append((f"{column} >= ?", [low]))
    if high is not None:
        found.append((f"{column} <= ?", [high]))
    return found or [(f"{column} IS NOT NULL", [])]


def _prefix(column: str, values: tuple[Any, ...]) -> _Clauses:
    text = str(values[0])
    return [(f"{column} >= ?", [text]), (f"{column} < ?", [text + _LAST])]


def _glob(column: str, values: tuple[Any, ...]) -> _Clauses:
    """A pattern that begins with letters is also a prefix, which the index can look up."""
    pattern = str(values[0])
    begins = _WILD.split(pattern, maxsplit=1)[0]
    narrowed = _prefix(column, (begins,)) if begins else []
    return [*narrowed, (f"{column} GLOB ?", [pattern.replace("[", "[[]")])]


def _has(column: str, values: tuple[Any, ...]) -> _Clauses:
    return [(f"instr({column}, ?) > 0", ["\\" + str(values[0]) + "\\"])]


_RELATIONS: Mapping[str, Callable[[str, tuple[Any, ...]], _Clauses]] = {
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


def _selected(table: Table) -> str:
    return ", ".join(("key", "revision", "document", "place", *table.columns))


def _where(table: Table, where: Mapping[str, str | int | None] | None) -> tuple[str, list[Any]]:
    clauses, values = ["1"], []
    for column, value in (where or {}).items():
        clauses.append(f"{_column(table, column)} IS ?")
        values.append(value)
    return " AND ".join(clauses), values


def _row(table: Table, found: tuple[Any, ...]) -> Row:
    return Row(
        key=found[0],
        revision=found[1],
        document=orjson.loads(found[2]),
        order=found[3],
        columns=dict(zip(table.columns, found[4:], strict=True)),
    )


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value)).decode()
