"""Our definitions beside those that the SageMaker SDK makes of the same wishes (`tools/golden_pipeline.py`)."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radloop.pipeline.drift_builder import drift_definition
from radloop.pipeline.pipeline_builder import definition
from radloop.pipeline.transform_builder import transform_definition
from tests.aws.emulators import lab

GOLDEN = Path(__file__).with_name("golden.json")
REPOSITORY = Path(__file__).parents[2]
REGISTER = "Steps.Gate.Arguments.IfSteps.0"
NO_EXPERIMENT = {
    "PipelineExperimentConfig": "the SDK says null where there shall be no experiment; SageMaker's guide leaves it out"
}
INTENDED = {
    **NO_EXPERIMENT,
    f"{REGISTER}.Name": "the SDK puts the type behind the name of a step of its ModelStep; nothing refers to it",
    f"{REGISTER}.Arguments.InferenceSpecification.Containers.0.Environment": "the SDK says that there is none",
    f"{REGISTER}.Arguments.ModelMetrics.Bias": "the SDK says that there is none",
    f"{REGISTER}.Arguments.ModelMetrics.Explainability": "the SDK says that there is none",
    f"{REGISTER}.Arguments.SkipModelValidation": "the SDK spells out the default",
}
"""Where ours differs from the SDK's, and why."""

INTENDED_OF_TRANSFORM = {
    **NO_EXPERIMENT,
    "Steps.Model.Name": "the SDK puts what is done behind the name of a step of its ModelStep",
    "Steps.Model.Arguments.ExecutionRoleArn": "the SDK takes no parameter as the role of a model; SageMaker does",
    "Steps.Transform.Arguments.ModelName.Get": "refers to the step by its name",
}


def differences(ours: Any, theirs: Any, at: str = "") -> Iterator[str]:
    """Every place where two definitions differ; steps and parameters are told by name."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            if key not in ours or key not in theirs:
                yield f"{at}.{key}".lstrip(".")
            else:
                yield from differences(ours[key], theirs[key], f"{at}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            named = mine.get("Name", number) if at in {".Steps", ".Parameters"} else number
            yield from differences(mine, other, f"{at}.{named}")
    elif ours != theirs or type(ours) is not type(theirs):
        yield at.lstrip(".")


def golden(which: str = "definition") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text())[which]
    return found


def test_ours_is_the_sdks_but_for_the_differences_that_are_named() -> None:
    assert sorted(differences(definition(is_spot=True), golden())) == sorted(INTENDED)


def test_batch_transform_is_the_sdks_but_for_the_differences_that_are_named() -> None:
    assert sorted(differences(transform_definition(), golden("transform"))) == sorted(INTENDED_OF_TRANSFORM)


@pytest.mark.parametrize("built", [definition(), definition(is_named_by_us=True), drift_definition()])
def test_sagemaker_is_asked_for_no_experiment_which_its_role_may_not_create(built: dict[str, Any]) -> None:
    assert "PipelineExperimentConfig" not in built


@pytest.mark.parametrize(
    ("step", "path"),
    [
        (0, ("ProcessingResources", "ClusterConfig", "VolumeSizeInGB")),
        (1, ("StoppingCondition", "MaxWaitTimeInSeconds")),
        (1, ("CheckpointConfig", "LocalPath")),
        (2, ("ProcessingOutputConfig", "KmsKeyId")),
    ],
)
def test_a_difference_in_one_field_is_seen(step: int, path: tuple[str, ...]) -> None:
    ours = definition(is_spot=True)
    *outer, last = path
    place = ours["Steps"][step]["Arguments"]
    for name in outer:
        place = place[name]
    del place[last]
    seen = set(differences(ours, golden())) - set(INTENDED)
    assert seen == {f"Steps.{ours['Steps'][step]['Name']}.Arguments.{'.'.join(path)}"}


def test_a_parameter_of_another_default_is_seen() -> None:
    ours = definition(is_spot=True, defaults={"TrainingInstanceType": "ml.p3.2xlarge"})
    assert "Parameters.TrainingInstanceType.DefaultValue" in set(differences(ours, golden()))


@pytest.mark.slow
def test_the_golden_file_is_what_the_sdk_makes_today(tmp_path: Path) -> None:
    python = lab() / "sagemaker" / "venv" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"the SageMaker SDK is not installed in {python.parent.parent} (RADLOOP_LAB)")
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }
    made = tmp_path / "golden.json"
    subprocess.run(
        [str(python), str(REPOSITORY / "tools" / "golden_pipeline.py"), str(made)],
        check=True,
        env=environment,
        capture_output=True,
        timeout=300,
    )
    assert json.loads(made.read_text()) == json.loads(GOLDEN.read_text())
