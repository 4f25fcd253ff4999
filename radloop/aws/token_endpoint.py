"""What a user pool gives for a code, and for what renews a token: its token endpoint and its revocation endpoint.

What the pool says of a refusal is not handed on: it knows three words for everything (RFC 6749 §5.2), and they are told
in ours. Nothing of what was told to it or of what it answers goes into an error.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx

from radloop.core.errors import Unauthenticated, Unavailable

OVER: Final = "the sign-in is over; sign in again"

_ASKED_S = 8.0
_NO_CODE = "the code of the sign-in was used before, or has expired; sign in again"


class TokenEndpoint:
    """The endpoints of one pool for one app client without a secret.

    Args:
        page: Address of the pool's domain.
        client_id: Of the app client.
    """

    def __init__(self, page: str, client_id: str) -> None:
        self._page = page
        self._client = client_id

    def exchange(self, code: str, verifier: str, redirect: str) -> Mapping[str, Any]:
        """What the pool gives for a code (RFC 6749 §4.1.3, RFC 7636 §4.5).

        Raises:
            Unauthenticated: The code does not count (any more), or was not given for this verifier and address.
            Unavailable: The pool does not answer, or not as it should.
        """
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        return self._granted(asked, _NO_CODE)

    def renew(self, token: str) -> Mapping[str, Any]:
        """What the pool gives for a refresh token (RFC 6749 §6).

        Raises:
            Unauthenticated: The token does not count any more.
            Unavailable: The pool does not answer, or not as it should.
        """
        return self._granted({"grant_type": "refresh_token", "refresh_token": token}, OVER)

    def revoke(self, token: str) -> None:
        """Have nothing renewed by this refresh token any more (RFC 7009 §2.1); one that does not count is left alone.

        Raises:
            Unavailable: The pool does not answer, or not as it should.
        """
        answer = self._asked("revoke", {"token": token})
        if answer.status_code != HTTPStatus.OK:
            raise Unavailable(f"the user pool does not end the sign-in, it answers {answer.status_code}")

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
        try:
            return httpx.post(f"{self._page}/oauth2/{what}", data={**told, "client_id": self._client}, timeout=_ASKED_S)
        except httpx.HTTPError:
            raise Unavailable("the user pool does not answer") from None
