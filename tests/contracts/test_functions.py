"""`functions.json` and `events/aws-rules.json` in contracts, held against what there is and what the brief says."""

import json
from importlib import import_module
from pathlib import Path
from string import Template
from typing import Any

import pytest
from botocore import xform_name

import radloop
from radloop.core import tables
from radloop.core.contracts import contracts
from radloop.core.events import IMAGING, MLOPS, MONITORING
from radloop.core.ports import Table
from radloop.functions.rules import matches

pytest.importorskip("aws_lambda_powertools", reason="the extra aws is not installed")

PACKAGE = Path(str(radloop.__file__)).parent
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
ON = ("bucket:", "key:", "grants:", "role:", "secret:")
WHOLE = {"table", "datastore", "pipeline", "package-group", "endpoint", "user-pool"}

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
    ("DriftJobFailed", executed(f"{PIPELINE}-drift", "Failed")),
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
    ("SageMakerPipelineEnded", executed(f"{PIPELINE}-drift", "Failed")),
    ("ModelPackageChanged", packaged("another")),
    ("SageMakerTrainingFailed", trained("Completed")),
    ("SageMakerTrainingFailed", trained("Failed", "status")),  # the brief's name of the field, which no event has
    ("DriftJobFailed", executed(f"{PIPELINE}-drift", "Succeeded")),
    ("DriftJobFailed", executed(PIPELINE, "Failed")),
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
    """The key's own policy only says who may ask; what they may do with it stands here.

    Whoever asks HealthImaging for something asks KMS in the same breath (HealthImaging Developer Guide, "Data
    encryption"): for the key's description always, for data keys where something is written.
    """
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
    asked = {action for group in groups if group["on"] == "datastore" for action in group["actions"]}
    described = {"kms:DescribeKey"} if asked else set()
    assert given.get("imaging", set()) >= described | ({"kms:Decrypt"} if asked else set())
    assert "medical-imaging:StartDICOMImportJob" not in asked or "kms:GenerateDataKey" in given["imaging"]
    assert all(
        actions <= {"kms:Decrypt", "kms:GenerateDataKey"} | (described if domain == "imaging" else set())
        for domain, actions in given.items()
    )


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


def test_every_right_to_ask_a_service_is_of_a_call_that_our_code_makes() -> None:
    """Where clients of boto3 are used; objects go through obstore, whose calls are named otherwise."""
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    asked = {
        action
        for function in FUNCTIONS.values()
        for group in function["actions"]
        for action in group["actions"]
        if action.startswith(("sagemaker:", "medical-imaging:", "cognito-idp:", "secretsmanager:"))
    }
    assert asked
    assert [action for action in sorted(asked) if xform_name(action.partition(":")[2]) not in code] == []


SOURCES = {IMAGING, MLOPS, MONITORING}


def test_one_function_sends_whatever_a_crash_of_any_other_left() -> None:
    outbox, others = FUNCTIONS["outbox"], [each for name, each in FUNCTIONS.items() if name != "outbox"]
    assert {*outbox["tells"]} == SOURCES
    assert {lane for each in others for lane in each["asks"]} == {*outbox["asks"]} == LANES.keys() - {"uploads"}
    assert {"schedule": "rate(1 minute)"} in outbox["triggers"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_ask_again_for_what_it_failed_at_and_tell_that_it_gave_up(name: str) -> None:
    function = FUNCTIONS[name]
    read = {trigger["queue"] for trigger in function["triggers"] if "queue" in trigger} - {"uploads"}
    assert read <= {*function["asks"]} <= LANES.keys()
    assert MONITORING in function["tells"] or not read
    assert {*function["tells"]} <= SOURCES
    assert function["changes"] == sorted(function["changes"])
    assert {*function["changes"]} <= CONTRACT["guarded"].keys()


def test_what_is_guarded_are_tables_and_the_ledger_the_people_and_the_truth_are_among_them() -> None:
    known = {each.name for each in vars(tables).values() if isinstance(each, Table)}
    guarded = [name for names in CONTRACT["guarded"].values() for name in names]
    assert len(guarded) == len({*guarded})
    assert {*guarded} <= known
    assert {"model_ledger", "users", "credentials", "sessions", "reads", "labels"} <= {*guarded}
    writing = {name for name, function in FUNCTIONS.items() if "people" in function["changes"]}
    assert writing == {"api"}


def test_no_right_is_a_wildcard_and_each_is_on_something_we_name() -> None:
    groups = [group for function in [CONTRACT["common"], *FUNCTIONS.values()] for group in function["actions"]]
    for group in groups:
        assert group["on"] in WHOLE or group["on"].startswith(ON)
        assert group["actions"] == sorted(group["actions"])
        for action in group["actions"]:
            service, _, name = action.partition(":")
            assert service != "healthimaging"  # the brief's prefix, which IAM does not have
            assert name.isalnum()
