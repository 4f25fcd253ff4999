# ruff: noqa: INP001 — a program that is run by itself, by the Python of its own environment
"""Makes our pipelines for SageMaker with its own SDK, as an oracle for ours: `tests/pipeline/golden.json`.

    python tools/golden_pipeline.py tests/pipeline/golden.json

Run it with a Python that has `sagemaker<3` (no dependency of ours; some 300 MB) and the repository on PYTHONPATH. The
values are those that we want, said in the SDK's own words; what they become in JSON is the SDK's doing. Nothing is
asked of AWS.
"""

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.network import NetworkConfig
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
from sagemaker.transformer import Transformer
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionEquals
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import ProcessingStep, TrainingStep, TransformStep

import radloop
from radloop.pipeline.pipeline_builder import RECIPE

REGION = "eu-west-1"
HOUR_S = 3600


def parameters() -> list[Parameter]:
    """Every parameter, in the order we want."""
    text, whole = ParameterString, ParameterInteger
    return [
        text("DatasetUri"),
        text("Snapshot"),
        text("ContextUri"),
        text("Policy", default_value="none"),
        text("Champion", default_value="none"),
        ParameterFloat("AccuracyThreshold", default_value=0.85),
        text("CodeVersion", default_value=radloop.__version__),
        text("PreprocessedBucket", default_value="preprocessed-data"),
        text("ArtifactBucket", default_value="model-artifacts"),
        text("ModelPackageGroup", default_value="radloop"),
        text("RoleArn", default_value=""),
        text("KmsKeyId", default_value=""),
        text("ProcessingImageUri", default_value="radloop-training"),
        text("TrainingImageUri", default_value="radloop-training"),
        text("InferenceImageUri", default_value="radloop-serving"),
        text("ProcessingInstanceType", default_value="ml.m5.2xlarge"),
        whole("ProcessingInstanceCount", default_value=1),
        text("TrainingInstanceType", default_value="ml.g5.xlarge"),
        whole("TrainingInstanceCount", default_value=1),
        whole("TrainingMaxWaitSeconds", default_value=48 * HOUR_S),
        *(text(name, default_value=value) for name, value in RECIPE.items()),
    ]


def pipeline() -> Pipeline:
    """The pipeline, for managed spot instances."""
    listed = parameters()
    of = {each.name: each for each in listed}
    session = PipelineSession(boto_session=boto3.Session(region_name=REGION), default_bucket="unused")
    execution = ExecutionVariables.PIPELINE_EXECUTION_ID
    models = Join(on="/", values=["s3:/", of["ArtifactBucket"], "models", execution])

    def processor(module: str, longest_s: int) -> Processor:
        return Processor(
            role=of["RoleArn"],
            image_uri=of["ProcessingImageUri"],
            entrypoint=["python3", "-m", module],
            instance_count=of["ProcessingInstanceCount"],
            instance_type=of["ProcessingInstanceType"],
            volume_size_in_gb=100,
            volume_kms_key=of["KmsKeyId"],
            output_kms_key=of["KmsKeyId"],
            max_runtime_in_seconds=longest_s,
            network_config=NetworkConfig(enable_network_isolation=True, encrypt_inter_container_traffic=True),
            sagemaker_session=session,
        )

    def read(name: str, source: Any, path: str) -> ProcessingInput:
        return ProcessingInput(input_name=name, source=source, destination=path)

    def written(name: str, target: Any) -> ProcessingOutput:
        return ProcessingOutput(output_name=name, source=f"/opt/ml/processing/{name}", destination=target)

    parts = ("train", "validation", "test", "external")
    preprocess = ProcessingStep(
        name="Preprocess",
        step_args=processor("radloop.training.preprocess", 6 * HOUR_S).run(
            inputs=[read("dataset", of["DatasetUri"], "/opt/ml/processing/input/dataset")],
            outputs=[
                written(part, Join(on="/", values=["s3:/", of["PreprocessedBucket"], execution, part]))
                for part in parts
            ],
            arguments=[
                "--image-size",
                of["image_size"],
                "--tiles-per-bag",
                of["tiles_per_bag"],
                "--tiles-in-evaluation",
                of["tiles_in_evaluation"],
            ],
        ),
    )

    def made(part: str) -> Any:
        outputs = preprocess.properties.ProcessingOutputConfig.Outputs
        return outputs[part].S3Output.S3Uri

    estimator = Estimator(
        image_uri=of["TrainingImageUri"],
        role=of["RoleArn"],
        container_entry_point=["python3", "-m", "radloop.training.train"],
        instance_count=of["TrainingInstanceCount"],
        instance_type=of["TrainingInstanceType"],
        volume_size=100,
        volume_kms_key=of["KmsKeyId"],
        output_path=models,
        output_kms_key=of["KmsKeyId"],
        max_run=24 * HOUR_S,
        use_spot_instances=True,
        max_wait=of["TrainingMaxWaitSeconds"],
        checkpoint_s3_uri=Join(on="/", values=["s3:/", of["ArtifactBucket"], "checkpoints", execution]),
        checkpoint_local_path="/opt/ml/checkpoints",
        enable_network_isolation=True,
        encrypt_inter_container_traffic=True,
        hyperparameters={name: of[name] for name in RECIPE},
        metric_definitions=[
            {"Name": "validation:loss", "Regex": '"validation_loss": ([0-9.]+)'},
            {"Name": "train:loss", "Regex": '"train_loss": ([0-9.]+)'},
        ],
        disable_profiler=True,
        debugger_hook_config=False,
        sagemaker_session=session,
    )
    train = TrainingStep(
        name="Train",
        step_args=estimator.fit({part: TrainingInput(made(part)) for part in ("train", "validation")}),
    )
    artifacts = train.properties.ModelArtifacts.S3ModelArtifacts

    report = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        name="Evaluate",
        step_args=processor("radloop.evaluation.evaluate", 2 * HOUR_S).run(
            inputs=[
                read("model", artifacts, "/opt/ml/processing/model"),
                *(read(part, made(part), f"/opt/ml/processing/{part}") for part in ("train", "test", "external")),
                read("context", of["ContextUri"], "/opt/ml/processing/context"),
            ],
            outputs=[written("evaluation", models)],
            arguments=["--accuracy-threshold", of["AccuracyThreshold"].to_string(), "--threads", of["threads"]],
        ),
        property_files=[report],
    )

    tested = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri
    statistics = MetricsSource(content_type="application/json", s3_uri=Join(on="/", values=[tested, "evaluation.json"]))
    model = Model(
        image_uri=of["InferenceImageUri"], model_data=artifacts, role=of["RoleArn"], sagemaker_session=session
    )
    register = ModelStep(
        name="Register",
        step_args=model.register(
            content_types=["application/dicom", "application/x-npy"],
            response_types=["application/json"],
            inference_instances=["ml.m5.large", "ml.m5.xlarge", "ml.c5.large", "ml.c5.xlarge"],
            transform_instances=["ml.m5.xlarge"],
            model_package_group_name=of["ModelPackageGroup"],
            approval_status="PendingManualApproval",
            model_metrics=ModelMetrics(model_statistics=statistics),
            customer_metadata_properties={
                "snapshot": of["Snapshot"],
                "policy": of["Policy"],
                "champion": of["Champion"],
                "code_version": of["CodeVersion"],
                "execution": execution,
                "training_instances": of["TrainingInstanceCount"].to_string(),
            },
        ),
    )
    refuse = FailStep(
        name="Refuse",
        error_message=Join(on=" ", values=["gate-refused: the gate refused the model of execution", execution]),
    )
    gate = ConditionStep(
        name="Gate",
        conditions=[
            ConditionEquals(
                left=JsonGet(step_name="Evaluate", property_file=report, json_path="gate.approved"), right=True
            )
        ],
        if_steps=[register],
        else_steps=[refuse],
    )
    return Pipeline(
        name="radloop",
        parameters=listed,
        pipeline_experiment_config=None,
        steps=[preprocess, train, evaluate, gate],
        sagemaker_session=session,
    )


