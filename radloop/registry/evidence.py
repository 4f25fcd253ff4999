"""The evidence of a model version in one file that anybody can check, with a public key and nothing else.

A zip archive whose bytes follow from its contents: files stored and not packed, without dates, sorted behind
`manifest.json`, which tells the SHA-256 of each, and `manifest.sig`, the installation's Ed25519 signature over the
bytes of the manifest. Checking it makes the archive anew and compares, so that not one byte can differ unseen, also
none between the files. Then it holds the files against each other: ledger, plan, evaluation, data set and package tell
of the same version or they do not.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from radloop.core.errors import InvalidInput, InvalidPlan
from radloop.core.ports import PlanSignature, PlanSigner, Signer
from radloop.registry.ledger import Decided, Registered, check_chain, entry_of, moment_of
from radloop.registry.plan import standing_of
from radloop.registry.signatures import fingerprint, is_signed

FORMAT: Final = "radloop-evidence/1"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"

LEDGER: Final = "ledger.json"
SNAPSHOT: Final = "snapshot/manifest.jsonl"
EVALUATION: Final = "evaluation/evaluation.json"
POLICY: Final = "policy.json"
PLAN: Final = "plan/pccp.yaml"
PLAN_SIGNATURES: Final = "plan/pccp.signatures.json"
HASHES: Final = "model/hashes.json"
PACKAGE: Final = "model/model.tar.gz"

_DATE: Final = (1980, 1, 1, 0, 0, 0)
_Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was found."""

    name: str
    passed: bool
    sentence: str


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


def bundle(version: int, execution: str, files: _Files, absent: Sequence[str], signer: Signer) -> bytes:
    """The evidence of a version; the same files and the same key give the same bytes.

    Args:
        version: Of the model.
        execution: That made it.
        files: Content by name, names with `/` between folders.
        absent: Names of what should be there and is not.
        signer: Vouches for it.
    """
    manifest = {
        "format": FORMAT,
        "version": version,
        "execution": execution,
        "public_key": signer.public_key,
        "absent": sorted(absent),
        "files": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in sorted(files.items())},
    }
    told = written(manifest)
    return _archive({MANIFEST: told, SIGNATURE: signer.sign(told).hex().encode(), **files})


