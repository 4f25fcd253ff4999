"""The training pipeline, once: SageMaker's pipeline JSON, version 2020-12-01, as plain dictionaries.

    Preprocess ─▶ Train ─▶ Evaluate ─▶ Gate ─┬─ approved ─▶ Register (PendingManualApproval)
                                             └─ otherwise ─▶ Refuse

SageMaker takes it through CreatePipeline; the embedded runner interprets the same dictionaries. The SageMaker SDK is
not needed for it. Evaluate alone decides about a model: Gate reads `gate.approved` from `evaluation.json` and nothing
else. Accounts, buckets, roles, keys and images are parameters. SageMaker is told of no experiment, which its role would
need further rights for: what a run was and led to stands in our own journal and ledger.

Hyperparameters are parameters under their own names, so that whoever starts an execution passes a recipe as it is.
"""

from collections.abc import Mapping
from typing import Any, Final

import radloop
from radloop.core.datasets import EXTERNAL, PARTS, Split
from radloop.pipeline.shapes import (
    EXECUTION,
    HOUR_S,
    ML,
    channel,
    get,
    join,
    mounted,
    named_by_us,
    output_of,
    processing,
    s3,
    text,
    uploaded,
)

RECIPE: Final[Mapping[str, str]] = {
    "epochs": "50",
    "patience": "5",
    "batch_size": "32",
    "batch_tiles": "32",
    "tiles_at_once": "64",
    "learning_rate": "0.001",
    "weight_decay": "0.0",
    "image_size": "224",
    "tiles_per_bag": "16",
    "tiles_in_evaluation": "32",
    "augmentation": "1",
    "passes": "1",
    "seed": "7",
    "threads": "0",
    "pooling": "mean",
    "ema": "0",
    "frozen_batchnorm": "0",
    "frozen_encoder": "0",
    "feature_copies": "0",
    "target_sensitivity": "0",
    "processes": "0",
    "pretrained": "none",
    "pretrained_sha256": "none",
}
"""The full recipe, for a machine with a GPU: every hyperparameter there is, each a parameter of the pipeline by its own
name. Every value is a string, as SageMaker hands hyperparameters on.

Train gets all of it; Preprocess gets `image_size`, `tiles_per_bag` and `tiles_in_evaluation`, Evaluate `threads`.
"""

MODULES: Final = {
    "Preprocess": "radloop.training.preprocess",
    "Train": "radloop.training.train",
    "Evaluate": "radloop.evaluation.evaluate",
}
"""What the container of each step runs."""

WEIGHTS: Final = "s3://model-artifacts/weights/"
"""Where files lie that the hyperparameter `pretrained` may name."""

OF_ACCOUNT: Final = frozenset(
    {
        "PreprocessedBucket",
        "ArtifactBucket",
        "ModelPackageGroup",
        "RoleArn",
        "KmsKeyId",
        "ProcessingImageUri",
        "TrainingImageUri",
        "InferenceImageUri",
        "ProcessingInstanceType",
        "ProcessingInstanceCount",
        "TrainingInstanceType",
        "TrainingInstanceCount",
        "TrainingMaxWaitSeconds",
    }
)
"""Parameters that an AWS account says, once for all executions; all others an execution says."""

EVALUATED: Final = (str(Split.TRAIN), str(Split.TEST), EXTERNAL)
"""Parts that Evaluate sees: the test part is judged, the external one too where it holds anything, and the training
part teaches the trivial baseline."""
_LONGEST_TRAINING_S: Final = 24 * HOUR_S
_PREPROCESS_ARGUMENTS: Final = ("image_size", "tiles_per_bag", "tiles_in_evaluation")


def definition(
    *,
    hyperparameters: Mapping[str, str] = RECIPE,
    defaults: Mapping[str, str | int | float] | None = None,
    with_weights: bool = False,
    is_spot: bool = False,
    is_named_by_us: bool = False,
) -> dict[str, Any]:
    """The pipeline definition.

    Args:
        hyperparameters: The recipe an execution uses unless it is started with another; its names become parameters.
        defaults: Defaults of other parameters, by name, such as what an AWS account calls its buckets and roles.
        with_weights: Whether training has a channel `weights`, read from the parameter WeightsUri. SageMaker refuses
            an empty channel, so this is settled here and not when an execution starts.
        is_spot: Whether training takes managed spot instances, waiting for them and through their interruptions for
            TrainingMaxWaitSeconds in all. SageMaker refuses that limit where there is no spot, so this too is settled
            here.
        is_named_by_us: Whether our own id of an execution is the parameter ExecutionId, for SageMaker chooses another.

    Raises:
        KeyError: A default is for a parameter there is none of.
    """
    parameters = _parameters(hyperparameters, with_weights=with_weights, is_spot=is_spot)
    for name, value in (defaults or {}).items():
        parameters[name] = {**parameters[name], "DefaultValue": value}
    built = {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": list(parameters.values()),
        "Steps": [
            _preprocess(hyperparameters),
            _train(hyperparameters, with_weights=with_weights, is_spot=is_spot),
            _evaluate(hyperparameters),
            _gate(if_approved=_register(), otherwise=_refuse()),
        ],
    }
    return {**named_by_us(built), "Parameters": [EXECUTION, *parameters.values()]} if is_named_by_us else built


