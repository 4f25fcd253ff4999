"""The Training job: a ResNet-50 over bags of tiles, from planes to a model that can be served.

    python -m radloop.training.train

It reads `input/config/hyperparameters.json` and the channels `train`, `validation` and, where `pretrained` names a
file, `weights`; prints one JSON line an epoch; and writes `model/`. After every epoch the whole state goes to
`checkpoints/`. A job that is killed and started again goes on from there and ends with the same weights, on the same
kind of processor with the same number of threads.
"""

import argparse
import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from radloop import __version__
from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import CT, Bag
from radloop.training.bags import Part, alike, read_part
from radloop.training.export import choose_threshold, write_model
from radloop.training.folder import announce, read_json, run_job, sha256_of, write_atomically
from radloop.training.network import BagClassifier, load_pretrained

_WARM_UP: Final = 0.1  # of all steps
_MOST_TILES: Final = 256  # in one forward pass of evaluation


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a training may be told; SageMaker hands every value over as a string.

    Attributes:
        epochs: At most so many.
        patience: Stop after so many epochs without a lower validation loss.
        batch_size: Studies in one step of the optimiser, at least.
        batch_tiles: Tiles in one step, at least: studies of one tile come in greater batches.
        tiles_at_once: Most tiles in one forward pass; a batch with more is taken in parts. Bounds the memory.
        learning_rate: Of Adam, at its peak: it rises over the first tenth of the steps and falls along a cosine.
        weight_decay: Of Adam (L2).
        image_size: Side of a tile; 0 takes what preprocessing made. A difference is refused.
        tiles_per_bag: Tiles a study in one step; 0 takes what preprocessing was told.
        augmentation: Strength of the variation, 0 to switch it off.
        passes: How often an epoch visits every study, each time with other tiles.
        seed: Of the weights, the order and the variation.
        threads: For torch; 0 leaves its choice.
        tiles_in_evaluation: As `tiles_per_bag`, for the most tiles a study shows in validation.
        pretrained: File in `input/data/weights/`, or `none`.
    """

    epochs: int = 50
    patience: int = 5
    batch_size: int = 32
    batch_tiles: int = 1
    tiles_at_once: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    image_size: int = 0
    tiles_per_bag: int = 0
    tiles_in_evaluation: int = 0
    augmentation: float = 1.0
    passes: int = 1
    seed: int = 7
    threads: int = 0
    pretrained: str = "none"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come.

    Attributes:
        epoch: Finished epochs.
        best_epoch: The one with the lowest validation loss, 0 before the first.
        history: One entry an epoch: `train_loss`, `validation_loss`.
    """

    epoch: int = 0
    best_epoch: int = 0
    history: tuple[tuple[float, float], ...] = ()

    def after(self, train_loss: float, validation_loss: float) -> "Progress":
        """The progress one epoch on."""
        epoch = self.epoch + 1
        best = min((loss for _, loss in self.history), default=math.inf)
        return Progress(
            epoch, epoch if validation_loss < best else self.best_epoch, (*self.history, (train_loss, validation_loss))
        )

    def is_over(self, chosen: Hyperparameters) -> bool:
        """Every epoch is done, or the patience is at its end."""
        return self.epoch >= chosen.epochs or self.epoch - self.best_epoch >= chosen.patience


def parse_hyperparameters(values: Mapping[str, Any]) -> Hyperparameters:
    """Hyperparameters from strings; `sagemaker_*` and empty ones are passed over.

    Raises:
        InvalidInput: One is unknown, not a number where one is due, or below its least value.
    """
    kinds = {name: type(value) for name, value in asdict(Hyperparameters()).items()}
    wanted: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith("sagemaker_") or str(value) == "":
            continue
        if name not in kinds:
            raise InvalidInput(f"there is no hyperparameter {name}")
        try:
            wanted[name] = kinds[name](value)
        except (TypeError, ValueError):
            raise InvalidInput(f"hyperparameter {name} is not a number") from None
    chosen = Hyperparameters(**wanted)
    counts = ("epochs", "patience", "batch_size", "batch_tiles", "tiles_at_once", "passes")
    if any(getattr(chosen, name) < 1 for name in counts):
        raise InvalidInput(f"{', '.join(counts)} are at least 1")
    if not 0 < chosen.learning_rate < math.inf or min(chosen.weight_decay, chosen.augmentation) < 0:
        raise InvalidInput("learning_rate is above 0, weight_decay and augmentation are not below it")
    return chosen


