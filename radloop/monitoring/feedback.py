"""What readers have found since, against what the model had said."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_RESAMPLED: Final = 500


def feedback(
    *,
    probability: Sequence[float],
    says_present: Sequence[bool],
    present: Sequence[bool],
    patient: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Figures on studies that readers have judged, each with its 95 % interval from resampled patients.

    Readers may be sent to what is hard first, so these are figures on what was read, not on what comes in.

    Returns:
        `image_sets`, `patients`, `present`; `accuracy` and `roc_auc`: {value, ci_low, ci_high}, the latter null where
        readers found one class only.
    """
    scores, said, found = np.asarray(probability), np.asarray(says_present), np.asarray(present)
    names, owner = np.unique(np.asarray(patient), return_inverse=True)
    rng = np.random.default_rng(seed)
    accuracies, areas = [], []
    for times in rng.multinomial(len(names), np.full(len(names), 1 / len(names)), _RESAMPLED):
        weight = times[owner].astype(np.float64)
        accuracies.append(float((weight * (said == found)).sum() / weight.sum()))
        drawn = roc_auc(scores, found, weight)
        if drawn is not None:
            areas.append(drawn)
    area = roc_auc(scores, found)
    return {
        "image_sets": len(found),
        "patients": len(names),
        "present": int(found.sum()),
        "accuracy": _with_interval(float((said == found).mean()), accuracies),
        "roc_auc": None if area is None else _with_interval(area, areas),
    }


def roc_auc(
    probability: npt.NDArray[np.floating],
    present: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float64] | None = None,
) -> float | None:
    """The chance that a study with the finding has the higher probability, ties half; None where a class is missing.

    Args:
        probability: (n,).
        present: (n,).
        weight: (n,), how often each study counts; None for once.
    """
    each = np.ones(len(present)) if weight is None else weight
    _, place = np.unique(probability, return_inverse=True)
    sick = np.bincount(place, each * present)
    well = np.bincount(place, each * ~present)
    pairs = sick.sum() * well.sum()
    return float((sick * (np.cumsum(well) - well / 2)).sum() / pairs) if pairs else None


def _with_interval(value: float, drawn: Sequence[float]) -> dict[str, float]:
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn else (value, value)
    return {"value": round(value, 4), "ci_low": round(float(low), 4), "ci_high": round(float(high), 4)}
