"""The model ledger and its copy in SageMaker's Model Registry, on moto's server.

moto takes no client tokens and forgets CustomerMetadataProperties of a package it describes, so what was sent is read
where boto3 sends it. It knows no persons either; who changed a package is told by a Stubber.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from radloop.aws.models import BY_HAND, ByHand, ModelPackages
from radloop.aws.sagemaker import Places
from radloop.core.errors import Denied, NotFound
from radloop.core.identity import Principal
from radloop.core.ports import Models, ModelVersion, Reason
from radloop.core.tables import MODEL_PACKAGES, TABLES
from radloop.local.audit import SqliteAudit
from radloop.local.database import Database
from radloop.local.jobs import SqliteJobs
from radloop.local.records import SqliteRecords
from radloop.registry.models import RecordModels
from tests.aws.emulators import REGION, client, unique
from tests.contracts.models import ModelsContract, register

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PLACES = Places({"model-artifacts": "acme-models"})
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/radloop-inference:1"
ANNA = "arn:aws:iam::123456789012:user/anna"
MOTO = "arn:aws:sagemaker:eu-west-1:123456789012:user-profile/fake-domain-id/fake-user-profile-name"
"""Who moto says that everything was."""

PERSON = Principal("anna", frozenset({"release-approver"}))
PERSONS = {ANNA: PERSON}.get


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "index.sqlite", bytes(32), TABLES)
    yield database
    database.close()


@pytest.fixture
def records(database: Database) -> SqliteRecords:
    return SqliteRecords(database, lambda: NOW)


@pytest.fixture
def sagemaker(moto_server: str) -> Any:
    return client(moto_server, "sagemaker")


@pytest.fixture
def packages(sagemaker: Any, records: SqliteRecords) -> ModelPackages:
    group = unique("radloop")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    return ModelPackages(sagemaker, records, group, IMAGE, PLACES, PERSONS)


@pytest.fixture
def models(records: SqliteRecords, packages: ModelPackages) -> RecordModels:
    return RecordModels(records, lambda: NOW, is_mirrored=True, told=packages.tell)


class TestModelsMirroredIntoSageMaker(ModelsContract):
    @pytest.fixture
    def models(self, records: SqliteRecords, packages: ModelPackages) -> Models:
        return RecordModels(records, lambda: NOW, is_mirrored=True, told=packages.tell)


def status_of(packages: ModelPackages, version: int) -> str:
    arn = packages.package_of(version)
    assert arn is not None
    return str(packages.read(arn)["ModelApprovalStatus"])


def count(packages: ModelPackages) -> int:
    listed = packages.client.list_model_packages(ModelPackageGroupName=packages.group)
    return len(listed["ModelPackageSummaryList"])


def set_by_hand(packages: ModelPackages, version: int, status: str) -> None:
    packages.client.update_model_package(ModelPackageArn=packages.package_of(version), ModelApprovalStatus=status)


def test_each_version_is_one_package_with_where_its_model_and_its_evaluation_lie(
    models: RecordModels, packages: ModelPackages
) -> None:
    models.register(
        execution="a",
        artifact="model-artifacts/models/a/model.tar.gz",
        metrics={},
        lineage={"weights_sha256": "f" * 64},
    )
    models.register(execution="a", artifact="model-artifacts/models/a/model.tar.gz", metrics={}, lineage={})
    package = packages.read(packages.package_of(1) or "")
    assert count(packages) == 1
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    container = package["InferenceSpecification"]["Containers"][0]
    assert (container["Image"], container["ModelDataUrl"]) == (IMAGE, "s3://acme-models/models/a/model.tar.gz")
    statistics = package["ModelMetrics"]["ModelQuality"]["Statistics"]
    assert statistics["S3Uri"] == "s3://acme-models/models/a/evaluation.json"


def test_decisions_of_the_ledger_are_read_back_from_sagemaker(models: RecordModels, packages: ModelPackages) -> None:
    for execution in "ab":
        register(models, execution)
    models.decide(1, approved=True, by="anna")
    models.decide(2, approved=False, by="anna")
    assert [status_of(packages, version) for version in (1, 2)] == ["Approved", "Rejected"]
    assert "approved in radloop by anna" in packages.read(packages.package_of(1) or "")["ApprovalDescription"]


def test_where_sagemaker_does_not_answer_the_step_holds_and_a_job_tells_it_later(
    database: Database, records: SqliteRecords, packages: ModelPackages
) -> None:
    nowhere = boto3.client(
        "sagemaker",
        endpoint_url="http://127.0.0.1:9",
        region_name=REGION,
        config=boto3.session.Config(retries={"total_max_attempts": 1}),
    )
    broken = ModelPackages(nowhere, records, packages.group, IMAGE, PLACES)
    models = RecordModels(records, lambda: NOW, is_mirrored=True, told=broken.tell)
    register(models, "a")
    assert models.decide(1, approved=True, by="anna").status == "Approved"
    assert SqliteJobs(database, max_tries=1, backoff_s=0.0).pending("mirror") == 2
    found = packages.reconcile(models)
    assert (found.made, status_of(packages, 1)) == ((1,), "Approved")
    assert packages.reconcile(models) == type(found)()


def test_a_group_that_is_not_there_is_named_as_missing(records: SqliteRecords, sagemaker: Any) -> None:
    packages = ModelPackages(sagemaker, records, unique("none"), IMAGE, PLACES)
    models = RecordModels(records, lambda: NOW, told=packages.tell)
    with pytest.raises(NotFound):
        register(models, "a")
    assert models.get(1).version == 1, "the ledger knows it all the same"


def test_who_may_not_write_to_the_group_decides_all_the_same_where_a_job_tells_it(records: SqliteRecords) -> None:
    def told(_: ModelVersion) -> None:
        raise Denied("this function has no right to")

    models = RecordModels(records, lambda: NOW, is_mirrored=True, told=told)
    register(models, "a")
    assert models.decide(1, approved=True, by="anna").status == "Approved"


def test_the_alias_a_version_loses_is_told_by_reconciling(models: RecordModels, packages: ModelPackages) -> None:
    for execution in "ab":
        register(models, execution)
        models.decide("ab".index(execution) + 1, approved=True, by="anna")
    assert packages.reconcile(models).updated == (1,)
    told = packages.records.get(MODEL_PACKAGES, "1")
    assert told is not None
    assert told.document["told"]["properties"]["aliases"] == "none"


def test_a_package_of_somebody_else_is_a_stranger(models: RecordModels, packages: ModelPackages) -> None:
    register(models, "a")
    made = packages.client.create_model_package(
        ModelPackageGroupName=packages.group, ModelApprovalStatus="PendingManualApproval"
    )
    assert packages.reconcile(models).strangers == (made["ModelPackageArn"],)


@pytest.mark.parametrize("status", ["Approved", "Rejected"])
def test_a_decision_by_an_unknown_hand_is_put_back_and_holds_the_version(
    database: Database, models: RecordModels, packages: ModelPackages, status: str
) -> None:
    register(models, "a")
    set_by_hand(packages, 1, status)
    found = packages.reconcile(models, lambda _: pytest.fail("nobody is known"))
    assert found.by_hand == (ByHand(1, status, None, MOTO),)
    assert (models.get(1).status, status_of(packages, 1)) == ("PendingManualApproval",) * 2
    assert [reason.code for reason in models.get(1).held] == [BY_HAND, "denied"]
    noted = SqliteAudit(database, packages.records, lambda: NOW).entries(where={"action": "registry.by-hand"})  # type: ignore[arg-type]
    assert [(entry.subject, entry.outcome) for entry in noted] == [("model-1", "refused")]
    assert packages.reconcile(models).by_hand == ()


def test_a_decided_version_that_is_changed_by_hand_is_put_back(models: RecordModels, packages: ModelPackages) -> None:
    register(models, "a")
    models.decide(1, approved=False, by="anna")
    set_by_hand(packages, 1, "Approved")
    assert packages.reconcile(models).by_hand == (ByHand(1, "Approved", None, MOTO),)
    assert (models.get(1).status, status_of(packages, 1)) == ("Rejected", "Rejected")


# Who it was: what moto does not tell, by answers that botocore checks against the service model

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/radloop/1"


@pytest.fixture
def stubbed(records: SqliteRecords) -> Iterator[tuple[ModelPackages, Stubber]]:
    sagemaker = boto3.client("sagemaker", region_name=REGION)
    with Stubber(sagemaker) as stubber:
        yield ModelPackages(sagemaker, records, "radloop", IMAGE, PLACES, PERSONS), stubber


def described(status: str, **more: Any) -> dict[str, Any]:
    return {
        "ModelPackageName": "radloop",
        "ModelPackageGroupName": "radloop",
        "ModelPackageVersion": 1,
        "ModelPackageArn": ARN,
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": status,
        **more,
    }


def expect_hand(stubber: Stubber, arn: str) -> None:
    """SageMaker tells that this IAM identity approved the package."""
    summary = {
        "ModelPackageName": "radloop",
        "ModelPackageArn": ARN,
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
    }
    stubber.add_response("list_model_packages", {"ModelPackageSummaryList": [summary]})
    told = described("Approved", LastModifiedBy={"IamIdentity": {"Arn": arn, "PrincipalId": "AIDA"}})
    stubber.add_response("describe_model_package", told, {"ModelPackageName": ARN})


def registered(packages: ModelPackages, stubber: Stubber) -> RecordModels:
    stubber.add_response("create_model_package", {"ModelPackageArn": ARN})
    models = RecordModels(packages.records, lambda: NOW)
    packages.tell(register(models, "a"))
    return models


def test_what_is_sent_is_a_request_of_sagemaker_with_a_token_and_the_weights(
    stubbed: tuple[ModelPackages, Stubber],
) -> None:
    packages, stubber = stubbed
    sent: list[dict[str, Any]] = []
    packages.client.meta.events.register(
        "provide-client-params.sagemaker.CreateModelPackage", lambda params, **_: sent.append(params)
    )
    models = RecordModels(packages.records, lambda: NOW)
    lineage = {"snapshot": "s" * 64, "weights_sha256": "f" * 64, "champion": "none", "code_version": "1"}
    model = models.register(execution="a", artifact="model-artifacts/m.tar.gz", metrics={}, lineage=lineage)
    for _ in range(2):
        stubber.add_response("create_model_package", {"ModelPackageArn": ARN})
        packages.tell(model)
        packages.records.commit(change_without(packages))
    assert sent[0] == sent[1]
    assert len(sent[0]["ClientToken"]) <= 36
    properties = sent[0]["CustomerMetadataProperties"]
    assert (properties["weights_sha256"], properties["execution"], properties["version"]) == ("f" * 64, "a", "1")
    assert properties["aliases"] == "shadow"


def test_a_package_tells_what_a_version_was_made_of_how_good_it_is_and_what_takes_it(
    stubbed: tuple[ModelPackages, Stubber],
) -> None:
    packages, stubber = stubbed
    sent: list[dict[str, Any]] = []
    packages.client.meta.events.register(
        "provide-client-params.sagemaker.CreateModelPackage", lambda params, **_: sent.append(params)
    )
    lineage = {
        "training_data_date": "2026-01-05",
        "training_instances": "1",
        "training_minutes": 25.3,
        "training_framework": "PyTorch 2.9.1+cpu",
        "code_version": "1, of (somebody's) own" + "x" * 300,
    }
    models = RecordModels(packages.records, lambda: NOW)
    metrics = {"accuracy": 0.91254, "roc_auc": None, "f1": 0.9}
    model = models.register(execution="a", artifact="model-artifacts/m.tar.gz", metrics=metrics, lineage=lineage)
    stubber.add_response("create_model_package", {"ModelPackageArn": ARN})
    packages.tell(model)
    properties = sent[0]["CustomerMetadataProperties"]
    assert properties | {"code_version": ""} == {
        "version": "1",
        "execution": "a",
        "code_version": "",
        "training_data_date": "2026-01-05",
        "training_instances": "1",
        "training_minutes": "25.3",
        "training_framework": "PyTorch 2.9.1+cpu",
        "inference_framework": "ONNX Runtime",
        "compatible_endpoints": "real-time batch-transform",
        "accuracy": "0.9125",
        "aliases": "shadow",
    }
    shape = packages.client.meta.service_model.operation_model("CreateModelPackage").input_shape
    limits = shape.members["CustomerMetadataProperties"]
    assert limits.value.metadata["pattern"] == r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,256}"
    assert len(properties) <= limits.metadata["max"]
    for each in (*properties, *properties.values()):
        assert 1 <= len(each) <= limits.value.metadata["max"]
        assert all(unicodedata.category(letter)[0] in "LZN" or letter in "_.:/=+-@" for letter in each), each


def change_without(packages: ModelPackages) -> Any:
    """As after a crash between SageMaker's answer and our own note of it."""
    from radloop.core.ports import Change, Delete

    return Change(writes=[Delete(MODEL_PACKAGES, "1")])


