"""One training from its first or latest epoch to its end.

What an epoch does follows from the seed, its number and the weights alone. That is why going on from a checkpoint gives
what an uninterrupted run gives, and why several processes, each with its share of every batch, learn what one learns.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from radloop.dicom.tiles import CHANNELS, Bag
from radloop.training.bags import Part, groups
from radloop.training.busy import busy_percent
from radloop.training.checkpoints import Checkpoints, Progress
from radloop.training.distributed import Team, share_batchnorm
from radloop.training.ema import WeightAverage
from radloop.training.features import Features, features_of
from radloop.training.folder import announce
from radloop.training.hyperparameters import Hyperparameters
from radloop.training.loss import Balance, balanced_losses
from radloop.training.network import EMBEDDING, BagClassifier, load_pretrained
from radloop.training.tensors import tensor_of

Floats = npt.NDArray[np.float32]
Visits = npt.NDArray[np.int64]

_WARM_UP: Final = 0.1  # of all steps
_MOST_TILES: Final = 256  # in one forward pass of evaluation
_MOST_ROWS: Final = 65_536  # of embeddings in one look of the last line
_ALONE: Final = Team()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model says about every bag of a part.

    Attributes:
        logits: float32 (bags,).
        embeddings: float32 (bags, 2048).
        loss: Weighted and balanced as in training.
    """

    logits: Floats
    embeddings: Floats
    loss: float


