"""Frames that are at hand, answered before the framework looks at the request.

Scrolling asks for frames and for nothing else, and routing, a thread and what comes with them cost more than the
frame itself. So what needs no waiting is answered here, by the functions that answer it everywhere: the caller, the
policy, the audit and the headers are the same. Whatever is not plain goes on to the framework, refusals included: an
image set nobody has read lately, the first reading in an hour, a frame that is not folded, bytes that are not in
memory, an address that is nothing of ours.

What stands around a frame, headers and parts of a multipart answer, follows from the frame and from a few headers of
the request. It is put together once, by the functions that do it everywhere, and remembered with the frame.

This stands behind the gate, which guards, completes and measures it like any other answer.
"""

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from radloop.api.dicomweb import PREFIX as DICOMWEB
from radloop.api.dicomweb import origin_of
from radloop.api.doors import Doors
from radloop.api.gate import OPERATION
from radloop.api.healthimaging.routes import FRAME_OPERATION, FRAMES, HealthImaging
from radloop.api.image_sets import FRAME_TYPE, frame_headers, preview_headers
from radloop.api.negotiation import EXPLICIT_LE, HTJ2K, HTJ2K_RPCL, Form
from radloop.api.openapi import PREFIX
from radloop.api.operations import is_unchanged
from radloop.api.principal import permitted
from radloop.api.wado import frames_answer
from radloop.core.errors import RadloopError
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.store.guarded import GuardedImages
from radloop.store.opened import Glance
from radloop.store.transcoding import NATIVE

_FRAME = re.compile(PREFIX + r"/image-sets/([0-9a-z]{32})/frames/([0-9]{1,9})(/preview)?")
_OF_INSTANCE = re.compile(
    DICOMWEB + r"/studies/([0-9.]{1,64})/series/([0-9.]{1,64})/instances/([0-9.]{1,64})/frames/([0-9]{1,9})"
)
_STORED = frozenset({HTJ2K, HTJ2K_RPCL})
_CONDITIONS = frozenset({b"if-none-match", b"range", b"if-range"})
_LONGEST_ACCEPT = 512


class _WouldWait(Exception):
    """It is not at hand after all."""


