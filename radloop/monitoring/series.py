"""What a few readings of the metrics, one after the other, say together: increases, means, percentiles.

A counter that is lower than before has begun anew, so all it holds has come since; one that was not there had counted
nothing. The contracts `alarms.json` and `dashboards.json` name the statistics.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from prometheus_client.metrics_core import Metric as Family

from radloop.monitoring.catalogue import Sample

Labels = tuple[tuple[str, str], ...]
"""Names and values, in the order of the names."""

Reading = Mapping[str, Mapping[Labels, float]]
"""One look at everything: samples by name and labels, as Prometheus writes them; histograms in their parts."""

STATISTICS = ("latest", "maximum", "increase", "percent", "mean", "p99")

_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of readings.

    Attributes:
        metric: Name in the catalogue.
        statistic: One of `STATISTICS`.
        where: Values that a label may have; of `percent`, those of the part.
        by: The label whose values are told apart; empty for none.
        per: A metric whose increase under the same labels divides that of `metric`; empty for none.
    """

    metric: str
    statistic: str
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by: str = ""
    per: str = ""

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise ValueError(f"there is no statistic {self.statistic}")

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Question":
        """The question that an entry of a contract asks; a label may be given one value or several."""
        where = {
            label: (found,) if isinstance(found, str) else tuple(found)
            for label, found in entry.get("where", {}).items()
        }
        return cls(entry["metric"], entry["statistic"], where, entry.get("by", ""), entry.get("per", ""))

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the samples it looks at."""
        if self.statistic in {"mean", "p99"}:
            return frozenset(f"{self.metric}_{part}" for part in ("sum", "count", "bucket"))
        return frozenset({self.metric, self.per} - {""})

    def answer(self, readings: Sequence[Reading]) -> float | None:
        """The one value; None where the readings do not tell."""
        return self.answers(readings).get("")

    def answers(self, readings: Sequence[Reading]) -> dict[str, float]:
        """Values by the label `by`, under `""` where it is empty; what the readings do not tell is left out.

        Args:
            readings: The oldest first. What grew needs two.
        """
        if self.statistic == "latest":
            return self._sums(readings[-1]) if readings else {}
        if self.statistic == "maximum":
            return _greatest(self._sums(reading) for reading in readings)
        if self.statistic == "p99":
            return {} if (value := _quantile(self._buckets(readings))) is None else {"": value}
        if self.statistic == "mean":
            return _divided(self._grown(readings, f"{self.metric}_sum"), self._grown(readings, f"{self.metric}_count"))
        grown = self._grown(readings, self.metric)
        if self.statistic == "percent":
            whole = _by_label(_growth(readings, self.metric), {}, self.by)
            return {key: 100 * share for key, share in _divided(grown, whole).items()}
        return _divided(grown, self._grown(readings, self.per)) if self.per else grown

    def _sums(self, reading: Reading) -> dict[str, float]:
        return _by_label(reading.get(self.metric, {}), self.where, self.by)

    def _grown(self, readings: Sequence[Reading], name: str) -> dict[str, float]:
        return _by_label(_growth(readings, name), self.where, self.by)

    def _buckets(self, readings: Sequence[Reading]) -> dict[float, float]:
        """What came, cumulated by upper bound."""
        grown = _by_label(_growth(readings, f"{self.metric}_bucket"), self.where, "le")
        return {float(bound): count for bound, count in grown.items()}


def reading_of(families: Iterable[Family], samples: Iterable[Sample] = ()) -> dict[str, dict[Labels, float]]:
    """One look, from what was counted and what was collected."""
    found: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in families:
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    for told in samples:
        found[told.name][tuple(sorted(told.labels.items()))] = told.value
    return dict(found)


def _by_label(series: Mapping[Labels, float] | None, where: Mapping[str, Sequence[str]], by: str) -> dict[str, float]:
    """Sums of the series that meet `where`, told apart by the values of `by`."""
    sums: dict[str, float] = defaultdict(float)
    for labels, value in (series or {}).items():
        known = dict(labels)
        if all(known.get(label) in admitted for label, admitted in where.items()):
            sums[known.get(by, "")] += value
    return dict(sums)


def _growth(readings: Sequence[Reading], name: str) -> dict[Labels, float] | None:
    """By how much each series has grown from the first to the last reading; None where there are not two."""
    if len(readings) < 2:  # noqa: PLR2004 — before and after
        return None
    grown: dict[Labels, float] = defaultdict(float)
    for before, after in pairwise(readings):
        had = before.get(name, {})
        for labels, value in after.get(name, {}).items():
            earlier = had.get(labels, 0.0)
            grown[labels] += value - earlier if value >= earlier else value
    return dict(grown)


def _greatest(looks: Iterator[dict[str, float]]) -> dict[str, float]:
    most: dict[str, float] = {}
    for look in looks:
        for key, value in look.items():
            most[key] = max(value, most.get(key, -math.inf))
    return most


def _divided(part: Mapping[str, float], whole: Mapping[str, float]) -> dict[str, float]:
    """Shares, where there is a whole."""
    return {key: part.get(key, 0.0) / count for key, count in whole.items() if count}


def _quantile(cumulated: Mapping[float, float]) -> float | None:
    """The 99th percentile by upper bounds, even within a bucket, as Prometheus' `histogram_quantile` does.

    >>> _quantile({0.1: 98.0, 1.0: 100.0, float("inf"): 100.0})
    0.55
    """
    bounds = sorted(cumulated)
    total = cumulated[bounds[-1]] if bounds else 0.0
    if not total:
        return None
    rank, low, below = _QUANTILE * total, 0.0, 0.0
    for bound in bounds:
        here = cumulated[bound]
        if here >= rank:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (here - below)
        low, below = bound, here
    return low
