"""Curves of a classifier as points: ROC, precision and recall, calibration. Thin enough to be stored and drawn."""

from typing import Any, Final

import numpy as np

from radloop.training.metrics import Floats, Labels, Scored, bins_of

_MOST_POINTS: Final = 200


def roc_curve(labels: Labels, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """The curve from (0, 0) to (1, 1), one point a distinct score, highest first.

    Returns:
        False positive rates, true positive rates and thresholds, float64 (points,); the first threshold is infinite. A
        class that is missing has a rate of 0 everywhere.
    """
    hits, alarms, limits = _sweep(labels, scores)
    return (
        np.append(0.0, alarms / max(1, alarms[-1])),
        np.append(0.0, hits / max(1, hits[-1])),
        np.append(np.inf, limits),
    )


def pr_curve(labels: Labels, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision over recall, one point a distinct score, highest first.

    Returns:
        Recalls, precisions and thresholds, float64 (points,).
    """
    hits, alarms, limits = _sweep(labels, scores)
    return hits / max(1, hits[-1]), hits / (hits + alarms), limits


def curves_of(scored: Scored) -> dict[str, Any]:
    """`roc_curve`, `pr_curve` and `calibration` as they stand in `evaluation.json`.

    Points on a straight line between their neighbours are left out; of more than 200 every so-many-th stays. A bin of
    the calibration tells how many image sets it holds, their mean probability and the share that has the finding.
    """
    alarms, hits, limits = roc_curve(scored.labels, scored.scores)
    recalls, precisions, at = pr_curve(scored.labels, scored.scores)
    bins = bins_of(scored.scores)
    return {
        "roc_curve": [
            {
                "fpr": float(alarms[point]),
                "tpr": float(hits[point]),
                "threshold": float(limits[point]) if np.isfinite(limits[point]) else None,
            }
            for point in _corners(alarms, hits)
        ],
        "pr_curve": [
            {"recall": float(recalls[point]), "precision": float(precisions[point]), "threshold": float(at[point])}
            for point in _thin(np.arange(len(at)))
        ],
        "calibration": [
            {
                "image_sets": int((bins == number).sum()),
                "mean_probability": float(scored.scores[bins == number].mean()),
                "share_present": float(scored.labels[bins == number].mean()),
            }
            for number in np.unique(bins)
        ],
    }


def _sweep(labels: Labels, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """True and false positives at or above each distinct score, highest first."""
    order = np.argsort(-scores, kind="stable")
    truth, ranked = labels[order] > 0, scores[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    return np.cumsum(truth)[last].astype(np.float64), np.cumsum(~truth)[last].astype(np.float64), ranked[last]


def _corners(across: Floats, up: Floats) -> list[int]:
    """Places where a curve bends, its ends included."""
    inner = np.diff(across)[:-1] * np.diff(up)[1:] != np.diff(across)[1:] * np.diff(up)[:-1]
    return _thin(np.flatnonzero(np.concatenate(([True], inner, [True]))[: len(across)]))


def _thin(places: Labels) -> list[int]:
    if len(places) > _MOST_POINTS:
        places = places[np.linspace(0, len(places) - 1, _MOST_POINTS).round().astype(np.int64)]
    return [int(place) for place in places]
