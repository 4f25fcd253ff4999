"""`radloop up`: the HTTP doors, the viewer and the worker of one home, as one thing that starts and stops together.

This process owns the home and runs granian; the worker is its child. Both kinds of children ask the kernel to be
killed when this process goes, so that even `kill -9` leaves nobody serving or training.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
from granian import Granian
from granian.constants import Interfaces
from starlette.applications import Starlette

from radloop.api.app import create_app
from radloop.core.errors import InvalidInput, Unavailable
from radloop.local.home import Home
from radloop.local.processes import die_with_parent
from radloop.monitoring.logs import log_to_stderr
from radloop.wiring import open_local

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
STATIC = Path(__file__).parent / "viewer" / "static"
_HOME = "RADLOOP_HOME"
_PARENT = "RADLOOP_PARENT"
_READY_S = 60.0
_LOG = logging.getLogger("radloop.up")


def serve(root: Path, listen: str, *, ready: Callable[[str], None]) -> None:
    """Serve the home `root` on `listen` (HOST:PORT, loopback only) until a signal ends it.

    Args:
        root: The home.
        listen: Port 0 takes a free one.
        ready: Called once with the address when the doors answer.

    Raises:
        InvalidInput: The address is not one of this machine's loopback.
        Unavailable: The home or the port is in use.
    """
    host, port = _address(listen)
    url = f"http://{host}:{port}"
    home = Home(root.resolve())
    os.environ[_HOME], os.environ[_PARENT] = str(home.root), str(os.getpid())
    with home.owned():
        with open_local(home.root) as installation:
            installation.worker().start_over()
        home.announce(url)
        stopping = threading.Event()
        keeper = threading.Thread(target=_keep_worker, args=(home.root, stopping), name="worker-keeper", daemon=True)
        keeper.start()
        threading.Thread(target=_wait_ready, args=(url, ready), daemon=True).start()
        server = Granian(
            "radloop.up:application",
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            factory=True,
            workers=1,
            log_enabled=False,
            respawn_failed_workers=True,
        )
        try:
            server.serve()
        finally:
            stopping.set()
            keeper.join(timeout=5)


def application() -> Starlette:
    """The HTTP doors of the home named in the environment; granian calls this in its own process."""
    die_with_parent(int(os.environ[_PARENT]))
    log_to_stderr()
    held = ExitStack()
    installation = held.enter_context(open_local(Path(os.environ[_HOME])))
    app = create_app(installation.doors(STATIC if STATIC.is_dir() else None))
    app.state.held = held  # what nobody holds is closed; this stays open for the life of the process
    return app


def work(root: Path, parent: int) -> None:
    """The worker process."""
    die_with_parent(parent)
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


def _wait_ready(url: str, ready: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/healthz", timeout=2).is_success:
                ready(url)
                return
        except httpx.HTTPError:
            time.sleep(0.1)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if host not in LOOPBACK or not port.isdigit():
        raise InvalidInput(
            f"--listen takes HOST:PORT on loopback ({', '.join(sorted(LOOPBACK))}) while sign-in and TLS are off"
        )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            raise Unavailable(f"port {port} is in use; choose another with --listen {host}:PORT") from None
        return host, int(probe.getsockname()[1])


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
