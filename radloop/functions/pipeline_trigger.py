"""New ground truth becomes a retraining: when to start one, and on what.

A reader verifies one image set after another, and a run for each would be waste. So every ImageVerified is delivered
after a quiet time, and only the last of a burst finds nothing newer than itself. While a run is on, nothing starts;
its end looks again. If readers never pause, the oldest finding that waits decides.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from radloop import __version__
from radloop.core.datasets import Split, split_of
from radloop.core.errors import Conflict, NotFound
from radloop.core.events import Event, PipelineTriggered, RetrainingDeferred
from radloop.core.identity import derived_id
from radloop.core.images import ImageSet, State, Truth
from radloop.core.platform import Platform
from radloop.core.ports import Change, Execution
from radloop.core.tables import IMAGE_SETS, image_set_of

CLASSES = ("absent", "present")
"""The label's two values, 0 and 1, in words."""


def handle(event: Event, platform: Platform) -> None:
    """Start a retraining on all verified image sets, if it is time, there is something new, and there is enough.

    A repeat changes nothing: the data set is named by its content and the execution by what goes into it.
    """
    last = _last(platform)
    verified = _verified(platform)
    if not verified or (last is not None and last.state == "Executing"):
        return
    dataset = _dataset(verified, platform)
    if dataset.snapshot == _snapshot_of(last):
        return
    if not _is_time(event, verified, _trained(last, platform), platform):
        return
    if any(_missing(verified, platform).values()):
        deferred = RetrainingDeferred(snapshot=dataset.snapshot, reason="too-few-verified")
        platform.records.commit(Change(events=[deferred.told(at=platform.clock(), trace=event.trace)]))
        return
    _start(dataset, platform, trace=event.trace)


def start_now(platform: Platform) -> str:
    """Start a retraining without waiting for quiet, because a person asked; returns the execution's id.

    A run that is on, or that has come to a verdict on the same data with the same recipe, is the answer too. One that
    broke before its verdict is run again under another id.

    Raises:
        Conflict: Too few patients are verified.
    """
    last = _last(platform)
    if last is not None and last.state == "Executing":
        return last.id
    verified = _verified(platform)
    needed = _needed(verified, platform)
    if needed:
        raise Conflict(_wanted(needed))
    dataset = _dataset(verified, platform)
    attempt = 0
    while _broke(_execution_id(dataset, platform, attempt), platform):
        attempt += 1
    return _start(dataset, platform, trace="", attempt=attempt)


def retraining_status(platform: Platform) -> dict[str, Any]:
    """Where the loop stands, for people.

    Returns:
        `state`: idle, collecting or running; `sentence`: the same in words; `verified`: image sets with ground
        truth; `new_since_last`: those the last run did not know in this version; `needed`: verified patients still
        missing, by split and class, only where some are.
    """
    last = _last(platform)
    verified = _verified(platform)
    trained = _trained(last, platform)
    new = sum((one.image_set.id, one.image_set.version) not in trained for one in verified)
    needed = _needed(verified, platform)
    if last is not None and last.state == "Executing":
        state, sentence = "running", "A retraining is running."
    elif not new:
        state, sentence = "idle", "Nothing new has been verified since the last retraining."
    elif needed:
        state, sentence = "collecting", _wanted(needed)
    else:
        pause_s = platform.settings.retrain_delay_s
        state, sentence = "collecting", f"Retraining starts {pause_s:g} seconds after the last verification."
    return {
        "state": state,
        "sentence": sentence,
        "verified": len(verified),
        "new_since_last": new,
        "needed": needed,
    }


# What has been verified, and what of it was trained on


@dataclass(frozen=True, slots=True)
class _Verified:
    """An image set with its ground truth, known to be there."""

    image_set: ImageSet
    truth: Truth


def _verified(platform: Platform) -> list[_Verified]:
    """Every verified image set, by id."""
    found = [image_set_of(row) for row in platform.records.find(IMAGE_SETS, {"state": str(State.VERIFIED)})]
    return sorted(
        (_Verified(image_set, image_set.truth) for image_set in found if image_set.truth is not None),
        key=lambda one: one.image_set.id,
    )


def _last(platform: Platform) -> Execution | None:
    return next(iter(platform.pipelines.executions(limit=1)), None)


def _snapshot_of(execution: Execution | None) -> str | None:
    return None if execution is None else execution.parameters.get("Snapshot")


def _trained(last: Execution | None, platform: Platform) -> frozenset[tuple[str, int]]:
    """Image sets and their versions in the data set of the last run; none where that is gone."""
    snapshot = _snapshot_of(last)
    if snapshot is None:
        return frozenset()
    try:
        manifest = platform.blobs.get(_manifest_key(snapshot))
    except NotFound:
        return frozenset()
    lines = (json.loads(line) for line in manifest.splitlines())
    return frozenset((str(line["image_set"]), int(line["version"])) for line in lines)


# When


