"""The variables that the brief names are those that count, and none of them can be changed to no effect."""

import json
from typing import Any

import pytest

from radloop.core.contracts import contracts
from radloop.core.errors import InvalidInput
from radloop.core.ports import ModelVersion
from radloop.wiring_aws import open_aws
from tests.aws.pretended_endpoint import PretendedEndpoints

BUCKETS = {name: f"radloop-{name}" for name in ("training-data", "preprocessed-data", "model-artifacts")}
TOLD = {
    "RADLOOP_BUCKETS": json.dumps(BUCKETS),
    "RADLOOP_KEYS": "{}",
    "RADLOOP_QUEUES": "{}",
    "RADLOOP_BUS": "radloop",
    "RADLOOP_AUDIT_BUCKET": "radloop-audit",
    "HEALTHIMAGING_DATASTORE_ID": "a" * 32,
    "DYNAMODB_TRACKING_TABLE": "radloop",
    "DYNAMODB_METRICS_TABLE": "radloop",
    "S3_INGESTION_BUCKET": "radloop-training-data",
    "TRAINING_DATA_BUCKET": "radloop-training-data",
    "TEST_DATA_BUCKET": "radloop-preprocessed-data",
    "MODEL_ARTIFACTS_BUCKET": "radloop-model-artifacts",
    "SAGEMAKER_PIPELINE_NAME": "Radloop",
    "SAGEMAKER_PIPELINE_ARN": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/radloop",
    "ACCURACY_THRESHOLD": "0.9",
}


def threshold(**change: Any) -> float:
    return open_aws({**TOLD, **change}).platform.settings.accuracy_threshold


def test_the_briefs_threshold_is_the_gates() -> None:
    assert threshold() == 0.9
    assert threshold(RADLOOP_SETTINGS='{"accuracy_threshold": 0.9}') == 0.9
    assert threshold(ACCURACY_THRESHOLD="", RADLOOP_SETTINGS='{"accuracy_threshold": 0.88}') == 0.88


@pytest.mark.parametrize(
    "name",
    [
        "DYNAMODB_METRICS_TABLE",
        "S3_INGESTION_BUCKET",
        "TRAINING_DATA_BUCKET",
        "TEST_DATA_BUCKET",
        "MODEL_ARTIFACTS_BUCKET",
        "SAGEMAKER_PIPELINE_ARN",
    ],
)
def test_a_variable_that_is_changed_alone_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^variables contradict the others: {name}$"):
        open_aws({**TOLD, name: "another"})


def test_two_thresholds_are_refused() -> None:
    with pytest.raises(InvalidInput, match="ACCURACY_THRESHOLD and RADLOOP_SETTINGS"):
        threshold(RADLOOP_SETTINGS='{"accuracy_threshold": 0.8}')


SERVING = {
    "INFERENCE_ENDPOINT_NAME": "radloop",
    "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/radloop-sagemaker",
    "RADLOOP_INFERENCE_IMAGE": "radloop-inference:1",
    "RADLOOP_SUBNETS": "subnet-1,subnet-2",
    "RADLOOP_SECURITY_GROUPS": "sg-1",
}


def test_what_an_endpoint_serves_is_a_model_in_the_private_subnets() -> None:
    sagemaker = PretendedEndpoints()
    endpoint = open_aws({**TOLD, **SERVING}).endpoint
    assert endpoint is not None
    endpoint._client = sagemaker.client
    made = ModelVersion(
        3, "Approved", "model-artifacts/models/e3/model.tar.gz", {}, {}, (), "2026-01-05T00:00:00+00:00"
    )
    endpoint.deploy(made)
    (model,) = sagemaker.models.values()
    assert model["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}


@pytest.mark.parametrize("name", sorted(SERVING.keys() - {"INFERENCE_ENDPOINT_NAME"}))
def test_an_endpoint_that_lacks_a_variable_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^the variable {name} is missing$"):
        open_aws({**TOLD, **SERVING, name: ""})


@pytest.mark.parametrize("function", ["pipeline-run", "model-registry"])
def test_who_is_told_of_the_endpoint_is_told_what_it_stands_on(function: str) -> None:
    contract = json.loads((contracts() / "functions.json").read_text())
    (told,) = [each["environment"] for each in contract["functions"] if each["name"] == function]
    assert SERVING.keys() <= {*told}
    assert {"RADLOOP_SUBNETS", "RADLOOP_SECURITY_GROUPS"} <= {*contract["without"]["endpoint"]}
