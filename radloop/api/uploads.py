"""Files on their way in: read from the request, landed in batches, told of one by one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from radloop.api.doors import Doors
from radloop.api.media import media_type
from radloop.api.multipart import gathered, parts_of
from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal
from radloop.core.ports import Landing, Upload
from radloop.core.tables import DEFAULT_DATASTORE, study_key
from radloop.functions.image_ingestion import ingest
from radloop.store.guarded import GuardedImages

BATCH_FILES = 64
BATCH_BYTES = 64 << 20
LONGEST_FILE = 2 << 30
MOST_FILES = 100_000

_DICOM = "application/dicom"
_LANDERS = ThreadPoolExecutor(32, "lander")
"""To hand a batch to one of these and be told takes 50 µs, to the framework's threads 85."""


@dataclass(frozen=True, slots=True)
class Landed:
    """One file and what became of it."""

    name: str
    landing: Landing


async def form_files(request: Request) -> AsyncIterator[Upload]:
    """The files of a `multipart/form-data` body, or the one that an `application/dicom` body is.

    Raises:
        InvalidInput: The body breaks the rules of multipart.
        HTTPException: 415 for another type, 413 for too much.
    """
    kind = media_type(request.headers.get("content-type", ""))
    if kind.name == _DICOM:
        yield Upload(await whole(body_of(request), LONGEST_FILE))
        return
    if kind.name != "multipart/form-data":
        raise HTTPException(415, "Send files as multipart/form-data, or one file as application/dicom.")
    boundary = kind.parameters.get("boundary", "")
    async for part in parts_of(body_of(request), boundary, longest_part=LONGEST_FILE, most_parts=MOST_FILES):
        if part.file_name is not None and (part.file_name or part.data):  # an empty file input sends neither
            yield Upload(part.data, part.file_name)


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives.

    Where its length is known it ends with its last byte: the server says once more that it is over, and to wake up for
    that costs as much as some 50 KB of body.

    Raises:
        ClientDisconnect: It broke off.
    """
    left = _length(request)
    while left is None or left > 0:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        if piece:
            yield piece
        if not message.get("more_body", False):
            return
        left = None if left is None else left - len(piece)


def _length(request: Request) -> int | None:
    """How many bytes the body has, where that is certain: HTTP/2 marks the end of a body of any length."""
    if request.scope["http_version"] not in {"1.0", "1.1"} or "transfer-encoding" in request.headers:
        return None
    said = request.headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdecimal() else None


async def whole(stream: AsyncIterable[bytes], longest: int) -> bytes:
    """A body that is needed in one piece.

    Raises:
        HTTPException: 413, it has more than `longest` bytes.
    """
    body: list[bytes] = []
    length = 0
    async for pieces in gathered(stream):
        length += sum(map(len, pieces))
        if length > longest:
            raise HTTPException(413, "The body is longer than this address takes.")
        body.append(b"".join(pieces))
    return b"".join(body)


async def land(
    files: AsyncIterable[Upload], doors: Doors, principal: Principal, datastore: str = DEFAULT_DATASTORE
) -> AsyncIterator[Landed]:
    """Land files in batches as they arrive; each is durable or quarantined when it is told of."""
    batch: list[Upload] = []
    held = 0
    async for file in files:
        if batch and (len(batch) >= BATCH_FILES or held + len(file.data) > BATCH_BYTES):
            for landed in await _land(batch, doors, principal, datastore):
                yield landed
            batch, held = [], 0
        batch.append(file)
        held += len(file.data)
    if batch:
        for landed in await _land(batch, doors, principal, datastore):
            yield landed


async def _land(batch: list[Upload], doors: Doors, principal: Principal, datastore: str) -> list[Landed]:
    work = partial(ingest, batch, doors.platform, by=principal, datastore=datastore)
    landings = await asyncio.get_running_loop().run_in_executor(_LANDERS, work)
    return [Landed(file.name, landing) for file, landing in zip(batch, landings, strict=True)]


async def receive(request: Request, doors: Doors, principal: Principal) -> dict[str, Any]:
    """Land what a request carries and report on it; with `complete=1`, close the image sets it touched.

    Raises:
        InvalidInput: There is no file in it, or `complete` is neither 0 nor 1.
        HTTPException: 413 or 415.
    """
    complete = request.query_params.get("complete", "0")
    if complete not in {"0", "1"}:
        raise InvalidInput("complete must be 0 or 1")
    landed = [each async for each in land(form_files(request), doors, principal)]
    if not landed:
        raise InvalidInput("the request carries no file")
    if complete == "1":
        await run_in_threadpool(_complete, _touched(landed), doors.images_of(principal))
    return report(landed)


def report(landed: list[Landed]) -> dict[str, Any]:
    """What became of all files, counted, and of each."""
    outcomes = Counter(each.landing.outcome for each in landed)
    refused = [each.landing for each in landed if each.landing.outcome == "quarantined"]
    reasons = Counter((landing.reason, landing.sentence) for landing in refused)
    return {
        "ingested": outcomes["ingested"],
        "duplicates": outcomes["duplicate"],
        "quarantined": outcomes["quarantined"],
        "image_sets": _touched(landed),
        "reasons": [
            {"code": code, "sentence": sentence, "count": count} for (code, sentence), count in reasons.items()
        ],
        "files": [
            {
                "name": each.name,
                "outcome": each.landing.outcome,
                "code": each.landing.reason,
                "sentence": each.landing.sentence,
                "image_set": each.landing.image_set,
            }
            for each in landed
        ],
    }


def _complete(names: list[str], images: GuardedImages) -> None:
    """Close the studies of these image sets: the sender says that there is no more."""
    closed = [images.get(name, "image.write") for name in names]
    for study in dict.fromkeys(study_key(each.datastore, each.patient_id, each.study_uid) for each in closed):
        images.complete_study(study)


def _touched(landed: list[Landed]) -> list[str]:
    return list(dict.fromkeys(each.landing.image_set for each in landed if each.landing.image_set is not None))