def definition_of(recipe: Mapping[str, str], *, is_named_by_us: bool = False) -> dict[str, Any]:
    """The pipeline definition for a recipe; weights that it begins with are a file below WEIGHTS."""
    with_weights = recipe.get("pretrained", "none") != "none"
    return definition(
        hyperparameters=recipe,
        with_weights=with_weights,
        defaults={"WeightsUri": WEIGHTS} if with_weights else None,
        is_named_by_us=is_named_by_us,
    )


def _parameters(hyperparameters: Mapping[str, str], *, with_weights: bool, is_spot: bool) -> dict[str, dict[str, Any]]:
    """Parameters by name; those without a default must be given at every start."""
    declared: list[dict[str, Any]] = [
        {"Name": "DatasetUri", "Type": "String"},
        {"Name": "Snapshot", "Type": "String"},
        {"Name": "ContextUri", "Type": "String"},
        {"Name": "Policy", "Type": "String", "DefaultValue": "none"},
        {"Name": "Champion", "Type": "String", "DefaultValue": "none"},
        {"Name": "AccuracyThreshold", "Type": "Float", "DefaultValue": 0.85},
        {"Name": "CodeVersion", "Type": "String", "DefaultValue": radloop.__version__},
        {"Name": "PreprocessedBucket", "Type": "String", "DefaultValue": "preprocessed-data"},
        {"Name": "ArtifactBucket", "Type": "String", "DefaultValue": "model-artifacts"},
        {"Name": "ModelPackageGroup", "Type": "String", "DefaultValue": "radloop"},
        {"Name": "RoleArn", "Type": "String", "DefaultValue": ""},
        {"Name": "KmsKeyId", "Type": "String", "DefaultValue": ""},
        {"Name": "ProcessingImageUri", "Type": "String", "DefaultValue": "radloop-training"},
        {"Name": "TrainingImageUri", "Type": "String", "DefaultValue": "radloop-training"},
        {"Name": "InferenceImageUri", "Type": "String", "DefaultValue": "radloop-serving"},
        {"Name": "ProcessingInstanceType", "Type": "String", "DefaultValue": "ml.m5.2xlarge"},
        {"Name": "ProcessingInstanceCount", "Type": "Integer", "DefaultValue": 1},
        {"Name": "TrainingInstanceType", "Type": "String", "DefaultValue": "ml.g5.xlarge"},
        {"Name": "TrainingInstanceCount", "Type": "Integer", "DefaultValue": 1},
    ]
    if is_spot:
        declared.append({"Name": "TrainingMaxWaitSeconds", "Type": "Integer", "DefaultValue": 2 * _LONGEST_TRAINING_S})
    if with_weights:
        declared.append({"Name": "WeightsUri", "Type": "String"})
    declared += [{"Name": name, "Type": "String", "DefaultValue": value} for name, value in hyperparameters.items()]
    return {parameter["Name"]: parameter for parameter in declared}


