"""The Jobs port on the database: claimed by the one worker of a home, retried with backoff, given up on in the end."""

import random
import time
from typing import Any

import apsw
import orjson

from radloop.core.errors import NotFound
from radloop.core.ports import Claim, DeadLetter, Job
from radloop.local.database import Database

_LONGEST_BACKOFF_S = 600.0
_CRASHES_ALLOWED = 40
"""A job that keeps killing its worker is given up on; a machine that is merely switched off often is forgiven."""


class SqliteJobs:
    """The Jobs port. A claim belongs to the worker process; when that dies, its successor releases it."""

    def __init__(self, database: Database, *, max_tries: int = 8, backoff_s: float = 1.0) -> None:
        self._database = database
        self._max_tries = max_tries
        self._backoff_s = backoff_s

    def claim(self, lane: str) -> Claim | None:
        """See `Jobs.claim`."""
        if not self._is_due(lane):
            return None

        def work(connection: apsw.Connection) -> Claim | None:
            found = connection.execute(
                "UPDATE jobs SET state = 'claimed', tries = tries + 1 WHERE id = (SELECT id FROM jobs"
                " WHERE lane = ? AND state = 'waiting' AND due <= ? ORDER BY due LIMIT 1)"
                " RETURNING id, lane, kind, payload, trace, tries",
                (lane, time.time()),
            ).fetchone()
            return None if found is None else Claim(job=_job(found), tries=int(found[5]))

        claimed: Claim | None = self._database.write(work)
        return claimed

    def done(self, claim: Claim) -> None:
        """See `Jobs.done`."""
        self._update("UPDATE jobs SET state = 'done', error = '' WHERE id = ?", claim.job.id)

    def failed(self, claim: Claim, error: str) -> bool:
        """See `Jobs.failed`."""
        if claim.tries >= self._max_tries:
            self._update("UPDATE jobs SET state = 'dead', error = ? WHERE id = ?", error, claim.job.id)
            return True
        wait_s = min(self._backoff_s * 2 ** (claim.tries - 1), _LONGEST_BACKOFF_S) * random.uniform(0.8, 1.2)  # noqa: S311 — jitter
        self._update(
            "UPDATE jobs SET state = 'waiting', due = ?, error = ? WHERE id = ?",
            time.time() + wait_s,
            error,
            claim.job.id,
        )
        return False

    def release_abandoned(self) -> int:
        """See `Jobs.release_abandoned`."""

        def work(connection: apsw.Connection) -> int:
            connection.execute(
                "UPDATE jobs SET crashes = crashes + 1, tries = tries - 1,"
                " state = CASE WHEN crashes + 1 > ? THEN 'dead' ELSE 'waiting' END,"
                " error = CASE WHEN crashes + 1 > ? THEN 'worker-died' ELSE error END WHERE state = 'claimed'",
                (_CRASHES_ALLOWED, _CRASHES_ALLOWED),
            )
            return connection.changes()

        released: int = self._database.write(work)
        return released

    def pending(self, lane: str | None = None) -> int:
        """See `Jobs.pending`."""
        query = "SELECT COUNT(*) FROM jobs WHERE state IN ('waiting', 'claimed') AND (?1 IS NULL OR lane = ?1)"
        return int(self._database.read().execute(query, (lane,)).fetchone()[0])  # type: ignore[index]

    def unfinished(self) -> list[Job]:
        """Jobs that wait, are worked on, or were given up on."""
        query = "SELECT id, lane, kind, payload, trace FROM jobs WHERE state NOT IN ('done', 'discarded')"
        return [_job(found) for found in self._database.read().execute(query)]

    def dead_letters(self) -> list[DeadLetter]:
        """See `Jobs.dead_letters`."""
        query = "SELECT id, lane, kind, payload, trace, tries, error FROM jobs WHERE state = 'dead' ORDER BY due"
        return [
            DeadLetter(job=_job(found), tries=int(found[5]), error=str(found[6]))
            for found in self._database.read().execute(query)
        ]

    def replay(self, job_id: str) -> None:
        """See `Jobs.replay`."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(
                "UPDATE jobs SET state = 'waiting', due = ?, tries = 0, crashes = 0 WHERE id = ? AND state = 'dead'",
                (time.time(), job_id),
            )
            if not connection.changes():
                raise NotFound(f"no dead letter {job_id}")

        self._database.write(work)

    def discard(self, job_id: str) -> None:
        """See `Jobs.discard`."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(
                "UPDATE jobs SET state = 'discarded' WHERE id = ? AND state IN ('dead', 'discarded')", (job_id,)
            )
            if not connection.changes():
                raise NotFound(f"no dead letter {job_id}")

        self._database.write(work)

    def _is_due(self, lane: str) -> bool:
        """Ask before writing, so that an idle worker does not flush the disk."""
        query = "SELECT 1 FROM jobs WHERE lane = ? AND state = 'waiting' AND due <= ? LIMIT 1"
        return self._database.read().execute(query, (lane, time.time())).fetchone() is not None

    def _update(self, statement: str, *values: Any) -> None:
        self._database.write(lambda connection: connection.execute(statement, values) and None)


def _job(found: tuple[Any, ...]) -> Job:
    return Job(id=found[0], lane=found[1], kind=found[2], payload=orjson.loads(found[3]), trace=found[4])
