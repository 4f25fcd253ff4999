"""The Bus port on the outbox in DynamoDB and an event bus of EventBridge.

An event is a record, written with the change that it tells of, and stands in the outbox until EventBridge has taken
it. Which functions it wakes is decided there, by the rules of `contracts/events/rules.json`, which Terraform lays down
as they are. A crash between sending and marking sends an event twice, and EventBridge itself may deliver twice, so
whoever receives one goes by the event's own id, which travels among its resources: see `core.events.event_of`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import translated
from radloop.aws.jobs import SqsJobs, again
from radloop.aws.outbox import EVENTS, told_event
from radloop.core.errors import NotFound, Unavailable
from radloop.core.events import Event, resources_of
from radloop.core.ports import Adjust, Change, Records, Term, Told
from radloop.functions.rules import Rule, targets

_AT_ONCE = 10  # entries that PutEvents takes
_BYTES_AT_ONCE = 240_000  # of 256 KB in one request
_MOST = 200


class EventBridgeBus:
    """The Bus port.

    Args:
        records: Where events wait.
        client: A client of EventBridge.
        bus_name: Name or ARN of the event bus.
        rules: The rules that stand on it.
        jobs: What waits in the outbox beside the events, and is sent with them.
        sources: Sources whose events are sent from here; None is every source. Events of others wait for whoever may.
    """

    def __init__(
        self,
        records: Records,
        client: Any,
        bus_name: str,
        rules: Sequence[Rule],
        jobs: SqsJobs,
        *,
        sources: tuple[str, ...] | None = None,
    ) -> None:
        self._records = records
        self._client = client
        self._bus_name = bus_name
        self._rules = rules
        self._jobs = jobs
        self._terms = (
            [Term("unrouted", "between", (None, None))]
            if sources is None
            else [Term("unrouted", "is", (source,)) for source in sources]
        )

    def events(self, *, after: int = 0, limit: int = 100, newest_first: bool = False) -> list[Told]:
        """See `Bus.events`."""
        rows = self._records.find(EVENTS, after=after, limit=limit, newest_first=newest_first)
        return [Told(seq=row.order, event=told_event(row)) for row in rows]

    def route(self) -> int:
        """See `Bus.route`: EventBridge makes the deliveries, and jobs that wait in the outbox go to their queues.

        Raises:
            Unavailable: EventBridge did not take all of them; those that it took are marked.
        """
        found = (row for term in self._terms for row in self._records.search(EVENTS, [term], limit=_MOST))
        waiting = sorted(found, key=lambda row: row.order)[:_MOST]
        try:
            refused = self._told([told_event(row) for row in waiting])
        finally:
            self._jobs.relay()
        if refused:
            raise Unavailable(f"EventBridge did not take {len(refused)} events: {', '.join(sorted(set(refused)))}")
        return len(waiting)

    def replay(self, event_id: str) -> int:
        """See `Bus.replay`."""
        row = self._records.get(EVENTS, event_id)
        if row is None:
            raise NotFound(f"no event {event_id}")
        event = told_event(row)
        (code,) = self._put([self._entry(event, again(str(time.time_ns())))])
        if code:
            raise Unavailable(f"EventBridge did not take the event: {code}")
        return len(targets(event.as_json(), self._rules))

    def _told(self, events: Sequence[Event]) -> list[str]:
        """Send events, mark those that were taken, and return the codes of those that were not."""
        refused: list[str] = []
        for some in _batches(events):
            codes = self._put([self._entry(event) for event in some])
            taken = [event for event, code in zip(some, codes, strict=True) if not code]
            self._records.commit(Change(writes=[Adjust(EVENTS, each.id, assign={"unrouted": None}) for each in taken]))
            refused += filter(None, codes)
        return refused

    def _entry(self, event: Event, *marks: str) -> Mapping[str, Any]:
        return {
            "EventBusName": self._bus_name,
            "Source": event.source,
            "DetailType": event.detail_type,
            "Time": event.time,
            "Detail": orjson.dumps(event.detail).decode(),
            "Resources": [*resources_of(event), *marks],
        }

    def _put(self, entries: Sequence[Mapping[str, Any]]) -> list[str]:
        """Send events; returns for each the code it was refused with, or nothing."""
        try:
            answer = self._client.put_events(Entries=entries)
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "events") from None
        return [str(each.get("ErrorCode", "")) for each in answer["Entries"]]


def _batches(events: Sequence[Event]) -> list[list[Event]]:
    """Events in their order, as many at once as PutEvents takes."""
    found: list[list[Event]] = []
    left = 0
    for event in events:
        size = len(orjson.dumps(event.as_json()))
        if not found or len(found[-1]) == _AT_ONCE or size > left:
            found.append([])
            left = _BYTES_AT_ONCE
        found[-1].append(event)
        left -= size
    return found
