"""The platform API and the streams as one table, and the OpenAPI document made from it."""

import re
from functools import cache
from typing import Any

from starlette.responses import Response

from radloop import __version__
from radloop.api import (
    drift,
    identities,
    image_sets,
    incidents,
    loop,
    models,
    monitoring,
    plan,
    predictions,
    provenance,
    quarantine,
    reads,
    resumable,
    sign_in,
    snapshots,
    stream,
    studies,
    uploads,
)
from radloop.api.operations import PREFIX, Ask, Header, Operation, Query, as_json
from radloop.api.principal import ANYBODY, SIGNED_IN
from radloop.api.reports import REPORTS
from radloop.api.schemas import SCHEMAS

__all__ = ["OPERATIONS", "PREFIX", "describe", "document"]

_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_WORDS = {
    400: "The request is not as it should be.",
    401: "Nobody known: sign in, or send a bearer token.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    408: "Nothing came for too long.",
    409: "It changed meanwhile, or is not in a state that allows this.",
    412: "The version of tus is not one we speak.",
    413: "It is too long.",
    415: "The body is of a type this address does not take.",
    422: "The pixels cannot be decoded.",
    429: "Too often; try again after Retry-After seconds.",
    460: "The bytes are not those that the checksum was made of.",
    500: "Something failed on our side; the log has more.",
    503: "A part of ours does not answer now; try again.",
}


def describe(ask: Ask) -> Response:  # noqa: ARG001 — every operation has this signature
    """This document."""
    return as_json(document())


def _limit(most: int) -> Query:
    return Query("limit", {"type": "integer", "minimum": 1, "maximum": most}, "At most so many.")


