"""What we hold, as the platform API tells it; the schemas stand in `api/schemas.py`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from radloop.core.images import ImageSet, Seen, State, Truth
from radloop.core.platform import Platform
from radloop.core.ports import Execution, Records, Told
from radloop.core.reads import ReadingPolicy, project_of
from radloop.core.tables import INSTANCES, study_key
from radloop.reading.blinding import NOBODY, Eyes
from radloop.store.instances import instance_of
from radloop.store.opened import FrameAddress
from radloop.streaming.frames import frame_of

_LOOKED_AT = 8


def summary(image_set: ImageSet, records: Records, eyes: Eyes = NOBODY) -> dict[str, Any]:
    """An image set as the worklist shows it to whoever looks; what these eyes may not see of it is null."""
    reading, is_blinded = _reading(image_set, records, eyes)
    attributes = image_set.attributes
    image = _an_image(image_set.id, records)
    return {
        "id": image_set.id,
        "version": image_set.version,
        "state": str(image_set.state),
        "closed": image_set.is_closed,
        "storage": str(image_set.storage),
        "modality": image_set.modality,
        "study_date": _text(attributes.get("StudyDate")),
        "series_description": _text(attributes.get("SeriesDescription")),
        "body_part": _text(attributes.get("BodyPartExamined")),
        "patient_name": _text(attributes.get("PatientName")),
        "patient_id": image_set.patient_id or None,
        "patient_sex": _text(attributes.get("PatientSex")),
        "made_by_ai": image_set.made_by_ai,
        "rows": None if image is None else image["rows"],
        "columns": None if image is None else image["columns"],
        "frames": image_set.frames,
        "instances": image_set.instances,
        "warnings": [{"code": notice.code, "message": notice.message} for notice in image_set.notices],
        "finding": None if image_set.truth is None or is_blinded else _finding(image_set.truth),
        "prediction": None if image_set.prediction is None or is_blinded else dict(image_set.prediction),
        "reading": reading,
        "original_bytes": image_set.original_bytes,
        "stored_bytes": image_set.stored_bytes,
        "study": study_key(image_set.datastore, image_set.patient_id, image_set.study_uid),
        "study_uid": image_set.study_uid,
        "series_uid": image_set.series_uid,
        "created_at": moment(image_set.created_at),
    }


def details(
    image_set: ImageSet, frames: Sequence[FrameAddress], records: Records, eyes: Eyes = NOBODY
) -> dict[str, Any]:
    """An image set as the viewer opens it."""
    listed = [frame_of(index, address) for index, address in enumerate(frames)]
    return {**without_frames(image_set, len(frames), records, eyes), "frame_list": listed}


def without_frames(image_set: ImageSet, count: int, records: Records, eyes: Eyes = NOBODY) -> dict[str, Any]:
    """The same without what is told of each of its `count` frames."""
    return {
        **summary(image_set, records, eyes),
        "seen_slices": _seen_slices(image_set.truth),
        "geometry": _geometry(image_set.geometry, count),
    }


def for_good(image_set: ImageSet, count: int, records: Records) -> dict[str, Any]:
    """The same as a file tells it that stays as it is: nothing that anybody found, and that some may not be told."""
    return {**without_frames(image_set, count, records), "finding": None, "prediction": None, "seen_slices": None}


def execution_of(execution: Execution, platform: Platform) -> dict[str, Any]:
    """A run of the pipeline, with the model it made."""
    model = platform.models.of_execution(execution.id)
    evaluation = execution.evaluation or {}
    return {
        "id": execution.id,
        "state": execution.state,
        "started_at": execution.started_at,
        "ended_at": execution.ended_at,
        "reason": execution.reason,
        "studies": _studies(execution, platform),
        "snapshot": execution.parameters.get("Snapshot"),
        "steps": [
            {
                "name": step.name,
                "type": step.type,
                "state": step.state,
                "started_at": step.started_at,
                "ended_at": step.ended_at,
                "reason": step.reason,
            }
            for step in execution.steps
        ],
        "progress": _epoch(execution.progress),
        "metrics": figures(evaluation["metrics"]) if "metrics" in evaluation else None,
        "model_version": None if model is None else model.version,
        "gate": dict(evaluation["gate"]) if "gate" in evaluation else None,
    }


def _epoch(progress: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How far training has come, as far as it counts epochs, and what it told of every epoch."""
    if progress is None or not ("epoch" in progress or "history" in progress):
        return None
    names = ("epoch", "epochs", "train_loss", "validation_loss", "seconds", "seconds_left")
    curve = ("epoch", "train_loss", "validation_loss")
    history = [{name: told[name] for name in curve if name in told} for told in progress.get("history", [])]
    return {**{name: progress.get(name) for name in names}, "history": history}


