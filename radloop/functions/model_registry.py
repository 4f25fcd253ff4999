"""How a model version goes to work, and how it is taken back: by the plan, by the policy, or by people.

A version that passed the gate is approved without a person only where the setting `release` lets it: under `plan`,
inside a valid signed change control plan; under `automatic`, by the gate alone. Everything else is left to people, with
the reasons kept in the ledger and told by ReleaseHeld. What people do passes the same checks of what is approved, and
one more of who approves it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from radloop import __version__
from radloop.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from radloop.core.events import Event
from radloop.core.identity import OWNER, Principal
from radloop.core.platform import Platform
from radloop.core.ports import Execution, ModelVersion, Reason, Span
from radloop.core.reads import reads_of
from radloop.core.tables import IMAGE_SETS, image_set_of
from radloop.functions.contexts import policy_of
from radloop.functions.snapshots import manifest_key
from radloop.registry.ledger import APPROVE_REASONS, PENDING, REJECT_REASONS, ROLLBACK_REASONS
from radloop.registry.plan import HOLD, PERSON, Plan, Run, Standing, standing_of, violations

POLICY: Final = "policy"
"""Who approved, where the gate alone did."""

PLAN: Final = "plan"
"""Who approved, where the signed plan did."""

PLANS: Final = "model-artifacts/plans"
"""Where every plan that something was approved under is kept, by its SHA-256."""

_NOBODY: Final = (POLICY, PLAN)
_CHUNK_BYTES: Final = 8 << 20


def handle(event: Event, platform: Platform) -> None:
    """Approve the version that a passed execution registered, or leave it to a person and say why.

    Approving twice is approving once, and so is holding. What a person decided before stands.

    Raises:
        Unavailable: The pipeline has not registered the version yet; the event comes again.
    """
    execution = str(event.detail["execution"])
    model = platform.models.of_execution(execution)
    if model is None:
        raise Unavailable(f"execution {execution} has registered no model yet")
    if model.status != PENDING:
        return
    standing = standing_now(platform)
    reasons = held_by(model, standing, platform)
    if reasons:
        platform.models.hold(model.version, reasons)
        return
    by = PLAN if platform.settings.release == "plan" else POLICY
    evidence = evidence_of(model, platform) | _under(standing, platform, is_asked=by == PLAN)
    try:
        platform.models.decide(model.version, approved=True, by=by, evidence=evidence)
    except Conflict:  # rejected by a person, who outranks plan and policy
        return


# People


@dataclass(frozen=True, slots=True)
class Decision:
    """A version after a person spoke, and what the person is told about it."""

    model: ModelVersion
    notice: str | None


def decide(version: int, platform: Platform, *, approved: bool, by: Principal, reason: str | None) -> Decision:
    """A person approves or rejects a version.

    Raises:
        NotFound: There is no such version.
        InvalidInput: The reason is none of the codes.
        Conflict: It has been decided the other way, or what was evaluated is not what would serve.
        SeparationOfDuties: Another approver must speak first.
    """
    codes = APPROVE_REASONS if approved else REJECT_REASONS
    if reason is not None and reason not in codes:
        raise InvalidInput(f"the reason must be one of {', '.join(codes)}")
    model = platform.models.get(version)
    if not approved:
        return Decision(platform.models.decide(version, approved=False, by=by.id, reason=reason), None)
    if model.status != PENDING:
        return Decision(platform.models.decide(version, approved=True, by=by.id), None)
    broken = _tampered(model, platform)
    if broken:
        raise Conflict(" ".join(each.sentence for each in broken))
    duties = duties_in_the_way(model, by.id, platform)
    is_owner = by.id == OWNER.id
    evidence = evidence_of(model, platform)
    if duties and is_owner:
        evidence = {**evidence, "separation_of_duties": "owner-exempt"}
    needed = platform.settings.approvers
    after = platform.models.decide(
        version,
        approved=True,
        by=by.id,
        reason=reason,
        evidence=evidence,
        needed=1 if is_owner else needed,
        is_free=is_owner or not duties,
    )
    return Decision(after, _notice(after, needed, is_exempt=is_owner and (bool(duties) or needed > 1)))


def take_over(version: int, platform: Platform, *, approved: bool, by: Principal) -> Decision:
    """A person has decided elsewhere, where nobody asked whether they may; otherwise as `decide`.

    Raises:
        Denied: Their roles do not let them decide.
    """
    platform.policy.demand(by, "model.decide")
    return decide(version, platform, approved=approved, by=by, reason=None)


def roll_back(
    platform: Platform, *, by: Principal, reason: str, to: int | None = None, expected: int | None = None
) -> ModelVersion:
    """Take the champion back; see `Models.roll_back`.

    Raises:
        InvalidInput: The reason is none of the codes.
    """
    if reason not in ROLLBACK_REASONS:
        raise InvalidInput(f"the reason must be one of {', '.join(ROLLBACK_REASONS)}")
    return platform.models.roll_back(by=by.id, reason=reason, to=to, expected=expected)


def duties_in_the_way(model: ModelVersion, principal: str, platform: Platform) -> tuple[Reason, ...]:
    """What else `principal` did that keeps them from approving this version alone."""
    found = []
    if principal in _started_by(model, platform):
        found.append(Reason("started-the-run", "The approver started the run by hand."))
    if principal in _labelled_most(model, platform):
        found.append(Reason("labelled-most", "The approver gave more of the labels than anybody else."))
    plan = standing_now(platform).plan
    if plan is not None and plan.author == principal:
        found.append(Reason("wrote-the-plan", "The approver wrote the change control plan."))
    return tuple(found)


def _started_by(model: ModelVersion, platform: Platform) -> frozenset[str]:
    where = {"action": "execution.start", "subject": str(model.lineage["execution"])}
    return frozenset(entry.principal for entry in platform.audit.entries(where=where, limit=1000))


def _labelled_most(model: ModelVersion, platform: Platform) -> frozenset[str]:
    """Who gave most labels of the data set; several where they gave as many."""
    counts: Counter[str] = Counter()
    for line in _lines(str(model.lineage.get("snapshot")), platform) or ():
        counts.update(_readers_of(str(line.get("image_set")), platform))
    most = max(counts.values(), default=0)
    return frozenset(who for who, count in counts.items() if count == most)


def _readers_of(image_set: str, platform: Platform) -> set[str]:
    """Who read an image set; of before reads were kept, whose finding its ground truth is."""
    found = {read.reader for read in reads_of(platform.records, image_set)}
    row = None if found else platform.records.get(IMAGE_SETS, image_set)
    truth = None if row is None else image_set_of(row).truth
    return found if truth is None else {truth.by}


def _notice(model: ModelVersion, needed: int, *, is_exempt: bool) -> str | None:
    if is_exempt:
        return "You are the owner of open doors, where one person is everybody: the separation of duties was not asked."
    if model.status == PENDING:
        return f"{len(model.approvals)} of {needed} approvals are there; another approver must speak."
    return None


# Whether it may happen without a person


def standing_now(platform: Platform) -> Standing:
    """How the change control plan stands at this moment."""
    plans = platform.plans
    return standing_of(plans.text(), plans.signers(), plans.signatures(), platform.clock())


def retrains_on(platform: Platform, monitor: str) -> bool:
    """Whether a valid plan lets an alarm of this drift monitor start a retraining."""
    standing = standing_now(platform)
    return standing.is_valid and standing.plan is not None and standing.plan.drift_triggers.get(monitor, False)


def held_by(model: ModelVersion, standing: Standing, platform: Platform) -> tuple[Reason, ...]:
    """Why a version is left to a person; empty where it may go to work by itself."""
    release = platform.settings.release
    if release == "manual":
        return (Reason("manual-release", "The setting release is manual: a person decides about every version."),)
    found = [*_tampered(model, platform), *_out_of_turn(model, standing, platform)]
    if release == "plan":
        found += [*standing.problems]
        if standing.plan is not None:
            found += violations(standing.plan, run_of_model(model, platform))
        if standing.plan is not None and standing.plan.release == PERSON:
            found.append(Reason("plan-asks-for-a-person", "The plan leaves every release to a person."))
        found += _incomplete(model, platform)
    return tuple(found)


def _out_of_turn(model: ModelVersion, standing: Standing, platform: Platform) -> list[Reason]:
    """Whether what happened to other versions keeps this one from following by itself."""
    versions = platform.models.versions()
    champion = platform.models.champion()
    found = []
    if champion is not None and champion.version > model.version:
        told = f"Model version {champion.version}, which is newer, serves already."
        found.append(Reason("older-than-champion", told))
    plan = standing.plan
    goes_on = platform.settings.release == "plan" and plan is not None and plan.after_rollback != HOLD
    taken_back = [each for each in versions if each.rolled_back_at is not None]
    if taken_back and not goes_on:
        latest = max(str(each.rolled_back_at) for each in taken_back)
        looked = [each for each in versions if (each.decided_at or "") > latest and each.decided_by not in _NOBODY]
        if not any(each.status == "Approved" for each in looked):
            told = f"Model version {taken_back[0].version} was taken back, and no person has approved one since."
            found.append(Reason("rolled-back-before", told))
    return found


def _tampered(model: ModelVersion, platform: Platform) -> list[Reason]:
    """Whether the package that would serve is another one than was evaluated."""
    evaluation = _evaluation(model, platform)
    if evaluation is None or "model_sha256" not in evaluation:
        return []
    if sha256_of_blob(model.artifact, platform) == evaluation["model_sha256"]:
        return []
    return [Reason("package-changed", "The model package is not the one that was evaluated, or is gone.")]


def _incomplete(model: ModelVersion, platform: Platform) -> list[Reason]:
    """What a release by plan rests on besides: a passed gate, green guards, everything there to look at later."""
    evaluation = _evaluation(model, platform)
    if evaluation is None:
        return [Reason("evidence-incomplete", "The evaluation of the version is gone.")]
    found = []
    if not _mapping(evaluation.get("gate")).get("approved"):
        found.append(Reason("gate-refused", "The gate did not approve the version."))
    red = [str(each.get("name")) for each in evaluation.get("guards") or () if not each.get("passed")]
    if red:
        found.append(Reason("guard-failed", f"A guard of the data set failed: {', '.join(red)}."))
    if evaluation.get("dataset_sha256") not in {None, model.lineage.get("snapshot")}:
        found.append(Reason("data-mismatch", "The evaluation tells of another data set than the version."))
    if "model_sha256" not in evaluation:
        found.append(Reason("evidence-incomplete", "The evaluation does not tell which package it looked at."))
    return found


# What a run was


def run_of_model(model: ModelVersion, platform: Platform) -> Run:
    """The run that made a version, as far as a plan looks at it."""
    recipe = {str(name): str(value) for name, value in _mapping(model.lineage.get("hyperparameters")).items()}
    version = model.lineage.get("code_version")
    evaluation = _evaluation(model, platform) or {}
    snapshot = str(model.lineage.get("snapshot"))
    return _run(str(model.lineage["execution"]), recipe, version, evaluation, snapshot=snapshot, platform=platform)


def run_of_execution(execution: Execution, platform: Platform) -> Run:
    """The same of an execution, whether or not it registered a version."""
    given = execution.parameters
    recipe = {name: str(value) for name, value in given.items() if name[:1].islower()}
    evaluation, snapshot = execution.evaluation or {}, str(given.get("Snapshot"))
    return _run(execution.id, recipe, given.get("CodeVersion"), evaluation, snapshot=snapshot, platform=platform)


def run_to_come(plan: Plan, platform: Platform) -> Run:
    """The next run, as far as it is known: recipe, code and policy. Its data are taken to be as the plan wants them."""
    policy, threshold = policy_of(platform), platform.settings.accuracy_threshold
    return Run(
        recipe=platform.recipe(),
        code_version=__version__,
        policy_sha256=(policy.with_accuracy(threshold) if threshold else policy).sha256,
        modalities=frozenset(),
        sources=frozenset(),
        new_patients=plan.new_patients,
        fewest_reads=plan.reads_per_label,
    )


def _run(
    execution: str,
    recipe: Mapping[str, str],
    version: Any,
    evaluation: Mapping[str, Any],
    *,
    snapshot: str,
    platform: Platform,
) -> Run:
    lines = _lines(snapshot, platform)
    policy = evaluation.get("policy_sha256")
    facts: dict[str, Any] = {"modalities": None, "sources": None, "new_patients": None, "fewest_reads": None}
    if lines is not None:
        facts = {
            "modalities": frozenset(str(line.get("modality")) for line in lines),
            "sources": frozenset(str(line.get("source", "unknown")) for line in lines),
            "new_patients": len(_patients(lines) - _known_before(execution, platform)),
            "fewest_reads": min((int(line.get("reads") or 1) for line in lines), default=0),
        }
    return Run(
        recipe=recipe,
        code_version=None if version is None else str(version),
        policy_sha256=None if policy is None else str(policy),
        **facts,
    )


def _known_before(execution: str, platform: Platform) -> set[str]:
    """Patients in the data set of the version that served before this run's; none where there is none or it is gone."""
    own = platform.models.of_execution(execution)
    served = {each.version for each in platform.models.servings()}
    before = [number for number in served if own is None or number < own.version]
    if not before:
        return set()
    champion = platform.models.champion()
    is_before = champion is not None and champion.version in before
    base = platform.models.get(champion.version if champion is not None and is_before else max(before))
    return _patients(_lines(str(base.lineage.get("snapshot")), platform) or [])


