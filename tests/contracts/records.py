"""What every Records must do. Subclass it and provide the `records` and `bus` fixtures."""

import threading
from datetime import UTC, datetime

import pytest

from radloop.core.errors import Conflict
from radloop.core.events import ImageQuarantined
from radloop.core.ports import Bus, Change, Delete, Job, Jobs, Put, Records
from radloop.core.tables import INSTANCES, QUARANTINE

AT = datetime(2026, 1, 2, tzinfo=UTC)


def put(key: str, value: int = 0, *, expected: int | None = None, reason: str = "r") -> Put:
    return Put(QUARANTINE, key, {"value": value}, {"reason": reason}, expected)


class RecordsContract:
    def test_a_record_is_found_by_key_and_by_column(self, records: Records) -> None:
        records.commit(Change(writes=[put("a", 1, reason="x"), put("b", 2, reason="y"), put("c", 3, reason="x")]))
        assert records.get(QUARANTINE, "b").document == {"value": 2}
        assert records.get(QUARANTINE, "z") is None
        assert [row.key for row in records.find(QUARANTINE, {"reason": "x"})] == ["a", "c"]
        assert [row.key for row in records.find(QUARANTINE, {"reason": "x"}, newest_first=True)] == ["c", "a"]
        assert records.count(QUARANTINE) == 3
        assert records.count(QUARANTINE, {"reason": "y"}) == 1

    def test_pages_follow_each_other_without_gap_or_overlap(self, records: Records) -> None:
        records.commit(Change(writes=[put(f"{n:02d}") for n in range(10)]))
        seen, after = [], 0
        while page := records.find(QUARANTINE, after=after, limit=3):
            seen += [row.key for row in page]
            after = page[-1].order
        assert seen == [f"{n:02d}" for n in range(10)]
        last = records.find(QUARANTINE, newest_first=True, limit=2)
        before = records.find(QUARANTINE, newest_first=True, after=last[-1].order, limit=2)
        assert [row.key for row in (*last, *before)] == ["09", "08", "07", "06"]

    def test_a_record_written_again_keeps_its_place_and_counts_its_writes(self, records: Records) -> None:
        records.commit(Change(writes=[put("a"), put("b")]))
        first = records.get(QUARANTINE, "a")
        records.commit(Change(writes=[put("a", 5, reason="new")]))
        again = records.get(QUARANTINE, "a")
        assert (again.revision, again.order, again.document) == (2, first.order, {"value": 5})
        assert records.find(QUARANTINE, {"reason": "new"}) == [again]

    def test_a_stale_revision_is_a_conflict_and_changes_nothing_at_all(self, records: Records, bus: Bus) -> None:
        records.commit(Change(writes=[put("a", 1)]))
        event = ImageQuarantined(quarantine_id="q", reason="r").told(at=AT)
        for wrong in (0, 2):
            with pytest.raises(Conflict):
                records.commit(Change(writes=[put("b"), put("a", 2, expected=wrong)], events=[event]))
        assert records.get(QUARANTINE, "b") is None
        assert records.get(QUARANTINE, "a").document == {"value": 1}
        assert bus.events() == []
        records.commit(Change(writes=[put("a", 2, expected=1)], events=[event]))
        assert [told.event for told in bus.events()] == [event]

    def test_of_two_that_expect_the_same_revision_one_wins(self, records: Records) -> None:
        outcomes: list[str] = []

        def race(value: int) -> None:
            try:
                records.commit(Change(writes=[put("a", value, expected=0)]))
                outcomes.append("won")
            except Conflict:
                outcomes.append("lost")

        threads = [threading.Thread(target=race, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["lost"] * 15 + ["won"]

    def test_many_threads_lose_no_increment(self, records: Records) -> None:
        records.commit(Change(writes=[put("n", 0)]))

        def count() -> None:
            for _ in range(10):
                while True:
                    row = records.get(QUARANTINE, "n")
                    try:
                        records.commit(Change(writes=[put("n", row.document["value"] + 1, expected=row.revision)]))
                        break
                    except Conflict:
                        continue

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert records.get(QUARANTINE, "n").document == {"value": 40}

    def test_an_event_told_twice_is_kept_once(self, records: Records, bus: Bus) -> None:
        event = ImageQuarantined(quarantine_id="q", reason="r")
        records.commit(Change(events=[event.told(at=AT)]))
        records.commit(Change(events=[event.told(at=datetime(2027, 1, 1, tzinfo=UTC))]))
        assert [told.event.time for told in bus.events()] == ["2026-01-02T00:00:00.000Z"]

    def test_removing_what_is_not_there_is_no_error(self, records: Records) -> None:
        records.commit(Change(writes=[put("a"), Delete(QUARANTINE, "b")]))
        records.commit(Change(writes=[Delete(QUARANTINE, "a")]))
        assert records.get(QUARANTINE, "a") is None

    def test_an_unknown_column_is_a_mistake_in_the_program(self, records: Records) -> None:
        with pytest.raises(KeyError):
            records.find(INSTANCES, {"patient_name": "x"})

    def test_a_job_comes_with_the_change_or_not_at_all(self, records: Records, jobs: Jobs) -> None:
        job = Job(id="j", lane="fold", kind="fold", payload={"image_set": "x"})
        records.commit(Change(writes=[put("a")], jobs=[job]))
        with pytest.raises(Conflict):
            records.commit(Change(writes=[put("a", expected=0)], jobs=[Job(id="k", lane="fold", kind="f", payload={})]))
        assert jobs.pending("fold") == 1
        assert jobs.claim("fold").job == job