def train(root: Path) -> None:
    """Train on the channels under `root` and write the model.

    Raises:
        InvalidInput: Hyperparameters, channels or weights cannot be used.
    """
    chosen = parse_hyperparameters(read_json(root / "input" / "config" / "hyperparameters.json"))
    teach, tune = (_fit(read_part(root / "input" / "data" / name), chosen) for name in ("train", "validation"))
    if len(set(teach.labels.tolist())) < 2 or len(set(tune.labels.tolist())) < 2:  # noqa: PLR2004 — both classes
        raise InvalidInput("training and validation each need both classes")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    weights = (
        None if chosen.pretrained == "none" else root / "input" / "data" / "weights" / Path(chosen.pretrained).name
    )
    lineage = _lineage(chosen, teach, tune, weights)
    run = Run(chosen, teach, tune, Checkpoints(root / "checkpoints", _fingerprint(lineage)), weights)
    run.go()
    run.model.load_state_dict(run.checkpoints.best())
    logits, embeddings, _ = evaluate_part(run.model, tune, run.device)
    write_model(
        root / "model",
        run.model.cpu(),
        spec=teach.spec,
        threshold=choose_threshold(tune.labels, 1 / (1 + np.exp(-logits.astype(np.float64)))),
        lineage={**lineage, "best_epoch": run.progress.best_epoch, "epochs_run": run.progress.epoch},
        reference=embeddings,
    )
    announce("trained", epochs=run.progress.epoch, best_epoch=run.progress.best_epoch)


class Checkpoints:
    """The state of a training on disk: the last epoch whole, and the best weights so far.

    The best weights are written first. A kill between the two files leaves best weights of an epoch that the older
    checkpoint does not know; the epoch is then trained again, with the same result, and the file written again.

    Args:
        folder: Where the files lie.
        fingerprint: Of everything the result depends on; a checkpoint of something else is not used.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._last, self._best = folder / "last.pt", folder / "best.pt"
        self._fingerprint = fingerprint

    def save(self, run: "Run") -> None:
        """Write the state after an epoch."""
        if run.progress.best_epoch == run.progress.epoch:
            weights = run.model.state_dict()
            write_atomically(self._best, lambda beside: torch.save(weights, beside))
        state = {
            "fingerprint": self._fingerprint,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "progress": asdict(run.progress),
        }
        write_atomically(self._last, lambda beside: torch.save(state, beside))

    def restore(self, run: "Run") -> None:
        """Bring a run to where an earlier one of the same kind stopped, if there was one."""
        if not self._last.is_file() or not self._best.is_file():
            return
        state = torch.load(self._last, map_location=run.device, weights_only=True)
        if state["fingerprint"] != self._fingerprint:
            announce("checkpoint_ignored", reason="it belongs to other data, code or hyperparameters")
            return
        run.model.load_state_dict(state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())
        done = state["progress"]
        run.progress = Progress(done["epoch"], done["best_epoch"], tuple((a, b) for a, b in done["history"]))
        announce("resumed", epoch=run.progress.epoch)

    def best(self) -> dict[str, Any]:
        """The weights with the lowest validation loss."""
        state: dict[str, Any] = torch.load(self._best, map_location="cpu", weights_only=True)
        return state


class Run:
    """One training from its first or latest epoch to its end.

    What an epoch does follows from the seed, its number and the weights alone, which is why going on from a
    checkpoint gives what an uninterrupted run gives.
    """

    def __init__(
        self, chosen: Hyperparameters, teach: Part, tune: Part, checkpoints: Checkpoints, weights: Path | None
    ) -> None:
        self.chosen, self.teach, self.tune, self.checkpoints = chosen, teach, tune, checkpoints
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(chosen.seed)
        model = BagClassifier()
        if weights is not None:
            load_pretrained(model, weights)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(model.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay)
        self.progress = Progress()

    def go(self) -> None:
        """Train until it is over, saving after every epoch."""
        self.checkpoints.restore(self)
        while not self.progress.is_over(self.chosen):
            start = time.monotonic()
            train_loss = self._epoch(self.progress.epoch)
            _, _, validation_loss = evaluate_part(self.model, self.tune, self.device)
            self.progress = self.progress.after(train_loss, validation_loss)
            self.checkpoints.save(self)
            announce(
                "epoch",
                epoch=self.progress.epoch,
                epochs=self.chosen.epochs,
                train_loss=round(train_loss, 5),
                validation_loss=round(validation_loss, 5),
                seconds=round(time.monotonic() - start, 2),
            )

    def _epoch(self, epoch: int) -> float:
        """One walk over the training part; the mean loss."""
        rng = np.random.default_rng([self.chosen.seed, epoch])
        batches = list(self._batches(rng))
        self.model.train()
        total = 0.0
        for step, members in enumerate(batches):
            at = (epoch * len(batches) + step) / (self.chosen.epochs * len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = self.chosen.learning_rate * schedule(at)
            total += self._step(members, rng)
        return total / len(batches)

    def _batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Bags of each step, all about equally many, so that no step rests on one or two."""
        order = np.concatenate([rng.permutation(len(self.teach.labels)) for _ in range(self.chosen.passes)])
        tiles = sum(self._tiles(at) for at in order.tolist())
        steps = min(len(order) / self.chosen.batch_size, tiles / self.chosen.batch_tiles)
        for part in np.array_split(order, max(1, round(steps))):
            yield part.tolist()

    def _tiles(self, at: int) -> int:
        """Tiles that bag number `at` gives in one step."""
        return self.teach.spec.tiles_per_bag if self.teach.modalities[at] == CT else 1

    def _portions(self, members: Sequence[int]) -> Iterator[list[int]]:
        """A batch in portions that fit into memory and are one array each: as many tiles in every bag."""
        for tiles in sorted({self._tiles(at) for at in members}):
            alike_members = [at for at in members if self._tiles(at) == tiles]
            count = math.ceil(len(alike_members) * tiles / self.chosen.tiles_at_once)
            for part in np.array_split(np.asarray(alike_members), min(count, len(alike_members))):
                yield part.tolist()

    def _step(self, members: Sequence[int], rng: np.random.Generator) -> float:
        """One step of the optimiser; the loss of its batch."""
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum = 0.0
        for some in self._portions(members):
            tiles = np.stack([self.teach.varied_bag(at, rng, self.chosen.augmentation) for at in some])
            logits, _ = self.model(_tensor(tiles, self.device))
            loss = balanced_loss(logits, self.teach.labels[some], self.teach.labels) * (len(some) / len(members))
            loss.backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach())
        self.optimizer.step()
        return loss_sum


