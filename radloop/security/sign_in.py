"""Signing in at somebody else's page: what our doors ask of whoever knows that page (RFC 6749 §4.1 with RFC 7636).

No token is ever handed to a script: an access token goes into a cookie that the edge turns into a header, and what
renews it goes into another, sealed with a key of ours. A program that a person runs signs them in by itself: it is a
native app (RFC 8252), which the page leads back to on the loopback.
"""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from radloop.core.identity import Principal


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that begins.

    Attributes:
        address: Of the page where the person signs in.
        kept: What must come back with the code, sealed; kept by the browser that began.
    """

    address: str
    kept: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whoever an access token was given to.

    Attributes:
        name: As the person knows themself; told to nobody else.
        expires_at: When the token's time is over.
    """

    principal: Principal
    name: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sign-in gives.

    Attributes:
        access_token: For the edge.
        kept: What renews it, sealed; worth nothing to anybody but us.
        kept_s: Seconds for which it does.
    """

    access_token: str
    kept: str
    kept_s: int
    person: SignedIn


@dataclass(frozen=True, slots=True)
class NativeApp:
    """What a program must know to sign in whoever runs it: a public client, which holds no secret (RFC 8252 §8.4).

    Attributes:
        address: Of the server of the page; `/oauth2/authorize`, `/oauth2/token` and `/oauth2/revoke` lie below it.
        client_id: Of the app client for programs.
        scope: What is asked for.
        redirects: Addresses on the loopback that the page leads back to. It compares them whole, port and all.
    """

    address: str
    client_id: str
    scope: str
    redirects: tuple[str, ...]


def challenge(verifier: str) -> str:
    """The code challenge S256 of a verifier (RFC 7636 §4.2; the example is that of its appendix B).

    >>> challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    return urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).decode().rstrip("=")


class SignInPage(Protocol):
    """A page of somebody else where people sign in."""

    @property
    def leave(self) -> str:
        """Address at which a browser is signed out of that page too; it leads back to ours."""
        ...

    def begin(self) -> Begun:
        """Begin a sign-in."""
        ...

    def take(self, code: str, state: str, kept: str) -> Grant:
        """End a sign-in by the code that the page gave.

        Raises:
            Unauthenticated: It was not begun by this browser, too long ago, or the code does not count (any more).
            Unavailable: The page's server does not answer, or not as it should.
        """
        ...

    def renew(self, kept: str) -> Grant:
        """Another access token.

        Raises:
            Unauthenticated: The sign-in is over.
            Unavailable: The page's server does not answer, or not as it should.
        """
        ...

    def revoke(self, kept: str) -> None:
        """Have nothing renewed by this any more; what is over or no such thing is left alone.

        Raises:
            Unavailable: The page's server does not answer, or not as it should.
        """
        ...

    def who(self, access_token: str) -> SignedIn:
        """Whose access token this is.

        Raises:
            Unauthenticated: It does not count, or its time is over.
            Unavailable: It cannot be told now.
        """
        ...
