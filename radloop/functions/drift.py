"""The watch over the model in use: takes what it said as it comes, fills blocks, examines them, raises alarms.

State is one record a model version. It is only ever written whole, at the revision it was read at, so that two who
watch at once are one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np

from radloop.core.errors import Conflict
from radloop.core.events import AlarmStateChanged, Event
from radloop.core.identity import derived_id
from radloop.core.platform import Platform
from radloop.core.ports import Change, Job, ModelVersion, Put, Row
from radloop.core.predictions import Observation, observation_of
from radloop.core.tables import DRIFT, IMAGE_SETS, PREDICTIONS, image_set_of
from radloop.functions import pipeline_trigger
from radloop.functions.model_registry import retrains_on
from radloop.functions.prediction import LANE, WATCH, result_to_write
from radloop.monitoring.drift import (
    BLOCKS,
    CAUSES,
    FEWEST_PATIENTS,
    INPUTS,
    LABELS,
    MONITORS,
    PREFIX,
    PREVALENCE,
    SCORES,
    Alarm,
    Examination,
    Studies,
    advance,
    examine,
    examine_labels,
    independent,
    level_of,
)
from radloop.monitoring.feedback import feedback
from radloop.serving.reference import Reference

PLAN: Final = "plan"
"""The setting `release` where a change control plan is in force."""

_LARGEST: Final = BLOCKS[-1]
_HISTORY: Final = 120
_LOOKED_BACK: Final = 1000
_LABELS_DELAY_S: Final = 30.0
_FORGIVEN: Final = 0.05
"""Calibration error that is forgiven where the model's evaluation tells none."""


