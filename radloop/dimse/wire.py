"""An association as the network sees it: pynetdicom's Upper Layer, woken instead of polling, and bounded everywhere.

As it comes, pynetdicom polls each association a thousand times a second from two threads, waits without end for the
rest of a PDU, and believes whatever length a PDU tells. Here both threads sleep until something happens; a PDU is read
within `Limits.pdu_bytes` and `Limits.network_s`; a message within `Limits.object_bytes`; and who sends more than one
message ahead is not read from until we have caught up. This rests on pynetdicom 3.0's inner parts, which is why
pyproject.toml pins it.

See:
    PS3.8 §9 (DICOM upper layer protocol), PS3.7 §6 (messages).
"""

import contextlib
import logging
import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol, Self, cast

from pynetdicom._globals import MODE_ACCEPTOR, MODE_REQUESTOR
from pynetdicom.acse import ACSE
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationSocket

from radloop.core.errors import RadloopError
from radloop.dimse.commands import BadMessage, data_name, read_command, write_command
from radloop.dimse.peers import Peer

_LOG = logging.getLogger("radloop.dimse")
_COMMAND_BYTES = 1 << 16
_TICK_S = 0.5
_AHEAD = 2
_QUEUED_PDUS = 64
_CANCELS = 10
_FRAGMENT = 1 << 20
_ITEM_HEADER = 6
_ABORT = bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 0])  # A-ABORT, by the service provider, no reason given (PS3.8 §9.3.8)


class TooLarge(RadloopError):
    """A message is larger than we take."""

    code = "too-large"


class Gone(RadloopError):
    """The peer ended the association, or no longer reads."""

    code = "association-gone"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one association may take.

    Attributes:
        pdu_bytes: Longest PDU we announce and take; 1 MiB, of which dcmtk uses 128 KiB.
        object_bytes: Longest data set of a message.
        acse_s: Seconds to associate in, and to answer a release.
        dimse_s: Seconds to wait for the answer to a sub-operation.
        network_s: Seconds of silence after which the association is aborted, and within which a PDU that has begun
            must have come, or gone, entirely.
    """

    pdu_bytes: int = 1 << 20
    object_bytes: int = 2 << 30
    acse_s: float = 10.0
    dimse_s: float = 60.0
    network_s: float = 60.0


TOTAL_BYTES = 4 << 30
"""Bytes of unfinished messages that all associations together may hold."""


class Services(Protocol):
    """What answers on an association."""

    def refusal(self, association: "PeerAssociation") -> tuple[int, int, int] | None:
        """Result, source and reason of the rejection (PS3.8 Table 9-21), or None to let it in."""
        ...

    def contexts(self, offered: list[PresentationContext]) -> list[PresentationContext]:
        """What is supported of the offered contexts."""
        ...

    def serve_one(self, association: "PeerAssociation", message: Any, context: PresentationContext) -> None:
        """Answer one request."""
        ...

    def leaving(self, association: "PeerAssociation") -> None:
        """The peer asked for a release, and is about to be told that it has it."""
        ...

    def ended(self, association: "PeerAssociation") -> None:
        """The association is over, however it ended."""
        ...


class Budget:
    """Bytes of messages that all associations together may hold."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._guard = threading.Lock()

    def take(self, count: int) -> bool:
        """Take `count` bytes, if there are so many."""
        with self._guard:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give_back(self, count: int) -> None:
        """Return bytes that were taken."""
        with self._guard:
            self._left += count


