"""Signing in at the page of a Cognito user pool: code flow with PKCE, the codes exchanged here and not in the browser.

The app client has no secret; what proves that a code comes back to whoever asked for it is the verifier (RFC 7636),
which lies sealed in a cookie of that browser beside the state.
"""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from radloop.aws.token_endpoint import OVER, TokenEndpoint
from radloop.core.errors import Corrupt, Unauthenticated, Unavailable
from radloop.core.ports import Clock
from radloop.security.sealing import GcmCipher
from radloop.security.sign_in import Begun, Grant, SignedIn, challenge

PURPOSE: Final = "sign-in"
"""What the key that seals our cookies is derived for."""

SCOPE: Final = "openid email profile"
BEGUN_LIFE: Final = timedelta(minutes=10)
LONGEST_TOKEN: Final = 3900
"""Bytes of a cookie's value; a browser drops a cookie of more than 4096 with its name (RFC 6265bis §5.6)."""

_RENEWED_AT_MOST = timedelta(hours=12)  # refresh_token_validity of infra/modules/identity
_NOT_BEGUN = "this sign-in was not begun in this browser, or more than ten minutes ago; sign in again"


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
        self._endpoint = TokenEndpoint(page, client_id)
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
        given = self._endpoint.exchange(code, str(begun["verifier"]), self._home)
        return self._grant(given, given.get("refresh_token"))

    def renew(self, kept: str) -> Grant:
        """See `SignInPage.renew`."""
        renewal = self._opened("renewal", kept)
        if renewal is None:
            raise Unauthenticated(OVER)
        token = str(renewal["token"])
        given = self._endpoint.renew(token)
        return self._grant(given, given.get("refresh_token", token))  # a pool that rotates gives another

    def revoke(self, kept: str) -> None:
        """See `SignInPage.revoke`."""
        renewal = self._opened("renewal", kept)
        if renewal is not None:
            self._endpoint.revoke(str(renewal["token"]))

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