class Run:
    """One training.

    Args:
        chosen: Hyperparameters.
        teach: The part that teaches.
        tune: The part that says when to stop.
        checkpoints: Where the state is kept after every epoch.
        weights: File to start the encoder from, or None.
        team: The processes that train together; only the first writes.
    """

    def __init__(
        self,
        chosen: Hyperparameters,
        teach: Part,
        tune: Part,
        checkpoints: Checkpoints,
        *,
        weights: Path | None = None,
        team: Team = _ALONE,
    ) -> None:
        self.chosen, self.teach, self.tune, self.checkpoints, self.team = chosen, teach, tune, checkpoints, team
        self.progress = Progress()
        self._balance = Balance.of(teach.targets, teach.weights)
        self.device = torch.device("cuda", team.local_rank) if torch.cuda.is_available() else torch.device("cpu")
        torch.manual_seed(chosen.seed)
        self.model = BagClassifier(chosen.pooling)
        if weights is not None:
            load_pretrained(self.model, weights, chosen.pretrained_sha256)
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._features = self._look_once() if chosen.frozen_encoder else None
        self._network = self._joined()
        changes = _is_head if self._features is not None else _is_any
        self.average = WeightAverage(self.model, chosen.ema, changes) if chosen.ema else None
        learning = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.Adam(learning, lr=chosen.learning_rate, weight_decay=chosen.weight_decay)

    def go(self) -> None:
        """Train until it is over, saving after every epoch."""
        self._restore()
        seconds: list[float] = []
        while not self.progress.is_over(self.chosen):
            begun, computed = time.monotonic(), time.process_time()
            train_loss = self._epoch(self.progress.epoch)
            self.progress = self.progress.after(train_loss, self.judge().loss)
            if self.team.is_first:
                self.checkpoints.save(self)
                seconds.append(time.monotonic() - begun)
                self._tell(seconds, time.process_time() - computed)
        self.team.wait()

    def judge(self) -> Judged:
        """What the weights that would be served say about the tuning part."""
        model, part = self.served, self.tune
        model.eval()
        logits = np.zeros(len(part.labels), dtype=np.float32)
        embeddings = np.zeros((len(part.labels), EMBEDDING), dtype=np.float32)
        with torch.inference_mode():
            for members, seen in self._seen(model):
                scores, inner, _ = model.judge(seen)
                logits[members], embeddings[members] = scores.cpu().numpy(), inner.cpu().numpy()
            if self._features is None:
                logits, embeddings = self.team.total(logits), self.team.total(embeddings)
            balance = Balance.of(part.targets, part.weights)
            losses = balanced_losses(torch.from_numpy(logits), part.targets, part.weights, balance)
        return Judged(logits, embeddings, float(losses.mean()))

    def use(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take other weights, such as the best ones, into the model that is judged and served."""
        self._fill(self.served, weights)

    @property
    def served(self) -> BagClassifier:
        """The network that would be served: the average where there is one."""
        if self.average is None:
            return self.model
        network = self.average.network
        assert isinstance(network, BagClassifier)  # a copy of ours
        return network

    # For the checkpoints

    def state(self) -> dict[str, Any]:
        """See `Resumable.state`."""
        return {
            "model": self._learning(self.model),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self._learning(self.average.network),
            "averaged_steps": 0 if self.average is None else self.average.steps,
            "rng": torch.get_rng_state(),
        }

    def kept_weights(self) -> Mapping[str, torch.Tensor]:
        """See `Resumable.kept_weights`."""
        return self._learning(self.served)

    def _learning(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """The weights that training changes: all, or without the encoder where that is frozen."""
        state: dict[str, torch.Tensor] = network.state_dict()
        if self._features is None:
            return state
        return {name: value for name, value in state.items() if _is_head(name)}

    def _fill(self, network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        network.load_state_dict(weights, strict=self._features is None)

    def _restore(self) -> None:
        """Bring every process to where an earlier run of the same kind stopped, if there was one."""
        state = self.team.from_first(self.checkpoints.last() if self.team.is_first else None)
        if state is None:
            return
        self._fill(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self._fill(self.average.network, state["average"])
            self.average.steps = state["averaged_steps"]
        torch.set_rng_state(state["rng"].cpu())
        self.progress = state["progress"]
        if self.team.is_first:
            announce("resumed", epoch=self.progress.epoch)

    # The beginning

    def _look_once(self) -> tuple[Features, Features]:
        """Embeddings of both parts, and an encoder that learns nothing from now on."""
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(_is_head(name))
        folder = self.checkpoints.folder / "features"
        copies = ((self.teach, self.chosen.feature_copies), (self.tune, 0))
        teach, tune = (
            features_of(self.model, part, self.chosen, folder, copies=count, team=self.team) for part, count in copies
        )
        return teach, tune

    def _joined(self) -> nn.Module:
        """The model as this process trains it: its gradients are the mean over all processes.

        The last line on embeddings is small; every process trains all of it by itself, to the same weights.
        """
        if self.team.size == 1 or self._features is not None:
            return self.model
        if not self.chosen.frozen_batchnorm:
            share_batchnorm(self.model)
        devices = [self.team.local_rank] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.model, device_ids=devices, broadcast_buffers=False)

    # An epoch

    def _epoch(self, epoch: int) -> float:
        """One walk over the training part; the mean loss."""
        order = self._order(epoch)
        batches = list(self._batches(order))
        self._set_training()
        total = 0.0
        for step, visits in enumerate(batches):
            at = (epoch * len(batches) + step) / (self.chosen.epochs * len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = self.chosen.learning_rate * schedule(at)
            total += self._step(epoch, order, visits)
            if self.average is not None:
                self.average.follow(self.model)
        if self._features is None:
            total = float(self.team.total(np.array([total]))[0])
        return total / len(batches)

    def _set_training(self) -> None:
        """Every layer as it is in training; BatchNorm keeps its statistics where it is frozen."""
        self._network.train()
        if self.chosen.frozen_batchnorm:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 — the one word for all of them
                    module.eval()

    def _order(self, epoch: int) -> Visits:
        """The bags in the order an epoch visits them, int64 (visits,).

        The shards take turns, each in a random order of its own: every stretch holds as much of one as of another, and
        a process that reads its own shards only finds its share of every batch in them.
        """
        rng = np.random.default_rng([self.chosen.seed, epoch])
        lists = np.asarray(self.teach.lists)
        order = []
        for _ in range(self.chosen.passes):
            shuffled = rng.permutation(len(lists))
            turn = np.empty(len(lists), dtype=np.int64)
            for which in range(self.teach.list_count):
                members = lists[shuffled] == which
                turn[members] = np.arange(members.sum()) * self.teach.list_count + which
            order.append(shuffled[np.argsort(turn)])
        return np.concatenate(order)

    def _batches(self, order: Visits) -> Iterator[list[int]]:
        """Places in `order` for each step, all about equally many, so that no step rests on one or two."""
        tiles = sum(self.teach.tiles_in_training(at) for at in order.tolist())
        steps = min(len(order) / self.chosen.batch_size, tiles / self.chosen.batch_tiles)
        for part in np.array_split(np.arange(len(order)), max(1, round(steps))):
            yield part.tolist()

    def _portions(self, order: Visits, visits: Sequence[int]) -> Iterator[list[int]]:
        """A batch in portions that fit into memory and are one array each: as many tiles in every bag."""
        by_tiles: dict[int, list[int]] = {}
        for visit in visits:
            by_tiles.setdefault(self._rows(int(order[visit])), []).append(visit)
        for tiles, members in sorted(by_tiles.items()):
            most = _MOST_ROWS if self._features is not None else self.chosen.tiles_at_once
            count = math.ceil(len(members) * tiles / most)
            for part in np.array_split(np.asarray(members), min(count, len(members))):
                yield part.tolist()

    def _rows(self, at: int) -> int:
        """Tiles of a bag in one step, or rows of its embeddings."""
        if self._features is None:
            return self.teach.tiles_in_training(at)
        first = self._features[0].first
        return int(first[at + 1] - first[at])

    def _step(self, epoch: int, order: Visits, visits: Sequence[int]) -> float:
        """One step of the optimiser; this process's part of the loss of its batch."""
        self.optimizer.zero_grad(set_to_none=True)
        portions = list(self._portions(order, visits))
        loss_sum = 0.0
        for number, portion in enumerate(portions, start=1):
            is_last = number == len(portions)
            with nullcontext() if is_last else self._quietly():
                mine, logits = self._logits(epoch, order, portion)
                targets, weights = self.teach.targets[mine], self.teach.weights[mine]
                loss = balanced_losses(logits, targets, weights, self._balance).sum() / len(visits)
                crew = self.team.size if self._features is None else 1  # gradients are averaged over the processes
                (loss * crew).backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach())
        self.optimizer.step()
        return loss_sum

    def _quietly(self) -> Any:
        """Gather gradients without sending them round; the last portion sends them all."""
        return self._network.no_sync() if isinstance(self._network, DistributedDataParallel) else nullcontext()

    def _logits(self, epoch: int, order: Visits, portion: Sequence[int]) -> tuple[list[int], torch.Tensor]:
        """This process's bags of a portion, and what the network says of them."""
        bags = [int(order[visit]) for visit in portion]
        if self._features is not None:
            teach = self._features[0]
            copies = [int(self._chance(epoch, visit).integers(teach.copies)) for visit in portion]
            seen = torch.from_numpy(teach.of(bags, copies)).to(self.model.encoder.fc.weight)
            return bags, self.model.judge(seen)[0]
        places = self.team.share([self.teach.lists[at] for at in bags], self.teach.list_count)
        tiles = self._tiles(epoch, [portion[place] for place in places], [bags[place] for place in places], bags[0])
        return [bags[place] for place in places], self._network(tensor_of(tiles, self.model))[0]

    def _tiles(self, epoch: int, visits: Sequence[int], bags: Sequence[int], like: int) -> Bag:
        """Varied bags as one array; of no bag, an empty one of the right shape."""
        if not bags:
            size = self.teach.spec.size
            return np.empty((0, self.teach.tiles_in_training(like), CHANNELS, size, size), dtype=np.float32)
        strength = self.chosen.augmentation
        pairs = zip(visits, bags, strict=True)
        return np.stack([self.teach.varied_bag(at, self._chance(epoch, visit), strength) for visit, at in pairs])

    def _chance(self, epoch: int, visit: int) -> np.random.Generator:
        """The chance of one visit, the same whichever process makes it."""
        return np.random.default_rng([self.chosen.seed, epoch, visit])

    # Looking without learning

    def _seen(self, model: BagClassifier) -> Iterator[tuple[list[int], torch.Tensor]]:
        """This process's bags of the tuning part, and their embeddings (bags, tiles, 2048)."""
        if self._features is not None:
            yield from self._remembered(self._features[1])
            return
        part = self.tune
        tiles = [part.tiles_in_evaluation(at) for at in range(len(part.counts))]
        for group in groups(tiles, _MOST_TILES):
            places = self.team.share([part.lists[at] for at in group], part.list_count)
            if places:
                mine = [group[place] for place in places]
                yield mine, model.embed(tensor_of(np.stack([part.bag(at) for at in mine]), model))

    def _remembered(self, features: Features) -> Iterator[tuple[list[int], torch.Tensor]]:
        for group in groups(np.diff(features.first).tolist(), _MOST_ROWS):
            yield group, torch.from_numpy(features.of(group, [0] * len(group))).to(self.model.encoder.fc.weight)

    def _tell(self, seconds: Sequence[float], cpu_seconds: float) -> None:
        """One line an epoch; CPU seconds are this process's, the time left that of all epochs patience may spare."""
        train_loss, validation_loss = self.progress.history[-1]
        announce(
            "epoch",
            epoch=self.progress.epoch,
            epochs=self.chosen.epochs,
            train_loss=round(train_loss, 5),
            validation_loss=round(validation_loss, 5),
            best_epoch=self.progress.best_epoch,
            seconds=round(seconds[-1], 2),
            cpu_seconds=round(cpu_seconds, 2),
            **busy_percent(cpu_seconds, seconds[-1], self.team.here),
            seconds_left=round(self._left(seconds), 1),
        )

    def _left(self, seconds: Sequence[float]) -> float:
        if self.progress.is_over(self.chosen):
            return 0.0
        return (self.chosen.epochs - self.progress.epoch) * sum(seconds) / len(seconds)


def schedule(at: float) -> float:
    """The learning rate as a part of its peak, at a part of the whole training in 0..1."""
    if at < _WARM_UP:
        return 0.1 + 0.9 * at / _WARM_UP
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (at - _WARM_UP) / (1 - _WARM_UP)))


def _is_any(name: str) -> bool:  # noqa: ARG001 — the same shape as `_is_head`
    """Every weight."""
    return True


def _is_head(name: str) -> bool:
    """Whether a weight belongs to the last line or the pooling."""
    return not name.startswith("encoder.") or name.startswith("encoder.fc.")
