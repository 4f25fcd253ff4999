"""New ground truth becomes a retraining: when to start one. On what is the business of `functions.snapshots`.

A reader verifies one image set after another, and a run for each would be waste. So every ImageVerified is delivered
after a quiet time, and only the last of a burst finds nothing newer than itself. While a run is on, nothing starts;
its end looks again. If readers never pause, the oldest finding that waits decides.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from radloop import __version__
from radloop.core.datasets import Split, canonical
from radloop.core.errors import Conflict, Corrupt, InvalidInput, NotFound
from radloop.core.events import Event, PipelineTriggered, RetrainingDeferred
from radloop.core.identity import derived_id
from radloop.core.platform import Platform
from radloop.core.ports import Change, Execution
from radloop.functions import contexts, snapshots
from radloop.functions.snapshots import CLASSES, Snapshot, Verified
from radloop.store.learning import discard_deleted

_NEWEST_EVENTS: Final = 50


def handle(event: Event, platform: Platform) -> None:
    """Start a retraining on all verified image sets, if it is time, there is something new, and there is enough.

    A repeat changes nothing: the data set is named by its content and the execution by what goes into it.
    """
    if event.detail_type == "PipelineEnded":
        contexts.trim(str(event.detail["execution"]), platform)
        discard_deleted(platform.blobs, platform.records, str(event.detail["execution"]))
    last = _last(platform)
    if last is not None and last.state == "Executing":
        return
    if event.detail_type == "ImageVerified" and _is_in_vain(event, last, platform):
        return
    verified = snapshots.verified(platform)
    if not verified:
        return
    snapshot = snapshots.take(platform, verified)
    if snapshot.sha256 == _snapshot_of(last):
        return
    if not _is_time(event, verified, snapshot, _trained(last, platform), platform):
        return
    if any(_missing(snapshot, platform).values()):
        deferred = RetrainingDeferred(snapshot=snapshot.sha256, reason="too-few-verified")
        platform.records.commit(Change(events=[deferred.told(at=platform.clock(), trace=event.trace)]))
        return
    _start(snapshot, verified, platform, trace=event.trace)


def start_now(platform: Platform, *, again: bool = False) -> str:
    """Start a retraining without waiting for quiet, because a person asked; returns the execution's id.

    A run that is on, or that has come to a verdict on the same data with the same recipe and policy, is the answer
    too. One that broke before its verdict is run again under another id.

    Args:
        platform: The ports.
        again: The verdict against an earlier champion is no answer: the same data are run against today's.

    Raises:
        Conflict: Too few patients are verified.
    """
    last = _last(platform)
    if last is not None and last.state == "Executing":
        return last.id
    verified = snapshots.verified(platform)
    snapshot = snapshots.take(platform, verified)
    needed = _needed(snapshot, platform)
    if needed:
        raise Conflict(_wanted(needed))
    champion = platform.models.champion()
    against = (f"champion {champion.version}",) if again and champion is not None else ()
    attempt = 0
    while _broke(_execution_id(snapshot, platform, attempt, against), platform):
        attempt += 1
    return _start(snapshot, verified, platform, trace="", attempt=attempt, against=against)


def retraining_status(platform: Platform) -> dict[str, Any]:
    """Where the loop stands, for people.

    Returns:
        `state`: idle, collecting or running; `sentence`: the same in words; `verified`: image sets with ground
        truth; `new_since_last`: those the last run did not know in this version and the next one will; `needed`:
        verified patients still missing, by split and class, only where some are.
    """
    last = _last(platform)
    verified = snapshots.verified(platform)
    snapshot = snapshots.take(platform, verified)
    new = len(_waiting(snapshot, _trained(last, platform)))
    needed = _needed(snapshot, platform)
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


# What was trained on


def _last(platform: Platform) -> Execution | None:
    return next(iter(platform.pipelines.executions(limit=1)), None)


def _snapshot_of(execution: Execution | None) -> str | None:
    return None if execution is None else execution.parameters.get("Snapshot")


def _trained(last: Execution | None, platform: Platform) -> frozenset[tuple[str, int]]:
    """Image sets and their versions in the data set of the last run; none where that is gone or damaged."""
    name = _snapshot_of(last)
    if name is None:
        return frozenset()
    try:
        examples = snapshots.read(name, platform).examples
    except (NotFound, Corrupt, InvalidInput):
        return frozenset()
    return frozenset((example.image_set, example.version) for example in examples)


def _waiting(snapshot: Snapshot, trained: frozenset[tuple[str, int]]) -> frozenset[str]:
    """Image sets that the next run will know and the last one did not, or not in this version."""
    return frozenset(one.image_set for one in snapshot.examples if (one.image_set, one.version) not in trained)


# When


def _is_in_vain(event: Event, last: Execution | None, platform: Platform) -> bool:
    """Whether a verification's delivery has nothing to start, told without looking at all ground truth.

    In a storm of verifications nearly every delivery ends here: the last run knew the finding, or a later one's own
    delivery is certain to ask again.
    """
    return (last is not None and _knew(last, event, platform)) or _will_ask_again(last, event, platform)


def _knew(last: Execution, event: Event, platform: Platform) -> bool:
    """Whether the last run was started on a finding; what is newer has a delivery of its own."""
    try:
        manifest = platform.blobs.get(snapshots.manifest_key(str(last.parameters.get("Snapshot"))))
    except NotFound:
        return False
    at = manifest.find(f'"image_set":"{event.detail["image_set"]}"'.encode())
    line = manifest[manifest.rfind(b"\n", 0, at) + 1 : manifest.find(b"\n", at)] if at >= 0 else b"{}"
    return bool(json.loads(line).get("version") == event.detail["version"])


def _will_ask_again(last: Execution | None, event: Event, platform: Platform) -> bool:
    """Whether a later verification's delivery is still to come, and nothing can have waited too long before.

    What waits was verified after the last run began, or else after anything ever happened; where that is long ago,
    ground truth itself must tell.
    """
    settings, now = platform.settings, platform.clock()
    began = [one.event.time for one in platform.bus.events(limit=1)] if last is None else [last.started_at]
    if not all(0 <= _age_s(datetime.fromisoformat(at), now) < settings.retrain_longest_wait_s for at in began):
        return False
    newest = platform.bus.events(limit=_NEWEST_EVENTS, newest_first=True)
    later = [one.event for one in newest if one.event.detail_type == "ImageVerified" and one.event.time > event.time]
    return any(0 <= _age_s(datetime.fromisoformat(one.time), now) < settings.retrain_delay_s for one in later)


def _is_time(
    event: Event,
    verified: Sequence[Verified],
    snapshot: Snapshot,
    trained: frozenset[tuple[str, int]],
    platform: Platform,
) -> bool:
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
    names = _waiting(snapshot, trained)
    waiting = [one.truth.at for one in verified if one.image_set.id in names]
    return is_quiet or any(_age_s(at, now) >= settings.retrain_longest_wait_s for at in waiting)


def _age_s(at: datetime, now: datetime) -> float:
    return (now - at).total_seconds()


# Whether there is enough


def _missing(snapshot: Snapshot, platform: Platform) -> dict[tuple[str, str], int]:
    """How many verified patients are still needed, by split and class; a patient counts once in each."""
    patients: dict[tuple[str, str], set[str]] = defaultdict(set)
    for example in snapshot.examples:
        patients[example.split, CLASSES[example.label]].add(example.patient)
    least = platform.settings.retrain_least_per_class
    return {(str(split), word): max(0, least - len(patients[str(split), word])) for split in Split for word in CLASSES}


def _needed(snapshot: Snapshot, platform: Platform) -> dict[str, dict[str, int]]:
    """The same, only where some are needed, by split and class."""
    needed: dict[str, dict[str, int]] = defaultdict(dict)
    for (split, word), count in _missing(snapshot, platform).items():
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


def _execution_id(snapshot: Snapshot, platform: Platform, attempt: int, against: Sequence[str]) -> str:
    """The execution is named by what goes into it; a later attempt at the same has its number in its name.

    The champion is no part of the name but where somebody asked to be judged `against` today's: a new champion alone
    is no reason to train again.
    """
    configuration = canonical(
        {
            "recipe": platform.recipe(),
            "threshold": float(platform.settings.accuracy_threshold),
            "policy": contexts.policy_of(platform).sha256,
        }
    )
    again = (str(attempt),) if attempt else ()
    return derived_id("execution", snapshot.sha256, __version__, configuration, *against, *again)


def _start(
    snapshot: Snapshot,
    verified: Sequence[Verified],
    platform: Platform,
    *,
    trace: str,
    attempt: int = 0,
    against: Sequence[str] = (),
) -> str:
    """Keep the data set and start the pipeline on it; both are named by content, so that doing it twice is once."""
    execution = _execution_id(snapshot, platform, attempt, against)
    used = {example.image_set for example in snapshot.examples}
    newest = max((one.truth.at for one in verified if one.image_set.id in used), default=platform.clock())
    context = contexts.make(execution, platform, newest=newest)
    told = PipelineTriggered(execution=execution, snapshot=snapshot.sha256, studies=snapshot.studies)
    snapshots.keep(snapshot, platform)
    platform.pipelines.start(
        execution,
        {
            **platform.recipe(),
            "DatasetUri": f"s3://{snapshots.PREFIX}/{snapshot.sha256}",
            "Snapshot": snapshot.sha256,
            "ContextUri": context.uri,
            "Policy": context.policy_sha256,
            "Champion": context.champion,
            "AccuracyThreshold": float(platform.settings.accuracy_threshold),
            "CodeVersion": __version__,
        },
        events=[told.told(at=platform.clock(), trace=trace)],
    )
    return execution
