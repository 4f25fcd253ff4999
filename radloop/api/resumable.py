"""Uploads that go on where a connection broke: tus 1.0.0 (https://tus.io/protocols/resumable-upload).

Of its extensions: creation, creation-with-upload, checksum, expiration and termination. Where something before us lets
no long body through, `Upload-Limit: max-append-size=BYTES` tells how much of an upload one request may bring, as in
draft-ietf-httpbis-resumable-upload; tus has no word for it.

Bytes are flushed piece by piece while a request still runs, so that a broken one costs next to nothing; with a
checksum, a request counts whole or not at all. Nobody holds a lock: of two that send at once, the one whose piece is
committed first goes on, and the other is told 409. So a connection that died without a word is in nobody's way.
"""

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from email.utils import format_datetime
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from radloop.api.doors import Doors
from radloop.api.media import media_type
from radloop.api.shapes import moment
from radloop.core.errors import ChecksumMismatch, Conflict, InvalidInput, TooLarge
from radloop.core.identity import Principal
from radloop.functions.draft_landing import drafts_of
from radloop.store.drafts import PIECE_BYTES, RECEIVING, Appending, Draft

VERSION: Final = "1.0.0"
CHUNK: Final = "application/offset+octet-stream"
ALWAYS: Final[Mapping[str, str]] = {"Tus-Resumable": VERSION}

_EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
_ALGORITHMS = ("sha256", "sha1")
_LONGEST_METADATA = 4096
_FLUSH_IDLE_S = 1.0
_FLUSH_SLOW_S = 5.0
_GIVE_UP_S = 60.0
_OVERRIDES = frozenset({"PATCH", "DELETE"})


