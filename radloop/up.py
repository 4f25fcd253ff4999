"""`radloop up`: the HTTP doors, the viewer and the worker of one home, as one thing that starts and stops together.

TLS and sign-in are the default; each can be left out on the loopback only.

This process owns the home, loads what all need, and then only watches its children: doors, one a core, the worker,
and the DIMSE door. They are forked from it, so that they share what is loaded, and ask the kernel to be killed when it
goes, so that even `kill -9` leaves nobody serving or training.
"""

import asyncio
import gc
import ipaddress
import json
import logging
import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server
from starlette.applications import Starlette

from radloop.api.app import create_app, operation_names
from radloop.associations import Entity, associate, entity_of
from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.identity import OWNER
from radloop.local.family import Family, Member
from radloop.local.home import Home
from radloop.local.keys import renew_token
from radloop.local.processes import FOR_ONE, give_back_memory, keep_freed_memory
from radloop.monitoring.logs import log_to_stderr
from radloop.monitoring.metrics import COUNTED_IN
from radloop.security.authority import Certificates, certificates
from radloop.security.passwords import new_password
from radloop.wiring import open_local

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
STATIC = Path(__file__).parent / "viewer" / "static"
FIRST_USER = "admin"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — asked for by the caller; a client goes to the loopback
_READY_S = 60.0
_FOREVER_S, _CALL_S = 3600.0, 5.0
_BACKLOG = 1024
_MOST_DOORS = 4  # from there on flushes and the clients are what waits
COLLECTED_EVERY = (50_000, 20, 50)  # by default, one answer of many rows in ten waits for a look at every object
_READ_AHEAD = 1 << 20  # each piece of a body wakes the event loop, so it should come in few
_CERTIFICATE_CHECK_S = 6 * 3600.0
_LOG = logging.getLogger("radloop.up")


@dataclass(frozen=True, slots=True)
class Started:
    """What whoever started it should be told.

    Attributes:
        url: Where the doors answer.
        authority: The certificate that browsers must trust; None without TLS.
        first_user: Name of the user that was made, because there was none.
        password: Of that user; to be shown at a terminal only, and kept nowhere in clear.
        dimse: Our AE title and where it listens, AET@HOST:PORT; None without DIMSE.
    """

    url: str
    authority: Path | None = None
    first_user: str | None = None
    password: str | None = None
    dimse: str | None = None


@dataclass(frozen=True, slots=True)
class Dimse:
    """How scanners and PACS reach us.

    Attributes:
        port: 0 takes a free one.
        title: Instead of the setting `ae_title`.
        peers: AET@HOST:PORT each, besides those of the setting `peers`.
    """

    port: int
    title: str | None = None
    peers: tuple[str, ...] = ()


def serve(
    root: Path,
    listen: str,
    *,
    ready: Callable[[Started], None],
    is_open: bool = False,
    has_tls: bool = True,
    dimse: Dimse | None = None,
) -> None:
    """Serve the home `root` on `listen` (HOST:PORT) until a signal ends it.

    Args:
        root: The home.
        listen: Port 0 takes a free one. Another address than the loopback needs sign-in and TLS.
        ready: Called once when the doors answer.
        is_open: No sign-in: every caller is the owner.
        has_tls: Serve HTTPS only, TLS 1.2 or later, under a certificate of this home's own authority.
        dimse: How scanners and PACS reach us; None for not at all.

    Raises:
        InvalidInput: The address is not one of this machine's loopback, and sign-in or TLS is off.
        Unavailable: The home or a port is in use.
    """
    host, port = _address(listen, is_guarded=has_tls and not is_open)
    home = Home(root.resolve())
    with home.owned():
        names = _names(host, home.settings().hosts)
        entity = None if dimse is None else _entity(home, host, dimse, is_open=is_open)
        shown = _certificates(home, names) if has_tls else None
        url = f"{'https' if has_tls else 'http'}://{_bracketed(_WILDCARDS.get(host, host))}:{port}"
        shutil.rmtree(home.shared, ignore_errors=True)
        (home.shared / "metrics").mkdir(parents=True, mode=0o700)
        os.environ[COUNTED_IN] = str(home.shared / "metrics")
        token = _renewed_owner_token(home, is_open=is_open)
        with open_local(home.root) as installation:
            installation.worker().start_over()
            needs_user = not is_open and not installation.identities.users()
        started = Started(
            url,
            None if shown is None else shown.authority,
            dimse=None if entity is None else f"{entity.title}@{_bracketed(host)}:{entity.port}",
        )
        home.announce(url, dimse_port=None if entity is None else entity.port)
        doors = _Doors(
            home, host, port, names, shown, is_open=is_open, among=_door_processes(home.settings().door_processes)
        )
        members = [
            Member(f"radloop-door-{number}", doors.serve, is_renewed=True) for number in range(1, doors.among + 1)
        ]
        members.append(Member("radloop-worker", lambda: work(home.root), grace_s=4.0))
        if entity is not None:
            members.append(Member("radloop-dimse", lambda: associate(home.root, entity), called_by=entity.listener))
        log_to_stderr()
        operation_names()  # reads the model of HealthImaging, for all doors
        family = Family(members)
        waiting = _Waiting(started, needs_user, token, ready)
        renewal = None if shown is None else _Renewal(home, names, family.renew)

        def beside() -> float:
            return min(waiting.look(), _FOREVER_S if renewal is None else renewal.look())

        family.run(beside)


def _door_processes(wanted: int) -> int:
    return wanted or min(os.cpu_count() or 1, _MOST_DOORS)


