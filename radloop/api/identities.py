"""Users, sessions, credentials and the audit over HTTP."""

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from radloop.api.doors import Doors
from radloop.api.operations import Ask, as_json, json_body
from radloop.api.principal import cookie_name, is_secure, session_of
from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.identity import Principal
from radloop.security.accounts import Credential, Session, User
from radloop.security.identities import Identities

MOST_PATIENTS = 10_000
LONGEST_PASSWORD = 1024
_LONGEST_PAGE = 1000


async def sign_in(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    """A session for whoever knows the password, in a cookie that scripts cannot read."""
    body = await json_body(request)
    _only(body, {"name", "password"}, needed={"name", "password"})
    name, password = _text(body, "name", 256), _text(body, "password", LONGEST_PASSWORD)
    identities = _identities(doors)
    session = await run_in_threadpool(identities.sign_in, name, password)
    before = session_of(request)
    if before is not None:
        await run_in_threadpool(identities.sign_out, before)
    response = as_json(session_told(session.user.name, _principal(session), doors))
    left = session.expires_at - doors.platform.clock()
    _set_cookie(response, request, session.token, int(left.total_seconds()))
    return response


async def who(request: Request, doors: Doors, principal: Principal) -> Response:
    """Who the caller is, and what they may do."""
    session = session_of(request)
    is_person = not doors.is_open and session is not None and "authorization" not in request.headers
    user = None
    if is_person and session is not None:
        user = await run_in_threadpool(_identities(doors).user_of_session, session)
    return as_json(session_told(None if user is None else user.name, principal, doors))


async def sign_out(request: Request, doors: Doors, principal: Principal) -> Response:  # noqa: ARG001 — one signature
    """End the caller's session."""
    session = session_of(request)
    if session is not None:
        await run_in_threadpool(_identities(doors).sign_out, session)
    response = as_json({"signed_out": session is not None, "address": None})
    _set_cookie(response, request, "", 0)
    return response


def list_users(ask: Ask) -> Response:
    """Everybody who can sign in, or could."""
    return as_json({"items": [_user(user) for user in _identities(ask.doors).users()]})


def create_user(ask: Ask) -> Response:
    """A new user."""
    body = ask.body
    _only(body, {"name", "password", "roles", "patients"}, needed={"name", "password", "roles"})
    made = _identities(ask.doors).create_user(
        _text(body, "name", 256),
        _text(body, "password", LONGEST_PASSWORD),
        roles=_words(body, "roles", 32),
        patients=_patients(body),
        by=ask.principal,
    )
    return as_json(_user(made))


def change_user(ask: Ask) -> Response:
    """Another password, other roles, or no way in any more; ends all sign-ins of that user."""
    body = ask.body
    _only(body, {"password", "roles", "disabled"}, needed=set())
    disabled = body.get("disabled")
    if not body or not (disabled is None or isinstance(disabled, bool)):
        raise InvalidInput("give password, roles or disabled; disabled is true or false")
    changed = _identities(ask.doors).change_user(
        ask.path["id"],
        by=ask.principal,
        password=_text(body, "password", LONGEST_PASSWORD) if "password" in body else None,
        is_disabled=disabled,
        roles=_words(body, "roles", 32) if "roles" in body else None,
    )
    return as_json(_user(changed))


def list_credentials(ask: Ask) -> Response:
    """All credentials, without their secrets, which are kept nowhere readable."""
    return as_json({"items": [_credential(each) for each in _identities(ask.doors).credentials()]})


def create_credential(ask: Ask) -> Response:
    """An access key and a bearer token; their secrets are told this once."""
    body = ask.body
    _only(body, {"roles", "patients", "note", "days"}, needed={"roles"})
    days = body.get("days")
    if not (days is None or (isinstance(days, int) and not isinstance(days, bool))):
        raise InvalidInput("days must be a whole number, or null for never")
    made = _identities(ask.doors).create_credential(
        roles=_words(body, "roles", 32),
        patients=_patients(body),
        by=ask.principal,
        note=_text(body, "note", 64) if "note" in body else "",
        days=days,
    )
    secrets = {"secret_access_key": made.secret_access_key, "token": made.token}
    return as_json({**_credential(made.credential), **secrets})


def revoke_credential(ask: Ask) -> Response:
    """Make a credential worthless for good."""
    return as_json(_credential(_identities(ask.doors).revoke(ask.path["id"], by=ask.principal)))


def list_audit(ask: Ask) -> Response:
    """Who did what, newest first."""
    named = {name: ask.query[name] for name in ("principal", "action", "subject") if ask.query.get(name)}
    found = ask.doors.platform.audit.entries(
        before=ask.number("before", 0, most=(1 << 63) - 1),
        limit=ask.number("limit", 100, least=1, most=_LONGEST_PAGE),
        where=named,
    )
    return as_json(
        {
            "items": [
                {
                    "seq": entry.seq,
                    "time": entry.time,
                    "principal": entry.principal,
                    "action": entry.action,
                    "subject": entry.subject,
                    "outcome": entry.outcome,
                    "count": entry.count,
                    "hash": entry.hash,
                }
                for entry in found
            ]
        }
    )


def verify_audit(ask: Ask) -> Response:
    """Walk the chain of the audit."""
    verdict = ask.doors.platform.audit.verify(ask.query.get("head") or None)
    return as_json(
        {
            "whole": verdict.broken_at is None and verdict.holds_head,
            "entries": verdict.entries,
            "head": verdict.head,
            "broken_at": verdict.broken_at,
            "holds_head": verdict.holds_head,
        }
    )


def _identities(doors: Doors) -> Identities:
    if doors.identities is None:
        raise Unavailable("there are no users and credentials here")
    return doors.identities


def _principal(session: Session) -> Principal:
    return Principal(session.user.id, session.user.roles, session.user.patients)


def _set_cookie(response: Response, request: Request, value: str, max_age_s: int) -> None:
    response.set_cookie(
        cookie_name(request),
        value,
        max_age=max_age_s,
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="strict",
    )


# How they are told


def session_told(name: str | None, principal: Principal, doors: Doors) -> dict[str, Any]:
    """How a session is told; `name` is None for a program."""
    return {
        "id": principal.id,
        "name": name,
        "roles": sorted(principal.roles),
        "actions": sorted(doors.platform.policy.actions(principal)),
        "is_limited": principal.patients is not None,
        "is_open": doors.is_open,
        "idle_minutes": doors.platform.settings.idle_sign_out_minutes if name is not None else None,
        "renewal_s": None,
    }


def _user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "roles": sorted(user.roles),
        "patients": None if user.patients is None else sorted(user.patients),
        "disabled": user.is_disabled,
        "created_at": user.created_at.isoformat(),
    }


