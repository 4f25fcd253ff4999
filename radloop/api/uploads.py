"""Files on their way in: read from the request, landed in batches, told of one by one."""

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from radloop.api.doors import Doors
from radloop.api.media import media_type
from radloop.api.multipart import parts_of
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
        yield Upload(await whole(request.stream(), LONGEST_FILE))
        return
    if kind.name != "multipart/form-data":
        raise HTTPException(415, "Send files as multipart/form-data, or one file as application/dicom.")
    boundary = kind.parameters.get("boundary", "")
    async for part in parts_of(request.stream(), boundary, longest_part=LONGEST_FILE, most_parts=MOST_FILES):
        if part.file_name is not None and (part.file_name or part.data):  # an empty file input sends neither
            yield Upload(part.data, part.file_name)


async def whole(stream: AsyncIterable[bytes], longest: int) -> bytes:
    """A body that is needed in one piece.

    Raises:
        HTTPException: 413, it has more than `longest` bytes.
    """
    body = bytearray()
    async for piece in stream:
        if len(body) + len(piece) > longest:
            raise HTTPException(413, "The body is longer than this address takes.")
        body += piece
    return bytes(body)


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
    landings = await run_in_threadpool(ingest, batch, doors.platform, by=principal, datastore=datastore)
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
