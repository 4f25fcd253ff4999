"""What one association may take, and what all of them together may hold."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from radloop.core.errors import RadloopError


class TooLarge(RadloopError):
    """A message is larger than we take."""

    code = "too-large"


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


class Traffic(Protocol):
    """Who wants to know of the bytes that come and go."""

    def received(self, count: int) -> None:
        """`count` bytes came from a peer."""
        ...

    def sent(self, count: int) -> None:
        """`count` bytes went to a peer."""
        ...


class Bounded(Protocol):
    """An association as its parts see it: what it may take, the bytes it holds of each message, and who counts."""

    limits: Limits
    budget: Budget
    traffic: Traffic
    held: deque[int]
