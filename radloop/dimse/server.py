"""The DIMSE server: accepts connections, decides who may associate, and hands requests to what answers them."""

import contextlib
import logging
import select
import socket
import threading
import time
from typing import Any, cast

from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_GET, C_MOVE, C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from radloop.core.errors import Unavailable
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry
from radloop.dicom.header import VERSION_NAME
from radloop.dicom.make import IMPLEMENTATION
from radloop.dimse.association import PeerAssociation
from radloop.dimse.contexts import FIND, GET, MOVE, VERIFICATION, contexts_for, is_storage
from radloop.dimse.exchange import Exchange, outcome_of
from radloop.dimse.find import answer_find
from radloop.dimse.limits import TOTAL_BYTES, Budget, Limits
from radloop.dimse.peers import Peers, principal_of
from radloop.dimse.retrieve import answer_get, answer_move
from radloop.dimse.store import SUCCESS, Intake, Sent, store
from radloop.monitoring.associations import AssociationMeter
from radloop.store.images import ImageStore

_LOG = logging.getLogger("radloop.dimse")

NO_REASON = (1, 1, 1)
CALLING_NOT_RECOGNISED = (1, 1, 3)
CALLED_NOT_RECOGNISED = (1, 1, 7)
CONGESTED = (2, 3, 1)
LIMIT_EXCEEDED = (2, 3, 2)
NO_SUCH_SOP_CLASS = 0x0122

_STRANGERS = 4
_UNKNOWN = "calling AE title or address not known; name it by --peer, or in peers of settings.toml"
_SHORTEST_PDU = 1024
_BEFORE_AGREEMENT = 8
_BACKLOG = 128
_GRACE_S = 5.0


