"""The real entries, woken as AWS wakes them."""

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from radloop import lambdas
from radloop.core.events import ImageIngested
from radloop.core.identity import Principal, new_id
from radloop.core.ports import AuditEntry, Change, Job
from radloop.core.tables import DELIVERIES, IMAGE_SETS, QUARANTINE
from radloop.functions.incidents import incidents
from radloop.security.isolation import is_isolated
from tests.aws.environment import CONTEXT, Environment, batch, environment, import_ended
from tests.store.house import phantom


@pytest.fixture(scope="module")
def laid_out(healthimaging_url: str, ministack: str) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.5) as made:
        yield made


@pytest.fixture
def surroundings(laid_out: Environment) -> Environment:
    """One environment for all; what tests before have told is heard already, and lines go where this one looks."""
    laid_out.announced()
    lambdas._formatter.cache_clear()
    return laid_out


def served(answer: Any) -> list[str]:
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def figures(capfd: pytest.CaptureFixture[str], name: str) -> list[tuple[str, float]]:
    """What was told of a metric since the last look: values with the outcome they are of, if they are of one."""
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    told = [line for line in lines if name in line]
    return [(str(line.get("outcome", "")), float(each)) for line in told for each in np.atleast_1d(line[name])]


def assemble(surroundings: Environment) -> None:
    """Wake study assembly by its queue until no look at a study is due."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        messages = surroundings.messages("assembly")
        if messages:
            assert served(lambdas.study_assembly({"Records": messages}, CONTEXT)) == []
        if surroundings.imaging.list_dicom_import_jobs(datastoreId=surroundings.datastore)["jobSummaries"]:
            return
        time.sleep(0.1)
    pytest.fail("no import job was started")


def ended(surroundings: Environment) -> list[str]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        jobs = surroundings.imaging.list_dicom_import_jobs(datastoreId=surroundings.datastore)["jobSummaries"]
        if jobs and all(job["jobStatus"] == "COMPLETED" for job in jobs):
            return [str(job["jobId"]) for job in jobs]
        time.sleep(0.05)
    pytest.fail("the import did not end")


def test_an_object_put_into_the_bucket_becomes_an_image_set_that_is_announced(surroundings: Environment) -> None:
    told = [surroundings.put(f"upload/2026/{number} Müller+1.dcm", data) for number, data in enumerate(phantom())]
    assert served(lambdas.image_ingestion(batch(*told), CONTEXT)) == []
    assemble(surroundings)
    (job,) = ended(surroundings)
    lambdas.image_ingestion(import_ended(surroundings.datastore, job), CONTEXT)
    lambdas.image_ingestion(import_ended(surroundings.datastore, job), CONTEXT)
    (row,) = surroundings.cloud.platform.records.find(IMAGE_SETS)
    events = surroundings.announced()
    assert [event["detail-type"] for event in events] == ["ImageIngested", "StudyReceived"]
    assert events[0]["detail"]["image_set"] == row.key
    volume = surroundings.cloud.images.volume(row.key)
    assert volume.shape == (4, 64, 64)
    assert volume.dtype == np.int16
    left = surroundings.cloud.platform.blobs.keys("training-data/upload/")
    assert list(left) == []


def test_one_broken_message_is_told_and_the_others_are_done(surroundings: Environment) -> None:
    good = surroundings.put("upload/a.dcm", phantom()[0])
    lost = surroundings.put("upload/b.dcm", b"b")
    lost["detail"]["object"]["key"] = "elsewhere/b.dcm"
    junk = surroundings.put("upload/c.dcm", b"junk")
    assert served(lambdas.image_ingestion(batch(good, lost, junk), CONTEXT)) == ["message-1"]
    (row,) = surroundings.cloud.platform.records.find(QUARANTINE)
    assert row.document["code"] == "not-dicom"
    assert [event["detail-type"] for event in surroundings.announced()] == ["ImageQuarantined"]


def test_an_object_whose_name_only_s3_takes_is_quarantined_and_a_folder_of_the_console_is_none(
    surroundings: Environment,
) -> None:
    records = surroundings.cloud.platform.records
    before = records.count(QUARANTINE)
    odd = [surroundings.put(key, phantom()[0]) for key in ("upload//a.dcm", "upload/./b.dcm")]
    folder = surroundings.put("upload/new folder/", b"")
    for _ in range(2):  # delivery is at least once
        assert served(lambdas.image_ingestion(batch(*odd, folder), CONTEXT)) == []
    entries = [row.document for row in records.find(QUARANTINE)][before:]
    assert [entry["code"] for entry in entries] == ["invalid-input", "invalid-input"]
    assert all("lies where it was put" in entry["sentence"] and ".dcm" not in str(entry) for entry in entries)


def test_what_nobody_waits_for_is_raised_and_tells_nothing_but_a_code(
    surroundings: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    event = {"id": "1", "source": "aws.s3", "detail-type": "Object Deleted", "detail": {"object": {"key": "Müller"}}}
    with pytest.raises(lambdas.Failed, match=r"^invalid-input$"):
        lambdas.image_ingestion(event, CONTEXT)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["level"] for line in lines] == ["INFO", "ERROR"]
    assert all(line["function"] == "image_ingestion" and line["request"] == "request-1" for line in lines)
    assert "Müller" not in json.dumps(lines, ensure_ascii=False)


def test_an_event_of_ours_is_done_once_and_a_replay_is_a_new_delivery(
    surroundings: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud = surroundings.cloud
    event = {
        "id": "0d079340-135a-c8c6-95c2-41fb8f496c53",
        "source": "imaging.mlops",
        "detail-type": "PipelineEnded",
        "time": "2026-11-23T12:00:00Z",
        "resources": ["urn:radloop:event:abc", "urn:radloop:trace:def"],
        "detail": {"execution": "x", "status": "Failed", "reason": "step-failed"},
    }
    for _ in range(2):
        lambdas.error_logging(event, CONTEXT)
    lambdas.error_logging({**event, "resources": [*event["resources"], "urn:radloop:again:1"]}, CONTEXT)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "step-failed" in line]
    assert len(lines) == 2
    assert {line["trace"] for line in lines} == {"def"}
    assert cloud.platform.records.count(DELIVERIES) == 2


def test_a_failure_that_aws_tells_of_is_written_down_without_its_sentences(
    surroundings: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    alarm = {
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "time": "2026-11-23T12:00:00Z",
        "resources": [],
        "detail": {
            "alarmName": "radloop-dev-A1-retrieval-latency",
            "state": {"value": "ALARM", "reason": "patient Müller waited"},
        },
    }
    lambdas.error_logging(alarm, CONTEXT)
    told = capfd.readouterr().err
    assert "radloop-dev-A1-retrieval-latency" in told
    assert "ller" not in told


def test_a_drift_job_that_failed_is_written_down_by_its_execution(
    surroundings: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    job = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/radloop-dev-drift"
    failed = {
        "id": "e5a3b8b8-06cf-4c4c-9df7-3b5e9a3f6b0d",
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
        "time": "2026-11-23T12:00:00Z",
        "resources": [job, f"{job}/execution/abc"],
        "detail": {
            "pipelineArn": job,
            "pipelineExecutionArn": f"{job}/execution/abc",
            "previousPipelineExecutionStatus": "Executing",
            "currentPipelineExecutionStatus": "Failed",
        },
    }
    lambdas.error_logging(failed, CONTEXT)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "radloop-dev-drift/execution/abc" in line]
    assert "Failed" in line


def test_the_outbox_tells_what_a_crash_left_and_looks_after_what_waits(surroundings: Environment) -> None:
    platform = surroundings.cloud.platform
    event = ImageIngested(image_set="a" * 32, version=1, modality="CT", instances=1, frames=1)
    platform.records.commit(Change(events=[event.told(at=platform.clock())]))
    lambdas.outbox({"source": "aws.scheduler", "detail-type": "Scheduled Event", "id": "1"}, CONTEXT)
    assert [event["detail-type"] for event in surroundings.announced()] == ["ImageIngested"]


def test_who_reads_of_too_many_patients_is_kept_out_within_the_minute(surroundings: Environment) -> None:
    platform = surroundings.cloud.platform
    reader = Principal(f"reader-{new_id()}", frozenset({"reader"}))
    for number in range(platform.settings.isolate_patients + 1):
        surroundings.cloud.audit.count(reader, "read", f"image-set-{number}")  # of which nobody knows the patient
    surroundings.cloud.audit.flush()
    for _ in range(2):
        lambdas.outbox({"source": "aws.scheduler", "detail-type": "Scheduled Event", "id": "1"}, CONTEXT)
    (found,) = [each for each in incidents(platform) if each.principal == reader.id]
    assert found.isolated_at is not None
    assert is_isolated(platform.records, reader.id)
    told = [event["detail"]["alarm"] for event in surroundings.announced()]
    assert told == ["incident-many-patients"]


def test_a_run_of_which_a_message_failed_is_told_as_failed_though_lambda_sees_no_error(
    surroundings: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = surroundings.put("upload/lost.dcm", b"b")
    lost["detail"]["object"]["key"] = "elsewhere/lost.dcm"
    assert served(lambdas.image_ingestion(batch(lost), CONTEXT)) == ["message-0"]
    assert figures(capfd, "radloop_function_runs_total") == [("failed", 1)]
    assert served(lambdas.image_ingestion(batch(), CONTEXT)) == []
    assert figures(capfd, "radloop_function_runs_total") == [("ok", 1)]


def test_a_run_of_which_a_job_failed_is_told_as_failed_too(
    surroundings: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = Job(id="broken", lane="assembly", kind="error_logging", payload={})
    surroundings.cloud.platform.records.commit(Change(jobs=[broken]))
    surroundings.cloud.jobs.relay()
    messages = surroundings.messages("assembly")
    assert any("broken" in message["body"] for message in messages)
    capfd.readouterr()
    assert served(lambdas.study_assembly({"Records": messages}, CONTEXT)) == []
    assert figures(capfd, "radloop_function_runs_total") == [("failed", 1)]
    surroundings.messages("assembly")


def test_where_nothing_can_be_sealed_the_audit_is_told_as_late_and_the_rest_is_done(
    surroundings: Environment, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = {"source": "aws.scheduler", "detail-type": "Scheduled Event", "id": "1"}
    platform, seals = surroundings.cloud.platform, lambdas._cloud("outbox").audit._seals
    lambdas.outbox(minute, CONTEXT)
    surroundings.announced()
    event = ImageIngested(image_set="b" * 32, version=1, modality="CT", instances=1, frames=1)
    entry = AuditEntry("x", "land", "b")
    platform.records.commit(Change(audit=[entry], events=[event.told(at=platform.clock())]))
    time.sleep(1.2)
    capfd.readouterr()
    with monkeypatch.context() as away:
        away.setattr(seals, "_bucket", "there-is-no-such-bucket")
        with pytest.raises(lambdas.Failed, match=r"^not-found$"):
            lambdas.outbox(minute, CONTEXT)
    ((_, lag),) = figures(capfd, "radloop_audit_lag_seconds")
    assert 1.0 < lag < 60.0
    assert [event["detail-type"] for event in surroundings.announced()] == ["ImageIngested"]
    lambdas.outbox(minute, CONTEXT)
    assert figures(capfd, "radloop_audit_lag_seconds") == [("", 0)]