def _patients(lines: list[Mapping[str, Any]]) -> set[str]:
    return {str(line.get("patient")) for line in lines}


def _lines(snapshot: str, platform: Platform) -> list[Mapping[str, Any]] | None:
    """The lines of a data set's manifest; None where it is gone."""
    try:
        manifest = platform.blobs.get(manifest_key(snapshot))
        return [json.loads(line) for line in manifest.splitlines() if line.strip()]
    except (NotFound, ValueError):
        return None


# Evidence


def evidence_of(model: ModelVersion, platform: Platform) -> dict[str, Any]:
    """Hashes of what a decision about a version rests on, by name; None where a thing is gone."""
    evaluation = _evaluation(model, platform) or {}
    return {
        "snapshot": model.lineage.get("snapshot"),
        "package_sha256": sha256_of_blob(model.artifact, platform),
        "evaluation_sha256": sha256_of_blob(model.beside("evaluation.json"), platform),
        "policy_sha256": evaluation.get("policy_sha256"),
    }


def _under(standing: Standing, platform: Platform, *, is_asked: bool) -> dict[str, Any]:
    """The plan a version is approved under, kept for good with its signatures."""
    text = platform.plans.text()
    if not is_asked or standing.plan is None or text is None:
        return {}
    folder = f"{PLANS}/{standing.sha256}"
    held = [each for each in standing.signatures if each.holds]
    kept = {each.signer: each for each in platform.plans.signatures() if each.plan_sha256 == standing.sha256}
    keys = {each.id: each.public_key for each in platform.plans.signers()}
    signatures = [
        {
            "signer": each.signer,
            "role": each.role,
            "at": each.at,
            "public_key": keys[each.signer],
            "signature": kept[each.signer].signature,
        }
        for each in held
    ]
    document = {"plan_sha256": standing.sha256, "signatures": signatures}
    platform.blobs.put(f"{folder}/pccp.yaml", text)
    platform.blobs.put(f"{folder}/pccp.signatures.json", json.dumps(document, indent=2, sort_keys=True).encode())
    return {"plan_sha256": standing.sha256, "signed_by": [{"role": each.role, "by": each.signer} for each in held]}


def sha256_of_blob(key: str, platform: Platform) -> str | None:
    """SHA-256 of a blob, read in parts; None where it is gone."""
    digest, place = hashlib.sha256(), 0
    try:
        while part := platform.blobs.get(key, Span(place, place + _CHUNK_BYTES)):
            digest.update(part)
            place += len(part)
    except NotFound:
        return None
    return digest.hexdigest()


def _evaluation(model: ModelVersion, platform: Platform) -> Mapping[str, Any] | None:
    """What stands in the evaluation beside the package; None where there is none."""
    try:
        found = json.loads(platform.blobs.get(model.beside("evaluation.json")))
    except (NotFound, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
