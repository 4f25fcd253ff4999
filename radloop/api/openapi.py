"""The platform API as one table, and the OpenAPI document made from it."""

import re
from functools import cache
from typing import Any

from starlette.responses import Response

from radloop import __version__
from radloop.api import image_sets, loop, uploads
from radloop.api.operations import Ask, Operation, Query, as_json
from radloop.api.schemas import SCHEMAS

PREFIX = "/api/v1"

_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_WORDS = {
    400: "The request is not as it should be.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    409: "It changed meanwhile, or is not in a state that allows this.",
    413: "It is too long.",
    415: "The body is of a type this address does not take.",
    422: "The pixels cannot be decoded.",
    500: "Something failed on our side; the log has more.",
    503: "A part of ours does not answer now; try again.",
}


def describe(ask: Ask) -> Response:  # noqa: ARG001 — every operation has this signature
    """This document."""
    return as_json(document())


def _limit(most: int) -> Query:
    return Query("limit", {"type": "integer", "minimum": 1, "maximum": most}, "At most so many.")


_COMPLETE = Query("complete", {"enum": ["0", "1"]}, "1 closes the image sets that were touched.")
_STATE = Query("state", {"enum": ["INGESTED", "VERIFIED", "REJECTED"]}, "Only image sets in this state.")
_NEXT = Query("after", {"type": "string"}, "`next` of the page before.")
_SEQUENCE = Query("after", {"type": "integer", "minimum": 0}, "Events behind this one; without it the newest first.")
_FILES = ("multipart/form-data", "application/dicom")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "listWorklist",
        "GET",
        "/worklist",
        "Image sets, newest first",
        "Worklist",
        image_sets.list_image_sets,
        query=(_STATE, _limit(500), _NEXT),
    ),
    Operation(
        "getImageSet",
        "GET",
        "/image-sets/{id}",
        "One image set with its frames",
        "ImageSet",
        image_sets.get_image_set,
        refusals=(404,),
    ),
    Operation(
        "getFrame",
        "GET",
        "/image-sets/{id}/frames/{index:int}",
        "A frame at full quality, HTJ2K",
        "image/jph",
        image_sets.get_frame,
        refusals=(404, 422),
    ),
    Operation(
        "getPreview",
        "GET",
        "/image-sets/{id}/frames/{index:int}/preview",
        "The lossy preview of a frame, HTJ2K",
        "image/jph",
        image_sets.get_preview,
        refusals=(404,),
    ),
    Operation(
        "getThumbnail",
        "GET",
        "/image-sets/{id}/thumbnail",
        "A small picture for finding a series",
        "image/png",
        image_sets.get_thumbnail,
        refusals=(404, 422),
    ),
    Operation(
        "verifyImageSet",
        "POST",
        "/image-sets/{id}/verification",
        "Record a reader's finding as ground truth",
        "Summary",
        image_sets.verify_image_set,
        takes="Verification",
        refusals=(404, 409, 413, 415),
    ),
    Operation(
        "completeImageSet",
        "POST",
        "/image-sets/{id}/complete",
        "Close an image set now",
        "Summary",
        image_sets.complete_image_set,
        refusals=(404, 503),
    ),
    Operation(
        "exportImageSet",
        "GET",
        "/image-sets/{id}/export",
        "The files as they arrived, zipped",
        "application/zip",
        image_sets.export_image_set,
        refusals=(404,),
    ),
    Operation("listSites", "GET", "/sites", "Where a finding can be", "Sites", image_sets.list_sites),
    Operation(
        "listExecutions",
        "GET",
        "/executions",
        "Runs of the pipeline, newest first",
        "Executions",
        loop.list_executions,
        query=(_limit(500),),
    ),
    Operation(
        "startExecution",
        "POST",
        "/executions",
        "Retrain now on everything that is verified",
        "Execution",
        loop.start_execution,
        refusals=(409,),
    ),
    Operation(
        "getExecution",
        "GET",
        "/executions/{id}",
        "One run of the pipeline",
        "Execution",
        loop.get_execution,
        refusals=(404,),
    ),
    Operation("getRetraining", "GET", "/retraining", "Where the loop stands", "Retraining", loop.get_retraining),
    Operation("listModels", "GET", "/models", "Model versions, newest first", "Models", loop.list_models),
    Operation(
        "getModel", "GET", "/models/{version:int}", "One model version", "Model", loop.get_model, refusals=(404,)
    ),
    Operation(
        "decideOnModel",
        "POST",
        "/models/{version:int}/decision",
        "Approve or reject a model version",
        "Model",
        loop.decide_on_model,
        takes="Decision",
        refusals=(404, 409, 413, 415),
    ),
    Operation(
        "listEvents", "GET", "/events", "What happened", "Events", loop.list_events, query=(_limit(1000), _SEQUENCE)
    ),
    Operation(
        "replayEvent",
        "POST",
        "/events/{id}/replay",
        "Deliver an event again",
        "Replayed",
        loop.replay_event,
        refusals=(404,),
    ),
    Operation(
        "listDeadLetters",
        "GET",
        "/jobs/dead-letters",
        "Jobs that were given up on",
        "DeadLetters",
        loop.list_dead_letters,
    ),
    Operation(
        "replayJob",
        "POST",
        "/jobs/{id}/replay",
        "Try a dead letter again",
        "Replayed",
        loop.replay_job,
        refusals=(404,),
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
    ),
    Operation(
        "listQuarantine",
        "GET",
        "/quarantine",
        "What could not be accepted, newest first",
        "Quarantine",
        image_sets.list_quarantine,
        query=(_limit(1000),),
    ),
    Operation(
        "predict",
        "POST",
        "/predictions",
        "Ask the model in use about an image set",
        "Prediction",
        image_sets.predict,
        takes="Ask",
        refusals=(404, 409, 413, 415, 422),
    ),
    Operation("describe", "GET", "/openapi.json", "This document", "application/json", describe),
)
"""Every operation. A row here is a route and its documentation; there is no route without one."""


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = PREFIX + _PARAMETER.sub(r"{\1}", operation.path)
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
        "parameters": [*_in_path(operation), *_in_query(operation)],
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


def _responses(operation: Operation) -> dict[str, Any]:
    if "/" in operation.gives:
        content: dict[str, Any] = {operation.gives: {}}
    else:
        content = {"application/json": {"schema": _ref(operation.gives)}}
    failed = {"application/json": {"schema": _ref("Error")}}
    refused = {
        str(status): {"description": _WORDS[status], "content": failed}
        for status in sorted({400, 403, 500, *operation.refusals})
    }
    unchanged = {"304": {"description": "What the caller holds is still so."}} if "image/" in operation.gives else {}
    return {"200": {"description": operation.summary, "content": content}, **unchanged, **refused}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