def event_of(told: Told) -> dict[str, Any]:
    """An event of the outbox."""
    event = told.event
    return {
        "seq": told.seq,
        "id": event.id,
        "time": event.time,
        "source": event.source,
        "detail_type": event.detail_type,
        "detail": dict(event.detail),
    }


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers among metrics; one that is told with its interval gives its value.

    >>> figures({"accuracy": {"value": 0.9, "ci_low": 0.8}, "auc": 0.95, "curve": [1, 2]})
    {'accuracy': 0.9, 'auc': 0.95}
    """
    values = {name: entry.get("value") if isinstance(entry, Mapping) else entry for name, entry in metrics.items()}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def moment(at: datetime) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _an_image(identity: str, records: Records) -> Mapping[str, Any] | None:
    """The image description of one of the first instances; a series is as a rule of one size."""
    rows = records.find(INSTANCES, {"image_set": identity}, limit=_LOOKED_AT)
    images = [one.image for one in map(instance_of, rows) if one.superseded_by is None and one.image is not None]
    return images[0] if images else None


def _finding(truth: Truth) -> dict[str, Any]:
    return {
        "present": truth.finding.present,
        "site": truth.finding.site,
        "laterality": truth.finding.laterality,
        "confidence": str(truth.finding.confidence),
        "by": truth.by,
        "at": moment(truth.at),
        "posterior": truth.posterior,
        "reads": truth.reads,
        "rule": truth.rule,
        "seen": seen_of(truth.finding.seen),
    }


def _reading(image_set: ImageSet, records: Records, eyes: Eyes) -> tuple[dict[str, Any], bool]:
    """How far the reading of an image set has come, and whether these eyes are blinded for it."""
    project = project_of(records, image_set.datastore)
    is_blinded = eyes.are_shut(records, image_set, project)
    votes = () if image_set.case is None else image_set.case.of(image_set.version)
    wanted = 1 if project.policy is ReadingPolicy.SINGLE else 2
    told = {
        "policy": str(project.policy),
        "state": _reading_state(image_set, len(votes)),
        "given": len(votes) if image_set.state is State.INGESTED else _reads_behind(image_set),
        "needed": wanted - len(votes) if image_set.state is State.INGESTED and len(votes) < wanted else None,
        "mine": eyes.has_read(image_set),
        "blinded": is_blinded,
    }
    return told, is_blinded


def _reading_state(image_set: ImageSet, votes: int) -> str:
    if image_set.asked is not None:
        return "adjudication"
    if image_set.state is not State.INGESTED:
        return "settled"
    return "waiting" if votes else "open"


def _reads_behind(image_set: ImageSet) -> int:
    return 0 if image_set.truth is None else image_set.truth.reads


def seen_of(seen: Seen) -> dict[str, Any]:
    """What was on the screen of whoever found it."""
    coverage = seen.coverage
    counts = ("full", "preview", "never", "preview_ms", "full_ms")
    told = {name: None if coverage is None else getattr(coverage, name) for name in counts}
    return {"frame": seen.frame, "quality": seen.quality, **told}


def _seen_slices(truth: Truth | None) -> str | None:
    coverage = None if truth is None else truth.finding.seen.coverage
    return None if coverage is None else coverage.slices


def _geometry(geometry: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Geometry as far as closing has found it; everything is unknown before."""
    plane = geometry.get("plane", "unknown")
    return {
        "orientation": None if plane == "unknown" else plane,
        "row_spacing_mm": geometry.get("row_spacing_mm"),
        "column_spacing_mm": geometry.get("column_spacing_mm"),
        "slice_spacing_mm": geometry.get("slice_spacing_mm"),
        "gaps": [gap["after"] for gap in geometry.get("gaps", ()) if gap["after"] < count],
        "row_direction": geometry.get("row_direction"),
        "column_direction": geometry.get("column_direction"),
    }


def _studies(execution: Execution, platform: Platform) -> int | None:
    """Image sets in the data set an execution was started on, None where that is not known."""
    snapshot = execution.parameters.get("Snapshot")
    if snapshot is None:
        return None
    manifest = next(iter(platform.blobs.keys(f"training-data/snapshots/{snapshot}/manifest.jsonl")), None)
    return None if manifest is None else platform.blobs.get(manifest).count(b"\n")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
