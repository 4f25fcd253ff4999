"""Sign-ins of the user of this machine at user pools: kept in a file of their own, and renewed by themselves.

An access token lasts minutes, what renews it hours. Commands renew one when two thirds of its time are over, so that no
request begins with one that ends under way, and once more where a server refuses it all the same. Whoever can read the
file is signed in as its owner, so nobody else may: a file that others can read is not used.
"""

import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

from radloop.aws.token_endpoint import TokenEndpoint
from radloop.core.errors import Denied, InvalidInput, Unauthenticated, Unavailable

_RENEWED_AFTER: Final = 2 / 3
_ASKED_AGAIN_S: Final = 20.0
_PORTS: Final = {"https": ":443", "http": ":80"}
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class TokenChanged(httpx.ReadError):
    """A token was refused while a body went out that cannot be sent again as it is; there is another token now."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Somebody is signed in at an installation.

    Attributes:
        server: Address of the installation.
        pool: Address of the server of the pool's page.
        client_id: Of the pool's app client.
        renew_at: When another access token should be fetched, in seconds since the epoch by this machine's clock.
        expires_at: When the access token's time is over, likewise.
    """

    server: str
    pool: str
    client_id: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    renew_at: float
    expires_at: float

    def given(self, told: Mapping[str, Any]) -> "SignIn":
        """The same with what the pool's token endpoint gave (RFC 6749 §5.1); one that does not rotate gives no second.

        Raises:
            Unavailable: It is of another form.
        """
        access, life_s, renewal = told.get("access_token"), told.get("expires_in"), told.get("refresh_token")
        if not isinstance(access, str) or not isinstance(life_s, int) or not (renewal or self.refresh_token):
            raise Unavailable(f"the user pool {self.pool} answers in an unknown form")
        now = time.time()
        return replace(
            self,
            access_token=access,
            refresh_token=str(renewal or self.refresh_token),
            renew_at=now + life_s * _RENEWED_AFTER,
            expires_at=now + life_s,
        )

    def renewed(self) -> "SignIn":
        """The same with another access token.

        Raises:
            Unauthenticated: The pool ended the sign-in, or its time is over.
            Unavailable: The pool does not answer, or not as it should.
        """
        try:
            return self.given(TokenEndpoint(self.pool, self.client_id).renew(self.refresh_token))
        except Unauthenticated:
            raise Unauthenticated(f"the sign-in at {self.server} is over; radloop login {self.server}") from None

    def revoke(self) -> None:
        """Have nothing renewed by it any more.

        Raises:
            Unavailable: The pool does not answer, or not as it should.
        """
        TokenEndpoint(self.pool, self.client_id).revoke(self.refresh_token)


