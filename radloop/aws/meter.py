"""Figures told to CloudWatch as lines on the standard output, in its embedded metric format (EMF), by powertools.

The names are those of `contracts/metrics.json`, in the namespace `Radloop`, with the labels as dimensions; a value of a
label that the contract does not admit is told as `other`, so no dimension can come to carry an id. No call is made and
nothing is waited for: CloudWatch takes the figures out of the log.
"""

import math
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import orjson
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from radloop.core.ports import Clock
from radloop.monitoring.catalogue import OTHER, Metric, Sample
from radloop.monitoring.metrics import Meter
from radloop.monitoring.work import WorkMeter

NAMESPACE: Final = "Radloop"

_MOST_VALUES: Final = 100  # of one metric in one line
_MOST_METRICS: Final = 100  # in one line
_UNITS: Final = {
    "seconds": "Seconds",
    "bytes": "Bytes",
    "gigabytes": "Gigabytes",
    "percent": "Percent",
    **dict.fromkeys(("ratio", "minutes", "hours", "dollars", "orders of magnitude"), "None"),
}

_Labels = tuple[tuple[str, str], ...]


class Emf:
    """Gathers figures until they are told: of a counter what was added, of a gauge the latest, of a histogram each.

    Safe to use from several threads.

    Args:
        catalogue: Of `load_metrics`.
        clock: The present moment.
        write: Takes a line without its end; to the standard output unless told.
    """

    def __init__(
        self, catalogue: Mapping[str, Metric], clock: Clock, write: Callable[[str], None] | None = None
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._write = write or _to_stdout
        self._counts: dict[tuple[str, _Labels], float] = {}
        self._seen: dict[tuple[str, _Labels], list[float]] = {}
        self._guard = threading.Lock()

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = (name, self._admitted(name, labels))
        with self._guard:
            self._counts[key] = self._counts.get(key, 0) + value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Note one value of a histogram or a gauge."""
        key = (name, self._admitted(name, labels))
        with self._guard:
            self._seen.setdefault(key, []).append(value)

    def flush(self) -> None:
        """Tell what was gathered."""
        with self._guard:
            counts, self._counts = self._counts, {}
            seen, self._seen = self._seen, {}
        self._tell({**{key: [value] for key, value in counts.items()}, **seen})

    def tell(self, samples: Iterable[Sample]) -> None:
        """Tell samples as they stand; those that share all dimensions are one, their sum."""
        sums: dict[tuple[str, _Labels], float] = defaultdict(float)
        for sample in samples:
            sums[sample.name, self._admitted(sample.name, sample.labels)] += sample.value
        self._tell({key: [value] for key, value in sums.items()})

    def _tell(self, figures: Mapping[tuple[str, _Labels], Sequence[float]]) -> None:
        by_labels: dict[_Labels, list[tuple[str, Sequence[float]]]] = defaultdict(list)
        for (name, labels), values in figures.items():
            by_labels[labels] += [(name, some) for some in _pieces([*filter(math.isfinite, values)], _MOST_VALUES)]
        for labels, named in by_labels.items():
            for some in _lines(named):
                self._write(self._line(labels, some))

    def _line(self, labels: _Labels, figures: Mapping[str, Sequence[float]]) -> str:
        metrics = {
            name: {
                "Unit": _UNITS.get(self._catalogue[name].unit, "Count"),
                "Value": values[0] if len(values) == 1 else list(values),
            }
            for name, values in figures.items()
        }
        form = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")  # no dimension besides the labels
        form.timestamp = int(self._clock().timestamp() * 1000)
        return orjson.dumps(form.serialize_metric_set(metrics, dict(labels), {})).decode()

    def _admitted(self, name: str, labels: Mapping[str, str]) -> _Labels:
        metric = self._catalogue[name]
        return tuple(zip(metric.labels, metric.admitted(labels), strict=True))


class EmfWork(WorkMeter):
    """Counts the work of a process for CloudWatch too."""

    def __init__(self, catalogue: Mapping[str, Metric], emf: Emf) -> None:
        super().__init__(catalogue)
        self._emf = emf
        self._waits_since: float | None = None
        self._unsealed_since: float | None = None

    def ran(self, function: str, *, is_ok: bool) -> None:
        """See `WorkMeter.ran`."""
        super().ran(function, is_ok=is_ok)
        self._emf.count("radloop_function_runs_total", function=function, outcome="ok" if is_ok else "failed")

    def store_failed(self) -> None:
        """See `WorkMeter.store_failed`."""
        super().store_failed()
        self._emf.count("radloop_datastore_errors_total")

    def database_busy(self) -> None:
        """See `WorkMeter.database_busy`."""
        super().database_busy()
        self._emf.count("radloop_database_busy_total")

    def audit_waits(self, since: float | None) -> None:
        """See `WorkMeter.audit_waits`."""
        super().audit_waits(since)
        self._waits_since = since

    def seal_waits(self, since: float | None) -> None:
        """What was noted in the audit has waited for its seal since then, in seconds since 1970; None for nothing."""
        self._unsealed_since = since

    def flush(self, now: float) -> None:
        """Tell what was counted, and how long what waits longest for the audit has waited.

        Args:
            now: Seconds since 1970.
        """
        waiting = [since for since in (self._waits_since, self._unsealed_since) if since is not None]
        self._emf.observe("radloop_audit_lag_seconds", max((max(0.0, now - since) for since in waiting), default=0.0))
        self._emf.flush()


class EmfMeter(Meter):
    """Counts the traffic of the doors for CloudWatch too."""

    def __init__(self, catalogue: Mapping[str, Metric], operations: Iterable[str], emf: Emf) -> None:
        super().__init__(catalogue, operations, EmfWork(catalogue, emf))
        self._emf = emf
        self._open = 0
        self._opening = threading.Lock()

    def frames_retrieved(self, seconds: float, frames: int = 1) -> None:
        """See `Meter.frames_retrieved`."""
        super().frames_retrieved(seconds, frames)
        self._emf.observe("radloop_frame_retrieval_seconds", seconds / frames)
        self._emf.count("radloop_frames_retrieved_total", frames)

    def answered(self, operation: str, size_bytes: int) -> None:
        """See `Meter.answered`."""
        super().answered(operation, size_bytes)
        operation = operation if operation in self._operations else OTHER
        self._emf.count("radloop_api_calls_total", operation=operation)
        self._emf.count("radloop_api_bytes_total", size_bytes, operation=operation)

    def stream_began(self) -> None:
        """See `Meter.stream_began`."""
        super().stream_began()
        self._opened(1)

    def stream_ended(self) -> None:
        """See `Meter.stream_ended`."""
        super().stream_ended()
        self._opened(-1)

    def _opened(self, more: int) -> None:
        with self._opening:
            self._open += more
            self._emf.observe("radloop_streams_open", self._open)


def _lines(figures: Sequence[tuple[str, Sequence[float]]]) -> Iterator[dict[str, Sequence[float]]]:
    """Figures for one line each: a name stands there once."""
    line: dict[str, Sequence[float]] = {}
    for name, values in figures:
        if name in line or len(line) == _MOST_METRICS:
            yield line
            line = {}
        line[name] = values
    if line:
        yield line


def _pieces(values: Sequence[float], size: int) -> Iterator[Sequence[float]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _to_stdout(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
