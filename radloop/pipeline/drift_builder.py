"""The scheduled drift job as a pipeline of its own: what an endpoint answered lately against what the model knows.

    Drift ─▶ Quiet ─┬─ nothing found ─▶ (the end)
                    └─ otherwise ─▶ Alarm (the execution fails, and a rule tells people)

It is for endpoints, whose answers pass by the platform: EventBridge Scheduler starts it, and SageMaker's data capture
is what it reads. Where the platform itself predicts, drift is watched study by study (`functions.drift`).
"""

from typing import Any

from radloop.pipeline.shapes import HOUR_S, ML, get, join, mounted, processing, s3, text, uploaded


def drift_definition() -> dict[str, Any]:
    """The pipeline definition; all that an account must say are the parameters without a default."""
    step = processing(
        "Drift",
        module="radloop.functions.drift_job",
        arguments=[
            "--hours",
            text(get("Parameters.Hours")),
            "--images-per-false-alarm",
            text(get("Parameters.ImagesPerFalseAlarm")),
        ],
        inputs=[
            mounted("model", get("Parameters.ModelUri"), f"{ML}/processing/model"),
            mounted("captured", get("Parameters.CapturedUri"), f"{ML}/processing/captured"),
        ],
        outputs=[uploaded("drift", s3("ArtifactBucket", "drift", get("Execution.PipelineExecutionId")))],
        longest_s=HOUR_S,
    )
    report = {"PropertyFileName": "DriftReport", "OutputName": "drift", "FilePath": "drift.json"}
    found = {"PropertyFile": get("Steps.Drift.PropertyFiles.DriftReport"), "Path": "alarm"}
    message = join(" ", "drift: see drift.json of execution", get("Execution.PipelineExecutionId"))
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "ModelUri", "Type": "String"},
            {"Name": "CapturedUri", "Type": "String"},
            {"Name": "Hours", "Type": "Integer", "DefaultValue": 24},
            {"Name": "ImagesPerFalseAlarm", "Type": "Float", "DefaultValue": 1000000.0},
            {"Name": "ArtifactBucket", "Type": "String", "DefaultValue": "model-artifacts"},
            {"Name": "RoleArn", "Type": "String", "DefaultValue": ""},
            {"Name": "KmsKeyId", "Type": "String", "DefaultValue": ""},
            {"Name": "ProcessingImageUri", "Type": "String", "DefaultValue": "radloop-inference"},
            {"Name": "ProcessingInstanceType", "Type": "String", "DefaultValue": "ml.m5.large"},
            {"Name": "ProcessingInstanceCount", "Type": "Integer", "DefaultValue": 1},
        ],
        "Steps": [
            {**step, "PropertyFiles": [report]},
            {
                "Name": "Quiet",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [{"Type": "Equals", "LeftValue": {"Std:JsonGet": found}, "RightValue": False}],
                    "IfSteps": [],
                    "ElseSteps": [{"Name": "Alarm", "Type": "Fail", "Arguments": {"ErrorMessage": message}}],
                },
            },
        ],
    }
