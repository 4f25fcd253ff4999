"""From a logit to a probability that may be believed, and to yes or no: both settled on validation, never on test.

probability = sigmoid(logit / temperature). The balanced loss teaches a network as if
both classes were equally common; how common they were in the data is put back into the bias of its last line. Neither
changes the order of the studies, and so no ROC curve, nor knows how common the finding will be where the model serves.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_COLDEST: Final = 0.05
_HOTTEST: Final = 20.0
_NARROWINGS: Final = 60
_GOLDEN: Final = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """From which probability on the finding counts as present.

    Attributes:
        threshold: On the calibrated probability.
        target: What it was chosen for: `balanced-accuracy`, or `sensitivity` and the figure.
        sensitivity: On the data it was chosen on.
        specificity: The same.
    """

    threshold: float
    target: str
    sensitivity: float
    specificity: float

    def to_json(self) -> dict[str, Any]:
        """As it is written to `threshold.json`."""
        return {
            "threshold": self.threshold,
            "chosen_on": "validation",
            "target": self.target,
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
        }


def probabilities_of(logits: npt.NDArray[np.floating[Any]], temperature: float = 1.0) -> Doubles:
    """Calibrated probabilities, float64 of the same shape.

    >>> probabilities_of(np.array([0.0, 2.0]), 2.0).round(3).tolist()
    [0.5, 0.731]
    """
    return np.asarray(0.5 * (1 + np.tanh(logits.astype(np.float64) / (2 * temperature))), dtype=np.float64)


def fit_temperature(
    logits: npt.NDArray[np.floating[Any]], targets: Floats, weights: Floats | None = None, prior: float = 0.0
) -> float:
    """The temperature under which the targets are likeliest (Guo et al. 2017).

    Every target is moved towards the middle as if half a case more of each class had been seen (Jeffreys). Without that
    a validation part that the model parts without a fault would ask for boundless certainty; with a whole case each
    (Platt 1999) small parts ask for too little of it.

    Args:
        logits: (n,), of the validation part.
        targets: float32 (n,), posteriors in 0..1.
        weights: float32 (n,), or None where all count the same.
        prior: Log odds to be added to the scaled logits: logit / temperature + prior is what is fitted.

    Returns:
        In 0.05..20; above 1 where the model was too sure.
    """
    counts = np.ones(len(targets)) if weights is None else weights.astype(np.float64)
    present = float((counts * targets).sum())
    absent = float(counts.sum()) - present
    high, low = (present + 0.5) / (present + 1), 0.5 / (absent + 1)
    wanted = low + (high - low) * targets.astype(np.float64)
    scores = logits.astype(np.float64)

    def cost(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature) + prior
        return float((counts * (np.logaddexp(0, scaled) - wanted * scaled)).sum())

    left, right = float(np.log(_COLDEST)), float(np.log(_HOTTEST))
    for _ in range(_NARROWINGS):  # the cost falls and rises once: the golden section finds its bottom
        inner, outer = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        if cost(inner) <= cost(outer):
            right = outer
        else:
            left = inner
    return float(np.exp((left + right) / 2))


def choose_operating_point(labels: Floats, probabilities: Doubles, target_sensitivity: float = 0.0) -> OperatingPoint:
    """The threshold for a stated target.

    Candidates lie halfway between neighbouring probabilities. Among equally good ones the middle of the widest gap
    wins, for there a new case is least likely to fall on the wrong side.

    Args:
        labels: float32 (n,), 0 or 1, both there.
        probabilities: float64 (n,), calibrated.
        target_sensitivity: Of those with at least this sensitivity the one with the highest specificity; 0 for the
            highest mean of sensitivity and specificity.
    """
    target = f"sensitivity {target_sensitivity:g}" if target_sensitivity else "balanced-accuracy"
    order = np.unique(probabilities)
    if len(order) == 1 and target_sensitivity:
        return OperatingPoint(float(order[0]), target, 1.0, 0.0)
    if len(order) == 1:
        return OperatingPoint(0.5, target, float(order[0] >= 0.5), float(order[0] < 0.5))  # noqa: PLR2004
    middles, gaps = (order[1:] + order[:-1]) / 2, np.diff(order)
    middles = np.where(middles > order[:-1], middles, order[1:])  # of neighbours there is none between
    present, absent = (np.sort(probabilities[labels == label]) for label in (1, 0))
    sensitivity = 1 - np.searchsorted(present, middles) / len(present)
    specificity = np.searchsorted(absent, middles) / len(absent)
    if target_sensitivity:
        reached = sensitivity >= target_sensitivity - 1e-9
        if not reached.any():  # only calling everything present gets there
            return OperatingPoint(float(order[0]), target, 1.0, 0.0)
        merit = np.where(reached, specificity, -1.0)
    else:
        merit = sensitivity + specificity
    merit = np.round(merit, 9)
    best = np.flatnonzero(merit == merit.max())
    at = best[np.argmax(gaps[best])]
    return OperatingPoint(float(middles[at]), target, float(sensitivity[at]), float(specificity[at]))


def prior_log_odds(*parts: tuple[Floats, Floats]) -> float:
    """How common the finding is by weight and posterior, as log odds.

    Args:
        parts: Targets and weights of each part, float32 (n,) both.

    >>> round(prior_log_odds((np.array([1, 1, 1, 0], np.float32), np.ones(4, np.float32))), 4)
    1.0986
    """
    present = sum(float((targets * weights).sum()) for targets, weights in parts)
    whole = sum(float(weights.sum()) for _, weights in parts)
    return float(np.log(present / (whole - present)))