def written(document: Any) -> bytes:
    """A document as it stands in a bundle: JSON for people, always the same for the same content."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def _archive(files: _Files) -> bytes:
    order = [MANIFEST, SIGNATURE, *sorted(files.keys() - {MANIFEST, SIGNATURE})]
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in order:
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system = 3  # that of who makes it would differ
            member.external_attr = 0o644 << 16
            archive.writestr(member, files[name])
    return sink.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Checking it


def examine(data: bytes, public_key: str | None = None) -> Examined:
    """Look at every byte of a bundle, and at whether its files tell the same story.

    Args:
        data: The file.
        public_key: Of the installation, hexadecimal, known from elsewhere; None to use the one in the file, which shows
            that the file is whole and not who made it.
    """
    try:
        files = _unpacked(data)
        manifest = json.loads(files[MANIFEST])
        named = str(manifest["public_key"])
        version = int(manifest["version"])
        listed: Mapping[str, Any] = dict(manifest["files"])
        absent = tuple(str(name) for name in manifest["absent"])
        is_known = manifest["format"] == FORMAT
    except (InvalidInput, ValueError, KeyError, TypeError):
        broken = Check("archive", passed=False, sentence="The file is not a bundle of evidence, or it is damaged.")
        return Examined(None, None, is_trusted=False, checks=(broken,), absent=())
    key = named if public_key is None else public_key
    checks = [
        _told("archive", _archive(files) == data, "The archive is made of its files and nothing else.",
              "The archive holds bytes that belong to none of its files."),
        _told("format", is_known, f"The format is {FORMAT}.", f"The format is not {FORMAT}."),
        _signature(files, key, named),
        _contents(files, listed),
    ]  # fmt: skip
    if all(check.passed for check in checks):
        checks += _story(files, version, str(manifest["execution"]))
    return Examined(version, named, is_trusted=public_key is not None, checks=tuple(checks), absent=absent)


def _unpacked(data: bytes) -> dict[str, bytes]:
    """The files of an archive that holds each once, unpacked.

    Raises:
        InvalidInput: It is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            is_plain = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            if not is_plain or len({member.filename for member in members}) != len(members):
                raise InvalidInput("the archive is packed, or holds a name twice")
            return {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise InvalidInput("this is no archive, or it is damaged") from None


def _signature(files: _Files, key: str, named: str) -> Check:
    if key != named:
        told = f"The file is signed by {_shown(named)}, and you trust {_shown(key)}."
        return Check("signature", passed=False, sentence=told)
    holds = is_signed(key, files[MANIFEST], files.get(SIGNATURE, b"").decode("ascii", "replace"))
    good = f"The manifest is signed by the key {_shown(key)}."
    return _told("signature", holds, good, "The signature of the manifest does not hold.")


def _shown(key: str) -> str:
    try:
        return fingerprint(key)
    except ValueError:
        return "a key that is none"


def _contents(files: _Files, listed: Mapping[str, Any]) -> Check:
    """Whether the files are those of the manifest, each as it was."""
    there = files.keys() - {MANIFEST, SIGNATURE}
    wrong = sorted(
        name
        for name in there | listed.keys()
        if name not in files or name not in listed or _sha256(files[name]) != _field(listed[name], "sha256")
    )
    good = f"All {len(there)} files are as the manifest tells."
    return _told("files", not wrong, good, f"Not as the manifest tells: {', '.join(wrong)}.")


def _story(files: _Files, version: int, execution: str) -> list[Check]:
    """Whether the files tell of the same version."""
    try:
        documents: list[Mapping[str, Any]] = json.loads(files[LEDGER])["entries"]
        verdict = check_chain(documents)
        entries = [entry_of(document) for document in documents]
    except (ValueError, KeyError, TypeError):
        return [Check("ledger", passed=False, sentence="The ledger is not there, or not written as one.")]
    good = f"The {verdict.entries} entries of the ledger follow from each other."
    checks = [_told("ledger", verdict.broken_at is None, good, f"Entry {verdict.broken_at} of the ledger was changed.")]
    registered = [each for each in entries if isinstance(each, Registered) and each.version == version]
    is_named = bool(registered) and registered[0].execution == execution
    checks.append(
        _told("version", is_named, f"The ledger tells of version {version}.", "The ledger tells of another version.")
    )
    if not is_named:
        return checks
    decided = next((each for each in entries if isinstance(each, Decided) and each.version == version), None)
    evidence = {} if decided is None else decided.evidence
    for look in (_snapshot, _evaluation, _reports, _policy, _package):
        checks += look(files, registered[0], evidence)
    return [*checks, *_plan(files, decided)]


def _snapshot(files: _Files, registered: Registered, evidence: Mapping[str, Any]) -> list[Check]:
    if SNAPSHOT not in files:
        return []
    found = _sha256(files[SNAPSHOT])
    holds = found == registered.lineage.get("snapshot") and evidence.get("snapshot") in {None, found}
    return [_told("data set", holds, "The data set is the one the version learned from.", "It is another data set.")]


def _evaluation(files: _Files, registered: Registered, evidence: Mapping[str, Any]) -> list[Check]:
    if EVALUATION not in files:
        return []
    told = _json(files[EVALUATION])
    checks = []
    if evidence.get("evaluation_sha256"):
        holds = evidence["evaluation_sha256"] == _sha256(files[EVALUATION])
        good = "The evaluation is the one that the decision rests on."
        checks.append(_told("evaluation", holds, good, "The evaluation was changed after the decision."))
    holds = told.get("dataset_sha256") in {None, registered.lineage.get("snapshot")}
    good = "The evaluation tells of the version's data set."
    return [*checks, _told("evaluated data", holds, good, "The evaluation tells of another data set.")]


def _reports(files: _Files, _: Registered, __: Mapping[str, Any]) -> list[Check]:
    """Whether what lies beside the evaluation is what it left there."""
    listed = _json(files.get(EVALUATION, b"{}")).get("files")
    if not isinstance(listed, dict):
        return []
    folder = EVALUATION.rpartition("/")[0]
    wrong = [name for name, digest in listed.items() if _sha256_in(files, f"{folder}/{name}") not in {None, digest}]
    good = "Report, model card and predictions are those that the evaluation wrote."
    return [_told("report", not wrong, good, f"Changed after the evaluation: {', '.join(sorted(wrong))}.")]


def _sha256_in(files: _Files, name: str) -> str | None:
    return _sha256(files[name]) if name in files else None


def _policy(files: _Files, _: Registered, __: Mapping[str, Any]) -> list[Check]:
    told = _json(files.get(EVALUATION, b"{}")).get("policy_sha256")
    if POLICY not in files or told is None:
        return []
    canonical = json.dumps(_json(files[POLICY]), sort_keys=True, separators=(",", ":")).encode()
    good = "The policy is the one that the gate applied."
    return [_told("policy", _sha256(canonical) == told, good, "The gate applied another policy.")]


def _package(files: _Files, _: Registered, evidence: Mapping[str, Any]) -> list[Check]:
    if HASHES not in files:
        return []
    told = _json(files[HASHES]).get("model.tar.gz")
    evaluated = _json(files.get(EVALUATION, b"{}")).get("model_sha256")
    there = _sha256(files[PACKAGE]) if PACKAGE in files else told
    holds = {told} == {told, there, evaluated or told, evidence.get("package_sha256") or told}
    good = "The package is the one that was evaluated and decided on."
    return [_told("package", holds, good, "What was evaluated, decided on and packed is not the same package.")]


def _plan(files: _Files, decided: Decided | None) -> list[Check]:
    """Whether the plan that the version was approved under is there, and was signed and valid then."""
    wanted = None if decided is None else decided.evidence.get("plan_sha256")
    if wanted is None or decided is None:
        return []
    if PLAN not in files or PLAN_SIGNATURES not in files:
        return [Check("plan", passed=False, sentence="The plan that the version was approved under is not there.")]
    is_same = _sha256(files[PLAN]) == wanted
    checks = [_told("plan", is_same, "The plan is the one that the version was approved under.", "It is another plan.")]
    try:
        given = _json(files[PLAN_SIGNATURES])["signatures"]
        signers = [PlanSigner(each["signer"], each["role"], each["public_key"]) for each in given]
        signatures = [
            PlanSignature(str(wanted), each["signer"], each["role"], each["signature"], each["at"]) for each in given
        ]
        standing = standing_of(files[PLAN], signers, signatures, moment_of(decided.at))
    except (KeyError, TypeError, ValueError, InvalidPlan):
        return [*checks, Check("plan signatures", passed=False, sentence="The plan's signatures cannot be read.")]
    keys = ", ".join(f"{each.role} {_shown(each.public_key)}" for each in signers)
    good = f"When it was approved the plan was valid, and signed by {keys}."
    return [*checks, _told("plan signatures", standing.is_valid, good, standing.sentence)]


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _told(name: str, passed: bool, good: str, bad: str) -> Check:
    return Check(name, passed=passed, sentence=good if passed else bad)
