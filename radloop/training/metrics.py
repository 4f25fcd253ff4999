"""Figures of a binary classifier, and how far chance could have moved them. numpy only, held against scikit-learn.

Every figure is reckoned with a weight for each image set. A bootstrap draw of patients is such a row of weights, and
the plain figure is the row of ones, so that the figure and its interval come from the same lines of code.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Estimate = dict[str, float | None]
"""`value`, `ci_low`, `ci_high`; None where the data cannot say."""

NAMES: Final = ("accuracy", "precision", "recall", "specificity", "f1", "roc_auc", "pr_auc", "brier", "ece")
DRAWS: Final = 2000
_AT_ONCE: Final = 100  # draws reckoned together, which keeps 5,000 image sets within the processor's cache
_MOST_BINS: Final = 10
_LEAST_IN_BIN: Final = 20


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model said about a part, beside the truth.

    Attributes:
        labels: int64 (n,), 0 or 1; n at least 1.
        scores: float64 (n,), probability of the finding.
        patients: Pseudonym of each; only told apart.
    """

    labels: Labels
    scores: Floats
    patients: tuple[str, ...]

    def only(self, chosen: Flags) -> "Scored":
        """Those that are chosen, bool (n,)."""
        kept = tuple(patient for patient, is_chosen in zip(self.patients, chosen.tolist(), strict=True) if is_chosen)
        return Scored(self.labels[chosen], self.scores[chosen], kept)

    def confusion(self, threshold: float) -> dict[str, int]:
        """How often each class was called what: tn, fp, fn, tp."""
        truth, said = self.labels > 0, self.scores >= threshold
        return {
            "tn": int((~truth & ~said).sum()),
            "fp": int((~truth & said).sum()),
            "fn": int((truth & ~said).sum()),
            "tp": int((truth & said).sum()),
        }

    def counts(self) -> dict[str, int]:
        """Patients and image sets, in all and of each class; a patient may be in both."""
        truth = self.labels > 0
        return {
            "patients": len(set(self.patients)),
            "image_sets": len(self.labels),
            "positives": int(truth.sum()),
            "negatives": int((~truth).sum()),
            "positive_patients": len(set(self.only(truth).patients)),
            "negative_patients": len(set(self.only(~truth).patients)),
        }


def estimates(scored: Scored, threshold: float, *, seed: int = 7) -> dict[str, Estimate]:
    """Every figure with its 95 % interval over patients.

    Patients are drawn, not images: two images of one patient are not two pieces of evidence. Draws that miss a class
    are left out of the figures that need it. The interval is that of the percentiles, stretched to the figure itself
    where it lies outside, as it may with the calibration error: a draw is hardly ever calibrated better than the whole.

    Args:
        scored: The model's word and the truth.
        threshold: Probability from which on the finding counts as present.
        seed: Of the draws.

    Returns:
        For each of `NAMES` value, ci_low and ci_high; all None where a class is missing that the figure needs.
    """
    bins = bins_of(scored.scores)
    whole = figures(scored, threshold, np.ones((1, len(scored.labels))), bins)
    drawn = [figures(scored, threshold, weights, bins) for weights in draws(scored.patients, seed=seed)]
    return {
        name: estimate(float(values[0]), np.concatenate([some[name] for some in drawn]))
        for name, values in whole.items()
    }


def figures(scored: Scored, threshold: float, weights: Floats, bins: Labels | None = None) -> dict[str, Floats]:
    """Every figure once a row of weights.

    Args:
        scored: The model's word and the truth.
        threshold: Probability from which on the finding counts as present.
        weights: float64 (draws, n), how often each image set counts.
        bins: Calibration bin of each image set, from `bins_of`.

    Returns:
        float64 (draws,) by name. Not a number where there is nothing to divide by, but 0 for the precision and F1 of
        a model that calls nothing.
    """
    truth, said = scored.labels > 0, scored.scores >= threshold
    total = weights.sum(axis=1)
    tp, fp, fn, tn = (
        weights @ hit.astype(np.float64) for hit in (truth & said, ~truth & said, truth & ~said, ~truth & ~said)
    )
    roc_auc, pr_auc = areas(truth, scored.scores, weights)
    error = scored.scores - truth
    bins = bins_of(scored.scores) if bins is None else bins
    by_bin = np.where(bins[:, None] == np.arange(bins.max() + 1), error[:, None], 0.0)
    return {
        "accuracy": _ratio(tp + tn, total),
        "precision": _ratio(tp, tp + fp, otherwise=0.0),
        "recall": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn, otherwise=0.0),
        "roc_auc": roc_auc,
        "pr_auc": pr_auc,
        "brier": _ratio(weights @ error**2, total),
        "ece": _ratio(np.abs(weights @ by_bin).sum(axis=1), total),
    }


