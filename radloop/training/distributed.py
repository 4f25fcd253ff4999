"""Several processes, GPUs and machines that train as one: torchrun starts them, DistributedDataParallel joins them.

What they learn together is, but for rounding, what one process learns alone from the same data: every batch is laid out
as if there were one process and then shared out, and BatchNorm, unless it is frozen, takes its statistics over all of
them.

A job starts its own torchrun: on one machine where hyperparameter `processes`, or the GPUs, ask for several; on several
where SageMaker's `input/config/resourceconfig.json` names them. Whoever starts torchrun by hand is left alone:

    torchrun --standalone --nproc-per-node 2 -m radloop.training.train
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from radloop.training.folder import read_json

_PORT: Final = "29500"
_UNDER_TORCHRUN: Final = "TORCHELASTIC_RUN_ID"
_AXES: Final = (0, 2, 3)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train together; by itself a process is a team of one.

    Attributes:
        rank: Of this process, from 0.
        size: How many there are, on all machines.
        here: How many there are on this machine.
        local_rank: Of this process on this machine: the GPU it takes.
    """

    rank: int = 0
    size: int = 1
    here: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def share(self, lists: Sequence[int], count: int) -> list[int]:
        """Which of some bags are this process's.

        Args:
            lists: Of each bag, the shard list it lies on.
            count: How many lists there are. With a list or more for every process each reads its own shards only;
                with fewer they take turns.

        Returns:
            Places in `lists`. All of them, over all processes, are each place once.

        >>> Team(1, 2).share([0, 1, 2, 3, 1], 4)
        [1, 3, 4]
        >>> Team(1, 2).share([0, 0, 0], 1)
        [1]
        """
        if count >= self.size:
            return [place for place, which in enumerate(lists) if which % self.size == self.rank]
        return list(range(self.rank, len(lists), self.size))

    def total(self, values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """The sum of what every process hands in, in every process the same to the last bit."""
        if self.size == 1:
            return values
        tensor = torch.from_numpy(values.copy())
        dist.all_reduce(tensor)
        summed: npt.NDArray[Any] = tensor.numpy()
        return summed

    def from_first(self, value: _T) -> _T:
        """What the first process holds, in every process."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]

    def wait(self) -> None:
        """Go on when every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def team() -> Iterator[Team]:
    """The team that torchrun put this process into, for as long as it works together."""
    if not is_under_torchrun():
        yield Team()
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    here, local_rank = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Team(rank, size, here, local_rank)
    finally:
        dist.destroy_process_group()


def is_under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return _UNDER_TORCHRUN in os.environ


def torchrun_command(root: Path, processes: int, module: str) -> list[str] | None:
    """How this machine starts its share of the processes.

    Args:
        root: Of the job's folders.
        processes: On one machine; 0 for one a GPU, and one where there is none.
        module: To run.

    Returns:
        A command, or None where one process is all there is or torchrun has been here already.

    Raises:
        InvalidInput: `resourceconfig.json` is not JSON.
    """
    if is_under_torchrun():
        return None
    path = root / "input" / "config" / "resourceconfig.json"
    config = read_json(path) if path.is_file() else {}
    hosts = sorted(str(host) for host in config.get("hosts", ())) or ["localhost"]
    count = processes or max(1, torch.cuda.device_count())
    if len(hosts) * count == 1:
        return None
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--max-restarts", "0"]
    if len(hosts) == 1:
        return [*torchrun, "--standalone", "-m", module]
    return [
        *torchrun,
        *("--nnodes", str(len(hosts)), "--node-rank", str(hosts.index(str(config["current_host"])))),
        *("--master-addr", hosts[0], "--master-port", os.environ.get("MASTER_PORT", _PORT), "-m", module),
    ]


def become(command: Sequence[str], root: Path) -> None:
    """Replace this process by torchrun; whoever watches over it, watches over torchrun."""
    path = root / "input" / "config" / "resourceconfig.json"
    network = str(read_json(path).get("network_interface_name", "")) if path.is_file() else ""
    if network and Path("/sys/class/net", network).exists():
        for backend in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{backend}_SOCKET_IFNAME", network)
    os.execv(command[0], list(command))  # noqa: S606 — our own module under our own interpreter, without a shell


def share_batchnorm(network: nn.Module) -> None:
    """Let every BatchNorm take its statistics over all processes; the state dict keeps its keys."""
    if torch.cuda.is_available():
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the images of all processes, on the CPU, where torch has none.

    A process may come without an image, as long as one of them has some.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 — torch's name
        """Normalised images (n, channels, rows, columns)."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None  # a ResNet's always have them
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        normal, mean, variance, count = _SharedNorm.apply(input, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), momentum)
            self.num_batches_tracked.add_(1)
        result: Tensor = normal
        return result


class _SharedNorm(torch.autograd.Function):
    """Normalisation with mean and variance over all processes, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        figures = torch.cat((x.sum(_AXES), x.new_tensor([x.numel() / x.shape[1]])))
        dist.all_reduce(figures)
        mean, count = figures[:-1] / figures[-1], figures[-1]
        centred = x - _wide(mean)
        squares = (centred * centred).sum(_AXES)  # two walks: the difference of two great sums would lose digits
        dist.all_reduce(squares)
        variance = squares / count
        inverse = torch.rsqrt(variance + eps)
        normal = centred * _wide(inverse)
        ctx.save_for_backward(normal, weight, inverse, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return normal * _wide(weight) + _wide(bias), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        normal, weight, inverse, count = ctx.saved_tensors
        gradient = gradients[0]
        by_weight, by_bias = (gradient * normal).sum(_AXES), gradient.sum(_AXES)
        totals = torch.cat((by_weight, by_bias))
        dist.all_reduce(totals)
        over_weight, over_bias = (totals / count).chunk(2)
        inner = gradient - _wide(over_bias) - normal * _wide(over_weight)
        return inner * _wide(weight * inverse), by_weight, by_bias, None


def _wide(channels: Tensor) -> Tensor:
    """A value a channel (channels,) as (1, channels, 1, 1)."""
    return channels.view(1, -1, 1, 1)
