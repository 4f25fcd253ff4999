"""Pages of other origins that may use DICOMweb and streams: those of a list, and no others (Fetch standard §3.2)."""

import re
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Message

_SHARED = re.compile(r"/dicomweb(/.*)?|/datastore/[^/]+/(studies|series|instances)(/.*)?|/stream/v1/.*")
_METHODS = "GET, HEAD, POST, OPTIONS"
_REQUEST_HEADERS = "Accept, Authorization, Content-Type, If-None-Match, If-Range, Range"
_EXPOSED = (
    "Accept-Ranges, Content-Location, Content-Range, ETag, Location, Retry-After, Warning, "
    "X-Radloop-Packs, X-Radloop-Quality, X-Radloop-Version, X-Total-Count"
)
_REMEMBERED_S = "600"


def is_shared(path: str) -> bool:
    """Whether pages of other origins may be let to an address at all.

    >>> is_shared("/dicomweb/studies"), is_shared("/datastore/abc/studies/1.2"), is_shared("/api/v1/worklist")
    (True, True, False)
    """
    return _SHARED.fullmatch(path) is not None


def allowed_origin(path: str, headers: Headers, origins: Collection[str]) -> str | None:
    """The origin of a request, where it is another's and is let in at this address."""
    origin = headers.get("origin") if origins else None
    return origin if origin is not None and origin in origins and is_shared(path) else None


def preflight(method: str, headers: Headers, origin: str | None) -> Response | None:
    """The answer to a browser that asks before it calls; None for any other request."""
    if method != "OPTIONS" or origin is None or "access-control-request-method" not in headers:
        return None
    told = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": _REMEMBERED_S,
    }
    return Response(status_code=204, headers=told)


def share(path: str, origin: str | None, start: Message) -> None:
    """Tell in the start of an answer whether the page that asked may read it."""
    if not is_shared(path):
        return
    vary = [value for name, value in start["headers"] if name == b"vary"]
    start["headers"] = [header for header in start["headers"] if header[0] != b"vary"]
    start["headers"].append((b"vary", b", ".join([*vary, b"Origin"])))
    if origin is not None:
        answer = MutableHeaders(scope=start)
        answer["Access-Control-Allow-Origin"] = origin
        answer["Access-Control-Expose-Headers"] = _EXPOSED
        answer["Cross-Origin-Resource-Policy"] = "cross-origin"
