"""Figures as people read them, alike in the report, the model card and the checklists."""

from collections.abc import Mapping
from typing import Any, Final

NAMES: Final[Mapping[str, str]] = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Sensitivity (recall)",
    "specificity": "Specificity",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC (average precision)",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
}
"""What the metrics are called."""

NOTICE: Final = (
    "Not a medical device. These figures describe one model on one set of patients; they do not say how it does on "
    "others."
)


def figure(value: float | None) -> str:
    """A figure with three digits behind the point; `unknown` where it is."""
    return "unknown" if value is None else f"{value:.3f}"


def interval_of(estimate: Mapping[str, Any] | None) -> str:
    """A figure with its 95 % interval, such as `0.912 (0.880 to 0.941)`."""
    if estimate is None or estimate.get("value") is None:
        return "not known"
    if estimate.get("ci_low") is None:
        return figure(estimate["value"])
    return f"{figure(estimate['value'])} ({figure(estimate['ci_low'])} to {figure(estimate['ci_high'])})"


def counted(count: int, noun: str) -> str:
    """A number with its noun: `1 patient`, `2 patients`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(counts: Mapping[str, int]) -> str:
    """Counts by value in one line: `F 12, M 9`."""
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def percent(part: int, whole: int) -> str:
    """A share in percent: `12.5 %`."""
    return f"{100 * part / whole:.1f} %" if whole else "unknown"
