"""The DICOMweb door: where its addresses lead (PS3.18 §10).

The service stands twice: below `/dicomweb` on the data store that every home has, and below `/datastore/{id}`, as
HealthImaging has it, on any. An address that knows other methods than the one asked for says which (405, Allow).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from radloop.api import wado
from radloop.api.dicom_json import DICOM_JSON, require_json, written_answer
from radloop.api.doors import Doors
from radloop.api.errors import refusal
from radloop.api.gate import OPERATION
from radloop.api.metadata import Documents
from radloop.api.principal import permitted
from radloop.api.qido import Answers, page, query_of
from radloop.api.removal import DELETE, remove
from radloop.api.rendered import rendered
from radloop.api.stow import Destination, store
from radloop.core.errors import InvalidInput, PixelDataMismatch, UnsupportedPixels
from radloop.core.identity import Principal
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.dicom.values import is_uid
from radloop.store.datastores import Datastores
from radloop.store.revisions import Revisions

PREFIX = "/dicomweb"
SCOPED = "/datastore/{datastore}"

_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_FRAMES = _INSTANCE + "/frames/{frames}"
_KEYWORDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}

SEARCH, READ, EXPORT, WRITE = "image.search", "image.read", "image.export", "image.write"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, its caller known and allowed to ask."""

    request: Request
    doors: Doors
    principal: Principal
    documents: Documents
    answers: Answers

    @property
    def datastore(self) -> str:
        """The data store that is asked.

        Raises:
            NotFound: There is none of that name.
        """
        named = self.request.path_params.get("datastore")
        if named is None:
            return DEFAULT_DATASTORE
        _require_datastore(named, self.doors)
        return str(named)

    @property
    def uids(self) -> dict[str, str]:
        """The UIDs that the address names, by keyword.

        Raises:
            InvalidInput: One of them is none.
        """
        params = self.request.path_params
        named = {_KEYWORDS[name]: value for name, value in params.items() if name in _KEYWORDS}
        for keyword, uid in named.items():
            if not is_uid(uid):
                raise InvalidInput(f"the address holds no legal {keyword}")
        return named

    @property
    def headers(self) -> Headers:
        """Those of the request; an `accept` in the query counts before the header (PS3.18 §8.3.3.1)."""
        accept = self.request.query_params.get("accept")
        if accept is None:
            return self.request.headers
        kept = [(name, value) for name, value in self.request.headers.raw if name != b"accept"]
        plus = accept.replace("/dicom ", "/dicom+")  # a plus in a query stands for a blank, unless it is encoded
        return Headers(raw=[*kept, (b"accept", plus.encode("latin-1", "replace"))])

    @property
    def base(self) -> str:
        """Address of the service as the caller reaches it, without a slash at the end."""
        named = self.request.path_params.get("datastore")
        path = PREFIX if named is None else SCOPED.format(datastore=named)
        return origin_of(self.request, self.doors.platform.settings.public_url) + path

    @property
    def visit(self) -> wado.Visit:
        """What is wanted of what lies at the address."""
        uids = self.uids
        place = wado.Place(
            self.datastore,
            uids["StudyInstanceUID"],
            uids.get("SeriesInstanceUID"),
            uids.get("SOPInstanceUID"),
            self.request.query_params.get("imageSetId"),
        )
        images = self.doors.images_of(self.principal)
        records, longest = self.doors.platform.records, self.doors.longest_answer
        return wado.Visit(place, images, records, self.headers, self.base, longest)


