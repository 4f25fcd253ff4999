"""What every Bus must do. Provide `records`, `jobs`, and `bus` with the rules of tests/local/conftest.py."""

import time
from datetime import UTC, datetime

import pytest

from radloop.core.errors import NotFound
from radloop.core.events import ImageQuarantined, event_of
from radloop.core.ports import Bus, Change, Jobs, Records
from tests.contracts.jobs import next_claim

AT = datetime(2026, 1, 2, tzinfo=UTC)


def tell(records: Records, name: str, reason: str = "r") -> str:
    event = ImageQuarantined(quarantine_id=name, reason=reason).told(at=AT, trace="trace")
    records.commit(Change(events=[event]))
    return event.id


def assert_none_is_due(jobs: Jobs) -> None:
    """Look for a while, for deliveries may take a moment to arrive."""
    for _ in range(10):
        assert jobs.claim("events") is None
        time.sleep(0.01)


class BusContract:
    def test_an_event_is_delivered_once_to_each_rule_it_matches(self, records: Records, bus: Bus, jobs: Jobs) -> None:
        tell(records, "q", "late")
        assert (bus.route(), bus.route()) == (1, 0)
        claim = next_claim(jobs)
        assert claim.job.kind == "aside"
        assert event_of(claim.job.payload) == bus.events()[0].event
        assert_none_is_due(jobs)  # the other delivery waits a minute
        assert jobs.pending("events") == 2

    def test_an_event_can_be_delivered_again(self, records: Records, bus: Bus, jobs: Jobs) -> None:
        identity = tell(records, "q")
        bus.route()
        jobs.done(next_claim(jobs))
        assert bus.replay(identity) == 1
        assert next_claim(jobs).job.payload["id"] == identity
        with pytest.raises(NotFound):
            bus.replay("nothing")

    def test_events_come_in_order_from_either_end(self, records: Records, bus: Bus) -> None:
        names = [tell(records, f"{n}") for n in range(5)]
        assert [told.event.id for told in bus.events(limit=2)] == names[:2]
        assert [told.event.id for told in bus.events(after=2)] == names[2:]
        newest = bus.events(limit=2, newest_first=True)
        assert [told.event.id for told in newest] == names[:2:-1]
        assert [told.event.id for told in bus.events(after=newest[-1].seq, newest_first=True)] == names[2::-1]
