"""The Jobs port on DynamoDB and SQS keeps its contract, whatever becomes of messages."""

import json
from datetime import timedelta
from typing import Any

import pytest

from radloop.aws.jobs import SqsJobs, job_of
from radloop.core.errors import NotFound, Unavailable
from radloop.core.ports import Change, Claim, Job, Jobs, Records
from tests.aws.emulators import client
from tests.aws.substrate import Substrate
from tests.contracts.bus import assert_none_is_due
from tests.contracts.jobs import JobsContract, ask, next_claim


class TestSqsJobs(JobsContract):
    @pytest.fixture(autouse=True)
    def on(self, substrate: Substrate) -> None:
        self.substrate = substrate

    def time_out(self, jobs: Jobs) -> None:
        self.substrate.watch.ahead += timedelta(seconds=901)

    @pytest.mark.slow
    def test_a_job_that_keeps_killing_its_worker_is_given_up_on(self, records: Records, jobs: Jobs) -> None:
        super().test_a_job_that_keeps_killing_its_worker_is_given_up_on(records, jobs)


def received(substrate: Substrate, lane: str = "events") -> list[dict[str, Any]]:
    """Messages as Lambda's event source hands them over."""
    answer = client(substrate.address, "sqs").receive_message(QueueUrl=substrate.queues[lane], MaxNumberOfMessages=10)
    return [
        {"messageId": each["MessageId"], "receiptHandle": each["ReceiptHandle"], "body": each["Body"]}
        for each in answer.get("Messages", ())
    ]


def send(substrate: Substrate, body: str, lane: str = "events") -> None:
    client(substrate.address, "sqs").send_message(QueueUrl=substrate.queues[lane], MessageBody=body)


def test_a_message_that_comes_twice_is_worked_on_once(substrate: Substrate, jobs: SqsJobs) -> None:
    ask(substrate.records, "a")
    jobs.relay()
    (message,) = received(substrate)
    worked: list[str] = []

    def work(claim: Claim) -> None:
        assert jobs.serve([{**message, "messageId": "again"}], lambda _: worked.append("twice")) == ["again"]
        worked.append(claim.job.id)

    assert jobs.serve([message], work) == []
    assert jobs.serve([message], lambda _: worked.append("thrice")) == []
    assert worked == ["a"]


def test_a_function_hands_back_nothing_that_is_settled_and_failures_come_again(
    substrate: Substrate, jobs: SqsJobs
) -> None:
    ask(substrate.records, "bad", "good")
    jobs.relay()
    tried: list[tuple[str, int]] = []
    given_up: list[tuple[str, str]] = []

    def work(claim: Claim) -> None:
        tried.append((claim.job.id, claim.tries))
        if claim.job.id == "bad":
            raise Unavailable("on purpose")

    def gave_up(claim: Claim, error: str) -> None:
        given_up.append((claim.job.id, error))

    assert jobs.serve(received(substrate), work, gave_up=gave_up) == []
    for _ in range(200):
        messages = received(substrate)
        assert jobs.serve(messages, work, gave_up=gave_up) == []
        if given_up:
            break
    assert sorted(tried) == [("bad", 1), ("bad", 2), ("good", 1)]
    assert given_up == [("bad", "unavailable")]
    assert [letter.job.id for letter in jobs.dead_letters()] == ["bad"]


def test_a_job_that_is_due_in_an_hour_waits_in_the_outbox(substrate: Substrate, jobs: SqsJobs) -> None:
    ask(substrate.records, "a", delay_s=3600)
    assert jobs.relay() == 0
    substrate.watch.ahead += timedelta(seconds=3599)
    assert jobs.claim("events") is None  # SQS holds its message for the last second
    substrate.watch.ahead += timedelta(seconds=2)
    assert next_claim(jobs).job.id == "a"