_HEAD = Query("head", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "A head kept before, which the chain must hold.")
_COMPLETE = Query("complete", {"enum": ["0", "1"]}, "1 closes the image sets that were touched.")
_STATE = Query("state", {"enum": ["INGESTED", "VERIFIED", "REJECTED"]}, "Only image sets in this state.")
_IMAGES = Query("images", {"enum": ["0", "1"]}, "1: with state INGESTED, only image sets that have images.")
_ORDER = Query("order", {"enum": ["newest", "value"]}, "value: what waits for a reader, the worthiest first.")
_MINE = Query("mine", {"enum": ["0", "1"]}, "1: with order=value, without what the caller has read.")
_PROJECT = Query("datastore", {"type": "string"}, "The data store; without it the default one.")
_NEXT = Query("after", {"type": "string"}, "`next` of the page before.")
_SEQUENCE = Query("after", {"type": "integer", "minimum": 0}, "Events behind this one; without it the newest first.")
_HOURS = Query("hours", {"type": "integer", "minimum": 1, "maximum": 24}, "How far back; 24 unless said.")
_BEFORE = Query("before", {"type": "integer", "minimum": 0}, "Only entries before this one.")
_PRINCIPAL = Query("principal", {"type": "string"}, "Only what this principal did.")
_ACTION = Query("action", {"type": "string"}, "Only this action.")
_SUBJECT = Query("subject", {"type": "string"}, "Only what was done to this.")
_SINCE = Query(
    "since", {"type": "string", "format": "date-time"}, "From when on; from where the incident begins unless said."
)
_CODE = Query("code", {"type": "string"}, "Only what was put aside for this reason.")
_ENTRY = Query("after", {"type": "string"}, "Id of the last entry of the page before.")
_DATASTORE = Query("datastore", {"type": "string"}, "The data store to land in; without it the default one.")
_FORMAT = Query("format", {"enum": list(provenance.FORMATS)}, "sr: a DICOM report, which is the default; fhir: JSON.")
_FHIR_VERSION = Query("fhir_version", {"enum": list(provenance.FHIR_VERSIONS)}, "Of FHIR; 4.0 unless said.")
_AGAIN = Query("again", {"enum": ["0", "1"]}, "1: the same data once more, judged against today's champion.")
_AGAINST = Query("against", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "A snapshot to tell the differences from.")
_AT = Query("at", {"type": "string"}, "A moment with its time zone, or a day of UTC; without it, now.")
_PACKAGE = Query("package", {"enum": ["0", "1"]}, "1 puts the model package itself in, and not its hashes alone.")
_PLAN_VERSION = Query(
    "version", {"type": "integer", "minimum": 0}, "A model version whose run is held against the plan."
)
_PLAN_EXECUTION = Query("execution", {"type": "string"}, "An execution that is held against the plan.")
_FILES = ("multipart/form-data", "application/dicom")
_BYTES = {"type": "integer", "minimum": 0}
_TUS = Header("Tus-Resumable", "The version of tus that is spoken.", {"const": resumable.VERSION}, required=True)
_LENGTH = Header("Upload-Length", "Bytes of the whole upload.", _BYTES, required=True)
_OFFSET = Header("Upload-Offset", "Where the bytes belong, which is how many are durable.", _BYTES, required=True)
_OFFSET_NOW = Header("Upload-Offset", "Bytes that are durable.", _BYTES)
_METADATA = Header("Upload-Metadata", "Keys with values in base64; kept for the sender alone.")
_CHECKSUM = Header("Upload-Checksum", "`sha256` or `sha1`, and the body's checksum in base64.")
_EXPIRES = Header("Upload-Expires", "When an unfinished upload is removed.")
_LINK = (
    Query("expires", {"type": "integer"}, "Of a signed link: when it ends, in seconds since 1970."),
    Query("principal", {"type": "string"}, "Of a signed link: whose right it is."),
    Query("signature", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "Of a signed link."),
)
_ETAG = Header("ETag", "Stands for exactly these bytes.")
_VERSION = Header("X-Radloop-Version", "The version of the image set.", {"type": "integer", "minimum": 1})
_PACKS = Header(
    "X-Radloop-Packs", "Where static packs lie, and the query that opens them; not everywhere, see docs/stream.md."
)
_TUS_TERMS = (
    Header("Tus-Version", "The versions of tus that are spoken."),
    Header("Tus-Extension", "Its extensions that are spoken."),
    Header("Tus-Max-Size", "Bytes that one upload may have.", _BYTES),
    Header("Tus-Checksum-Algorithm", "What a checksum may be made by."),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "listWorklist",
        "GET",
        "/worklist",
        "Image sets, newest first",
        "Worklist",
        image_sets.list_image_sets,
        query=(_STATE, _IMAGES, _ORDER, _MINE, _limit(500), _NEXT),
        action="image.search",
    ),
    Operation(
        "getImageSet",
        "GET",
        "/image-sets/{id}",
        "One image set with its frames",
        "ImageSet",
        image_sets.get_image_set,
        refusals=(404,),
        action="image.read",
    ),
    Operation(
        "listPriors",
        "GET",
        "/image-sets/{id}/priors",
        "Other image sets of the same patient, newest study first",
        "Priors",
        image_sets.list_priors,
        query=(_limit(200),),
        refusals=(404,),
        action="image.search",
    ),
    Operation(
        "getFrame",
        "GET",
        "/image-sets/{id}/frames/{index:int}",
        "A frame at full quality, HTJ2K",
        "image/jph",
        image_sets.get_frame,
        refusals=(404, 422),
        action="image.read",
    ),
    Operation(
        "getPreview",
        "GET",
        "/image-sets/{id}/frames/{index:int}/preview",
        "The lossy preview of a frame, HTJ2K",
        "image/jph",
        image_sets.get_preview,
        refusals=(404,),
        action="image.read",
    ),
    Operation(
        "getThumbnail",
        "GET",
        "/image-sets/{id}/thumbnail",
        "A small picture for finding a series",
        "image/png",
        image_sets.get_thumbnail,
        refusals=(404, 422),
        action="image.read",
    ),
    Operation(
        "verifyImageSet",
        "POST",
        "/image-sets/{id}/verification",
        "Record a reader's finding: ground truth, or one of the reads",
        "Summary",
        image_sets.verify_image_set,
        takes="Verification",
        refusals=(404, 409, 413, 415),
        action="image.verify",
    ),
    Operation(
        "createRead",
        "POST",
        "/image-sets/{id}/reads",
        "Add what one reader says; ground truth where it settles the question",
        "Summary",
        reads.create_read,
        takes="NewRead",
        refusals=(404, 409, 413, 415, 503),
        action="image.verify",
    ),
    Operation(
        "listReads",
        "GET",
        "/image-sets/{id}/reads",
        "What readers said; only one's own before one has read it",
        "Reads",
        reads.list_reads,
        refusals=(404,),
        action="reading.read",
    ),
    Operation(
        "listLabels",
        "GET",
        "/image-sets/{id}/labels",
        "Every ground truth an image set has had, oldest first",
        "Labels",
        reads.list_labels,
        refusals=(404,),
        action="reading.read",
    ),
    Operation(
        "createAdjudication",
        "POST",
        "/image-sets/{id}/adjudication",
        "Decide where readers differ, or revise what was ground truth",
        "Summary",
        reads.create_adjudication,
        takes="Adjudication",
        refusals=(404, 409, 413, 415),
        action="image.adjudicate",
    ),
    Operation(
        "listAdjudication",
        "GET",
        "/adjudication",
        "What waits for an adjudicator, longest first",
        "AdjudicationQueue",
        reads.list_adjudication,
        query=(_limit(500), _NEXT),
        action="image.adjudicate",
    ),
    Operation(
        "getAgreement",
        "GET",
        "/agreement",
        "How readers agree, and how good each is held to be",
        "Agreement",
        reads.get_agreement,
        query=(_PROJECT,),
        refusals=(404,),
        action="agreement.read",
    ),
    Operation(
        "getProject",
        "GET",
        "/projects/{id}",
        "How the image sets of a data store are read",
        "Project",
        reads.get_project,
        refusals=(404,),
        action="reading.read",
    ),
    Operation(
        "updateProject",
        "PUT",
        "/projects/{id}",
        "Have the image sets of a data store be read under another policy",
        "Project",
        reads.set_project,
        takes="ProjectWish",
        refusals=(404, 413, 415),
        action="project.manage",
    ),
    Operation(
        "completeImageSet",
        "POST",
        "/image-sets/{id}/complete",
        "Close an image set now",
        "Summary",
        image_sets.complete_image_set,
        refusals=(404, 503),
        action="image.write",
    ),
    Operation(
        "getStudy",
        "GET",
        "/studies/{id}",
        "One study, counted",
        "Study",
        studies.get_study,
        refusals=(404,),
        action="image.read",
    ),
    Operation(
        "completeStudy",
        "POST",
        "/studies/{id}/complete",
        "Close a study and its image sets now",
        "Study",
        studies.complete_study,
        refusals=(404, 503),
        action="image.write",
    ),
    Operation(
        "exportImageSet",
        "GET",
        "/image-sets/{id}/export",
        "The files as they arrived, zipped",
        "application/zip",
        image_sets.export_image_set,
        refusals=(404,),
        action="image.export",
    ),
    Operation(
        "getProvenance",
        "GET",
        "/image-sets/{id}/provenance",
        "Who said what of an image set, as a DICOM report or FHIR resources",
        provenance.DICOM_TYPE,
        provenance.get_provenance,
        also=(provenance.FHIR_TYPE,),
        query=(_FORMAT, _FHIR_VERSION),
        refusals=(404,),
        action="image.export",
    ),
    Operation(
        "storeProvenance",
        "POST",
        "/image-sets/{id}/provenance",
        "Keep the report in the study it is about, as a series of its own",
        "KeptProvenance",
        provenance.keep_provenance,
        refusals=(404, 503),
        action="image.write",
    ),
    Operation(
        "listSites",
        "GET",
        "/sites",
        "Where a finding can be",
        "Sites",
        image_sets.list_sites,
        action="image.read",
    ),
    Operation(
        "listExecutions",
        "GET",
        "/executions",
        "Runs of the pipeline, newest first",
        "Executions",
        loop.list_executions,
        query=(_limit(500),),
        action="model.read",
    ),
    Operation(
        "startExecution",
        "POST",
        "/executions",
        "Retrain now on everything that is verified",
        "Execution",
        loop.start_execution,
        query=(_AGAIN,),
        refusals=(409,),
        action="model.train",
    ),
    Operation(
        "getExecution",
        "GET",
        "/executions/{id}",
        "One run of the pipeline",
        "Execution",
        loop.get_execution,
        refusals=(404,),
        action="model.read",
    ),
    Operation(
        "getRetraining",
        "GET",
        "/retraining",
        "Where the loop stands",
        "Retraining",
        loop.get_retraining,
        action="model.read",
    ),
    Operation(
        "listSnapshots",
        "GET",
        "/snapshots",
        "Data sets that were trained on, the latest first",
        "Snapshots",
        snapshots.list_snapshots,
        query=(_limit(500),),
        action="model.read",
    ),
    Operation(
        "getSnapshot",
        "GET",
        "/snapshots/{id}",
        "One data set: its counts, what was left out of it and why, who read it",
        "Snapshot",
        snapshots.get_snapshot,
        query=(_AGAINST,),
        refusals=(404,),
        action="model.read",
    ),
    Operation(
        "retireTestPatients",
        "POST",
        "/test-patients/retire",
        "Never use the patients of these image sets again",
        "Retirement",
        snapshots.retire_patients,
        takes="Retire",
        refusals=(404, 413, 415, 503),
        action="test.retire",
    ),
    Operation(
        "listModels",
        "GET",
        "/models",
        "Model versions, newest first",
        "Models",
        models.list_models,
        action="model.read",
    ),
    Operation(
        "getModel",
        "GET",
        "/models/{version:int}",
        "One model version",
        "Model",
        models.get_model,
        refusals=(404,),
        action="model.read",
    ),
    Operation(
        "decideOnModel",
        "POST",
        "/models/{version:int}/decision",
        "Approve or reject a model version",
        "Model",
        models.decide_on_model,
        takes="Decision",
        refusals=(404, 409, 413, 415),
        action="model.decide",
    ),
    Operation(
        "rollBackModel",
        "POST",
        "/models/rollback",
        "Take the model in use back, and let an approved one serve again",
        "Model",
        models.roll_back_model,
        takes="Rollback",
        refusals=(404, 409, 413, 415),
        action="model.rollback",
    ),
    Operation(
        "listReasons",
        "GET",
        "/models/reasons",
        "Codes of why a model version was approved, rejected or taken back",
        "Reasons",
        models.list_reasons,
        action="model.read",
    ),
    Operation(
        "getServing",
        "GET",
        "/models/serving",
        "Which model version served at a moment or on a day, by whose approval, on what evidence",
        "Serving",
        models.get_serving,
        query=(_AT,),
        action="model.read",
    ),
    Operation(
        "getLedger",
        "GET",
        "/models/ledger",
        "Entries of the model ledger, newest first, and whether its chain is whole",
        "Ledger",
        models.get_ledger,
        query=(_limit(1000),),
        action="model.read",
    ),
    Operation(
        "getEvidenceKey",
        "GET",
        "/models/evidence-key",
        "The public key that evidence of this installation is checked with",
        "EvidenceKey",
        models.get_evidence_key,
        refusals=(503,),
        action="model.read",
    ),
    Operation(
        "getEvidence",
        "GET",
        "/models/{version:int}/evidence",
        "Everything a model version rests on, as one signed archive",
        "application/zip",
        models.get_evidence,
        query=(_PACKAGE,),
        refusals=(404, 503),
        action="model.evidence",
    ),
    Operation(
        "getPlan",
        "GET",
        "/plan",
        "The change control plan, how it stands, and where a run lies outside it",
        "Plan",
        plan.get_plan,
        query=(_PLAN_VERSION, _PLAN_EXECUTION),
        refusals=(404,),
        action="model.read",
    ),
    Operation(
        "signPlan",
        "POST",
        "/plan/signatures",
        "Hand in a signature over the change control plan",
        "Plan",
        plan.sign_plan,
        takes="PlanSignature",
        refusals=(404, 413, 415),
        action="plan.sign",
    ),
    Operation(
        "listEvents",
        "GET",
        "/events",
        "What happened",
        "Events",
        loop.list_events,
        query=(_limit(1000), _SEQUENCE),
        action="event.read",
    ),
    Operation(
        "replayEvent",
        "POST",
        "/events/{id}/replay",
        "Deliver an event again",
        "Replayed",
        loop.replay_event,
        refusals=(404,),
        action="event.replay",
    ),
    Operation(
        "listDeadLetters",
        "GET",
        "/jobs/dead-letters",
        "Jobs that were given up on",
        "DeadLetters",
        loop.list_dead_letters,
        action="job.read",
    ),
    Operation(
        "getDeadLetter",
        "GET",
        "/jobs/dead-letters/{id}",
        "One job that was given up on",
        "DeadLetter",
        loop.get_dead_letter,
        refusals=(404,),
        action="job.read",
    ),
    Operation(
        "deleteDeadLetter",
        "DELETE",
        "/jobs/dead-letters/{id}",
        "Forget a dead letter",
        "DiscardedJob",
        loop.discard_dead_letter,
        refusals=(404,),
        action="job.replay",
    ),
    Operation(
        "replayJob",
        "POST",
        "/jobs/{id}/replay",
        "Try a dead letter again",
        "Replayed",
        loop.replay_job,
        refusals=(404,),
        action="job.replay",
    ),
    Operation(
        "uploadFiles",
        "POST",
        "/uploads",
        "Send DICOM files in",
        "Report",
        receive=uploads.receive,
        media=_FILES,
        query=(_COMPLETE,),
        refusals=(413, 415, 503),
        action="image.write",
    ),
    Operation(
        "describeResumable",
        "OPTIONS",
        "/resumable",
        "What the resumable uploads of this server can do (tus 1.0.0)",
        "",
        receive=resumable.describe,
        status=204,
        tells=_TUS_TERMS,
        always=resumable.ALWAYS,
        action="image.write",
    ),
    Operation(
        "createResumable",
        "POST",
        "/resumable",
        "Begin a resumable upload, with or without its first bytes",
        "",
        receive=resumable.create,
        media=(resumable.CHUNK,),
        status=201,
        headers=(_TUS, _LENGTH, _METADATA, _CHECKSUM),
        tells=(Header("Location", "Where to send the bytes."), _OFFSET_NOW, _EXPIRES),
        always=resumable.ALWAYS,
        refusals=(408, 412, 413, 460, 503),
        action="image.write",
    ),
    Operation(
        "describeResumableUpload",
        "OPTIONS",
        "/resumable/{id}",
        "The same, asked at an upload",
        "",
        receive=resumable.describe,
        status=204,
        tells=_TUS_TERMS,
        always=resumable.ALWAYS,
        action="image.write",
    ),
    Operation(
        "getResumableOffset",
        "HEAD",
        "/resumable/{id}",
        "How many bytes of an upload are durable",
        "",
        receive=resumable.status,
        headers=(_TUS,),
        tells=(_OFFSET_NOW, _LENGTH, _METADATA, _EXPIRES),
        always=resumable.ALWAYS,
        refusals=(404, 412),
        action="image.write",
    ),
    Operation(
        "getResumable",
        "GET",
        "/resumable/{id}",
        "Where an upload stands, and what became of its files",
        "ResumableUpload",
        receive=resumable.report,
        refusals=(404,),
        action="image.write",
    ),
    Operation(
        "storeResumablePart",
        "PATCH",
        "/resumable/{id}",
        "Send the bytes behind the offset",
        "",
        receive=resumable.append,
        media=(resumable.CHUNK,),
        status=204,
        headers=(_TUS, _OFFSET, _CHECKSUM),
        tells=(_OFFSET_NOW, _EXPIRES),
        always=resumable.ALWAYS,
        refusals=(404, 408, 409, 412, 413, 415, 460, 503),
        action="image.write",
    ),
    Operation(
        "updateResumable",
        "POST",
        "/resumable/{id}",
        "PATCH or DELETE, for clients that can do neither",
        "",
        receive=resumable.override,
        media=(resumable.CHUNK,),
        status=204,
        headers=(_TUS, Header("X-HTTP-Method-Override", "PATCH or DELETE.", required=True), _OFFSET, _CHECKSUM),
        tells=(_OFFSET_NOW, _EXPIRES),
        always=resumable.ALWAYS,
        refusals=(404, 408, 409, 412, 413, 415, 460, 503),
        action="image.write",
    ),
    Operation(
        "deleteResumable",
        "DELETE",
        "/resumable/{id}",
        "Forget an upload; what has landed of it stays",
        "",
        receive=resumable.remove,
        status=204,
        headers=(_TUS,),
        always=resumable.ALWAYS,
        refusals=(404, 409, 412),
        action="image.write",
    ),
    Operation(
        "listQuarantine",
        "GET",
        "/quarantine",
        "What could not be accepted, newest first",
        "Quarantine",
        quarantine.list_quarantine,
        query=(_limit(1000), _CODE, _ENTRY),
        refusals=(404,),
        action="quarantine.read",
    ),
    Operation(
        "getQuarantined",
        "GET",
        "/quarantine/{id}",
        "One file that could not be accepted, also one that has left quarantine",
        "Quarantined",
        quarantine.get_entry,
        refusals=(404,),
        action="quarantine.read",
    ),
    Operation(
        "getQuarantinedFile",
        "GET",
        "/quarantine/{id}/file",
        "The bytes as they arrived",
        "application/octet-stream",
        quarantine.get_file,
        refusals=(404, 409),
        action="quarantine.manage",
    ),
    Operation(
        "releaseQuarantined",
        "POST",
        "/quarantine/{id}/release",
        "Land a quarantined file again; what is refused again stays",
        "QuarantineRelease",
        quarantine.release,
        query=(_DATASTORE,),
        refusals=(404, 409, 503),
        action="quarantine.manage",
    ),
    Operation(
        "deleteQuarantined",
        "DELETE",
        "/quarantine/{id}",
        "Delete the bytes of a quarantined file for good",
        "Quarantined",
        quarantine.discard,
        refusals=(404, 409),
        action="quarantine.manage",
    ),
    Operation(
        "predict",
        "POST",
        "/predictions",
        "Ask the model in use about an image set",
        "Prediction",
        predictions.predict,
        takes="Ask",
        refusals=(404, 409, 413, 415, 422),
        action="image.predict",
    ),
    Operation(
        "predictMany",
        "POST",
        "/predictions/batch",
        "Have the model in use look at some image sets, or at all it has not seen",
        "PredictionsAsked",
        predictions.predict_many,
        takes="PredictionWish",
        refusals=(404, 413, 415),
        action="image.predict",
    ),
    Operation(
        "getPredictionStatus",
        "GET",
        "/predictions/status",
        "How far the model in use has come",
        "PredictionStatus",
        predictions.get_standing,
        refusals=(404,),
        action="model.read",
    ),
    Operation(
        "getComparison",
        "GET",
        "/models/comparison",
        "The model in use against its shadow, on what both have judged",
        "Comparison",
        predictions.get_comparison,
        action="model.read",
    ),
    Operation(
        "getSaliency",
        "GET",
        "/image-sets/{id}/saliency/{frame:int}.png",
        "Where in a frame the model looked, to lay over it",
        "image/png",
        predictions.get_saliency,
        refusals=(404,),
        action="image.predict",
    ),
    Operation(
        "listAlarms",
        "GET",
        "/alarms",
        "The alarms, and how they stand",
        "Alarms",
        monitoring.list_alarms,
        action="metrics.read",
    ),
    Operation(
        "testNotifications",
        "POST",
        "/alarms/test",
        "Send a message to everybody who would be told of an alarm",
        "NotificationTest",
        monitoring.try_notifications,
        action="alarm.test",
    ),
    Operation(
        "getDashboards",
        "GET",
        "/dashboards",
        "The three dashboards with the lines of the last hours",
        "Dashboards",
        monitoring.get_dashboards,
        query=(_HOURS,),
        action="metrics.read",
    ),
    Operation(
        "getDrift",
        "GET",
        "/drift",
        "Whether what comes in is still what the model in use was made from",
        "Drift",
        drift.get_drift,
        action="model.read",
    ),
    Operation(
        "getSignIn", "GET", "/sign-in", "How one signs in here", "SignInWay", receive=sign_in.way, action=ANYBODY
    ),
    Operation(
        "createSession",
        "POST",
        "/session",
        "Sign in; the answer sets a cookie",
        "Session",
        receive=sign_in.create,
        takes="SignIn",
        refusals=(401, 413, 415, 429),
        action=ANYBODY,
    ),
    Operation("getSession", "GET", "/session", "Who the caller is", "Session", receive=sign_in.who, action=SIGNED_IN),
    Operation("deleteSession", "DELETE", "/session", "Sign out", "SignedOut", receive=sign_in.end, action=SIGNED_IN),
    Operation(
        "renewSession",
        "POST",
        "/session/renewal",
        "The same session for longer, where sessions are to be renewed",
        "Session",
        receive=sign_in.renew,
        refusals=(401,),
        action=ANYBODY,
    ),
    Operation(
        "listUsers",
        "GET",
        "/users",
        "Who can sign in",
        "Users",
        identities.list_users,
        action="credential.manage",
    ),
    Operation(
        "createUser",
        "POST",
        "/users",
        "Let somebody sign in",
        "User",
        identities.create_user,
        takes="NewUser",
        refusals=(409, 413, 415),
        action="credential.manage",
    ),
    Operation(
        "updateUser",
        "PATCH",
        "/users/{id}",
        "Another password, other roles, or no way in; ends all sign-ins of that user",
        "User",
        identities.change_user,
        takes="UserChange",
        refusals=(404, 409, 413, 415),
        action="credential.manage",
    ),
    Operation(
        "listCredentials",
        "GET",
        "/credentials",
        "Access keys, without their secrets",
        "Credentials",
        identities.list_credentials,
        action="credential.manage",
    ),
    Operation(
        "createCredential",
        "POST",
        "/credentials",
        "An access key and a bearer token for a program",
        "NewCredential",
        identities.create_credential,
        takes="CredentialWish",
        refusals=(413, 415),
        action="credential.manage",
    ),
    Operation(
        "deleteCredential",
        "DELETE",
        "/credentials/{id}",
        "Make a credential worthless for good",
        "Credential",
        identities.revoke_credential,
        refusals=(404, 409),
        action="credential.manage",
    ),
    Operation(
        "listAudit",
        "GET",
        "/audit",
        "Who did what, newest first",
        "Audit",
        identities.list_audit,
        query=(_limit(1000), _BEFORE, _PRINCIPAL, _ACTION, _SUBJECT),
        action="audit.read",
    ),
    Operation(
        "verifyAudit",
        "GET",
        "/audit/verification",
        "Whether the chain of the audit is whole",
        "AuditVerdict",
        identities.verify_audit,
        query=(_HEAD,),
        action="audit.read",
    ),
    Operation(
        "listIncidents",
        "GET",
        "/incidents",
        "Incidents, newest first, and who is kept out",
        "Incidents",
        incidents.list_incidents,
        action="incident.read",
    ),
    Operation(
        "createIncident",
        "POST",
        "/incidents",
        "Say that something has happened; both clocks begin to run",
        "Incident",
        incidents.open_incident,
        takes="IncidentWish",
        refusals=(413, 415),
        action="incident.manage",
    ),
    Operation(
        "getIncident",
        "GET",
        "/incidents/{id}",
        "One incident",
        "Incident",
        incidents.get_incident,
        refusals=(404,),
        action="incident.read",
    ),
    Operation(
        "recordIncidentTold",
        "POST",
        "/incidents/{id}/told",
        "Those have been told for whom a clock runs",
        "Incident",
        incidents.tell,
        takes="IncidentClock",
        refusals=(404, 409, 413, 415),
        action="incident.manage",
    ),
    Operation(
        "completeIncident",
        "POST",
        "/incidents/{id}/closing",
        "Nothing more is to be done",
        "Incident",
        incidents.close,
        takes="IncidentOutcome",
        refusals=(404, 409, 413, 415),
        action="incident.manage",
    ),
    Operation(
        "getIncidentReport",
        "GET",
        "/incidents/{id}/report",
        "What is known of an incident: whose images, both clocks, what was done, what is open",
        "IncidentReport",
        incidents.get_report,
        query=(_SINCE,),
        refusals=(404, 413),
        action="incident.read",
    ),
    Operation(
        "getIncidentEvidence",
        "GET",
        "/incidents/{id}/evidence",
        "The report and the audit of that time, as one signed archive",
        "application/zip",
        incidents.get_evidence,
        query=(_SINCE,),
        refusals=(404, 413, 503),
        action="incident.read",
    ),
    Operation(
        "createIsolation",
        "POST",
        "/isolations",
        "Keep somebody out until they are let in again, and end their sign-ins",
        "Incident",
        incidents.isolate,
        takes="IsolationWish",
        refusals=(404, 409, 413, 415, 503),
        action="incident.manage",
    ),
    Operation(
        "deleteIsolation",
        "DELETE",
        "/isolations/{id}",
        "Let somebody in again",
        "Released",
        incidents.release,
        refusals=(409, 503),
        action="incident.manage",
    ),
    Operation(
        "getStreamIndex",
        "GET",
        "/{id}/index",
        "What the frames of an image set are, and where they can be cut; binary",
        stream.INDEX_TYPE,
        receive=stream.index,
        query=_LINK,
        tells=(_ETAG, _VERSION, _PACKS),
        refusals=(404,),
        action="image.read",
        prefix=stream.PREFIX,
        is_linked=True,
    ),
    Operation(
        "getStreamFrames",
        "POST",
        "/{id}/frames",
        "Frames, previews and parts of them, as many as asked for, in one answer",
        stream.RECORDS_TYPE,
        receive=stream.frames,
        media=("text/plain",),
        query=(Query("v", {"type": "integer", "minimum": 1}, "Only of this version of the image set."), *_LINK),
        tells=(_VERSION,),
        refusals=(404, 409, 413, 415),
        action="image.read",
        prefix=stream.PREFIX,
        is_linked=True,
    ),
    Operation(
        "getStreamPack",
        "GET",
        "/{id}/packs/{pack:int}",
        "Previews of many frames, every sixteenth of the series first",
        stream.RECORDS_TYPE,
        receive=stream.pack,
        query=(Query("v", {"type": "integer", "minimum": 1}, "The version of the image set."), *_LINK),
        tells=(_ETAG, _VERSION),
        refusals=(404, 409),
        action="image.read",
        prefix=stream.PREFIX,
        is_linked=True,
    ),
    Operation(
        "createStreamLink",
        "POST",
        "/{id}/links",
        "A query that stands for the caller's right to this image set, for a while",
        "StreamLink",
        stream.make_link,
        takes="StreamLinkWish",
        refusals=(404, 413, 415),
        action="image.read",
        prefix=stream.PREFIX,
    ),
    *REPORTS,
    Operation(
        "describe",
        "GET",
        "/openapi.json",
        "This document",
        "application/json",
        describe,
        action=SIGNED_IN,
    ),
)
"""Every operation. A row here is a route and its documentation; there is no route without one."""


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = _PARAMETER.sub(r"{\1}", operation.address)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "radloop platform API",
            "version": __version__,
            "description": "Scans in, findings on them, models out of the findings. Not a medical device.",
        },
        "paths": paths,
        "components": {"schemas": dict(SCHEMAS)},
    }


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [*_in_path(operation), *_in_query(operation), *_in_headers(operation)],
        "responses": _responses(operation),
    }
    if operation.takes is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(operation.takes)}},
        }
    if operation.media:
        described["requestBody"] = {"required": True, "content": {media: {} for media in operation.media}}
    return described


