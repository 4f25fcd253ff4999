"""The Processing job that tests a model on patients it never saw, and says whether it may be registered.

    python -m radloop.evaluation.evaluate [--accuracy-threshold 0.85] [--threads 1]

It reads `processing/model/model.tar.gz`, the parts `processing/test/`, `train/` and `external/`, and
`processing/context/`: the policy, the champion and facts of the run. It writes `processing/evaluation/`:

    evaluation.json    every figure with its interval, and the gate with every rule
    report.html        the same for people, one file that needs no network
    model_card.md      the same on a page
    checklists.json    items of CLAIM, TRIPOD+AI and GMLP, answered or open
    predictions.json   what the model said of each test image set, for the comparison with its successor
    pictures/          the worst cases

What runs is the ONNX file that serving will run, at the operating point chosen on validation. Repeated, it writes the
same bytes: seeds are fixed and no time is in it.
"""

import argparse
import hashlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from radloop.core.errors import InvalidInput
from radloop.evaluation import baseline, policy
from radloop.evaluation.card import card_of
from radloop.evaluation.checklists import checklists_of
from radloop.evaluation.comparison import against_champion
from radloop.evaluation.controls import permutation_p, shuffled_heads
from radloop.evaluation.curves import curves_of
from radloop.evaluation.evidence import evidence_of, files_of
from radloop.evaluation.gate import decide
from radloop.evaluation.policy import Policy
from radloop.evaluation.report import report_of
from radloop.evaluation.subgroups import made_of, subgroups_of
from radloop.evaluation.worst import PICTURES, worst_cases
from radloop.training.bags import Part, read_part
from radloop.training.folder import announce, read_json, run_job, sha256_of, write_atomically, write_json
from radloop.training.metrics import Scored, difference, estimates
from radloop.training.package import Network, PackedModel, Seen, planes_fit, unpack

FORMAT: Final = 1
_MOST_TAUGHT: Final = 400  # image sets that heads on shuffled labels are taught on
_LEAST_TAUGHT: Final = 64
_FACTS: Final = ("newest_label_days", "behind_champion_days")
_NEWEST: Final = "newest_label_at"
_LINEAGE: Final = (
    "code",
    "torch",
    "hyperparameters",
    "dataset_sha256",
    "train",
    "validation",
    "pretrained_sha256",
    "best_epoch",
    "epochs_run",
    "weights_sha256",
)


@dataclass(frozen=True, slots=True)
class Tested:
    """A part that was handed over, and what the leakage guards said of it."""

    part: Part
    guards: tuple[Mapping[str, Any], ...]

    @property
    def items(self) -> tuple[Mapping[str, Any], ...]:
        """Of each bag, what the manifest says of it."""
        return self.part.items


