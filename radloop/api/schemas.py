"""JSON Schemas of the platform API's bodies; the OpenAPI document carries them, and real answers are held to them."""

from collections.abc import Mapping
from typing import Any

from radloop.core.images import LATERALITIES, SITES, Confidence, State, Storage
from radloop.core.reads import CHANGED_MIND, DISAGREEMENT, REASONS, UNDECIDED, ReadingPolicy, Rule
from radloop.functions.retired import REASONS as RETIREMENT_REASONS
from radloop.registry.ledger import APPROVE_REASONS, REJECT_REASONS, ROLLBACK_REASONS
from radloop.security.incidents import BY_HAND, MANY_PATIENTS, OUTCOMES, Which
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
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TALLY: Schema = {"type": "object", "additionalProperties": _COUNT}
_COUNTS: Schema = {"type": "object", "additionalProperties": _TALLY}
_TIME: Schema = {"type": "string", "format": "date-time"}
_TIME_OR_NONE: Schema = {"type": ["string", "null"], "format": "date-time"}


def _numbers(count: int) -> Schema:
    return {"type": ["array", "null"], "items": _NUMBER, "minItems": count, "maxItems": count}


_DIRECTION = _numbers(3)
_SITE: Schema = {"enum": [*SITES, None]}
_CONFIDENCE: Schema = {"enum": [str(each) for each in Confidence]}
_LATERALITY: Schema = {"enum": [*LATERALITIES, None]}
_WORD_FOR_IT: Schema = {"enum": ["present", "absent"]}
_POSTERIOR: Schema = {
    "type": ["number", "null"],
    "minimum": 0,
    "maximum": 1,
    "description": "Probability of present by all reads; null where one read is enough.",
}
_POLICY: Schema = {"enum": [str(each) for each in ReadingPolicy]}
_GATE_RULE: Schema = {
    "type": "object",
    "required": ["name", "passed", "sentence"],
    "properties": {"name": _TEXT, "value": _NUMBER_OR_NONE, "limit": _NUMBER, "passed": _FLAG, "sentence": _TEXT},
}
_RULE: Schema = {"enum": [str(each) for each in Rule]}
_READING_STATE: Schema = {"enum": ["open", "waiting", "adjudication", "settled"]}
_WHY: Schema = {
    "enum": ["disagreement", "drifted", "uncertain", "second-read", "waiting"],
    "description": "With order=value: why it stands where it does.",
}
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
_DEADLINE = _object(
    ends_at=_TIME,
    reminder_at=_TIME,
    reminded={"enum": ["", "soon", "over"], "description": "How far people were reminded of it."},
    told_at=_TIME_OR_NONE,
    told_by=_WORD,
)
_INCIDENT: Mapping[str, Schema] = {
    "id": _ID,
    "kind": {"enum": [MANY_PATIENTS, BY_HAND]},
    "state": {"enum": ["open", "closed"]},
    "principal": {**_WORD, "description": "Who read, or is suspected; null where nobody knows."},
    "since": {**_TIME, "description": "From when on what was read belongs to it."},
    "opened_at": _TIME,
    "opened_by": _TEXT,
    "clocks": _object(internal=_DEADLINE, legal=_DEADLINE),
    "patients": {**_COUNT, "description": "Different ones that were counted when it was noticed, at least."},
    "image_sets": _COUNT,
    "limit": {**_COUNT, "description": "How many patients were allowed; 0 where a person opened it."},
    "is_drill": _FLAG,
    "isolated_at": _TIME_OR_NONE,
    "released_at": _TIME_OR_NONE,
    "closed_at": _TIME_OR_NONE,
    "closed_by": _WORD,
    "outcome": {"enum": [*OUTCOMES, None]},
}
_OPENED = _object(
    image_set=_ID,
    study=_TEXT,
    first=_TIME,
    last=_TIME,
    times=_COUNT,
    how=_list(_TEXT),
    by=_list(_TEXT),
)
_FOUND: Mapping[str, Schema] = {
    "version": {"type": "integer", "minimum": 1, "description": "The version the reader looked at."},
    "finding": _WORD_FOR_IT,
    "site": _SITE,
    "laterality": _LATERALITY,
    "confidence": _CONFIDENCE,
    "note": {"type": "string", "maxLength": 4000},
    "seen": _without_need(
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
}
_SAID: Mapping[str, Schema] = {
    "finding": _WORD_FOR_IT,
    "site": _SITE,
    "laterality": _LATERALITY,
    "confidence": _CONFIDENCE,
    "note": {**_WORD, "description": "Null for those who may not see images."},
    "seen": _ref("Seen"),
}
_READ: Mapping[str, Schema] = {
    "id": _ID,
    "version": {"type": "integer", "minimum": 1},
    "reader": {**_TEXT, "description": "Opaque."},
    **_SAID,
    "at": _TIME,
    "blinded": {**_FLAG, "description": "False: made after others' words could be seen, so it does not count."},
    "mine": _FLAG,
}
_KAPPA: Mapping[str, Schema] = {
    "kappa": {**_NUMBER_OR_NONE, "description": "Null where nothing was read twice, or all reads say the same."},
    "ci_low": _NUMBER_OR_NONE,
    "ci_high": _NUMBER_OR_NONE,
    "image_sets": _COUNT,
    "agreed": {**_NUMBER_OR_NONE, "description": "Share of pairs of reads that say the same."},
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
    "made_by_ai": _FLAG,
    "rows": _COUNT_OR_NONE,
    "columns": _COUNT_OR_NONE,
    "frames": _COUNT,
    "instances": _COUNT,
    "warnings": _list(_object(code=_TEXT, message=_TEXT)),
    "finding": _or_none(_ref("Finding")),
    "prediction": _or_none(_ref("KeptPrediction")),
    "reading": _ref("Reading"),
    "original_bytes": _COUNT,
    "stored_bytes": _COUNT,
    "study": _TEXT,
    "study_uid": _TEXT,
    "series_uid": _TEXT,
    "created_at": _TIME,
}

_STRETCH = {
    "version": _COUNT_OR_NONE,
    "since": _TIME_OR_NONE,
    "until": _TIME_OR_NONE,
    "moved_by": _WORD,
    "rollback_reason": _WORD,
    "approved_by": _list(_TEXT),
    "approved_at": _TIME_OR_NONE,
    "reason": _WORD,
    "evidence": {"type": "object"},
}

_PROBABILITY: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_PREDICTION: Mapping[str, Schema] = {
    "probability": {**_PROBABILITY, "description": "Null where the model refused to judge."},
    "finding": {"enum": ["present", "absent", None]},
    "threshold": {**_NUMBER, "description": "Of the model version; present from it on."},
    "model_version": {"type": "integer", "minimum": 1},
    "calibrated": {**_FLAG, "description": "Whether the probability was calibrated on validation patients."},
    "refused": {
        "enum": ["out-of-distribution", None],
        "description": "Why the model does not judge it: it is unlike all that the model was made from.",
    },
    "ood": _or_none(
        _object(
            outside=_FLAG,
            embedding={**_NUMBER, "description": "Distance from what the model was made from; 1 is the limit."},
            statistics={**_NUMBER_OR_NONE, "description": "The same of brightness and sharpness."},
            reasons=_list(_TEXT),
            sentence=_TEXT,
        )
    ),
    "frames": {**_list(_COUNT), "description": "Frames that there is a saliency picture of."},
    "frame": {**_COUNT_OR_NONE, "description": "The one that counted most."},
}
_NEWER_OF_PREDICTION = ("threshold", "calibrated", "refused", "ood", "frames", "frame")
_PREDICTION_STATUS: Mapping[str, Schema] = {
    "model_version": {"type": "integer", "minimum": 1},
    "predicted": {**_COUNT, "description": "Image sets that it has looked at."},
    "refused": {**_COUNT, "description": "Those of them that it did not judge."},
    "waiting": {**_COUNT, "description": "Jobs that wait or are being worked on."},
}
_WITH_INTERVAL = _object(value=_NUMBER, ci_low=_NUMBER, ci_high=_NUMBER)

SCHEMAS: Mapping[str, Schema] = {
    "Error": _object(error=_object(code=_TEXT, message=_TEXT)),
    "Finding": _object(
        present=_FLAG,
        site=_SITE,
        laterality=_LATERALITY,
        confidence=_CONFIDENCE,
        by=_TEXT,
        at=_TIME,
        posterior=_POSTERIOR,
        reads={**_COUNT, "description": "How many reads it rests on."},
        rule=_RULE,
        seen=_ref("Seen"),
    ),
    "Reading": _object(
        policy=_POLICY,
        state={**_READING_STATE, "description": "open: nobody has read; waiting: some have, and more are needed."},
        given={**_COUNT, "description": "Reads that count."},
        needed={**_COUNT_OR_NONE, "description": "Reads that it takes at least; null where that is not known."},
        mine={**_FLAG, "description": "Whether the caller has read it as it is now."},
        blinded={**_FLAG, "description": "Whether the caller is told nothing of what others or a model say."},
    ),
    "Read": _object(**_READ),
    "Reads": _object(policy=_POLICY, state=_READING_STATE, posterior=_POSTERIOR, items=_list(_ref("Read"))),
    "Label": _object(
        version={"type": "integer", "minimum": 1},
        rule=_RULE,
        by=_TEXT,
        reason={"enum": [*REASONS, None]},
        **_SAID,
        posterior=_POSTERIOR,
        reads=_COUNT,
        at=_TIME,
    ),
    "Labels": _object(items=_list(_ref("Label"))),
    "AdjudicationQueue": _object(
        items=_list(
            _object(
                **_SUMMARY,
                asked={"enum": [DISAGREEMENT, UNDECIDED, CHANGED_MIND]},
                posterior=_POSTERIOR,
                reads=_list(_ref("Read")),
            )
        ),
        next=_WORD,
        total=_COUNT,
    ),
    "Agreement": _object(
        datastore=_ID,
        reads=_COUNT,
        image_sets=_COUNT,
        all=_object(**_KAPPA),
        pairs=_list(_object(readers={**_list(_TEXT), "minItems": 2, "maxItems": 2}, **_KAPPA)),
        readers=_list(_object(reader=_TEXT, reads=_NUMBER, sensitivity=_NUMBER, specificity=_NUMBER)),
    ),
    "Project": _object(datastore=_ID, policy=_POLICY, settle_at=_NUMBER, changed_at=_TIME_OR_NONE, changed_by=_WORD),
    "ProjectWish": _without_need(
        ("settle_at",), policy=_POLICY, settle_at={**_NUMBER, "minimum": 0.6, "maximum": 0.999}
    ),
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
    "KeptPrediction": {
        **_without_need(_NEWER_OF_PREDICTION, **_PREDICTION),
        "description": "Kept before version 0.2, a prediction has no more than probability, finding, model_version.",
    },
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
    "KeptProvenance": _object(instance={**_TEXT, "description": "SOP instance UID of the report."}),
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
        items=_list(_without_need(("why",), **_SUMMARY, why=_WHY)),
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
    "Verification": _without_need(("site", "laterality", "note"), **_FOUND),
    "NewRead": _without_need(("site", "laterality", "note"), **_FOUND),
    "Adjudication": _without_need(("site", "laterality", "note"), **_FOUND, reason={"enum": list(REASONS)}),
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
        snapshot=_WORD,
        steps=_list(_ref("Step")),
        progress={"type": ["object", "null"]},
        metrics=_FIGURES,
        model_version=_COUNT_OR_NONE,
        gate={"type": ["object", "null"]},
    ),
    "Executions": _object(items=_list(_ref("Execution"))),
    "Snapshots": _object(
        items=_list(
            _object(sha256=_SHA256, image_sets=_COUNT, counts=_COUNTS, excluded=_TALLY, executions=_list(_TEXT))
        )
    ),
    "Snapshot": _without_need(
        ("difference",),
        sha256=_SHA256,
        image_sets=_COUNT,
        studies=_COUNT,
        counts=_COUNTS,
        patients=_TALLY,
        exclusions=_list(_object(image_set=_TEXT, reason=_TEXT)),
        excluded=_TALLY,
        policy={"type": "object", "additionalProperties": {"type": "object"}},
        readers={"type": "object", "additionalProperties": {"type": "object"}},
        retired_patients=_COUNT,
        licences=_TALLY,
        executions=_list(_TEXT),
        difference=_object(against=_SHA256, added=_list(_TEXT), removed=_list(_TEXT), changed=_list(_TEXT)),
    ),
    "Retire": _object(image_sets=_list(_TEXT), reason={"enum": list(RETIREMENT_REASONS)}),
    "Retirement": _object(retired=_COUNT, already=_COUNT),
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
        reason=_WORD,
        approvals={**_list(_TEXT), "description": "Who has spoken for it."},
        held={**_list(_ref("Reason")), "description": "Why it was not approved by itself."},
        rolled_back_at=_TIME_OR_NONE,
        rolled_back_by=_WORD,
        lineage={"type": "object", "additionalProperties": _WORD},
        notice={**_WORD, "description": "What whoever decided is told about it."},
    ),
    "Models": _object(items=_list(_ref("Model"))),
    "Evaluation": {
        "type": "object",
        "required": ["metrics", "gate"],
        "properties": {
            "metrics": {"type": "object", "additionalProperties": {"type": "object"}},
            "gate": {
                "type": "object",
                "required": ["approved", "rules"],
                "properties": {"approved": _FLAG, "rules": _list(_GATE_RULE)},
            },
        },
        "description": "evaluation.json as the run wrote it; docs/gate.md tells what stands in it.",
    },
    "Checklists": {
        "type": "object",
        "additionalProperties": _object(
            answered=_COUNT,
            items=_list(
                _without_need(
                    ("answer", "need"),
                    number=_TEXT,
                    asks=_TEXT,
                    status={"enum": ["answered", "open"]},
                    answer=_TEXT,
                    need=_TEXT,
                )
            ),
        ),
    },
    "Decision": _without_need(("reason",), approved=_FLAG, reason={"enum": [*APPROVE_REASONS, *REJECT_REASONS, None]}),
    "Rollback": _without_need(
        ("to", "from"),
        **{
            "reason": {"enum": list(ROLLBACK_REASONS)},
            "to": {**_COUNT_OR_NONE, "description": "The version that shall serve; without it, the last before."},
            "from": {**_COUNT_OR_NONE, "description": "The version to take back, for who looked before."},
        },
    ),
    "Reason": _object(code=_TEXT, sentence=_TEXT),
    "Reasons": _object(approve=_list(_ref("Reason")), reject=_list(_ref("Reason")), rollback=_list(_ref("Reason"))),
    "Serving": _object(at=_TIME, **_STRETCH, items=_list(_object(**_STRETCH))),
    "Ledger": _object(
        whole=_FLAG,
        entries=_COUNT,
        head=_TEXT,
        broken_at=_COUNT_OR_NONE,
        ends_as_audited={**_FLAG, "description": "Whether the ledger ends where the audit says it does."},
        items=_list({"type": "object"}),
    ),
    "EvidenceKey": _object(public_key=_TEXT, fingerprint=_TEXT, pem=_TEXT),
    "Plan": _object(
        state={"enum": ["missing", "invalid", "void", "unsigned", "expired", "valid"]},
        sentence=_TEXT,
        release={"enum": ["plan", "automatic", "manual"]},
        sha256=_WORD,
        text=_WORD,
        author=_WORD,
        valid_from=_WORD,
        valid_until=_WORD,
        signatures=_list(_object(role=_TEXT, by=_TEXT, at=_TEXT, holds=_FLAG, why=_WORD)),
        missing={**_list(_TEXT), "description": "Roles that have still to sign."},
        problems=_list(_ref("Reason")),
        violations={**_list(_ref("Reason")), "description": "Where the run lies outside; without one, the next run."},
        is_inside={"type": ["boolean", "null"]},
    ),
    "PlanSignature": _object(plan_sha256=_TEXT, signer=_TEXT, role=_TEXT, signature=_TEXT),
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
    "Prediction": _object(**_PREDICTION, image_set=_ID),
    "PredictionWish": _without_need(
        ("image_sets",),
        image_sets={
            "type": ["array", "null"],
            "items": _ID,
            "maxItems": 1000,
            "description": "Ids; null or left out for all that the model in use has not seen yet.",
        },
    ),
    "PredictionStatus": _object(**_PREDICTION_STATUS),
    "PredictionsAsked": _object(
        **_PREDICTION_STATUS, queued={**_COUNT, "description": "Image sets that will be looked at for this."}
    ),
    "Comparison": _object(
        champion=_COUNT_OR_NONE,
        shadow=_COUNT_OR_NONE,
        image_sets={**_COUNT, "description": "Judged by both, of the latest 1,000 of the shadow."},
        agreement={**_NUMBER_OR_NONE, "description": "Share with the same finding, or refused by both."},
        difference={**_NUMBER_OR_NONE, "description": "Mean absolute difference of the probabilities."},
        higher={**_NUMBER_OR_NONE, "description": "Share in which the shadow's probability is higher."},
    ),
    "Drift": _object(
        state={"enum": ["no-model", "waiting", "no-reference", "quiet", "watching", "alarm"]},
        model_version=_COUNT_OR_NONE,
        sentence=_TEXT,
        changed={"enum": ["prevalence", "scanner", None], "description": "What changed, where an alarm tells."},
        since=_TIME_OR_NONE,
        next={**_TEXT, "description": "What happens next, or what to do."},
        reference=_or_none(_object(image_sets=_COUNT, patients=_COUNT, prevalence=_NUMBER)),
        studies={**_COUNT, "description": "Patients that went into blocks."},
        reads={**_COUNT, "description": "Answers that readers have judged since."},
        prevalence=_or_none(_object(before=_NUMBER, now=_NUMBER, low=_NUMBER, high=_NUMBER)),
        feedback=_or_none(
            _object(
                image_sets=_COUNT,
                patients=_COUNT,
                present=_COUNT,
                accuracy=_WITH_INTERVAL,
                roc_auc=_or_none(_WITH_INTERVAL),
            )
        ),
        alarms=_list(_object(name=_TEXT, state={"enum": ["OK", "ALARM"]}, since=_TIME_OR_NONE)),
        monitors=_list(
            _object(
                name=_TEXT,
                state={"enum": ["quiet", "watching", "alarm"]},
                value={**_NUMBER_OR_NONE, "description": "Surprise: -log10 of the chance that this is nothing."},
                limit={**_NUMBER, "description": "Surprise from which on there is an alarm."},
                since=_TIME_OR_NONE,
                studies=_COUNT_OR_NONE,
                sentence=_TEXT,
                history=_list(_object(at=_TIME, value=_NUMBER, studies=_COUNT)),
            )
        ),
    ),
    "Alarms": _object(
        items=_list(
            _object(
                id={**_TEXT, "description": "Of the list that the alarms answer: A1 to A8; O1 is our own."},
                name=_TEXT,
                description=_TEXT,
                severity={"enum": ["critical", "warning"]},
                state={"enum": ["OK", "ALARM", None], "description": "null: nobody has looked yet."},
                since=_TIME_OR_NONE,
                value={**_NUMBER_OR_NONE, "description": "What was measured when the state was last written down."},
                metric=_TEXT,
                statistic=_TEXT,
                comparison={"enum": [">", "<"]},
                threshold=_NUMBER,
                unit=_TEXT,
            )
        )
    ),
    "NotificationTest": _object(
        items=_list(
            _object(
                place={**_COUNT, "description": "Of the address in the setting `notify`, from 1."},
                service={**_TEXT, "description": "Kind of the address; the address itself is never told."},
                sent={"type": "boolean"},
                error={"type": ["string", "null"]},
            )
        )
    ),
    "Dashboards": _object(
        step_s={**_COUNT, "description": "Seconds from one point to the next."},
        times={**_list(_COUNT), "description": "Seconds since 1970, ascending."},
        dashboards=_list(
            _object(
                id=_TEXT,
                title=_TEXT,
                widgets=_list(
                    _object(
                        id=_TEXT,
                        title=_TEXT,
                        unit=_TEXT,
                        metric=_TEXT,
                        statistic=_TEXT,
                        series=_list(
                            _object(
                                name={**_TEXT, "description": "Value of the label that tells lines apart."},
                                points={**_list(_NUMBER_OR_NONE), "description": "One for each of `times`."},
                            )
                        ),
                    )
                ),
            )
        ),
    ),
    "SignInWay": _object(
        kind={"enum": ["password", "redirect"], "description": "With a name and a password, or at another page."},
        address={**_WORD, "description": "Of that page, for this one sign-in."},
        leave={**_WORD, "description": "Where a browser is signed out of that page; it leads back."},
        native_app={
            **_or_none(
                _object(
                    address={**_TEXT, "description": "Of the server below which `/oauth2/authorize` lies."},
                    client_id=_TEXT,
                    scope=_TEXT,
                    redirects={**_list(_TEXT), "description": "On the loopback, to one of which it leads back."},
                )
            ),
            "description": "By what a program signs in whoever runs it (RFC 8252); null where there is no such thing.",
        },
    ),
    "SignIn": {
        **_without_need(("name", "password", "code", "state"), name=_TEXT, password=_TEXT, code=_TEXT, state=_TEXT),
        "description": "`name` and `password`, or `code` and `state` as another page gave them; see `getSignIn`.",
    },
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
        renewal_s={
            **_NUMBER_OR_NONE,
            "description": "Seconds until the session ends unless it is renewed; null where it need not be.",
        },
    ),
    "StreamLinkWish": _object(seconds={"type": "integer", "minimum": 1, "maximum": LONGEST_LIFE_S}),
    "StreamLink": _object(
        query={**_TEXT, "description": "Goes behind the `?` of an address below this image set."}, expires_at=_TIME
    ),
    "SignedOut": _object(
        signed_out=_FLAG,
        address={**_WORD, "description": "Where a browser goes to be signed out of another page too."},
    ),
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
    "Incident": _object(**_INCIDENT),
    "Incidents": _object(
        items=_list(_ref("Incident")),
        isolated=_list(_object(principal=_TEXT, incident=_TEXT, by=_TEXT, at=_TIME)),
    ),
    "IncidentWish": _without_need(
        ("principal", "since", "drill"),
        principal={"type": ["string", "null"], "minLength": 1, "maxLength": 256},
        since={**_TIME_OR_NONE, "description": "A day ago unless said."},
        drill=_FLAG,
    ),
    "IncidentClock": _object(clock={"enum": [str(each) for each in Which]}),
    "IncidentOutcome": _object(outcome={"enum": list(OUTCOMES)}),
    "IsolationWish": _object(principal={"type": "string", "minLength": 1, "maxLength": 256}),
    "Released": _object(principal=_TEXT, released=_FLAG),
    "IncidentReport": _object(
        incident=_ref("Incident"),
        made_at=_TIME,
        since=_TIME,
        until=_TIME,
        patients_affected=_COUNT,
        image_sets_affected=_COUNT,
        patients=_list(_object(patient=_TEXT, image_sets=_list(_OPENED))),
        deleted_image_sets=_list(_TEXT),
        searches=_COUNT,
        acts=_list(_object(time=_TIME, by=_TEXT, action=_TEXT, seq=_COUNT)),
        open_points=_list(_TEXT),
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
