"""The definition, held against SageMaker's own service model."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import Shape
from botocore.validate import ParamValidator

from radloop.core.errors import InvalidInput
from radloop.pipeline.__main__ import main, write
from radloop.pipeline.drift_builder import drift_definition
from radloop.pipeline.expressions import Scope, holds, parameters_of, resolve
from radloop.pipeline.pipeline_builder import RECIPE, definition
from radloop.pipeline.transform_builder import transform_definition
from radloop.serving.server import LONGEST_BODY, NPY
from radloop.training.recipes import recipe_for

ROLE = "arn:aws:iam::111122223333:role/radloop-training"
GIVEN = {
    "DatasetUri": "s3://training-data/snapshots/abc",
    "Snapshot": "abc",
    "ContextUri": "s3://training-data/contexts/abc",
    "RoleArn": ROLE,
}
OPERATIONS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "RegisterModel": "CreateModelPackage",
}
NAMED = {"Processing": {"ProcessingJobName": "job"}, "Training": {"TrainingJobName": "job"}, "RegisterModel": {}}


@pytest.fixture(scope="module")
def service() -> Any:
    return botocore.session.get_session().get_service_model("sagemaker")


def steps_of(built: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    gate = next(step for step in built["Steps"] if step["Type"] == "Condition")
    inner = [*gate["Arguments"]["IfSteps"], *gate["Arguments"]["ElseSteps"]]
    return {step["Name"]: step for step in [*built["Steps"], *inner]}


def resolved(built: Mapping[str, Any], given: Mapping[str, Any] = GIVEN) -> dict[str, Any]:
    """Arguments of every step but the condition, as SageMaker would send them to its own API."""
    described: dict[str, Any] = {}
    scope = Scope(parameters=parameters_of(built, given), execution={"PipelineExecutionId": "one"}, steps=described)
    for name, step in steps_of(built).items():
        if step["Type"] == "Condition":
            continue
        described[name] = resolve(step["Arguments"], scope)
        if step["Type"] == "Training":
            described[name]["ModelArtifacts"] = {"S3ModelArtifacts": "s3://model-artifacts/models/one/model.tar.gz"}
    described["Train"] = {key: value for key, value in described["Train"].items() if key != "ModelArtifacts"}
    return described


def faults(value: Any, shape: Shape, at: str = "") -> Iterator[str]:
    """Where a value breaks the pattern, the length or the list of allowed values that its shape declares.

    botocore itself checks types and required members only.
    """
    if shape.type_name == "structure":
        for key, part in value.items():
            yield from faults(part, shape.members[key], f"{at}.{key}")
    elif shape.type_name == "list":
        for part in value:
            yield from faults(part, shape.member, f"{at}[]")
    elif shape.type_name == "map":
        for part in value.values():
            yield from faults(part, shape.value, f"{at}.*")
    elif shape.type_name == "string":
        yield from (f"{at} {fault}" for fault in text_faults(value, shape))


def text_faults(value: str, shape: Shape) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield "is not one of the allowed values"
    pattern = shape.metadata.get("pattern", "")
    if pattern and "\\p{" not in pattern and not re.fullmatch(pattern, value):  # Python knows no Unicode classes
        yield f"does not match {pattern}"
    if not shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", len(value)):
        yield "is too long or too short"


@pytest.mark.parametrize("name", ["Preprocess", "Train", "Evaluate", "Register"])
@pytest.mark.parametrize("with_weights", [False, True])
def test_what_a_step_asks_for_is_a_request_of_sagemaker(service: Any, name: str, with_weights: bool) -> None:
    built = definition(with_weights=with_weights)
    given = {**GIVEN, "WeightsUri": "s3://model-artifacts/weights"} if with_weights else GIVEN
    kind = steps_of(built)[name]["Type"]
    request = {**resolved(built, given)[name], **NAMED[kind]}
    shape = service.operation_model(OPERATIONS[kind]).input_shape
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert list(faults(request, shape)) == []


def test_the_check_against_sagemaker_sees_a_misspelt_and_a_missing_member(service: Any) -> None:
    shape = service.operation_model("CreateTrainingJob").input_shape
    request = {**resolved(definition())["Train"], "TrainingJobName": "job"}
    validator = ParamValidator()
    assert validator.validate({**request, "Checkpoint": {}}, shape).has_errors()
    assert validator.validate({**request, "StoppingCondition": "1 h"}, shape).has_errors()
    assert list(faults({**request, "TrainingJobName": "a job"}, shape)) != []
    resources = {**request["ResourceConfig"], "InstanceType": "ml.p3.imaginary"}
    assert list(faults({**request, "ResourceConfig": resources}, shape)) != []


def test_the_whole_is_of_the_version_and_size_that_sagemaker_takes() -> None:
    built = definition()
    assert built["Version"] == "2020-12-01"
    assert len(json.dumps(built)) < 100 * 1024


def test_parameters_are_of_sagemakers_types_and_names() -> None:
    kinds = {"String": str, "Integer": int, "Float": float}
    for parameter in definition(with_weights=True)["Parameters"]:
        assert re.fullmatch(r"[A-Za-z0-9\-_]{1,256}", parameter["Name"])
        assert isinstance(parameter.get("DefaultValue", kinds[parameter["Type"]]()), kinds[parameter["Type"]])


def test_the_threshold_is_85_percent_unless_an_execution_says_otherwise() -> None:
    assert parameters_of(definition(), GIVEN)["AccuracyThreshold"] == 0.85
    evaluate = resolved(definition(), {**GIVEN, "AccuracyThreshold": 0.9})["Evaluate"]
    arguments = evaluate["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--accuracy-threshold") + 1] == "0.9"


def test_the_recipe_of_the_brief_is_the_default() -> None:
    chosen = resolved(definition())["Train"]["HyperParameters"]
    assert chosen == RECIPE
    wanted = {"epochs": "50", "patience": "5", "batch_size": "32", "learning_rate": "0.001", "image_size": "224"}
    assert wanted.items() <= chosen.items()


def test_the_parameters_are_the_hyperparameters_that_training_knows() -> None:
    train = pytest.importorskip("radloop.training.train", reason="needs torch", exc_type=ImportError)
    assert set(RECIPE) == {field.name for field in fields(train.Hyperparameters)}
    train.parse_hyperparameters(RECIPE)


@pytest.mark.parametrize("gpu", [False, True])
def test_every_recipe_can_be_handed_to_an_execution(gpu: bool) -> None:
    recipe = recipe_for(2, gpu)
    assert parameters_of(definition(), {**GIVEN, **recipe}).items() >= recipe.items()


def test_another_recipe_may_be_the_default_and_reaches_every_step() -> None:
    built = definition(hyperparameters={**RECIPE, "image_size": "64", "threads": "2"})
    found = resolved(built)
    assert found["Train"]["HyperParameters"]["image_size"] == "64"
    preprocess = found["Preprocess"]["AppSpecification"]["ContainerArguments"]
    assert preprocess[preprocess.index("--image-size") + 1] == "64"
    assert found["Evaluate"]["AppSpecification"]["ContainerArguments"][-2:] == ["--threads", "2"]


def test_managed_spot_waits_longer_than_it_may_run_and_keeps_checkpoints(service: Any) -> None:
    built = definition(is_spot=True)
    train = {**resolved(built, {**GIVEN, "TrainingInstanceCount": 3})["Train"], "TrainingJobName": "job"}
    shape = service.operation_model("CreateTrainingJob").input_shape
    assert ParamValidator().validate(train, shape).generate_report() == ""
    assert list(faults(train, shape)) == []
    assert train["EnableManagedSpotTraining"] is True
    stopping = train["StoppingCondition"]
    assert stopping["MaxWaitTimeInSeconds"] > stopping["MaxRuntimeInSeconds"]
    assert train["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert train["ResourceConfig"]["InstanceCount"] == 3
    on_demand = resolved(definition())["Train"]
    assert "EnableManagedSpotTraining" not in on_demand
    assert "MaxWaitTimeInSeconds" not in on_demand["StoppingCondition"], "SageMaker refuses it without spot"


def test_where_the_runner_has_an_id_of_its_own_ours_names_all_that_is_kept() -> None:
    built = definition(is_named_by_us=True)
    assert "Execution.PipelineExecutionId" not in json.dumps(built["Steps"])
    ours, plain = json.dumps(built["Steps"]), json.dumps(definition()["Steps"])
    assert ours.replace("Parameters.ExecutionId", "Execution.PipelineExecutionId") == plain
    given = {**GIVEN, "ExecutionId": "one"}
    assert resolved(built, given)["Register"] == resolved(definition())["Register"]
    with pytest.raises(InvalidInput):
        parameters_of(built, GIVEN)


def test_the_definitions_that_terraform_reads_are_written_and_always_the_same(tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in write(tmp_path / "a")}
    again = {path.name: path.read_bytes() for path in write(tmp_path / "b")}
    assert first == again
    assert set(first) == {"pipeline.json", "pipeline-spot.json", "drift.json", "transform.json"}
    assert json.loads(first["pipeline.json"]) == definition(is_named_by_us=True)
    assert json.loads(first["pipeline-spot.json"]) == definition(is_named_by_us=True, is_spot=True)
    assert main([str(tmp_path / "c"), "--with-weights"]) == 0
    assert json.loads((tmp_path / "c" / "pipeline.json").read_text()) == definition(
        is_named_by_us=True, with_weights=True
    )


def test_the_drift_job_is_a_request_of_sagemaker_and_fails_the_execution_where_it_finds_something(service: Any) -> None:
    built = drift_definition()
    given = {"ModelUri": "s3://m/model.tar.gz", "CapturedUri": "s3://m/captured", "RoleArn": ROLE}
    scope = Scope(parameters=parameters_of(built, given), execution={"PipelineExecutionId": "one"})
    request = {**resolve(built["Steps"][0]["Arguments"], scope), "ProcessingJobName": "job"}
    shape = service.operation_model("CreateProcessingJob").input_shape
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert list(faults(request, shape)) == []
    quiet = built["Steps"][1]["Arguments"]
    for alarm in (True, False):
        told = Scope(parameters={}, report=lambda step, name, alarm=alarm: {"alarm": alarm})
        assert all(holds(condition, told) for condition in quiet["Conditions"]) is not alarm
    assert [step["Type"] for step in quiet["ElseSteps"]] == ["Fail"]


def test_batch_transform_asks_sagemaker_for_a_model_and_for_a_job_of_one_study_at_a_time(service: Any) -> None:
    built = transform_definition()
    given = {
        "StudiesUri": "s3://t/snapshots/abc/images/",
        "ModelUri": "s3://m/models/one/model.tar.gz",
        "ModelVersion": "7",
        "RoleArn": ROLE,
    }
    described = {"Model": {"ModelName": "pipelines-one-Model"}}
    scope = Scope(parameters=parameters_of(built, given), execution={"PipelineExecutionId": "one"}, steps=described)
    named = {"CreateModel": {"ModelName": "model"}, "CreateTransformJob": {"TransformJobName": "job"}}
    asked = {
        operation: {**resolve(step["Arguments"], scope), **name}
        for step, (operation, name) in zip(built["Steps"], named.items(), strict=True)
    }
    for operation, request in asked.items():
        shape = service.operation_model(operation).input_shape
        assert ParamValidator().validate(request, shape).generate_report() == ""
        assert list(faults(request, shape)) == []
    job = asked["CreateTransformJob"]
    assert asked["CreateModel"]["PrimaryContainer"]["Environment"] == {"RADLOOP_MODEL_VERSION": "7"}
    assert job["ModelName"] == "pipelines-one-Model"
    assert job["MaxPayloadInMB"] << 20 == LONGEST_BODY
    assert (job["BatchStrategy"], job["TransformInput"]["SplitType"]) == ("SingleRecord", "None")
    assert job["TransformInput"]["ContentType"] == NPY
    assert job["TransformOutput"]["S3OutputPath"] == "s3://model-artifacts/transformed/one"


def test_one_place_decides() -> None:
    gate = steps_of(definition())["Gate"]["Arguments"]
    assert gate["Conditions"] == [
        {
            "Type": "Equals",
            "LeftValue": {
                "Std:JsonGet": {
                    "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.EvaluationReport"},
                    "Path": "gate.approved",
                }
            },
            "RightValue": True,
        }
    ]
    assert [step["Type"] for step in gate["IfSteps"]] == ["RegisterModel"]
    assert [step["Type"] for step in gate["ElseSteps"]] == ["Fail"]


def test_a_model_is_registered_pending_approval_with_its_evaluation_and_lineage() -> None:
    register = resolved(definition())["Register"]
    assert register["ModelApprovalStatus"] == "PendingManualApproval"
    container = register["InferenceSpecification"]["Containers"][0]
    assert container["ModelDataUrl"] == "s3://model-artifacts/models/one/model.tar.gz"
    statistics = register["ModelMetrics"]["ModelQuality"]["Statistics"]
    assert statistics["S3Uri"] == "s3://model-artifacts/models/one/evaluation.json"
    lineage = register["CustomerMetadataProperties"]
    assert (lineage["snapshot"], lineage["policy"], lineage["champion"]) == ("abc", "none", "none")


def test_a_refusal_names_the_gate_and_the_execution() -> None:
    message = resolved(definition())["Refuse"]["ErrorMessage"]
    assert message == "gate-refused: the gate refused the model of execution one"


def test_data_flow_from_step_to_step() -> None:
    found = resolved(definition())
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in found["Train"]["InputDataConfig"]
    }
    assert channels == {
        "train": "s3://preprocessed-data/one/train",
        "validation": "s3://preprocessed-data/one/validation",
    }
    inputs = {one["InputName"]: one["S3Input"]["S3Uri"] for one in found["Evaluate"]["ProcessingInputs"]}
    assert inputs == {
        "model": "s3://model-artifacts/models/one/model.tar.gz",
        "train": "s3://preprocessed-data/one/train",
        "test": "s3://preprocessed-data/one/test",
        "external": "s3://preprocessed-data/one/external",
        "context": "s3://training-data/contexts/abc",
    }
    outputs = found["Preprocess"]["ProcessingOutputConfig"]["Outputs"]
    assert [one["OutputName"] for one in outputs] == ["train", "validation", "test", "external"]


def test_weights_are_a_channel_where_asked_for() -> None:
    found = resolved(definition(with_weights=True), {**GIVEN, "WeightsUri": "s3://weights/resnet50.pth"})
    assert [one["ChannelName"] for one in found["Train"]["InputDataConfig"]] == ["train", "validation", "weights"]


def test_an_account_sets_its_own_defaults_and_none_is_written_down() -> None:
    assert parameters_of(definition(defaults={"RoleArn": ROLE, "TrainingInstanceCount": 2}), GIVEN)["RoleArn"] == ROLE
    with pytest.raises(KeyError):
        definition(defaults={"Unheard": "of"})
    assert not re.search(r"\d{12}", json.dumps(definition()))


def test_nothing_leaves_the_containers_but_through_sagemaker() -> None:
    steps = steps_of(definition())
    assert steps["Train"]["Arguments"]["EnableNetworkIsolation"] is True
    for name in ("Preprocess", "Evaluate"):
        assert steps[name]["Arguments"]["NetworkConfig"]["EnableNetworkIsolation"] is True
