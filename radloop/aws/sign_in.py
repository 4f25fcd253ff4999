"""Signing in at the page of a Cognito user pool: code flow with PKCE, the codes exchanged here and not in the browser.

The app client has no secret; what proves that a code comes back to whoever asked for it is the verifier (RFC 7636),
which lies sealed in a cookie of that browser beside the state. What the pool says of a refusal is not handed on: it
knows three words for everything (RFC 6749 §5.2), and they are told in ours.
"""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from radloop.core.errors import Corrupt, Unauthenticated, Unavailable
from radloop.core.ports import Clock
from radloop.security.sealing import GcmCipher
from radloop.security.sign_in import Begun, Grant, SignedIn

PURPOSE: Final = "sign-in"
"""What the key that seals our cookies is derived for."""

SCOPE: Final = "openid email profile"
BEGUN_LIFE: Final = timedelta(minutes=10)
LONGEST_TOKEN: Final = 3900
"""Bytes of a cookie's value; a browser drops a cookie of more than 4096 with its name (RFC 6265bis §5.6)."""

_ASKED_S = 8.0
_RENEWED_AT_MOST = timedelta(hours=12)  # refresh_token_validity of infra/modules/identity
_NOT_BEGUN = "this sign-in was not begun in this browser, or more than ten minutes ago; sign in again"
_OVER = "the sign-in is over; sign in again"


class PoolPage:
    """See `SignInPage`; the page of one user pool for one app client.

    Args:
        page: Address of the pool's domain.
        client_id: Of the app client.
        site: Address of our site, without a path; the pool leads back to its `/app/`.
        key: 32 bytes that seal what browsers keep.
        clock: The present moment.
        read: Whose an access token is.
        idle: So long after an access token's end it can still be renewed; None for as long as the pool allows.
    """

    def __init__(
        self,
        page: str,
        client_id: str,
        site: str,
        *,
        key: bytes,
        clock: Clock,
        read: Callable[[str], SignedIn],
        idle: timedelta | None = None,
    ) -> None:
        self._page = page
        self._client = client_id
        self._home = f"{site}/app/"
        self._cipher = GcmCipher(key)
        self._clock = clock
        self._read = read
        self._idle = idle

    @property
    def leave(self) -> str:
        """See `SignInPage.leave`."""
        return f"{self._page}/logout?{urlencode({'client_id': self._client, 'logout_uri': self._home})}"

    def begin(self) -> Begun:
        """See `SignInPage.begin`."""
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        asked = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": self._home,
            "scope": SCOPE,
            "state": state,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        kept = self._sealed("begun", BEGUN_LIFE, {"state": state, "verifier": verifier})
        return Begun(f"{self._page}/oauth2/authorize?{urlencode(asked)}", kept)

    def take(self, code: str, state: str, kept: str) -> Grant:
        """See `SignInPage.take`."""
        begun = self._opened("begun", kept)
        if begun is None or not secrets.compare_digest(state.encode(), str(begun["state"]).encode()):
            raise Unauthenticated(_NOT_BEGUN)
        given = self._granted(
            {"grant_type": "authorization_code", "code": code, "redirect_uri": self._home}
            | {"code_verifier": str(begun["verifier"])},
            "the code of the sign-in was used before, or has expired; sign in again",
        )
        return self._grant(given, given.get("refresh_token"))

    def renew(self, kept: str) -> Grant:
        """See `SignInPage.renew`."""
        renewal = self._opened("renewal", kept)
        if renewal is None:
            raise Unauthenticated(_OVER)
        token = str(renewal["token"])
        given = self._granted({"grant_type": "refresh_token", "refresh_token": token}, _OVER)
        return self._grant(given, given.get("refresh_token", token))  # a pool that rotates gives another

    def revoke(self, kept: str) -> None:
        """See `SignInPage.revoke`."""
        renewal = self._opened("renewal", kept)
        if renewal is not None:
            answer = self._asked("revoke", {"token": str(renewal["token"])})
            if answer.status_code != HTTPStatus.OK:
                raise Unavailable(f"the user pool does not end the sign-in, it answers {answer.status_code}")

    def who(self, access_token: str) -> SignedIn:
        """See `SignInPage.who`."""
        return self._read(access_token)

    def _grant(self, given: Mapping[str, Any], renewal: Any) -> Grant:
        access = given.get("access_token")
        if not isinstance(access, str) or not isinstance(renewal, str):
            raise Unavailable("the user pool answers in an unknown form")
        person = self._read(access)
        end = _RENEWED_AT_MOST if self._idle is None else person.expires_at - self._clock() + self._idle
        kept = self._sealed("renewal", end, {"token": renewal})
        if max(len(access), len(kept)) > LONGEST_TOKEN:
            raise Unavailable("the user pool gives tokens longer than a browser keeps; fewer groups make them shorter")
        return Grant(access, kept, int(end.total_seconds()), person)

    def _granted(self, asked: Mapping[str, str], refused: str) -> Mapping[str, Any]:
        """What the token endpoint gives; `refused` says that what was shown to it does not count."""
        answer = self._asked("token", asked)
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Unavailable(f"the user pool answers {answer.status_code} in an unknown form")
        if answer.status_code == HTTPStatus.BAD_REQUEST and told.get("error") == "invalid_grant":
            raise Unauthenticated(refused)
        if answer.status_code != HTTPStatus.OK:
            raise Unavailable(
                f"the user pool refuses this installation or is too busy, it answers {answer.status_code}"
            )
        return told

    def _asked(self, what: str, told: Mapping[str, str]) -> httpx.Response:
        """The answer of an endpoint of the pool; nothing of it or of what was told goes into an error."""
        try:
            return httpx.post(f"{self._page}/oauth2/{what}", data={**told, "client_id": self._client}, timeout=_ASKED_S)
        except httpx.HTTPError:
            raise Unavailable("the user pool does not answer") from None

    def _sealed(self, use: str, life: timedelta, told: Mapping[str, str]) -> str:
        until = (self._clock() + life).isoformat()
        sealed = self._cipher.seal(json.dumps({**told, "until": until}).encode(), use.encode())
        return urlsafe_b64encode(sealed).decode().rstrip("=")  # which no cookie holds without quotes

    def _opened(self, use: str, kept: str) -> Mapping[str, Any] | None:
        """What was sealed for this use, or None where it was not, or its time is over."""
        try:
            sealed = urlsafe_b64decode(kept.encode("ascii") + b"=" * (-len(kept) % 4))
            told: dict[str, Any] = json.loads(self._cipher.open(sealed, use.encode()))
        except (Corrupt, ValueError):
            return None
        return told if self._clock() < datetime.fromisoformat(told["until"]) else None


def challenge(verifier: str) -> str:
    """The code challenge S256 of a verifier (RFC 7636 §4.2; the example is that of its appendix B).

    >>> challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    return urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).decode().rstrip("=")