def transform() -> Pipeline:
    """The pipeline of batch transform."""
    text = ParameterString
    listed = [
        text("StudiesUri"),
        text("ModelUri"),
        text("ModelVersion"),
        text("ContentType", default_value="application/x-npy"),
        text("ArtifactBucket", default_value="model-artifacts"),
        text("RoleArn", default_value=""),
        text("KmsKeyId", default_value=""),
        text("InferenceImageUri", default_value="radloop-serving"),
        text("TransformInstanceType", default_value="ml.m5.xlarge"),
        ParameterInteger("TransformInstanceCount", default_value=1),
    ]
    of = {each.name: each for each in listed}
    session = PipelineSession(boto_session=boto3.Session(region_name=REGION), default_bucket="unused")
    model = Model(
        image_uri=of["InferenceImageUri"],
        model_data=of["ModelUri"],
        role="arn:aws:iam::123456789012:role/of-jobs",  # the SDK takes no parameter here
        env={"RADLOOP_MODEL_VERSION": of["ModelVersion"]},
        enable_network_isolation=True,
        sagemaker_session=session,
    )
    made = ModelStep(name="Model", step_args=model.create())
    execution = ExecutionVariables.PIPELINE_EXECUTION_ID
    transformer = Transformer(
        model_name=made.properties.ModelName,
        instance_count=of["TransformInstanceCount"],
        instance_type=of["TransformInstanceType"],
        strategy="SingleRecord",
        assemble_with="None",
        accept="application/json",
        max_concurrent_transforms=1,
        max_payload=100,
        output_path=Join(on="/", values=["s3:/", of["ArtifactBucket"], "transformed", execution]),
        output_kms_key=of["KmsKeyId"],
        volume_kms_key=of["KmsKeyId"],
        sagemaker_session=session,
    )
    answered = TransformStep(
        name="Transform",
        step_args=transformer.transform(
            data=of["StudiesUri"],
            data_type="S3Prefix",
            content_type=of["ContentType"],
            compression_type="None",
            split_type="None",
        ),
    )
    return Pipeline(
        name="radloop-transform",
        parameters=listed,
        pipeline_experiment_config=None,
        steps=[made, answered],
        sagemaker_session=session,
    )


def main() -> int:
    """Write the file that is named."""
    golden = {
        "sdk": f"sagemaker {sagemaker.__version__}",
        "definition": json.loads(pipeline().definition()),
        "transform": json.loads(transform().definition()),
    }
    Path(sys.argv[1]).write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