def test_a_message_that_was_lost_is_sent_again_in_the_end(substrate: Substrate, jobs: SqsJobs) -> None:
    ask(substrate.records, "a")
    assert (jobs.relay(), jobs.relay()) == (1, 0)
    client(substrate.address, "sqs").purge_queue(QueueUrl=substrate.queues["events"])
    assert_none_is_due(jobs)
    substrate.watch.ahead += timedelta(hours=7)
    assert next_claim(jobs).job.id == "a"
    substrate.watch.ahead += timedelta(hours=1)  # its worker dies, and so does the message
    client(substrate.address, "sqs").purge_queue(QueueUrl=substrate.queues["events"])
    assert next_claim(jobs).tries == 1


def test_who_receives_a_message_whose_worker_died_takes_over(substrate: Substrate, jobs: SqsJobs) -> None:
    ask(substrate.records, "a")
    jobs.relay()
    (message,) = received(substrate)

    def die(_: Claim) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.serve([message], die)
    assert jobs.serve([message], lambda _: pytest.fail("somebody works on it")) == [message["messageId"]]
    substrate.watch.ahead += timedelta(seconds=901)
    tries: list[int] = []
    assert jobs.serve([message], lambda claim: tries.append(claim.tries)) == []
    assert tries == [1]


def test_a_worker_that_outlived_its_lease_takes_nothing_from_who_took_over(substrate: Substrate, jobs: SqsJobs) -> None:
    ask(substrate.records, "a")
    late = next_claim(jobs)
    substrate.watch.ahead += timedelta(seconds=901)
    assert jobs.release_abandoned() == 1
    jobs.done(next_claim(jobs))
    assert jobs.failed(late, "unavailable") is False
    assert jobs.pending() == 0
    assert jobs.claim("events") is None


def test_a_message_that_is_no_job_ends_in_the_dead_letter_queue(substrate: Substrate) -> None:
    substrate.receives = 2
    jobs = SqsJobs(substrate.records, client(substrate.address, "sqs"), substrate.queues, substrate.watch, lease_s=0)
    send(substrate, "no json")
    send(substrate, json.dumps({"event": {}}))
    ask(substrate.records, "a")
    assert next_claim(jobs).job.id == "a"
    for _ in range(5):
        assert jobs.serve([{"messageId": "m", "receiptHandle": "r", "body": "[]"}], pytest.fail) == ["m"]
    left = client(substrate.address, "sqs").get_queue_attributes(
        QueueUrl=f"{substrate.queues['events']}-dead", AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert left["Attributes"]["ApproximateNumberOfMessages"] == "2"


def test_a_lane_without_a_queue_keeps_its_jobs_and_holds_up_no_other(substrate: Substrate, jobs: SqsJobs) -> None:
    job = Job(id="x", lane="nowhere", kind="k", payload={})
    substrate.records.commit(Change(jobs=[job]))
    ask(substrate.records, "a")
    assert jobs.claim("events").job.id == "a"
    assert jobs.pending("nowhere") == 1
    with pytest.raises(NotFound):
        jobs.claim("nowhere")


def test_a_body_tells_a_job_of_ours_or_the_delivery_of_an_event() -> None:
    told = {"id": "a", "lane": "fold", "kind": "k", "payload": {"n": 1}, "trace": "t"}
    assert job_of(json.dumps(told)) == Job(**told)
    envelope = {
        "version": "0",
        "id": "aws",
        "source": "s",
        "detail-type": "T",
        "time": "2026-01-02T00:00:00Z",
        "detail": {"n": 1},
        "resources": ["urn:radloop:event:e", "urn:radloop:time:2026-01-02T00:00:00.123Z", "urn:radloop:trace:t"],
    }
    delivery = {"rule": "R", "kind": "f", "delay_s": 60, "event": envelope}
    job = job_of(json.dumps(delivery))
    assert (job.id, job.lane, job.kind, job.delay_s, job.trace) == ("e-R", "events", "f", 60.0, "t")
    assert job.payload["time"] == "2026-01-02T00:00:00.123Z"
    again = {**envelope, "resources": [*envelope["resources"], "urn:radloop:again:7"]}
    assert job_of(json.dumps({**delivery, "event": again})).id == "e-R-again-7"
    for broken in ("", "[]", "{}", "7", '{"event": 1}', '{"id": "a", "surplus": 1}'):
        with pytest.raises(ValueError, match=r".*"):
            job_of(broken)
