"""Associations on pynetdicom's Upper Layer: asked for by a peer, or by us, and bounded everywhere.

As it comes, pynetdicom polls each association a thousand times a second from two threads, and takes whatever it is
sent. Here both threads sleep until something happens; a message is taken within `Limits.object_bytes`; and who sends
more than one message ahead is not read from until we have caught up. This rests on pynetdicom 3.0's inner parts,
which is why pyproject.toml pins it.

See:
    PS3.8 §9 (DICOM upper layer protocol), PS3.7 §6 (messages).
"""

import contextlib
import logging
import queue
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol, Self, cast

from pynetdicom._globals import MODE_ACCEPTOR, MODE_REQUESTOR
from pynetdicom.acse import ACSE
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation

from radloop.core.errors import RadloopError
from radloop.dimse.limits import Budget, Limits, Traffic
from radloop.dimse.messages import Messages, data_bytes
from radloop.dimse.peers import Peer
from radloop.dimse.upper_layer import TICK_S, Connection, UpperLayer

_LOG = logging.getLogger("radloop.dimse")
_QUEUED_PDUS = 64


class Gone(RadloopError):
    """The peer ended the association, or no longer reads."""

    code = "association-gone"


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


class BoundedAssociation(Association):
    """An association on our own upper layer."""

    def __init__(
        self, entity: ApplicationEntity, mode: str, *, limits: Limits, budget: Budget, traffic: Traffic
    ) -> None:
        super().__init__(entity, mode)
        self.limits = limits
        self.budget = budget
        self.traffic = traffic
        self.held: deque[int] = deque()
        self.dul = UpperLayer(self)
        self.dimse = Messages(self)
        self.acse_timeout, self.dimse_timeout, self.network_timeout = limits.acse_s, limits.dimse_s, limits.network_s
        self.connection_timeout = limits.acse_s

    @property
    def upper_layer(self) -> UpperLayer:
        """Our own kind of upper layer."""
        return cast("UpperLayer", self.dul)

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
                _, answer = self.dimse.msg_queue.get(timeout=TICK_S)
                self.upper_layer.wake()
                if answer is None:
                    continue
                self.release_bytes(answer)
                if answer.MessageIDBeingRespondedTo == primitive.MessageID:
                    return answer
        raise Gone("the peer did not answer a sub-operation")

    def release_bytes(self, message: Any) -> None:
        """This message, the oldest there is, is no longer held."""
        if self.held and data_bytes(message):
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
        *,
        limits: Limits,
        budget: Budget,
        traffic: Traffic,
    ) -> None:
        super().__init__(entity, MODE_REQUESTOR, limits=limits, budget=budget, traffic=traffic)
        try:
            family, _, _, _, address = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError):
            raise Gone("the address of the peer is not known") from None
        local = AddressInformation("0.0.0.0" if family == socket.AF_INET else "::", 0)  # noqa: S104 — the outgoing end
        self.set_socket(Connection(self, None, local))
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
        traffic: Traffic,
    ) -> None:
        super().__init__(entity, MODE_ACCEPTOR, limits=limits, budget=budget, traffic=traffic)
        self.services = services
        self.facts: dict[str, Any] = {}
        self.acse = _Negotiation(self)
        self.set_socket(Connection(self, connection))
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
            return self.dimse.msg_queue.get(block=self.is_alive_to_peer, timeout=TICK_S)
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
