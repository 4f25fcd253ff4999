"""The kinds of record there are, and how an image set is written down as one."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from radloop.core.cases import case_of
from radloop.core.identity import derived_id
from radloop.core.images import Confidence, Coverage, Finding, ImageSet, Notice, Seen, State, Truth
from radloop.core.ports import Put, Row, Table
from radloop.core.worth import order_of

DEFAULT_DATASTORE = derived_id("datastore", "default")
"""The data store that every home has from the start, where all doors put what names no other."""

WITHOUT_IMAGES = "INGESTED without images"
"""What the column `state` of an image set holds while there is nothing to verify in it: a report, a model's picture."""

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
        "study_id",
        "created",
        "updated",
        "value",
        "asked",
    ),
    facts=("datastore", "is_primary", "study", "study_time", "study_moment", "modality"),
)
STUDIES = Table(
    "studies",
    (
        "patient_id",
        "study_uid",
        "patient_name",
        "accession_number",
        "study_date",
        "study_id",
        "is_open",
        "updated",
    ),
    facts=("datastore", "study_time", "referring_physician_name", "modalities", "series", "instances"),
)
SERIES = Table("series", ("image_set",))
INSTANCES = Table("instances", ("image_set", "sop_uid", "storage"), facts=("digest", "number"))
PACKS = Table("packs", ("image_set",))
VERSIONS = Table("versions", ("image_set",))
EDITS = Table("edits")
FRAME_FACTS = Table("frame_facts", ("image_set",))
METADATA = Table("metadata", ("image_set",))
TOMBSTONES = Table("tombstones", ("datastore",))
DATASTORES = Table("datastores", ("status",))
READS = Table("reads", ("image_set", "datastore"), facts=("reader",))
LABELS = Table("labels", ("image_set", "datastore"))
PROJECTS = Table("projects")
PANELS = Table("panels")
IMPORTS = Table("imports", ("datastore",), facts=("status",))
CLIENT_TOKENS = Table("client_tokens", ("at",))
TAGS = Table("tags")
QUARANTINE = Table("quarantine", ("reason", "digest"))
QUARANTINE_LEFT = Table("quarantine_left", ("state",))
EXECUTIONS = Table("executions", ("state",))
STEPS = Table("steps", ("execution",))
LEDGER = Table("model_ledger", ("version", "execution", "action"))
MODEL_PACKAGES = Table("model_packages", ("arn",))
USERS = Table("users", ("identity",))
CREDENTIALS = Table("credentials", ("token_digest",))
SESSIONS = Table("sessions", ("user",))
DRAFTS = Table("drafts", ("principal", "state", "expires"))
DRAFT_PIECES = Table("draft_pieces", ("draft",))
PREDICTIONS = Table("predictions", ("image_set", "model_version"), facts=("refused", "milliseconds"))
SALIENCY = Table("saliency")
ASKED = Table("asked")
DRIFT = Table("drift")
RETIRED_PATIENTS = Table("retired_patients")
ALARMS = Table("alarms")
METRIC_MINUTES = Table("metric_minutes")
ARRIVALS = Table("arrivals", ("batch",))
ASSEMBLIES = Table("assemblies", ("is_waiting",), facts=("last",))
BATCHES = Table("batches", ("state",), facts=("at",))
DELIVERIES = Table("deliveries", ("day",))
INCIDENTS = Table("incidents", ("state", "principal"))
ISOLATIONS = Table("isolations", ("incident",))

TABLES = (
    IMAGE_SETS,
    STUDIES,
    SERIES,
    INSTANCES,
    PACKS,
    VERSIONS,
    EDITS,
    FRAME_FACTS,
    METADATA,
    TOMBSTONES,
    DATASTORES,
    READS,
    LABELS,
    PROJECTS,
    PANELS,
    IMPORTS,
    CLIENT_TOKENS,
    TAGS,
    QUARANTINE,
    QUARANTINE_LEFT,
    EXECUTIONS,
    STEPS,
    LEDGER,
    MODEL_PACKAGES,
    USERS,
    CREDENTIALS,
    SESSIONS,
    DRAFTS,
    DRAFT_PIECES,
    PREDICTIONS,
    SALIENCY,
    ASKED,
    DRIFT,
    RETIRED_PATIENTS,
    ALARMS,
    METRIC_MINUTES,
    ARRIVALS,
    ASSEMBLIES,
    BATCHES,
    DELIVERIES,
    INCIDENTS,
    ISOLATIONS,
)


def study_key(datastore: str, patient_id: str, study_uid: str) -> str:
    """The record of a study: the same UID under two patients is two studies."""
    return derived_id("study", datastore, patient_id, study_uid)


