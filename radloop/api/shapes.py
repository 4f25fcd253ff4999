"""What we hold, as the platform API tells it; the schemas stand in `api/schemas.py`."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import mul
from typing import Any

from radloop.core.images import ImageSet, Seen, State, Truth
from radloop.core.platform import Platform
from radloop.core.ports import Execution, Records, Told
from radloop.core.reads import ReadingPolicy, project_of
from radloop.core.tables import INSTANCES, study_key
from radloop.dicom.image import FrameDescription, ImageDescription
from radloop.reading.blinding import NOBODY, Eyes
from radloop.security.sealing import OVERHEAD_BYTES
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.opened import FrameAddress

_LOOKED_AT = 8
_SHORTEST, _SHEAR = 1e-3, 0.01


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
    return {**without_frames(image_set, frames, records, eyes), "frame_list": listed}


def without_frames(
    image_set: ImageSet, frames: Sequence[FrameAddress], records: Records, eyes: Eyes = NOBODY
) -> dict[str, Any]:
    """The same without what is told of each frame."""
    return {
        **summary(image_set, records, eyes),
        "seen_slices": _seen_slices(image_set.truth),
        "geometry": _geometry(image_set.geometry, frames),
    }


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


def _geometry(geometry: Mapping[str, Any], frames: Sequence[FrameAddress]) -> dict[str, Any]:
    """Geometry as far as closing has found it; everything is unknown before."""
    plane = geometry.get("plane", "unknown")
    return {
        "orientation": None if plane == "unknown" else plane,
        "row_spacing_mm": geometry.get("row_spacing_mm"),
        "column_spacing_mm": geometry.get("column_spacing_mm"),
        "slice_spacing_mm": geometry.get("slice_spacing_mm"),
        "gaps": [gap["after"] for gap in geometry.get("gaps", ()) if gap["after"] < len(frames)],
        "row_direction": geometry.get("row_direction"),
        "column_direction": geometry.get("column_direction"),
    }


def frame_of(index: int, address: FrameAddress) -> dict[str, Any]:
    """A frame as the viewer opens it."""
    instance, number = address.instance, address.number
    image = ImageDescription.from_plain(instance.image or {})
    group = image.per_frame[number] if number < len(image.per_frame) else None
    window = (group.window if group else None) or (image.window_center, image.window_width)
    full, preview = sizes_of(address)
    return {
        "index": index,
        "rows": image.rows,
        "columns": image.columns,
        "bits_stored": image.bits_stored,
        "signed": image.signed,
        "samples": image.samples,
        "photometric": image.photometric,
        "slope": _first(group.slope if group else None, image.slope, 1.0),
        "intercept": _first(group.intercept if group else None, image.intercept, 0.0),
        "window_center": window[0],
        "window_width": window[1],
        "voi_function": image.voi_function,
        "lossless_bytes": full,
        "preview_bytes": preview,
        "quality": "lossy-as-received" if instance.is_lossy else "lossless",
        "decodable": is_decodable(instance),
        "position_mm": _position(image, number),
        "orientation": _orientation(image, group),
        "spacing_mm": _spacing(image, group),
        "spacing_at_detector": image.spacing_at_detector,
        "sides": None if image.sides is None else list(image.sides),
        "palette": None if image.palette is None else dict(zip(("first", "colours"), image.palette, strict=True)),
    }


def is_decodable(instance: StoredInstance) -> bool:
    """Whether frames can be shown: a codec takes them, and indices of a palette have one."""
    image = instance.image or {}
    is_painted = image.get("photometric") == "PALETTE COLOR"
    return (bool(instance.frames) or instance.why_kept is None) and not (is_painted and image.get("palette") is None)


def _position(image: ImageDescription, number: int) -> list[float] | None:
    place = image.per_frame[number].position_mm if number < len(image.per_frame) else image.position_mm
    return None if place is None else list(place)


def _orientation(image: ImageDescription, group: FrameDescription | None) -> list[float] | None:
    """Unit vectors along a row and along a column; None where they are no two perpendicular directions."""
    told = (group.orientation if group else None) or image.orientation
    if told is None:
        return None
    row, column = told[:3], told[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    if not all(_SHORTEST < length < math.inf for length in lengths):
        return None
    units = [part / lengths[place // 3] for place, part in enumerate(told)]
    return units if abs(sum(map(mul, units[:3], units[3:]))) <= _SHEAR else None


def _spacing(image: ImageDescription, group: FrameDescription | None) -> list[float] | None:
    told = (group.spacing_mm if group else None) or image.spacing_mm
    return None if told is None else list(told)


def sizes_of(address: FrameAddress) -> tuple[int | None, int | None]:
    """Bytes of the full frame and of its preview as they are sent, None before folding.

    A palette has no preview: what is near a colour's index is any other colour.
    """
    if not address.instance.frames:
        return None, None
    frame = address.instance.frames[address.number]
    is_painted = (address.instance.image or {}).get("photometric") == "PALETTE COLOR"
    preview = None if frame.preview is None or is_painted else frame.preview.length - OVERHEAD_BYTES
    return frame.full.length - OVERHEAD_BYTES, preview


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _studies(execution: Execution, platform: Platform) -> int | None:
    """Image sets in the data set an execution was started on, None where that is not known."""
    snapshot = execution.parameters.get("Snapshot")
    if snapshot is None:
        return None
    manifest = next(iter(platform.blobs.keys(f"training-data/snapshots/{snapshot}/manifest.jsonl")), None)
    return None if manifest is None else platform.blobs.get(manifest).count(b"\n")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
