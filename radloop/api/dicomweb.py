"""The DICOMweb door: where its addresses lead (PS3.18 §10)."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from radloop.api import wado
from radloop.api.doors import Doors
from radloop.api.gate import OPERATION
from radloop.api.principal import principal_of
from radloop.api.qido import find, search_of
from radloop.api.stow import dicom_json_answer, store
from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal
from radloop.dicom.values import is_uid

PREFIX = "/dicomweb"

OPERATION_NAMES = (
    "storeInstances",
    "searchForStudies",
    "searchForSeries",
    "searchForInstances",
    "retrieveMetadata",
    "retrieveFrames",
    "retrieveBulkData",
    "retrieveInstances",
)

_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_KEYWORDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}

Answer = Callable[[Request, Doors, Principal], Response]


def dicomweb_routes(doors: Doors) -> list[BaseRoute]:
    """Every address of the service, below its prefix."""
    gets: list[tuple[str, str, Answer]] = [
        ("searchForStudies", "/studies", _search("study")),
        ("searchForSeries", "/series", _search("series")),
        ("searchForInstances", "/instances", _search("instance")),
        ("searchForSeries", _STUDY + "/series", _search("series")),
        ("searchForInstances", _STUDY + "/instances", _search("instance")),
        ("searchForInstances", _SERIES + "/instances", _search("instance")),
        ("retrieveMetadata", _STUDY + "/metadata", _metadata),
        ("retrieveMetadata", _SERIES + "/metadata", _metadata),
        ("retrieveMetadata", _INSTANCE + "/metadata", _metadata),
        ("retrieveFrames", _INSTANCE + "/frames/{frames}", _frames),
        ("retrieveBulkData", _INSTANCE + "/bulkdata/{path:path}", _bulk),
        ("retrieveInstances", _STUDY, _files),
        ("retrieveInstances", _SERIES, _files),
        ("retrieveInstances", _INSTANCE, _files),
    ]
    return [
        Route("/studies", _storing(doors), methods=["POST"]),
        Route(_STUDY, _storing(doors), methods=["POST"]),
        *(Route(path, _answering(name, answer, doors), methods=["GET"]) for name, path, answer in gets),
    ]


def _answering(name: str, answer: Answer, doors: Doors) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        request.scope[OPERATION] = name
        return await run_in_threadpool(answer, request, doors, principal_of(request))

    return endpoint


def _storing(doors: Doors) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        request.scope[OPERATION] = "storeInstances"
        wado.require_json(request.headers)
        study = _uids(request).get("StudyInstanceUID")
        return await store(request, doors, principal_of(request), study, _base(request))

    return endpoint


def _search(level: str) -> Answer:
    def answer(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
        wado.require_json(request.headers)
        search = search_of(level, request.query_params, _uids(request))
        found = find(search, doors.images, doors.platform.records, _base(request))
        if not found.documents:
            return Response(status_code=204)
        more = '299 radloop "There are more results; ask for them with offset."'
        return dicom_json_answer(found.documents, headers={"Warning": more} if found.is_cut else None)

    return answer


def _metadata(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    instances = wado.instances_at(_place(request), doors.images, doors.platform.records)
    return wado.metadata(instances, doors.images, request.headers, _base(request))


def _frames(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    instance = wado.instances_at(_place(request), doors.images, doors.platform.records)[0]
    return wado.frames(instance, request.path_params["frames"], doors.images, request.headers)


def _bulk(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    instance = wado.instances_at(_place(request), doors.images, doors.platform.records)[0]
    return wado.bulk(instance, request.path_params["path"], doors.images, request.headers)


def _files(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    instances = wado.instances_at(_place(request), doors.images, doors.platform.records)
    return wado.files(instances, doors.images, request.headers)


def _place(request: Request) -> wado.Place:
    uids = _uids(request)
    return wado.Place(uids["StudyInstanceUID"], uids.get("SeriesInstanceUID"), uids.get("SOPInstanceUID"))


def _uids(request: Request) -> dict[str, str]:
    """The UIDs that an address names, by keyword.

    Raises:
        InvalidInput: One of them is none.
    """
    named = {_KEYWORDS[name]: value for name, value in request.path_params.items() if name in _KEYWORDS}
    for keyword, uid in named.items():
        if not is_uid(uid):
            raise InvalidInput(f"the address holds no legal {keyword}")
    return named


def _base(request: Request) -> str:
    """Address of the service as the caller knows it."""
    return f"{request.url.scheme}://{request.headers['host']}{PREFIX}"
