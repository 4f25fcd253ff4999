"""One request of a peer, with everything that answering it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

from pynetdicom.presentation import PresentationContext

from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.dimse.wire import PeerAssociation
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request being answered.

    Attributes:
        request: pynetdicom's primitive: C_ECHO, C_STORE, C_FIND, C_GET or C_MOVE.
        context: The presentation context it came in.
    """

    association: PeerAssociation
    request: Any
    context: PresentationContext
    platform: Platform
    store: ImageStore

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
