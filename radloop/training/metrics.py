"""Figures of a binary classifier, and how far chance could have moved them. numpy only, held against scikit-learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_DRAWS: Final = 2000


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each class was called what."""

    tn: int
    fp: int
    fn: int
    tp: int

    @property
    def accuracy(self) -> float:
        """Share that is right; 0 of an empty set."""
        return _ratio(self.tp + self.tn, self.tn + self.fp + self.fn + self.tp)

    @property
    def precision(self) -> float:
        """Share of the calls that is right; 0 without calls."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the positives that is called (sensitivity); 0 without positives."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def confusion(labels: Labels, said: npt.NDArray[np.bool_]) -> Confusion:
    """Count; `labels` int (n,) of 0 and 1, `said` bool (n,)."""
    truth = labels > 0
    return Confusion(
        tn=int((~truth & ~said).sum()),
        fp=int((~truth & said).sum()),
        fn=int((truth & ~said).sum()),
        tp=int((truth & said).sum()),
    )


def roc_curve(labels: Labels, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """The curve from (0, 0) to (1, 1), one point a distinct score, highest first.

    Returns:
        False positive rates, true positive rates and thresholds, float64 (points,); the first threshold is infinite. A
        class that is missing has a rate of 0 everywhere.
    """
    order = np.argsort(-scores, kind="stable")
    truth, ranked = labels[order] > 0, scores[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    hits, alarms = np.cumsum(truth)[last], np.cumsum(~truth)[last]
    return (
        np.append(0.0, alarms / max(1, alarms[-1])),
        np.append(0.0, hits / max(1, hits[-1])),
        np.append(np.inf, ranked[last]),
    )


def roc_auc(labels: Labels, scores: Floats) -> float:
    """Chance that a positive scores above a negative, ties half; not a number where a class is missing."""
    if labels.min() == labels.max():
        return float("nan")
    alarms, hits, _ = roc_curve(labels, scores)
    return float(np.trapezoid(hits, alarms))


def interval(
    labels: Labels, scores: Floats, patients: Sequence[str], threshold: float, *, seed: int = 7
) -> dict[str, tuple[float, float]]:
    """95 % intervals of accuracy and ROC AUC by drawing patients again, 2,000 times.

    Patients are drawn, not images: two images of one patient are not two pieces of evidence. Draws that miss a class
    are left out of the AUC.
    """
    rng = np.random.default_rng(seed)
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    count = int(patient.max()) + 1
    right = (scores >= threshold) == (labels > 0)
    accuracies, areas = [], []
    for _ in range(_DRAWS):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)[patient]
        if weight.sum():
            accuracies.append(float(np.average(right, weights=weight)))
        chosen = np.repeat(np.arange(len(labels)), weight)
        if chosen.size and labels[chosen].min() < labels[chosen].max():
            areas.append(roc_auc(labels[chosen], scores[chosen]))
    return {"accuracy": _middle_95(accuracies), "roc_auc": _middle_95(areas)}


def report(labels: Labels, scores: Floats, patients: Sequence[str], threshold: float) -> dict[str, Any]:
    """Metrics, confusion matrix, curve and test figures in the shape of `evaluation.json`.

    Args:
        labels: int64 (n,) of 0 and 1, n at least 1.
        scores: float64 (n,), probabilities.
        patients: Pseudonym of each; only counted.
        threshold: From which on the finding counts as present.
    """
    counts = confusion(labels, scores >= threshold)
    area = roc_auc(labels, scores)
    bounds = interval(labels, scores, patients, threshold)
    values = {
        "accuracy": counts.accuracy,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "roc_auc": None if np.isnan(area) else area,
    }
    metrics: dict[str, dict[str, float | None]] = {name: {"value": value} for name, value in values.items()}
    for name, (low, high) in bounds.items():
        if not np.isnan(low):
            metrics[name] |= {"ci_low": low, "ci_high": high}
    alarms, hits, limits = roc_curve(labels, scores)
    return {
        "metrics": metrics,
        "confusion_matrix": {"tn": counts.tn, "fp": counts.fp, "fn": counts.fn, "tp": counts.tp},
        "roc_curve": [
            {"fpr": float(fpr), "tpr": float(tpr), "threshold": float(limit) if np.isfinite(limit) else None}
            for fpr, tpr, limit in zip(alarms, hits, limits, strict=True)
        ],
        "test": {
            "patients": len(set(patients)),
            "image_sets": len(labels),
            "positives": counts.tp + counts.fn,
            "negatives": counts.tn + counts.fp,
        },
        "threshold": threshold,
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _middle_95(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return float("nan"), float("nan")
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