class References(Protocol):
    """Where references come from."""

    def reference(self, version: int) -> Reference | None:
        """See `Champion.reference`."""
        ...


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watch over one model version knows.

    Attributes:
        revision: Of the record; 0 for none yet.
        order: Place of the last answer that was taken.
        seen: Answers there were when it was last looked.
        counted: Answers that went into blocks; a patient counts once in the largest block.
        recent: Patient and key of the last of them, at most as many as the largest block has.
        labelled: Key, whether right, and confidence of the last that readers have judged, in the same number.
        judged: How many readers have judged in all.
        alarms: By name.
        examinations: The latest, plain.
        reference: Of what the reference is: image sets, patients, prevalence; empty where there is none.
    """

    revision: int = 0
    order: int = 0
    seen: int = 0
    counted: int = 0
    recent: tuple[tuple[str, str], ...] = ()
    labelled: tuple[tuple[str, bool, float], ...] = ()
    judged: int = 0
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    examinations: tuple[Mapping[str, Any], ...] = ()
    reference: Mapping[str, Any] = field(default_factory=dict)


def handle(event: Event, platform: Platform) -> None:
    """New ground truth: have the watch look whether the model was right, once for all of half a minute.

    Where several read, the model's result could not be written into the study before; now it can.
    """
    champion = platform.models.champion()
    if champion is None:
        return
    written = result_to_write(str(event.detail["image_set"]), platform)
    half_minute = str(int(platform.clock().timestamp() // _LABELS_DELAY_S))
    name = derived_id(WATCH, "labels", str(champion.version), half_minute)
    payload = {"model_version": champion.version}
    platform.records.commit(Change(jobs=[Job(name, LANE, WATCH, payload, delay_s=_LABELS_DELAY_S), *written]))


def handle_alarm(event: Event, platform: Platform) -> None:
    """A drift alarm went on: retrain, where the plan names it, and enough is verified.

    Where no plan is in force, the setting `retrain_on_drift` decides. What a retraining makes takes the way of every
    other: the gate, the plan and, where they ask for one, a person.
    """
    if not _retrains(str(event.detail["alarm"]), platform):
        return
    try:
        pipeline_trigger.start_now(platform)
    except Conflict:  # too little is verified; the next verification asks again
        return


def _retrains(alarm: str, platform: Platform) -> bool:
    if platform.settings.release == PLAN:
        return retrains_on(platform, alarm.removeprefix(PREFIX))
    return platform.settings.retrain_on_drift


def watch(model_version: int, platform: Platform, references: References) -> Watched:
    """Take what `model_version` said since the last time, and examine every block that is full.

    Doing it twice is doing it once: what was taken is not taken again.

    Raises:
        Conflict: Somebody else watched meanwhile; worth another try.
        NotFound: There is no such version, or its package is gone.
    """
    known = watched(model_version, platform)
    held = references.reference(model_version)
    now = platform.clock()
    rows = platform.records.find(PREDICTIONS, {"model_version": model_version}, after=known.order)
    there = platform.records.count(PREDICTIONS, {"model_version": model_version})
    after = replace(known if there >= known.seen + len(rows) else _of_those_there(known, platform), seen=there)
    reference = None if held is None else studies_of(held)
    if held is not None and reference is not None and len(reference) >= FEWEST_PATIENTS:
        after = _taken(replace(after, reference=_facts(held)), rows, reference, platform)
    after = _labels_taken(after, model_version, platform)
    if rows:
        after = replace(after, order=rows[-1].order)
    changes = [
        alarm for name, alarm in after.alarms.items() if known.alarms.get(name, Alarm(name)).is_on != alarm.is_on
    ]
    events = [
        AlarmStateChanged(
            alarm=alarm.name,
            state="ALARM" if alarm.is_on else "OK",
            cause=f"{alarm.name} v{model_version} after {after.counted} studies and {after.judged} reads",
        ).told(at=now)
        for alarm in changes
    ]
    platform.records.commit(Change(writes=[_put(after, model_version)], events=events))
    return replace(after, revision=known.revision + 1)


def watched(model_version: int, platform: Platform) -> Watched:
    """What is known of a model version so far."""
    row = platform.records.get(DRIFT, _key(model_version))
    if row is None:
        return Watched()
    document = dict(row.document)
    document["recent"] = tuple((patient, key) for patient, key in document["recent"])
    document["labelled"] = tuple((key, right, sure) for key, right, sure in document["labelled"])
    document["alarms"] = {name: Alarm(**values) for name, values in document["alarms"].items()}
    document["examinations"] = tuple(document["examinations"])
    return Watched(**document, revision=row.revision)


# Taking what was said


def _of_those_there(known: Watched, platform: Platform) -> Watched:
    """Without the answers on image sets that have been deleted; what was examined with them stays examined."""
    keys = {key for _, key in known.recent} | {key for key, _, _ in known.labelled}
    there = {key for key in keys if platform.records.get(PREDICTIONS, key, columns=()) is not None}
    return replace(
        known,
        recent=tuple(each for each in known.recent if each[1] in there),
        labelled=tuple(each for each in known.labelled if each[0] in there),
    )


def _taken(known: Watched, rows: Sequence[Row], reference: Studies, platform: Platform) -> Watched:
    """One answer after the other, so that blocks are the same however many come at once."""
    for row in rows:
        said = observation_of(row)
        if not said.embedding or said.patient in {patient for patient, _ in known.recent}:
            continue
        recent = (*known.recent, (said.patient, row.key))[-_LARGEST:]
        known = replace(known, recent=recent, counted=known.counted + 1)
        for size in BLOCKS:
            if known.counted % size == 0 and len(recent) >= size:
                block = _block([key for _, key in recent[-size:]], platform)
                known = _examined(known, _examine(reference, block, known.counted, platform), said.at)
    return known


def _examine(reference: Studies, block: Studies, counted: int, platform: Platform) -> Examination:
    budget = platform.settings.drift_images_per_false_alarm
    return examine(reference, block, images_per_false_alarm=budget, seed=counted)


def _examined(known: Watched, found: Examination, at: str) -> Watched:
    told = {
        "at": at,
        "counted": known.counted,
        "studies": found.studies,
        "level": found.level,
        "cause": found.cause,
        "left_over": found.left_over,
        "prevalence": None
        if found.prevalence is None
        else {name: round(getattr(found.prevalence, name), 4) for name in found.prevalence.__slots__},
        "looks": [
            {"monitor": look.monitor, "chance": look.chance, "value": round(look.value, 4), "about": look.about}
            for look in found.looks
        ],
    }
    return replace(known, alarms=advance(known.alarms, found, at), examinations=(*known.examinations, told)[-_HISTORY:])


def _labels_taken(known: Watched, model_version: int, platform: Platform) -> Watched:
    """Answers that readers have judged since: was the model right, and how sure had it been?"""
    margin = _margin(platform.models.get(model_version))
    have = {key for key, _, _ in known.labelled}
    latest = platform.records.find(
        PREDICTIONS, {"model_version": model_version, "refused": None}, newest_first=True, limit=_LOOKED_BACK
    )
    for row in reversed(latest):
        if row.key in have:
            continue
        said = observation_of(row)
        present = _truth_of(said, platform)
        if present is None:
            continue
        sure = _confidence(said)
        labelled = (*known.labelled, (row.key, present == said.says_present, sure))[-_LOOKED_BACK:]
        known = replace(known, labelled=labelled, judged=known.judged + 1)
        for size in BLOCKS:
            if known.judged % size == 0 and len(labelled) >= size:
                block = labelled[-size:]
                found = examine_labels(
                    [right for _, right, _ in block],
                    [each for _, _, each in block],
                    margin=margin,
                    images_per_false_alarm=platform.settings.drift_images_per_false_alarm,
                )
                known = _examined(known, found, platform.clock().isoformat())
    return known


def _truth_of(said: Observation, platform: Platform) -> bool | None:
    """What readers found on the image set, where they have."""
    row = platform.records.get(IMAGE_SETS, said.image_set, columns=())
    truth = None if row is None else image_set_of(row).truth
    return None if truth is None else truth.finding.present


def _confidence(said: Observation) -> float:
    """The probability that the model gave to what it said."""
    return said.probability if said.says_present else 1 - said.probability


def _margin(model: ModelVersion) -> float:
    """The model's calibration error on its test patients, as far as its evaluation tells."""
    found = model.metrics.get("ece")
    value = found.get("value") if isinstance(found, Mapping) else found
    return max(_FORGIVEN, float(value)) if isinstance(value, int | float) else _FORGIVEN