@dataclass(frozen=True, slots=True)
class _Doors:
    """What a process of the HTTP doors is told; each binds the port for itself, and the kernel deals out callers."""

    home: Home
    host: str
    port: int
    names: tuple[str, ...]
    shown: Certificates | None
    is_open: bool
    among: int

    def serve(self) -> None:
        """Serve until SIGTERM."""
        keep_freed_memory()
        log_to_stderr()
        give_back_memory()
        with open_local(self.home.root) as installation:
            installation.keep_logs()
            if not self.is_open:
                installation.identities.trust(self.home.owner_token.read_text(), OWNER)
            static = STATIC if STATIC.is_dir() else None
            app = create_app(
                installation.doors(static, hosts=frozenset(self.names), is_open=self.is_open, has_worker=True)
            )
            gc.freeze()  # what is there now stays, and need not be looked through again and again
            gc.set_threshold(*COLLECTED_EVERY)
            asyncio.run(self._serve(app))

    async def _serve(self, app: Starlette) -> None:
        server = Server(
            app,
            address=self.host,
            port=self.port,
            interface=Interfaces.ASGI,
            backlog=_BACKLOG,
            backpressure=max(1, _BACKLOG // self.among),
            http1_settings=HTTP1Settings(max_buffer_size=_READ_AHEAD),
            log_enabled=False,
            **_tls_options(self.shown),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
        await server.serve()


def work(root: Path) -> None:
    """The worker process."""
    log_to_stderr()
    keep_freed_memory(FOR_ONE)
    give_back_memory()
    with open_local(root) as installation:
        installation.keep_logs()
        worker = installation.worker()
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        installation.platform.jobs.release_abandoned()
        worker.run()


def _entity(home: Home, host: str, dimse: Dimse, *, is_open: bool) -> Entity:
    return entity_of(home.settings(), host, dimse.port, title=dimse.title, peers=dimse.peers, is_open=is_open)


@dataclass(slots=True)
class _Waiting:
    """Waits until the doors answer; where nobody can sign in yet, has them make the first user."""

    started: Started
    needs_user: bool
    token: str
    ready: Callable[[Started], None]
    is_over: bool = False
    deadline: float = field(default_factory=lambda: time.monotonic() + _READY_S)

    def look(self) -> float:
        """Look once; gives the seconds until it wants to look again."""
        if self.is_over:
            return _FOREVER_S
        self.is_over = self._is_answered() or time.monotonic() > self.deadline
        return 0.1

    def _is_answered(self) -> bool:
        try:
            self._call("GET", "/healthz")
            if self.needs_user:
                self._make_first_user()
        except (OSError, HTTPException):
            return False
        self.ready(self.started)
        return True

    def _make_first_user(self) -> None:
        password = new_password()
        self._call("POST", "/api/v1/users", {"name": FIRST_USER, "password": password, "roles": ["admin"]})
        self.started = replace(self.started, first_user=FIRST_USER, password=password)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Call a door, which must answer that all is well.

        Raises:
            OSError: Nobody answers yet, or not under our certificate.
            HTTPException: The answer is another.
        """
        connection = self._connection()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"} if body else {}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:  # noqa: PLR2004 — 2xx is success
                raise HTTPException(f"{path} was answered with {answer.status}")
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        place = urlsplit(self.started.url).netloc
        if self.started.authority is None:
            return HTTPConnection(place, timeout=_CALL_S)
        return HTTPSConnection(
            place, timeout=_CALL_S, context=ssl.create_default_context(cafile=self.started.authority)
        )


def _renewed_owner_token(home: Home, *, is_open: bool) -> str:
    """A token for the owner's own commands, another at each start; none where nobody asks for one."""
    if is_open:
        home.owner_token.unlink(missing_ok=True)
        return ""
    return renew_token(home.owner_token)


def _certificates(home: Home, names: tuple[str, ...]) -> Certificates:
    # the SDKs put this before the host for some operations; before an address it makes no name that TLS could ask for
    twins = (f"runtime-{name}" for name in names if not _is_address(name))
    return certificates(home.keys, (*names, *twins), datetime.now(UTC))


@dataclass(slots=True)
class _Renewal:
    """Looks at the certificate now and then, and has the doors take a new one in good time."""

    home: Home
    names: tuple[str, ...]
    renew: Callable[[], None]
    due: float = field(default_factory=lambda: time.monotonic() + _CERTIFICATE_CHECK_S)

    def look(self) -> float:
        """Look if it is time to; gives the seconds until it is."""
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + _CERTIFICATE_CHECK_S
            if _certificates(self.home, self.names).is_new:
                _LOG.warning("the certificate was made anew, and the doors start again with it")
                self.renew()
        return self.due - time.monotonic()


def _tls_options(shown: Certificates | None) -> dict[str, Any]:
    if shown is None:
        return {}
    return {"ssl_cert": shown.leaf, "ssl_key": shown.key, "ssl_protocol_min": SSLProtocols.tls12}


def _names(host: str, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """What this server is called besides the names of the loopback."""
    own = () if host in LOOPBACK else (socket.gethostname().lower(),) if host in _WILDCARDS else (host.lower(),)
    return tuple(dict.fromkeys((*own, *(name.lower() for name in hosts))))


def _address(listen: str, *, is_guarded: bool) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit():
        raise InvalidInput(f"--listen takes HOST:PORT, such as 127.0.0.1:8080, and not {listen!r}")
    if host not in LOOPBACK and not is_guarded:
        raise InvalidInput(
            f"--open and --no-tls are for loopback only ({', '.join(sorted(LOOPBACK))}); leave them out or listen there"
        )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except socket.gaierror:
            raise InvalidInput("--listen names no address of this machine") from None
        except (OSError, OverflowError):
            raise Unavailable(f"port {port} is in use; choose another with --listen {host}:PORT") from None
        return host, int(probe.getsockname()[1])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
