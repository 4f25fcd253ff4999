"""What is measured, and how Prometheus reads it.

Every metric stands in `contracts/metrics.json` with the values its labels may take; a value outside is told as
`other`, so no label can come to carry an id. What the records know is computed from them at every scrape and is
therefore the same whichever process is asked. Only what leaves no record, the traffic, is counted: in the process, or
where several answer together, in a folder that they share.
"""

import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

import prometheus_client as prometheus
from prometheus_client import values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from radloop.core.errors import RadloopError
from radloop.core.images import ImageSet, State, Storage
from radloop.core.platform import Platform
from radloop.core.ports import Bus, Execution, Row, StepRun, Term
from radloop.core.predictions import SHADOW, key_of, observation_of
from radloop.core.tables import DRIFT, EXECUTIONS, IMAGE_SETS, INSTANCES, PREDICTIONS, QUARANTINE, READS, image_set_of
from radloop.monitoring.drift import CAUSES

LANES = ("events", "land", "fold", "predict", "pipeline")
EXECUTION_STATES = ("Executing", "Succeeded", "Failed", "Stopped")
MODEL_FIGURES = ("accuracy", "precision", "recall", "f1", "roc_auc")
OTHER = "other"
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which processes that answer together count; without it each counts for itself."""

_RETRIEVAL_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_EXECUTIONS_LOOKED_AT = 100
_EVENTS_AT_ONCE = 1000
_ANSWERS_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the catalogue.

    Attributes:
        kind: gauge, counter or histogram.
        unit: In words.
        labels: A regular expression for the whole of each label's value.
        dashboard: Lines of the brief's dashboards that it answers, such as `M1.5`; empty for none.
    """

    name: str
    kind: str
    unit: str
    help: str
    labels: Mapping[str, str] = field(default_factory=dict)
    dashboard: str = ""


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


class Meter:
    """What this process counts: its traffic, and how far it has read the outbox. Safe to use from several threads.

    Args:
        catalogue: Of `load_metrics`.
        operations: Names of the API operations there are; calls of others are counted together.

    Raises:
        ValueError: The contract does not admit an operation's name as a label.
    """

    def __init__(self, catalogue: Mapping[str, Metric], operations: Iterable[str]) -> None:
        self.catalogue = catalogue
        self._operations = frozenset(operations)
        admitted = catalogue["radloop_api_calls_total"].labels["operation"]
        for operation in sorted(self._operations):
            if re.fullmatch(admitted, operation) is None:
                raise ValueError(f"contracts/metrics.json does not admit the operation {operation}")
        # the library looks at COUNTED_IN when it is imported, which is too early
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        self._registry = prometheus.CollectorRegistry()
        self._retrieval = prometheus.Histogram(
            *self._described("radloop_frame_retrieval_seconds"),
            buckets=_RETRIEVAL_BOUNDS_S,
            registry=self._registry,
        )
        self._calls = self._counter("radloop_api_calls_total")
        self._bytes = self._counter("radloop_api_bytes_total")
        self._counted: dict[str, tuple[prometheus.Counter, prometheus.Counter]] = {}
        self._told: Counter[str] = Counter()
        self._read_up_to = 0
        self._reading = Lock()

    def frame_retrieved(self, seconds: float) -> None:
        """A frame was asked for and answered in `seconds`."""
        self._retrieval.observe(seconds)

    def answered(self, operation: str, size_bytes: int) -> None:
        """An API operation was answered with `size_bytes`."""
        label = operation if operation in self._operations else OTHER
        counted = self._counted.get(label)
        if counted is None:
            counted = self._counted[label] = self._calls.labels(label), self._bytes.labels(label)
        calls, size = counted
        calls.inc()
        size.inc(size_bytes)

    def events_told(self, bus: Bus) -> Counter[str]:
        """Events in the outbox by type; only those since the last time are read."""
        with self._reading:
            while told := bus.events(after=self._read_up_to, limit=_EVENTS_AT_ONCE):
                self._told.update(one.event.detail_type for one in told)
                self._read_up_to = told[-1].seq
            return Counter(self._told)

    def families(self) -> Iterator[Family]:
        """What this process counted; where the environment names a folder for it, what all processes did."""
        folder = os.environ.get(COUNTED_IN)
        if folder is None:
            return iter(self._registry.collect())
        everything = prometheus.CollectorRegistry()
        MultiProcessCollector(everything, path=folder)  # type: ignore[no-untyped-call]
        return iter(everything.collect())

    def _described(self, name: str) -> tuple[str, str]:
        return name, self.catalogue[name].help

    def _counter(self, name: str) -> prometheus.Counter:
        return prometheus.Counter(*self._described(name), ["operation"], registry=self._registry)