async def describe(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — the table's signature
    """What this server speaks."""
    return Response(
        status_code=204,
        headers={
            "Tus-Version": VERSION,
            "Tus-Extension": _EXTENSIONS,
            "Tus-Max-Size": str(drafts_of(doors.platform).longest),
            "Tus-Checksum-Algorithm": ",".join(_ALGORITHMS),
            **_limit(doors),
        },
    )


async def create(request: Request, doors: Doors, principal: Principal) -> Response:
    """Begin an upload; its first bytes may come along.

    Raises:
        InvalidInput: A header is missing or is not what it should be.
        TooLarge: It is longer than this installation takes, or the caller has too many unfinished ones.
    """
    _check_version(request)
    if request.headers.get("upload-defer-length") is not None:
        raise InvalidInput("say the length with Upload-Length; it cannot be told later")
    length = _number(request, "upload-length")
    metadata = _metadata(request.headers.get("upload-metadata", ""))
    is_chunk = media_type(request.headers.get("content-type", "")).name == CHUNK
    drafts = drafts_of(doors.platform)
    draft = await run_in_threadpool(drafts.begin, principal, length, metadata)
    if is_chunk:
        appending = drafts.appending(draft, 0)
        try:
            draft = await _take(request, appending, _piece_bytes(doors))
        except (InvalidInput, HTTPException, ClientDisconnect):  # whoever sent it has not learned its address
            with suppress(Conflict):
                await run_in_threadpool(drafts.remove, appending.draft, by=principal)
            raise
    headers = {"Location": f"{request.url.path.rstrip('/')}/{draft.id}", "Upload-Offset": str(draft.offset)}
    return Response(status_code=201, headers={**headers, **_expires(draft), **_limit(doors)})


async def status(request: Request, doors: Doors, principal: Principal) -> Response:
    """How much of an upload is here."""
    _check_version(request)
    draft = await _draft(request, doors, principal)
    metadata = {"Upload-Metadata": draft.metadata} if draft.metadata else {}
    lengths = {"Upload-Offset": str(draft.offset), "Upload-Length": str(draft.length)}
    return Response(headers={**lengths, **metadata, **_expires(draft), **_limit(doors)})


async def append(request: Request, doors: Doors, principal: Principal) -> Response:
    """Take the bytes behind the offset.

    Raises:
        Conflict: The upload is at another offset, or somebody else sends too.
        ChecksumMismatch: The bytes are not those that the checksum was made of.
        TooLarge: They go beyond the length that was said.
        HTTPException: 415 for another type, 408 when nothing comes for too long.
    """
    _check_version(request)
    if media_type(request.headers.get("content-type", "")).name != CHUNK:
        raise HTTPException(415, f"Send bytes as {CHUNK}.")
    offset = _number(request, "upload-offset")
    draft = await _draft(request, doors, principal)
    drafts = drafts_of(doors.platform)
    appending = await run_in_threadpool(drafts.appending, draft, offset)
    draft = await _take(request, appending, _piece_bytes(doors))
    return Response(status_code=204, headers={"Upload-Offset": str(draft.offset), **_expires(draft)})


async def remove(request: Request, doors: Doors, principal: Principal) -> Response:
    """Forget an upload.

    Raises:
        Conflict: It is being landed.
    """
    _check_version(request)
    draft = await _draft(request, doors, principal)
    await run_in_threadpool(drafts_of(doors.platform).remove, draft, by=principal)
    return Response(status_code=204)


async def override(request: Request, doors: Doors, principal: Principal) -> Response:
    """PATCH or DELETE for those whose network lets neither through.

    Raises:
        InvalidInput: The header names another method.
    """
    method = request.headers.get("x-http-method-override", "").upper()
    if method not in _OVERRIDES:
        raise InvalidInput("X-HTTP-Method-Override must be PATCH or DELETE")
    return await (append if method == "PATCH" else remove)(request, doors, principal)


async def report(request: Request, doors: Doors, principal: Principal) -> dict[str, Any]:
    """Where an upload stands, and what became of its files."""
    draft = await _draft(request, doors, principal)
    told = draft.report
    return {
        "id": draft.id,
        "state": draft.state,
        "offset": draft.offset,
        "length": draft.length,
        "files": told.seen,
        "ingested": told.ingested,
        "duplicates": told.duplicates,
        "quarantined": told.quarantined,
        "refused": told.refused,
        "skipped": told.skipped,
        "image_sets": list(told.image_sets),
        "reasons": [dict(reason) for reason in told.reasons],
        "created_at": moment(draft.created_at),
        "expires_at": None if draft.expires_at is None else moment(draft.expires_at),
    }


def _check_version(request: Request) -> None:
    """Go on only with who speaks our version.

    Raises:
        HTTPException: 412 for another.
    """
    if request.headers.get("tus-resumable") != VERSION:
        raise HTTPException(412, f"Say Tus-Resumable: {VERSION}.", {"Tus-Version": VERSION})


async def _draft(request: Request, doors: Doors, principal: Principal) -> Draft:
    return await run_in_threadpool(drafts_of(doors.platform).get, str(request.path_params["id"]), principal)


async def _take(request: Request, appending: Appending, piece_bytes: int) -> Draft:
    """Bring a body to the disk behind the offset.

    Without a checksum each piece counts as soon as it is flushed, and so does the rest when the connection breaks.
    With one, pieces count when the body is whole and right.
    """
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > appending.room:
        raise TooLarge("the body goes on behind the length that the upload was begun with")
    checksum = _Checksum.of(request.headers.get("upload-checksum"))
    held, flushed = bytearray(), time.monotonic()
    try:
        async for part in _body(request):
            held += part or b""
            checksum.update(part or b"")
            is_slow = part is None or time.monotonic() - flushed > _FLUSH_SLOW_S
            while len(held) >= piece_bytes or (held and is_slow and not checksum.is_wanted):
                await _flush(appending, held, piece_bytes, settle=not checksum.is_wanted)
                flushed = time.monotonic()
    except (ClientDisconnect, HTTPException):
        if checksum.is_wanted:
            await run_in_threadpool(appending.discard)
        else:
            await _flush(appending, held, piece_bytes, settle=True)
        raise
    except BaseException:
        await run_in_threadpool(appending.discard)
        raise
    if not checksum.is_right:
        await run_in_threadpool(appending.discard)
        raise ChecksumMismatch("the bytes are not those that the checksum was made of; nothing of them was kept")
    await _flush(appending, held, piece_bytes, settle=True)
    return appending.draft


async def _flush(appending: Appending, held: bytearray, piece_bytes: int, *, settle: bool) -> None:
    """Bring at most a piece from the beginning of `held` to the disk."""
    piece = bytes(held[:piece_bytes])
    del held[: len(piece)]

    def work() -> None:
        if piece:
            appending.add(piece)
        if settle:
            appending.settle()

    await run_in_threadpool(work)


async def _body(request: Request) -> AsyncIterator[bytes | None]:
    """The body as it arrives; None when nothing came for a moment.

    Raises:
        ClientDisconnect: It broke off.
        HTTPException: 408, nothing came for too long.
    """
    pending = asyncio.ensure_future(request.receive())
    heard = time.monotonic()
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=_FLUSH_IDLE_S)
            if not done:
                if time.monotonic() - heard > _GIVE_UP_S:
                    raise HTTPException(408, "Nothing came for too long; ask for the offset and go on.")
                yield None
                continue
            heard = time.monotonic()
            message = pending.result()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return
            pending = asyncio.ensure_future(request.receive())
    finally:
        pending.cancel()