def test_a_decision_by_a_person_we_know_is_recorded_in_the_persons_name(stubbed: tuple[ModelPackages, Stubber]) -> None:
    packages, stubber = stubbed
    models = registered(packages, stubber)
    expect_hand(stubber, ANNA)
    stubber.add_response("update_model_package", {"ModelPackageArn": ARN})
    asked: list[ByHand] = []

    def record(found: ByHand) -> None:
        asked.append(found)
        assert found.by is not None
        models.decide(found.version, approved=True, by=found.by.id)

    found = packages.reconcile(models, record)
    told = ByHand(1, "Approved", PERSON, ANNA)
    assert (asked, found.by_hand) == ([told], (replace(told, is_recorded=True),))
    assert (models.get(1).status, models.get(1).decided_by) == ("Approved", "anna")
    stubber.assert_no_pending_responses()


def test_a_person_who_may_not_decide_is_refused_and_sagemaker_put_back(stubbed: tuple[ModelPackages, Stubber]) -> None:
    packages, stubber = stubbed
    models = registered(packages, stubber)
    expect_hand(stubber, ANNA)
    stubber.add_response("update_model_package", {"ModelPackageArn": ARN})

    def record(_: ByHand) -> None:
        raise Denied("another must")

    assert packages.reconcile(models, record).by_hand == (ByHand(1, "Approved", PERSON, ANNA),)
    assert models.get(1).held == (
        Reason(BY_HAND, "The version was approved in SageMaker by hand; approve or reject it in radloop."),
        Reason("denied", "Another must."),
    )
    stubber.assert_no_pending_responses()


