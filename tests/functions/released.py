"""Versions with everything beside them that a release looks at, and a home whose plan can be signed."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from radloop.core.events import Event, ModelEvaluationPassed
from radloop.core.identity import derived_id
from radloop.core.platform import Platform
from radloop.core.ports import ModelVersion, PlanSigner
from radloop.functions import model_registry
from radloop.functions.snapshots import facts_key, manifest_key
from radloop.local.plans import FilePlans
from radloop.registry.signatures import PrivateKey
from tests.functions.house import House
from tests.registry.plans import PLAN, SIGNERS, signed

RECIPE = {"epochs": "3", "image_size": "64", "threads": "2"}
POLICY = {"version": 1, "accuracy": {"least": 0.85}}
CANONICAL = json.dumps(POLICY, sort_keys=True, separators=(",", ":"))
POLICY_SHA256 = hashlib.sha256(CANONICAL.encode()).hexdigest()
REPORTS = {"report.html": b"<!doctype html><title>report</title>", "model_card.md": b"# Model card\n"}
PLAN_HERE = PLAN.replace("a" * 64, POLICY_SHA256)


def package_of(**files: bytes) -> bytes:
    """A model package with these files."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("_json", ".json").replace("_onnx", ".onnx"))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def line_of(patient: str, **changes: Any) -> dict[str, Any]:
    """A line of a manifest."""
    line = {
        "image_set": derived_id("image-set", patient),
        "version": 2,
        "patient": hashlib.sha256(patient.encode()).hexdigest()[:32],
        "split": "train",
        "label": 1,
        "modality": "CT",
        "source": "house",
        "reads": 1,
    }
    return line | changes


@dataclass
class Release:
    """A house with a plan, and the runs whose versions it is to release."""

    house: House
    root: Path
    platform: Platform
    plans: FilePlans

    @classmethod
    def build(cls, house: House, root: Path, **settings: Any) -> "Release":
        plans = FilePlans(root)
        platform = replace(
            house.platform,
            plans=plans,
            signer=PrivateKey(bytes(range(32))),
            settings=replace(house.platform.settings, **({"release": "plan"} | settings)),
        )
        return cls(house, root, platform, plans)

    def sign(self, text: str = PLAN_HERE, names: Sequence[str] = ("ann", "bob")) -> None:
        """A plan with the signatures of these."""
        self.plans.replace_text(text.encode())
        for signer in SIGNERS:
            self.plans.register(PlanSigner(signer.id, signer.role, signer.public_key))
        for signature in signed(text, *names):
            self.plans.add(signature)

    def run(
        self,
        name: str,
        *,
        patients: Sequence[str] = ("p1", "p2", "p3"),
        lines: Sequence[Mapping[str, Any]] | None = None,
        recipe: Mapping[str, str] = RECIPE,
        code: str = "0.1.0",
        evaluation: Mapping[str, Any] | None = None,
        onnx: bytes = b"weights",
    ) -> ModelVersion:
        """Register what a run made, with everything beside it."""
        execution = derived_id("execution", name)
        manifest = b"".join(json.dumps(each).encode() + b"\n" for each in lines or [line_of(one) for one in patients])
        snapshot = hashlib.sha256(manifest).hexdigest()
        blobs, folder = self.platform.blobs, f"model-artifacts/models/{execution}"
        blobs.put(manifest_key(snapshot), manifest)
        readers = {"readers": {"r1": {"sensitivity": 0.9, "specificity": 0.8, "reads": 3}}, "policy": {}}
        blobs.put(facts_key(snapshot), json.dumps(readers).encode())
        package = package_of(model_onnx=onnx, lineage_json=b'{"seed": 7}')
        blobs.put(f"{folder}/model.tar.gz", package)
        told = {
            "metrics": {"accuracy": {"value": 0.91, "ci_low": 0.88, "ci_high": 0.94}},
            "gate": {"approved": True, "rules": []},
            "guards": [{"name": "patient-overlap", "passed": True}],
            "policy": POLICY,
            "policy_sha256": POLICY_SHA256,
            "dataset_sha256": snapshot,
            "model_sha256": hashlib.sha256(package).hexdigest(),
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in REPORTS.items()},
        } | dict(evaluation or {})
        blobs.put(f"{folder}/evaluation.json", json.dumps(told).encode())
        for report, data in REPORTS.items():
            blobs.put(f"{folder}/{report}", data)
        parameters = {**recipe, "Snapshot": snapshot, "CodeVersion": code}
        self.house.engine.start(execution, parameters)
        self.house.engine.end(execution, evaluation=told)
        return self.platform.models.register(
            execution=execution,
            artifact=f"{folder}/model.tar.gz",
            metrics=told["metrics"],
            lineage={"snapshot": snapshot, "code_version": code, "hyperparameters": dict(recipe)},
        )

    def passed(self, model: ModelVersion) -> Event:
        """What tells that the gate let a version through."""
        happening = ModelEvaluationPassed(
            execution=str(model.lineage["execution"]), accuracy=0.91, threshold=0.85, recommendation="APPROVE"
        )
        return happening.told(at=self.house.clock())

    def release(self, model: ModelVersion) -> ModelVersion:
        """Let the function decide, and look at what became of the version."""
        model_registry.handle(self.passed(model), self.platform)
        return self.platform.models.get(model.version)

    def codes(self, model: ModelVersion) -> list[str]:
        """Why a version is held after the function has decided."""
        return [each.code for each in self.release(model).held]