def _preprocess(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    arguments: list[Any] = []
    for name in _PREPROCESS_ARGUMENTS:
        if name not in hyperparameters:
            continue
        arguments += [f"--{name.replace('_', '-')}", get(f"Parameters.{name}")]
    return processing(
        "Preprocess",
        module=MODULES["Preprocess"],
        arguments=arguments,
        inputs=[mounted("dataset", get("Parameters.DatasetUri"), f"{ML}/processing/input/dataset")],
        outputs=[
            uploaded(part, s3("PreprocessedBucket", get("Execution.PipelineExecutionId"), part)) for part in PARTS
        ],
        longest_s=6 * HOUR_S,
    )


def _train(hyperparameters: Mapping[str, str], *, with_weights: bool, is_spot: bool) -> dict[str, Any]:
    channels = [channel(part, output_of("Preprocess", part)) for part in ("train", "validation")]
    if with_weights:
        channels.append(channel("weights", get("Parameters.WeightsUri")))
    stopping: dict[str, Any] = {"MaxRuntimeInSeconds": _LONGEST_TRAINING_S}
    if is_spot:
        stopping["MaxWaitTimeInSeconds"] = get("Parameters.TrainingMaxWaitSeconds")
    return {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {
                "TrainingImage": get("Parameters.TrainingImageUri"),
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", "-m", MODULES["Train"]],
                "MetricDefinitions": [
                    {"Name": "validation:loss", "Regex": '"validation_loss": ([0-9.]+)'},
                    {"Name": "train:loss", "Regex": '"train_loss": ([0-9.]+)'},
                ],
            },
            "HyperParameters": {name: get(f"Parameters.{name}") for name in hyperparameters},
            "InputDataConfig": channels,
            "OutputDataConfig": {"S3OutputPath": _models(), "KmsKeyId": get("Parameters.KmsKeyId")},
            "CheckpointConfig": {
                "S3Uri": s3("ArtifactBucket", "checkpoints", get("Execution.PipelineExecutionId")),
                "LocalPath": f"{ML}/checkpoints",
            },
            "ResourceConfig": {
                "InstanceType": get("Parameters.TrainingInstanceType"),
                "InstanceCount": get("Parameters.TrainingInstanceCount"),
                "VolumeSizeInGB": 100,
                "VolumeKmsKeyId": get("Parameters.KmsKeyId"),
            },
            "StoppingCondition": stopping,
            **({"EnableManagedSpotTraining": True} if is_spot else {}),
            "ProfilerConfig": {"DisableProfiler": True},
            "EnableNetworkIsolation": True,
            "EnableInterContainerTrafficEncryption": True,
            "RoleArn": get("Parameters.RoleArn"),
        },
    }


def _evaluate(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    threads = ["--threads", get("Parameters.threads")] if "threads" in hyperparameters else []
    step = processing(
        "Evaluate",
        module=MODULES["Evaluate"],
        arguments=["--accuracy-threshold", text(get("Parameters.AccuracyThreshold")), *threads],
        inputs=[
            mounted("model", get("Steps.Train.ModelArtifacts.S3ModelArtifacts"), f"{ML}/processing/model"),
            *(mounted(part, output_of("Preprocess", part), f"{ML}/processing/{part}") for part in EVALUATED),
            mounted("context", get("Parameters.ContextUri"), f"{ML}/processing/context"),
        ],
        outputs=[uploaded("evaluation", _models())],
        longest_s=2 * HOUR_S,
    )
    report = {"PropertyFileName": "EvaluationReport", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    return {**step, "PropertyFiles": [report]}


def _gate(*, if_approved: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    approved = {
        "Std:JsonGet": {
            "PropertyFile": get("Steps.Evaluate.PropertyFiles.EvaluationReport"),
            "Path": "gate.approved",
        }
    }
    return {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": approved, "RightValue": True}],
            "IfSteps": [if_approved],
            "ElseSteps": [otherwise],
        },
    }


def _register() -> dict[str, Any]:
    report = join("/", output_of("Evaluate", "evaluation"), "evaluation.json")
    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": get("Parameters.ModelPackageGroup"),
            "ModelApprovalStatus": "PendingManualApproval",
            "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": report}}},
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": get("Parameters.InferenceImageUri"),
                        "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
                    }
                ],
                "SupportedContentTypes": ["application/dicom", "application/x-npy"],
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": [
                    "ml.m5.large",
                    "ml.m5.xlarge",
                    "ml.c5.large",
                    "ml.c5.xlarge",
                ],
                "SupportedTransformInstanceTypes": ["ml.m5.xlarge"],
            },
            "CustomerMetadataProperties": {
                "snapshot": get("Parameters.Snapshot"),
                "policy": get("Parameters.Policy"),
                "champion": get("Parameters.Champion"),
                "code_version": get("Parameters.CodeVersion"),
                "execution": get("Execution.PipelineExecutionId"),
                "training_instances": text(get("Parameters.TrainingInstanceCount")),
            },
        },
    }


def _refuse() -> dict[str, Any]:
    message = join(" ", "gate-refused: the gate refused the model of execution", get("Execution.PipelineExecutionId"))
    return {"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def _models() -> dict[str, Any]:
    """Where the artifact and the evaluation of an execution lie."""
    return s3("ArtifactBucket", "models", get("Execution.PipelineExecutionId"))
