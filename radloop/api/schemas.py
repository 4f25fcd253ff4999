"""JSON Schemas of the platform API's bodies; the OpenAPI document carries them, and real answers are held to them."""

from collections.abc import Mapping
from typing import Any

from radloop.core.images import SITES, Confidence, State, Storage
from radloop.security.links import LONGEST_LIFE_S

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_WORD: Schema = {"type": ["string", "null"]}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NONE: Schema = {"type": ["integer", "null"], "minimum": 0}
_NUMBER_OR_NONE: Schema = {"type": ["number", "null"]}
_FLAG: Schema = {"type": "boolean"}
_ID: Schema = {"type": "string", "pattern": "^[0-9a-z]{32}$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_TIME_OR_NONE: Schema = {"type": ["string", "null"], "format": "date-time"}


def _numbers(count: int) -> Schema:
    return {"type": ["array", "null"], "items": _NUMBER, "minItems": count, "maxItems": count}


_DIRECTION = _numbers(3)
_SITE: Schema = {"enum": [*SITES, None]}
_CONFIDENCE: Schema = {"enum": [str(each) for each in Confidence]}
_QUALITY: Schema = {"enum": ["lossless", "lossy-as-received"]}
_FIGURES: Schema = {"type": ["object", "null"], "additionalProperties": _NUMBER}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Schema) -> Schema:
    """An object that holds all of these and nothing else."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def _without_need(optional: tuple[str, ...], /, **properties: Schema) -> Schema:
    """The same, where some may be left out."""
    return {**_object(**properties), "required": [name for name in properties if name not in optional]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_none(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


_PASSWORD: Schema = {"type": "string", "minLength": 12, "maxLength": 1024}
_PATIENTS: Schema = {
    "type": ["array", "null"],
    "items": _TEXT,
    "description": "PatientIDs of the only patients that may be known of; null for all.",
}
_CREDENTIAL: Mapping[str, Schema] = {
    "access_key_id": _TEXT,
    "roles": _list(_TEXT),
    "patients": _PATIENTS,
    "note": _TEXT,
    "created_by": _TEXT,
    "created_at": _TIME,
    "expires_at": _TIME_OR_NONE,
    "revoked_at": _TIME_OR_NONE,
}
_LETTER: Mapping[str, Schema] = {
    "id": _TEXT,
    "lane": _TEXT,
    "kind": _TEXT,
    "tries": _COUNT,
    "error": _TEXT,
    "trace": _TEXT,
}
_QUARANTINED: Mapping[str, Schema] = {
    "id": _ID,
    "code": _TEXT,
    "sentence": _TEXT,
    "size_bytes": _COUNT,
    "sha256": _TEXT,
    "time": _TIME,
}
_LEFT: Mapping[str, Schema] = {
    "state": {"enum": ["kept", "released", "discarded"]},
    "left_at": _TIME_OR_NONE,
    "left_by": _WORD,
    "image_set": {**_WORD, "description": "Where it went when it was released."},
}
_SUMMARY: Mapping[str, Schema] = {
    "id": _ID,
    "version": {"type": "integer", "minimum": 1},
    "state": {"enum": [str(each) for each in State]},
    "closed": {**_FLAG, "description": "False while instances still arrive."},
    "storage": {"enum": [str(each) for each in Storage]},
    "modality": _TEXT,
    "study_date": _WORD,
    "series_description": _WORD,
    "body_part": _WORD,
    "patient_name": _WORD,
    "patient_id": _WORD,
    "patient_sex": _WORD,
    "rows": _COUNT_OR_NONE,
    "columns": _COUNT_OR_NONE,
    "frames": _COUNT,
    "instances": _COUNT,
    "warnings": _list(_object(code=_TEXT, message=_TEXT)),
    "finding": _or_none(_ref("Finding")),
    "prediction": _or_none(_ref("KeptPrediction")),
    "original_bytes": _COUNT,
    "stored_bytes": _COUNT,
    "study": _TEXT,
    "study_uid": _TEXT,
    "series_uid": _TEXT,
    "created_at": _TIME,
}

SCHEMAS: Mapping[str, Schema] = {
    "Error": _object(error=_object(code=_TEXT, message=_TEXT)),
    "Finding": _object(present=_FLAG, site=_SITE, confidence=_CONFIDENCE, by=_TEXT, at=_TIME, seen=_ref("Seen")),
    "Seen": {
        **_object(
            frame=_COUNT,
            quality=_QUALITY,
            full={**_COUNT_OR_NONE, "description": "Frames drawn at full quality; null where nobody told."},
            preview={**_COUNT_OR_NONE, "description": "Frames drawn as a preview only, or stood for by a neighbour."},
            never={**_COUNT_OR_NONE, "description": "Frames that were never drawn."},
            preview_ms=_COUNT_OR_NONE,
            full_ms=_COUNT_OR_NONE,
        ),
        "description": "What was on the reader's screen: the frame in view, and what was shown of all.",
    },
    "KeptPrediction": _object(
        probability={**_NUMBER, "minimum": 0, "maximum": 1},
        finding={"enum": ["present", "absent"]},
        model_version={"type": "integer", "minimum": 1},
    ),
    "Study": _object(
        id=_TEXT,
        version={**_COUNT, "description": "How often it has been received whole."},
        complete=_FLAG,
        study_uid=_TEXT,
        modalities=_list(_TEXT),
        series=_COUNT,
        instances=_COUNT,
    ),
    "AuditVerdict": _object(whole=_FLAG, entries=_COUNT, head=_TEXT, broken_at=_COUNT_OR_NONE, holds_head=_FLAG),
    "Summary": _object(**_SUMMARY),
    "Priors": _object(
        items=_list(
            _object(
                **_SUMMARY,
                same_frame_of_reference={
                    "type": ["boolean", "null"],
                    "description": "Whether millimetres are of one frame of reference; null where that is not told.",
                },
            )
        )
    ),
    "Worklist": _object(
        items=_list(_ref("Summary")),
        next={**_WORD, "description": "Hand it back as `after` for what follows; null at the end."},
        counts=_object(**{str(each): _COUNT for each in State}),
        reports={**_COUNT, "description": "Of those that are INGESTED, how many have no images."},
        landed={**_COUNT, "description": "Instances that wait to be folded."},
    ),
    "Geometry": _object(
        orientation={"enum": ["axial", "coronal", "sagittal", "oblique", None]},
        row_spacing_mm=_NUMBER_OR_NONE,
        column_spacing_mm=_NUMBER_OR_NONE,
        slice_spacing_mm=_NUMBER_OR_NONE,
        gaps={**_list(_COUNT), "description": "Frames behind which slices are missing."},
        row_direction=_DIRECTION,
        column_direction=_DIRECTION,
    ),
    "Frame": _object(
        index=_COUNT,
        rows=_COUNT,
        columns=_COUNT,
        bits_stored=_COUNT,
        signed=_FLAG,
        samples=_COUNT,
        photometric=_TEXT,
        slope=_NUMBER,
        intercept=_NUMBER,
        window_center=_NUMBER_OR_NONE,
        window_width=_NUMBER_OR_NONE,
        voi_function={"enum": ["linear", "linear-exact", "sigmoid"]},
        lossless_bytes=_COUNT_OR_NONE,
        preview_bytes=_COUNT_OR_NONE,
        quality=_QUALITY,
        decodable=_FLAG,
        position_mm=_DIRECTION,
        orientation={
            **_numbers(6),
            "description": "Unit vectors in the patient (left, posterior, head): along a row, then along a column.",
        },
        spacing_mm={**_numbers(2), "description": "Of neighbouring rows, then of neighbouring columns."},
        spacing_at_detector={**_FLAG, "description": "The spacing is not corrected for magnification."},
        sides={
            "type": ["array", "null"],
            "items": _TEXT,
            "description": "PatientOrientation, of an image without orientation: what a row and a column run towards.",
        },
        palette={
            **_or_none(_object(first={"type": "integer"}, colours={"type": "string", "format": "byte"})),
            "description": "Of PALETTE COLOR: RGB in 8 bits as base64, from the stored value `first` on.",
        },
    ),
    "ImageSet": _object(
        **_SUMMARY,
        seen_slices={**_WORD, "description": "Of a finding: runs of `n`, `p` and `f`, see `Verification`."},
        geometry=_ref("Geometry"),
        frame_list=_list(_ref("Frame")),
    ),
    "Verification": _without_need(
        ("site", "note"),
        version={"type": "integer", "minimum": 1, "description": "The version the reader looked at."},
        finding={"enum": ["present", "absent"]},
        site=_SITE,
        confidence=_CONFIDENCE,
        note={"type": "string", "maxLength": 4000},
        seen=_without_need(
            ("slices", "preview_ms", "full_ms"),
            frame=_COUNT,
            quality=_QUALITY,
            slices={
                "type": "string",
                "pattern": "^([npf]([2-9]|[1-9][0-9]{1,8})?)+$",
                "maxLength": 49152,
                "description": "For every frame in turn the best it was drawn in, as runs: `n` never, `p` a preview or"
                " a neighbour in its place, `f` at full quality; then for how many frames, 1 left out.",
            },
            preview_ms={**_COUNT, "maximum": 604800000, "description": "Time a preview or a neighbour was in view."},
            full_ms={**_COUNT, "maximum": 604800000, "description": "Time a frame at full quality was in view."},
        ),
    ),
    "Sites": _list(_object(code=_TEXT, name=_TEXT)),
    "Step": _object(
        name=_TEXT,
        type=_TEXT,
        state={"enum": ["Waiting", "Executing", "Succeeded", "Failed", "Skipped"]},
        started_at=_TIME_OR_NONE,
        ended_at=_TIME_OR_NONE,
        reason=_WORD,
    ),
    "Execution": _object(
        id=_TEXT,
        state={"enum": ["Executing", "Succeeded", "Failed", "Stopped"]},
        started_at=_TIME,
        ended_at=_TIME_OR_NONE,
        reason=_WORD,
        studies=_COUNT_OR_NONE,
        steps=_list(_ref("Step")),
        progress={"type": ["object", "null"]},
        metrics=_FIGURES,
        model_version=_COUNT_OR_NONE,
        gate={"type": ["object", "null"]},
    ),
    "Executions": _object(items=_list(_ref("Execution"))),
    "Retraining": _object(
        state={"enum": ["idle", "collecting", "running"]},
        sentence=_TEXT,
        verified=_COUNT,
        new_since_last=_COUNT,
        needed={**_COUNT, "description": "New verified patients it takes, those that are there included."},
        missing={
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": _COUNT},
            "description": "Verified patients still missing, by part of the data set and by class.",
        },
    ),
    "Model": _object(
        version={"type": "integer", "minimum": 1},
        status={"enum": ["PendingManualApproval", "Approved", "Rejected"]},
        aliases=_list(_TEXT),
        metrics=_FIGURES,
        created_at=_TIME,
        approved_at=_TIME_OR_NONE,
        decided_at=_TIME_OR_NONE,
        decided_by=_WORD,
        lineage={"type": "object", "additionalProperties": _WORD},
    ),
    "Models": _object(items=_list(_ref("Model"))),
    "Decision": _object(approved=_FLAG),
    "Event": _object(seq=_COUNT, id=_ID, time=_TIME, source=_TEXT, detail_type=_TEXT, detail={"type": "object"}),
    "Events": _object(items=_list(_ref("Event"))),
    "Replayed": _object(deliveries=_COUNT),
    "DeadLetters": _object(items=_list(_object(**_LETTER))),
    "DeadLetter": _object(**_LETTER, payload={"type": "object", "description": "Ids of ours, and plain values."}),
    "DiscardedJob": _object(id=_TEXT, discarded=_FLAG),
    "Report": _object(
        ingested=_COUNT,
        duplicates=_COUNT,
        quarantined=_COUNT,
        image_sets=_list(_ID),
        reasons=_list(_object(code=_TEXT, sentence=_TEXT, count=_COUNT)),
        files=_list(
            _object(
                name=_TEXT,
                outcome={"enum": ["ingested", "duplicate", "quarantined"]},
                code=_WORD,
                sentence=_WORD,
                image_set=_or_none(_ID),
            ),
        ),
    ),
    "ResumableUpload": _object(
        id=_ID,
        state={"enum": ["receiving", "landing", "done", "failed"]},
        offset={**_COUNT, "description": "Bytes that are durable."},
        length=_COUNT,
        files={**_COUNT, "description": "Files of the upload that are dealt with."},
        ingested=_COUNT,
        duplicates=_COUNT,
        quarantined=_COUNT,
        refused={**_COUNT, "description": "Files that could not be taken out of the archive; they are nowhere."},
        skipped={**_COUNT, "description": "DICOMDIR, and what operating systems leave in folders."},
        image_sets=_list(_ID),
        reasons=_list(
            _object(
                code=_TEXT,
                sentence=_TEXT,
                count=_COUNT,
                places={**_list(_COUNT), "description": "Numbers of the first of them in the archive, from 1."},
            )
        ),
        created_at=_TIME,
        expires_at=_TIME_OR_NONE,
    ),
    "Quarantine": _list(_object(**_QUARANTINED)),
    "Quarantined": _object(**_QUARANTINED, **_LEFT),
    "QuarantineRelease": _object(
        **_QUARANTINED,
        **_LEFT,
        outcome={"enum": ["ingested", "duplicate", "quarantined", "released"]},
        same_reason={**_FLAG, "description": "It was refused again, for the very reason it was put aside for."},
    ),
    "Ask": _object(image_set=_ID),
    "Prediction": _object(
        probability={**_NUMBER, "minimum": 0, "maximum": 1},
        finding={"enum": ["present", "absent"]},
        threshold=_NUMBER,
        model_version={"type": "integer", "minimum": 1},
        image_set=_ID,
    ),
    "SignIn": _object(name=_TEXT, password=_TEXT),
    "Session": _object(
        id=_TEXT,
        name={**_WORD, "description": "Of a person; a program has none."},
        roles=_list(_TEXT),
        actions={**_list(_TEXT), "description": "All that the roles allow."},
        is_limited={**_FLAG, "description": "Whether only some patients may be known of."},
        is_open={**_FLAG, "description": "Whether nobody signs in here, and every caller is the owner."},
        idle_minutes={
            **_NUMBER_OR_NONE,
            "description": "Idle minutes after which a person is to be signed out; 0 for never, null for a program.",
        },
    ),
    "StreamLinkWish": _object(seconds={"type": "integer", "minimum": 1, "maximum": LONGEST_LIFE_S}),
    "StreamLink": _object(
        query={**_TEXT, "description": "Goes behind the `?` of an address below this image set."}, expires_at=_TIME
    ),
    "SignedOut": _object(signed_out=_FLAG),
    "User": _object(id=_ID, name=_TEXT, roles=_list(_TEXT), patients=_PATIENTS, disabled=_FLAG, created_at=_TIME),
    "Users": _object(items=_list(_ref("User"))),
    "NewUser": _without_need(("patients",), name=_TEXT, password=_PASSWORD, roles=_list(_TEXT), patients=_PATIENTS),
    "UserChange": _without_need(
        ("password", "roles", "disabled"), password=_PASSWORD, roles=_list(_TEXT), disabled=_FLAG
    ),
    "Credential": _object(**_CREDENTIAL),
    "Credentials": _object(items=_list(_ref("Credential"))),
    "NewCredential": _object(**_CREDENTIAL, secret_access_key=_TEXT, token=_TEXT),
    "CredentialWish": _without_need(
        ("patients", "note", "days"),
        roles=_list(_TEXT),
        patients=_PATIENTS,
        note={**_TEXT, "maxLength": 64},
        days={"type": ["integer", "null"], "minimum": 1, "maximum": 3650},
    ),
    "Audit": _object(
        items=_list(
            _object(
                seq=_COUNT,
                time=_TIME,
                principal=_TEXT,
                action=_TEXT,
                subject=_TEXT,
                outcome=_TEXT,
                count=_COUNT,
                hash=_TEXT,
            )
        )
    ),
}
"""Every body by name; an object holds what is named here and nothing else."""
