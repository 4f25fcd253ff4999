"""C-GET and C-MOVE: instances go out by C-STORE sub-operations, in the very bytes they came in where those are taken.

See:
    PS3.4 §C.4.2 (C-MOVE), §C.4.3 (C-GET), §C.4.2.1.5 and §C.4.3.1.4 (statuses and counts).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice

from pydicom.uid import UID
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext

from radloop.core.errors import Denied, InvalidInput, RadloopError
from radloop.core.ports import AuditEntry, Records
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, INSTANCES, image_set_of
from radloop.dicom.elements import EXPLICIT_LE, IMPLICIT_LE
from radloop.dicom.header import data_set_start
from radloop.dicom.identifiers import read_identifier, write_identifier
from radloop.dimse.association import BoundedAssociation, Gone, OwnAssociation
from radloop.dimse.exchange import Exchange, outcome_of
from radloop.dimse.find import UNIQUE, Query, query_of
from radloop.dimse.peers import Peer, Peers
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.search import LEVELS, Search, find
from radloop.store.transcoding import MADE, can_make, transcoded

SUCCESS, PENDING, CANCELLED = 0x0000, 0xFF00, 0xFE00
NOT_AUTHORIZED = 0x0124
NO_MATCHES_COUNTED, NO_SUB_OPERATIONS, UNKNOWN_DESTINATION = 0xA701, 0xA702, 0xA801
DOES_NOT_MATCH, SOME_FAILED, UNABLE = 0xA900, 0xB000, 0xC001

FAILED_UIDS = 0x00080058
MOST_INSTANCES = 0xFFFF
"""Counts of sub-operations are 16 bits."""

_LISTED = 500
_CONTEXTS = 126
_WARNINGS = (0xB000, 0xBFFF)
_PREFERRED = (EXPLICIT_LE, IMPLICIT_LE)
_OTHERS = tuple(sorted(MADE - set(_PREFERRED)))


@dataclass(slots=True)
class Tally:
    """How far the sub-operations have come."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warned: int = 0
    failed_uids: list[str] = field(default_factory=list)

    def count(self, status: int | None, sop_uid: str) -> None:
        """Note the end of one sub-operation; None where it could not even be tried."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status is not None and _WARNINGS[0] <= status <= _WARNINGS[1]:
            self.warned += 1
        else:
            self.failed += 1
            self.failed_uids.append(sop_uid)

    def counts(self, *, with_remaining: bool) -> dict[str, int]:
        """What a response tells of it."""
        told = {
            "NumberOfCompletedSuboperations": self.completed,
            "NumberOfFailedSuboperations": self.failed,
            "NumberOfWarningSuboperations": self.warned,
        }
        return {"NumberOfRemainingSuboperations": self.remaining, **told} if with_remaining else told

    @property
    def status(self) -> int:
        """Of the final response, where nothing remains."""
        if not self.failed and not self.warned:
            return SUCCESS
        return SOME_FAILED if self.completed or self.warned else NO_SUB_OPERATIONS


class _TooMany(InvalidInput):
    """More instances match than a response can count."""

    code = "too-many-instances"


def answer_get(exchange: Exchange, root: str) -> None:
    """Answer a C-GET request: instances come over the association that asks.

    Raises:
        Gone: The peer went away meanwhile.
    """
    instances = _candidates(exchange, root)
    if instances is not None:
        tally = Tally(len(instances))
        is_whole = _send_all(exchange, instances, tally, exchange.association, None)
        _conclude(exchange, tally, is_whole=is_whole)


def answer_move(exchange: Exchange, root: str, peers: Peers) -> None:
    """Answer a C-MOVE request: instances go to a peer we know, over associations of our own.

    Raises:
        Gone: The peer that asks went away meanwhile.
    """
    destination = peers.destination(str(exchange.request.MoveDestination or ""))
    if destination is None:
        exchange.respond(UNKNOWN_DESTINATION, comment="unknown-destination")
        return
    instances = _candidates(exchange, root)
    if instances is None:
        return
    exchange.platform.audit.record(AuditEntry(exchange.principal.id, "move", f"ae:{destination.title}"))
    tally = Tally(len(instances))
    is_whole = all(_carry(exchange, group, tally, destination) for group in _groups(instances))
    _conclude(exchange, tally, is_whole=is_whole)


def _candidates(exchange: Exchange, root: str) -> list[StoredInstance] | None:
    """What is to be sent; None where the request had to be refused, which is done."""
    try:
        exchange.platform.policy.demand(exchange.principal, "image.export")
        identifier = read_identifier(exchange.data("Identifier").getvalue(), exchange.syntax)
        return _instances(query_of(identifier, root), exchange)
    except Denied as error:
        exchange.respond(NOT_AUTHORIZED, comment=error.code)
    except _TooMany as error:
        exchange.respond(NO_MATCHES_COUNTED, comment=error.code)
    except InvalidInput as error:
        exchange.respond(DOES_NOT_MATCH, comment=error.code)
    except RadloopError as error:
        exchange.respond(UNABLE, comment=error.code)
    return None


def _conclude(exchange: Exchange, tally: Tally, *, is_whole: bool) -> None:
    """The final response."""
    status = tally.status if is_whole else CANCELLED
    failed = None if status == SUCCESS else write_identifier({FAILED_UIDS: tally.failed_uids}, exchange.syntax)
    exchange.respond(status, failed, values=tally.counts(with_remaining=not is_whole))


def _send_all(
    exchange: Exchange,
    instances: Iterable[StoredInstance],
    tally: Tally,
    carrier: BoundedAssociation,
    originator: tuple[str, int] | None,
) -> bool:
    """Send instances over `carrier`, telling the progress; False where the peer cancelled."""
    contexts = [context for context in carrier._accepted_cx.values() if context.as_scu]  # noqa: SLF001 — by id
    for number, instance in enumerate(instances, 1):
        if exchange.is_cancelled:
            return False
        message = _sub_operation(exchange, instance, contexts, number)
        status = None
        if message is not None:
            request, context = message
            if originator is not None:
                request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = originator
            status = carrier.ask(request, context).Status
        tally.count(status, instance.sop_uid)
        exchange.meter.operation("C-STORE-SENT", outcome_of(status))
        if tally.remaining:
            exchange.respond(PENDING, values=tally.counts(with_remaining=True))
    return True


def _sub_operation(
    exchange: Exchange, instance: StoredInstance, contexts: Sequence[PresentationContext], number: int
) -> tuple[C_STORE, PresentationContext] | None:
    """The request that sends one instance, and the context to send it in; None where that cannot be done."""
    context = _context_for(instance, contexts)
    if context is None:
        return None
    try:
        data = transcoded(exchange.images.export(instance), str(context.transfer_syntax[0]))
        _, start = data_set_start(data)
    except RadloopError:
        return None
    request = C_STORE()
    request.MessageID = number % MOST_INSTANCES + 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(instance.sop_class), UID(instance.sop_uid)
    request.Priority = 0
    request.DataSet = BytesIO(data[start:])
    return request, context


def _carry(exchange: Exchange, group: "_Group", tally: Tally, destination: Peer) -> bool:
    """Send what fits one association; where the destination goes, what is left has failed. False where cancelled."""
    asking = exchange.association
    entity = ApplicationEntity(asking.acceptor.ae_title)
    entity.implementation_class_uid = asking.ae.implementation_class_uid
    entity.implementation_version_name = asking.ae.implementation_version_name
    originator = (asking.facts["calling"], exchange.message_id)
    afterwards = tally.remaining - len(group.instances)
    try:
        with OwnAssociation(
            entity,
            destination,
            group.contexts(),
            limits=asking.limits,
            budget=asking.budget,
            traffic=asking.traffic,
        ) as carrier:
            return _send_all(exchange, group.instances, tally, carrier, originator)
    except Gone:
        if not asking.is_alive_to_peer:
            raise
        for instance in group.instances[len(group.instances) - (tally.remaining - afterwards) :]:
            tally.count(None, instance.sop_uid)
            exchange.meter.operation("C-STORE-SENT", outcome_of(None))
        return True


@dataclass(slots=True)
class _Group:
    """Instances that one association can carry."""

    instances: list[StoredInstance] = field(default_factory=list)
    offers: dict[tuple[str, tuple[str, ...]], None] = field(default_factory=dict)

    def contexts(self) -> list[PresentationContext]:
        """What to propose: each class in the syntaxes its instances have, and once in what everybody reads."""
        contexts = []
        for sop_class, syntaxes in self.offers:
            context = PresentationContext()
            context._abstract_syntax = UID(sop_class)  # noqa: SLF001 — the setter complains of private ones
            context._transfer_syntax = [UID(syntax) for syntax in syntaxes]  # noqa: SLF001 — the same
            contexts.append(context)
        return contexts


def _groups(instances: Iterable[StoredInstance]) -> Iterator[_Group]:
    group = _Group()
    for instance in instances:
        offers = dict.fromkeys(((instance.sop_class, (instance.transfer_syntax,)), (instance.sop_class, _PREFERRED)))
        if len(group.offers | offers) > _CONTEXTS:
            yield group
            group = _Group()
        group.offers |= offers
        group.instances.append(instance)
    if group.instances:
        yield group


def _context_for(instance: StoredInstance, contexts: Sequence[PresentationContext]) -> PresentationContext | None:
    """The context to send an instance in: its own syntax, else one that it can be written in without loss."""
    agreed = {
        str(context.transfer_syntax[0]): context
        for context in contexts
        if str(context.abstract_syntax) == instance.sop_class
    }
    for syntax in (instance.transfer_syntax, *_PREFERRED, *_OTHERS):
        if syntax in agreed and can_make(instance, syntax):
            return agreed[syntax]
    return None


# What is meant


def _instances(query: Query, exchange: Exchange) -> list[StoredInstance]:
    """The current instances an identifier means, one a SOP instance UID, in the order of their series."""
    keys = {UNIQUE[level]: query.wanted.get(UNIQUE[level], "") for level in LEVELS[: LEVELS.index(query.level) + 1]}
    own = UNIQUE[query.level]
    records = exchange.platform.records
    if not keys[own] or any(set(value) & set("*?") for value in keys.values()):
        raise InvalidInput("a retrieval names the unique key of its level, without wildcards")
    wanted = {keyword: value for keyword, value in keys.items() if value}
    found: dict[str, StoredInstance] = {}
    for part in _parts(wanted, own):
        search = Search(
            level="instance",
            wanted=part,
            limit=MOST_INSTANCES + 1,
            datastore=DEFAULT_DATASTORE,
            patients=exchange.principal.patients,
        )
        for match in find(search, records).matches:
            row = records.get(INSTANCES, match.instance or "")
            if row is None:
                continue
            instance = instance_of(row)
            if instance.sop_uid not in found or _is_primary(instance, records):
                found[instance.sop_uid] = instance
    if len(found) > MOST_INSTANCES:
        raise _TooMany("more instances match than a response can count")
    return list(found.values())


def _parts(wanted: Mapping[str, str], own: str) -> Iterator[dict[str, str]]:
    r"""The same in searches of few enough UIDs."""
    if own == UNIQUE["patient"]:
        yield dict(wanted)
        return
    uids = iter(wanted[own].split("\\"))
    while part := list(islice(uids, _LISTED)):
        yield {**wanted, own: "\\".join(part)}


def _is_primary(instance: StoredInstance, records: Records) -> bool:
    row = records.get(IMAGE_SETS, instance.image_set)
    return row is not None and image_set_of(row).is_primary
