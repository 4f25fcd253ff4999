"""Batch transform as a pipeline of its own: a version, approved or not, looks at every study below an address.

    Model ─▶ Transform ─▶ `transformed/<execution>/<study>.out` of the bucket for models

Nobody is told what it says and no version is decided by it. SageMaker sends one study at a time to the container that
endpoints have (`radloop.functions.inference`), each as one body.
"""

from typing import Any, Final

from radloop.pipeline.shapes import get, s3

_MOST_MEGABYTES: Final = 100
"""Of a study: what batch transform hands over at most. `radloop.serving.server` takes as much."""


def transform_definition() -> dict[str, Any]:
    """The pipeline definition; parameters without a default are given at every start.

    `StudiesUri` is what the addresses of the studies begin with, `ContentType` what they are; `ModelUri` is the package
    of a version and `ModelVersion` its number, which stands in each answer.
    """
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "StudiesUri", "Type": "String"},
            {"Name": "ModelUri", "Type": "String"},
            {"Name": "ModelVersion", "Type": "String"},
            {"Name": "ContentType", "Type": "String", "DefaultValue": "application/x-npy"},
            {"Name": "ArtifactBucket", "Type": "String", "DefaultValue": "model-artifacts"},
            {"Name": "RoleArn", "Type": "String", "DefaultValue": ""},
            {"Name": "KmsKeyId", "Type": "String", "DefaultValue": ""},
            {"Name": "InferenceImageUri", "Type": "String", "DefaultValue": "radloop-serving"},
            {"Name": "TransformInstanceType", "Type": "String", "DefaultValue": "ml.m5.xlarge"},
            {"Name": "TransformInstanceCount", "Type": "Integer", "DefaultValue": 1},
        ],
        "Steps": [_model(), _transform()],
    }


def _model() -> dict[str, Any]:
    return {
        "Name": "Model",
        "Type": "Model",
        "Arguments": {
            "PrimaryContainer": {
                "Image": get("Parameters.InferenceImageUri"),
                "ModelDataUrl": get("Parameters.ModelUri"),
                "Environment": {"RADLOOP_MODEL_VERSION": get("Parameters.ModelVersion")},
            },
            "ExecutionRoleArn": get("Parameters.RoleArn"),
            "EnableNetworkIsolation": True,
        },
    }


def _transform() -> dict[str, Any]:
    studies = {"S3DataType": "S3Prefix", "S3Uri": get("Parameters.StudiesUri")}
    return {
        "Name": "Transform",
        "Type": "Transform",
        "Arguments": {
            "ModelName": get("Steps.Model.ModelName"),
            "MaxConcurrentTransforms": 1,
            "MaxPayloadInMB": _MOST_MEGABYTES,
            "BatchStrategy": "SingleRecord",
            "TransformInput": {
                "DataSource": {"S3DataSource": studies},
                "ContentType": get("Parameters.ContentType"),
                "CompressionType": "None",
                "SplitType": "None",
            },
            "TransformOutput": {
                "S3OutputPath": s3("ArtifactBucket", "transformed", get("Execution.PipelineExecutionId")),
                "Accept": "application/json",
                "AssembleWith": "None",
                "KmsKeyId": get("Parameters.KmsKeyId"),
            },
            "TransformResources": {
                "InstanceType": get("Parameters.TransformInstanceType"),
                "InstanceCount": get("Parameters.TransformInstanceCount"),
                "VolumeKmsKeyId": get("Parameters.KmsKeyId"),
            },
        },
    }
