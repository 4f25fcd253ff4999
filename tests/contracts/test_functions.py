"""`functions.json` and `events/aws-rules.json` in contracts, held against what there is and what the brief says."""

import json
from importlib import import_module
from string import Template
from typing import Any

import pytest

from radloop.core.contracts import contracts
from radloop.functions.rules import matches

pytest.importorskip("aws_lambda_powertools", reason="the extra aws is not installed")

CONTRACT: dict[str, Any] = json.loads((contracts() / "functions.json").read_text())
FUNCTIONS = {function["name"]: function for function in CONTRACT["functions"]}
LANES = {lane["name"]: lane for lane in CONTRACT["lanes"]}
OUR_RULES = json.loads((contracts() / "events" / "rules.json").read_text())["rules"]
AWS_RULES = {
    rule["name"]: rule for rule in json.loads((contracts() / "events" / "aws-rules.json").read_text())["rules"]
}

NAMES = {
    "training_data": "radloop-training-data-dev-123456789012",
    "datastore_id": "12345678901234567890123456789012",
    "pipeline_arn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/radloop-dev",
    "package_group": "radloop-dev",
    "name": "radloop-dev",
}
ON = ("bucket:", "queue:", "key:", "role:", "secret:")
WHOLE = {"table", "bus", "datastore", "pipeline", "package-group", "endpoint", "topic:alerts", "user-pool"}

BRIEF = {
    "image-ingestion": (300, 512, {"HEALTHIMAGING_DATASTORE_ID", "DYNAMODB_TRACKING_TABLE", "S3_INGESTION_BUCKET"}),
    "pipeline-trigger": (60, 256, {"SAGEMAKER_PIPELINE_NAME", "SAGEMAKER_PIPELINE_ARN", "TRAINING_DATA_BUCKET"}),
    "model-evaluation": (
        900,
        1024,
        {"MODEL_ARTIFACTS_BUCKET", "TEST_DATA_BUCKET", "DYNAMODB_METRICS_TABLE", "ACCURACY_THRESHOLD"},
    ),
    "model-registry": (
        300,
        512,
        {"SAGEMAKER_ROLE_ARN", "MODEL_PACKAGE_GROUP_NAME", "INFERENCE_ENDPOINT_NAME", "MODEL_ARTIFACTS_BUCKET"},
    ),
}
"""Timeout, memory and variables of the four functions that the brief describes; it names a fifth, error logging."""