class Server:
    """One application entity of ours.

    Args:
        title: Its AE title; whoever calls another is rejected.
        platform: The ports.
        images: The store.
        peers: Who may associate, and where to move instances to.
        listener: A bound socket.
        meter: Counts what goes on.
        limits: What one association may take.
    """

    def __init__(
        self,
        title: str,
        *,
        platform: Platform,
        images: ImageStore,
        peers: Peers,
        listener: socket.socket,
        meter: AssociationMeter,
        limits: Limits | None = None,
    ) -> None:
        self._title = title
        self._platform = platform
        self._images = images
        self._peers = peers
        self._listener = listener
        listener.listen(_BACKLOG)
        self._meter = meter
        self._limits = limits or Limits()
        self._most = platform.settings.dimse_associations
        self._entity = ApplicationEntity(title)
        self._entity.implementation_class_uid = IMPLEMENTATION
        self._entity.implementation_version_name = VERSION_NAME
        self._entity.maximum_associations = 1 << 30  # pynetdicom counts strangers, too; we count what was agreed to
        self._intake = Intake(platform)
        self._budget = Budget(TOTAL_BYTES)
        self._guard = threading.Lock()
        self._open: set[PeerAssociation] = set()
        self._agreed: set[PeerAssociation] = set()
        self._stopping = threading.Event()
        self._ear, self._bell = socket.socketpair()

    @property
    def associations(self) -> int:
        """Associations that are agreed to now."""
        with self._guard:
            return len(self._agreed)

    def serve(self, idle_s: float | None = None) -> None:
        """Accept connections until `stop` is called, or nobody has been connected for `idle_s` seconds.

        Who calls after that is not accepted here and waits at the listener, which may be another process's, too.
        """
        wait_ms, quiet_since = None if idle_s is None else 1000 * idle_s / 4, time.monotonic()
        with self._ear, self._listener:
            self._listener.setblocking(False)  # who called may have gone again
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            poll.register(self._ear, select.POLLIN)
            while True:
                called = poll.poll(wait_ms)
                if self._stopping.is_set():
                    return
                if called or self._associations():
                    quiet_since = time.monotonic()
                elif idle_s is not None and time.monotonic() - quiet_since >= idle_s:
                    return
                if not called:
                    continue
                try:
                    connection, address = self._listener.accept()
                    connection.setblocking(True)
                except BlockingIOError:
                    continue
                except OSError:
                    time.sleep(0.1)  # out of descriptors, perhaps: somebody will go
                    continue
                self._admit(connection, address)

    def stop(self) -> None:
        """Take no more connections, let what is under way end, and end the rest."""
        self._stopping.set()
        self._bell.close()  # wakes `serve`; the listener may be another process's, too, and is not shut for it
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and any(each.facts.get("is_busy") for each in self._associations()):
            time.sleep(0.02)
        leaving = self._associations()
        for association in leaving:
            association.upper_layer.leave()
        for association in leaving:
            association.join(timeout=max(0.1, deadline - time.monotonic()))
        self._intake.close()

    # Connections

    def _associations(self) -> list[PeerAssociation]:
        with self._guard:
            return list(self._open)

    def _admit(self, connection: socket.socket, address: Any) -> None:
        """Begin an association, unless there are too many; strangers cannot keep those we know out."""
        is_known = self._peers.is_known_address(str(address[0]))
        with self._guard:
            strangers = sum(not each.facts["is_known"] for each in self._open)
            known = len(self._open) - strangers
            has_room = known < self._most + _BEFORE_AGREEMENT if is_known else strangers < _STRANGERS
        if not has_room:
            connection.close()
            return
        try:
            association = PeerAssociation(
                self._entity,
                connection,
                address,
                services=self,
                limits=self._limits,
                budget=self._budget,
                traffic=self._meter,
            )
        except OSError:
            connection.close()
            return
        association.facts.update(is_known=is_known, address=str(address[0]))
        with self._guard:
            self._open.add(association)
        association.start()

    # What an association asks of us

    def refusal(self, association: PeerAssociation) -> tuple[int, int, int] | None:
        """See `Services.refusal`."""
        request = cast("A_ASSOCIATE", association.requestor.primitive)
        calling = str(request.calling_ae_title).strip(" ")
        principal = self._peers.caller(calling, association.facts["address"])
        if principal is None:
            return self._rejected(association, CALLING_NOT_RECOGNISED, "unknown-caller", _UNKNOWN)
        if str(request.called_ae_title).strip(" ") != self._title:
            return self._rejected(association, CALLED_NOT_RECOGNISED, "wrong-title", "another AE title was called")
        if 0 < (association.requestor.maximum_length or 0) < _SHORTEST_PDU:
            return self._rejected(association, NO_REASON, "tiny-pdus", "its PDUs hold next to nothing")
        with self._guard:
            if len(self._agreed) >= self._most or self._stopping.is_set():
                refusal = LIMIT_EXCEEDED
            else:
                refusal = None
                self._agreed.add(association)
        if refusal is not None:
            return self._rejected(association, refusal, "too-many", "as many associations as are allowed")
        association.facts.update(principal=principal, calling=calling, counts={})
        try:
            self._platform.audit.record(AuditEntry(principal.id, "associate", "dimse"))
        except Unavailable:
            return self._rejected(association, CONGESTED, "no-audit", "the audit cannot be written")
        self._meter.association("accepted")
        association.facts["is_accepted"] = True
        return None

    def _rejected(
        self, association: PeerAssociation, refusal: tuple[int, int, int], code: str, why: str
    ) -> tuple[int, int, int]:
        """Count and log a rejection. A stranger's own words go no further."""
        principal = principal_of("known-address" if association.facts["is_known"] else "stranger")
        with contextlib.suppress(Unavailable):
            self._platform.audit.count(principal, "associate-refused", "dimse")
        self._meter.refused(code)
        _LOG.warning("an association from %s was rejected: %s", association.facts["address"], why)
        return refusal

    def contexts(self, offered: list[PresentationContext]) -> list[PresentationContext]:
        """See `Services.contexts`."""
        return contexts_for(str(context.abstract_syntax) for context in offered)

    def leaving(self, association: PeerAssociation) -> None:
        """See `Services.leaving`: who releases and calls again at once finds its place free."""
        with self._guard:
            self._agreed.discard(association)

    def ended(self, association: PeerAssociation) -> None:
        """See `Services.ended`."""
        with self._guard:
            self._open.discard(association)
            self._agreed.discard(association)
        if association.facts.get("is_accepted"):
            self._meter.association("released" if association.is_released else "cut-off")
        counts = association.facts.get("counts")
        if counts is not None:
            told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing asked"
            how = "released" if association.is_released else "cut off"
            _LOG.info("association of %s %s: %s", association.facts["principal"].id, how, told)

    def serve_one(self, association: PeerAssociation, message: Any, context: PresentationContext) -> None:
        """See `Services.serve_one`: a request is answered by what its context was agreed for."""
        if self._stopping.is_set():
            association.abort()
            return
        association.facts.update(is_busy=True, status=None)
        try:
            self._answer(Exchange(association, message, context, self._platform, self._images, self._meter))
        finally:
            operation = type(message).__name__.replace("_", "-")
            self._meter.operation(operation, outcome_of(association.facts["status"]))
            association.facts["is_busy"] = False

    def _answer(self, exchange: Exchange) -> None:
        syntax = str(exchange.context.abstract_syntax)
        match exchange.request:
            case C_ECHO() if syntax == VERIFICATION:
                _count(exchange, "C-ECHO")
                exchange.respond(SUCCESS)
            case C_STORE() if is_storage(syntax):
                self._store(exchange)
            case C_FIND() if syntax in FIND:
                _count(exchange, "C-FIND")
                answer_find(exchange, FIND[syntax], self._title)
            case C_GET() if syntax in GET:
                _count(exchange, "C-GET")
                answer_get(exchange, GET[syntax])
            case C_MOVE() if syntax in MOVE:
                _count(exchange, "C-MOVE")
                answer_move(exchange, MOVE[syntax], self._peers)
            case C_ECHO() | C_STORE() | C_FIND() | C_GET() | C_MOVE():
                exchange.respond(NO_SUCH_SOP_CLASS)
            case _:
                exchange.association.abort()

    def _store(self, exchange: Exchange) -> None:
        request = exchange.request
        sent = Sent(
            sop_class=str(request.AffectedSOPClassUID),
            sop_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax=exchange.syntax,
            source=exchange.association.facts["calling"],
            data_set=exchange.data("DataSet").getvalue(),
        )
        answer = store(sent, exchange.principal, self._platform, self._images, self._intake)
        _count(exchange, "C-STORE" if answer.status == SUCCESS else f"C-STORE {answer.status:04X}")
        named = {"AffectedSOPInstanceUID": request.AffectedSOPInstanceUID}
        exchange.respond(answer.status, comment=answer.comment, values=named)


def _count(exchange: Exchange, name: str) -> None:
    counts = exchange.association.facts["counts"]
    counts[name] = counts.get(name, 0) + 1