def test_what_the_pipeline_registered_is_taken_in_and_makes_no_second_package(
    stubbed: tuple[ModelPackages, Stubber],
) -> None:
    packages, stubber = stubbed
    models = RecordModels(packages.records, lambda: NOW, told=packages.tell)
    made = described(
        "PendingManualApproval",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://acme-models/models/a/job/output/model.tar.gz"}]
        },
        ModelMetrics={
            "ModelQuality": {
                "Statistics": {"ContentType": "application/json", "S3Uri": "s3://acme-models/models/a/evaluation.json"}
            }
        },
        CustomerMetadataProperties={"snapshot": "s"},
    )
    stubber.add_response("describe_model_package", made, {"ModelPackageName": ARN})
    stubber.add_response("update_model_package", {"ModelPackageArn": ARN})
    stubber.add_response("describe_model_package", made, {"ModelPackageName": ARN})
    for _ in range(2):
        model = packages.take_in(
            models, ARN, execution="a", metrics={"accuracy": 0.9}, lineage={"weights_sha256": "f" * 64}
        )
    assert (model.version, model.artifact) == (1, "model-artifacts/models/a/job/output/model.tar.gz")
    assert model.beside("evaluation.json") == "model-artifacts/models/a/evaluation.json"
    assert (model.lineage["snapshot"], model.lineage["weights_sha256"]) == ("s", "f" * 64)
    assert packages.package_of(1) == ARN
    stubber.assert_no_pending_responses()
