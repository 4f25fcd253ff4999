"""The upper layer of an association, woken instead of polling, on a connection where nothing lasts for ever.

pynetdicom polls each association a thousand times a second, waits without end for the rest of a PDU, and believes
whatever length a PDU tells. Here the thread sleeps until something happens, and a PDU is read within
`Limits.pdu_bytes` and `Limits.network_s`.

See:
    PS3.8 §9 (DICOM upper layer protocol).
"""

import contextlib
import logging
import queue
import select
import socket
import threading
import time
from typing import Any, cast

from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import AddressInformation, AssociationSocket

from radloop.dimse.limits import Bounded

_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
_LOG = logging.getLogger("radloop.dimse")
_AHEAD = 2
_ABORT = bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 0])  # A-ABORT, by the service provider, no reason given (PS3.8 §9.3.8)
TICK_S = 0.5
"""Seconds after which whoever sleeps looks at the timers."""


class UpperLayer(DULServiceProvider):
    """The state machine of PS3.8 §9.2, asleep until the peer or we have something to say."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.daemon = True
        self.name = "dimse-upper-layer"
        self.to_user_queue = _Telling(self)
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)

    def wake(self) -> None:
        """Look again at what there is to do."""
        with contextlib.suppress(OSError):  # full: awake already; closed: nothing to do
            self._bell.send(b"\0")

    def leave(self) -> None:
        """End the association from our side: the peer gets an A-ABORT."""
        with contextlib.suppress(Exception):
            cast("Connection", self.socket).send(_ABORT)
        self._kill_thread = True
        self.wake()

    def stop(self) -> None:
        """End the thread and close the connection."""
        self._kill_thread = True
        self.wake()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout=self.assoc.network_timeout)
        connection = cast("Connection", self.socket)
        if connection is not None and connection.socket is not None:
            connection._shutdown_socket()  # noqa: SLF001 — as pynetdicom ends it
        self._ear.close()
        self._bell.close()

    def send_pdu(self, primitive: Any) -> None:
        """See `DULServiceProvider.send_pdu`."""
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        """See `DULServiceProvider.kill_dul`."""
        super().kill_dul()
        self.wake()

    def stop_dul(self) -> bool:
        """See `DULServiceProvider.stop_dul`."""
        if self.state_machine.current_state == "Sta1":
            self._kill_thread = True
            self.wake()
        return super().stop_dul()

    def run_reactor(self) -> None:
        """Run until told to stop; see `DULServiceProvider.run_reactor`, which polls."""
        self._idle_timer.start()
        self.assoc._dul_ready.set()  # noqa: SLF001 — the association waits for it
        try:
            while not self._kill_thread:
                self._step()
        except Exception as error:  # noqa: BLE001 — a hostile peer must not end more than its association
            _LOG.warning("an association was cut off: %s", type(error).__name__)
            with contextlib.suppress(Exception):
                connection = cast("Connection", self.socket)
                connection.send(_ABORT)
                connection._shutdown_socket()  # noqa: SLF001 — as pynetdicom ends it
        finally:
            self._kill_thread = True
            self.assoc.dimse.msg_queue.put((None, None))
            cast("_Telling", self.to_user_queue).put(None)  # who waits for an answer gets none

    def _step(self) -> None:
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        if not self._process_recv_primitive() and self._is_transport_event():
            self._idle_timer.restart()
        try:
            event = self.event_queue.get_nowait()
        except queue.Empty:
            self._sleep()
            return
        self.state_machine.do_action(event)

    def _sleep(self) -> None:
        """Until the peer sends, somebody calls `wake`, or it is time to look at the timers."""
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        connection = cast("Connection", self.socket)
        if connection.socket is not None and not connection.is_ahead:
            poll.register(connection.socket, select.POLLIN)
        poll.poll(TICK_S * 1000)
        with contextlib.suppress(OSError):
            self._ear.recv(4096)


class _Telling(queue.Queue[Any]):
    """The upper layer's word to the association, which sleeps at its message queue."""

    def __init__(self, layer: UpperLayer) -> None:
        super().__init__()
        self._layer = layer

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """See `queue.Queue.put`."""
        super().put(item, block, timeout)
        self._layer.assoc.dimse.msg_queue.put((None, None))


class Connection(AssociationSocket):
    """The TCP connection of an association: no delays, and nothing that lasts for ever."""

    def __init__(
        self,
        association: Association,
        connection: socket.socket | None,
        local: AddressInformation | None = None,
    ) -> None:
        super().__init__(association, client_socket=connection, address=local)
        cast("socket.socket", self.socket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def _bounded(self) -> Bounded:
        return cast("Bounded", self.assoc)

    def _shutdown_socket(self) -> None:
        """See `AssociationSocket._shutdown_socket`, which leaves open what the peer closed first."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    @property
    def is_ahead(self) -> bool:
        """Whether the peer sent more than we have looked at; then it has to wait."""
        return self.assoc.dimse.msg_queue.qsize() >= _AHEAD

    @property
    def ready(self) -> bool:
        """See `AssociationSocket.ready`."""
        if self.socket is None or not self._is_connected or self.is_ahead:
            return False
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """`nr_bytes` of the peer, or fewer where it closed the connection.

        Raises:
            TimeoutError: They did not come in time.
            OSError: The connection broke, or the peer announced a PDU longer than we take.
        """
        limits = self._bounded.limits
        if nr_bytes > limits.pdu_bytes:
            raise OSError("the PDU is longer than we announced to take")
        connection = cast("socket.socket", self.socket)
        seconds = limits.network_s if self.assoc.is_established else limits.acse_s
        deadline = time.monotonic() + seconds
        data = bytearray(nr_bytes)
        view, done = memoryview(data), 0
        try:
            while done < nr_bytes:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                connection.settimeout(left)
                count = connection.recv_into(view[done:])
                if not count:
                    break
                done += count
        finally:
            view.release()
            self._bounded.traffic.received(done)
        del data[done:]
        return data

    def send(self, bytestream: bytes) -> None:
        """Send a PDU, or close the connection where the peer does not take it in time."""
        try:
            connection = cast("socket.socket", self.socket)
            connection.settimeout(self._bounded.limits.network_s)
            connection.sendall(bytestream)
            self._bounded.traffic.sent(len(bytestream))
        except (OSError, AttributeError):
            self.event_queue.put("Evt17")