def evaluate(root: Path, chosen: Policy, *, threads: int = 1, facts: Mapping[str, float | None] | None = None) -> None:
    """Test the model and write the evaluation.

    Args:
        root: Of the job's folders.
        chosen: The policy of the gate.
        threads: For ONNX Runtime.
        facts: `newest_label_days` and `behind_champion_days`, where they are known otherwise than by the context.

    Raises:
        InvalidInput: The model or a part cannot be used, or they were made for different tiles.
    """
    processing = root / "processing"
    out = processing / "evaluation"
    shutil.rmtree(out / PICTURES, ignore_errors=True)
    archive = processing / "model" / "model.tar.gz"
    model = unpack(archive)
    network = Network(model, threads=threads)
    test, train, external = (_tested(processing / name) for name in ("test", "train", "external"))
    if test is None or not test.items:
        raise InvalidInput("the test part is empty")
    if replace(test.part.spec, tiles_per_bag=1) != replace(model.spec, tiles_per_bag=1):
        raise InvalidInput("the test part was preprocessed for other tiles than the model was trained on")
    announce("evaluating", image_sets=len(test.items))
    seen = network.see(test.part)
    scored = _scored(model, seen, test.part)
    context = processing / "context"
    evaluation: dict[str, Any] = {
        "format": FORMAT,
        "metrics": estimates(scored, model.threshold),
        "confusion_matrix": scored.confusion(model.threshold),
        **curves_of(scored),
        "test": scored.counts(),
        "brier_of_prevalence": float(scored.labels.mean() * (1 - scored.labels.mean())),
        "threshold": model.threshold,
        "operating_point": {
            "threshold": model.threshold,
            "temperature": model.temperature,
            "chosen_on": model.operating.get("chosen_on", "validation"),
            "target": model.operating.get("target"),
        },
        "subgroups": subgroups_of(scored, test.items, model.threshold, chosen.subgroups),
        "baseline": None if train is None else _against_baseline(train.part, test.part, scored),
        "shuffled": _controls(network, train, seen, scored),
        "champion": against_champion(context, test.part, scored, threads=threads),
        "external": None if external is None else _external(network, model, external),
        "guards": _guards(train, test, external),
        "freshness": _freshness(context, facts or {}),
        "evidence": evidence_of(model, test.part, None if train is None else train.part),
        "parts": {
            name: made_of(one.items)
            for name, one in (("train", train), ("test", test), ("external", external))
            if one is not None and one.items
        },
        "lineage": {name: model.lineage[name] for name in _LINEAGE if name in model.lineage},
        "tile_spec": model.spec.to_json(),
        "model_sha256": sha256_of(archive),
        "test_manifest_sha256": test.part.manifest_sha256,
        "dataset_sha256": test.part.dataset_sha256,
        "policy": chosen.to_json(),
        "policy_sha256": chosen.sha256,
    }
    decision = decide(evaluation, chosen)
    evaluation["worst"] = worst_cases(network, test.part, scored, model.threshold, out)
    evaluation["gate"] = decision.to_json()
    write_json(out / "predictions.json", _predictions(test.items, scored))
    _write_for_people(out, evaluation)
    kept = {"predictions.json", "report.html", "model_card.md", "checklists.json"}
    files = {name: hashed for name, hashed in files_of(out).items() if name in kept or name.startswith(PICTURES)}
    write_json(out / "evaluation.json", evaluation | {"files": files})
    announce("evaluated", approved=decision.approved, accuracy=evaluation["metrics"]["accuracy"]["value"])


def _tested(folder: Path) -> Tested | None:
    """A part with the lines of its manifest; None where it was not handed over."""
    if not (folder / "manifest.json").is_file():
        return None
    manifest = read_json(folder / "manifest.json")
    return Tested(read_part(folder), tuple(manifest.get("guards", ())))


def _scored(model: PackedModel, seen: Seen, part: Part) -> Scored:
    return Scored(part.labels.astype(np.int64), model.probabilities(seen.logits), part.patients)


def _against_baseline(train: Part, test: Part, scored: Scored) -> dict[str, Any] | None:
    """The trivial baseline, taught on the training part; None where that lacks a class."""
    labels = train.labels.astype(np.int64)
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 — both classes
        return None
    odds = baseline.fit(baseline.statistics_of(train), labels).scores(baseline.statistics_of(test))
    plain = Scored(scored.labels, 1 / (1 + np.exp(-odds)), scored.patients)
    found = estimates(plain, float(labels.mean()))
    return {"roc_auc": found["roc_auc"], "accuracy": found["accuracy"], "delta": difference(scored, plain.scores)}


def _controls(network: Network, train: Tested | None, seen: Seen, scored: Scored) -> dict[str, Any]:
    """Both controls on shuffled labels; what the package or the parts do not allow is None."""
    found: dict[str, Any] = {"mean_auc": None, "p_value": permutation_p(scored)}
    if train is None or not seen.embeddings.shape[1]:
        return found
    chosen = _sample(train, len(scored.labels))
    labels = train.part.labels[chosen].astype(np.int64)
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 — both classes
        return found
    taught = network.see(train.part, chosen).embeddings
    return found | shuffled_heads(taught, labels, seen.embeddings, scored)


