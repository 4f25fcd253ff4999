"""How often the finding is there now, without anybody having looked: from the model's own probabilities.

Where only the share of the sick changed, each class looks as it did before. Then expectation maximisation on the
calibrated probabilities finds the new share (Saerens, Latinne, Decaestecker 2002), and the reference, weighted so that
it has that share too, looks like what came in. Where a scanner changed it does not, however it is weighted: what is
left over after weighting tells the two apart.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_STEPS: Final = 60
_RESAMPLED: Final = 300
_SUREST: Final = 1e-4  # a probability of exactly 0 or 1 would never be moved by any prevalence


@dataclass(frozen=True, slots=True)
class Prevalence:
    """An estimate, with its 95 % interval from resampled studies."""

    before: float
    now: float
    low: float
    high: float

    @property
    def has_changed(self) -> bool:
        """Whether the interval leaves out what it was before."""
        return not self.low <= self.before <= self.high


def estimate(probability: npt.NDArray[np.floating], before: float, *, seed: int = 0) -> Prevalence:
    """The prevalence among studies of which only the model's probabilities are known.

    Args:
        probability: (n,), calibrated where the finding has the prevalence `before`.
        before: Of the reference, 0..1.
        seed: Of the resampling; the same seed gives the same interval.
    """
    before = min(max(before, 0.01), 0.99)
    sure = np.clip(np.asarray(probability, dtype=np.float64), _SUREST, 1 - _SUREST)
    drawn = np.random.default_rng(seed).integers(0, len(sure), (_RESAMPLED, len(sure)))
    found = _maximised(np.concatenate((sure[None], sure[drawn])), before)
    low, high = np.quantile(found[1:], (0.025, 0.975))
    return Prevalence(before, float(found[0]), float(low), float(high))


def weights(target: npt.NDArray[np.floating], before: float, now: float) -> npt.NDArray[np.float64]:
    """Weights (n,) under which studies with the prevalence `before` have the prevalence `now`.

    Args:
        target: (n,), the posterior of the finding, 0..1.
        before: Their prevalence.
        now: The one they are to have.
    """
    before = min(max(before, 0.01), 0.99)
    sick, well = now / before, (1 - now) / (1 - before)
    return np.maximum(np.asarray(target, np.float64) * sick + (1 - np.asarray(target, np.float64)) * well, 1e-6)


def _maximised(probability: npt.NDArray[np.float64], before: float) -> npt.NDArray[np.float64]:
    """The prevalence of each row of (rows, studies) by expectation maximisation."""
    odds = probability / (1 - probability) * (1 - before) / before
    now = np.full(len(probability), before)
    for _ in range(_STEPS):
        posterior = odds * (now / np.maximum(1 - now, 1e-9))[:, None]
        now = (posterior / (1 + posterior)).mean(axis=1)
    return now
