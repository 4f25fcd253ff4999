"""What docs/aws.md says to do for batch transform starts it: the block as it stands there, at a pretended SageMaker."""

import json
import os
from pathlib import Path

import pytest

from radloop.pipeline.transform_builder import transform_definition
from tests.aws.emulators import ACCOUNT, CREDENTIALS, REGION
from tests.aws.pretended_sagemaker import PretendedSageMaker, served
from tests.docs.blocks import run_block

PAGE = (Path(__file__).parents[2] / "docs" / "aws.md").read_text()
MODEL = "s3://acme-models/models/one/job/output/model.tar.gz"


@pytest.fixture
def sagemaker() -> PretendedSageMaker:
    sagemaker = PretendedSageMaker()
    role = f"arn:aws:iam::{ACCOUNT}:role/radloop-dev-pipeline"
    sagemaker.client.create_pipeline(
        PipelineName="radloop-dev-transform",
        PipelineDefinition=json.dumps(transform_definition()),
        RoleArn=role,
        ClientRequestToken="a" * 32,
    )
    sagemaker.client.create_model_package(
        ModelPackageGroupName="radloop-dev",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={"Containers": [{"Image": "image:1", "ModelDataUrl": MODEL}]},
        CustomerMetadataProperties={"version": "7"},
    )
    return sagemaker


def test_the_newest_version_looks_at_the_studies_of_a_data_set(sagemaker: PretendedSageMaker, tmp_path: Path) -> None:
    with served(sagemaker) as address:
        environ = {**os.environ, **CREDENTIALS, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL_SAGEMAKER": address}
        said = run_block(PAGE, "radloop-dev-transform", tmp_path, environ, {"ACCOUNT": ACCOUNT, "SNAPSHOT": "abc"})
    (running,) = sagemaker.executions
    assert running.arn in said
    assert running.parameters == {
        "StudiesUri": f"s3://radloop-training-data-dev-{ACCOUNT}/snapshots/abc/images/",
        "ModelUri": MODEL,
        "ModelVersion": "7",
    }