def _is_time(event: Event, verified: list[_Verified], trained: frozenset[tuple[str, int]], platform: Platform) -> bool:
    """Whether to start now; where not, a later delivery is certain to ask again.

    The newest finding's own delivery comes a whole delay after it and never waits, so a burst ends with a start
    whatever the clock does. An end of a run within the quiet time leaves the start to that delivery.
    """
    settings = platform.settings
    newest = max(verified, key=lambda one: (one.truth.at, one.image_set.id))
    if event.detail_type == "ImageVerified" and event.detail["image_set"] == newest.image_set.id:
        return True
    now = platform.clock()
    is_quiet = not 0 <= _age_s(newest.truth.at, now) < settings.retrain_delay_s
    waiting = [one.truth.at for one in verified if (one.image_set.id, one.image_set.version) not in trained]
    return is_quiet or any(_age_s(at, now) >= settings.retrain_longest_wait_s for at in waiting)


def _age_s(at: datetime, now: datetime) -> float:
    return (now - at).total_seconds()


# What


@dataclass(frozen=True, slots=True)
class _Dataset:
    """A data set as JSON lines; `snapshot` is the SHA-256 of them."""

    manifest: bytes
    snapshot: str
    studies: int


def _dataset(verified: list[_Verified], platform: Platform) -> _Dataset:
    """The manifest of all ground truth: canonical, so that the same truth gives the same bytes."""
    manifest = b"".join(_canonical(_line(one, platform)).encode() + b"\n" for one in verified)
    return _Dataset(
        manifest=manifest,
        snapshot=hashlib.sha256(manifest).hexdigest(),
        studies=len({one.image_set.study_uid for one in verified}),
    )


def _line(one: _Verified, platform: Platform) -> dict[str, Any]:
    image_set = one.image_set
    return {
        "image_set": image_set.id,
        "version": image_set.version,
        "patient": platform.keys.pseudonym(image_set.patient_id),
        "split": str(split_of(image_set.patient_id)),
        "label": CLASSES.index(one.truth.finding.word),
        "modality": image_set.modality,
        "file": f"images/{image_set.id}.npy",
    }


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _manifest_key(snapshot: str) -> str:
    return f"training-data/snapshots/{snapshot}/manifest.jsonl"


def _missing(verified: list[_Verified], platform: Platform) -> dict[tuple[str, str], int]:
    """How many verified patients are still needed, by split and class; a patient counts once in each."""
    patients: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in verified:
        patient = one.image_set.patient_id
        patients[str(split_of(patient)), one.truth.finding.word].add(patient)
    least = platform.settings.retrain_least_per_class
    return {(str(split), word): max(0, least - len(patients[str(split), word])) for split in Split for word in CLASSES}


def _needed(verified: list[_Verified], platform: Platform) -> dict[str, dict[str, int]]:
    """The same, only where some are needed, by split and class."""
    needed: dict[str, dict[str, int]] = defaultdict(dict)
    for (split, word), count in _missing(verified, platform).items():
        if count:
            needed[split][word] = count
    return dict(needed)


def _wanted(needed: Mapping[str, Mapping[str, int]]) -> str:
    parts = [
        f"{count} {'with' if word == 'present' else 'without'} pneumonia in {split}"
        for split, classes in needed.items()
        for word, count in classes.items()
    ]
    return f"More verified patients are needed before retraining: {', '.join(parts)}."


# Go


def _broke(execution: str, platform: Platform) -> bool:
    """Whether an execution failed before the gate could say anything."""
    try:
        found = platform.pipelines.get(execution)
    except NotFound:
        return False
    return found.state == "Failed" and found.evaluation is None


def _execution_id(dataset: _Dataset, platform: Platform, attempt: int) -> str:
    """The execution is named by what goes into it; a later attempt at the same has its number in its name."""
    threshold = float(platform.settings.accuracy_threshold)
    configuration = _canonical({"recipe": platform.recipe(), "threshold": threshold})
    again = (str(attempt),) if attempt else ()
    return derived_id("execution", dataset.snapshot, __version__, configuration, *again)


def _start(dataset: _Dataset, platform: Platform, *, trace: str, attempt: int = 0) -> str:
    """Keep the data set and start the pipeline on it; both are named by content, so that doing it twice is once."""
    key = _manifest_key(dataset.snapshot)
    recipe = platform.recipe()
    threshold = float(platform.settings.accuracy_threshold)
    execution = _execution_id(dataset, platform, attempt)
    told = PipelineTriggered(execution=execution, snapshot=dataset.snapshot, studies=dataset.studies)
    platform.blobs.put(key, dataset.manifest)
    platform.pipelines.start(
        execution,
        {
            **recipe,
            "DatasetUri": f"s3://{key}",
            "Snapshot": dataset.snapshot,
            "AccuracyThreshold": threshold,
            "CodeVersion": __version__,
        },
        events=[told.told(at=platform.clock(), trace=trace)],
    )
    return execution