def _block(keys: Sequence[str], platform: Platform) -> Studies:
    said = [observation_of(row) for key in keys if (row := platform.records.get(PREDICTIONS, key)) is not None]
    return Studies(
        embedding=np.stack([np.frombuffer(each.embedding, np.float16).astype(np.float32) for each in said]),
        probability=np.array([each.probability for each in said], dtype=np.float32),
        statistics=np.stack([np.frombuffer(each.statistics, np.float32) for each in said]),
        tags=tuple(dict(each.tags) for each in said),
    )


def studies_of(held: Reference) -> Studies:
    """What a model version was made from, one study a patient, rounded as answers are kept."""
    whole = Studies(
        embedding=held.embedding.astype(np.float16).astype(np.float32),  # as answers are kept
        probability=held.probability,
        statistics=held.statistics,
        tags=held.tags,
        target=held.target,
    )
    return independent(whole, held.patient)


def _facts(held: Reference) -> dict[str, Any]:
    target = held.probability if held.target is None else held.target
    return {
        "image_sets": len(held),
        "patients": len(set(held.patient.tolist())),
        "prevalence": round(float(target.mean()), 4),
    }


def _put(known: Watched, model_version: int) -> Put:
    document = {
        "order": known.order,
        "seen": known.seen,
        "counted": known.counted,
        "recent": [list(pair) for pair in known.recent],
        "labelled": [list(each) for each in known.labelled],
        "judged": known.judged,
        "alarms": {name: alarm.plain() for name, alarm in known.alarms.items()},
        "examinations": list(known.examinations),
        "reference": dict(known.reference),
    }
    return Put(DRIFT, _key(model_version), document, expected=known.revision)


def _key(model_version: int) -> str:
    return f"v{model_version}"


# For people


def drift_status(platform: Platform) -> dict[str, Any]:
    """Where the watch over the model in use stands, for people.

    Returns:
        `state`: no-model, no-reference, quiet, watching or alarm; `sentence`; `changed`: prevalence, scanner or null;
        `since`; `next`: what happens next; `reference`; `studies` and `reads` counted; `prevalence`: the latest
        estimate; `feedback`: the latest reads against the model; `alarms`; `monitors`, each with its latest surprise
        and limit (-log10 of the chance) and its history.
    """
    champion = platform.models.champion()
    known = Watched() if champion is None else watched(champion.version, platform)
    on = [alarm for alarm in known.alarms.values() if alarm.is_on]
    monitors = [_monitor(name, known, platform) for name in MONITORS]
    is_unusual = any(each["state"] != "quiet" for each in monitors)
    if champion is None:
        state = "no-model"
    elif not known.reference and not on:
        state = "waiting" if not known.counted and not known.seen else "no-reference"
    else:
        state = "alarm" if on else "watching" if is_unusual else "quiet"
    cause = on[0].name if on else None
    latest = next((each for each in reversed(known.examinations) if each["prevalence"]), None)
    return {
        "state": state,
        "model_version": None if champion is None else champion.version,
        "sentence": _SENTENCES[cause or state],
        "changed": {PREVALENCE: "prevalence", INPUTS: "scanner"}.get(cause or ""),
        "since": on[0].since if on else None,
        "next": _next(known, cause, platform),
        "reference": dict(known.reference) or None,
        "studies": known.counted,
        "reads": known.judged,
        "prevalence": None if latest is None else latest["prevalence"],
        "feedback": None if champion is None else _feedback(known, platform),
        "alarms": [
            {
                "name": name,
                "state": "ALARM" if name in {each.name for each in on} else "OK",
                "since": known.alarms[name].since or None if name in known.alarms else None,
            }
            for name in CAUSES
        ],
        "monitors": monitors,
    }