def told(source: str, kind: str, **detail: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "source": source,
        "detail-type": kind,
        "account": "123456789012",
        "time": "2026-11-23T12:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    }


def uploaded(bucket: str, key: str) -> dict[str, Any]:
    return told(
        "aws.s3",
        "Object Created",
        version="0",
        bucket={"name": bucket},
        object={
            "key": key,
            "size": 524288,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "sequencer": "617F08299329D189",
        },
        reason="PutObject",
    )


def imported(status: str, datastore: str, kind: str = "Completed") -> dict[str, Any]:
    return told(
        "aws.medical-imaging",
        f"Import Job {kind}",
        imagingVersion="1.0",
        datastoreId=datastore,
        jobId="a" * 32,
        jobStatus=status,
    )


def stepped(pipeline: str, status: str) -> dict[str, Any]:
    return told(
        "aws.sagemaker",
        "SageMaker Model Building Pipeline Execution Step Status Change",
        stepName="Evaluate",
        stepType="Processing",
        currentStepStatus=status,
        previousStepStatus="Executing",
        pipelineArn=pipeline,
        pipelineExecutionArn=f"{pipeline}/execution/abc",
    )


def executed(pipeline: str, status: str) -> dict[str, Any]:
    return told(
        "aws.sagemaker",
        "SageMaker Model Building Pipeline Execution Status Change",
        currentPipelineExecutionStatus=status,
        pipelineArn=pipeline,
        pipelineExecutionArn=f"{pipeline}/execution/abc",
    )


def trained(status: str, member: str = "TrainingJobStatus") -> dict[str, Any]:
    return told("aws.sagemaker", "SageMaker Training Job State Change", TrainingJobName="x", **{member: status})


def alarmed(name: str, state: str) -> dict[str, Any]:
    return told(
        "aws.cloudwatch",
        "CloudWatch Alarm State Change",
        alarmName=name,
        state={"value": state, "reason": "Threshold Crossed"},
        previousState={"value": "OK"},
    )


def packaged(group: str) -> dict[str, Any]:
    return told(
        "aws.sagemaker",
        "SageMaker Model Package State Change",
        ModelPackageGroupName=group,
        ModelPackageVersion=2,
        ModelApprovalStatus="Approved",
    )


BUCKET, STORE, PIPELINE, GROUP = (
    NAMES[name] for name in ("training_data", "datastore_id", "pipeline_arn", "package_group")
)
HITS = [
    ("UploadedToS3", uploaded(BUCKET, "upload/20261123/scan 1.dcm")),
    ("ImportJobEnded", imported("COMPLETED", STORE)),
    ("ImportJobFailed", imported("FAILED", STORE, "Failed")),
    ("SageMakerStepEnded", stepped(PIPELINE, "Succeeded")),
    ("SageMakerStepEnded", stepped(PIPELINE, "Failed")),
    ("SageMakerPipelineEnded", executed(PIPELINE, "Stopped")),
    ("ModelPackageChanged", packaged(GROUP)),
    ("SageMakerTrainingFailed", trained("Failed")),
    ("CloudWatchAlarm", alarmed("radloop-dev-A1-retrieval-latency", "ALARM")),
]
MISSES = [
    ("UploadedToS3", uploaded(BUCKET, "import/x/1/a.dcm")),
    ("UploadedToS3", uploaded("somebody-elses", "upload/a.dcm")),
    ("UploadedToS3", {**uploaded(BUCKET, "upload/a.dcm"), "detail-type": "Object Deleted"}),
    ("ImportJobEnded", imported("COMPLETED", "another")),
    ("ImportJobEnded", imported("FAILED", STORE, "Failed")),
    ("ImportJobFailed", imported("COMPLETED", STORE)),
    ("SageMakerStepEnded", stepped(PIPELINE, "Executing")),
    ("SageMakerStepEnded", stepped(f"{PIPELINE}-other", "Succeeded")),
    ("SageMakerPipelineEnded", executed(PIPELINE, "Executing")),
    ("ModelPackageChanged", packaged("another")),
    ("SageMakerTrainingFailed", trained("Completed")),
    ("SageMakerTrainingFailed", trained("Failed", "status")),  # the brief's name of the field, which no event has
    ("CloudWatchAlarm", alarmed("radloop-dev-A1-retrieval-latency", "OK")),
    ("CloudWatchAlarm", alarmed("radloop-development-x", "ALARM")),
]


def pattern(name: str) -> dict[str, Any]:
    """The pattern as Terraform fills it in."""
    filled: dict[str, Any] = json.loads(Template(json.dumps(AWS_RULES[name]["pattern"])).substitute(NAMES))
    return filled


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_entry_is_there(name: str) -> None:
    module, _, entry = FUNCTIONS[name]["entry"].rpartition(".")
    assert callable(getattr(import_module(module), entry))


@pytest.mark.parametrize("name", BRIEF)
def test_the_briefs_functions_are_as_it_says(name: str) -> None:
    timeout, memory, variables = BRIEF[name]
    function = FUNCTIONS[name]
    assert (function["timeout_s"], function["memory_mb"]) == (timeout, memory)
    assert variables <= {*function["environment"], *CONTRACT["common"]["environment"]}


def test_every_rule_wakes_something_and_everything_that_is_woken_has_its_rule() -> None:
    rules = {rule["name"] for rule in OUR_RULES} | AWS_RULES.keys()
    triggers = [trigger for function in FUNCTIONS.values() for trigger in function["triggers"]]
    assert {trigger["rule"] for trigger in triggers if "rule" in trigger} <= rules
    assert {trigger["queue"] for trigger in triggers if "queue" in trigger} == LANES.keys()
    targets = {rule["target"] for rule in OUR_RULES} | {each for rule in AWS_RULES.values() for each in rule["targets"]}
    known = {name.replace("-", "_") for name in FUNCTIONS} | {f"queue:{lane}" for lane in LANES}
    assert targets <= known | {"topic:alerts", "notification"}


def test_a_rule_and_the_function_it_wakes_name_each_other() -> None:
    aimed = {(rule["name"], rule["target"]) for rule in OUR_RULES if rule["target"] != "notification"}
    aimed |= {(rule["name"], each) for rule in AWS_RULES.values() for each in rule["targets"] if ":" not in each}
    woken = {
        (trigger["rule"], name.replace("-", "_"))
        for name, function in FUNCTIONS.items()
        for trigger in function["triggers"]
        if "rule" in trigger
    }
    assert woken == aimed


@pytest.mark.parametrize(("name", "event"), HITS)
def test_a_pattern_matches_what_aws_tells(name: str, event: dict[str, Any]) -> None:
    assert matches(pattern(name), event)


@pytest.mark.parametrize(("name", "event"), MISSES)
def test_a_pattern_does_not_match_its_neighbours(name: str, event: dict[str, Any]) -> None:
    assert not matches(pattern(name), event)


def test_every_rule_of_the_default_bus_has_an_example() -> None:
    assert {name for name, _ in HITS} == AWS_RULES.keys() == {name for name, _ in MISSES}
    assert all(rule["pattern"]["source"][0].startswith("aws.") for rule in AWS_RULES.values())
    assert not any(source.startswith("aws.") for rule in OUR_RULES for source in rule["pattern"]["source"])


def test_a_message_stays_hidden_six_times_as_long_as_its_function_may_run() -> None:
    for function in FUNCTIONS.values():
        for trigger in function["triggers"]:
            if "queue" in trigger:
                assert LANES[trigger["queue"]]["visibility_s"] >= 6 * function["timeout_s"]


DOMAINS = {
    "training-data": "training",
    "preprocessed-data": "training",
    "model-artifacts": "models",
    "audit": "audit",
    "archive": "imaging",
    "stream": "imaging",
}
"""By which key of infra/modules/storage each bucket is sealed."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_who_reads_or_writes_a_sealed_bucket_may_use_its_key_and_nobody_else_may(name: str) -> None:
    """The key's own policy only says who may ask; what they may do with it stands here."""
    groups = [*CONTRACT["common"]["actions"], *FUNCTIONS[name]["actions"]]
    needed: dict[str, set[str]] = {}
    for group in groups:
        bucket = group["on"].removeprefix("bucket:").partition("/")[0]
        if group["on"].startswith("bucket:"):
            keyed = needed.setdefault(DOMAINS[bucket], set())
            keyed |= {"kms:Decrypt"} if {"s3:GetObject", "s3:GetObjectVersion"} & {*group["actions"]} else set()
            keyed |= {"kms:Decrypt", "kms:GenerateDataKey"} if "s3:PutObject" in group["actions"] else set()
    given = {
        group["on"].removeprefix("key:"): {*group["actions"]} for group in groups if group["on"].startswith("key:")
    }
    assert {domain: actions - given.get(domain, set()) for domain, actions in needed.items()} == {
        domain: set() for domain in needed
    }
    assert all(actions <= {"kms:Decrypt", "kms:GenerateDataKey"} for actions in given.values())


def test_nobody_deletes_a_model_or_the_audit_and_originals_go_by_one_function_alone() -> None:
    deleting = {
        (name, group["on"].removeprefix("bucket:"))
        for name, function in FUNCTIONS.items()
        for group in [*CONTRACT["common"]["actions"], *function["actions"]]
        if any(action.startswith("s3:Delete") for action in group["actions"])
    }
    models = {path for _, path in deleting if path.startswith("model-artifacts")}
    assert models <= {"model-artifacts/*/pictures/*", "model-artifacts/*/report.html"}  # what shows images, of a run
    assert not any(path.startswith(("audit", "logs")) for _, path in deleting)
    assert {name for name, path in deleting if path.startswith("archive")} == {"study-assembly"}
    assert not any("DeleteObjectVersion" in json.dumps(function["actions"]) for function in FUNCTIONS.values())


def test_no_right_is_a_wildcard_and_each_is_on_something_we_name() -> None:
    groups = [group for function in [CONTRACT["common"], *FUNCTIONS.values()] for group in function["actions"]]
    for group in groups:
        assert group["on"] in WHOLE or group["on"].startswith(ON)
        assert group["on"].removeprefix("queue:") in LANES or not group["on"].startswith("queue:")
        assert group["actions"] == sorted(group["actions"])
        for action in group["actions"]:
            service, _, name = action.partition(":")
            assert service != "healthimaging"  # the brief's prefix, which IAM does not have
            assert name.isalnum()
