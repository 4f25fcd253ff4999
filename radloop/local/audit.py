"""The Audit port on the database, and the chain that shows when an entry was changed or taken out.

Every entry carries the SHA-256 of the one before and of itself. Whoever changes, removes or puts in an entry breaks
the chain from there on; whoever cuts the end off is found by the head that an auditor kept.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import apsw
import orjson

from radloop.core.errors import Unavailable
from radloop.core.identity import Principal
from radloop.core.ports import AuditEntry, Change, Clock, Noted, Records, Verdict
from radloop.local.database import Database

GENESIS = "0" * 64
_HOUR_S = 3600.0
_FLUSH_S = 0.5
_PATIENCE_S = 10.0
_REMEMBERED = 100_000


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


def link(before: str, fields: tuple[Any, ...]) -> str:
    """The hash of an entry that follows the one whose hash is `before`."""
    return hashlib.sha256(before.encode() + orjson.dumps(fields)).hexdigest()


class SqliteAudit:
    """The Audit port on the chain in the database.

    The first reading of an image set by a principal in an hour is durable before it is answered. Further ones and
    queries are counted in memory and written every half second; a crash loses the counts of less than a second, never
    that somebody looked.
    """

    def __init__(self, database: Database, records: Records, clock: Clock) -> None:
        self._database = database
        self._records = records
        self._clock = clock
        self._guard = threading.Lock()
        self._seen: dict[tuple[str, str], float] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._flusher: threading.Thread | None = None
        self._closed = threading.Event()
        self._failing_since: float | None = None

    def record(self, entry: AuditEntry) -> None:
        """See `Audit.record`."""
        self._records.commit(Change(audit=[entry]))

    def read(self, principal: Principal, image_set: str) -> None:
        """See `Audit.read`."""
        if self.read_again(principal, image_set):
            return
        key, now = (principal.id, image_set), time.monotonic()
        self.record(AuditEntry(principal.id, "read", image_set))
        with self._guard:
            if len(self._seen) >= _REMEMBERED:
                self._seen = {each: when for each, when in self._seen.items() if now - when < _HOUR_S}
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()  # forgetting only means to note a first reading once more
            self._seen[key] = now

    def read_again(self, principal: Principal, image_set: str) -> bool:
        """See `Audit.read_again`.

        Raises:
            Unavailable: See `count`.
        """
        first = self._seen.get((principal.id, image_set))
        if first is None or time.monotonic() - first >= _HOUR_S:
            return False
        self.count(principal, "read", image_set)
        return True

    def count(self, principal: Principal, action: str, subject: str = "") -> None:
        """See `Audit.count`.

        Raises:
            Unavailable: Counts could not be written for a while, so nothing more may be read unseen.
        """
        failing = self._failing_since
        if failing is not None and time.monotonic() - failing > _PATIENCE_S:
            raise Unavailable("the audit cannot be written, so nothing may be read")
        with self._guard:
            self._counts[principal.id, action, subject] += 1
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_often, name="audit-flusher", daemon=True)
                self._flusher.start()

    def flush(self) -> None:
        """Write down what has been counted."""
        with self._guard:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        now = self._clock().isoformat()
        entries = [(AuditEntry(who, action, subject), count) for (who, action, subject), count in counts.items()]
        try:
            self._database.write(lambda connection: append(connection, now, entries))
        except BaseException:
            with self._guard:
                self._counts.update(counts)
            raise

    def close(self) -> None:
        """Write down the rest; nothing is counted afterwards."""
        self._closed.set()
        if self._flusher is not None:
            self._flusher.join()
        self.flush()

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

    def _flush_often(self) -> None:
        while not self._closed.wait(_FLUSH_S):
            try:
                self.flush()
            except Unavailable:
                self._failing_since = self._failing_since or time.monotonic()
            else:
                self._failing_since = None


_COLUMNS = "seq, time, principal, action, subject, outcome, count, hash"