def schedule(at: float) -> float:
    """The learning rate as a part of its peak, at a part of the whole training in 0..1."""
    if at < _WARM_UP:
        return 0.1 + 0.9 * at / _WARM_UP
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (at - _WARM_UP) / (1 - _WARM_UP)))


def balanced_loss(
    logits: torch.Tensor, labels: npt.NDArray[np.float32], whole: npt.NDArray[np.float32]
) -> torch.Tensor:
    """Binary cross entropy in which both classes of `whole` weigh the same.

    Args:
        logits: (n,).
        labels: float32 (n,), 0 or 1.
        whole: float32, all labels of the part; both classes occur.
    """
    share = float(whole.mean())
    weights = np.where(labels > 0, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)
    return binary_cross_entropy_with_logits(
        logits, torch.from_numpy(labels).to(logits.device), torch.from_numpy(weights).to(logits.device)
    )


def evaluate_part(
    model: BagClassifier, part: Part, device: torch.device
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
    """What the model says about every bag of a part.

    Returns:
        Logits float32 (bags,), embeddings float32 (bags, 2048) and the balanced loss.
    """
    model.eval()
    logits = np.empty(len(part.labels), dtype=np.float32)
    embeddings = np.empty((len(part.labels), model.encoder.fc.in_features), dtype=np.float32)
    with torch.inference_mode():
        for members, tiles in alike(part, _MOST_TILES):
            scores, inner = model(_tensor(tiles, device))
            logits[members], embeddings[members] = scores.cpu().numpy(), inner.cpu().numpy()
        loss = balanced_loss(torch.from_numpy(logits), part.labels, part.labels)
    return logits, embeddings, float(loss)


def _tensor(tiles: Bag, device: torch.device) -> torch.Tensor:
    """Tiles (bags, tiles, 3, size, size) on the device, each tile laid out channels last."""
    bags, count = tiles.shape[:2]
    flat = torch.from_numpy(tiles).flatten(0, 1).to(device, memory_format=torch.channels_last)
    return flat.view(bags, count, *flat.shape[1:])


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
        "hyperparameters": {name: str(value) for name, value in asdict(chosen).items()},
        "dataset_sha256": teach.dataset_sha256,
        "train": {"manifest_sha256": teach.manifest_sha256, **_counts(teach)},
        "validation": {"manifest_sha256": tune.manifest_sha256, **_counts(tune)},
        "pretrained_sha256": sha256_of(weights) if weights is not None else None,
    }


def _counts(part: Part) -> dict[str, int]:
    positives = int(part.labels.sum())
    return {
        "patients": len(set(part.patients)),
        "image_sets": len(part.labels),
        "positives": positives,
        "negatives": len(part.labels) - positives,
    }


def code_sha256() -> str:
    """SHA-256 over the source of everything that shapes a model: this package and the tile transform."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in (*sorted(package.glob("*.py")), package.parent / "dicom" / "tiles.py"):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _fingerprint(lineage: Mapping[str, Any]) -> str:
    """One hash of a lineage, without what changes nothing but speed."""
    matters = {**lineage, "hyperparameters": {**lineage["hyperparameters"], "threads": "0"}}
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see the module."""
    argparse.ArgumentParser(prog="python -m radloop.training.train", description=train.__doc__).parse_known_args(
        arguments  # SageMaker starts a training container with the argument `train`
    )
    return run_job(train)


if __name__ == "__main__":
    sys.exit(main())
