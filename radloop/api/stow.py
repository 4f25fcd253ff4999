"""STOW-RS: files sent in, and what became of each (PS3.18 §10.5)."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from radloop.api.doors import Doors
from radloop.api.media import media_type
from radloop.api.multipart import parts_of
from radloop.api.qido import element
from radloop.api.uploads import LONGEST_FILE, MOST_FILES, Landed, land, whole
from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal
from radloop.core.ports import Landing, Upload
from radloop.dicom.parse import parse

WRONG_STUDY = "wrong-study"
FAILURES = {
    WRONG_STUDY: 0xA901,
    "invalid-identity": 0xA900,
    "missing-attribute": 0xA900,
    "pixel-data-mismatch": 0xA900,
}
"""FailureReason by code; all others cannot be understood."""

_CANNOT_UNDERSTAND = 0xC000
_DICOM = "application/dicom"
Document = dict[str, Any]


async def store(request: Request, doors: Doors, principal: Principal, study: str | None, base: str) -> Response:
    """Take instances in through the one way that all doors use; with `study`, only those that belong to it.

    Raises:
        InvalidInput: The body breaks the rules of multipart.
        HTTPException: 413 or 415.
    """
    elsewhere: list[Landed] = []
    files = _of_study(_files(request), study, elsewhere)
    landed = [*[each async for each in land(files, doors, principal)], *elsewhere]
    if not landed:
        return Response(status_code=204)
    stored = [each for each in landed if each.landing.outcome != "quarantined"]
    status = 200 if len(stored) == len(landed) else 202 if stored else 409
    addresses = {each.landing.image_set: "" for each in stored}
    for identity in addresses:
        assert identity is not None
        image_set = await run_in_threadpool(doors.images.get, identity)
        addresses[identity] = f"{base}/studies/{image_set.study_uid}/series/{image_set.series_uid}/instances"
    return dicom_json_answer(_report(landed, addresses, study, base), status)


def dicom_json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A DICOM JSON answer; clients compare its type to the letter."""
    return Response(orjson.dumps(value), status, {"Content-Type": "application/dicom+json", **(headers or {})})


async def _files(request: Request) -> AsyncIterator[Upload]:
    kind = media_type(request.headers.get("content-type", ""))
    if kind.name == _DICOM:
        data = await whole(request.stream(), LONGEST_FILE)
        if data:
            yield Upload(data)
        return
    if kind.name != "multipart/related" or kind.parameters.get("type", _DICOM).lower() != _DICOM:
        raise HTTPException(415, 'Send instances as multipart/related; type="application/dicom".')
    boundary = kind.parameters.get("boundary", "")
    async for part in parts_of(request.stream(), boundary, longest_part=LONGEST_FILE, most_parts=MOST_FILES):
        if media_type(part.headers.get("content-type", _DICOM)).name != _DICOM:
            raise HTTPException(415, "Every part must be application/dicom.")
        yield Upload(part.data)


async def _of_study(files: AsyncIterator[Upload], study: str | None, elsewhere: list[Landed]) -> AsyncIterator[Upload]:
    """Files of the study that the address names; those of another one are put into `elsewhere` and go no further."""
    async for file in files:
        found = None if study is None else await run_in_threadpool(_identity, file.data)
        if found is None or found[0] == study:
            yield file
        else:
            _, instance, sop_class = found
            landing = Landing(
                outcome="quarantined",
                instance=instance,
                sop_class=sop_class,
                reason=WRONG_STUDY,
                sentence="The instance belongs to another study than the address names",
            )
            elsewhere.append(Landed("", landing))


def _identity(data: bytes) -> tuple[str, str, str] | None:
    """Study, instance and class of a file; None where it is not one that could be stored."""
    try:
        instance = parse(data)
    except InvalidInput:
        return None
    return instance.study_uid, instance.sop_uid, instance.sop_class


def _report(landed: list[Landed], addresses: dict[str | None, str], study: str | None, base: str) -> Document:
    """The Store Instances Response Module (PS3.18 Annex I.2)."""
    referenced, failed = [], []
    for each in landed:
        landing = each.landing
        item = {
            "00081150": element("UI", landing.sop_class),
            "00081155": element("UI", landing.instance),
        }
        if landing.outcome == "quarantined":
            reason = FAILURES.get(landing.reason or "", _CANNOT_UNDERSTAND)
            failed.append({**item, "00081197": element("US", reason)})
        else:
            address = f"{addresses[landing.image_set]}/{landing.instance}"
            referenced.append({**item, "00081190": element("UR", address)})
    report = {"00081190": element("UR", f"{base}/studies/{study}" if study else None)}
    if failed:
        report["00081198"] = element("SQ", failed)
    if referenced:
        report["00081199"] = element("SQ", referenced)
    return report