def exposition(meter: Meter, platform: Platform) -> bytes:
    """Everything measured, in Prometheus' text format 0.0.4."""
    samples = [*collect(platform), *_told(meter, platform)]
    registry = prometheus.CollectorRegistry(auto_describe=False)
    registry.register(_Answer([*_families(samples, meter.catalogue), *meter.families()]))
    return prometheus.generate_latest(registry)


def collect(platform: Platform) -> list[Sample]:
    """Every figure that follows from the records, now. What is not known yet has no sample, rather than 0."""
    image_sets = [image_set_of(row) for row in platform.records.find(IMAGE_SETS)]
    executions = platform.pipelines.executions(limit=_EXECUTIONS_LOOKED_AT)
    return [
        *_stored(image_sets, platform),
        *_refused(platform),
        *_jobs(platform),
        *_executed(executions, platform),
        *_models(platform),
        *_predicted(image_sets),
        *_served(platform),
        *_drifting(platform),
    ]


# Figures


def _stored(image_sets: Sequence[ImageSet], platform: Platform) -> Iterator[Sample]:
    for state in State:
        yield Sample("radloop_image_sets", sum(one.state is state for one in image_sets), {"state": str(state)})
    yield Sample("radloop_reads", platform.records.count(READS))
    waiting = platform.records.search_count(IMAGE_SETS, [Term("asked", "between", (0.0, None))])
    yield Sample("radloop_adjudication_waiting", waiting)
    for storage in Storage:
        count = platform.records.count(INSTANCES, {"storage": str(storage)})
        yield Sample("radloop_instances", count, {"storage": str(storage)})
    original = sum(one.original_bytes for one in image_sets)
    yield Sample("radloop_original_bytes", original)
    yield Sample("radloop_ingested_gigabytes", original / 1e9)
    yield Sample("radloop_stored_bytes", sum(one.stored_bytes for one in image_sets))
    folded = [one for one in image_sets if one.storage is Storage.FOLDED]
    yield from _percent(
        "radloop_htj2k_ratio_percent",
        sum(one.stored_bytes for one in folded),
        sum(one.original_bytes for one in folded),
    )


def _refused(platform: Platform) -> Iterator[Sample]:
    counts = {code: platform.records.count(QUARANTINE, {"reason": code}) for code in sorted(_codes(RadloopError))}
    total = platform.records.count(QUARANTINE)
    counts[OTHER] = total - sum(counts.values())
    for reason, count in counts.items():
        if count:
            yield Sample("radloop_quarantined_files", count, {"reason": reason})
    accepted = platform.records.count(INSTANCES)
    yield from _percent("radloop_data_quality_percent", accepted, accepted + total)


def _jobs(platform: Platform) -> Iterator[Sample]:
    dead = Counter(letter.job.lane for letter in platform.jobs.dead_letters())
    for lane in LANES:
        yield Sample("radloop_jobs_waiting", platform.jobs.pending(lane), {"lane": lane})
        yield Sample("radloop_dead_letters", dead[lane], {"lane": lane})


def _executed(executions: Sequence[Execution], platform: Platform) -> Iterator[Sample]:
    for state in EXECUTION_STATES:
        yield Sample("radloop_executions", platform.records.count(EXECUTIONS, {"state": state}), {"state": state})
    spans = [span for one in executions if (span := _seconds(one)) is not None]
    if spans:
        yield Sample("radloop_execution_minutes_mean", sum(spans) / len(spans) / 60)
    yield from _newest("radloop_training_seconds_per_epoch", executions, _epoch_s)
    yield from _newest("radloop_preprocessing_seconds", executions, _preprocessing_s)


def _models(platform: Platform) -> Iterator[Sample]:
    versions = platform.models.versions()
    for model in versions:
        for name in MODEL_FIGURES:
            figure = _figure(model.metrics, name)
            if figure is not None:
                yield Sample(f"radloop_model_{name}", figure, {"version": f"v{model.version}"})
    approved = sum(model.status == "Approved" for model in versions)
    yield from _percent("radloop_model_approval_percent", approved, len(versions))


def _predicted(image_sets: Sequence[ImageSet]) -> Iterator[Sample]:
    versions = Counter((one.prediction or {}).get("model_version") for one in image_sets)
    versions.pop(None, None)
    for version, count in versions.items():
        yield Sample("radloop_model_predictions", count, {"version": f"v{version}"})


