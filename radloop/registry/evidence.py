"""The evidence of a model version in one file that anybody can check, with a public key and nothing else.

It is an archive as `registry.archive` seals it. Checking it holds its files against each other, too: ledger, plan,
evaluation, data set and package tell of the same version or they do not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from radloop.core.errors import InvalidInput, InvalidPlan
from radloop.core.ports import PlanSignature, PlanSigner, Signer
from radloop.registry.archive import BROKEN, Check, Files, checked, opened, sealed, sha256, shown, written
from radloop.registry.ledger import Decided, Registered, check_chain, entry_of, moment_of
from radloop.registry.plan import standing_of

__all__ = ["Check", "Examined", "bundle", "examine", "written"]

FORMAT: Final = "radloop-evidence/1"

LEDGER: Final = "ledger.json"
SNAPSHOT: Final = "snapshot/manifest.jsonl"
EVALUATION: Final = "evaluation/evaluation.json"
POLICY: Final = "policy.json"
PLAN: Final = "plan/pccp.yaml"
PLAN_SIGNATURES: Final = "plan/pccp.signatures.json"
HASHES: Final = "model/hashes.json"
PACKAGE: Final = "model/model.tar.gz"


@dataclass(frozen=True, slots=True)
class Examined:
    """What became of an examination.

    Attributes:
        version: Of the model; None where that cannot be read.
        public_key: By which the manifest is signed; None where that cannot be read.
        is_trusted: Whether that is a key the examiner brought along, and not only the one in the file.
        absent: What the installation did not have any more, or never had.
    """

    version: int | None
    public_key: str | None
    is_trusted: bool
    checks: tuple[Check, ...]
    absent: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every check passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)


# Making it


def bundle(version: int, execution: str, files: Files, absent: Sequence[str], signer: Signer) -> bytes:
    """The evidence of a version; the same files and the same key give the same bytes.

    Args:
        version: Of the model.
        execution: That made it.
        files: Content by name, names with `/` between folders.
        absent: Names of what should be there and is not.
        signer: Vouches for it.
    """
    about = {"format": FORMAT, "version": version, "execution": execution, "absent": sorted(absent)}
    return sealed(about, files, signer)


# Checking it


def examine(data: bytes, public_key: str | None = None) -> Examined:
    """Look at every byte of a bundle, and at whether its files tell the same story.

    Args:
        data: The file.
        public_key: Of the installation, hexadecimal, known from elsewhere; None to use the one in the file, which shows
            that the file is whole and not who made it.
    """
    try:
        found = opened(data, FORMAT, public_key)
        version, execution = int(found.manifest["version"]), str(found.manifest["execution"])
        absent = tuple(str(name) for name in found.manifest["absent"])
    except (InvalidInput, ValueError, KeyError, TypeError):
        return Examined(None, None, is_trusted=False, checks=(BROKEN,), absent=())
    checks = list(found.checks)
    if all(check.passed for check in checks):
        checks += _story(found.files, version, execution)
    return Examined(version, found.public_key, is_trusted=public_key is not None, checks=tuple(checks), absent=absent)


def _story(files: Files, version: int, execution: str) -> list[Check]:
    """Whether the files tell of the same version."""
    try:
        documents: list[Mapping[str, Any]] = json.loads(files[LEDGER])["entries"]
        verdict = check_chain(documents)
        entries = [entry_of(document) for document in documents]
    except (ValueError, KeyError, TypeError):
        return [Check("ledger", passed=False, sentence="The ledger is not there, or not written as one.")]
    good = f"The {verdict.entries} entries of the ledger follow from each other."
    checks = [
        checked("ledger", verdict.broken_at is None, good, f"Entry {verdict.broken_at} of the ledger was changed.")
    ]
    registered = [each for each in entries if isinstance(each, Registered) and each.version == version]
    is_named = bool(registered) and registered[0].execution == execution
    checks.append(
        checked("version", is_named, f"The ledger tells of version {version}.", "The ledger tells of another version.")
    )
    if not is_named:
        return checks
    decided = next((each for each in entries if isinstance(each, Decided) and each.version == version), None)
    evidence = {} if decided is None else decided.evidence
    for look in (_snapshot, _evaluation, _reports, _policy, _package):
        checks += look(files, registered[0], evidence)
    return [*checks, *_plan(files, decided)]


def _snapshot(files: Files, registered: Registered, evidence: Mapping[str, Any]) -> list[Check]:
    if SNAPSHOT not in files:
        return []
    found = sha256(files[SNAPSHOT])
    holds = found == registered.lineage.get("snapshot") and evidence.get("snapshot") in {None, found}
    return [checked("data set", holds, "The data set is the one the version learned from.", "It is another data set.")]


def _evaluation(files: Files, registered: Registered, evidence: Mapping[str, Any]) -> list[Check]:
    if EVALUATION not in files:
        return []
    told = _json(files[EVALUATION])
    checks = []
    if evidence.get("evaluation_sha256"):
        holds = evidence["evaluation_sha256"] == sha256(files[EVALUATION])
        good = "The evaluation is the one that the decision rests on."
        checks.append(checked("evaluation", holds, good, "The evaluation was changed after the decision."))
    holds = told.get("dataset_sha256") in {None, registered.lineage.get("snapshot")}
    good = "The evaluation tells of the version's data set."
    return [*checks, checked("evaluated data", holds, good, "The evaluation tells of another data set.")]


def _reports(files: Files, _: Registered, __: Mapping[str, Any]) -> list[Check]:
    """Whether what lies beside the evaluation is what it left there."""
    listed = _json(files.get(EVALUATION, b"{}")).get("files")
    if not isinstance(listed, dict):
        return []
    folder = EVALUATION.rpartition("/")[0]
    wrong = [name for name, digest in listed.items() if _sha256_in(files, f"{folder}/{name}") not in {None, digest}]
    good = "Report, model card and predictions are those that the evaluation wrote."
    return [checked("report", not wrong, good, f"Changed after the evaluation: {', '.join(sorted(wrong))}.")]


def _sha256_in(files: Files, name: str) -> str | None:
    return sha256(files[name]) if name in files else None


def _policy(files: Files, _: Registered, __: Mapping[str, Any]) -> list[Check]:
    told = _json(files.get(EVALUATION, b"{}")).get("policy_sha256")
    if POLICY not in files or told is None:
        return []
    canonical = json.dumps(_json(files[POLICY]), sort_keys=True, separators=(",", ":")).encode()
    good = "The policy is the one that the gate applied."
    return [checked("policy", sha256(canonical) == told, good, "The gate applied another policy.")]


def _package(files: Files, _: Registered, evidence: Mapping[str, Any]) -> list[Check]:
    if HASHES not in files:
        return []
    told = _json(files[HASHES]).get("model.tar.gz")
    evaluated = _json(files.get(EVALUATION, b"{}")).get("model_sha256")
    there = sha256(files[PACKAGE]) if PACKAGE in files else told
    holds = {told} == {told, there, evaluated or told, evidence.get("package_sha256") or told}
    good = "The package is the one that was evaluated and decided on."
    return [checked("package", holds, good, "What was evaluated, decided on and packed is not the same package.")]


def _plan(files: Files, decided: Decided | None) -> list[Check]:
    """Whether the plan that the version was approved under is there, and was signed and valid then."""
    wanted = None if decided is None else decided.evidence.get("plan_sha256")
    if wanted is None or decided is None:
        return []
    if PLAN not in files or PLAN_SIGNATURES not in files:
        return [Check("plan", passed=False, sentence="The plan that the version was approved under is not there.")]
    is_same = sha256(files[PLAN]) == wanted
    checks = [
        checked("plan", is_same, "The plan is the one that the version was approved under.", "It is another plan.")
    ]
    try:
        given = _json(files[PLAN_SIGNATURES])["signatures"]
        signers = [PlanSigner(each["signer"], each["role"], each["public_key"]) for each in given]
        signatures = [
            PlanSignature(str(wanted), each["signer"], each["role"], each["signature"], each["at"]) for each in given
        ]
        standing = standing_of(files[PLAN], signers, signatures, moment_of(decided.at))
    except (KeyError, TypeError, ValueError, InvalidPlan):
        return [*checks, Check("plan signatures", passed=False, sentence="The plan's signatures cannot be read.")]
    keys = ", ".join(f"{each.role} {shown(each.public_key)}" for each in signers)
    good = f"When it was approved the plan was valid, and signed by {keys}."
    return [*checks, checked("plan signatures", standing.is_valid, good, standing.sentence)]


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
