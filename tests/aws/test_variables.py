"""The variables that the brief names are those that count, and none of them can be changed to no effect."""

import json
from typing import Any

import pytest

from radloop.core.errors import InvalidInput
from radloop.wiring_aws import open_aws

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
