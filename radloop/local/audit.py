"""The Audit port on the chain in the database."""

from collections.abc import Iterable, Mapping

import apsw

from radloop.core.ports import AuditEntry, Clock, Noted, Records, Verdict
from radloop.local.database import Database
from radloop.security.chain import GENESIS, link
from radloop.security.counting import CountedAudit


def append(connection: apsw.Connection, time_: str, entries: Iterable[tuple[AuditEntry, int]]) -> None:
    """Add entries to the chain, inside the transaction that `connection` is in."""
    found = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    seq, head = (0, GENESIS) if found is None else (int(found[0]), str(found[1]))
    for entry, count in entries:
        seq += 1
        head = link(head, (seq, time_, entry.principal, entry.action, entry.subject, entry.outcome, count))
        connection.execute(
            "INSERT INTO audit (seq, time, principal, action, subject, outcome, count, hash)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (seq, time_, entry.principal, entry.action, entry.subject, entry.outcome, count, head),
        )


class SqliteAudit(CountedAudit):
    """The Audit port on the chain in the database."""

    def __init__(self, database: Database, records: Records, clock: Clock) -> None:
        super().__init__(
            records,
            lambda entries: database.write(lambda connection: append(connection, clock().isoformat(), entries)),
        )
        self._database = database

    def entries(self, *, before: int = 0, limit: int = 100, where: Mapping[str, str] | None = None) -> list[Noted]:
        """See `Audit.entries`."""
        clauses: list[str] = ["seq < ?"]
        values: list[str | int] = [before or 1 << 62]
        for column in ("principal", "action", "subject"):
            if where and column in where:
                clauses.append(f"{column} = ?")
                values.append(where[column])
        query = f"SELECT {_COLUMNS} FROM audit WHERE {' AND '.join(clauses)} ORDER BY seq DESC LIMIT ?"  # noqa: S608 — constants
        return [Noted(*found) for found in self._database.read().execute(query, (*values, limit))]

    def verify(self, head: str | None = None) -> Verdict:
        """See `Audit.verify`."""
        before, count, holds = GENESIS, 0, head in {None, GENESIS}
        for found in self._database.read().execute(f"SELECT {_COLUMNS} FROM audit ORDER BY seq"):  # noqa: S608 — constants
            count += 1
            *fields, noted = found
            before = link(before, tuple(fields))
            if noted != before or fields[0] != count:
                return Verdict(entries=count, head=before, broken_at=count, holds_head=holds)
            holds = holds or before == head
        return Verdict(entries=count, head=before, broken_at=None, holds_head=holds)


_COLUMNS = "seq, time, principal, action, subject, outcome, count, hash"