def areas(truth: Flags, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Areas under the ROC curve and under the precision-recall curve (average precision), by ranks.

    Args:
        truth: bool (n,).
        scores: float64 (n,), any scale.
        weights: float64 (draws, n).

    Returns:
        Two times float64 (draws,); not a number where a draw misses a class.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, is_hit = scores[order], truth[order]
    firsts = np.flatnonzero(np.append(True, np.diff(ranked) != 0))
    sorted_weights = weights[:, order]
    hits = np.add.reduceat(sorted_weights * is_hit, firsts, axis=1)
    alarms = np.add.reduceat(sorted_weights * ~is_hit, firsts, axis=1)
    hits_above, alarms_above = np.cumsum(hits, axis=1), np.cumsum(alarms, axis=1)
    positives, negatives = hits_above[:, -1], alarms_above[:, -1]
    won = (hits * (negatives[:, None] - alarms_above + alarms / 2)).sum(axis=1)
    precision = _ratio(hits_above, hits_above + alarms_above, otherwise=0.0)
    return _ratio(won, positives * negatives), np.where(
        negatives > 0, _ratio((hits * precision).sum(axis=1), positives), np.nan
    )


def roc_auc(scored: Scored) -> float:
    """Chance that a positive scores above a negative, ties half; not a number where a class is missing."""
    return float(areas(scored.labels > 0, scored.scores, np.ones((1, len(scored.labels))))[0][0])


def difference(first: Scored, second: Floats, *, seed: int = 7) -> Estimate:
    """How far the ROC AUC of `first` lies above that of other scores of the same image sets, with a paired interval.

    Both are drawn together, patient by patient, so that a hard draw is hard for both.

    Args:
        first: One model's word and the truth.
        second: float64 (n,), the other's scores, any scale.
        seed: Of the draws.
    """
    truth = first.labels > 0

    def gap(weights: Floats) -> Floats:
        return areas(truth, first.scores, weights)[0] - areas(truth, second, weights)[0]

    drawn = [gap(weights) for weights in draws(first.patients, seed=seed)]
    return estimate(float(gap(np.ones((1, len(truth))))[0]), np.concatenate(drawn))


def draws(patients: Sequence[str], *, seed: int, count: int = DRAWS) -> Iterator[Floats]:
    """Patients drawn again and again, as many as there are, each with all that is theirs.

    Yields:
        float64 (some draws, n): how often each image set is in the draw.
    """
    rng = np.random.default_rng(seed)
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    people = int(patient.max()) + 1
    for first in range(0, count, _AT_ONCE):
        rows = min(_AT_ONCE, count - first)
        drawn = rng.integers(0, people, (rows, people)) + people * np.arange(rows)[:, None]
        often = np.bincount(drawn.ravel(), minlength=rows * people).reshape(rows, people)
        yield often[:, patient].astype(np.float64)


def estimate(value: float, drawn: Floats) -> Estimate:
    """A figure and the middle 95 % of its draws; draws that are not a number are left out."""
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not known.size:
        return {"value": None, "ci_low": None, "ci_high": None}
    low, high = (float(bound) for bound in np.percentile(known, (2.5, 97.5)))
    return {"value": value, "ci_low": min(low, value), "ci_high": max(high, value)}


def bins_of(scores: Floats) -> Labels:
    """Calibration bin of each score, int64 (n,): bins of equal mass, at most ten and about twenty image sets in each.

    Equal scores share a bin; bins that this leaves empty keep their number.
    """
    count = max(1, min(_MOST_BINS, len(scores) // _LEAST_IN_BIN))
    edges = np.quantile(scores, np.linspace(0, 1, count + 1))
    return np.asarray(np.searchsorted(edges[1:-1], scores), dtype=np.int64)


def values_of(found: Mapping[str, Estimate]) -> dict[str, float | None]:
    """The plain figures by name."""
    return {name: one["value"] for name, one in found.items()}


def _ratio(part: Floats, whole: Floats, *, otherwise: float = float("nan")) -> Floats:
    found: Floats = np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)
    return found
