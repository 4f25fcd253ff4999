"""Everything a model version rests on, gathered into the one file that leaves the house.

It holds pseudonyms and ids of ours, never a patient's data: the data set's manifest and facts, readers by opaque id,
the evaluation with its report, policy, plan and signatures, hashes of the package, the ledger as far as it tells of the
version, what the audit noted about it, and the software. The same state gives the same bytes.
"""

import hashlib
import io
import json
import platform as machine
import tarfile
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from radloop import __version__
from radloop.core.errors import NotFound, Unavailable
from radloop.core.platform import Platform
from radloop.core.ports import ModelVersion
from radloop.functions.model_registry import PLANS
from radloop.functions.snapshots import facts_key, manifest_key
from radloop.registry.evidence import (
    EVALUATION,
    HASHES,
    LEDGER,
    PACKAGE,
    PLAN,
    PLAN_SIGNATURES,
    POLICY,
    SNAPSHOT,
    bundle,
    written,
)

_BESIDE: Final = ("evaluation.json", "report.html", "model_card.md", "checklists.json", "predictions.json")
_SOFTWARE: Final = ("numpy", "onnxruntime", "pydicom", "torch", "onnx", "imagecodecs", "cryptography")
_NOTED: Final = frozenset(
    {"register", "hold", "approve", "approve.voice", "reject", "roll-back"}
)  # not who looked at it, which goes on
_SMALL_BYTES: Final = 1 << 20


def evidence_bundle(version: int, platform: Platform, *, with_package: bool = False) -> bytes:
    """The evidence of a version as one signed archive; see `radloop.registry.evidence`.

    Args:
        version: Of the model.
        platform: The ports.
        with_package: Put the model package itself in, and not its hashes alone.

    Raises:
        NotFound: There is no such version.
        Unavailable: This installation has no key to sign with.
    """
    if platform.signer is None:
        raise Unavailable("this installation has no key to sign evidence with")
    model = platform.models.get(version)
    gathered = _Gathered(platform)
    _data_set(model, gathered)
    for name in _BESIDE:
        gathered.take(f"evaluation/{name}", model.beside(name))
    _policy(gathered)
    _plan(model, gathered)
    _package(model, gathered, with_package=with_package)
    gathered.files[LEDGER] = written({"entries": _entries(version, platform)})
    gathered.files["audit.json"] = written(_audit(version, platform))
    gathered.files["version.json"] = written(_facts(model))
    gathered.files["software.json"] = written(_software())
    execution = str(model.lineage["execution"])
    return bundle(version, execution, gathered.files, gathered.absent, platform.signer)


class _Gathered:
    """Files by name, and the names of those that are not there."""

    def __init__(self, platform: Platform) -> None:
        self.files: dict[str, bytes] = {}
        self.absent: list[str] = []
        self._blobs = platform.blobs

    def take(self, name: str, key: str) -> bytes | None:
        """Put a blob in under a name, or note that it is gone."""
        try:
            self.files[name] = self._blobs.get(key)
        except NotFound:
            self.absent.append(name)
            return None
        return self.files[name]

    def blob(self, key: str) -> bytes | None:
        """A blob that is looked at and not put in."""
        try:
            return self._blobs.get(key)
        except NotFound:
            return None


def _data_set(model: ModelVersion, gathered: _Gathered) -> None:
    """The data set, who labelled it how well, and how it was dealt out."""
    snapshot = str(model.lineage.get("snapshot"))
    manifest = gathered.take(SNAPSHOT, manifest_key(snapshot))
    facts = gathered.take("snapshot/snapshot.json", facts_key(snapshot))
    told = _json(facts)
    gathered.files["readers.json"] = written({"readers": told.get("readers", {}), "policy": told.get("policy", {})})
    gathered.files["splits.json"] = written(_splits(manifest))


