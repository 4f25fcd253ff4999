"""A function of AWS sends, tells and writes what the contract says of it; the rest waits for whoever may."""

import json
from collections.abc import Iterator

import pytest

from radloop import lambdas
from radloop.core.errors import Denied, NotFound
from radloop.core.events import DicomUploaded, PipelineTriggered
from radloop.core.ports import Change, Delete, Job, Put
from radloop.core.tables import DRIFT, LEDGER, READS, USERS
from radloop.wiring_aws import open_aws
from tests.aws.environment import CONTEXT, Environment, environment

READ = Put(READS, "r1", {"reader": "nobody"}, {"image_set": "i1", "datastore": "d1", "reader": "nobody"}, expected=0)


@pytest.fixture(scope="module")
def surroundings(ministack: str, healthimaging_url: str) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url) as made:
        yield made


def test_whoever_takes_files_in_writes_no_opinion_no_person_and_no_release(surroundings: Environment) -> None:
    records = lambdas._cloud("image_ingestion").platform.records
    beside = Put(DRIFT, "written-with-it", {})
    for guarded in (READ, Delete(USERS, "somebody"), Put(LEDGER, "0001", {})):
        with pytest.raises(Denied, match=guarded.table.name):
            records.commit(Change([beside, guarded]))
    whole = surroundings.cloud.platform.records
    assert [whole.get(table, key) for table, key in ((READS, "r1"), (DRIFT, beside.key))] == [None, None]
    lambdas._cloud("api").platform.records.commit(Change([READ]))
    assert records.get(READS, "r1") is not None  # it may be read by all


def test_a_job_of_another_waits_for_the_function_that_sends_what_was_left(surroundings: Environment) -> None:
    whole, narrow = surroundings.cloud.platform, lambdas._cloud("stream_layers").platform
    jobs = [Job(f"left-{lane}", lane, "look", {}) for lane in ("predict", "stream")]
    whole.records.commit(Change(jobs=jobs))
    narrow.bus.route()
    assert [len(surroundings.messages(lane)) for lane in ("predict", "stream")] == [0, 1]
    lambdas.outbox({"source": "aws.events", "detail-type": "Scheduled Event"}, CONTEXT)
    assert [len(surroundings.messages(lane)) for lane in ("predict", "stream")] == [1, 0]


def test_many_jobs_of_others_do_not_keep_a_function_from_sending_its_own(surroundings: Environment) -> None:
    records = surroundings.cloud.platform.records
    for begin in range(0, 120, 20):
        records.commit(Change(jobs=[Job(f"many-{begin + each}", "predict", "look", {}) for each in range(20)]))
    records.commit(Change(jobs=[Job("one", "stream", "look", {})]))
    lambdas._cloud("stream_layers").platform.bus.route()
    assert [len(surroundings.messages(lane)) for lane in ("predict", "stream")] == [0, 1]


def test_an_event_of_another_waits_for_the_function_that_tells_what_was_left(surroundings: Environment) -> None:
    whole, narrow = surroundings.cloud.platform, lambdas._cloud("image_ingestion").platform
    now = whole.clock()
    own, other = DicomUploaded(key="training-data/upload/a"), PipelineTriggered(execution="e1", snapshot="s", studies=1)
    whole.records.commit(Change(events=[own.told(at=now), other.told(at=now)]))
    surroundings.announced()
    narrow.bus.route()
    assert [each["detail-type"] for each in surroundings.announced()] == ["DicomUploaded"]
    lambdas.outbox({"source": "aws.events", "detail-type": "Scheduled Event"}, CONTEXT)
    assert [each["detail-type"] for each in surroundings.announced()] == ["PipelineTriggered"]


def test_what_a_function_asks_and_the_contract_does_not_say_is_late_and_told(
    surroundings: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    whole, narrow = surroundings.cloud.platform, lambdas._cloud("stream_layers").platform
    while whole.bus.route() or surroundings.messages("predict"):
        pass  # what the others left is not looked at here
    narrow.records.commit(Change(jobs=[Job("unsaid", "predict", "look", {})]))
    assert "lane predict is not asked from here, so a job look is late" in caplog.text
    narrow.bus.route()
    assert surroundings.messages("predict") == []
    lambdas.outbox({"source": "aws.events", "detail-type": "Scheduled Event"}, CONTEXT)
    assert [json.loads(each["body"])["id"] for each in surroundings.messages("predict")] == ["unsaid"]


def test_a_function_that_the_contract_does_not_know_is_not_begun(surroundings: Environment) -> None:
    with pytest.raises(NotFound, match="no function image-retention"):
        open_aws(surroundings.variables, "image-retention")