def _served(platform: Platform) -> Iterator[Sample]:
    """Answers of each version, in whatever role, and how long the latest took; champion against shadow."""
    for model in platform.models.versions():
        version = f"v{model.version}"
        known = {"model_version": model.version}
        total = platform.records.count(PREDICTIONS, known)
        if not total:
            continue
        judged = platform.records.count(PREDICTIONS, {**known, "refused": None})
        yield Sample("radloop_model_answers", judged, {"version": version, "outcome": "judged"})
        yield Sample("radloop_model_answers", total - judged, {"version": version, "outcome": "refused"})
        latest = platform.records.find(PREDICTIONS, known, newest_first=True, limit=_ANSWERS_LOOKED_AT)
        times = sorted(float(row.columns["milliseconds"]) / 1000 for row in latest)
        for quantile in ("0.5", "0.95"):
            place = min(len(times) - 1, int(float(quantile) * len(times)))
            yield Sample("radloop_model_answer_seconds", times[place], {"version": version, "quantile": quantile})
        if SHADOW in model.aliases:
            yield from _shadowed(latest, platform)


def _shadowed(latest: Sequence[Row], platform: Platform) -> Iterator[Sample]:
    """How far a shadow is from the champion, on what both have judged of the latest."""
    champion = platform.models.champion()
    if champion is None:
        return
    pairs = []
    for row in latest:
        hidden = observation_of(row)
        beside = platform.records.get(PREDICTIONS, key_of(champion.version, hidden.image_set))
        if beside is not None:
            pairs.append((observation_of(beside), hidden))
    if not pairs:
        return
    agreed = sum((one.refused, one.says_present) == (other.refused, other.says_present) for one, other in pairs)
    yield from _percent("radloop_shadow_agreement_percent", agreed, len(pairs))
    apart = sum(abs(one.probability - other.probability) for one, other in pairs) / len(pairs)
    yield Sample("radloop_shadow_difference_mean", apart)


def _drifting(platform: Platform) -> Iterator[Sample]:
    """Alarms and the latest surprise of every monitor, of the version in use."""
    champion = platform.models.champion()
    row = None if champion is None else platform.records.get(DRIFT, f"v{champion.version}")
    if row is None:
        return
    for name in CAUSES:
        alarm = row.document["alarms"].get(name, {})
        yield Sample("radloop_drift_alarm", float(alarm.get("is_on", False)), {"alarm": name})
    latest = {look["monitor"]: look["chance"] for told in row.document["examinations"] for look in told["looks"]}
    for monitor, chance in latest.items():
        yield Sample("radloop_drift_surprise", -math.log10(max(chance, 1e-15)), {"monitor": monitor})


def _told(meter: Meter, platform: Platform) -> Iterator[Sample]:
    for name, count in meter.events_told(platform.bus).items():
        yield Sample("radloop_events_told_total", count, {"type": name})


# Reading them


def _percent(name: str, part: int, whole: int) -> Iterator[Sample]:
    if whole:
        yield Sample(name, 100 * part / whole)


def _newest(name: str, executions: Sequence[Execution], of: Callable[[Execution], float | None]) -> Iterator[Sample]:
    """The figure of the newest execution that has it."""
    value = next((value for one in executions if (value := of(one)) is not None), None)
    if value is not None:
        yield Sample(name, value)


def _epoch_s(execution: Execution) -> float | None:
    seconds = (execution.progress or {}).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _preprocessing_s(execution: Execution) -> float | None:
    step = next((step for step in execution.steps if step.name == "Preprocess" and step.state == "Succeeded"), None)
    return None if step is None else _seconds(step)


def _seconds(span: Execution | StepRun) -> float | None:
    """How long it took, if it has ended."""
    if span.started_at is None or span.ended_at is None:
        return None
    return (datetime.fromisoformat(span.ended_at) - datetime.fromisoformat(span.started_at)).total_seconds()


def _figure(metrics: Mapping[str, Any], name: str) -> float | None:
    """A figure as evaluation.json has it: a number, or one with its interval around `value`."""
    found = metrics.get(name)
    value = found.get("value") if isinstance(found, Mapping) else found
    return float(value) if isinstance(value, int | float) else None


def _codes(root: type[RadloopError]) -> set[str]:
    return {root.code}.union(*(_codes(below) for below in root.__subclasses__()))


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
        sums[sample.name][_admitted(sample, catalogue[sample.name])] += sample.value
    families: list[Family] = []
    for name, series in sums.items():
        metric = catalogue[name]
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(name, metric.help, labels=list(metric.labels))
        for labels, value in series.items():
            family.add_metric(labels, value)
        families.append(family)
    return families


def _admitted(sample: Sample, metric: Metric) -> tuple[str, ...]:
    """The sample's label values in the metric's order, those the contract does not admit as `other`."""
    return tuple(
        value if re.fullmatch(admitted, value := sample.labels[label]) else OTHER
        for label, admitted in metric.labels.items()
    )
