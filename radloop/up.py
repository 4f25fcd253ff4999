"""`radloop up`: the HTTP doors, the viewer and the worker of one home, as one thing that starts and stops together.

TLS and sign-in are the default; each can be left out on the loopback only.

This process owns the home and runs granian; the worker is its child. Both kinds of children ask the kernel to be
killed when this process goes, so that even `kill -9` leaves nobody serving or training.
"""

import gc
import ipaddress
import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from granian import Granian
from granian.constants import Interfaces, SSLProtocols
from starlette.applications import Starlette

from radloop.api.app import create_app
from radloop.associations import Entity, entity_of, keep
from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.identity import OWNER
from radloop.local.home import Home
from radloop.local.keys import renew_token
from radloop.local.processes import die_with_parent, keep_freed_memory
from radloop.monitoring.logs import log_to_stderr
from radloop.monitoring.metrics import COUNTED_IN
from radloop.security.authority import Certificates, certificates
from radloop.security.identities import new_password
from radloop.wiring import open_local

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
STATIC = Path(__file__).parent / "viewer" / "static"
FIRST_USER = "admin"
_HOME = "RADLOOP_HOME"
_PARENT = "RADLOOP_PARENT"
_OPEN = "RADLOOP_OPEN"
_NAMES = "RADLOOP_NAMES"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — asked for by the caller; a client goes to the loopback
_READY_S = 60.0
_MOST_DOORS = 4  # from there on flushes and the clients are what waits
_COLLECTED_EVERY = (50_000, 20, 50)  # by default, one answer of many rows in ten waits for a look at every object
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
        os.environ.update(
            {_HOME: str(home.root), _PARENT: str(os.getpid()), _OPEN: str(int(is_open)), _NAMES: ",".join(names)}
        )
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
        stopping = threading.Event()
        keepers = [threading.Thread(target=_keep_worker, args=(home.root, stopping), name="worker-keeper", daemon=True)]
        if entity is not None:
            keepers.append(threading.Thread(target=keep, args=(home.root, entity, stopping), daemon=True))
        for keeper in keepers:
            keeper.start()
        threading.Thread(target=_wait_ready, args=(started, needs_user, token, ready), daemon=True).start()
        server = Granian(
            "radloop.up:application",
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            factory=True,
            workers=_door_processes(home.settings().door_processes),
            log_enabled=False,
            respawn_failed_workers=True,
            **_tls_options(shown),
        )
        if shown is not None:
            renewer = (home, names, server.signal_handler_reload, stopping)
            threading.Thread(target=_renew_certificates, args=renewer, daemon=True).start()
        try:
            server.serve()
        finally:
            stopping.set()
            for keeper in keepers:
                keeper.join(timeout=10)


def _door_processes(wanted: int) -> int:
    return wanted or min(os.cpu_count() or 1, _MOST_DOORS)


def application() -> Starlette:
    """The HTTP doors of the home named in the environment; granian calls this in its own process."""
    die_with_parent(int(os.environ[_PARENT]))
    keep_freed_memory()
    log_to_stderr()
    held = ExitStack()
    installation = held.enter_context(open_local(Path(os.environ[_HOME])))
    is_open = os.environ[_OPEN] == "1"
    if not is_open:
        installation.identities.trust(installation.home.owner_token.read_text(), OWNER)
    hosts = frozenset(os.environ[_NAMES].split(",")) - {""}
    static = STATIC if STATIC.is_dir() else None
    app = create_app(installation.doors(static, hosts=hosts, is_open=is_open))
    gc.freeze()  # what is there now stays, and need not be looked through again and again
    gc.set_threshold(*_COLLECTED_EVERY)
    app.state.held = held  # what nobody holds is closed; this stays open for the life of the process
    return app


def trust(authority: Path | None) -> ssl.SSLContext | bool:
    """How an HTTP client checks a server: by this authority alone, or else by those of the system."""
    return True if authority is None else ssl.create_default_context(cafile=authority)


def work(root: Path, parent: int) -> None:
    """The worker process."""
    die_with_parent(parent)
    keep_freed_memory()
    log_to_stderr()
    with open_local(root) as installation:
        worker = installation.worker()
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        installation.platform.jobs.release_abandoned()
        worker.run()


def _keep_worker(root: Path, stopping: threading.Event) -> None:
    """Start the worker, and again whenever it dies; this thread must live as long as the process does."""
    command = [sys.executable, "-m", "radloop.up", str(root), str(os.getpid())]
    while not stopping.is_set():
        started = time.monotonic()
        worker = subprocess.Popen(command)  # noqa: S603 — the command is ours
        while worker.poll() is None:
            if stopping.wait(0.1):
                worker.terminate()
                try:
                    worker.wait(timeout=4)
                except subprocess.TimeoutExpired:
                    worker.kill()
                return
        _LOG.error("the worker ended with status %d and is started again", worker.returncode)
        stopping.wait(0.0 if time.monotonic() - started > 10 else 1.0)  # noqa: PLR2004 — a worker that dies young waits


def _entity(home: Home, host: str, dimse: Dimse, *, is_open: bool) -> Entity:
    return entity_of(home.settings(), host, dimse.port, title=dimse.title, peers=dimse.peers, is_open=is_open)


def _wait_ready(started: Started, needs_user: bool, token: str, ready: Callable[[Started], None]) -> None:
    """Wait until the doors answer; where nobody can sign in yet, have them make the first user."""
    deadline = time.monotonic() + _READY_S
    with httpx.Client(base_url=started.url, timeout=5, verify=trust(started.authority)) as client:
        while time.monotonic() < deadline:
            try:
                if client.get("/healthz").is_success:
                    ready(_with_first_user(started, client, token) if needs_user else started)
                    return
            except httpx.HTTPError:
                time.sleep(0.1)


def _with_first_user(started: Started, client: httpx.Client, token: str) -> Started:
    password = new_password()
    body = {"name": FIRST_USER, "password": password, "roles": ["admin"]}
    client.post("/api/v1/users", json=body, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    return replace(started, first_user=FIRST_USER, password=password)


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


def _renew_certificates(
    home: Home, names: tuple[str, ...], reload: Callable[[], None], stopping: threading.Event
) -> None:
    """Look at the certificate now and then, and have the doors take a new one in good time."""
    while not stopping.wait(_CERTIFICATE_CHECK_S):
        if _certificates(home, names).is_new:
            _LOG.warning("the certificate was made anew, and the doors start again with it")
            reload()


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


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