Answer = Callable[[Call], Response | Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What answers a method at an address: its name for the meter, who may ask, and how it is done."""

    name: str
    action: str
    answer: Answer


def dicomweb_routes(doors: Doors) -> list[BaseRoute]:
    """Every address of the service, one route each, whatever methods it knows."""
    documents, answers = Documents(), Answers()
    return [
        Route(
            prefix + path,
            _endpoint(operations, doors, documents, answers),
            methods=[*operations, "OPTIONS"],
            name=prefix + path,
        )
        for prefix in (PREFIX, SCOPED)
        for path, operations in _ADDRESSES.items()
    ]


def origin_of(request: Request, public_url: str) -> str:
    """Scheme, host and port under which the caller reaches us.

    What is set counts. Else the Host header does; where it names no port, as dicomweb-client leaves it out, the port
    we listen on is put back, unless it is the scheme's own. Behind a proxy that drops the port, set `public_url`.
    """
    if public_url:
        return public_url.rstrip("/")
    scheme, host = request.scope["scheme"], request.headers["host"]
    server = request.scope.get("server")
    try:
        has_port = urlsplit(f"//{host}").port is not None
    except ValueError:
        has_port = True
    if not has_port and server is not None and server[1] not in {None, 80, 443}:
        host = f"{host}:{server[1]}"
    return f"{scheme}://{host}"


def _endpoint(
    operations: Mapping[str, Operation], doors: Doors, documents: Documents, answers: Answers
) -> Callable[[Request], Awaitable[Response]]:
    allow = ", ".join(sorted({*operations, "HEAD", "OPTIONS"} if "GET" in operations else {*operations, "OPTIONS"}))

    async def endpoint(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allow})
        operation = operations["GET" if request.method == "HEAD" else request.method]
        request.scope[OPERATION] = operation.name
        if doors.is_open:
            principal = permitted(request, operation.action)  # nothing to look up
        else:
            principal = await run_in_threadpool(permitted, request, operation.action)
        call = Call(request, doors, principal, documents, answers)
        try:
            if operation.answer is _store:
                return await _store(call)
            return await run_in_threadpool(operation.answer, call)  # type: ignore[arg-type]
        except (UnsupportedPixels, PixelDataMismatch) as error:
            return refusal(406, error.code, str(error))

    return endpoint


async def _store(call: Call) -> Response:
    if call.request.scope["query_string"] or call.request.headers.get("accept") != DICOM_JSON:
        require_json(call.headers)
    is_default = "datastore" not in call.request.path_params  # which needs no look, and so no thread
    datastore = DEFAULT_DATASTORE if is_default else await run_in_threadpool(lambda: call.datastore)
    destination = Destination(datastore, call.uids.get("StudyInstanceUID"), call.base)
    return await store(call.request, call.doors, call.principal, destination)


def _search(level: str) -> Answer:
    def answer(call: Call) -> Response:
        require_json(call.headers)
        images = call.doors.images_of(call.principal)
        images.may_search()
        query = query_of(
            level, call.request.query_params, call.uids, datastore=call.datastore, patients=images.patients
        )
        records = call.doors.platform.records
        base = call.base
        found = call.answers.get(query, base, records, lambda: page(query, images, call.doors.images, records, base))
        headers = {"Vary": "Accept"}
        if found.total is not None:
            headers["X-Total-Count"] = str(found.total)
        if found.is_cut:
            headers["Warning"] = '299 radloop "There are more results; ask for them with offset."'
        if not found.body:
            return Response(status_code=204, headers=headers)
        return written_answer(found.body, headers=headers)

    return answer


def _metadata(call: Call) -> Response:
    return wado.metadata(call.visit, call.documents)


def _frames(call: Call) -> Response:
    return wado.frames(call.visit, call.request.path_params["frames"])


def _bulk(call: Call) -> Response:
    return wado.bulk(call.visit, call.request.path_params["path"])


def _files(call: Call) -> Response:
    return wado.files(call.visit)


def _rendered(call: Call) -> Response:
    return rendered(call.visit, call.request.query_params, call.request.path_params.get("frames"))


def _thumbnail(call: Call) -> Response:
    numbers = call.request.path_params.get("frames")
    return rendered(call.visit, call.request.query_params, numbers, is_thumbnail=True)


def _remove(call: Call) -> Response:
    platform = call.doors.platform
    revisions = Revisions(platform.blobs, platform.records, platform.clock, call.doors.images)
    remove(call.visit, call.doors.images, revisions, platform.audit)
    return Response(status_code=204)


def _require_datastore(identity: str, doors: Doors) -> None:
    """Go on only where there is such a data store.

    Raises:
        NotFound: There is none.
    """
    if identity != DEFAULT_DATASTORE:
        Datastores(doors.platform.records, doors.platform.clock).active(identity)


_STORE = Operation("storeInstances", WRITE, _store)
_STUDIES = Operation("searchForStudies", SEARCH, _search("study"))
_SERIES_FOUND = Operation("searchForSeries", SEARCH, _search("series"))
_INSTANCES_FOUND = Operation("searchForInstances", SEARCH, _search("instance"))
_METADATA = Operation("retrieveMetadata", READ, _metadata)
_RENDERED = Operation("retrieveRendered", READ, _rendered)
_THUMBNAIL = Operation("retrieveThumbnail", READ, _thumbnail)
_RETRIEVED = Operation("retrieveInstances", EXPORT, _files)

_STUDY_DELETED = Operation("deleteStudy", DELETE, _remove)
_SERIES_DELETED = Operation("deleteSeries", DELETE, _remove)
_INSTANCE_DELETED = Operation("deleteInstance", DELETE, _remove)

_ADDRESSES: Mapping[str, Mapping[str, Operation]] = {
    "/studies": {"GET": _STUDIES, "POST": _STORE},
    "/series": {"GET": _SERIES_FOUND},
    "/instances": {"GET": _INSTANCES_FOUND},
    _STUDY: {"GET": _RETRIEVED, "POST": _STORE, "DELETE": _STUDY_DELETED},
    f"{_STUDY}/series": {"GET": _SERIES_FOUND},
    f"{_STUDY}/instances": {"GET": _INSTANCES_FOUND},
    f"{_SERIES}/instances": {"GET": _INSTANCES_FOUND},
    f"{_STUDY}/metadata": {"GET": _METADATA},
    f"{_SERIES}/metadata": {"GET": _METADATA},
    f"{_INSTANCE}/metadata": {"GET": _METADATA},
    f"{_STUDY}/rendered": {"GET": _RENDERED},
    f"{_SERIES}/rendered": {"GET": _RENDERED},
    f"{_INSTANCE}/rendered": {"GET": _RENDERED},
    f"{_FRAMES}/rendered": {"GET": _RENDERED},
    f"{_STUDY}/thumbnail": {"GET": _THUMBNAIL},
    f"{_SERIES}/thumbnail": {"GET": _THUMBNAIL},
    f"{_INSTANCE}/thumbnail": {"GET": _THUMBNAIL},
    f"{_FRAMES}/thumbnail": {"GET": _THUMBNAIL},
    _FRAMES: {"GET": Operation("retrieveFrames", READ, _frames)},
    f"{_INSTANCE}/bulkdata/{{path:path}}": {"GET": Operation("retrieveBulkData", READ, _bulk)},
    _SERIES: {"GET": _RETRIEVED, "DELETE": _SERIES_DELETED},
    _INSTANCE: {"GET": _RETRIEVED, "DELETE": _INSTANCE_DELETED},
}

OPERATION_NAMES = tuple(dict.fromkeys(each.name for address in _ADDRESSES.values() for each in address.values()))
