"""An endpoint and its shadow.

moto makes endpoints (InService at once) and models, but takes no UpdateEndpoint and forgets shadows.
Those are shown behind botocore's own checks of requests and answers, and what serves after which decision at endpoints
that are pretended.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from radloop.aws.endpoint import CHANGING, CREATED, REMOVED, SERVED, UNCHANGED, UPDATED, Endpoint, Hosting, publish
from radloop.aws.sagemaker import Places
from radloop.core.errors import Conflict, Corrupt, InvalidInput, NotFound, Unavailable
from radloop.core.ports import Models, ModelVersion
from radloop.core.tables import TABLES
from radloop.local.blobs import FileBlobs
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from radloop.registry.models import RecordModels
from tests.aws.emulators import ACCOUNT, REGION, client, unique
from tests.aws.pretended_endpoint import PretendedEndpoints
from tests.contracts.serving import VERSIONS, ServingContract, approve, artifact_of

Ledgers = Callable[[], Models]
NOW = datetime(2026, 1, 5, tzinfo=UTC)
PLACES = Places({"model-artifacts": "acme-models", "training-data": "acme-training"})
HOSTING = Hosting(
    role=f"arn:aws:iam::{ACCOUNT}:role/radloop-dev-sagemaker",
    image=f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/radloop-inference:1",
    key=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
    captured="s3://model-artifacts/captured",
)


def version(number: int, status: str = "Approved") -> ModelVersion:
    return ModelVersion(number, status, f"model-artifacts/models/e{number}/model.tar.gz", {}, {}, (), NOW.isoformat())


def endpoint_on(address: str, hosting: Hosting = HOSTING) -> tuple[Endpoint, Any, str]:
    sagemaker, name = client(address, "sagemaker"), unique("radloop")
    runtime = client(address, "sagemaker-runtime")
    return Endpoint(sagemaker, runtime, name=name, hosting=hosting, places=PLACES), sagemaker, name


def test_an_approved_version_is_served_and_serving_it_again_changes_nothing(moto_server: str) -> None:
    endpoint, sagemaker, name = endpoint_on(moto_server)
    assert endpoint.standing() is None
    assert endpoint.deploy(version(3)) == CREATED
    assert endpoint.deploy(version(3)) == UNCHANGED
    configuration = sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    told = sagemaker.describe_endpoint_config(EndpointConfigName=configuration)
    assert told["DataCaptureConfig"]["CaptureOptions"] == [{"CaptureMode": "Output"}]
    model = sagemaker.describe_model(ModelName=told["ProductionVariants"][0]["ModelName"])
    assert model["PrimaryContainer"]["ModelDataUrl"] == "s3://acme-models/models/e3/model.tar.gz"
    assert model["PrimaryContainer"]["Environment"] == {"RADLOOP_MODEL_VERSION": "3"}
    assert endpoint.remove() == REMOVED
    assert endpoint.remove() == UNCHANGED


@pytest.mark.parametrize("status", ["PendingManualApproval", "Rejected"])
def test_a_version_that_is_not_approved_does_not_serve(moto_server: str, status: str) -> None:
    endpoint, _, _ = endpoint_on(moto_server)
    with pytest.raises(Conflict):
        endpoint.deploy(version(3, status))
    assert endpoint.standing() is None


def test_containers_run_in_the_network_they_are_given(moto_server: str) -> None:
    hosting = replace(HOSTING, subnets=("subnet-1", "subnet-2"), security_groups=("sg-1",))
    endpoint, sagemaker, name = endpoint_on(moto_server, hosting)
    endpoint.deploy(version(3))
    configuration = sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=configuration)["ProductionVariants"]
    model = sagemaker.describe_model(ModelName=variant["ModelName"])
    assert model["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}


def test_a_name_too_long_for_what_is_named_after_it_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Endpoint(None, None, name="a" * 41, hosting=HOSTING, places=PLACES)


def test_the_package_that_serves_is_copied_once_to_where_the_drift_job_reads(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    for number in (3, 4):
        blobs.put(f"model-artifacts/models/e{number}/model.tar.gz", b"x" * (9 << 20) + bytes([number]))
    assert publish(version(3), blobs)
    assert not publish(version(3), blobs)
    assert publish(version(4), blobs)
    assert blobs.get(f"{SERVED}/model.tar.gz") == b"x" * (9 << 20) + b"\x04"


# What moto lacks


class TestEndpoint(ServingContract):
    @pytest.fixture
    def sagemaker(self) -> PretendedEndpoints:
        return PretendedEndpoints()

    @pytest.fixture
    def endpoint(self, sagemaker: PretendedEndpoints) -> Endpoint:
        return Endpoint(sagemaker.client, sagemaker.runtime, name="radloop", hosting=HOSTING, places=PLACES)

    @pytest.fixture
    def models(self, ledgers: Ledgers) -> Models:
        return ledgers()

    @pytest.fixture
    def ledgers(self, tmp_path: Path) -> Iterator[Ledgers]:
        """Makes ledgers that know nothing of each other."""
        with ExitStack() as opened:

            def made() -> Models:
                database = Database(tmp_path / f"{unique('index')}.sqlite", bytes(32), TABLES)
                opened.callback(database.close)
                return RecordModels(SqliteRecords(database, lambda: NOW), lambda: NOW)

            yield made

    @pytest.fixture
    def asked(self, models: Models, endpoint: Endpoint, sagemaker: PretendedEndpoints) -> Callable[[], int]:
        def asked() -> int:
            for _ in range(3):
                became = endpoint.follow(models)
                sagemaker.settle()
                if became == UNCHANGED:
                    break
            assert became == UNCHANGED
            said = endpoint.invoke(b"study", "application/dicom")
            (version,) = [
                number for number in range(1, VERSIONS + 1) if PLACES.uri(artifact_of(number)) == said["package"]
            ]
            assert said["version"] == str(version)
            return version

        return asked

    @pytest.fixture
    def changes(self, sagemaker: PretendedEndpoints) -> Callable[[], int]:
        return lambda: sagemaker.changes

    def test_while_it_changes_the_version_before_answers(
        self, models: Models, asked: Callable[[], int], endpoint: Endpoint
    ) -> None:
        approve(models)
        assert asked() == 1
        approve(models)
        assert (endpoint.follow(models), endpoint.follow(models)) == (UPDATED, CHANGING)
        assert endpoint.invoke(b"study", "application/dicom")["version"] == "1"
        assert asked() == 2

    def test_a_version_taken_back_before_it_ever_served_does_not_come_to_serve(
        self, models: Models, asked: Callable[[], int], endpoint: Endpoint, sagemaker: PretendedEndpoints
    ) -> None:
        approve(models)
        assert asked() == 1
        approve(models)
        assert endpoint.follow(models) == UPDATED
        models.roll_back(by="chief", reason="incident")
        assert endpoint.follow(models) == CHANGING, "it names version 1 still, and is on its way to version 2"
        sagemaker.settle()
        assert endpoint.follow(models) == UPDATED
        assert asked() == 1

    def test_an_endpoint_whose_ledger_has_no_champion_is_taken_away(
        self, models: Models, asked: Callable[[], int], endpoint: Endpoint, ledgers: Ledgers
    ) -> None:
        approve(models)
        assert asked() == 1
        assert endpoint.follow(ledgers()) == REMOVED
        with pytest.raises(NotFound):
            endpoint.invoke(b"study", "application/dicom")


@pytest.fixture
def stubbed() -> Iterator[tuple[Endpoint, Stubber, Stubber]]:
    sagemaker = boto3.client("sagemaker", region_name=REGION)
    runtime = boto3.client("sagemaker-runtime", region_name=REGION)
    with Stubber(sagemaker) as control, Stubber(runtime) as calls:
        yield Endpoint(sagemaker, runtime, name="radloop", hosting=HOSTING, places=PLACES), control, calls


def standing(status: str, configuration: str = "radloop-before") -> dict[str, Any]:
    return {
        "EndpointName": "radloop",
        "EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/radloop",
        "EndpointConfigName": configuration,
        "EndpointStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
    }


def make_models(control: Stubber, count: int) -> None:
    for _ in range(count):
        control.add_response("create_model", {"ModelArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/x"})


CONFIGURED = {"EndpointConfigArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint-config/x"}


def test_the_shadow_stands_beside_the_champion_and_an_endpoint_in_service_is_updated(
    stubbed: tuple[Endpoint, Stubber, Stubber],
) -> None:
    endpoint, control, _ = stubbed
    make_models(control, 2)
    variant = {"ModelName": ANY, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1, "InitialVariantWeight": 1.0}
    control.add_response(
        "create_endpoint_config",
        CONFIGURED,
        {
            "EndpointConfigName": ANY,
            "ProductionVariants": [{"VariantName": "champion", **variant}],
            "ShadowProductionVariants": [{"VariantName": "shadow", **variant}],
            "KmsKeyId": HOSTING.key,
            "DataCaptureConfig": ANY,
        },
    )
    control.add_response("describe_endpoint", standing("InService"))
    control.add_response("update_endpoint", {"EndpointArn": standing("Updating")["EndpointArn"]})
    assert endpoint.deploy(version(3), version(4, "PendingManualApproval")) == UPDATED
    control.assert_no_pending_responses()


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack"])
def test_an_endpoint_on_its_way_is_not_disturbed(stubbed: tuple[Endpoint, Stubber, Stubber], status: str) -> None:
    endpoint, control, _ = stubbed
    make_models(control, 1)
    control.add_response("create_endpoint_config", CONFIGURED)
    control.add_response("describe_endpoint", standing(status))
    assert endpoint.deploy(version(3)) == CHANGING


def test_an_endpoint_that_broke_is_removed_to_be_made_anew(stubbed: tuple[Endpoint, Stubber, Stubber]) -> None:
    endpoint, control, _ = stubbed
    make_models(control, 1)
    control.add_response("create_endpoint_config", CONFIGURED)
    control.add_response("describe_endpoint", standing("Failed"))
    control.add_response("delete_endpoint", {}, {"EndpointName": "radloop"})
    assert endpoint.deploy(version(3)) == CHANGING
    control.assert_no_pending_responses()


def test_what_is_there_already_is_not_made_again(stubbed: tuple[Endpoint, Stubber, Stubber]) -> None:
    endpoint, control, _ = stubbed
    for operation in ("create_model", "create_endpoint_config"):
        control.add_client_error(
            operation, "ValidationException", "Cannot create already existing resource", http_status_code=400
        )
    control.add_response("describe_endpoint", standing("InService"))
    control.add_response("update_endpoint", {"EndpointArn": standing("Updating")["EndpointArn"]})
    assert endpoint.deploy(version(3)) == UPDATED


def test_another_image_is_another_model_under_another_name(stubbed: tuple[Endpoint, Stubber, Stubber]) -> None:
    endpoint, control, _ = stubbed
    newer = Endpoint(endpoint._client, None, name="radloop", hosting=replace(HOSTING, image="other:2"), places=PLACES)
    make_models(control, 2)
    names = {endpoint._model(version(3)), newer._model(version(3))}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def test_an_answer_is_the_containers(stubbed: tuple[Endpoint, Stubber, Stubber]) -> None:
    endpoint, _, calls = stubbed
    said = json.dumps({"probability": 0.25}).encode()
    calls.add_response(
        "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(said), len(said)), "ContentType": "application/json"},
        {
            "EndpointName": "radloop",
            "ContentType": "application/dicom",
            "Accept": "application/json",
            "Body": b"file",
        },
    )
    assert endpoint.invoke(b"file", "application/dicom") == {"probability": 0.25}


@pytest.mark.parametrize(
    ("code", "original", "error"),
    [
        ("ModelError", 400, InvalidInput),
        ("ModelError", 415, InvalidInput),
        ("ModelError", 500, Unavailable),
        ("ServiceUnavailable", None, Unavailable),
    ],
)
def test_a_container_that_refuses_is_told_from_one_that_fails(
    stubbed: tuple[Endpoint, Stubber, Stubber], code: str, original: int | None, error: type[Exception]
) -> None:
    endpoint, _, calls = stubbed
    more = {"OriginalStatusCode": original} if original else {}
    calls.add_client_error("invoke_endpoint", code, "Name^Of of a patient", http_status_code=424, modeled_fields=more)
    with pytest.raises(error) as told:
        endpoint.invoke(b"file", "application/dicom")
    assert "Name^Of" not in str(told.value)


@pytest.mark.parametrize("said", [b"<html>", b"[1]"])
def test_an_answer_that_is_no_object_is_corrupt(stubbed: tuple[Endpoint, Stubber, Stubber], said: bytes) -> None:
    endpoint, _, calls = stubbed
    calls.add_response("invoke_endpoint", {"Body": StreamingBody(io.BytesIO(said), len(said))})
    with pytest.raises(Corrupt):
        endpoint.invoke(b"file", "application/dicom")


def test_an_endpoint_that_is_not_there_is_not_found(stubbed: tuple[Endpoint, Stubber, Stubber]) -> None:
    endpoint, _, calls = stubbed
    calls.add_client_error("invoke_endpoint", "ValidationError", "Endpoint radloop of account not found.")
    with pytest.raises(NotFound):
        endpoint.invoke(b"file", "application/dicom")
