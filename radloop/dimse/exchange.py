"""One request of a peer, with everything that answering it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

from pynetdicom.presentation import PresentationContext

from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.dimse.association import PeerAssociation
from radloop.monitoring.associations import AssociationMeter
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore

_PENDING = frozenset({0xFF00, 0xFF01})
_CANCELLED, _NOT_AUTHORIZED = 0xFE00, 0x0124
_WARNINGS, _REFUSALS = (0xB000, 0xBFFF), (0xA700, 0xA7FF)


def outcome_of(status: int | None) -> str:
    """How a request ended, in a word, by the status of its last response (PS3.7 Annex C); None where there was none.

    >>> [outcome_of(status) for status in (0x0000, 0xB007, 0xFE00, 0x0124, 0xA900, None)]
    ['success', 'warning', 'cancelled', 'refused', 'failed', 'cut-off']
    """
    if status is None:
        return "cut-off"
    if status in {0x0000, 0x0001}:
        return "warning" if status else "success"
    if _WARNINGS[0] <= status <= _WARNINGS[1]:
        return "warning"
    if status == _CANCELLED:
        return "cancelled"
    return "refused" if status == _NOT_AUTHORIZED or _REFUSALS[0] <= status <= _REFUSALS[1] else "failed"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request being answered.

    Attributes:
        request: pynetdicom's primitive: C_ECHO, C_STORE, C_FIND, C_GET or C_MOVE.
        context: The presentation context it came in.
        meter: Counts what is asked and how it ends.
    """

    association: PeerAssociation
    request: Any
    context: PresentationContext
    platform: Platform
    store: ImageStore
    meter: AssociationMeter

    @property
    def principal(self) -> Principal:
        """Who asks."""
        principal: Principal = self.association.facts["principal"]
        return principal

    @property
    def images(self) -> GuardedImages:
        """The store, as the peer may see it."""
        return GuardedImages(self.store, self.platform.policy, self.platform.audit, self.principal)

    @property
    def syntax(self) -> str:
        """Transfer syntax of what comes and goes in this context."""
        return str(self.context.transfer_syntax[0])

    @property
    def message_id(self) -> int:
        """Of the request."""
        return int(self.request.MessageID or 0)

    @property
    def is_cancelled(self) -> bool:
        """Whether the peer asked to stop."""
        return self.association.is_cancelled(self.message_id)

    def data(self, name: str) -> BytesIO:
        """The data set that came with the request, empty where there is none."""
        data = getattr(self.request, name, None)
        return data if isinstance(data, BytesIO) else BytesIO()

    def respond(
        self,
        status: int,
        identifier: bytes | None = None,
        *,
        comment: str = "",
        values: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Send a response.

        Args:
            status: Of it.
            identifier: Encoded, where the response has one.
            comment: A code of ours for ErrorComment.
            values: Further values of the response, by keyword.

        Raises:
            Gone: The peer is not there any more.
        """
        response = type(self.request)()
        response.MessageID = response.MessageIDBeingRespondedTo = self.request.MessageID
        response.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        response.Status = status
        if identifier is not None:
            response.Identifier = BytesIO(identifier)
        if comment:
            response.ErrorComment = comment
        for keyword, value in values.items():
            setattr(response, keyword, value)
        self.association.send(response, self.context)
        if status not in _PENDING:
            self.association.facts["status"] = status