def _in_path(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": found[1],
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 0} if found[2] == "int" else {"type": "string"},
        }
        for found in _PARAMETER.finditer(operation.path)
    ]


def _in_query(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "in": "query", "required": False, "schema": each.schema, "description": each.description}
        for each in operation.query
    ]


def _in_headers(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "in": "header",
            "required": each.required,
            "schema": each.schema,
            "description": each.description,
        }
        for each in operation.headers
    ]


def _told(operation: Operation) -> dict[str, Any]:
    """The headers of an answer that is no refusal."""
    always = {name: {"schema": {"const": value}} for name, value in operation.always.items()}
    tells = {each.name: {"schema": each.schema, "description": each.description} for each in operation.tells}
    return {"headers": {**always, **tells}} if always or tells else {}


def _responses(operation: Operation) -> dict[str, Any]:
    if not operation.gives:
        content: dict[str, Any] = {}
    elif "/" in operation.gives:
        content = {operation.gives: {}}
    else:
        content = {"application/json": {"schema": _ref(operation.gives)}}
    content.update({media: {} for media in operation.also})
    failed = {"application/json": {"schema": _ref("Error")}}
    refused = {
        str(status): {"description": _WORDS[status], "content": failed}
        for status in sorted({400, 401, 403, 500, *operation.refusals})
    }
    is_kept = "image/" in operation.gives or any(header.name == "ETag" for header in operation.tells)
    unchanged = {"304": {"description": "What the caller holds is still so."}} if is_kept else {}
    done: dict[str, Any] = {"description": operation.summary, **_told(operation)}
    if content:
        done["content"] = content
    return {str(operation.status): done, **unchanged, **refused}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
