"""Homes for those candidates of `bench/gate.py` whose fault lies behind the gate: in the plan, the store, or a person.

Such a candidate goes through an installation: settings, a signed change control plan, jobs, events, records and ledger
of a home whose worker runs the pipeline's definition, registers what passed the gate, and releases it or does not. Only
pixels do not come out of the store: they are those of the films, handed to the engine where it asks for a volume.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from gate_films import Film, pixels_of

from radloop.change_plan import ROLES, write_plan
from radloop.core.contracts import contracts
from radloop.core.errors import RadloopError
from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry, Change, ModelVersion
from radloop.functions import model_registry, pipeline_trigger
from radloop.functions.snapshots import Snapshot, counts_of
from radloop.local.pipelines import LocalPipelines
from radloop.local.plans import FilePlans, read_private_key, sign_plan
from radloop.local.worker import Worker
from radloop.pipeline.pipeline_builder import WEIGHTS, definition
from radloop.registry.ledger import CHAMPION
from radloop.training.recipes import PRETRAINED_FILE
from radloop.wiring import now, open_local

STARTER: Final = "u-trainer"
"""Who starts every run by hand."""

FREE: Final = "u-approver"
"""Who has done nothing else."""

_AUTHOR: Final = "u-author"


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a version.

    Attributes:
        refused: Sentences by the code of what refused it; empty where it serves.
        evaluation: As the step Evaluate wrote it; empty where there is none.
    """

    refused: Mapping[str, str]
    evaluation: Mapping[str, Any]


def lay_out(root: Path, recipe: Mapping[str, str]) -> None:
    """A home with this recipe, and a plan for exactly that, signed by everybody who has to."""
    root.mkdir(parents=True)
    _set(root, recipe)
    write_plan(root, author=_AUTHOR)
    plans = FilePlans(root)
    text = plans.text() or b""
    for role in ROLES:
        signer = f"u-{role}-of-the-plan"
        key = read_private_key(plans.generate(signer, role))
        plans.add(sign_plan(text, key, signer=signer, role=role, at=now().isoformat(timespec="milliseconds")))


def run(root: Path, films: Sequence[Film], weights: Path) -> None:
    """Start the pipeline on these films and do its work, to the end of the run; nothing is released yet."""
    with _opened(root, films) as (platform, worker):
        platform.blobs.put(f"{WEIGHTS.removeprefix('s3://')}{PRETRAINED_FILE}", weights.read_bytes())
        start = pipeline_trigger._start  # noqa: SLF001 — what `start_now` does with the ground truth of a store
        execution = start(_snapshot(films), (), platform, trace="")
        platform.records.commit(Change(audit=[AuditEntry(STARTER, "execution.start", execution)]))
        worker.drain(("pipeline",))


def settle(root: Path, approver: str) -> Settled:
    """Deliver the events of the run, so that its version is released or held; then let `approver` have a say."""
    with _opened(root, ()) as (platform, worker):
        worker.drain(("events",))
        ended = platform.pipelines.executions(limit=1)[0]
        evaluation = ended.evaluation or {}
        model = platform.models.of_execution(ended.id)
        if model is None:
            rules = evaluation.get("gate", {}).get("rules", ())
            refused = {rule["name"]: rule["sentence"] for rule in rules if not rule["passed"]}
            return Settled(refused or {"broken": ended.state}, evaluation)
        return Settled(_asked(model, platform, approver) if approver else _left(model), evaluation)


def _asked(model: ModelVersion, platform: Platform, approver: str) -> dict[str, str]:
    """Why a person cannot put a version to work; nothing where they did."""
    by = Principal(approver, frozenset({"release-approver"}))
    try:
        decision = model_registry.decide(model.version, platform, approved=True, by=by, reason="evidence-reviewed")
    except RadloopError as error:
        return {error.code: str(error)}
    return _left(decision.model)


def _left(model: ModelVersion) -> dict[str, str]:
    """Why a version does not serve; nothing where it does."""
    if CHAMPION in model.aliases:
        return {}
    return {each.code: each.sentence for each in model.held} or {"waiting": f"It is {model.status}."}


@contextmanager
def _opened(root: Path, films: Sequence[Film]) -> Iterator[tuple[Platform, Worker]]:
    """The installation in a home, with an engine that takes pixels from the films."""
    pictures = {one.example.image_set: one for one in films}

    def materialise(line: Mapping[str, Any], folder: Path) -> None:
        path = folder / str(line["file"])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, pixels_of(pictures[str(line["image_set"])]))

    with open_local(root) as opened:
        given = opened.platform
        engine = LocalPipelines(
            records=given.records,
            blobs=given.blobs,
            clock=given.clock,
            scratch=opened.home.scratch,
            materialise=materialise,
            models=given.models,
            definition=definition(hyperparameters=given.recipe(), with_weights=True, defaults={"WeightsUri": WEIGHTS}),
        )
        platform = replace(given, pipelines=engine)
        yield platform, Worker(platform, opened.images, engine, opened.home.inbox)


def _snapshot(films: Sequence[Film]) -> Snapshot:
    examples = tuple(sorted((one.example for one in films), key=lambda each: each.image_set))
    manifest = b"".join(example.line() for example in examples)
    sha256 = hashlib.sha256(manifest).hexdigest()
    facts = {"format": 1, "manifest_sha256": sha256, "retired_patients": [], "counts": counts_of(examples)}
    return Snapshot(sha256, manifest, examples, facts)


def _set(root: Path, recipe: Mapping[str, str], release: str = "plan") -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in recipe.items()]
    text = "\n".join(["mlflow = false", f'release = "{release}"', "[training]", *lines])
    (root / "settings.toml").write_text(f"{text}\n")


# What is done to a home


def one_byte_of_the_policy(root: Path) -> None:
    """Thirty positives are enough from now on: one digit of the policy that the plan was signed for."""
    text = (contracts() / "policy.yaml").read_text()
    changed = text.replace("positives: 50", "positives: 30", 1)
    if changed == text:
        raise ValueError("the policy asks for another number of positives than 50")
    (root / "policy.yaml").write_text(changed)


def one_byte_of_the_plan(root: Path) -> None:
    """The plan asks for no new patients where ten were signed for."""
    plans = FilePlans(root)
    text = plans.text() or b""
    changed = text.replace(b"new_patients: 10", b"new_patients: 00", 1)
    if changed == text:
        raise ValueError("the plan asks for another number of new patients than 10")
    plans.replace_text(changed)


def another_recipe(root: Path) -> None:
    """Somebody lets it learn longer than the plan foresees."""
    path = root / "settings.toml"
    path.write_text(path.read_text().replace('epochs = "40"', 'epochs = "60"'))


def another_package(root: Path) -> None:
    """The package in the store is another than was evaluated: one byte of it."""
    with open_local(root) as opened:
        artifact = opened.platform.models.versions()[-1].artifact
        data = bytearray(opened.platform.blobs.get(artifact))
        data[len(data) // 2] ^= 1
        opened.platform.blobs.put(artifact, bytes(data))


def by_hand(root: Path) -> None:
    """Every version waits for a person."""
    path = root / "settings.toml"
    path.write_text(path.read_text().replace('release = "plan"', 'release = "manual"'))
