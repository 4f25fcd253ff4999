"""The running average of the weights: what a training converges to, without its last steps' jitter."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of a network's parameters and running statistics.

    Step n keeps min(decay, n / (n + 9)) of the average, so that the random weights it began with are soon forgotten.

    Args:
        network: Whose weights are averaged; a copy of it holds the average.
        decay: The share that stays in every step, once there were enough.
        changes: Whether training changes a weight, by its name; the others are left as they are.
    """

    def __init__(self, network: nn.Module, decay: float, changes: Callable[[str], bool]) -> None:
        self.network = deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.steps = 0
        self._decay = decay
        self._names = [name for name in network.state_dict() if changes(name)]

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take in the weights after one more step."""
        self.steps += 1
        share = 1 - min(self._decay, self.steps / (self.steps + 9))
        now, means = network.state_dict(), self.network.state_dict()
        for name in self._names:
            if means[name].is_floating_point():
                means[name].lerp_(now[name], share)
            else:
                means[name].copy_(now[name])
