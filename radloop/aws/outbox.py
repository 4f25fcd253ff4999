"""What waits to leave the table: events and jobs, written with the change that they belong to.

They are records like all others. Of an event the column `unrouted` names its source until the event bus has taken it,
of a job the column `send` is set until the job is done, so that the indexes of these columns are the outbox: what is on
its way out stands there, in the order in which it has to go, and nothing else.
"""

from typing import Any

import orjson

from radloop.aws.changes import Once
from radloop.core.errors import TooLarge
from radloop.core.events import Event
from radloop.core.ports import Job, Put, Row, Table

EVENTS = Table("events", ("unrouted",))
"""Every event by its id; its place is its sequence number."""

JOBS = Table("jobs", ("lane", "send", "dead"), facts=("queue", "state", "tries", "crashes", "due", "error"))
"""Every job by its id.

Columns: `lane` while it waits or is worked on; `send`, when a message about it must go out next (seconds since 1970);
`dead`, when it was given up on; `queue`, its lane, whatever became of it; `state`, one of waiting, claimed, done, dead,
discarded; `tries` and `crashes` so far; `due`, when it may be worked on, or until when it is claimed; `error`, the code
of the last one.
"""

_MOST_BYTES = 200_000  # an entry of EventBridge and a message of SQS hold 256 KB


def once_told(event: Event) -> Once:
    """The write that puts an event into the outbox, unless it has been told before.

    Raises:
        TooLarge: The event bus would not take it.
    """
    document = {
        "id": event.id,
        "source": event.source,
        "detail_type": event.detail_type,
        "time": event.time,
        "detail": dict(event.detail),
        "trace": event.trace,
    }
    _check("an event", document)
    return Once(Put(EVENTS, event.id, document, {"unrouted": event.source}, expected=0))


def told_event(row: Row) -> Event:
    """The event that a record holds."""
    return Event(**row.document)


def once_asked(job: Job, now_s: float) -> Once:
    """The write that puts a job into the outbox, unless it has been asked for before.

    Args:
        job: What is to be done.
        now_s: The present moment, seconds since 1970.

    Raises:
        TooLarge: A queue would not take it.
    """
    document = job_document(job)
    _check("a job", document)
    return Once(Put(JOBS, job.id, document, waiting(job, now_s + job.delay_s), expected=0))


def job_document(job: Job) -> dict[str, Any]:
    """A job as a record and as a message hold it; its delay is over once it is sent."""
    return {"id": job.id, "lane": job.lane, "kind": job.kind, "payload": dict(job.payload), "trace": job.trace}


def asked_job(row: Row) -> Job:
    """The job that a record holds."""
    return Job(**row.document)


def waiting(job: Job, due_s: float) -> dict[str, Any]:
    """Columns of a job that waits for its first try."""
    begun = {"state": "waiting", "tries": 0, "crashes": 0}
    return {"lane": job.lane, "queue": job.lane, "send": due_s, "due": due_s, **begun}


def _check(what: str, document: dict[str, Any]) -> None:
    size = len(orjson.dumps(document))
    if size > _MOST_BYTES:
        raise TooLarge(f"{what} of {size} bytes is more than the {_MOST_BYTES} that are sent")
