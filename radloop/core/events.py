"""The event catalogue: everything that happens and is worth telling, in the past tense.

Each class is one row: its source, its detail type (the class name) and the fields of its detail. JSON Schemas and
the rules that wake functions stand in `contracts/events/`. Sources are ours, because `aws.*` is reserved on
EventBridge. No field ever holds a patient's data or free text.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from radloop.core.identity import derived_id

IMAGING = "radloop.imaging"
MLOPS = "imaging.mlops"
MONITORING = "radloop.monitoring"

_URN = "urn:radloop:"


@dataclass(frozen=True, slots=True)
class Event:
    """One happening as it travels: the envelope of EventBridge plus a trace id.

    Attributes:
        id: 32 characters; the same happening told twice has the same id and is kept once.
        time: RFC 3339, UTC.
        trace: Follows one study through the whole loop.
    """

    id: str
    source: str
    detail_type: str
    time: str
    detail: Mapping[str, Any]
    trace: str

    def as_json(self) -> dict[str, Any]:
        """The envelope in EventBridge's own spelling, which patterns are matched against."""
        return {
            "version": "0",
            "id": self.id,
            "source": self.source,
            "detail-type": self.detail_type,
            "time": self.time,
            "detail": dict(self.detail),
        }


def event_of(payload: Mapping[str, Any]) -> Event:
    """The event that a delivery carries: a payload of our own, or the envelope that EventBridge made of it.

    EventBridge gives an event an id of its own, cuts its time to seconds and has no field for the trace, so ours
    travel among its resources.
    """
    told = dict(each.removeprefix(_URN).partition(":")[::2] for each in payload.get("resources", ()))
    return Event(
        id=told.get("event", payload["id"]),
        source=payload["source"],
        detail_type=payload["detail-type"],
        time=told.get("time", payload["time"]),
        detail=payload["detail"],
        trace=told.get("trace", payload.get("trace", "")),
    )


def resources_of(event: Event) -> list[str]:
    """What EventBridge is told beside the event, so that `event_of` reads the same event back."""
    return [f"{_URN}event:{event.id}", f"{_URN}time:{event.time}", f"{_URN}trace:{event.trace}"]


@dataclass(frozen=True, slots=True)
class Happening:
    """Base of every row of the catalogue."""

    source: ClassVar[str]
    subject: ClassVar[tuple[str, ...]]  # the fields that make it this happening and no other

    def told(self, *, at: datetime, trace: str = "") -> Event:
        """This happening as an event; telling it twice gives the same event id."""
        detail = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        name = type(self).__name__
        subject = [str(detail.get(key, "")) for key in self.subject]
        return Event(
            id=derived_id(name, *subject),
            source=self.source,
            detail_type=name,
            time=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            detail=detail,
            trace=trace or derived_id("trace", *subject),
        )


@dataclass(frozen=True, slots=True)
class DicomUploaded(Happening):
    """A file was put into the inbox and waits to be landed; `key` is opaque, the sender's file name is not in it."""

    key: str
    source: ClassVar[str] = IMAGING
    subject: ClassVar[tuple[str, ...]] = ("key",)


@dataclass(frozen=True, slots=True)
class ImageIngested(Happening):
    """An image set closed: its instances are all here. One per version, never one per file."""

    image_set: str
    version: int
    modality: str
    instances: int
    frames: int
    source: ClassVar[str] = IMAGING
    subject: ClassVar[tuple[str, ...]] = ("image_set", "version")


@dataclass(frozen=True, slots=True)
class StudyReceived(Happening):
    """A study is all here: quiet for a while, or said to be complete. Late instances make the next version."""

    study: str
    version: int
    image_sets: int
    instances: int
    source: ClassVar[str] = IMAGING
    subject: ClassVar[tuple[str, ...]] = ("study", "version")


@dataclass(frozen=True, slots=True)
class ImageFolded(Happening):
    """An image set is stored as verified HTJ2K; what could not be folded stays as it came."""

    image_set: str
    version: int
    folded: int
    kept: int
    original_bytes: int
    stored_bytes: int
    source: ClassVar[str] = IMAGING
    subject: ClassVar[tuple[str, ...]] = ("image_set", "version")


@dataclass(frozen=True, slots=True)
class ImageQuarantined(Happening):
    """A file could not be accepted; `reason` is a stable code."""

    quarantine_id: str
    reason: str
    source: ClassVar[str] = IMAGING
    subject: ClassVar[tuple[str, ...]] = ("quarantine_id",)


