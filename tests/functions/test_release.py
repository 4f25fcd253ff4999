"""How a version goes to work: inside a signed plan by itself, outside it by people who may."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import Conflict, Denied, InvalidInput, NotFound, SeparationOfDuties
from radloop.core.identity import OWNER, Principal
from radloop.core.images import Confidence, Finding, Seen
from radloop.core.ports import AuditEntry, Change, ModelVersion
from radloop.functions import model_registry
from radloop.functions.model_registry import (
    PLANS,
    decide,
    retrains_on,
    roll_back,
    run_of_execution,
    run_of_model,
    run_to_come,
    standing_now,
)
from radloop.registry.plan import violations
from tests.functions.house import House
from tests.functions.released import PLAN_HERE, RECIPE, Release, line_of
from tests.registry.plans import KEYS, SIGNERS, signed

ANN = Principal("ann", frozenset({"release-approver"}))
CARL = Principal("carl", frozenset({"release-approver"}))


@pytest.fixture
def release(house: House, tmp_path: Path) -> Release:
    built = Release.build(house, tmp_path / "home")
    built.sign()
    return built


def with_settings(release: Release, /, **settings: Any) -> Release:
    return Release.build(release.house, release.root, **settings)


# By itself


def test_a_version_inside_the_signed_plan_goes_to_work_once(release: Release) -> None:
    model = release.run("a")
    for _ in range(2):
        after = release.release(model)
    assert (after.status, after.aliases, after.decided_by) == ("Approved", ("champion",), "plan")
    assert release.house.told("ModelApproved") == [
        {"model_version": 1, "execution": model.lineage["execution"], "approved_by": "plan"}
    ]
    assert release.house.told("ReleaseHeld") == []


def test_what_an_approval_rests_on_is_kept_with_it(release: Release) -> None:
    after = release.release(release.run("a"))
    evidence = after.evidence
    assert evidence["plan_sha256"] == standing_now(release.platform).sha256
    assert evidence["signed_by"] == [{"role": "release-approver", "by": "ann"}, {"role": "auditor", "by": "bob"}]
    assert {
        len(str(evidence[name])) for name in ("snapshot", "package_sha256", "evaluation_sha256", "policy_sha256")
    } == {64}
    kept = release.platform.blobs.get(f"{PLANS}/{evidence['plan_sha256']}/pccp.yaml")
    assert kept == PLAN_HERE.encode()
    signatures = json.loads(release.platform.blobs.get(f"{PLANS}/{evidence['plan_sha256']}/pccp.signatures.json"))
    assert [each["signer"] for each in signatures["signatures"]] == ["ann", "bob"]


def test_without_a_plan_a_version_waits_and_says_so(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home")
    after = release.release(release.run("a"))
    assert (after.status, [each.code for each in after.held]) == ("PendingManualApproval", ["plan-missing"])
    assert release.platform.models.champion() is None
    assert house.told("ReleaseHeld") == [
        {"model_version": 1, "execution": after.lineage["execution"], "reasons": ["plan-missing"]}
    ]


def test_holding_twice_is_holding_once(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home")
    model = release.run("a")
    for _ in range(3):
        release.release(model)
    assert len(house.told("ReleaseHeld")) == 1


def test_a_version_that_was_held_goes_to_work_when_the_plan_is_there_and_it_is_asked_again(
    house: House, tmp_path: Path
) -> None:
    release = Release.build(house, tmp_path / "home")
    model = release.run("a")
    assert release.release(model).status == "PendingManualApproval"
    release.sign()
    after = release.release(model)
    assert (after.status, after.held) == ("Approved", ())


@pytest.mark.parametrize(
    ("names", "code"), [((), "plan-unsigned"), (("ann",), "plan-unsigned"), (("bob",), "plan-unsigned")]
)
def test_a_plan_that_is_not_signed_by_all_lets_nothing_through(
    house: House, tmp_path: Path, names: tuple[str, ...], code: str
) -> None:
    release = Release.build(house, tmp_path / "home")
    release.sign(names=names)
    assert release.codes(release.run("a")) == [code]


def test_a_byte_changed_after_signing_stops_everything(release: Release) -> None:
    release.plans.replace_text(PLAN_HERE.replace("to: 9", "to: 8").encode())
    assert release.codes(release.run("a")) == ["plan-void"]


def test_a_plan_whose_time_is_over_lets_nothing_through(release: Release) -> None:
    release.house.clock.wait(timedelta(days=361).total_seconds())
    assert release.codes(release.run("a")) == ["plan-expired"]


@pytest.mark.parametrize(
    ("run", "codes"),
    [
        ({"recipe": {**RECIPE, "epochs": "10"}}, ["recipe-outside-plan"]),
        ({"recipe": {**RECIPE, "mixup": "1"}}, ["recipe-not-in-plan"]),
        ({"code": "0.2.0"}, ["code-version-outside-plan"]),
        ({"evaluation": {"policy_sha256": "b" * 64}}, ["policy-outside-plan"]),
        ({"lines": [line_of("p1", modality="CR"), line_of("p2")]}, ["modality-outside-plan"]),
        ({"lines": [line_of("p1", source="elsewhere"), line_of("p2")]}, ["source-outside-plan"]),
        ({"patients": ["p1"]}, ["too-few-new-patients"]),
        ({"evaluation": {"guards": [{"name": "patient-overlap", "passed": False}]}}, ["guard-failed"]),
        ({"evaluation": {"gate": {"approved": False}}}, ["gate-refused"]),
        ({"evaluation": {"dataset_sha256": "c" * 64}}, ["data-mismatch"]),
        ({"evaluation": {"model_sha256": "d" * 64}}, ["package-changed"]),
    ],
)
def test_a_run_outside_the_plan_stops_for_a_person(release: Release, run: dict[str, Any], codes: list[str]) -> None:
    model = release.run("a", **run)
    assert release.codes(model) == codes
    assert release.platform.models.get(1).status == "PendingManualApproval"
    assert release.house.told("ReleaseHeld")[0]["reasons"] == codes


def test_labels_of_fewer_reads_than_the_plan_asks_for_stop(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home")
    release.sign(PLAN_HERE.replace("reads_per_label: 1", "reads_per_label: 2"))
    lines = [line_of("p1", reads=2), line_of("p2", reads=1), line_of("p3", reads=5)]
    assert release.codes(release.run("a", lines=lines)) == ["too-few-reads"]
    assert release.codes(release.run("b", lines=[line_of("p1", reads=2), line_of("p2", reads=2)])) == []


def test_new_patients_are_those_the_champion_did_not_learn_from(release: Release) -> None:
    assert release.release(release.run("a", patients=["p1", "p2"])).status == "Approved"
    assert release.codes(release.run("b", patients=["p1", "p2", "p3"])) == ["too-few-new-patients"]
    assert release.release(release.run("c", patients=["p1", "p2", "p3", "p4"])).status == "Approved"


def test_a_package_that_was_exchanged_after_its_evaluation_never_serves(release: Release) -> None:
    model = release.run("a")
    release.platform.blobs.put(model.artifact, b"another")
    assert "package-changed" in release.codes(model)
    with pytest.raises(Conflict, match="not the one that was evaluated"):
        decide(1, release.platform, approved=True, by=OWNER, reason=None)
    automatic = with_settings(release, release="automatic")
    assert automatic.codes(model) == ["package-changed"]


def test_a_version_whose_evaluation_is_gone_waits(release: Release) -> None:
    model = release.run("a")
    release.platform.blobs.delete(f"{model.artifact.rpartition('/')[0]}/evaluation.json")
    assert set(release.codes(model)) == {"evidence-incomplete", "policy-outside-plan"}


def test_a_data_set_that_is_gone_stops(release: Release) -> None:
    model = release.run("a")
    release.platform.blobs.delete(f"training-data/snapshots/{model.lineage['snapshot']}/manifest.jsonl")
    assert release.codes(model) == ["data-unknown"]


def test_a_plan_may_leave_every_release_to_people(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home")
    release.sign(PLAN_HERE.replace("release: automatic", "release: person"))
    assert release.codes(release.run("a")) == ["plan-asks-for-a-person"]


def test_under_manual_release_every_version_waits_whatever_the_plan_says(release: Release) -> None:
    assert with_settings(release, release="manual").codes(release.run("a")) == ["manual-release"]


def test_under_automatic_release_no_plan_is_asked(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home", release="automatic")
    after = release.release(release.run("a"))
    assert (after.status, after.decided_by) == ("Approved", "policy")
    assert "plan_sha256" not in after.evidence


def test_what_a_person_rejected_nothing_approves(release: Release) -> None:
    model = release.run("a")
    decide(1, release.platform, approved=False, by=ANN, reason="subgroup")
    assert release.release(model).status == "Rejected"
    assert release.platform.models.champion() is None


def test_an_older_version_does_not_take_the_place_of_a_newer_one(release: Release) -> None:
    old = release.run("a")
    new = release.run("b", patients=["p4", "p5"])
    assert release.release(new).status == "Approved"
    assert "older-than-champion" in release.codes(old)


def test_after_a_rollback_nothing_goes_to_work_before_a_person_has_looked(release: Release) -> None:
    release.release(release.run("a", patients=["p1", "p2"]))
    release.release(release.run("b", patients=["p3", "p4"]))
    release.house.clock.wait(60)
    roll_back(release.platform, by=ANN, reason="drift")
    release.house.clock.wait(60)
    third = release.run("c", patients=["p5", "p6"])
    assert release.codes(third) == ["rolled-back-before"]
    release.house.clock.wait(60)
    decide(3, release.platform, approved=True, by=CARL, reason="evidence-reviewed")
    assert release.release(release.run("d", patients=["p7", "p8"])).status == "Approved"


def test_a_plan_may_go_on_after_a_rollback(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home")
    release.sign(PLAN_HERE.replace("after_rollback: hold", "after_rollback: continue"))
    release.release(release.run("a", patients=["p1", "p2"]))
    release.release(release.run("b", patients=["p3", "p4"]))
    roll_back(release.platform, by=ANN, reason="drift")
    assert release.release(release.run("c", patients=["p5", "p6"])).status == "Approved"


def test_a_version_that_was_taken_back_does_not_come_again_when_its_event_does(release: Release) -> None:
    release.release(release.run("a", patients=["p1", "p2"]))
    second = release.run("b", patients=["p3", "p4"])
    release.release(second)
    roll_back(release.platform, by=ANN, reason="incident")
    release.release(second)
    champion = release.platform.models.champion()
    assert champion is not None
    assert champion.version == 1


def test_a_plan_says_which_drift_starts_a_retraining(release: Release) -> None:
    assert retrains_on(release.platform, "inputs")
    assert not retrains_on(release.platform, "prevalence")
    assert not retrains_on(release.platform, "never-heard-of")
    release.plans.replace_text(b"changed")
    assert not retrains_on(release.platform, "inputs")


# By people


def test_a_release_approver_decides_with_a_reason_and_the_evidence_is_kept(release: Release) -> None:
    release.run("a")
    after = decide(1, release.platform, approved=True, by=CARL, reason="evidence-reviewed")
    assert (after.model.status, after.model.decided_by, after.model.reason) == ("Approved", "carl", "evidence-reviewed")
    assert after.model.evidence["package_sha256"]
    assert after.notice is None


@pytest.mark.parametrize(("approved", "reason"), [(True, "performance"), (False, "clinical-need"), (True, "because")])
def test_a_reason_is_one_of_the_codes(release: Release, approved: bool, reason: str) -> None:
    release.run("a")
    with pytest.raises(InvalidInput):
        decide(1, release.platform, approved=approved, by=CARL, reason=reason)
    with pytest.raises(InvalidInput):
        roll_back(release.platform, by=CARL, reason="because")


def started_by(release: Release, model: ModelVersion, who: str) -> None:
    noted = AuditEntry(who, "execution.start", str(model.lineage["execution"]))
    release.platform.records.commit(Change(audit=[noted]))


def test_whoever_started_the_run_cannot_approve_its_version(release: Release) -> None:
    started_by(release, release.run("a"), "carl")
    with pytest.raises(SeparationOfDuties):
        decide(1, release.platform, approved=True, by=CARL, reason=None)
    assert release.platform.models.get(1).status == "PendingManualApproval"
    assert decide(1, release.platform, approved=True, by=ANN, reason=None).model.status == "Approved"


def test_whoever_started_the_run_may_reject_its_version(release: Release) -> None:
    started_by(release, release.run("a"), "carl")
    assert decide(1, release.platform, approved=False, by=CARL, reason="performance").model.status == "Rejected"


def test_a_refusal_for_duties_is_a_refusal() -> None:
    assert issubclass(SeparationOfDuties, Denied)


def labelled(release: Release, readers: dict[str, int]) -> list[dict[str, Any]]:
    """Image sets with ground truth by these readers, and their lines."""
    lines = []
    for reader, count in readers.items():
        for number in range(count):
            stored = release.house.store(f"{reader}-{number}")
            finding = Finding(present=True, site=None, confidence=Confidence.HIGH, note="", seen=Seen(0, "lossless"))
            after, _ = stored.verify(finding, version=stored.version, by=reader, at=release.house.clock())
            from radloop.core.tables import put_image_set

            release.platform.records.commit(Change(writes=[put_image_set(after, expected=1)]))
            lines.append(line_of(f"{reader}-{number}", image_set=stored.id))
    return lines


def test_whoever_gave_most_labels_cannot_approve_what_learned_from_them(release: Release) -> None:
    release.run("a", lines=labelled(release, {"carl": 3, "ann": 2}))
    with pytest.raises(SeparationOfDuties):
        decide(1, release.platform, approved=True, by=CARL, reason=None)
    assert decide(1, release.platform, approved=True, by=ANN, reason=None).model.status == "Approved"


def test_whoever_wrote_the_plan_cannot_approve(release: Release) -> None:
    release.run("a")
    author = Principal("author-1", frozenset({"release-approver"}))
    with pytest.raises(SeparationOfDuties):
        decide(1, release.platform, approved=True, by=author, reason=None)


def test_where_two_must_approve_one_of_them_may_have_started_the_run(release: Release) -> None:
    two = with_settings(release, approvers=2)
    started_by(two, two.run("a"), "carl")
    with pytest.raises(SeparationOfDuties):
        decide(1, two.platform, approved=True, by=CARL, reason=None)
    first = decide(1, two.platform, approved=True, by=ANN, reason=None)
    assert (first.model.status, first.notice) == (
        "PendingManualApproval",
        "1 of 2 approvals are there; another approver must speak.",
    )
    second = decide(1, two.platform, approved=True, by=CARL, reason=None)
    assert (second.model.status, second.model.approvals) == ("Approved", ("ann", "carl"))


def test_the_owner_of_open_doors_is_exempt_and_told_so(release: Release) -> None:
    two = with_settings(release, approvers=2)
    started_by(two, two.run("a"), OWNER.id)
    after = decide(1, two.platform, approved=True, by=OWNER, reason=None)
    assert after.model.status == "Approved"
    assert after.notice is not None
    assert "separation of duties" in after.notice
    assert after.model.evidence["separation_of_duties"] == "owner-exempt"


def test_a_person_and_the_plan_at_the_same_time_make_one_decision(release: Release) -> None:
    for number in range(6):
        model = release.run(f"r{number}", patients=[f"a{number}", f"b{number}"])

        def reject(version: int = model.version) -> None:
            try:
                decide(version, release.platform, approved=False, by=ANN, reason="performance")
            except Conflict:
                return

        with ThreadPoolExecutor(2) as pool:
            by_plan = pool.submit(release.release, model)
            pool.submit(reject).result()
            by_plan.result()
        decided = [
            entry
            for entry in release.platform.models.ledger()
            if entry["action"] == "decided" and entry["version"] == model.version
        ]
        assert len(decided) == 1
    assert release.platform.models.verify().broken_at is None


# What lies outside, asked beforehand


def test_an_execution_and_its_version_are_held_against_the_plan_alike(release: Release) -> None:
    model = release.run("a", recipe={**RECIPE, "epochs": "99"})
    plan = standing_now(release.platform).plan
    assert plan is not None
    execution = release.platform.pipelines.get(str(model.lineage["execution"]))
    by_version = violations(plan, run_of_model(model, release.platform))
    by_execution = violations(plan, run_of_execution(execution, release.platform))
    assert by_version == by_execution
    assert [each.code for each in by_version] == ["recipe-outside-plan"]


def test_the_next_run_is_known_by_recipe_code_and_policy(release: Release) -> None:
    plan = standing_now(release.platform).plan
    assert plan is not None
    found = violations(plan, run_to_come(plan, release.platform))
    assert {each.code for each in found} == {"recipe-not-in-plan", "policy-outside-plan"}, (
        "the house has another recipe"
    )


# Signatures that are handed in


def test_a_signature_is_kept_once_a_signer_and_replaced_by_a_later_one(release: Release) -> None:
    release.plans.add(signed(PLAN_HERE, "ann")[0])
    assert sorted(each.signer for each in release.plans.signatures()) == ["ann", "bob"]


def test_a_signature_over_another_plan_or_by_a_stranger_is_not_kept(release: Release) -> None:
    with pytest.raises(NotFound):
        release.plans.add(signed("another", "ann")[0])
    with pytest.raises(Denied):
        release.plans.add(signed(PLAN_HERE, "eve")[0])
    with pytest.raises(Denied):
        release.plans.add(replace(signed(PLAN_HERE, "ann")[0], signature="00" * 64))


def test_signatures_at_the_same_time_are_all_kept(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home")
    release.sign(names=())
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(release.plans.add, signed(PLAN_HERE, "ann", "bob")))
    assert standing_now(release.platform).is_valid


def test_one_key_cannot_be_registered_under_two_names(release: Release) -> None:
    with pytest.raises(Conflict):
        release.plans.register(replace(SIGNERS[0], id="ann-again"))
    with pytest.raises(Conflict):
        release.plans.register(replace(SIGNERS[0], public_key=KEYS["eve"].public_key))


def test_private_keys_are_readable_by_their_owner_alone(release: Release) -> None:
    path = release.plans.generate("dora", "auditor")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict):
        release.plans.generate("dora", "auditor")
    with pytest.raises(InvalidInput):
        release.plans.key_file("../kek")


def test_the_function_is_the_one_that_rules_name() -> None:
    from radloop.functions.catalogue import FUNCTIONS

    assert FUNCTIONS["model_registry"] is model_registry.handle
