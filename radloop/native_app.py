"""Signing in whoever runs a command: code flow with PKCE at the page of the installation's user pool (RFC 8252).

The installation tells where its page is, and the person signs in there in a browser, with the second factor. What comes
back is a code, which is worth nothing without the verifier that never leaves this process (RFC 7636).
"""

import re
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import httpx

from radloop.aws.token_endpoint import TokenEndpoint
from radloop.client import Client, Refused
from radloop.core.errors import Denied, InvalidInput, Unauthenticated, Unavailable
from radloop.security.sign_in import NativeApp, challenge
from radloop.sign_ins import SignIn, is_sealed

_LOOPBACK: Final = re.compile(r"http://127\.0\.0\.1:([1-9]\d{3,4})/")


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that begins.

    Attributes:
        address: Of the page, for this one sign-in.
        redirect: Where the page leads back to.
        state: What comes back with the code.
        verifier: What shows that the code is for us; told to nobody but the token endpoint.
    """

    address: str
    redirect: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def native_app_at(client: Client) -> NativeApp:
    """How one signs in at the installation that `client` reaches, as it says itself.

    Raises:
        InvalidInput: It has no user pool, or is no installation.
        Unavailable: It does not say, or asks for what should not be done.
    """
    there = client.url
    try:
        told = client.get("sign-in")
    except Refused as error:
        raise _unknown(str(there), error) from None
    except ValueError:
        raise InvalidInput(f"there is no radloop at {there}: what it answers is no JSON; look at the address") from None
    if not isinstance(told, dict) or "kind" not in told:
        raise InvalidInput(f"there is no radloop at {there}: it does not say how one signs in; look at the address")
    app = told.get("native_app")
    if app is None and told["kind"] == "redirect":
        raise Unavailable(f"{there} has a user pool, and no client of it for programs: bring it up to this version")
    if app is None:
        raise InvalidInput(
            f"{there} has no user pool to sign in at; programs carry a token there: radloop credentials create makes"
            " one in its home, RADLOOP_TOKEN or --token-file hold it"
        )
    return _checked(app, str(there))


def begin(app: NativeApp, redirect: str) -> Begun:
    """Begin a sign-in that ends at `redirect`."""
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    asked = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": redirect,
        "scope": app.scope,
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    }
    return Begun(f"{app.address}/oauth2/authorize?{urlencode(asked)}", redirect, state, verifier)


def code_of(query: str, begun: Begun) -> str:
    """The code, by the query of the address that the page led back to (RFC 6749 §4.1.2).

    Raises:
        InvalidInput: This is no answer to this sign-in.
        Denied: The page let nobody in.
    """
    told = {name: values[0] for name, values in parse_qs(query).items() if len(values) == 1}
    if not secrets.compare_digest(told.get("state", "").encode(), begun.state.encode()):
        raise InvalidInput("this is no answer to the sign-in that was begun here; run the command again")
    if "error" in told:
        why = told["error"] if re.fullmatch(r"[a-z_]{1,40}", told["error"]) else "an unknown error"
        raise Denied(f"the sign-in page let nobody in: it says {why}; run the command again to try once more")
    if not told.get("code"):
        raise InvalidInput("the sign-in page gave no code; run the command again")
    return told["code"]


def signed_in(app: NativeApp, server: str, begun: Begun, code: str) -> SignIn:
    """End a sign-in by its code.

    Raises:
        Unauthenticated: The code does not count (any more).
        Unavailable: The pool does not answer, or not as it should.
    """
    nothing_yet = SignIn(server, app.address, app.client_id, "", "", 0.0, 0.0)
    try:
        return nothing_yet.given(
            TokenEndpoint(app.address, app.client_id).exchange(code, begun.verifier, begun.redirect)
        )
    except Unavailable as error:
        raise Unavailable(f"{error}; it is {app.address}, as {server} says") from None


def who(client: Client) -> dict[str, Any]:
    """Who the installation says one is, by a token that the pool has just given.

    Raises:
        Denied: It does not let in whom its pool let in.
    """
    try:
        found: dict[str, Any] = client.get("session")
    except (Refused, Unauthenticated) as error:
        raise Denied(
            f"the user pool let you in, and {client.url} does not ({error}): its API must take tokens of the client for"
            " programs; whoever runs it applies the stack again"
        ) from None
    return found


def _unknown(there: str, error: Refused) -> Exception:
    """Why an installation does not say how one signs in."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return Unavailable(f"{there} tells nobody how one signs in: it answers 401; bring it up to this version")
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Unavailable(f"{there} does not say how one signs in now: it answers {error.status}; try again")
    if error.code != "error":
        return InvalidInput(f"{there} does not say how one signs in: {error}")
    return InvalidInput(
        f"there is no radloop at {there}: it answers {error.status} to GET /api/v1/sign-in; look at the address"
    )


def _checked(told: Any, there: str) -> NativeApp:
    """What an installation says of its pool, where that is safe to do.

    Raises:
        Unavailable: It is not, or is of another form.
    """
    try:
        app = NativeApp(told["address"], told["client_id"], told["scope"], tuple(told["redirects"]))
        is_formed = all(isinstance(each, str) and each for each in (app.address, app.client_id, app.scope))
        is_safe = is_formed and is_sealed(httpx.URL(app.address)) and bool(app.redirects)
        is_safe = is_safe and all(_LOOPBACK.fullmatch(each) for each in app.redirects)
    except (KeyError, TypeError, httpx.InvalidURL):
        is_safe = False
    if not is_safe:
        raise Unavailable(
            f"{there} says of its user pool what is not done here: expected an https address and redirects to 127.0.0.1"
        )
    return app
