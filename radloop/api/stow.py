"""STOW-RS: files sent in, and what became of each (PS3.18 §10.5)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from radloop.api.dicom_json import Document, dicom_json_answer, element
from radloop.api.doors import Doors
from radloop.api.media import media_type
from radloop.api.multipart import parts_of
from radloop.api.uploads import LONGEST_FILE, MOST_FILES, body_of, land, whole
from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal
from radloop.core.ports import Landing, Upload
from radloop.dicom.named import named_instance
from radloop.dicom.parse import Instance, parse

FAILURES = {
    "invalid-identity": 0xA900,
    "missing-attribute": 0xA900,
    "pixel-data-mismatch": 0xA900,
    "out-of-scope": 0x0124,
}
"""FailureReason by code (PS3.18 table I.2-2): the data set does not match its SOP class, or the sender may not store
it. All others are not understood."""

WRONG_STUDY = 0xA901
CANNOT_UNDERSTAND = 0xC000

REPLACED = 0xB000
"""WarningReason of an instance that came before with other content: both are kept, this one is shown from now on."""

_DICOM = "application/dicom"
_UIDS = ("00081150", "00081155")
_WARNING, _FAILURE, _URL = "00081196", "00081197", "00081190"
_FAILED, _REFERENCED, _OTHER = "00081198", "00081199", "0008119A"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request stores: the data store, the only study it takes if it names one, and the service's address."""

    datastore: str
    study: str | None
    base: str


@dataclass(slots=True)
class _Account:
    """What became of the files of one request."""

    referenced: list[Document] = field(default_factory=list)
    failed: list[Document] = field(default_factory=list)
    other: list[Document] = field(default_factory=list)
    has_warnings: bool = False

    @property
    def status(self) -> int:
        """200 where all were stored, 202 where some were or one with a warning, 409 where none was, 204 for nothing."""
        if not (self.referenced or self.failed or self.other):
            return 204
        if not self.referenced:
            return 409
        return 202 if self.failed or self.other or self.has_warnings else 200

    def refuse(self, named: tuple[str, str] | None, reason: int) -> None:
        """Note a file that was not stored; one that names no instance cannot be referred to (PS3.18 §I.2)."""
        told = element("US", reason)
        if named is None:
            self.other.append({_FAILURE: told})
        else:
            self.failed.append({**_reference(*named), _FAILURE: told})

    def take(self, landing: Landing, address: str, *, is_new_version: bool) -> None:
        """Note a file that is stored."""
        item = {**_reference(landing.sop_class or "", landing.instance or ""), _URL: element("UR", address)}
        if is_new_version:
            item[_WARNING] = element("US", REPLACED)
            self.has_warnings = True
        self.referenced.append(dict(sorted(item.items())))

    def report(self, url: str | None) -> Document:
        """The Store Instances Response Module (PS3.18 Annex I.2)."""
        sequences = {_FAILED: self.failed, _REFERENCED: self.referenced, _OTHER: self.other}
        told = {tag: element("SQ", items) for tag, items in sequences.items() if items}
        return {_URL: element("UR", url), **told}


async def store(request: Request, doors: Doors, principal: Principal, destination: Destination) -> Response:
    """Take instances in through the one way that all doors use.

    Raises:
        InvalidInput: The body breaks the rules of multipart.
        HTTPException: 413 or 415.
    """
    account = _Account()
    waiting: list[Upload] = []
    files = _taken(_files(request), destination.study, account, waiting)
    async for landed in land(files, doors, principal, destination.datastore):
        landing, file = landed.landing, waiting.pop(0)
        if landing.outcome == "quarantined" or landing.image_set is None:
            named = await run_in_threadpool(named_instance, file.data)
            account.refuse(named, FAILURES.get(landing.reason or "", CANNOT_UNDERSTAND))
            continue
        series = f"{destination.base}/studies/{landing.study_uid}/series/{landing.series_uid}"
        account.take(landing, f"{series}/instances/{landing.instance}", is_new_version=landing.is_replacement)
    if account.status == 204:  # noqa: PLR2004 — no content
        return Response(status_code=204)
    url = None if destination.study is None else f"{destination.base}/studies/{destination.study}"
    return dicom_json_answer(account.report(url), account.status)


async def _files(request: Request) -> AsyncIterator[Upload]:
    kind = media_type(request.headers.get("content-type", ""))
    if kind.name == _DICOM:
        data = await whole(body_of(request), LONGEST_FILE)
        if data:
            yield Upload(data)
        return
    if kind.name != "multipart/related" or kind.parameters.get("type", _DICOM).lower() != _DICOM:
        raise HTTPException(415, 'Send instances as multipart/related; type="application/dicom".')
    boundary = kind.parameters.get("boundary", "")
    async for part in parts_of(body_of(request), boundary, longest_part=LONGEST_FILE, most_parts=MOST_FILES):
        stated = part.headers.get("content-type", _DICOM)
        if stated != _DICOM and media_type(stated).name != _DICOM:
            raise HTTPException(415, "Every part must be application/dicom.")
        yield Upload(part.data)


async def _taken(
    files: AsyncIterator[Upload], study: str | None, account: _Account, waiting: list[Upload]
) -> AsyncIterator[Upload]:
    """Files that go on to be landed, each put into `waiting`; those of another study than `study` go no further."""
    async for file in files:
        found = None if study is None else await run_in_threadpool(_parsed, file.data)
        if found is not None and found.study_uid != study:
            account.refuse((found.sop_class, found.sop_uid), WRONG_STUDY)
        else:
            waiting.append(file)
            yield file


def _parsed(data: bytes) -> Instance | None:
    """The instance a file holds; None where it is not one that could be stored, which landing tells."""
    try:
        return parse(data)
    except InvalidInput:
        return None


def _reference(sop_class: str, instance: str) -> Document:
    return {tag: element("UI", value) for tag, value in zip(_UIDS, (sop_class, instance), strict=True)}
