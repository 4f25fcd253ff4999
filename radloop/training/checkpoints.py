"""Where a training that is killed goes on from."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from radloop.training.folder import announce, write_atomically
from radloop.training.hyperparameters import Hyperparameters


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


class Resumable(Protocol):
    """What can be stopped after an epoch and gone on with."""

    progress: Progress

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, as `torch.save` writes it."""
        ...

    def kept_weights(self) -> Mapping[str, torch.Tensor]:
        """The weights that would be served now."""
        ...


class Checkpoints:
    """The state of a training on disk: the last epoch whole, and the best weights so far.

    The best weights are written first. A kill between the two files leaves best weights of an epoch that the older
    checkpoint does not know; the epoch is then trained again, with the same result, and the file written again.

    Args:
        folder: Where the files lie.
        fingerprint: Of everything the result depends on; a checkpoint of something else is not used.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self._last, self._best = folder / "last.pt", folder / "best.pt"
        self._fingerprint = fingerprint

    def save(self, run: Resumable) -> None:
        """Write the state after an epoch."""
        if run.progress.best_epoch == run.progress.epoch:
            weights = run.kept_weights()
            write_atomically(self._best, lambda beside: torch.save(weights, beside))
        state = {**run.state(), "fingerprint": self._fingerprint, "progress": asdict(run.progress)}
        write_atomically(self._last, lambda beside: torch.save(state, beside))

    def last(self) -> dict[str, Any] | None:
        """What an earlier run of the same kind saved, with its `progress`; None where there was none."""
        if not self._last.is_file() or not self._best.is_file():
            return None
        state: dict[str, Any] = torch.load(self._last, map_location="cpu", weights_only=True)
        if state.pop("fingerprint") != self._fingerprint:
            announce("checkpoint_ignored", reason="it belongs to other data, code or hyperparameters")
            return None
        done = state["progress"]
        state["progress"] = Progress(done["epoch"], done["best_epoch"], tuple((a, b) for a, b in done["history"]))
        return state

    def best(self) -> dict[str, Any]:
        """The weights with the lowest validation loss."""
        state: dict[str, Any] = torch.load(self._best, map_location="cpu", weights_only=True)
        return state