class BoundedAssociation(Association):
    """An association on our own upper layer."""

    def __init__(self, entity: ApplicationEntity, mode: str, limits: Limits, budget: Budget) -> None:
        super().__init__(entity, mode)
        self.limits = limits
        self.budget = budget
        self.held: deque[int] = deque()
        self.dul = _UpperLayer(self)
        self.dimse = _Messages(self)
        self.acse_timeout, self.dimse_timeout, self.network_timeout = limits.acse_s, limits.dimse_s, limits.network_s
        self.connection_timeout = limits.acse_s

    @property
    def upper_layer(self) -> "_UpperLayer":
        """Our own kind of upper layer."""
        return cast("_UpperLayer", self.dul)

    @property
    def is_alive_to_peer(self) -> bool:
        """Whether the peer is still there and has not said that it goes."""
        return self.dul.is_alive() and self.dul.peek_next_pdu() is None

    def send(self, primitive: Any, context: PresentationContext) -> None:
        """Send a message, no further ahead of the network than some PDUs.

        Raises:
            Gone: The peer is not there, or does not read.
        """
        deadline = time.monotonic() + self.limits.network_s
        while len(self.dul.to_provider_queue.queue) > _QUEUED_PDUS and self.is_alive_to_peer:
            if time.monotonic() > deadline:
                raise Gone("the peer does not read")
            time.sleep(0.001)
        if not self.is_alive_to_peer:
            raise Gone("the peer ended the association")
        self.dimse.send_msg(primitive, cast("int", context.context_id))

    def ask(self, primitive: Any, context: PresentationContext) -> Any:
        """Send a request to the peer, who is the provider of this context, and wait for its answer.

        Raises:
            Gone: None came.
        """
        self.send(primitive, context)
        deadline = time.monotonic() + self.limits.dimse_s
        while self.is_alive_to_peer and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                _, answer = self.dimse.msg_queue.get(timeout=_TICK_S)
                self.upper_layer.wake()
                if answer is None:
                    continue
                self.release_bytes(answer)
                if answer.MessageIDBeingRespondedTo == primitive.MessageID:
                    return answer
        raise Gone("the peer did not answer a sub-operation")

    def release_bytes(self, message: Any) -> None:
        """This message, the oldest there is, is no longer held."""
        if self.held and _data_bytes(message):
            self.budget.give_back(self.held.popleft())

    def end(self) -> None:
        """Let go of everything."""
        self.is_established = False
        self.upper_layer.stop()
        while self.held:
            self.budget.give_back(self.held.popleft())


class OwnAssociation(BoundedAssociation):
    """An association that we ask a peer for; its caller sends and asks, and no thread serves requests on it."""

    def __init__(
        self,
        entity: ApplicationEntity,
        peer: Peer,
        contexts: Sequence[PresentationContext],
        limits: Limits,
        budget: Budget,
    ) -> None:
        super().__init__(entity, MODE_REQUESTOR, limits, budget)
        try:
            family, _, _, _, address = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError):
            raise Gone("the address of the peer is not known") from None
        local = AddressInformation("0.0.0.0" if family == socket.AF_INET else "::", 0)  # noqa: S104 — the outgoing end
        self.set_socket(_Connection(self, None, local))
        self.acceptor.ae_title = peer.title
        self.acceptor.address_info = AddressInformation.from_tuple(cast("Any", address))
        self.requestor.address_info = local
        self.requestor.ae_title = entity.ae_title
        self.requestor.maximum_length = limits.pdu_bytes
        self.requestor.implementation_class_uid = entity.implementation_class_uid
        self.requestor.implementation_version_name = entity.implementation_version_name
        for place, context in enumerate(contexts):
            context.context_id = 2 * place + 1
        self.requestor.requested_contexts = list(contexts)
        self._is_paused = True

    def __enter__(self) -> Self:
        """Associate.

        Raises:
            Gone: The peer is not there, or does not want to.
        """
        self.request()
        if not self.is_established:
            self.end()
            raise Gone("the peer did not agree to an association")
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_alive_to_peer:
            self.release()
        self.end()


