"""The kinds of record there are, and how an image set is written down as one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from radloop.core.images import Confidence, Finding, ImageSet, Notice, Seen, State, Truth
from radloop.core.ports import Put, Row, Table

IMAGE_SETS = Table(
    "image_sets",
    (
        "state",
        "is_closed",
        "patient_id",
        "study_uid",
        "series_uid",
        "patient_name",
        "accession_number",
        "study_date",
        "modality",
        "updated",
    ),
)
SERIES = Table("series", ("image_set",))
INSTANCES = Table("instances", ("image_set", "sop_uid", "storage", "digest"))
VERSIONS = Table("versions", ("image_set",))
QUARANTINE = Table("quarantine", ("reason", "digest"))
EXECUTIONS = Table("executions", ("state",))
STEPS = Table("steps", ("execution",))
LEDGER = Table("model_ledger", ("version", "execution", "action"))

TABLES = (IMAGE_SETS, SERIES, INSTANCES, VERSIONS, QUARANTINE, EXECUTIONS, STEPS, LEDGER)


def put_image_set(value: ImageSet, *, expected: int | None) -> Put:
    """The write that stores `value`; `expected` is the revision it was read at, 0 for a new one."""
    attributes = value.attributes
    return Put(
        table=IMAGE_SETS,
        key=value.id,
        document=_document(value),
        columns={
            "state": str(value.state),
            "is_closed": int(value.is_closed),
            "patient_id": value.patient_id,
            "study_uid": value.study_uid,
            "series_uid": value.series_uid,
            "patient_name": _text(attributes.get("PatientName")),
            "accession_number": _text(attributes.get("AccessionNumber")),
            "study_date": _text(attributes.get("StudyDate")),
            "modality": value.modality,
            "updated": value.updated_at.timestamp(),
        },
        expected=expected,
    )


def image_set_of(row: Row) -> ImageSet:
    """The image set a record holds."""
    document = dict(row.document)
    document["state"] = State(document["state"])
    document["notices"] = tuple(Notice(**notice) for notice in document["notices"])
    document["truth"] = _truth(document["truth"])
    document["wrapped_key"] = bytes.fromhex(document["wrapped_key"])
    document["packs"] = tuple(document["packs"])
    document["created_at"] = datetime.fromisoformat(document["created_at"])
    document["updated_at"] = datetime.fromisoformat(document["updated_at"])
    return ImageSet(**document)


def _document(value: ImageSet) -> dict[str, Any]:
    truth = value.truth
    return {
        "id": value.id,
        "version": value.version,
        "state": str(value.state),
        "is_closed": value.is_closed,
        "patient_id": value.patient_id,
        "study_uid": value.study_uid,
        "series_uid": value.series_uid,
        "attributes": dict(value.attributes),
        "instances": value.instances,
        "frames": value.frames,
        "landed": value.landed,
        "kept": value.kept,
        "original_bytes": value.original_bytes,
        "stored_bytes": value.stored_bytes,
        "notices": [{"code": notice.code, "message": notice.message} for notice in value.notices],
        "geometry": dict(value.geometry),
        "truth": None
        if truth is None
        else {
            "present": truth.finding.present,
            "site": truth.finding.site,
            "confidence": str(truth.finding.confidence),
            "note": truth.finding.note,
            "seen": {"frame": truth.finding.seen.frame, "quality": truth.finding.seen.quality},
            "by": truth.by,
            "at": truth.at.isoformat(),
        },
        "prediction": None if value.prediction is None else dict(value.prediction),
        "wrapped_key": value.wrapped_key.hex(),
        "packs": list(value.packs),
        "created_at": value.created_at.isoformat(),
        "updated_at": value.updated_at.isoformat(),
    }


def _truth(document: Mapping[str, Any] | None) -> Truth | None:
    if document is None:
        return None
    finding = Finding(
        present=document["present"],
        site=document["site"],
        confidence=Confidence(document["confidence"]),
        note=document["note"],
        seen=Seen(**document["seen"]),
    )
    return Truth(finding=finding, by=document["by"], at=datetime.fromisoformat(document["at"]))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