def _splits(manifest: bytes | None) -> dict[str, Any]:
    """Image sets and patients of each part, by label."""
    sets: Counter[str] = Counter()
    patients: dict[str, set[str]] = {}
    for line in (manifest or b"").splitlines():
        entry = _json(line)
        split, label = str(entry.get("split")), "present" if entry.get("label") == 1 else "absent"
        sets[f"{split}/{label}"] += 1
        patients.setdefault(split, set()).add(str(entry.get("patient")))
    shared = [
        len(patients[one] & patients[other]) for one in sorted(patients) for other in sorted(patients) if one < other
    ]
    return {
        "image_sets": dict(sorted(sets.items())),
        "patients": {split: len(found) for split, found in sorted(patients.items())},
        "patients_in_two_parts": sum(shared),
    }


def _policy(gathered: _Gathered) -> None:
    found = _json(gathered.files.get(EVALUATION)).get("policy")
    if isinstance(found, dict):
        gathered.files[POLICY] = written(found)
    else:
        gathered.absent.append(POLICY)


def _plan(model: ModelVersion, gathered: _Gathered) -> None:
    """The plan it was approved under; none for a version that people decided about."""
    plan = model.evidence.get("plan_sha256")
    if plan is None:
        return
    gathered.take(PLAN, f"{PLANS}/{plan}/pccp.yaml")
    gathered.take(PLAN_SIGNATURES, f"{PLANS}/{plan}/pccp.signatures.json")


def _package(model: ModelVersion, gathered: _Gathered, *, with_package: bool) -> None:
    """Hashes of the package and of each file in it; its small facts; the package itself where it is wished for."""
    data = gathered.blob(model.artifact)
    if data is None:
        gathered.absent.append(PACKAGE)
        return
    hashes: dict[str, Any] = {"model.tar.gz": hashlib.sha256(data).hexdigest(), "members": {}}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for member in archive:
                inside = archive.extractfile(member)
                if inside is None:
                    continue
                content = inside.read()
                hashes["members"][member.name] = hashlib.sha256(content).hexdigest()
                if member.name.endswith(".json") and len(content) <= _SMALL_BYTES:
                    gathered.files[f"model/{member.name.removeprefix('./')}"] = content
    except (tarfile.TarError, OSError, EOFError):
        gathered.absent.append("model/members")
    gathered.files[HASHES] = written(hashes)
    if with_package:
        gathered.files[PACKAGE] = data


def _entries(version: int, platform: Platform) -> list[Mapping[str, Any]]:
    """The ledger from its beginning to the last entry that tells of the version."""
    entries = platform.models.ledger()
    telling = [place for place, each in enumerate(entries) if version in {each.get("version"), each.get("to")}]
    return entries[: telling[-1] + 1]


def _audit(version: int, platform: Platform) -> dict[str, Any]:
    """What the audit noted of decisions about the version; `head` is to be found in the chain of the audit."""
    noted = platform.audit.entries(where={"subject": f"model-{version}"}, limit=1000)
    told = [each for each in noted if each.action in _NOTED]
    entries = [
        {name: getattr(each, name) for name in ("seq", "time", "principal", "action", "subject", "outcome", "hash")}
        for each in reversed(told)
    ]
    return {"entries": entries, "head": told[0].hash if told else None}


def _facts(model: ModelVersion) -> dict[str, Any]:
    return {
        "version": model.version,
        "status": model.status,
        "created_at": model.created_at,
        "decided_at": model.decided_at,
        "decided_by": model.decided_by,
        "reason": model.reason,
        "approvals": list(model.approvals),
        "held": [{"code": each.code, "sentence": each.sentence} for each in model.held],
        "rolled_back_at": model.rolled_back_at,
        "metrics": dict(model.metrics),
        "lineage": dict(model.lineage),
        "evidence": dict(model.evidence),
    }


def _software() -> dict[str, str]:
    """Versions of what makes the bundle; what trained the version stands in model/lineage.json."""
    found = {"radloop": __version__, "python": machine.python_version()}
    for name in _SOFTWARE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _json(data: bytes | None) -> Mapping[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
