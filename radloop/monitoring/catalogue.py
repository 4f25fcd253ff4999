"""The catalogue of everything that is measured, as `contracts/metrics.json` has it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OTHER = "other"
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which processes that answer together count; without it each counts for itself."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the catalogue.

    Attributes:
        kind: gauge, counter or histogram.
        unit: In words.
        labels: A regular expression for the whole of each label's value.
        dashboard: Lines of the brief's dashboards that it answers, such as `M1.5`; empty for none.
        aws: Where CloudWatch measures the same by itself; what has none is told it by us.
    """

    name: str
    kind: str
    unit: str
    help: str
    labels: Mapping[str, str] = field(default_factory=dict)
    dashboard: str = ""
    aws: Sequence[Mapping[str, Any]] = ()

    def admitted(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Values of its labels in their order; `other` for one that is missing or that the contract does not admit."""
        return tuple(
            value if re.fullmatch(admitted, value := labels.get(label, OTHER)) else OTHER
            for label, admitted in self.labels.items()
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def load_metrics(text: str) -> dict[str, Metric]:
    """The catalogue written in `text`, by name."""
    rows = [Metric(**row) for row in json.loads(text)["metrics"]]
    return {row.name: row for row in rows}
