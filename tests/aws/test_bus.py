"""The Bus port on DynamoDB and EventBridge keeps its contract, and no crash loses an event or a job."""

import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from radloop.aws.bus import EventBridgeBus
from radloop.aws.changes import AUDIT
from radloop.core.errors import Unavailable
from radloop.core.events import ImageQuarantined
from radloop.core.ports import Change, Claim, Jobs, Put
from radloop.core.tables import QUARANTINE, STUDIES
from tests.aws.crash import KILLED
from tests.aws.emulators import client
from tests.aws.faults import answer, client_with, let_through
from tests.aws.substrate import Substrate
from tests.contracts.bus import BusContract, assert_none_is_due, tell
from tests.contracts.jobs import next_claim

AT = datetime(2026, 1, 2, tzinfo=UTC)


class TestEventBridgeBus(BusContract):
    pass


def all_due(jobs: Jobs, lane: str = "events") -> list[Claim]:
    claims = []
    while (claim := jobs.claim(lane)) is not None:
        claims.append(claim)
        jobs.done(claim)
    return claims


def crash(substrate: Substrate, moment: str) -> list[str]:
    told = (substrate.address, substrate.table, substrate.bus_name, json.dumps(dict(substrate.queues)), moment)
    return [sys.executable, "-m", "tests.aws.crash", *told]


def killed(substrate: Substrate, moment: str) -> None:
    ended = subprocess.run(crash(substrate, moment), check=False, timeout=60)
    assert ended.returncode == KILLED


def test_a_process_killed_between_commit_and_route_loses_nothing(substrate: Substrate) -> None:
    killed(substrate, "committed")
    assert substrate.bus.route() == 1
    assert next_claim(substrate.jobs).job.kind == "aside"
    assert next_claim(substrate.jobs, "fold").job.payload == {"n": 1}


def test_a_process_killed_after_telling_tells_again_and_the_delivery_is_one(substrate: Substrate) -> None:
    killed(substrate, "told")
    assert (substrate.bus.route(), substrate.bus.route()) == (1, 0)
    assert next_claim(substrate.jobs).tries == 1
    assert_none_is_due(substrate.jobs)
    assert substrate.jobs.pending() == 1


def test_a_process_killed_after_sending_a_job_sends_again_and_the_job_is_done_once(substrate: Substrate) -> None:
    killed(substrate, "sent")
    assert [claim.job.id for claim in all_due(substrate.jobs, "fold")] == ["j"]
    assert substrate.jobs.relay() == 0


@pytest.mark.slow
def test_processes_killed_at_any_moment_leave_whole_changes_only(substrate: Substrate) -> None:
    dice, said, records = random.Random(1), [], substrate.records
    records.commit(Change(writes=[Put(STUDIES, "s", {}, {"instances": 0})]))
    for _ in range(2):
        writers = [subprocess.Popen(crash(substrate, "for ever"), stdout=subprocess.PIPE, text=True) for _ in range(3)]
        firsts = [writer.stdout.readline() for writer in writers]
        for writer, first in zip(writers, firsts, strict=True):
            time.sleep(dice.uniform(0.0, 0.2))
            writer.kill()
            said += [first, *writer.stdout.readlines()]
            writer.stdout.close()
            writer.wait()
    ids = {told.event.id for told in substrate.bus.events(limit=10_000)}
    assert {line.strip() for line in said if line.endswith("\n")} <= ids
    assert records.get(STUDIES, "s").columns["instances"] == len(ids) == records.count(QUARANTINE, {"reason": "r"})
    assert [row.order for row in records.find(AUDIT)] == list(range(1, len(ids) + 1))
    while substrate.bus.route():
        pass
    assert {claim.job.payload["id"] for claim in all_due(substrate.jobs)} == ids


def test_routers_at_the_same_moment_deliver_each_event_once(substrate: Substrate) -> None:
    ids = {tell(substrate.records, f"{n}") for n in range(8)}
    bus = [
        EventBridgeBus(
            substrate.other_records(),
            client(substrate.address, "events"),
            substrate.bus_name,
            substrate.rules,
            substrate.jobs,
        )
        for _ in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda each: each.route(), bus))
    assert substrate.bus.route() == 0
    claims = all_due(substrate.jobs)
    assert sorted(claim.job.payload["id"] for claim in claims) == sorted(ids)


def test_events_of_one_change_and_of_many_are_routed_in_portions(substrate: Substrate) -> None:
    happenings = [ImageQuarantined(quarantine_id=f"{n}", reason="r") for n in range(12)]
    substrate.records.commit(Change(events=[each.told(at=AT) for each in happenings]))
    assert (substrate.bus.route(), substrate.bus.route()) == (12, 0)
    assert len(all_due(substrate.jobs)) == 12


def test_what_eventbridge_does_not_take_stays_and_the_rest_is_marked(substrate: Substrate) -> None:
    ids = [tell(substrate.records, f"{n}") for n in range(3)]

    def take_two(request: Any) -> AWSResponse:
        sent = json.loads(request.body)["Entries"]
        assert len(sent) == 3
        refused = {"ErrorCode": "ThrottlingException", "ErrorMessage": "later"}
        return answer(
            request.url, 200, {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, refused, {"EventId": "3"}]}
        )

    events = client_with(substrate.address, "events", "PutEvents", [take_two, let_through])
    bus = EventBridgeBus(substrate.records, events, substrate.bus_name, substrate.rules, substrate.jobs)
    with pytest.raises(Unavailable, match="ThrottlingException"):
        bus.route()
    assert bus.route() == 1
    assert [claim.job.payload["id"] for claim in all_due(substrate.jobs)] == [ids[1]]


def test_a_bus_that_is_not_there_keeps_the_events(substrate: Substrate) -> None:
    tell(substrate.records, "q")
    events = client_with(
        substrate.address, "events", "PutEvents", [lambda request: answer(request.url, 400, {"__type": "X"})]
    )
    bus = EventBridgeBus(substrate.records, events, substrate.bus_name, substrate.rules, substrate.jobs)
    with pytest.raises(Unavailable):
        bus.route()
    assert substrate.bus.route() == 1
