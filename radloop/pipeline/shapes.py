"""The shapes that steps of a pipeline definition are made of, in SageMaker's own words."""

from collections.abc import Sequence
from typing import Any, Final

ML: Final = "/opt/ml"
EXECUTION: Final = {"Name": "ExecutionId", "Type": "String"}
"""The parameter that holds our id of an execution where the runner gives it another one, as SageMaker does."""

HOUR_S: Final = 3600


def processing(
    name: str,
    *,
    module: str,
    arguments: Sequence[Any],
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    longest_s: int,
) -> dict[str, Any]:
    """A Processing step that runs one of our modules.

    Args:
        name: Of the step.
        module: What the container starts, by `python3 -m`.
        arguments: Of the module.
        inputs: From `mounted`.
        outputs: From `uploaded`.
        longest_s: Seconds after which it is stopped.
    """
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {
                "ImageUri": get("Parameters.ProcessingImageUri"),
                "ContainerEntrypoint": ["python3", "-m", module],
                "ContainerArguments": list(arguments),
            },
            "ProcessingInputs": list(inputs),
            "ProcessingOutputConfig": {"Outputs": list(outputs), "KmsKeyId": get("Parameters.KmsKeyId")},
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": get("Parameters.ProcessingInstanceType"),
                    "InstanceCount": get("Parameters.ProcessingInstanceCount"),
                    "VolumeSizeInGB": 100,
                    "VolumeKmsKeyId": get("Parameters.KmsKeyId"),
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": longest_s},
            "NetworkConfig": {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True},
            "RoleArn": get("Parameters.RoleArn"),
        },
    }


def mounted(name: str, uri: Any, path: str) -> dict[str, Any]:
    """An input of a Processing step: all below `uri`, in the folder `path` of the container."""
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


def uploaded(name: str, uri: Any) -> dict[str, Any]:
    """An output of a Processing step: the folder `/opt/ml/processing/<name>`, put below `uri` at the end."""
    return {
        "OutputName": name,
        "AppManaged": False,
        "S3Output": {"S3Uri": uri, "LocalPath": f"{ML}/processing/{name}", "S3UploadMode": "EndOfJob"},
    }


def channel(name: str, uri: Any) -> dict[str, Any]:
    """A channel of a Training step, `/opt/ml/input/data/<name>`."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def output_of(step: str, output: str) -> dict[str, str]:
    """Where a Processing step put an output."""
    return get(f"Steps.{step}.ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")


def s3(bucket: str, *parts: Any) -> dict[str, Any]:
    """An address in the bucket that the parameter `bucket` names."""
    return join("/", "s3:/", get(f"Parameters.{bucket}"), *parts)


def text(value: Any) -> dict[str, Any]:
    """A number as the string that SageMaker wants there; the SDK writes it as a join of one."""
    return join("", value)


def join(on: str, *values: Any) -> dict[str, Any]:
    """Text made of values when the pipeline runs."""
    return {"Std:Join": {"On": on, "Values": list(values)}}


def get(expression: str) -> dict[str, str]:
    """What a name such as `Parameters.RoleArn` means when the pipeline runs."""
    return {"Get": expression}


def named_by_us(value: Any) -> Any:
    """A definition in which our own id of the execution, a parameter, stands wherever the runner's would."""
    if value == get("Execution.PipelineExecutionId"):
        return get(f"Parameters.{EXECUTION['Name']}")
    if isinstance(value, dict):
        return {key: named_by_us(part) for key, part in value.items()}
    return [named_by_us(part) for part in value] if isinstance(value, list) else value
