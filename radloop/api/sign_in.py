"""How one comes in: by a password of ours, or at a page of somebody else whose codes are exchanged here.

Behind that page a session is two cookies that no script reads: the access token, which the edge in front of us copies
into `Authorization`, and what renews it, which a browser sends to the session's own addresses only. Whoever asks is
looked at as any bearer of a token is; the cookies alone let nobody in here.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from radloop.api import identities
from radloop.api.doors import Doors
from radloop.api.errors import answer_to
from radloop.api.operations import PREFIX, as_json, json_body
from radloop.api.principal import principal_of
from radloop.core.errors import InvalidInput, Unauthenticated
from radloop.core.identity import Principal
from radloop.core.ports import AuditEntry, Change
from radloop.security.sign_in import Grant, SignedIn, SignInPage

ACCESS = "__Host-radloop-access"
"""Cookie of the access token; infra/modules/cdn/cookie.js names it too."""

BEGUN, RENEWAL = "__Secure-radloop-begun", "__Secure-radloop-renewal"
SESSION = f"{PREFIX}/session"
BEGUN_S = 600
LONGEST_CODE = 2048

_NOBODY = "nobody"


async def way(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    """How one signs in here."""
    native = None if doors.native_app is None else asdict(doors.native_app)
    if doors.page is None:
        return as_json({"kind": "password", "address": None, "leave": None, "native_app": native})
    begun = doors.page.begin()
    told = {"kind": "redirect", "address": begun.address, "leave": doors.page.leave, "native_app": native}
    response = as_json(told)
    _keep(response, BEGUN, begun.kept, BEGUN_S, path=SESSION, samesite="lax")
    return response


async def create(request: Request, doors: Doors, principal: Principal) -> Response:
    """A session, for a password or for the code of the page."""
    if doors.page is None:
        return await identities.sign_in(request, doors, principal)
    body = await json_body(request)
    code, state = body.get("code"), body.get("state")
    if set(body) != {"code", "state"} or not (_is_short(code) and _is_short(state)):
        raise InvalidInput("here one signs in by code and state, two texts that the sign-in page gives")
    kept = request.cookies.get(BEGUN, "")
    response = await _given(doors, doors.page, lambda page: page.take(str(code), str(state), kept), "session.create")
    _drop(response, BEGUN, path=SESSION)
    return response


async def renew(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    """The same session for longer; one of a password lasts for its time, and is told as it is."""
    if doors.page is None:
        return await identities.who(request, doors, principal_of(request))
    kept = request.cookies.get(RENEWAL, "")
    return await _given(doors, doors.page, lambda page: page.renew(kept), None)


async def who(request: Request, doors: Doors, principal: Principal) -> Response:
    """Who the caller is."""
    token = _token_of(request)
    if doors.page is None or token is None:
        return await identities.who(request, doors, principal)
    return as_json(_told(await run_in_threadpool(doors.page.who, token), doors))


async def end(request: Request, doors: Doors, principal: Principal) -> Response:
    """The caller's session is over, at the page too once the browser has been to `address`."""
    if doors.page is None:
        return await identities.sign_out(request, doors, principal)
    kept, is_person = request.cookies.get(RENEWAL, ""), _token_of(request) is not None
    response = as_json({"signed_out": is_person, "address": doors.page.leave if is_person else None})
    if is_person:
        await run_in_threadpool(doors.page.revoke, kept)
        await run_in_threadpool(_note, doors, principal.id, "session.delete", "success")
        _forget(response)
    return response


async def _given(doors: Doors, page: SignInPage, ask: Callable[[SignInPage], Grant], action: str | None) -> Response:
    """The session that a grant makes, noted as `action`; a refusal is answered here, so that it clears the cookies."""
    try:
        grant = await run_in_threadpool(ask, page)
    except Unauthenticated as error:
        if action is not None:
            await run_in_threadpool(_note, doors, _NOBODY, action, "failure")
        response = answer_to(error)
        _forget(response)
        return response
    if action is not None:
        await run_in_threadpool(_note, doors, grant.person.principal.id, action, "success")
    response = as_json(_told(grant.person, doors))
    _keep(response, ACCESS, grant.access_token, _left_s(grant.person, doors))
    _keep(response, RENEWAL, grant.kept, grant.kept_s, path=SESSION)
    return response


def _note(doors: Doors, who: str, action: str, outcome: str) -> None:
    subject = "" if who == _NOBODY else who
    doors.platform.records.commit(Change(audit=[AuditEntry(who, action, subject, outcome)]))


def _told(person: SignedIn, doors: Doors) -> dict[str, Any]:
    told = identities.session_told(person.name, person.principal, doors)
    return {**told, "renewal_s": _left_s(person, doors)}


def _left_s(person: SignedIn, doors: Doors) -> int:
    return max(0, int((person.expires_at - doors.platform.clock()).total_seconds()))


def _token_of(request: Request) -> str | None:
    """The access token of a browser: one that lies in the cookie, and that the edge has copied."""
    token = request.cookies.get(ACCESS)
    return token if token and request.headers.get("authorization") == f"Bearer {token}" else None


def _is_short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_CODE


def _keep(
    response: Response, name: str, value: str, seconds: int, *, path: str = "/", samesite: Any = "strict"
) -> None:
    response.set_cookie(name, value, max_age=seconds, path=path, secure=True, httponly=True, samesite=samesite)


def _drop(response: Response, name: str, *, path: str = "/") -> None:
    _keep(response, name, "", 0, path=path)


def _forget(response: Response) -> None:
    _drop(response, ACCESS)
    _drop(response, RENEWAL, path=SESSION)