_SENTENCES: Final = {
    "no-model": "No model version is in use, so there is nothing to watch.",
    "waiting": "The model in use has judged too few studies to tell anything.",
    "no-reference": "The package of the model in use tells nothing that later studies could be compared with.",
    "quiet": "What comes in is what the model was made from.",
    "watching": "Something is unusual, which chance alone does now and then. No alarm.",
    INPUTS: "The images have changed: another scanner, another protocol or other patients. How often the finding is "
    "there does not explain it.",
    SCORES: "The model's probabilities have changed, and nothing else that is measured has.",
    PREVALENCE: "The finding is there more or less often than it was. The images of each kind look as before.",
    LABELS: "Readers find the model wrong more often than it says it is.",
}
_WORDS: Final = {
    "embedding": "What the network sees, one principal component at a time ({}).",
    "discrepancy": "What the network sees, as a whole.",
    "statistics": "Brightness and sharpness ({}).",
    "header": "Modality, scanner and view ({}).",
    "scores": "The model's probabilities.",
    "labels": "What readers found since.",
}


def _monitor(name: str, known: Watched, platform: Platform) -> dict[str, Any]:
    """One monitor: its latest look in a block of 50 or more where there is one, and all looks at blocks of its size."""
    looks = [
        (told, look) for told in known.examinations for look in told["looks"] if look["monitor"] == name
    ]  # oldest first
    if not looks:
        limit = _surprise(level_of(BLOCKS[0], platform.settings.drift_images_per_false_alarm))
        sentence = _WORDS[name].format("not looked at yet")
        return {"name": name, "state": "quiet", "value": None, "limit": limit, "since": None, "studies": None,
                "sentence": sentence, "history": []}  # fmt: skip
    told, look = looks[-1]
    value, limit = _surprise(look["chance"]), _surprise(told["level"])
    state = "alarm" if value >= limit else "watching" if look["chance"] * len(MONITORS) <= 0.01 else "quiet"  # noqa: PLR2004
    return {
        "name": name,
        "state": state,
        "value": value,
        "limit": limit,
        "since": told["at"],
        "studies": told["studies"],
        "sentence": _WORDS[name].format(look["about"].replace("_", " ") or "all alike"),
        "history": [
            {"at": each["at"], "value": _surprise(one["chance"]), "studies": each["studies"]} for each, one in looks
        ],
    }


def _surprise(chance: float) -> float:
    return round(float(-np.log10(max(chance, 1e-15))), 2)


def _next(known: Watched, cause: str | None, platform: Platform) -> str:
    if cause is not None and _retrains(cause, platform):
        return "A retraining starts as soon as enough is verified."
    if cause is not None:
        return "Look at the latest studies, verify some of them, then retrain."
    wanted = BLOCKS[0] - known.counted % BLOCKS[0]
    return f"The next look comes after {wanted} more patients."


def _feedback(known: Watched, platform: Platform) -> dict[str, Any] | None:
    rows = [platform.records.get(PREDICTIONS, key) for key, _, _ in known.labelled[-_LARGEST:]]
    said = [observation_of(row) for row in rows if row is not None]
    judged = [(each, present) for each in said if (present := _truth_of(each, platform)) is not None]
    if not judged:
        return None
    return feedback(
        probability=[each.probability for each, _ in judged],
        says_present=[each.says_present for each, _ in judged],
        present=[present for _, present in judged],
        patient=[each.patient for each, _ in judged],
    )
