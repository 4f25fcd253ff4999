"""What the registry keeps of an `evaluation.json`."""

from collections.abc import Mapping
from typing import Any


def metrics_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every metric in a report, by name.

    >>> metrics_of({"metrics": {"accuracy": {"value": 0.9, "ci_low": 0.8}, "count": 3}})
    {'accuracy': 0.9, 'count': 3}
    """
    metrics = report.get("metrics", {})
    return {name: part["value"] if isinstance(part, dict) else part for name, part in metrics.items()}


def hashes_of(report: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the package that was tested and of the weights in it, where the report tells them."""
    lineage = report.get("lineage", {})
    told = {"model_sha256": report.get("model_sha256"), "weights_sha256": lineage.get("weights_sha256")}
    return {name: str(value) for name, value in told.items() if value}


def origin_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Of what, and with what, a model was made, where the report tells it: a date in UTC, and a framework's version.

    >>> origin_of({"freshness": {"newest_label_at": "2026-01-05T12:00:00+00:00"}, "lineage": {"torch": "2.9.1"}})
    {'training_data_date': '2026-01-05', 'training_framework': 'PyTorch 2.9.1'}
    """
    newest, torch = report.get("freshness", {}).get("newest_label_at"), report.get("lineage", {}).get("torch")
    told = {
        "training_data_date": str(newest or "")[: len("2026-01-05")],
        "training_framework": f"PyTorch {torch}" if torch else "",
    }
    return {name: value for name, value in told.items() if value}
