"""The ledger and the journal of executions on the table and the buckets themselves, and SageMaker beside them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from radloop.aws.blobs import S3Blobs
from radloop.aws.models import ModelPackages
from radloop.aws.pipelines import CREATED, SageMakerPipelines
from radloop.aws.records import DynamoRecords
from radloop.aws.sagemaker import Places
from radloop.core.events import PipelineTriggered
from radloop.core.ports import Models
from radloop.pipeline.pipeline_builder import definition
from radloop.registry.models import RecordModels
from tests.aws.emulators import client, make_bucket, unique
from tests.aws.pretended_sagemaker import PretendedSageMaker
from tests.aws.substrate import Substrate
from tests.aws.test_pipelines import EVALUATION, PACKAGE, ROLE, described_package, yes
from tests.contracts.models import ModelsContract
from tests.local.pipeline_home import PARAMETERS, materialise

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/radloop-inference:1"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.slow
class TestModelsOnTheTableMirroredIntoSageMaker(ModelsContract):
    @pytest.fixture
    def models(self, records: DynamoRecords, moto_server: str) -> Models:
        sagemaker, group = client(moto_server, "sagemaker"), unique("radloop")
        sagemaker.create_model_package_group(ModelPackageGroupName=group)
        packages = ModelPackages(sagemaker, records, group, IMAGE, Places({}))
        return RecordModels(records, now, is_mirrored=True, told=packages.tell)


def test_an_execution_goes_from_its_start_to_a_version_in_the_ledger(
    ministack: str, substrate: Substrate, tmp_path: Path
) -> None:
    buckets = {name: make_bucket(ministack, unique(name)) for name in ("training-data", "model-artifacts")}
    places, blobs, records = Places(buckets), S3Blobs(client(ministack, "s3"), buckets), substrate.records
    sagemaker = PretendedSageMaker()
    packages = ModelPackages(sagemaker.client, records, "radloop", IMAGE, places)
    models = RecordModels(records, now, told=packages.tell)
    pipelines = SageMakerPipelines(
        sagemaker.client,
        records=records,
        blobs=blobs,
        clock=now,
        name="radloop",
        definition=definition(is_named_by_us=True),
        places=places,
        models=models,
        packages=packages,
        materialise=materialise,
    )
    assert pipelines.deploy(ROLE) == CREATED
    lay_out(blobs)
    told = PipelineTriggered(execution="one", snapshot="abc", studies=1).told(at=now())
    assert pipelines.start("one", PARAMETERS, events=[told])
    pipelines.run("one")
    pixels = client(ministack, "s3").get_object(Bucket=buckets["training-data"], Key="snapshots/abc/images/a.npy")
    assert pixels["Body"].read() == b"a"
    assert sagemaker.executions[0].parameters["DatasetUri"] == f"s3://{buckets['training-data']}/snapshots/abc"
    for step in ("Preprocess", "Train", "Evaluate"):
        sagemaker.end(step)
    blobs.put("model-artifacts/models/one/evaluation.json", json.dumps(EVALUATION).encode())
    sagemaker.packages[PACKAGE] = described_package(buckets["model-artifacts"])
    sagemaker.end("Gate", **yes("True"))
    sagemaker.end("Register", Metadata={"RegisterModel": {"Arn": PACKAGE}})
    sagemaker.executions[0].status = "Succeeded"
    assert pipelines.follow_all() == ["one"]
    assert pipelines.get("one").state == "Succeeded"
    model = models.of_execution("one")
    assert model is not None
    assert json.loads(blobs.get(model.beside("evaluation.json"))) == EVALUATION
    assert [kind for kind, _ in events(substrate)] == [
        "PipelineTriggered",
        *["PipelineStepEnded"] * 4,
        "ModelRegistered",
        "PipelineStepEnded",
        "PipelineEnded",
    ]


def lay_out(blobs: S3Blobs) -> None:
    line = {"image_set": "a", "split": "train", "file": "images/a.npy"}
    blobs.put("training-data/snapshots/abc/manifest.jsonl", json.dumps(line).encode() + b"\n")


def events(substrate: Substrate) -> list[tuple[str, Mapping[str, Any]]]:
    return [(told.event.detail_type, told.event.detail) for told in substrate.bus.events()]