class _Made(Exception):
    """It is at hand, but must be made of what is stored."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """An answer with nothing left to decide: its headers, all but those of the gate, and its body."""

    headers: list[tuple[bytes, bytes]]
    body: bytes | bytearray

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 — see ASGI
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class FramesFirst:
    """Answers what is at hand; `app` answers the rest."""

    def __init__(self, app: ASGIApp, doors: Doors, healthimaging: HealthImaging) -> None:
        self._app = app
        self._doors = doors
        self._healthimaging = healthimaging
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, "decoder")  # more at once would only make all wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        answer: _Answer = None
        if scope["type"] == "http":
            if scope["method"] == "GET":
                answer = self._at_once(scope)
            elif scope["method"] == "POST":
                answer, receive = await self._of_healthimaging(scope, receive)
        if isinstance(answer, _Later):
            answer = await asyncio.get_running_loop().run_in_executor(self._decoders, _unless_refused, answer.make)
        await (answer or self._app)(scope, receive, send)

    def _at_once(self, scope: Scope) -> "_Answer":
        """The answer; or what makes it, for a thread, where a frame must be made; or None."""
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
                answer = _frame(images, found[1], int(found[2]), request, is_preview=found[3] is not None)
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
        key = _asked_as(request.scope)
        around: _Around | None = None if key is None else glance.note(key)
        if around is not None:
            body = around.body(glance)
            if body is not None:
                return _Ready(around.headers, body) if images.looks_again(glance.image_set.id) else None
        base = origin_of(request, self._doors.platform.settings.public_url) + DICOMWEB
        view = _View(images, glance)

        def answer(read: Callable[[int, Form], bytes]) -> Response:
            made = frames_answer(
                glance.address.instance,
                [int(number)],
                request.headers,
                f"{base}/studies/{study_uid}/series/{series_uid}",
                read,
            )
            if key is not None and view.size is not None:
                glance.noted(key, _around(made, view.syntax, view.size))
            return made

        try:
            return answer(view.at_hand)
        except _Made:
            return _Later(partial(answer, view.made))
        except _WouldWait:
            return None

    async def _of_healthimaging(self, scope: Scope, receive: Receive) -> "tuple[_Answer, Receive]":
        """The answer to a call for a frame, and how its body is read again where there is none."""
        labels = FRAMES.fullmatch(scope["path"])
        if labels is None or not self._healthimaging.knows(labels[2]):
            return None, receive
        request, heard = Request(scope), [await receive()]

        async def again() -> Message:
            return heard.pop() if heard else await receive()

        body = heard[0].get("body", b"")  # to wait for word that nothing comes behind it costs as much as the frame
        if str(len(body)) != request.headers.get("content-length"):
            return None, again
        work = partial(self._healthimaging.frame_at_hand, request, labels[1], labels[2], body)
        # a signature is noted where all doors see it, which may have to wait for one of them
        told = work() if self._doors.is_open else await asyncio.get_running_loop().run_in_executor(None, work)
        if told is None:
            return None, again
        scope[OPERATION] = FRAME_OPERATION
        return _Ready(*told), again


@dataclass(slots=True)
class _View:
    """A frame at hand, in the forms that come of what is stored; reading it is audited.

    Attributes:
        syntax: The transfer syntax it was made in; None where it was given as it is stored.
        size: Of what was read last.
    """

    images: GuardedImages
    glance: Glance
    syntax: str | None = None
    size: int | None = None

    def at_hand(self, number: int, form: Form) -> bytes:  # noqa: ARG002 — the signature of all readers
        """The frame as it is stored, or as it was made before.

        Raises:
            _Made: `made` gives it.
            _WouldWait: Neither does.
        """
        instance = self.glance.address.instance
        if not instance.frames or (form.is_original and instance.transfer_syntax not in NATIVE):
            raise _WouldWait
        self.syntax = None if form.syntax in _STORED else form.syntax
        data = self.glance.full() if self.syntax is None else self.glance.made(self.syntax)
        if data is None and self.syntax == EXPLICIT_LE:
            raise _Made
        if data is None or not self.images.looks_again(self.glance.image_set.id):
            raise _WouldWait
        self.size = len(data)
        return bytes(data)

    def made(self, number: int, form: Form) -> bytes:  # noqa: ARG002 — the signature of all readers
        """The frame in another form, which takes its time."""
        data = self.images.frame_as(self.glance.image_set.id, self.glance.index, form.syntax)
        self.size = len(data)
        return data


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands around a frame in an answer: headers, and what comes before and behind it in the body."""

    syntax: str | None
    headers: list[tuple[bytes, bytes]]
    head: bytes
    tail: bytes

    def body(self, glance: Glance) -> bytes | bytearray | None:
        """The body of the answer; None where that would have to wait."""
        if self.syntax is None:
            return glance.full(self.head, self.tail)
        return glance.made(self.syntax, self.head, self.tail)


@dataclass(frozen=True, slots=True)
class _Later:
    """What makes an answer, and takes its time."""

    make: Callable[[], Response]


_Answer = Response | _Ready | _Later | None


def _around(answer: Response, syntax: str | None, size: int) -> _Around:
    """What an answer with a single frame of `size` bytes has put around it."""
    body = bytes(answer.body)
    start = body.index(b"\r\n\r\n") + 4 if len(body) > size else 0
    return _Around(syntax, answer.raw_headers, body[:start], body[start + size :])


def _asked_as(scope: Scope) -> tuple[object, ...] | None:
    """Everything in a request, but its path, that an answer with a frame depends on; None where that is much."""
    accept, host = b"", b""
    for name, value in scope["headers"]:
        if name == b"accept":
            accept = accept + b"," + value if accept else value
        elif name == b"host":
            host = value
        elif name in _CONDITIONS:
            return None
    server = scope.get("server")
    return (accept, host, scope["scheme"], server and server[1]) if len(accept) < _LONGEST_ACCEPT else None


def _unless_refused(make: Callable[[], Response]) -> Response | None:
    try:
        return make()
    except (RadloopError, HTTPException, _WouldWait):
        return None


def _frame(images: GuardedImages, identity: str, index: int, request: Request, *, is_preview: bool) -> _Answer:
    glance = images.glance(identity, index)
    if glance is None:
        return None
    is_plain = not any(name == b"if-none-match" for name, _ in request.scope["headers"])
    around: _Around | None = glance.note(is_preview)
    if around is None or not is_plain:
        told = preview_headers(glance.address) if is_preview else frame_headers(glance.address)
        if not is_plain and is_unchanged(request.headers, told["ETag"]):
            return Response(status_code=304, headers=told)
    data = glance.preview() if is_preview else glance.full()
    if data is None or not images.looks_again(identity):
        return None
    if around is None:
        answer = Response(bytes(data), media_type=FRAME_TYPE, headers=told)
        around = _around(answer, None, len(data))
        glance.noted(is_preview, around)
    return _Ready(around.headers, data)