class PeerAssociation(BoundedAssociation):
    """An association that a peer asked for."""

    def __init__(
        self,
        entity: ApplicationEntity,
        connection: socket.socket,
        address: Any,
        *,
        services: Services,
        limits: Limits,
        budget: Budget,
    ) -> None:
        super().__init__(entity, MODE_ACCEPTOR, limits, budget)
        self.services = services
        self.facts: dict[str, Any] = {}
        self.acse = _Negotiation(self)
        self.set_socket(_Connection(self, connection))
        self.acceptor.maximum_length = limits.pdu_bytes
        self.acceptor.ae_title = entity.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(connection.getsockname())
        self.acceptor.implementation_class_uid = entity.implementation_class_uid
        self.acceptor.implementation_version_name = entity.implementation_version_name
        self.requestor.address_info = AddressInformation.from_tuple(address)
        self.name = "dimse-association"

    def run_reactor(self) -> None:
        """The life of the association; nothing that goes wrong in it reaches further."""
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 — the outermost loop of an association
            _LOG.warning("an association ended with %s", type(error).__name__)
        finally:
            self.end()
            self.services.ended(self)

    def _run_reactor(self) -> None:
        """Serve requests until the peer goes; see `Association._run_reactor`, which polls."""
        while not self._kill:
            context_id, message = self._next_message()
            self.upper_layer.wake()  # there is room again
            if message is not None:
                self._serve_request(message, cast("int", context_id))
            elif self.acse.is_release_requested():
                self.services.leaving(self)
                self.acse.send_release(is_response=True)
                self.is_released, self.is_established = True, False
                self.kill()
            elif self.acse.is_aborted() or not self.dul.is_alive():
                self.is_aborted, self.is_established = True, False
                self.kill()
            elif self.dul.idle_timer_expired():
                self.abort()

    def _next_message(self) -> tuple[Any, Any]:
        """The next message, waiting for it while the peer is there; what was queued before it left still counts."""
        try:
            return self.dimse.msg_queue.get(block=self.is_alive_to_peer, timeout=_TICK_S)
        except queue.Empty:
            return None, None

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Answer one request; see `Association._serve_request`, which looks at the request's class, not its context."""
        context = self._accepted_cx.get(context_id)
        if context is None or not msg.is_valid_request:
            self.abort()
            return
        self.dimse.cancel_req = {}
        try:
            self.services.serve_one(self, msg, context)
        except Gone:
            self.abort()
        finally:
            self.release_bytes(msg)
            self.dimse.cancel_req = {}
            self.dul._idle_timer.restart()  # noqa: SLF001 — a long answer is no silence of the peer

    def is_cancelled(self, message_id: int) -> bool:
        """Whether the peer asked to stop answering this message."""
        return self.dimse.cancel_req.pop(message_id, None) is not None


class _Negotiation(ACSE):
    """Asks the services before anything is agreed to."""

    def _negotiate_as_acceptor(self) -> None:
        association = cast("PeerAssociation", self.assoc)
        request = association.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):
            association.kill()
            return
        refusal = association.services.refusal(association)
        if refusal is not None:
            self.send_reject(*refusal)
            association.kill()
            return
        offered = request.presentation_context_definition_list
        association.acceptor._contexts = association.services.contexts(offered)  # noqa: SLF001 — not copied, not checked
        super()._negotiate_as_acceptor()


class _UpperLayer(DULServiceProvider):
    """The state machine of PS3.8 §9.2, asleep until the peer or we have something to say."""

    def __init__(self, association: BoundedAssociation) -> None:
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
            cast("_Connection", self.socket).send(_ABORT)
        self._kill_thread = True
        self.wake()

    def stop(self) -> None:
        """End the thread and close the connection."""
        self._kill_thread = True
        self.wake()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout=self.assoc.network_timeout)
        connection = cast("_Connection", self.socket)
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
                connection = cast("_Connection", self.socket)
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
        connection = cast("_Connection", self.socket)
        if connection.socket is not None and not connection.is_ahead:
            poll.register(connection.socket, select.POLLIN)
        poll.poll(_TICK_S * 1000)
        with contextlib.suppress(OSError):
            self._ear.recv(4096)


class _Telling(queue.Queue[Any]):
    """The upper layer's word to the association, which sleeps at its message queue."""

    def __init__(self, layer: _UpperLayer) -> None:
        super().__init__()
        self._layer = layer

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """See `queue.Queue.put`."""
        super().put(item, block, timeout)
        self._layer.assoc.dimse.msg_queue.put((None, None))


