"""What every request passes first: whether it comes from where it may, and what every answer carries.

Without sign-in a browser is the way in for an attacker: a page from elsewhere may post to a loopback address, and one
whose name is made to resolve to it (DNS rebinding) may even read. So requests must name a host we answer to, and
requests that change something must not come from another site.
"""

import time
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from radloop.api.cors import allowed_origin, preflight, share
from radloop.api.doors import Doors
from radloop.api.errors import answer_to, log, refusal

OPERATION = "radloop.operation"
"""Key of the scope under which a door notes which operation it answers."""

FRAME_OPERATIONS = frozenset({"getFrame", "getPreview", "retrieveFrames", "healthimagingGetImageFrame"})

FRAMES = "radloop.frames"
"""Where the scope of a request tells how many frames an answer of several gave, for the metrics."""

STREAM_OPERATIONS = frozenset({"getStreamFrames", "getStreamPack"})

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_STREAM = "radloop.stream"
_UNAVAILABLE = 503
_RUNTIME = "runtime-"
"""What AWS clients put before the name of a HealthImaging server for calls about image sets."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:;"
        " style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW_HEADERS = tuple((name.lower().encode(), value.encode()) for name, value in _HEADERS.items())
_RAW_NAMES = frozenset(
    name.lower().encode()
    for name in (*_HEADERS, "Strict-Transport-Security")
    if name != "Content-Security-Policy"  # an answer may say a stricter one besides: browsers hold to both
)
_RAW_SECURE = (*_RAW_HEADERS, (b"strict-transport-security", b"max-age=31536000"))


class Gate:
    """The outermost layer: guards, completes and measures, and lets no foreign error out."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        finally:
            if scope.get(_STREAM) and self._doors.meter is not None:
                self._doors.meter.stream_ended()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, has_started, sent = time.perf_counter(), False, 0
        asked = Headers(scope=scope)
        origin = allowed_origin(scope["path"], asked, self._doors.platform.settings.cors_origins)

        async def complete(message: Message) -> None:
            nonlocal has_started, sent
            if message["type"] == "http.response.start":
                has_started = True
                self._begins(scope, message["status"])
                _finish(message, is_secure=scope.get("scheme") == "https")
                share(scope["path"], origin, message)
            else:
                sent += len(message.get("body", b""))
            await send(message)

        why = objection(scope["method"], asked, self._doors.hosts, is_welcome=origin is not None, site=self._doors.site)
        welcome = preflight(scope["method"], asked, origin) if why is None else None
        try:
            if welcome is not None:
                await welcome(scope, receive, complete)
            elif why is None:
                await self._app(scope, receive, complete)
            else:
                await refusal(403, "denied", why)(scope, receive, complete)
        except ClientDisconnect:
            if not has_started:  # whoever only stopped sending still reads; anybody else misses nothing
                await refusal(400, "invalid-input", "The body ends before its length.")(scope, receive, complete)
        except Exception as error:  # noqa: BLE001 — the outermost layer of the door
            if has_started:
                trace = log(error)
                raise ConnectionError(f"an answer broke off, trace {trace}") from None
            await answer_to(error)(scope, receive, complete)
        self._measure(scope, time.perf_counter() - begun, sent)

    def _begins(self, scope: Scope, status: int) -> None:
        """Note that an answer begins: whether something of ours failed, and whether it is a stream."""
        meter = self._doors.meter
        if meter is None:
            return
        if status == _UNAVAILABLE:
            meter.work.store_failed()
        if scope.get(OPERATION) in STREAM_OPERATIONS:
            scope[_STREAM] = True
            meter.stream_began()

    def _measure(self, scope: Scope, seconds: float, sent: int) -> None:
        meter, operation = self._doors.meter, scope.get(OPERATION)
        if meter is None or operation is None:
            return
        meter.answered(operation, sent)
        frames = 1 if operation in FRAME_OPERATIONS else scope.get(FRAMES, 0)
        if frames:
            meter.frames_retrieved(seconds, frames)


def objection(
    method: str, headers: Headers, hosts: frozenset[str], *, is_welcome: bool = False, site: str | None = None
) -> str | None:
    """Why a request is turned away before anything is looked at, or None.

    Args:
        method: Of the request.
        headers: Of the request.
        hosts: Names we answer to besides those of the loopback.
        is_welcome: Whether its origin is listed.
        site: Host that the pages which may ask were fetched from; that of the request unless told.
    """
    named = headers.getlist("host")
    if len(named) != 1 or not _is_known(named[0], hosts):
        return "This server answers to its own names only."
    if method in _SAFE or is_welcome:
        return None
    if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return "A page of another site may not do this."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != (site or named[0]).lower():
        return "A page of another site may not do this."
    return None


@lru_cache(maxsize=1024)
def _is_known(host: str, hosts: frozenset[str]) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").removeprefix(_RUNTIME)
    except ValueError:
        return False
    if name == "localhost" or name in hosts:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _finish(message: Message, *, is_secure: bool) -> None:
    """Put what every answer carries into the headers of this one; what it says itself of these counts less.

    They are looked through once, as bytes: to search for each name anew costs more than a small frame.
    """
    raw = list(message["headers"])
    here = {name for name, _ in raw}
    if not here.isdisjoint(_RAW_NAMES):
        raw = [(name, value) for name, value in raw if name not in _RAW_NAMES]
    raw += _RAW_SECURE if is_secure else _RAW_HEADERS
    if b"cache-control" not in here:
        raw.append((b"cache-control", b"no-store"))
    message["headers"] = raw
