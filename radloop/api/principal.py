"""Who stands behind a request, and whether they may do what they ask for: the one place that decides it."""

from starlette.requests import Request

from radloop.api.doors import Doors
from radloop.core.errors import Unauthenticated
from radloop.core.identity import OWNER, Principal

ANYBODY = "anybody"
"""What needs no sign-in at all: only the sign-in itself."""

SIGNED_IN = "signed-in"
"""What everybody may do who is somebody."""

NOBODY = Principal("nobody", frozenset())

COOKIE = "radloop"
SECURE_COOKIE = "__Host-radloop"
"""A browser takes this name only over TLS, for this host alone and for all of its paths (RFC 6265bis §4.1.3.2)."""


def principal_of(request: Request) -> Principal:
    """The caller, by bearer token or else by session cookie; where the doors are open, every caller is the owner.

    A token that is wrong is not made good by a cookie that is right.

    Raises:
        Unauthenticated: Nobody known.
    """
    doors = doors_of(request)
    if doors.is_open:
        return OWNER
    if doors.identities is None:
        raise Unauthenticated("nobody can sign in here")
    stated = request.headers.getlist("authorization")
    if stated:
        scheme, _, token = stated[0].partition(" ")
        if len(stated) > 1 or scheme.lower() != "bearer":
            raise Unauthenticated("this address takes a bearer token or a session")
        return doors.identities.of_token(token.strip())
    session = session_of(request)
    if session is None:
        raise Unauthenticated("sign in, or send a bearer token")
    return doors.identities.of_session(session)


def permitted(request: Request, action: str) -> Principal:
    """The caller, who may do `action`: one of `contracts/roles.json`, or `ANYBODY`, or `SIGNED_IN`.

    Raises:
        Unauthenticated: Nobody known.
        Denied: Somebody who may not.
    """
    if action == ANYBODY:
        return NOBODY
    principal = principal_of(request)
    if action != SIGNED_IN:
        doors_of(request).platform.policy.demand(principal, action)
    return principal


def doors_of(request: Request) -> Doors:
    """What the application stands on."""
    doors: Doors = request.app.state.doors
    return doors


def session_of(request: Request) -> str | None:
    """The session that the cookie holds."""
    return request.cookies.get(cookie_name(request)) or None


def cookie_name(request: Request) -> str:
    """Under TLS the name that no other host and no plain connection can set."""
    return SECURE_COOKIE if is_secure(request) else COOKIE


def is_secure(request: Request) -> bool:
    """Whether the request came over TLS."""
    return request.url.scheme == "https"
