"""The DIMSE door of one home, as a process of its own beside the HTTP doors and the worker."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.settings import Settings
from radloop.dimse.peers import Peer, Peers, peer_of, title_of
from radloop.dimse.server import Server
from radloop.local.processes import die_with_parent
from radloop.monitoring.logs import log_to_stderr
from radloop.wiring import open_local

DEFAULT_PORT = 11112
"""The registered port of DICOM without root's rights."""

_LAST_PORT = 65535
_YOUNG_S = 10.0
_GRACE_S = 8.0
_LOG = logging.getLogger("radloop.up")


@dataclass(frozen=True, slots=True)
class Entity:
    """Our application entity: its title, whom it knows, and where it listens."""

    title: str
    peers: tuple[str, ...]
    is_open: bool
    listener: socket.socket

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.listener.getsockname()[1])


def entity_of(
    settings: Settings, host: str, port: int, *, title: str | None, peers: Sequence[str], is_open: bool
) -> Entity:
    """The entity that settings and options describe, bound to its port; options come before settings.

    Args:
        settings: Of the home.
        host: Address to listen on.
        port: 0 takes a free one.
        title: Instead of the setting `ae_title`.
        peers: AET@HOST:PORT each, besides those of the setting `peers`.
        is_open: Whether every caller on this machine is let in.

    Raises:
        InvalidInput: A title or a peer is not written as it should be.
        Unavailable: The port is in use.
    """
    ours = title_of(title if title is not None else settings.ae_title)
    known = tuple(dict.fromkeys((*settings.peers, *peers)))
    for peer in known:
        peer_of(peer)
    return Entity(ours, known, is_open, _bound(host, port))


def keep(root: Path, entity: Entity, stopping: threading.Event) -> None:
    """Run the process, and again whenever it dies, until `stopping`; the thread that calls this must live as long.

    The port stays bound meanwhile: who calls while the process starts again waits, and is not refused.
    """
    descriptor = entity.listener.fileno()
    command = [sys.executable, "-m", "radloop.associations", str(root), str(os.getpid()), str(descriptor)]
    command += [str(int(entity.is_open)), entity.title, *entity.peers]
    while not stopping.is_set():
        started = time.monotonic()
        process = subprocess.Popen(command, pass_fds=(descriptor,), stdin=subprocess.DEVNULL)  # noqa: S603 — it is ours
        while process.poll() is None:
            if stopping.wait(0.1):
                process.terminate()
                try:
                    process.wait(timeout=_GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                return
        _LOG.error("the DIMSE process ended with status %d and is started again", process.returncode)
        stopping.wait(0.0 if time.monotonic() - started > _YOUNG_S else 1.0)


def associate(root: Path, listener: socket.socket, title: str, peers: Sequence[Peer], *, is_open: bool) -> None:
    """Serve associations of the home `root` until a signal ends it."""
    with open_local(root) as installation:
        server = Server(
            title,
            platform=installation.platform,
            images=installation.images,
            peers=Peers(peers, is_open=is_open),
            listener=listener,
        )
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=server.serve, name="dimse-accept", daemon=True).start()
        ended.wait()
        server.stop()


def _bound(host: str, port: int) -> socket.socket:
    """A bound socket, not listening yet."""
    if not 0 <= port <= _LAST_PORT:
        raise InvalidInput(f"a port is between 0 and {_LAST_PORT}")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise Unavailable(
            f"port {port} is in use; choose another with --dimse-port, or leave DIMSE out with --no-dimse"
        ) from None
    return listener


def main(arguments: Sequence[str]) -> None:
    """The process: ROOT PARENT DESCRIPTOR OPEN TITLE PEER..."""
    root, parent, descriptor, is_open, title, *peers = arguments
    die_with_parent(int(parent))
    log_to_stderr()
    warnings.simplefilter("ignore")  # libraries warn of values, and values are patients'
    listener = socket.socket(fileno=int(descriptor))
    associate(Path(root), listener, title, [peer_of(peer) for peer in peers], is_open=is_open == "1")


if __name__ == "__main__":
    main(sys.argv[1:])
