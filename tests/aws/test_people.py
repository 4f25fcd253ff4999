"""Releases on AWS: by the signed plan without a person, and by people who decide in SageMaker's console."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from radloop import lambdas
from radloop.aws.people import PEOPLE, People
from radloop.aws.plans import PLAN, SIGNERS, BlobPlans
from radloop.change_plan import write_plan
from radloop.core.errors import Corrupt, Denied, NotFound
from radloop.core.events import ModelEvaluationPassed
from radloop.core.identity import OWNER
from radloop.core.ports import AuditEntry, Change, ModelVersion
from radloop.functions.model_registry import run_to_come, standing_now
from radloop.functions.snapshots import manifest_key
from radloop.registry.plan import standing_of, violations
from radloop.security.identities import Identities
from tests.aws.emulators import ACCOUNT
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.pretended_sagemaker import PretendedSageMaker, served
from tests.aws.test_doors import body_of, request
from tests.functions.released import PLAN_HERE, POLICY, POLICY_SHA256, RECIPE, line_of
from tests.registry.plans import SIGNERS as KNOWN
from tests.registry.plans import signed

ANNA = f"arn:aws:iam::{ACCOUNT}:user/anna"
BEN = f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_Approvers_0123456789abcdef/ben@example.org"
CHOSEN = f"arn:aws:sts::{ACCOUNT}:assumed-role/Approvers/anna"
WHO = {ANNA: ("anna", "release-approver"), BEN: ("ben", "release-approver"), CHOSEN: ("anna", "release-approver")}


@dataclass
class Registry:
    laid_out: Environment
    sagemaker: PretendedSageMaker

    @property
    def platform(self) -> Any:
        return self.laid_out.cloud.platform

    def run(self, name: str, readers: str = "") -> ModelVersion:
        """Register what a run made, with everything beside it that a release looks at."""
        blobs, folder = self.platform.blobs, f"model-artifacts/models/{name}"
        lines = [line_of(patient, source="house") for patient in ("p1", "p2", "p3")]
        manifest = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        snapshot = hashlib.sha256(manifest).hexdigest()
        blobs.put(manifest_key(snapshot), manifest)
        blobs.put(f"{folder}/model.tar.gz", b"package")
        told = {
            "metrics": {"accuracy": {"value": 0.91}},
            "gate": {"approved": True, "rules": []},
            "guards": [],
            "policy": POLICY,
            "policy_sha256": POLICY_SHA256,
            "dataset_sha256": snapshot,
            "model_sha256": hashlib.sha256(b"package").hexdigest(),
        }
        blobs.put(f"{folder}/evaluation.json", json.dumps(told).encode())
        lineage = {"snapshot": snapshot, "code_version": "0.1.0", "hyperparameters": dict(RECIPE)}
        model: ModelVersion = self.platform.models.register(
            execution=name, artifact=f"{folder}/model.tar.gz", metrics=told["metrics"], lineage=lineage
        )
        return model

    def release(self, name: str) -> ModelVersion:
        """Register what a run made, and wake model-registry by the event that the gate let it through."""
        model = self.run(name)
        passed = ModelEvaluationPassed(execution=name, accuracy=0.91, threshold=0.85, recommendation="APPROVE")
        self.platform.records.commit(Change(events=[passed.told(at=self.platform.clock())]))
        self.platform.bus.route()
        (event,) = [each for each in self.laid_out.announced() if each["detail-type"] == "ModelEvaluationPassed"]
        lambdas.model_registry(event, CONTEXT)
        after: ModelVersion = self.platform.models.get(model.version)
        return after

    def by_hand(self, model: ModelVersion, status: str, arn: str) -> ModelVersion:
        """Somebody sets a package in the console, and EventBridge tells of it."""
        package = self.laid_out.cloud.packages.package_of(model.version) or ""
        by = {"IamIdentity": {"Arn": arn, "PrincipalId": "AIDA"}}
        self.sagemaker.packages[package] |= {"ModelApprovalStatus": status, "LastModifiedBy": by}
        told = {
            "id": "1",
            "source": "aws.sagemaker",
            "detail-type": "SageMaker Model Package State Change",
            "time": "2026-11-23T12:00:00Z",
            "resources": [package],
            "detail": {"ModelPackageGroupName": "radloop", "ModelPackageArn": package, "ModelApprovalStatus": status},
        }
        lambdas.model_registry(told, CONTEXT)
        lambdas.model_registry(told, CONTEXT)
        after: ModelVersion = self.platform.models.get(model.version)
        assert self.sagemaker.packages[package]["ModelApprovalStatus"] == after.status
        return after

    def noted(self) -> list[tuple[str, str]]:
        entries = self.laid_out.cloud.audit.entries(limit=1000)
        return [(entry.principal, entry.outcome) for entry in entries if entry.action == "registry.by-hand"]


def registry(address: str, url: str, **settings: Any) -> Iterator[Registry]:
    sagemaker = PretendedSageMaker()
    with served(sagemaker) as place:
        more = {
            "AWS_ENDPOINT_URL_SAGEMAKER": place,
            "MODEL_PACKAGE_GROUP_NAME": "radloop",
            "RADLOOP_INFERENCE_IMAGE": "i:1",
        }
        with environment(address, url, more, **settings) as made:
            people = [{"arn": arn, "id": who, "roles": [role]} for arn, (who, role) in WHO.items()]
            made.cloud.platform.blobs.put(PEOPLE, json.dumps({"people": people}).encode())
            yield Registry(made, sagemaker)


@pytest.fixture
def planned(ministack: str, healthimaging_url: str) -> Iterator[Registry]:
    yield from registry(ministack, healthimaging_url, release="plan")


@pytest.fixture
def manual(ministack: str, healthimaging_url: str) -> Iterator[Registry]:
    yield from registry(ministack, healthimaging_url, release="manual")


@pytest.fixture
def strict(ministack: str, healthimaging_url: str) -> Iterator[Registry]:
    yield from registry(ministack, healthimaging_url, release="manual", approvers=2)


def put_plan(here: Registry, text: str = PLAN_HERE) -> None:
    """What an administrator copies into the bucket."""
    here.platform.blobs.put(PLAN, text.encode())
    here.platform.blobs.put(SIGNERS, json.dumps({"signers": [asdict(each) for each in KNOWN]}).encode())


# By the plan


def test_a_plan_that_is_signed_through_the_api_releases_a_version_without_a_person(planned: Registry) -> None:
    put_plan(planned)
    ports = planned.platform
    identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
    approver = identities.create_credential(roles=frozenset({"release-approver"}), patients=None, by=OWNER).token
    assert planned.release("unsigned").held[0].code == "plan-unsigned"
    for signature in signed(PLAN_HERE, "ann", "bob"):
        body = {name: value for name, value in asdict(signature).items() if name != "at"}
        asked = request(
            "/api/v1/plan/signatures", token=approver, method="POST", body=json.dumps(body).encode(), **_JSON
        )
        answer = lambdas.api(asked, CONTEXT)
        assert answer["statusCode"] == 200, body_of(answer)
    assert json.loads(body_of(answer))["state"] == "valid"
    released = planned.release("signed")
    assert (released.status, released.decided_by) == ("Approved", "plan")
    assert planned.platform.models.champion() == released
    kept = [key for key in ports.blobs.keys("model-artifacts/plans/") if key.endswith("pccp.yaml")]
    assert len(kept) == 1


_JSON = {"content-type": "application/json"}


def test_a_plan_that_was_changed_behind_its_signatures_releases_nothing(planned: Registry) -> None:
    put_plan(planned)
    plans = planned.platform.plans
    for signature in signed(PLAN_HERE, "ann", "bob"):
        plans.add(signature)
    put_plan(planned, PLAN_HERE.replace("new_patients: 2", "new_patients: 0"))
    assert planned.release("a").held[0].code == "plan-void"


def test_signatures_are_taken_only_from_known_signers_over_the_plan_that_lies_there(planned: Registry) -> None:
    plans = BlobPlans(planned.platform.blobs)
    assert standing_of(plans.text(), plans.signers(), plans.signatures(), planned.platform.clock()).state == "missing"
    (ann, eve) = (*signed(PLAN_HERE, "ann"), *signed(PLAN_HERE, "eve"))
    with pytest.raises(NotFound):
        plans.add(ann)
    put_plan(planned)
    with pytest.raises(Denied):
        plans.add(eve)
    for _ in range(2):
        plans.add(ann)
    assert plans.signatures() == (ann,)
    planned.platform.blobs.put(SIGNERS, b"[]")
    with pytest.raises(Corrupt):
        plans.signers()


def test_a_plan_written_for_a_gpu_foresees_what_aws_trains_with(planned: Registry, tmp_path: Path) -> None:
    write_plan(tmp_path, author="author-1", gpu=True)
    put_plan(planned, (tmp_path / "pccp.yaml").read_text())
    standing = standing_now(planned.platform)
    assert standing.plan is not None
    assert violations(standing.plan, run_to_come(standing.plan, planned.platform)) == ()


# By hand in SageMaker


@pytest.mark.parametrize("status", ["Approved", "Rejected"])
def test_a_decision_of_a_known_person_is_taken_over_in_their_name(manual: Registry, status: str) -> None:
    after = manual.by_hand(manual.run("a"), status, ANNA)
    assert (after.status, after.decided_by) == (status, "anna")
    assert manual.noted() == [(ANNA, "success")]


def test_who_started_the_run_may_not_approve_it_in_the_console_either(manual: Registry) -> None:
    model = manual.run("a")
    manual.platform.records.commit(Change(audit=[AuditEntry("anna", "execution.start", "a")]))
    after = manual.by_hand(model, "Approved", ANNA)
    assert after.status == "PendingManualApproval"
    assert [each.code for each in after.held] == ["decided-elsewhere", "separation-of-duties"]
    assert manual.noted() == [(ANNA, "refused")]


def test_one_approval_of_two_by_hand_counts_and_waits_for_another_persons(strict: Registry) -> None:
    model = strict.run("a")
    first = strict.by_hand(model, "Approved", ANNA)
    assert (first.status, first.approvals, first.held) == ("PendingManualApproval", ("anna",), ())
    again = strict.by_hand(model, "Approved", ANNA)
    assert again.approvals == ("anna",)
    assert strict.by_hand(model, "Approved", BEN).status == "Approved"


@pytest.mark.parametrize("arn", [CHOSEN, f"arn:aws:iam::{ACCOUNT}:user/nobody"])
def test_a_name_that_anybody_can_choose_decides_nothing(manual: Registry, arn: str) -> None:
    after = manual.by_hand(manual.run("a"), "Approved", arn)
    assert after.status == "PendingManualApproval"
    assert [each.code for each in after.held] == ["decided-elsewhere", "denied"]
    assert manual.noted() == [(arn, "refused")]


def test_whoever_has_no_right_to_decide_does_not_get_it_in_the_console(manual: Registry) -> None:
    told = {"people": [{"arn": ANNA, "id": "anna", "roles": ["reader", "system"]}]}
    manual.platform.blobs.put(PEOPLE, json.dumps(told).encode())
    after = manual.by_hand(manual.run("a"), "Approved", ANNA)
    assert [each.code for each in after.held] == ["decided-elsewhere", "denied"]


def test_a_list_of_people_that_cannot_be_read_lets_nobody_decide(manual: Registry) -> None:
    manual.platform.blobs.put(PEOPLE, b'{"people": [{"arn": 1}]}')
    with pytest.raises(Corrupt):
        People(manual.platform.blobs, OWNER.roles).of_arn(ANNA)
