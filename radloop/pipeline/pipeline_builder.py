"""The training pipeline, once: SageMaker's pipeline JSON, version 2020-12-01, as plain dictionaries.

    Preprocess ─▶ Train ─▶ Evaluate ─▶ Gate ─┬─ approved ─▶ Register (PendingManualApproval)
                                             └─ otherwise ─▶ Refuse

SageMaker takes it through CreatePipeline; the embedded runner interprets the same dictionaries. The SageMaker SDK is
not needed for it. Evaluate alone decides about a model: Gate reads `gate.approved` from `evaluation.json` and nothing
else. Accounts, buckets, roles, keys and images are parameters.

Hyperparameters are parameters under their own names, so that whoever starts an execution passes a recipe as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import radloop
from radloop.core.datasets import EXTERNAL, PARTS, Split

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

EVALUATED: Final = (str(Split.TRAIN), str(Split.TEST), EXTERNAL)
"""Parts that Evaluate sees: the test part is judged, the external one too where it holds anything, and the training
part teaches the trivial baseline."""
_ML: Final = "/opt/ml"
_PREPROCESS_ARGUMENTS: Final = ("image_size", "tiles_per_bag", "tiles_in_evaluation")
_HOUR_S: Final = 3600


def definition(
    *,
    hyperparameters: Mapping[str, str] = RECIPE,
    defaults: Mapping[str, str | int | float] | None = None,
    with_weights: bool = False,
) -> dict[str, Any]:
    """The pipeline definition.

    Args:
        hyperparameters: The recipe an execution uses unless it is started with another; its names become parameters.
        defaults: Defaults of other parameters, by name, such as what an AWS account calls its buckets and roles.
        with_weights: Whether training has a channel `weights`, read from the parameter WeightsUri. SageMaker refuses
            an empty channel, so this is settled here and not when an execution starts.

    Raises:
        KeyError: A default is for a parameter there is none of.
    """
    parameters = _parameters(hyperparameters, with_weights=with_weights)
    for name, value in (defaults or {}).items():
        parameters[name] = {**parameters[name], "DefaultValue": value}
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": list(parameters.values()),
        "PipelineExperimentConfig": {
            "ExperimentName": _get("Execution.PipelineName"),
            "TrialName": _get("Execution.PipelineExecutionId"),
        },
        "Steps": [
            _preprocess(hyperparameters),
            _train(hyperparameters, with_weights=with_weights),
            _evaluate(hyperparameters),
            _gate(if_approved=_register(), otherwise=_refuse()),
        ],
    }


def _parameters(hyperparameters: Mapping[str, str], *, with_weights: bool) -> dict[str, dict[str, Any]]:
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
    if with_weights:
        declared.append({"Name": "WeightsUri", "Type": "String"})
    declared += [{"Name": name, "Type": "String", "DefaultValue": value} for name, value in hyperparameters.items()]
    return {parameter["Name"]: parameter for parameter in declared}


def _preprocess(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    arguments: list[Any] = []
    for name in _PREPROCESS_ARGUMENTS:
        if name not in hyperparameters:
            continue
        arguments += [f"--{name.replace('_', '-')}", _get(f"Parameters.{name}")]
    return _processing(
        "Preprocess",
        module="radloop.training.preprocess",
        arguments=arguments,
        inputs=[_input("dataset", _get("Parameters.DatasetUri"), f"{_ML}/processing/input/dataset")],
        outputs=[
            _output(part, _s3("PreprocessedBucket", _get("Execution.PipelineExecutionId"), part)) for part in PARTS
        ],
        longest_s=6 * _HOUR_S,
    )


def _train(hyperparameters: Mapping[str, str], *, with_weights: bool) -> dict[str, Any]:
    channels = [_channel(part, _output_of("Preprocess", part)) for part in ("train", "validation")]
    if with_weights:
        channels.append(_channel("weights", _get("Parameters.WeightsUri")))
    return {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {
                "TrainingImage": _get("Parameters.TrainingImageUri"),
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", "-m", "radloop.training.train"],
                "MetricDefinitions": [
                    {"Name": "validation:loss", "Regex": '"validation_loss": ([0-9.]+)'},
                    {"Name": "train:loss", "Regex": '"train_loss": ([0-9.]+)'},
                ],
            },
            "HyperParameters": {name: _get(f"Parameters.{name}") for name in hyperparameters},
            "InputDataConfig": channels,
            "OutputDataConfig": {"S3OutputPath": _models(), "KmsKeyId": _get("Parameters.KmsKeyId")},
            "CheckpointConfig": {
                "S3Uri": _s3("ArtifactBucket", "checkpoints", _get("Execution.PipelineExecutionId")),
                "LocalPath": f"{_ML}/checkpoints",
            },
            "ResourceConfig": {
                "InstanceType": _get("Parameters.TrainingInstanceType"),
                "InstanceCount": _get("Parameters.TrainingInstanceCount"),
                "VolumeSizeInGB": 100,
                "VolumeKmsKeyId": _get("Parameters.KmsKeyId"),
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 24 * _HOUR_S},
            "EnableNetworkIsolation": True,
            "EnableInterContainerTrafficEncryption": True,
            "RoleArn": _get("Parameters.RoleArn"),
        },
    }


def _evaluate(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    threads = ["--threads", _get("Parameters.threads")] if "threads" in hyperparameters else []
    step = _processing(
        "Evaluate",
        module="radloop.training.evaluate",
        arguments=["--accuracy-threshold", _text(_get("Parameters.AccuracyThreshold")), *threads],
        inputs=[
            _input("model", _get("Steps.Train.ModelArtifacts.S3ModelArtifacts"), f"{_ML}/processing/model"),
            *(_input(part, _output_of("Preprocess", part), f"{_ML}/processing/{part}") for part in EVALUATED),
            _input("context", _get("Parameters.ContextUri"), f"{_ML}/processing/context"),
        ],
        outputs=[_output("evaluation", _models())],
        longest_s=2 * _HOUR_S,
    )
    report = {"PropertyFileName": "EvaluationReport", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    return {**step, "PropertyFiles": [report]}


def _gate(*, if_approved: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    approved = {
        "Std:JsonGet": {
            "PropertyFile": _get("Steps.Evaluate.PropertyFiles.EvaluationReport"),
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
    report = _join("/", _output_of("Evaluate", "evaluation"), "evaluation.json")
    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": _get("Parameters.ModelPackageGroup"),
            "ModelApprovalStatus": "PendingManualApproval",
            "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": report}}},
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": _get("Parameters.InferenceImageUri"),
                        "ModelDataUrl": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
                    }
                ],
                "SupportedContentTypes": ["application/dicom", "application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large", "ml.m5.xlarge"],
                "SupportedTransformInstanceTypes": ["ml.m5.xlarge"],
            },
            "CustomerMetadataProperties": {
                "snapshot": _get("Parameters.Snapshot"),
                "policy": _get("Parameters.Policy"),
                "champion": _get("Parameters.Champion"),
                "code_version": _get("Parameters.CodeVersion"),
                "execution": _get("Execution.PipelineExecutionId"),
            },
        },
    }


def _refuse() -> dict[str, Any]:
    message = _join(" ", "gate-refused: the gate refused the model of execution", _get("Execution.PipelineExecutionId"))
    return {"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def _processing(
    name: str,
    *,
    module: str,
    arguments: Sequence[Any],
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    longest_s: int,
) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {
                "ImageUri": _get("Parameters.ProcessingImageUri"),
                "ContainerEntrypoint": ["python3", "-m", module],
                "ContainerArguments": list(arguments),
            },
            "ProcessingInputs": list(inputs),
            "ProcessingOutputConfig": {"Outputs": list(outputs), "KmsKeyId": _get("Parameters.KmsKeyId")},
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": _get("Parameters.ProcessingInstanceType"),
                    "InstanceCount": _get("Parameters.ProcessingInstanceCount"),
                    "VolumeSizeInGB": 100,
                    "VolumeKmsKeyId": _get("Parameters.KmsKeyId"),
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": longest_s},
            "NetworkConfig": {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True},
            "RoleArn": _get("Parameters.RoleArn"),
        },
    }


def _input(name: str, uri: Any, path: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }


def _output(name: str, uri: Any) -> dict[str, Any]:
    return {
        "OutputName": name,
        "AppManaged": False,
        "S3Output": {"S3Uri": uri, "LocalPath": f"{_ML}/processing/{name}", "S3UploadMode": "EndOfJob"},
    }


def _channel(name: str, uri: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _output_of(step: str, output: str) -> dict[str, str]:
    return _get(f"Steps.{step}.ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")


def _models() -> dict[str, Any]:
    """Where the artifact and the evaluation of an execution lie."""
    return _s3("ArtifactBucket", "models", _get("Execution.PipelineExecutionId"))


def _s3(bucket: str, *parts: Any) -> dict[str, Any]:
    return _join("/", "s3:/", _get(f"Parameters.{bucket}"), *parts)


def _text(value: Any) -> dict[str, Any]:
    """A number as the string that SageMaker wants there; the SDK writes it as a join of one."""
    return _join("", value)


def _join(on: str, *values: Any) -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def _get(expression: str) -> dict[str, str]:
    return {"Get": expression}