def _credential(value: Credential) -> dict[str, Any]:
    return {
        "access_key_id": value.id,
        "roles": sorted(value.roles),
        "patients": None if value.patients is None else sorted(value.patients),
        "note": value.note,
        "created_by": value.created_by,
        "created_at": value.created_at.isoformat(),
        "expires_at": None if value.expires_at is None else value.expires_at.isoformat(),
        "revoked_at": None if value.revoked_at is None else value.revoked_at.isoformat(),
    }


# Bodies, field by field


def _only(body: Mapping[str, Any], known: set[str], *, needed: set[str]) -> None:
    if not set(body) <= known or not needed <= set(body):
        raise InvalidInput(
            f"only {', '.join(sorted(known))} are known here; needed: {', '.join(sorted(needed)) or 'one'}"
        )


def _text(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or len(value) > longest:
        raise InvalidInput(f"{name} must be text of at most {longest} characters")
    return value


def _words(body: Mapping[str, Any], name: str, most: int) -> list[str]:
    value = body.get(name)
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, str) and each for each in value):
        raise InvalidInput(f"{name} must be a list of at most {most} texts")
    return value


def _patients(body: Mapping[str, Any]) -> list[str] | None:
    return None if body.get("patients") is None else _words(body, "patients", MOST_PATIENTS)
