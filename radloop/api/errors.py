"""What callers are told when something cannot be done, and what is logged when we did not expect it.

Ours map by their stable code in one table; an error without a row of its own takes the row of its nearest base.
What is foreign becomes a 500 with a trace id. Its message may quote a header it choked on, so neither the answer nor
the log carries it: the log names its kind and the places in our own code it came through.
"""

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from radloop.core.errors import RadloopError, Throttled
from radloop.core.identity import new_id

STATUS: Mapping[str, int] = {
    "invalid-input": HTTPStatus.BAD_REQUEST,
    "unsupported-pixels": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "checksum-mismatch": 460,
    "not-found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "throttled": HTTPStatus.TOO_MANY_REQUESTS,
    "denied": HTTPStatus.FORBIDDEN,
    "corrupt": HTTPStatus.INTERNAL_SERVER_ERROR,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "error": HTTPStatus.INTERNAL_SERVER_ERROR,
}

_PACKAGE = Path(__file__).parent.parent
_LOG = logging.getLogger("radloop.api")


def status_of(error: RadloopError) -> int:
    """The HTTP status of an error of ours."""
    codes = (str(vars(kind).get("code")) for kind in type(error).__mro__)
    return next(STATUS[code] for code in codes if code in STATUS)


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells why something was not done."""
    body = orjson.dumps({"error": {"code": code, "message": message}})
    return Response(body, status_code=status, media_type="application/json", headers=dict(headers or {}))


def answer_to(error: Exception) -> Response:
    """The answer to any error; ours that are no caller's fault, and all that are foreign, are logged."""
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        message = str(error.detail)
        if message == phrase:
            message = {404: "There is nothing at this address.", 405: "This address takes another method."}.get(
                error.status_code, f"{phrase}."
            )
        return refusal(error.status_code, phrase.lower().replace(" ", "-"), message, error.headers)
    if isinstance(error, RadloopError):
        status = status_of(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log(error)
        return refusal(status, error.code, str(error), _hints(error, status))
    trace = log(error)
    return refusal(500, "internal", f"Something unexpected happened; the log has more under {trace}.")


def _hints(error: RadloopError, status: int) -> dict[str, str]:
    """Headers that tell what to do next."""
    if isinstance(error, Throttled):
        return {"Retry-After": str(error.retry_after_s)}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": "1"}
    return {"WWW-Authenticate": 'Bearer realm="radloop"'} if status == HTTPStatus.UNAUTHORIZED else {}


def log(error: BaseException) -> str:
    """Log an error without its message; returns the trace id under which it stands."""
    trace = new_id()
    kinds, places = [], []
    current: BaseException | None = error
    while current is not None:
        kinds.append(type(current).__name__)
        places += [_place(frame) for frame in traceback.extract_tb(current.__traceback__) if _is_ours(frame)]
        current = current.__cause__
    _LOG.error("%s at %s, trace %s", " from ".join(kinds), " > ".join(places) or "a place not ours", trace)
    return trace


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(_PACKAGE)


def _place(frame: traceback.FrameSummary) -> str:
    return f"{Path(frame.filename).relative_to(_PACKAGE.parent)}:{frame.lineno} {frame.name}"
