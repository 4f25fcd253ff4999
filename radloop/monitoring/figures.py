"""Every figure that follows from the records: the same whichever process is asked."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from radloop.core.errors import RadloopError
from radloop.core.images import ImageSet, State, Storage
from radloop.core.platform import Platform
from radloop.core.ports import Execution, Row, StepRun, Term
from radloop.core.predictions import SHADOW, key_of, observation_of
from radloop.core.tables import (
    ALARMS,
    DRIFT,
    EXECUTIONS,
    IMAGE_SETS,
    INSTANCES,
    PREDICTIONS,
    QUARANTINE,
    READS,
    image_set_of,
)
from radloop.monitoring.catalogue import OTHER, Sample
from radloop.monitoring.drift import CAUSES

LANES = (
    *("events", "land", "import", "fold", "ask", "predict", "pipeline", "mirror", "notify"),
    *("assembly", "stream"),  # on AWS alone
)
"""Every lane in which a job may wait and be given up on."""

EXECUTION_STATES = ("Executing", "Succeeded", "Failed", "Stopped")
MODEL_FIGURES = ("accuracy", "precision", "recall", "f1", "roc_auc")
FEWEST_JUDGED = 25
"""Judged image sets below which nothing is said about how often the model in use is right."""

_EXECUTIONS_LOOKED_AT = 100
_ANSWERS_LOOKED_AT = 200
_SERVINGS_LOOKED_AT = 100
_SURE = 1.96  # standard deviations, for 95 %
_COMPUTING = ("Processing", "Training")


def collect(platform: Platform) -> list[Sample]:
    """Every figure that follows from the records, now. What is not known yet has no sample, rather than 0."""
    image_sets = [image_set_of(row) for row in platform.records.find(IMAGE_SETS)]
    executions = platform.pipelines.executions(limit=_EXECUTIONS_LOOKED_AT)
    return [
        *_stored(image_sets, platform),
        *_refused(platform),
        *_jobs(platform),
        *_budgeted(image_sets, platform),
        *_executed(executions, platform),
        *_computed(executions, platform),
        *_models(platform),
        *_deployed(platform),
        *_predicted(image_sets),
        *_served(platform),
        *_drifting(platform),
        *_alarmed(platform),
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
    if _is_weighed(image_sets):
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


def _budgeted(image_sets: Sequence[ImageSet], platform: Platform) -> Iterator[Sample]:
    budget = round(platform.settings.storage_budget_gigabytes * 1e9) if _is_weighed(image_sets) else 0
    yield from _percent("radloop_storage_budget_percent", sum(one.stored_bytes for one in image_sets), budget)


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
    yield from _newest("radloop_training_seconds_per_epoch", executions, partial(_of_epoch, name="seconds"))
    yield from _newest("radloop_preprocessing_seconds", executions, _preprocessing_s)


def _computed(executions: Sequence[Execution], platform: Platform) -> Iterator[Sample]:
    """What trainings took of the machine and of the purse, and whether the latest went wrong."""
    yesterday = platform.clock() - timedelta(days=1)
    yield Sample(
        "radloop_executions_last_day", sum(datetime.fromisoformat(one.started_at) >= yesterday for one in executions)
    )
    trained = next((step for one in executions for step in one.steps if _has_trained(step)), None)
    yield Sample("radloop_training_failed", float(trained is not None and trained.state == "Failed"))
    for figure in ("cpu_percent", "gpu_percent"):
        yield from _newest(f"radloop_training_{figure}", executions, partial(_of_epoch, name=figure))
    price = platform.settings.compute_dollars_per_hour
    if price:
        yield from _newest("radloop_training_cost_dollars", executions, partial(_cost, dollars_per_hour=price))


def _models(platform: Platform) -> Iterator[Sample]:
    versions = platform.models.versions()
    for model in versions:
        for name in MODEL_FIGURES:
            figure = _figure(model.metrics, name)
            if figure is not None:
                yield Sample(f"radloop_model_{name}", figure, {"version": f"v{model.version}"})
    approved = sum(model.status == "Approved" for model in versions)
    yield from _percent("radloop_model_approval_percent", approved, len(versions))


def _deployed(platform: Platform) -> Iterator[Sample]:
    """How long versions waited from their registration until they first served."""
    registered = {model.version: datetime.fromisoformat(model.created_at) for model in platform.models.versions()}
    first: dict[int, datetime] = {}
    for serving in platform.models.servings():
        first.setdefault(serving.version, serving.since)
    waits = [since - registered[version] for version, since in first.items() if version in registered]
    waits = waits[-_SERVINGS_LOOKED_AT:]
    if waits:
        yield Sample("radloop_deployment_hours_mean", sum(waits, timedelta()) / len(waits) / timedelta(hours=1))


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
        yield Sample("radloop_drift_surprise", _surprise(chance), {"monitor": monitor})
    limits = {
        look["monitor"]: told["level"]
        for told in row.document["examinations"]
        if "level" in told
        for look in told["looks"]
    }
    scores = [_surprise(latest[monitor]) / _surprise(level) for monitor, level in limits.items()]
    if scores:
        yield Sample("radloop_drift_score", max(scores))
    right = [bool(each[1]) for each in row.document.get("labelled", ())]
    if len(right) >= FEWEST_JUDGED:
        for bound, value in zip(("value", "low", "high"), _share(sum(right), len(right)), strict=True):
            yield Sample("radloop_champion_accuracy", value, {"bound": bound})


def _alarmed(platform: Platform) -> Iterator[Sample]:
    for row in platform.records.find(ALARMS):
        yield Sample("radloop_alarm", float(row.document["is_on"]), {"alarm": row.key})


# Reading them


def _is_weighed(image_sets: Sequence[ImageSet]) -> bool:
    """Whether their bytes are known: where another service holds the pixels, nothing in the records tells."""
    return not image_sets or any(one.original_bytes for one in image_sets)


def _percent(name: str, part: int, whole: int) -> Iterator[Sample]:
    if whole:
        yield Sample(name, 100 * part / whole)


def _newest(name: str, executions: Sequence[Execution], of: Callable[[Execution], float | None]) -> Iterator[Sample]:
    """The figure of the newest execution that has it."""
    value = next((value for one in executions if (value := of(one)) is not None), None)
    if value is not None:
        yield Sample(name, value)


def _of_epoch(execution: Execution, name: str) -> float | None:
    """A figure of the latest epoch; later steps tell of themselves, and then the history knows it."""
    progress = execution.progress or {}
    latest = (progress, *reversed(progress.get("history", ())))
    return next((float(each[name]) for each in latest if isinstance(each.get(name), int | float)), None)


def _has_trained(step: StepRun) -> bool:
    return step.type == "Training" and step.ended_at is not None


def _cost(execution: Execution, dollars_per_hour: float) -> float | None:
    """What the steps of an ended run that computed cost."""
    if execution.ended_at is None:
        return None
    spans = [_seconds(step) for step in execution.steps if step.type in _COMPUTING]
    return sum(span for span in spans if span is not None) / 3600 * dollars_per_hour


def _surprise(chance: float) -> float:
    """Orders of magnitude by which something is unlikely."""
    return -math.log10(max(chance, 1e-15))


def _share(part: int, whole: int) -> tuple[float, float, float]:
    """A share with its 95 % interval (Wilson).

    >>> [round(value, 3) for value in _share(20, 25)]
    [0.8, 0.609, 0.911]
    """
    share, square = part / whole, _SURE**2
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = _SURE * math.sqrt(share * (1 - share) / whole + square / (4 * whole**2)) / (1 + square / whole)
    return share, middle - half, middle + half


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
