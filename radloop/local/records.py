"""The Records port on SQLite, with the outbox, the jobs and the audit in the same transaction."""

import time
from collections.abc import Mapping
from typing import Any

import apsw
import orjson

from radloop.core.errors import Conflict
from radloop.core.ports import AuditEntry, Change, Clock, Delete, Job, Put, Row, Table
from radloop.local.database import Database


class SqliteRecords:
    """The Records port on one database file; a commit returns once it is flushed to the disk."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, table: Table, key: str) -> Row | None:
        """See `Records.get`."""
        query = f"SELECT key, revision, document, place FROM {table.name} WHERE key = ?"  # noqa: S608 — names are ours
        found = self._database.read().execute(query, (key,)).fetchone()
        return None if found is None else _row(found)

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
            f"SELECT key, revision, document, place FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
            f" ORDER BY place {order} LIMIT ?"
        )
        values.append(-1 if limit is None else limit)
        return [_row(found) for found in self._database.read().execute(query, values)]

    def count(self, table: Table, where: Mapping[str, str | int | None] | None = None) -> int:
        """See `Records.count`."""
        clause, values = _where(table, where)
        query = f"SELECT COUNT(*) FROM {table.name} WHERE {clause}"  # noqa: S608 — names are ours
        return int(self._database.read().execute(query, values).fetchone()[0])  # type: ignore[index]

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
            connection.executemany(
                "INSERT INTO audit (time, principal, action, subject, outcome) VALUES (?, ?, ?, ?, ?)",
                ((now.isoformat(), *_audit_row(entry)) for entry in change.audit),
            )

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


def _apply(connection: apsw.Connection, write: Put | Delete) -> None:
    name = write.table.name
    if isinstance(write, Delete):
        connection.execute(f"DELETE FROM {name} WHERE key = ?", (write.key,))  # noqa: S608 — names are ours
        return
    query = f"SELECT revision FROM {name} WHERE key = ?"  # noqa: S608 — names are ours
    found = connection.execute(query, (write.key,)).fetchone()
    revision = 0 if found is None else int(found[0])
    if write.expected is not None and write.expected != revision:
        raise Conflict(f"{name} record is at revision {revision}, expected {write.expected}")
    columns = write.table.columns
    values = [write.columns.get(column) for column in columns]
    if revision == 0:
        names = "".join(f", {column}" for column in columns)
        marks = ", ?" * len(columns)
        connection.execute(
            f"INSERT INTO {name} (key, revision, document{names}) VALUES (?, 1, ?{marks})",  # noqa: S608 — names are ours
            (write.key, _json(write.document), *values),
        )
    else:
        names = "".join(f", {column} = ?" for column in columns)
        connection.execute(
            f"UPDATE {name} SET revision = revision + 1, document = ?{names} WHERE key = ?",  # noqa: S608 — names are ours
            (_json(write.document), *values, write.key),
        )


def _where(table: Table, where: Mapping[str, str | int | None] | None) -> tuple[str, list[Any]]:
    clauses, values = ["1"], []
    for column, value in (where or {}).items():
        if column not in table.columns:
            raise KeyError(column)
        clauses.append(f"{column} IS ?")
        values.append(value)
    return " AND ".join(clauses), values


def _audit_row(entry: AuditEntry) -> tuple[str, str, str, str]:
    return entry.principal, entry.action, entry.subject, entry.outcome


def _row(found: tuple[Any, ...]) -> Row:
    return Row(key=found[0], revision=found[1], document=orjson.loads(found[2]), order=found[3])


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value)).decode()
