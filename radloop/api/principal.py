"""Who stands behind a request, and whether they may do what they ask for: the one place that decides it."""

import logging

from starlette.requests import Request

from radloop.api.doors import Doors
from radloop.core.errors import Denied, RevokedLink, Unauthenticated
from radloop.core.identity import OWNER, Principal
from radloop.monitoring.logs import tell
from radloop.security.links import is_link

_LOG = logging.getLogger("radloop.iam")

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


def permitted(request: Request, action: str, *, linked: str | None = None) -> Principal:
    """The caller, who may do `action`: one of `contracts/roles.json`, or `ANYBODY`, or `SIGNED_IN`.

    Args:
        request: What is asked.
        action: What for.
        linked: The image set a signed link may stand for the caller at; None where a link counts for nothing. A link
            that is wrong is not made good by a token or a session that is right.

    Raises:
        Unauthenticated: Nobody known.
        Denied: Somebody who may not.
    """
    if action == ANYBODY:
        return NOBODY
    principal = _of_link(request, linked) if linked is not None and _has_link(request) else principal_of(request)
    if action != SIGNED_IN:
        try:
            doors_of(request).platform.policy.demand(principal, action)
        except Denied as error:
            tell(_LOG, "denied", action=action, principal=principal.id, code=error.code)
            raise
    return principal


def _has_link(request: Request) -> bool:
    return is_link(request.query_params.multi_items())


def _of_link(request: Request, image_set: str) -> Principal:
    """Whoever made the link that the query holds.

    Raises:
        Unauthenticated: It is wrong or over, or its maker may not come in any more.
    """
    doors = doors_of(request)
    if doors.links is None:
        raise Unauthenticated("there are no links here")
    identity = doors.links.check(image_set, request.query_params.multi_items(), doors.platform.clock())
    if doors.is_open and identity == OWNER.id:
        return OWNER
    try:
        if doors.identities is not None:
            return doors.identities.of_id(identity)
    except Unauthenticated:
        pass
    raise RevokedLink("whoever made the link may not come in any more")


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
