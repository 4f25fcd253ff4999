"""What every Audit must do. Subclass it and provide the `audit` fixture, fresh and closed afterwards."""

import time
from collections.abc import Callable

import pytest

from radloop.core.identity import OWNER, Principal
from radloop.core.ports import Audit, AuditEntry, Noted
from radloop.security.chain import GENESIS, link
from radloop.security.counting import CountedAudit

READER = Principal("reader-1", frozenset({"reader"}))


def told(audit: Audit) -> list[tuple[str, str, int]]:
    return [(each.action, each.subject, each.count) for each in reversed(audit.entries())]


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what happens beside us, on a machine that may be busy."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)


class AuditContract:
    def test_the_first_reading_is_durable_before_the_answer(self, audit: CountedAudit) -> None:
        assert not audit.read_again(READER, "a")
        audit.read(READER, "a")
        assert told(audit) == [("read", "a", 1)]

    def test_further_readings_are_counted_and_written_soon(self, audit: CountedAudit) -> None:
        for _ in range(5):
            audit.read(READER, "a")
        audit.read(OWNER, "a")
        assert audit.read_again(OWNER, "a")
        for _ in range(3):
            audit.count(READER, "search")
        until(lambda: sum(count for _, _, count in told(audit)) == 10)
        assert told(audit)[0] == ("read", "a", 1)
        by_whom = {each.principal: 0 for each in audit.entries()}
        for each in audit.entries():
            by_whom[each.principal] += each.count
        assert by_whom == {"reader-1": 8, "owner": 2}

    def test_more_counts_than_fit_into_one_transaction_are_all_written(self, audit: CountedAudit) -> None:
        for number in range(45):
            audit.count(READER, "search", f"s{number}")
        audit.close()
        assert sorted(each.subject for each in audit.entries()) == sorted(f"s{number}" for number in range(45))
        assert audit.verify().broken_at is None

    def test_what_was_counted_last_is_written_when_the_audit_closes(self, audit: CountedAudit) -> None:
        audit.count(READER, "search")
        audit.close()
        assert told(audit) == [("search", "", 1)]

    def test_entries_are_found_by_who_what_and_on_what(self, audit: Audit) -> None:
        for entry in (
            AuditEntry("x", "read", "a"),
            AuditEntry("y", "read", "b"),
            AuditEntry("x", "verify", "b", "refused"),
        ):
            audit.record(entry)
        assert [each.seq for each in audit.entries(where={"principal": "x"})] == [3, 1]
        assert [each.outcome for each in audit.entries(where={"subject": "b", "action": "verify"})] == ["refused"]
        assert [each.seq for each in audit.entries(before=3, limit=1)] == [2]
        assert audit.entries(where={"principal": "nobody"}) == []

    def test_the_chain_is_the_same_whoever_keeps_it(self, audit: Audit) -> None:
        assert audit.verify().head == GENESIS
        for number in range(3):
            audit.record(AuditEntry("x", "land", str(number)))
        head = GENESIS
        entries: list[Noted] = audit.entries()[::-1]
        for each in entries:
            head = link(
                head, (each.seq, each.time, each.principal, each.action, each.subject, each.outcome, each.count)
            )
            assert each.hash == head
        verdict = audit.verify(entries[1].hash)
        assert (verdict.entries, verdict.head, verdict.broken_at, verdict.holds_head) == (3, head, None, True)
        assert not audit.verify("f" * 64).holds_head

    @pytest.mark.parametrize("head", [None, GENESIS])
    def test_where_no_head_was_kept_every_chain_holds_it(self, audit: Audit, head: str | None) -> None:
        audit.record(AuditEntry("x", "land", "1"))
        assert audit.verify(head).holds_head
