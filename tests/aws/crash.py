"""A process that kills itself at a moment: `python -m tests.aws.crash <address> <table> <bus> <queues> <moment>`."""

import json
import os
import sys
from datetime import UTC, datetime
from itertools import count

from radloop.aws.bus import EventBridgeBus
from radloop.aws.clients import made
from radloop.aws.jobs import SqsJobs
from radloop.aws.records import DynamoRecords
from radloop.core.events import ImageQuarantined
from radloop.core.ports import Adjust, AuditEntry, Change, Job, Put
from radloop.core.tables import QUARANTINE, STUDIES

KILLED = 9


def main(address: str, table: str, bus_name: str, queues: str, moment: str) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    def die(**_: object) -> None:
        os._exit(KILLED)

    events, sqs = made("events", address), made("sqs", address)
    events.meta.events.register("after-call.eventbridge.PutEvents", die)
    sqs.meta.events.register("after-call.sqs.SendMessage", die)
    records = DynamoRecords(made("dynamodb", address), table, now)
    jobs = SqsJobs(records, sqs, json.loads(queues), now)
    event = ImageQuarantined(quarantine_id="q", reason="r").told(at=datetime(2026, 1, 2, tzinfo=UTC))
    job = Job(id="j", lane="fold", kind="k", payload={"n": 1})
    match moment:
        case "committed":
            records.commit(Change(events=[event], jobs=[job]))
            die()
        case "told":
            records.commit(Change(events=[event]))
            EventBridgeBus(records, events, bus_name, (), jobs).route()
        case "sent":
            records.commit(Change(jobs=[job]))
            jobs.relay()
        case "for ever":
            _write(records)


def _write(records: DynamoRecords) -> None:
    """Count up and tell of it, in one change each, and say so afterwards, until somebody kills us."""
    for number in count():
        name = f"{os.getpid()}-{number}"
        told = ImageQuarantined(quarantine_id=name, reason="r").told(at=datetime(2026, 1, 2, tzinfo=UTC))
        written = Put(QUARANTINE, name, {"text": "x" * 1000 * (number % 7)}, {"reason": "r"}, expected=0)
        entry = AuditEntry("ada", "count", name)
        records.commit(Change(writes=[Adjust(STUDIES, "s", {"instances": 1}), written], events=[told], audit=[entry]))
        sys.stdout.write(f"{told.id}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