def study_moment(date: object, time: object) -> str:
    """Date and time of a study as text that sorts; "" where there is no date.

    >>> study_moment("20240229", "0815"), study_moment(None, "0815")
    ('20240229081500.000000', '')
    """
    if not date:
        return ""
    whole, _, fraction = str(time or "").replace(":", "").partition(".")
    return f"{str(date).replace('.', '').replace('-', '')}{whole:0<6}.{fraction:0<6}"


def searchable(value: object) -> str | None:
    """Text as names are compared: without case and accents (PS3.4 C.2.2.2.4 leaves both to us).

    >>> searchable("MÜLLER^Anna")
    'muller^anna'
    """
    if value is None:
        return None
    apart = unicodedata.normalize("NFKD", str(value))
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).casefold()


def put_image_set(value: ImageSet, *, expected: int | None) -> Put:
    """The write that stores `value`; `expected` is the revision it was read at, 0 for a new one."""
    attributes = value.attributes
    return Put(
        table=IMAGE_SETS,
        key=value.id,
        document=_document(value),
        columns={
            "state": WITHOUT_IMAGES if value.state is State.INGESTED and not value.has_work else str(value.state),
            "is_closed": int(value.is_closed),
            "patient_id": value.patient_id,
            "study_uid": value.study_uid,
            "series_uid": value.series_uid,
            "patient_name": searchable(attributes.get("PatientName")),
            "accession_number": _text(attributes.get("AccessionNumber")),
            "study_date": _text(attributes.get("StudyDate")),
            "study_time": _text(attributes.get("StudyTime")),
            "study_moment": study_moment(attributes.get("StudyDate"), attributes.get("StudyTime")),
            "study_id": _text(attributes.get("StudyID")),
            "modality": value.modality,
            "created": value.created_at.timestamp(),
            "updated": value.updated_at.timestamp(),
            "datastore": value.datastore,
            "is_primary": int(value.is_primary),
            "value": order_of(value),
            "asked": None if value.asked is None or value.case is None else value.case.asked_at,
            "study": study_key(value.datastore, value.patient_id, value.study_uid),
        },
        expected=expected,
    )


def image_set_of(row: Row) -> ImageSet:
    """The image set a record holds."""
    document = dict(row.document)
    document["state"] = State(document["state"])
    document["notices"] = tuple(Notice(**notice) for notice in document["notices"])
    document["truth"] = _truth(document["truth"])
    document["case"] = case_of(document.get("case"))
    document["wrapped_key"] = bytes.fromhex(document["wrapped_key"])
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
            **finding_document(truth.finding),
            "by": truth.by,
            "at": truth.at.isoformat(),
            "posterior": truth.posterior,
            "reads": truth.reads,
            "rule": truth.rule,
        },
        "prediction": None if value.prediction is None else dict(value.prediction),
        "wrapped_key": value.wrapped_key.hex(),
        "datastore": value.datastore,
        "is_primary": value.is_primary,
        "case": None if value.case is None else value.case.plain(),
        "created_at": value.created_at.isoformat(),
        "updated_at": value.updated_at.isoformat(),
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """A finding as records hold it."""
    return {
        "present": finding.present,
        "site": finding.site,
        "laterality": finding.laterality,
        "confidence": str(finding.confidence),
        "note": finding.note,
        "seen": _seen_document(finding.seen),
    }


def finding_of(document: Mapping[str, Any]) -> Finding:
    """The finding that a record holds; those of before tell of no laterality."""
    return Finding(
        present=document["present"],
        site=document["site"],
        confidence=Confidence(document["confidence"]),
        note=document["note"],
        seen=_seen(document["seen"]),
        laterality=document.get("laterality"),
    )


def _seen_document(seen: Seen) -> dict[str, Any]:
    shown = {"frame": seen.frame, "quality": seen.quality}
    coverage = seen.coverage
    if coverage is None:
        return shown
    times = {"preview_ms": coverage.preview_ms, "full_ms": coverage.full_ms}
    return {**shown, "slices": coverage.slices, **times}


def _seen(document: Mapping[str, Any]) -> Seen:
    """What was seen; findings of before tell of the frame in view alone."""
    coverage = None
    if "slices" in document:
        coverage = Coverage(document["slices"], document["preview_ms"], document["full_ms"])
    return Seen(frame=document["frame"], quality=document["quality"], coverage=coverage)


def _truth(document: Mapping[str, Any] | None) -> Truth | None:
    if document is None:
        return None
    return Truth(
        finding=finding_of(document),
        by=document["by"],
        at=datetime.fromisoformat(document["at"]),
        posterior=document.get("posterior"),
        reads=document.get("reads", 1),
        rule=document.get("rule", "single"),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