class _Connection(AssociationSocket):
    """The TCP connection of an association: no delays, and nothing that lasts for ever."""

    def __init__(
        self,
        association: BoundedAssociation,
        connection: socket.socket | None,
        local: AddressInformation | None = None,
    ) -> None:
        super().__init__(association, client_socket=connection, address=local)
        cast("socket.socket", self.socket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

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
        limits = cast("BoundedAssociation", self.assoc).limits
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
        del data[done:]
        return data

    def send(self, bytestream: bytes) -> None:
        """Send a PDU, or close the connection where the peer does not take it in time."""
        try:
            connection = cast("socket.socket", self.socket)
            connection.settimeout(cast("BoundedAssociation", self.assoc).limits.network_s)
            connection.sendall(bytestream)
        except (OSError, AttributeError):
            self.event_queue.put("Evt17")


class _Messages(DIMSEServiceProvider):
    """Puts messages together, as far as we are willing to hold them."""

    _primitive: Any = None
    _command = b""
    _data = BytesIO()
    _data_bytes = 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """See `DIMSEServiceProvider.receive_primitive`.

        Raises:
            TooLarge: The message is larger than we take; the association ends.
            BadMessage: It is none.
        """
        for context_id, value in primitive.presentation_data_value_list:
            if not value:
                raise BadMessage("a presentation data value without its control header")
            if value[0] & 1:
                self._receive_command(value, context_id)
            elif self._primitive is None:
                raise BadMessage("a data set without a command")
            else:
                self._hold(len(value) - 1)
                self._data.write(memoryview(value)[1:])
                if value[0] & 2:
                    self._finish()

    def _receive_command(self, value: bytes, context_id: int) -> None:
        self._command += value[1:]
        if self._primitive is not None or len(self._command) > _COMMAND_BYTES:
            raise BadMessage("a command inside another, or without an end")
        if value[0] & 2:
            self._primitive, has_data = read_command(self._command)
            self._primitive._context_id = context_id  # noqa: SLF001 — as pynetdicom does
            self._command, self._data, self._data_bytes = b"", BytesIO(), 0
            if not has_data:
                self._finish()

    def _finish(self) -> None:
        """Hand a whole message on; a C-CANCEL does not queue behind what it is to cancel."""
        message, self._primitive = self._primitive, None
        data, self._data = self._data, BytesIO()
        name = data_name(message)
        if name is not None:
            setattr(message, name, data)
        if not isinstance(message, C_CANCEL):
            self.msg_queue.put((message._context_id, message))  # noqa: SLF001 — set above
        elif len(self.cancel_req) < _CANCELS:
            self.cancel_req[int(message.MessageIDBeingRespondedTo or 0)] = message

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """See `DIMSEServiceProvider.send_msg`."""
        name = data_name(primitive)
        data = None if name is None else getattr(primitive, name)
        view = memoryview(b"" if data is None else data.getvalue())
        command = memoryview(write_command(primitive, has_data_set=bool(view)))
        room = (self.maximum_pdu_size or _FRAGMENT) - _ITEM_HEADER
        for kind, content in ((1, command), (0, view)):
            for start in range(0, len(content), room):
                fragment = content[start : start + room]
                control = kind | (2 if start + room >= len(content) else 0)
                pdu = P_DATA()
                pdu.presentation_data_value_list.append((context_id, b"".join((bytes([control]), fragment))))
                self.dul.send_pdu(pdu)

    def _hold(self, count: int) -> None:
        """Account for bytes of a data set."""
        association = cast("BoundedAssociation", self.assoc)
        if self._data_bytes + count > association.limits.object_bytes:
            raise TooLarge("the message is larger than we take")
        if not association.budget.take(count):
            raise TooLarge("all associations together hold as much as they may")
        if not self._data_bytes and count:
            association.held.append(0)
        if count:
            association.held[-1] += count
        self._data_bytes += count


def _data_bytes(message: Any) -> int:
    """Length of the data set that came with a message."""
    for name in ("DataSet", "Identifier"):
        data = getattr(message, name, None)
        if isinstance(data, BytesIO):
            return data.getbuffer().nbytes
    return 0
