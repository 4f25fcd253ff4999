"""Frames that are at hand, answered before the framework looks at the request.

Scrolling asks for frames and for nothing else, and routing, a thread and what comes with them cost more than the
frame itself. So what needs no waiting is answered here, by the functions that answer it everywhere: the caller, the
policy, the audit and the headers are the same. Whatever is not plain goes on to the framework, refusals included: an
image set nobody has read lately, the first reading in an hour, a frame that is not folded, bytes that are not in
memory, an address that is nothing of ours.

This stands behind the gate, which guards, completes and measures it like any other answer.
"""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from radloop.api.dicomweb import PREFIX as DICOMWEB
from radloop.api.dicomweb import origin_of
from radloop.api.doors import Doors
from radloop.api.gate import OPERATION
from radloop.api.image_sets import FRAME_TYPE, frame_headers, preview_headers
from radloop.api.negotiation import HTJ2K, HTJ2K_RPCL, Form
from radloop.api.openapi import PREFIX
from radloop.api.operations import is_unchanged
from radloop.api.principal import permitted
from radloop.api.wado import frames_answer
from radloop.core.errors import RadloopError
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.store.guarded import GuardedImages

_FRAME = re.compile(PREFIX + r"/image-sets/([0-9a-z]{32})/frames/([0-9]{1,9})(/preview)?")
_OF_INSTANCE = re.compile(
    DICOMWEB + r"/studies/([0-9.]{1,64})/series/([0-9.]{1,64})/instances/([0-9.]{1,64})/frames/([0-9]{1,9})"
)
_STORED = frozenset({HTJ2K, HTJ2K_RPCL})


class _WouldWait(Exception):
    """It is not at hand after all."""


class FramesFirst:
    """Answers what is at hand; `app` answers the rest."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        response = self._at_once(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        await (self._app if response is None else response)(scope, receive, send)

    def _at_once(self, scope: Scope) -> Response | None:
        path = scope["path"]
        found, of_instance = _FRAME.fullmatch(path), None
        if found is None:
            of_instance = None if scope["query_string"] else _OF_INSTANCE.fullmatch(path)
            if of_instance is None:
                return None
        request = Request(scope)
        try:
            images = self._doors.images_of(permitted(request, "image.read"))
            if of_instance is not None:
                response = self._of_instance(images, request, of_instance.groups())
                operation = "retrieveFrames"
            else:
                assert found is not None
                response = _frame(images, found[1], int(found[2]), request.headers, is_preview=found[3] is not None)
                operation = "getFrame" if found[3] is None else "getPreview"
        except (RadloopError, HTTPException, _WouldWait):
            return None  # the framework comes to the same and tells it
        if response is not None:
            scope[OPERATION] = operation
        return response

    def _of_instance(self, images: GuardedImages, request: Request, place: Sequence[str]) -> Response | None:
        study_uid, series_uid, sop_uid, number = place
        glance = images.glance_at((DEFAULT_DATASTORE, study_uid, series_uid), sop_uid, int(number) - 1)
        if glance is None:
            return None
        instance, shown = glance.address.instance, False

        def read(_: int, form: Form) -> bytes:
            nonlocal shown
            data = glance.full() if form.syntax in _STORED and not form.is_original else None
            if data is None:
                raise _WouldWait
            shown = True
            return data

        base = origin_of(request, self._doors.platform.settings.public_url) + DICOMWEB
        address = f"{base}/studies/{study_uid}/series/{series_uid}"
        response = frames_answer(instance, [int(number)], request.headers, address, read)
        return None if shown and not images.looks_again(instance.image_set) else response


def _frame(images: GuardedImages, identity: str, index: int, headers: Headers, *, is_preview: bool) -> Response | None:
    glance = images.glance(identity, index)
    if glance is None:
        return None
    told = preview_headers(glance.address) if is_preview else frame_headers(glance.address)
    if is_unchanged(headers, told["ETag"]):
        return Response(status_code=304, headers=told)
    data = glance.preview() if is_preview else glance.full()
    if data is None or not images.looks_again(identity):
        return None
    return Response(data, media_type=FRAME_TYPE, headers=told)