class SignIns:
    """All of them by address, in one file that its owner alone can read."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_folder() / "sign-ins.json"

    def get(self, server: str) -> SignIn | None:
        """The sign-in at this address, or None.

        Raises:
            Denied: Others than its owner could read the file.
        """
        try:
            return SignIn(**self._read()[server])
        except (KeyError, TypeError):
            return None

    def put(self, sign_in: SignIn) -> None:
        """Keep a sign-in in place of that at the same address."""
        self._write({**self._read(), sign_in.server: asdict(sign_in)})

    def remove(self, server: str) -> None:
        """Keep none at this address."""
        self._write({name: each for name, each in self._read().items() if name != server})

    def servers(self) -> list[str]:
        """Addresses where somebody is signed in."""
        return sorted(self._read())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other process of this user changes what is kept."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _read(self) -> dict[str, Any]:
        try:
            with self.path.open() as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise Denied(
                        f"others may have read {self.path}: its mode is {mode:04o}, expected 0600; delete it and sign"
                        " in again"
                    )
                held = json.load(file)
        except FileNotFoundError:
            return {}
        except ValueError:
            return {}
        return held if isinstance(held, dict) else {}

    def _write(self, held: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, prefix=".", delete=False) as file:  # mode 0600
            json.dump(held, file)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self.path)


class Bearer(httpx.Auth):
    """Says by a kept sign-in who asks, and renews it where that is due.

    Args:
        kept: Where the sign-in is, and what renews it is put.
        server: Address it is kept under.
    """

    def __init__(self, kept: SignIns, server: str) -> None:
        self._kept = kept
        self._server = server
        self._held = kept.get(server)
        self._asked_at = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """See `httpx.Auth.auth_flow`.

        Raises:
            Unauthenticated: The sign-in is over.
            Unavailable: The token's time is over, and the pool does not give another now.
            TokenChanged: It was refused, there is another now, and the body has gone.
        """
        token = self.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = yield request
        if answer.status_code != HTTPStatus.UNAUTHORIZED:
            return
        another = self.token(refused=token)
        if _has_gone(request):
            raise TokenChanged("the token ended under way", request=request)
        request.headers["Authorization"] = f"Bearer {another}"
        yield request

    def token(self, *, refused: str | None = None) -> str:
        """An access token whose time is not over, and which is not the `refused` one.

        Raises:
            Unauthenticated: The sign-in is over.
            Unavailable: There is none, and the pool does not give one now.
        """
        held = self._held
        if held is not None and not self._is_due(held, refused):
            return held.access_token
        with self._kept.alone():
            held = self._kept.get(self._server)  # which another process may have renewed, or ended
            if held is None:
                raise Unauthenticated(f"nobody is signed in at {self._server} any more; radloop login {self._server}")
            if self._is_due(held, refused):
                held = self._renewed(held, refused)
        self._held = held
        return held.access_token

    def _is_due(self, held: SignIn, refused: str | None) -> bool:
        now = time.time()
        asked_lately = now < min(self._asked_at + _ASKED_AGAIN_S, held.expires_at)
        return held.access_token == refused or (now >= held.renew_at and not asked_lately)

    def _renewed(self, held: SignIn, refused: str | None) -> SignIn:
        """Another, or the same as long as it counts and the pool is away."""
        self._asked_at = time.time()
        try:
            renewed = held.renewed()
        except Unavailable:
            if held.access_token == refused or time.time() >= held.expires_at:
                raise
            return held
        self._kept.put(renewed)
        return renewed


def kept_for(server: str) -> Bearer | None:
    """Who is signed in at this address; None where nobody is.

    Raises:
        Denied: Others than its owner could read the file of sign-ins.
    """
    try:
        address = address_of(server)
    except InvalidInput:
        return None
    kept = SignIns()
    return None if kept.get(address) is None else Bearer(kept, address)


def address_of(url: str) -> str:
    """The address of a server in the one form that sign-ins are kept under.

    Raises:
        InvalidInput: It is none, or no token should go there.

    >>> address_of("HTTPS://Radloop.Example.org:443/")
    'https://radloop.example.org'
    """
    try:
        found = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise InvalidInput("this is no address; expected https://HOST, as --server takes it") from None
    is_bare = found.path == "/" and not (found.query or found.fragment or found.userinfo)
    if found.scheme not in {"https", "http"} or not found.host or not is_bare:
        raise InvalidInput("an address is https://HOST or https://HOST:PORT, with nothing before or behind it")
    if not is_sealed(found):
        raise InvalidInput(f"tokens go over TLS only: write https://{found.host}")
    return f"{found.scheme}://{found.netloc.decode().removesuffix(_PORTS[found.scheme])}"


def is_sealed(url: httpx.URL) -> bool:
    """Whether nobody between here and this address can read along: by TLS, or because it is on the loopback."""
    return url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)


def state_folder() -> Path:
    """Where commands keep what is the user's own and no installation's (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "radloop"


def _has_gone(request: httpx.Request) -> bool:
    """Whether the body was read from where it cannot be read twice; files of a form lie in memory."""
    try:
        request.content  # noqa: B018 — asked whether it is held
    except httpx.RequestNotRead:
        return not request.headers.get("Content-Type", "").startswith("multipart/")
    return False