@dataclass(frozen=True, slots=True)
class ImageVerified(Happening):
    """A finding became ground truth; how many frames its reader was shown in which quality, where told.

    Where it took more than one read: how many, the probability of present they leave, and the rule that settled it.
    """

    image_set: str
    version: int
    finding: str
    site: str | None
    confidence: str
    verified_by: str
    frames_full: int | None = None
    frames_preview: int | None = None
    frames_never: int | None = None
    reads: int | None = None
    posterior: float | None = None
    rule: str | None = None
    source: ClassVar[str] = IMAGING
    subject: ClassVar[tuple[str, ...]] = ("image_set", "version")


@dataclass(frozen=True, slots=True)
class AdjudicationRequested(Happening):
    """Readers differ, or one changed their mind, and an adjudicator is asked; `reason` is a stable code."""

    image_set: str
    version: int
    reason: str
    reads: int
    source: ClassVar[str] = IMAGING
    subject: ClassVar[tuple[str, ...]] = ("image_set", "version", "reason")


@dataclass(frozen=True, slots=True)
class RetrainingDeferred(Happening):
    """There is new ground truth, and not yet enough of it to train on; `reason` is a stable code."""

    snapshot: str
    reason: str
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("snapshot", "reason")


@dataclass(frozen=True, slots=True)
class PipelineTriggered(Happening):
    """A retraining was started on a dataset snapshot."""

    execution: str
    snapshot: str
    studies: int
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("execution",)


@dataclass(frozen=True, slots=True)
class PipelineStepEnded(Happening):
    """A step of an execution ended; `status` is Succeeded or Failed."""

    execution: str
    step: str
    type: str
    status: str
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("execution", "step", "status")


@dataclass(frozen=True, slots=True)
class PipelineEnded(Happening):
    """An execution ended; `status` is Succeeded, Failed or Stopped, `reason` a stable code."""

    execution: str
    status: str
    reason: str
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("execution",)


@dataclass(frozen=True, slots=True)
class ModelEvaluationPassed(Happening):
    """The gate let a model through."""

    execution: str
    accuracy: float
    threshold: float
    recommendation: str
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("execution",)


@dataclass(frozen=True, slots=True)
class ModelEvaluationFailed(Happening):
    """The gate refused a model; `rules` names the rules that refused it."""

    execution: str
    accuracy: float
    threshold: float
    rules: tuple[str, ...]
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("execution",)


@dataclass(frozen=True, slots=True)
class ModelRegistered(Happening):
    """A model version stands in the registry, pending approval."""

    model_version: int
    execution: str
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("model_version",)


@dataclass(frozen=True, slots=True)
class ModelApproved(Happening):
    """A model version was approved and serves as champion."""

    model_version: int
    execution: str
    approved_by: str
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("model_version",)


@dataclass(frozen=True, slots=True)
class ReleaseHeld(Happening):
    """A model version passed the gate and waits for a person all the same; `reasons` are stable codes."""

    model_version: int
    execution: str
    reasons: tuple[str, ...]
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("model_version", "reasons")


@dataclass(frozen=True, slots=True)
class ModelRolledBack(Happening):
    """The champion was taken back and an earlier version serves again; `entry` is its place in the model ledger."""

    model_version: int
    serving_version: int
    reason: str
    rolled_back_by: str
    entry: int
    source: ClassVar[str] = MLOPS
    subject: ClassVar[tuple[str, ...]] = ("model_version", "entry")


@dataclass(frozen=True, slots=True)
class AlarmStateChanged(Happening):
    """An alarm went on or off, or work was given up on; `alarm` names it."""

    alarm: str
    state: str
    cause: str
    source: ClassVar[str] = MONITORING
    subject: ClassVar[tuple[str, ...]] = ("alarm", "state", "cause")


CATALOGUE: tuple[type[Happening], ...] = (
    DicomUploaded,
    ImageIngested,
    StudyReceived,
    ImageFolded,
    ImageQuarantined,
    ImageVerified,
    AdjudicationRequested,
    RetrainingDeferred,
    PipelineTriggered,
    PipelineStepEnded,
    PipelineEnded,
    ModelEvaluationPassed,
    ModelEvaluationFailed,
    ModelRegistered,
    ModelApproved,
    ReleaseHeld,
    ModelRolledBack,
    AlarmStateChanged,
)
