"""Frames that are at hand, answered before the framework looks at the request.

Scrolling asks for frames and for nothing else, and routing, a thread and what comes with them cost more than the
frame itself. So what needs no waiting is answered here, by the functions that answer it everywhere: the caller, the
policy, the audit and the headers are the same. Whatever is not plain goes on to the framework, refusals included: an
image set nobody has read lately, the first reading in an hour, a frame that is not folded, bytes that are not in
memory, an address that is nothing of ours.

This stands behind the gate, which guards, completes and measures it like any other answer.
"""

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

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
from radloop.api.negotiation import EXPLICIT_LE, HTJ2K, HTJ2K_RPCL, Form
from radloop.api.openapi import PREFIX
from radloop.api.operations import is_unchanged
from radloop.api.principal import permitted
from radloop.api.wado import explicit_le, frames_answer
from radloop.codec.htj2k import decode
from radloop.core.errors import RadloopError
from radloop.core.images import Storage
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.store.guarded import GuardedImages
from radloop.store.images import Glance
from radloop.store.transcoding import NATIVE

_FRAME = re.compile(PREFIX + r"/image-sets/([0-9a-z]{32})/frames/([0-9]{1,9})(/preview)?")
_OF_INSTANCE = re.compile(
    DICOMWEB + r"/studies/([0-9.]{1,64})/series/([0-9.]{1,64})/instances/([0-9.]{1,64})/frames/([0-9]{1,9})"
)
_STORED = frozenset({HTJ2K, HTJ2K_RPCL})


class _WouldWait(Exception):
    """It is not at hand after all."""


class _Decodable(Exception):
    """It is at hand, but must be decoded."""


class FramesFirst:
    """Answers what is at hand; `app` answers the rest."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app = app
        self._doors = doors
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, "decoder")  # more at once would only make all wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        is_asked = scope["type"] == "http" and scope["method"] == "GET"
        answer = self._at_once(scope) if is_asked else None
        if callable(answer) and not isinstance(answer, Response):
            answer = await asyncio.get_running_loop().run_in_executor(self._decoders, _unless_refused, answer)
        await (self._app if answer is None else answer)(scope, receive, send)

    def _at_once(self, scope: Scope) -> "_Answer":
        """The answer; or what makes it, for a thread, where a frame must be decoded; or None."""
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
                answer, operation = self._of_instance(images, request, of_instance.groups()), "retrieveFrames"
            else:
                assert found is not None
                answer = _frame(images, found[1], int(found[2]), request.headers, is_preview=found[3] is not None)
                operation = "getFrame" if found[3] is None else "getPreview"
        except (RadloopError, HTTPException):
            return None  # the framework comes to the same and tells it
        if answer is not None:
            scope[OPERATION] = operation
        return answer

    def _of_instance(self, images: GuardedImages, request: Request, place: Sequence[str]) -> "_Answer":
        study_uid, series_uid, sop_uid, number = place
        glance = images.glance_at((DEFAULT_DATASTORE, study_uid, series_uid), sop_uid, int(number) - 1)
        if glance is None:
            return None
        base = origin_of(request, self._doors.platform.settings.public_url) + DICOMWEB
        view = _View(images, glance)
        answer = partial(
            frames_answer,
            glance.address.instance,
            [int(number)],
            request.headers,
            f"{base}/studies/{study_uid}/series/{series_uid}",
        )
        try:
            return answer(view.stored)
        except _Decodable:
            return partial(answer, view.decoded)
        except _WouldWait:
            return None


@dataclass(frozen=True, slots=True)
class _View:
    """A frame at hand, in the forms that come of what is stored; reading it is audited."""

    images: GuardedImages
    glance: Glance

    def stored(self, number: int, form: Form) -> bytes:  # noqa: ARG002 — the signature of all readers
        """The frame in the form it is stored in.

        Raises:
            _Decodable: `decoded` gives it.
            _WouldWait: Neither does.
        """
        instance = self.glance.address.instance
        is_native = instance.transfer_syntax in NATIVE
        if form.syntax == EXPLICIT_LE and is_native and instance.storage is Storage.FOLDED:
            raise _Decodable
        if form.syntax not in _STORED or (form.is_original and not is_native):
            raise _WouldWait
        return self._read()

    def decoded(self, number: int, form: Form) -> bytes:  # noqa: ARG002 — the signature of all readers
        """The frame as pixels.

        Raises:
            _WouldWait: It is not at hand after all.
        """
        return explicit_le(self.glance.address.instance, decode(self._read()))

    def _read(self) -> bytes:
        data = self.glance.full()
        if data is None or not self.images.looks_again(self.glance.image_set.id):
            raise _WouldWait
        return data


_Answer = Response | Callable[[], Response] | None


def _unless_refused(answer: Callable[[], Response]) -> Response | None:
    try:
        return answer()
    except (RadloopError, HTTPException, _WouldWait):
        return None


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
