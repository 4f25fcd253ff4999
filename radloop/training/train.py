"""The Training job: a ResNet-50 over bags of tiles, from planes to a model that can be served.

    python -m radloop.training.train

It reads `input/config/hyperparameters.json` and the channels `train`, `validation` and, where `pretrained` names a
file, `weights`; prints one JSON line an epoch; and writes `model/`. After every epoch the whole state goes to
`checkpoints/`. A job that is killed and started again goes on from there and ends with the same weights, on the same
kind of processor with the same number of threads and processes.

Where several processes or machines are to train together it becomes torchrun; see `radloop.training.distributed`.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from radloop import __version__
from radloop.core.errors import InvalidInput
from radloop.training.bags import Part, read_part
from radloop.training.calibration import choose_operating_point, fit_temperature, prior_log_odds, probabilities_of
from radloop.training.checkpoints import Checkpoints
from radloop.training.distributed import Team, become, is_under_torchrun, team, torchrun_command
from radloop.training.export import write_model
from radloop.training.folder import announce, read_json, run_job, sha256_of
from radloop.training.hyperparameters import NONE, Hyperparameters, parse_hyperparameters
from radloop.training.network import weights_sha256
from radloop.training.run import Run

_MODULE = "radloop.training.train"


def train(root: Path) -> None:
    """Train on the channels under `root` and write the model.

    Raises:
        InvalidInput: Hyperparameters, channels or weights cannot be used.
    """
    chosen = parse_hyperparameters(read_json(root / "input" / "config" / "hyperparameters.json"))
    command = torchrun_command(root, chosen.processes, _MODULE)
    if command is not None:
        become(command, root)
    with team() as crew:
        _train(root, chosen, crew)


def _train(root: Path, chosen: Hyperparameters, crew: Team) -> None:
    """One process's part of the training."""
    teach, tune = (_fit(read_part(root / "input" / "data" / name), chosen) for name in ("train", "validation"))
    if any(len(set(part.labels.tolist())) < 2 for part in (teach, tune)):  # noqa: PLR2004 — both classes
        raise InvalidInput("training and validation each need both classes")
    if chosen.threads:
        torch.set_num_threads(max(1, chosen.threads // crew.here))
    torch.use_deterministic_algorithms(True, warn_only=True)
    weights = None if chosen.pretrained == NONE else root / "input" / "data" / "weights" / Path(chosen.pretrained).name
    lineage = _lineage(chosen, teach, tune, weights)
    checkpoints = Checkpoints(root / "checkpoints", _fingerprint(lineage, chosen))
    run = Run(chosen, teach, tune, checkpoints, weights=weights, team=crew)
    run.go()
    run.use(crew.from_first(checkpoints.best() if crew.is_first else {}))
    judged = run.judge()
    if not crew.is_first:
        return
    model = run.served.cpu()
    prior = prior_log_odds((teach.targets, teach.weights), (tune.targets, tune.weights))
    temperature = fit_temperature(judged.logits, tune.targets, tune.weights, prior)
    shift = temperature * prior
    with torch.no_grad():
        model.encoder.fc.bias.add_(shift)
    sha256 = weights_sha256(model.state_dict())
    write_model(
        root / "model",
        model,
        spec=teach.spec,
        threshold=choose_operating_point(
            tune.labels, probabilities_of(judged.logits + shift, temperature), chosen.target_sensitivity
        ),
        temperature=temperature,
        lineage={
            **lineage,
            "best_epoch": run.progress.best_epoch,
            "epochs_run": run.progress.epoch,
            "processes": crew.size,
            "prior_log_odds": prior,
            "weights_sha256": sha256,
        },
        reference=judged.embeddings,
        part=tune,
    )
    announce("trained", epochs=run.progress.epoch, best_epoch=run.progress.best_epoch, weights_sha256=sha256)


def _fit(part: Part, chosen: Hyperparameters) -> Part:
    """The part with the tile counts the hyperparameters ask for.

    Raises:
        InvalidInput: It was preprocessed to another size.
    """
    if chosen.image_size not in (0, part.spec.size):
        raise InvalidInput(f"image_size is {chosen.image_size}, but the data were preprocessed to {part.spec.size}")
    spec = replace(
        part.spec,
        tiles_per_bag=chosen.tiles_per_bag or part.spec.tiles_per_bag,
        tiles_in_evaluation=chosen.tiles_in_evaluation or part.spec.tiles_in_evaluation,
    )
    return replace(part, spec=spec)


def _lineage(chosen: Hyperparameters, teach: Part, tune: Part, weights: Path | None) -> dict[str, Any]:
    """Everything the result depends on, as it goes into `lineage.json`.

    Raises:
        InvalidInput: The weights file is missing.
    """
    if weights is not None and not weights.is_file():
        raise InvalidInput("the file that hyperparameter pretrained names is not in the weights channel")
    return {
        "code": {"radloop": __version__, "sha256": code_sha256()},
        "torch": torch.__version__,
        "hyperparameters": chosen.to_json(),
        "dataset_sha256": teach.dataset_sha256,
        "train": {"manifest_sha256": teach.manifest_sha256, **_counts(teach)},
        "validation": {"manifest_sha256": tune.manifest_sha256, **_counts(tune)},
        "pretrained_sha256": sha256_of(weights) if weights is not None else None,
    }


def _counts(part: Part) -> dict[str, float]:
    positives = int(part.labels.sum())
    return {
        "patients": len(set(part.patients)),
        "image_sets": len(part.labels),
        "positives": positives,
        "negatives": len(part.labels) - positives,
        "weight": round(float(part.weights.sum()), 3),
        "effective_positives": round(float((part.weights * part.targets).sum()), 3),
    }


def code_sha256() -> str:
    """SHA-256 over the source of everything that shapes a model: this package and the tile transform."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in (*sorted(package.glob("*.py")), package.parent / "dicom" / "tiles.py"):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _fingerprint(lineage: Mapping[str, Any], chosen: Hyperparameters) -> str:
    """One hash of a lineage, without what changes nothing but speed."""
    matters = {**lineage, "hyperparameters": chosen.that_matter()}
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see the module."""
    argparse.ArgumentParser(prog=f"python -m {_MODULE}", description=train.__doc__).parse_known_args(
        arguments  # SageMaker starts a training container with the argument `train`
    )
    return run_job(train, clears=not is_under_torchrun() or os.environ["RANK"] == "0")


__all__ = ["Hyperparameters", "code_sha256", "main", "parse_hyperparameters", "train"]


if __name__ == "__main__":
    sys.exit(main())
