"""What is measured, and how Prometheus reads it.

Every metric stands in `contracts/metrics.json` with the values its labels may take; a value outside is told as
`other`, so no label can come to carry an id. What the records know is computed from them at every scrape and is
therefore the same whichever process is asked. Only what leaves no record, the traffic, is counted: in the process, or
where several answer together, in a folder that they share.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock

import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from radloop.core.platform import Platform
from radloop.core.ports import Bus
from radloop.monitoring.catalogue import COUNTED_IN, OTHER, Metric, Sample, load_metrics
from radloop.monitoring.figures import EXECUTION_STATES, LANES, collect
from radloop.monitoring.work import WorkMeter, counted

__all__ = [
    "COUNTED_IN",
    "EXECUTION_STATES",
    "LANES",
    "OTHER",
    "Meter",
    "Metric",
    "Sample",
    "collect",
    "exposition",
    "load_metrics",
    "text_of",
]

_RETRIEVAL_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_EVENTS_AT_ONCE = 1000


class Meter:
    """What this process counts: its traffic, and how far it has read the outbox. Safe to use from several threads.

    Args:
        catalogue: Of `load_metrics`.
        operations: Names of the API operations there are; calls of others are counted together.
        work: What this process counts besides; None for a meter of its own.

    Raises:
        ValueError: The contract does not admit an operation's name as a label.
    """

    def __init__(
        self, catalogue: Mapping[str, Metric], operations: Iterable[str], work: WorkMeter | None = None
    ) -> None:
        self.catalogue = catalogue
        self.work = WorkMeter(catalogue) if work is None else work
        self._operations = frozenset(operations)
        admitted = catalogue["radloop_api_calls_total"].labels["operation"]
        for operation in sorted(self._operations):
            if re.fullmatch(admitted, operation) is None:
                raise ValueError(f"contracts/metrics.json does not admit the operation {operation}")
        self._registry = prometheus.CollectorRegistry()
        self._retrieval = prometheus.Histogram(
            *self._described("radloop_frame_retrieval_seconds"),
            buckets=_RETRIEVAL_BOUNDS_S,
            registry=self._registry,
        )
        self._frames = prometheus.Counter(*self._described("radloop_frames_retrieved_total"), registry=self._registry)
        self._calls = self._counter("radloop_api_calls_total")
        self._bytes = self._counter("radloop_api_bytes_total")
        self._streams = prometheus.Gauge(
            *self._described("radloop_streams_open"), registry=self._registry, multiprocess_mode="livesum"
        )
        self._counted: dict[str, tuple[prometheus.Counter, prometheus.Counter]] = {}
        self._told: Counter[str] = Counter()
        self._read_up_to = 0
        self._reading = Lock()

    def frames_retrieved(self, seconds: float, frames: int = 1) -> None:
        """A request for frames was answered: one value for the request, its seconds shared out among the frames."""
        self._retrieval.observe(seconds / frames)
        self._frames.inc(frames)

    def answered(self, operation: str, size_bytes: int) -> None:
        """An API operation was answered with `size_bytes`."""
        label = operation if operation in self._operations else OTHER
        counted = self._counted.get(label)
        if counted is None:
            counted = self._counted[label] = self._calls.labels(label), self._bytes.labels(label)
        calls, size = counted
        calls.inc()
        size.inc(size_bytes)

    def stream_began(self) -> None:
        """A stream is being sent from now on."""
        self._streams.inc()

    def stream_ended(self) -> None:
        """It is not any more, however it ended."""
        self._streams.dec()

    def events_told(self, bus: Bus) -> Counter[str]:
        """Events in the outbox by type; only those since the last time are read."""
        with self._reading:
            while told := bus.events(after=self._read_up_to, limit=_EVENTS_AT_ONCE):
                self._told.update(one.event.detail_type for one in told)
                self._read_up_to = told[-1].seq
            return Counter(self._told)

    def counted(self) -> tuple[list[Family], list[Sample]]:
        """What this process counted, or where the environment names a folder for it, all processes; see `counted`."""
        return counted((self._registry, self.work.registry))

    def _described(self, name: str) -> tuple[str, str]:
        return name, self.catalogue[name].help

    def _counter(self, name: str) -> prometheus.Counter:
        return prometheus.Counter(*self._described(name), ["operation"], registry=self._registry)


def exposition(meter: Meter, platform: Platform) -> bytes:
    """Everything measured, in Prometheus' text format 0.0.4."""
    families, waiting = meter.counted()
    return text_of(meter.catalogue, families, [*collect(platform), *_told(meter, platform), *waiting])


def text_of(catalogue: Mapping[str, Metric], families: Iterable[Family], samples: Iterable[Sample]) -> bytes:
    """Families as they stand and samples by metric, in Prometheus' text format 0.0.4."""
    registry = prometheus.CollectorRegistry(auto_describe=False)
    registry.register(_Answer([*_families(samples, catalogue), *families]))
    return prometheus.generate_latest(registry)


def _told(meter: Meter, platform: Platform) -> Iterator[Sample]:
    for name, count in meter.events_told(platform.bus).items():
        yield Sample("radloop_events_told_total", count, {"type": name})


# Telling them


class _Answer(Collector):
    """Families that are ready to be told."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _families(samples: Iterable[Sample], catalogue: Mapping[str, Metric]) -> list[Family]:
    """Samples by metric; those that share all label values, such as several `other`, are one series, their sum."""
    sums: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
    for sample in samples:
        sums[sample.name][catalogue[sample.name].admitted(sample.labels)] += sample.value
    families: list[Family] = []
    for name, series in sums.items():
        metric = catalogue[name]
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(name, metric.help, labels=list(metric.labels))
        for labels, value in series.items():
            family.add_metric(labels, value)
        families.append(family)
    return families
