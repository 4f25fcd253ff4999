"""Access tokens of a Cognito user pool: whose they are, and that nobody else made them.

A token counts only where everything about it is right: signed by RS256 under a key that the pool publishes, of this
pool, for one of our clients, an access token, and of the present. What is wrong with one that does not count is not
told, except that its time is over, which a client must know to fetch a new one.
"""

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import RSAKey

from radloop.core.errors import Unauthenticated, Unavailable
from radloop.core.ports import Clock

SCOPE_CLAIM: Final = "custom:patient_scope"
ALGORITHM: Final = "RS256"
LONGEST_TOKEN: Final = 8192
LEEWAY_S: Final = 30
"""So far the clocks of Cognito and of this machine may be apart."""

_KEYS_LIFE = timedelta(hours=1)
_ASKED_EVERY = timedelta(seconds=10)  # however many tokens name a key that nobody knows
_FETCH_S = 5.0
_LEAST_KEY_BITS = 2048
_NOT_VALID = "the token is not one that is valid here"
_IDENTIFYING = ("jti", "sub", "iss", "client_id", "token_use", "username")  # one token has this `jti`, and no other
_LATEST = datetime.max.replace(tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whoever a token was given to.

    Attributes:
        sub: Opaque and never given to anybody else.
        username: By which the pool is asked for the person; may tell a name, so it goes no further.
        groups: Of the pool, as they were when the token was made.
        scope: What the token says of the patients that may be seen; None where it says nothing.
    """

    sub: str
    username: str
    groups: frozenset[str]
    scope: str | None
    expires_at: datetime


class CognitoTokens:
    """Reads access tokens of one user pool.

    The pool's keys are fetched when a token names one that is not known, and once an hour, so that new ones are taken
    and old ones let go. Where the pool does not answer, the known ones hold.

    Args:
        issuer: Address of the pool, as it stands in its tokens.
        client_ids: The clients whose tokens count.
        clock: The present moment.
        fetch: Gives the pool's JSON Web Key Set; from below the issuer's address unless told.
        vouched: Gives the claims of this very token where a gateway before us, through which alone we are reached, has
            verified its signature; else None. Then no key is needed, and everything but the signature is looked at here
            too. A gateway tells every claim as text, so only those that are text are held against the token's own.
    """

    def __init__(
        self,
        issuer: str,
        client_ids: Collection[str],
        clock: Clock,
        *,
        fetch: Callable[[], Mapping[str, Any]] | None = None,
        vouched: Callable[[str], Mapping[str, Any] | None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._fetch = fetch or (lambda: fetched(f"{issuer}/.well-known/jwks.json"))
        self._vouched = vouched
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock().timestamp()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            client_id={"essential": True, "values": sorted(client_ids)},
            token_use={"essential": True, "value": "access"},
            sub={"essential": True},
            username={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        self._keys: dict[str, RSAKey] = {}
        self._fetched_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._guard = threading.Lock()

    def read(self, token: str) -> Bearer:
        """Whose token this is.

        Raises:
            Unauthenticated: It does not count, or its time is over.
            Unavailable: The pool's keys were never known, and it does not give them now.
        """
        if len(token) > LONGEST_TOKEN:
            raise Unauthenticated(_NOT_VALID)
        vouched = self._vouched(token)
        try:
            claims = self._verified(token.encode("ascii")) if vouched is None else _held_against(token, vouched)
            self._claims.validate(claims)
            return _bearer(claims)
        except ExpiredTokenError:
            raise Unauthenticated("the token has expired; sign in again") from None
        except (JoseError, ValueError, RecursionError):
            raise Unauthenticated(_NOT_VALID) from None

    def _verified(self, token: bytes) -> dict[str, Any]:
        """The claims of a token that is signed by a key of the pool."""
        kid = jws.extract_compact(token).headers().get("kid")
        key = self._key(kid) if isinstance(kid, str) else None
        if key is None:
            raise Unauthenticated(_NOT_VALID)
        return jwt.decode(token, key, algorithms=[ALGORITHM]).claims

    def _key(self, kid: str) -> RSAKey | None:
        """The pool's key of this name, or None."""
        with self._guard:
            now = self._clock()
            is_due = self._fetched_at is None or now - self._fetched_at >= _KEYS_LIFE or kid not in self._keys
            if is_due and (self._asked_at is None or now - self._asked_at >= _ASKED_EVERY):
                self._asked_at = now
                self._refresh(now)
            if self._fetched_at is None:
                raise Unavailable("the keys of the user pool are not known")
            return self._keys.get(kid)

    def _refresh(self, now: datetime) -> None:
        try:
            self._keys = _usable(self._fetch())
        except Unavailable:
            return
        self._fetched_at = now


def fetched(url: str) -> Mapping[str, Any]:
    """A JSON Web Key Set.

    Raises:
        Unavailable: It cannot be fetched, or is none.
    """
    try:
        answer = httpx.get(url, timeout=_FETCH_S)
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, ValueError):
        raise Unavailable("the keys of the user pool cannot be fetched") from None
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise Unavailable("the user pool gives keys of an unknown form")
    return found


def _usable(key_set: Mapping[str, Any]) -> dict[str, RSAKey]:
    """The keys by their names; what is not for our algorithm is left out."""
    found: dict[str, RSAKey] = {}
    for each in key_set["keys"]:
        try:
            is_ours = (
                each["kty"] == "RSA" and each.get("alg", ALGORITHM) == ALGORITHM and each.get("use", "sig") == "sig"
            )
            if is_ours and len(urlsafe_b64decode(f"{each['n']}==")) * 8 >= _LEAST_KEY_BITS:
                found[str(each["kid"])] = RSAKey.import_key({name: each[name] for name in ("kty", "n", "e")})
        except (JoseError, AttributeError, KeyError, TypeError, ValueError):
            continue
    return found


def _held_against(token: str, vouched: Mapping[str, Any]) -> dict[str, Any]:
    """The claims of a token whose signature was verified by somebody else, who found these in it.

    Raises:
        Unauthenticated: They are of another token.
        ValueError: It is no token.
    """
    found = jws.extract_compact(token.encode("ascii"))
    claims = json.loads(found.payload)
    is_ours = isinstance(claims, dict) and found.headers().get("alg") == ALGORITHM
    if not is_ours or any(not vouched.get(name) or vouched[name] != claims.get(name) for name in _IDENTIFYING):
        raise Unauthenticated(_NOT_VALID)
    return dict(claims)


def _bearer(claims: Mapping[str, Any]) -> Bearer:
    """What we take from claims that were found right.

    Raises:
        ValueError: They are not of Cognito's form.
    """
    groups, scope, username = claims.get("cognito:groups", []), claims.get(SCOPE_CLAIM), claims["username"]
    is_formed = isinstance(groups, list) and all(isinstance(each, str) for each in groups) and isinstance(username, str)
    if not is_formed or not (scope is None or isinstance(scope, str)) or claims["exp"] > _LATEST:
        raise ValueError
    return Bearer(claims["sub"], username, frozenset(groups), scope, datetime.fromtimestamp(claims["exp"], UTC))
