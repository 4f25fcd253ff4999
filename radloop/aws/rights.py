"""What each function may tell, ask for and change, by `contracts/functions.json`.

Terraform makes IAM policies of the same lines. Here they keep a function from trying: what a crash of another one left
in the outbox is not its to send, and a change that is not its own ends as our fault and not as one of AWS.
"""

import json
import logging
from dataclasses import dataclass
from typing import Final

from radloop.core.errors import Denied, NotFound
from radloop.core.ports import Change, Stands

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rights:
    """What one function may do beside its work on images and models.

    Attributes:
        sources: Sources of the events that it sends to the bus; None is every source.
        lanes: Lanes whose jobs it sends to their queues; None is every lane, also one that has no queue.
        closed: Names of the tables that it does not write.
    """

    sources: tuple[str, ...] | None = None
    lanes: tuple[str, ...] | None = None
    closed: frozenset[str] = frozenset()

    def hold(self, change: Change) -> None:
        """Refuse what is not the function's to write; what it may not send is told in the log, and another sends it.

        Raises:
            Denied: A table that it does not write is to change.
        """
        for write in change.writes:
            if write.table.name in self.closed and not isinstance(write, Stands):
                raise Denied(f"the table {write.table.name} is not written from here")
        for event in change.events:
            if self.sources is not None and event.source not in self.sources:
                _LOG.error("events of %s are not told from here, so a %s is late", event.source, event.detail_type)
        for job in change.jobs:
            if self.lanes is not None and job.lane not in self.lanes:
                _LOG.error("lane %s is not asked from here, so a job %s is late", job.lane, job.kind)


WHOLE = Rights()
"""Of whoever works at an installation and is no function of it."""


def rights_of(contract: str, function: str) -> Rights:
    """The rights of a function.

    Args:
        contract: The text of `contracts/functions.json`.
        function: Its name there, such as `image-ingestion`.

    Raises:
        NotFound: There is no such function.
    """
    told = json.loads(contract)
    found = next((each for each in told["functions"] if each["name"] == function), None)
    if found is None:
        raise NotFound(f"no function {function}")
    every = {lane for each in told["functions"] for lane in each["asks"]}
    lanes = None if every == set(found["asks"]) else tuple(found["asks"])
    closed = {table for name, tables in told["guarded"].items() if name not in found["changes"] for table in tables}
    return Rights(tuple(found["tells"]), lanes, frozenset(closed))