def _sample(train: Tested, as_many: int) -> list[int]:
    """Image sets of the training part that heads are taught on: as many as are tested, within 64 and 400.

    Which ones follows from a hash of their ids, so that it is chance and yet always the same.
    """
    count = min(max(as_many, _LEAST_TAUGHT), _MOST_TAUGHT, len(train.items))
    keys = [hashlib.sha256(str(item["image_set"]).encode()).digest() for item in train.items]
    return sorted(sorted(range(len(keys)), key=keys.__getitem__)[:count])


def _external(network: Network, model: PackedModel, external: Tested) -> dict[str, Any] | None:
    """Figures on the external part, at the same operating point; None where it is empty."""
    if not external.items:
        return None
    why_not = planes_fit(external.part, model.spec)
    if why_not is not None:
        raise InvalidInput(f"the external part does not fit the model, which {why_not}")
    scored = _scored(model, network.see(external.part), external.part)
    return {
        "metrics": estimates(scored, model.threshold),
        "confusion_matrix": scored.confusion(model.threshold),
        "test": scored.counts(),
        "manifest_sha256": external.part.manifest_sha256,
    }


def _guards(*parts: Tested | None) -> list[dict[str, Any]]:
    """What the leakage guards said when the parts were made, each once."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for guard in part.guards if part is not None else ():
            found.setdefault(f"{guard.get('name')}|{guard.get('sentence')}", dict(guard))
    return list(found.values())


def _freshness(context: Path, given: Mapping[str, float | None]) -> dict[str, float | str | None]:
    told = read_json(context / "facts.json") if (context / "facts.json").is_file() else {}
    ages = {name: told.get(name) if given.get(name) is None else given[name] for name in _FACTS}
    return {**ages, **({_NEWEST: told[_NEWEST]} if _NEWEST in told else {})}


def _predictions(items: Sequence[Mapping[str, Any]], scored: Scored) -> list[dict[str, Any]]:
    return [
        {
            "image_set": str(item["image_set"]),
            "version": int(item["version"]),
            "label": int(label),
            "probability": float(probability),
        }
        for item, label, probability in zip(items, scored.labels, scored.scores, strict=True)
    ]


def _write_for_people(out: Path, evaluation: Mapping[str, Any]) -> None:
    checklists = checklists_of(evaluation)
    pictures = {case["picture"]: (out / case["picture"]).read_bytes() for case in evaluation["worst"]}
    write_json(out / "checklists.json", checklists)
    for name, text in (
        ("model_card.md", card_of(evaluation, checklists)),
        ("report.html", report_of(evaluation, checklists, pictures)),
    ):
        write_atomically(out / name, lambda beside, text=text: beside.write_text(text, encoding="utf-8"))  # type: ignore[misc]


def policy_of(root: Path, accuracy_threshold: float | None) -> Policy:
    """The policy that came with the execution, else the default; the threshold replaces its floor for accuracy.

    Raises:
        InvalidInput: It is no policy.
    """
    path = root / "processing" / "context" / "policy.json"
    found = policy.load(path.read_text(encoding="utf-8")) if path.is_file() else policy.default()
    return found if accuracy_threshold is None else found.with_accuracy(accuracy_threshold)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see the module."""
    parser = argparse.ArgumentParser(prog="python -m radloop.evaluation.evaluate", description=evaluate.__doc__)
    parser.add_argument("--accuracy-threshold", type=float)
    parser.add_argument("--newest-label-days", type=float)
    parser.add_argument("--behind-champion-days", type=float)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    facts = {name: getattr(chosen, name) for name in _FACTS}
    return run_job(
        lambda root: evaluate(root, policy_of(root, chosen.accuracy_threshold), threads=chosen.threads, facts=facts)
    )


if __name__ == "__main__":
    sys.exit(main())
