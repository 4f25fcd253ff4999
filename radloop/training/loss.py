"""What training makes small: cross entropy with labels that may be doubted, in which both classes weigh the same."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import logsigmoid

from radloop.core.errors import InvalidInput

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Balance:
    """What a positive and a negative count in a part, so that all of one weigh as much as all of the other.

    The classes are counted by weight and posterior: an image set of weight 0.5 whose posterior is 0.8 is 0.4 of a
    positive and 0.1 of a negative.

    Attributes:
        positive: What a whole positive counts; with equal classes and weights of 1 it is 1.
        negative: The same of a negative.
        unit: The mean weight, which weights are divided by.
    """

    positive: float
    negative: float
    unit: float

    @classmethod
    def of(cls, targets: Floats, weights: Floats) -> "Balance":
        """The balance of a part.

        Args:
            targets: float32 (bags,), posteriors in 0..1.
            weights: float32 (bags,), not negative.

        Raises:
            InvalidInput: By weight there is next to nothing of one class.
        """
        present = float(np.sum(weights * targets, dtype=np.float64))
        absent = float(np.sum(weights, dtype=np.float64)) - present
        if min(present, absent) < 1e-6 * len(targets) or not len(targets):
            raise InvalidInput("training and validation each need both classes, by weight and posterior too")
        half = (present + absent) / 2
        return cls(half / present, half / absent, (present + absent) / len(targets))


def balanced_losses(logits: torch.Tensor, targets: Floats, weights: Floats, balance: Balance) -> torch.Tensor:
    """Weighted, balanced binary cross entropy of every bag.

    Args:
        logits: (n,).
        targets: float32 (n,), the posterior that the finding is there, 0..1.
        weights: float32 (n,), how much each counts.
        balance: Of the whole part, not of these bags.

    Returns:
        (n,); its mean is the loss.
    """
    kind, device = logits.dtype, logits.device
    present = torch.from_numpy(targets * weights * np.float32(balance.positive / balance.unit)).to(device, kind)
    absent = torch.from_numpy((1 - targets) * weights * np.float32(balance.negative / balance.unit)).to(device, kind)
    return -(present * logsigmoid(logits) + absent * logsigmoid(-logits))
