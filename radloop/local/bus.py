"""The Bus port: the outbox in the database, routed by EventBridge patterns into jobs."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import apsw
import orjson

from radloop.core.errors import NotFound
from radloop.core.events import Event
from radloop.core.ports import Job, Told
from radloop.functions.rules import Rule, targets
from radloop.local.database import Database
from radloop.local.records import insert_jobs
from radloop.monitoring.logs import tell

_COLUMNS = "seq, id, source, detail_type, time, detail, trace"
_BATCH = 200
_LOG = logging.getLogger("radloop.events")


class SqliteBus:
    """The Bus port. Routing an event and marking it routed are one transaction, so none is routed twice or never."""

    def __init__(self, database: Database, rules: Sequence[Rule]) -> None:
        self._database = database
        self._rules = rules

    def events(self, *, after: int = 0, limit: int = 100, newest_first: bool = False) -> list[Told]:
        """See `Bus.events`."""
        clause, order = ("seq < ?", "DESC") if newest_first else ("seq > ?", "ASC")
        bound = after if after or not newest_first else 1 << 62
        query = f"SELECT {_COLUMNS} FROM events WHERE {clause} ORDER BY seq {order} LIMIT ?"  # noqa: S608 — constants
        return [_told(found) for found in self._database.read().execute(query, (bound, limit))]

    def route(self) -> int:
        """See `Bus.route`."""
        if self._database.read().execute("SELECT 1 FROM events WHERE routed = 0 LIMIT 1").fetchone() is None:
            return 0

        def work(connection: apsw.Connection) -> list[tuple[Event, list[str]]]:
            query = f"SELECT {_COLUMNS} FROM events WHERE routed = 0 ORDER BY seq LIMIT ?"  # noqa: S608 — constants
            waiting = [_told(found) for found in connection.execute(query, (_BATCH,)).fetchall()]
            woken = []
            for told in waiting:
                jobs = self._deliveries(told.event, "")
                insert_jobs(connection, jobs)
                woken.append((told.event, [job.kind for job in jobs]))
            connection.executemany("UPDATE events SET routed = 1 WHERE seq = ?", ((told.seq,) for told in waiting))
            return woken

        routed: list[tuple[Event, list[str]]] = self._database.write(work)
        for event, kinds in routed:
            tell(_LOG, "routed", trace=event.trace, event=event.id, type=event.detail_type, wakes=kinds)
        return len(routed)

    def replay(self, event_id: str) -> int:
        """See `Bus.replay`."""

        def work(connection: apsw.Connection) -> int:
            query = f"SELECT {_COLUMNS} FROM events WHERE id = ?"  # noqa: S608 — constants
            found = connection.execute(query, (event_id,)).fetchone()
            if found is None:
                raise NotFound(f"no event {event_id}")
            jobs = self._deliveries(_told(found).event, f"-again-{time.time_ns()}")
            insert_jobs(connection, jobs)
            return len(jobs)

        delivered: int = self._database.write(work)
        return delivered

    def _deliveries(self, event: Event, suffix: str) -> list[Job]:
        return [
            Job(
                id=f"{event.id}-{rule.name}{suffix}",
                lane="events",
                kind=rule.target,
                payload={**event.as_json(), "trace": event.trace},
                delay_s=rule.delay_s,
                trace=event.trace,
            )
            for rule in targets(event.as_json(), self._rules)
        ]


def _told(found: tuple[Any, ...]) -> Told:
    seq, identity, source, detail_type, told_at, detail, trace = found
    event = Event(
        id=identity, source=source, detail_type=detail_type, time=told_at, detail=orjson.loads(detail), trace=trace
    )
    return Told(seq=seq, event=event)
