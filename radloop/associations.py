"""The DIMSE door of one home: a child of `radloop up`, beside the HTTP doors and the worker.

The port stays bound in the parent, and the child comes with the first call and goes when nobody has called for a
while: a house without scanners pays nothing for it. Who calls while the child is started, for the first time or again,
waits, and is not refused.
"""

import signal
import socket
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radloop.core.contracts import contracts
from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.settings import Settings
from radloop.dimse.peers import Peers, peer_of, title_of
from radloop.local.processes import give_back_memory, keep_freed_memory
from radloop.monitoring.associations import AssociationMeter
from radloop.monitoring.logs import log_to_stderr
from radloop.monitoring.metrics import load_metrics
from radloop.wiring import open_local

DEFAULT_PORT = 11112
"""The registered port of DICOM without root's rights."""

_LAST_PORT = 65535
_IDLE_S = 3.0


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


def associate(root: Path, entity: Entity) -> None:
    """Serve associations of the home `root` until SIGTERM, or until nobody has been connected for a while."""
    from radloop.dimse.server import Server  # noqa: PLC0415 — with pynetdicom, which no other process needs

    log_to_stderr()
    warnings.simplefilter("ignore")  # libraries warn of values, and values are patients'
    keep_freed_memory()
    give_back_memory()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with open_local(root) as installation:
        installation.keep_logs()
        server = Server(
            entity.title,
            platform=installation.platform,
            images=installation.images,
            peers=Peers([peer_of(peer) for peer in entity.peers], is_open=entity.is_open),
            listener=entity.listener,
            meter=AssociationMeter(load_metrics((contracts() / "metrics.json").read_text())),
        )

        def accept() -> None:
            try:
                server.serve(_IDLE_S)
            finally:
                ended.set()

        threading.Thread(target=accept, name="dimse-accept", daemon=True).start()
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