class _Checksum:
    """The checksum a sender made of a body, held against what arrives; wanted only where one was sent."""

    def __init__(self, algorithm: str | None, expected: bytes) -> None:
        self.is_wanted = algorithm is not None
        self._expected = expected
        self._hash = hashlib.new(algorithm or "sha256", usedforsecurity=False)

    @classmethod
    def of(cls, header: str | None) -> "_Checksum":
        """What `Upload-Checksum` says.

        Raises:
            InvalidInput: It names an algorithm we do not know, or is not written in base64.
        """
        if header is None:
            return cls(None, b"")
        algorithm, _, text = header.partition(" ")
        if algorithm not in _ALGORITHMS:
            raise InvalidInput(f"Upload-Checksum takes {' or '.join(_ALGORITHMS)}")
        try:
            return cls(algorithm, base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise InvalidInput("Upload-Checksum must hold the checksum in base64") from None

    def update(self, data: bytes) -> None:
        """More of the body."""
        if self.is_wanted:
            self._hash.update(data)

    @property
    def is_right(self) -> bool:
        """Whether the body is what the sender made the checksum of."""
        return not self.is_wanted or self._hash.digest() == self._expected


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 — fits 64 bits
        raise InvalidInput(f"{name.title()} must be a whole number, not less than 0")
    return int(text)


def _metadata(header: str) -> str:
    """`Upload-Metadata` as it was sent.

    Raises:
        InvalidInput: It is longer than we keep, or is not keys with values in base64.
    """
    if len(header) > _LONGEST_METADATA:
        raise InvalidInput(f"Upload-Metadata may have at most {_LONGEST_METADATA} characters")
    keys: set[str] = set()
    for pair in filter(None, header.split(",")):
        key, _, value = pair.strip().partition(" ")
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput("Upload-Metadata holds each value in base64") from None
        if not key or key in keys or not key.isascii():
            raise InvalidInput("Upload-Metadata holds each key once, in ASCII")
        keys.add(key)
    return header


def _piece_bytes(doors: Doors) -> int:
    """A body that comes whole is one piece; of one that streams, a break should cost little."""
    return doors.longest_body or PIECE_BYTES


def _limit(doors: Doors) -> dict[str, str]:
    return {} if doors.longest_body is None else {"Upload-Limit": f"max-append-size={doors.longest_body}"}


def _expires(draft: Draft) -> dict[str, str]:
    if draft.state != RECEIVING or draft.expires_at is None:
        return {}
    return {"Upload-Expires": format_datetime(draft.expires_at.replace(microsecond=0), usegmt=True)}
