"""What every Records must do. Subclass it and provide the `records` and `bus` fixtures."""

import random
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from radloop.core.errors import Conflict, NotFound, Unavailable
from radloop.core.events import ImageQuarantined
from radloop.core.ports import Adjust, Bus, Change, Delete, Job, Jobs, Put, Records, Stands, Term
from radloop.core.tables import INSTANCES, QUARANTINE, STUDIES

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

    def test_columns_are_those_of_the_last_write_whichever_of_them_changed(self, records: Records) -> None:
        for reason, digest in (("x", "1"), ("x", "2"), ("y", "2"), (None, "2"), (None, None), ("z", "3"), ("z", "3")):
            columns = {name: value for name, value in (("reason", reason), ("digest", digest)) if value is not None}
            records.commit(Change(writes=[Put(QUARANTINE, "a", {}, columns)]))
            (row,) = records.find(QUARANTINE, {"reason": reason, "digest": digest})
            assert row.columns == {"reason": reason, "digest": digest}

    def test_the_stamp_is_another_one_after_every_commit_and_only_then(self, records: Records) -> None:
        before = records.stamp()
        assert records.stamp() == before
        assert records.get(QUARANTINE, "a") is None
        assert records.stamp() == before
        seen = {before}
        for number in range(3):
            records.commit(Change(writes=[put("a", number)]))
            assert records.stamp() not in seen
            seen.add(records.stamp())

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

    def test_a_change_waits_for_what_it_needs_and_is_not_made_without(self, records: Records) -> None:
        asked: list[str] = []

        def refuse() -> None:
            raise Unavailable("on purpose")

        with pytest.raises(Unavailable, match="on purpose"):
            records.commit(Change(writes=[put("a")], needs=[lambda: asked.append("a"), refuse]))
        assert records.get(QUARANTINE, "a") is None
        records.commit(Change(writes=[put("b")], needs=[lambda: asked.append("b")]))
        assert records.get(QUARANTINE, "b") is not None
        assert asked == ["a", "b"]

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

    def test_what_is_read_alone_is_still_so_at_the_commit_and_others_follow(self, records: Records) -> None:
        records.commit(Change(writes=[put("a", 0)]))

        def add(_: int) -> None:
            with records.alone():
                row = records.get(QUARANTINE, "a")
                assert row is not None
                records.commit(Change(writes=[put("a", row.document["value"] + 1, expected=row.revision)]))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(40)))
        assert records.get(QUARANTINE, "a").document == {"value": 40}
        with pytest.raises(ZeroDivisionError), records.alone():
            raise ZeroDivisionError
        records.commit(Change(writes=[put("b")]))

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

    def test_terms_narrow_a_search_down(self, records: Records) -> None:
        words = {"a": "\\CT\\SR\\", "b": "\\CTA\\", "c": "x[1]*", "d": "xylo", "e": None}
        records.commit(Change(writes=[Put(QUARANTINE, k, {}, {"reason": v, "digest": k}) for k, v in words.items()]))

        def keys(*terms: Term) -> str:
            return "".join(row.key for row in records.search(QUARANTINE, terms))

        assert keys(Term("reason", "has", ("CT",))) == "a"
        assert keys(Term("reason", "prefix", ("x",))) == "cd"
        assert keys(Term("reason", "glob", ("x[1]?",))) == "c"
        assert keys(Term("reason", "glob", ("?y*",))) == "d"
        assert keys(Term("reason", "is", (None,))) == "e"
        assert keys(Term("reason", "is", ("xylo",))) == "d"
        assert keys(Term("digest", "in", ("a", "e", "z"))) == "ae"
        assert keys(Term("digest", "in", ())) == ""
        assert keys(Term("digest", "between", ("b", "d"))) == "bcd"
        assert keys(Term("digest", "between", (None, "b"))) == "ab"
        assert keys(Term("digest", "between", ("d", None)), Term("reason", "between", (None, None))) == "d"

    def test_a_search_is_ordered_cut_and_counted(self, records: Records) -> None:
        order = {"a": "2", "b": "1", "c": "2", "d": "0"}
        records.commit(Change(writes=[Put(QUARANTINE, k, {}, {"reason": v}) for k, v in order.items()]))
        rows = records.search(QUARANTINE, order="reason")
        assert [row.key for row in rows] == ["d", "b", "a", "c"]
        assert [row.columns["reason"] for row in rows] == ["0", "1", "2", "2"]
        assert [row.key for row in records.search(QUARANTINE, order="reason", descending=True)] == ["c", "a", "b", "d"]
        assert [row.key for row in records.search(QUARANTINE, limit=2, offset=1)] == ["b", "c"]
        second = records.search(QUARANTINE, limit=1, offset=1)[0]
        assert [row.key for row in records.search(QUARANTINE, after=second.order)] == ["c", "d"]
        assert [row.key for row in records.search(QUARANTINE, after=second.order, descending=True)] == ["a"]
        assert records.search_count(QUARANTINE, [Term("reason", "is", ("2",))]) == 2

    def test_rows_come_with_the_columns_that_were_asked_for(self, records: Records) -> None:
        records.commit(Change(writes=[Put(QUARANTINE, "a", {"value": 1}, {"reason": "r", "digest": "d"})]))
        for columns, told in (
            (None, {"reason": "r", "digest": "d"}),
            (("digest",), {"digest": "d"}),
            (("digest", "reason"), {"digest": "d", "reason": "r"}),
            ((), {}),
        ):
            (row,) = records.search(QUARANTINE, [Term("reason", "is", ("r",))], columns=columns)
            assert (row.key, row.document, row.revision, row.columns) == ("a", {"value": 1}, 1, told)
            assert records.get(QUARANTINE, "a", columns=columns) == row
        assert records.get(QUARANTINE, "z", columns=()) is None
        with pytest.raises(KeyError):
            records.search(QUARANTINE, columns=("document",))
        with pytest.raises(KeyError):
            records.get(QUARANTINE, "a", columns=("key, revision",))

    def test_searches_of_one_shape_do_not_mix_up_their_values(self, records: Records) -> None:
        words = {f"{n}": f"r{n}" for n in range(6)}
        records.commit(Change(writes=[Put(QUARANTINE, k, {}, {"reason": v, "digest": k}) for k, v in words.items()]))

        def keys(*terms: Term, limit: int | None = None, offset: int = 0) -> str:
            return "".join(row.key for row in records.search(QUARANTINE, terms, limit=limit, offset=offset))

        for n in range(6):
            assert keys(Term("reason", "is", (f"r{n}",))) == f"{n}"
            assert keys(Term("digest", "in", (f"{n}", "0"))) == "".join(sorted({f"{n}", "0"}))
            assert keys(Term("digest", "between", (f"{n}", None))) == "012345"[n:]
            assert keys(Term("digest", "between", (None, f"{n}"))) == "012345"[: n + 1]
            assert keys(Term("digest", "between", ("1", f"{n}"))) == "012345"[1 : n + 1]
            assert keys(Term("reason", "prefix", (f"r{n}",)), Term("digest", "glob", (f"?{'*' * n}",))) == f"{n}"
            assert keys(limit=n, offset=1) == "12345"[:n]
            assert records.search_count(QUARANTINE, [Term("digest", "between", (f"{n}", None))]) == 6 - n

    def test_rows_that_come_one_by_one_are_those_of_the_moment_they_were_asked_for(self, records: Records) -> None:
        records.commit(Change(writes=[put(f"{n}", n) for n in range(5)]))
        asked = records.each(QUARANTINE, order="reason", descending=True, limit=3, offset=1, columns=("digest",))
        wanted = records.search(QUARANTINE, order="reason", descending=True, limit=3, offset=1, columns=("digest",))
        first = next(asked)
        records.commit(Change(writes=[put("2", 9), put("x"), Delete(QUARANTINE, "1")]))
        assert [first, *asked] == wanted
        assert [row.document["value"] for row in wanted] == [3, 2, 1]

    def test_numbers_that_many_add_to_lose_nothing(self, records: Records) -> None:
        records.commit(Change(writes=[Put(STUDIES, "s", {"name": "kept"}, {"instances": 0, "series": 1})]))
        write = Adjust(STUDIES, "s", {"instances": 2, "series": -1}, {"is_open": 1})
        threads = [threading.Thread(target=records.commit, args=(Change(writes=[write]),)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        row = records.get(STUDIES, "s")
        assert row is not None
        assert (row.columns["instances"], row.columns["series"], row.columns["is_open"]) == (40, -19, 1)
        assert (row.revision, row.document) == (21, {"name": "kept"})

    def test_who_pages_on_while_others_write_misses_nothing(self, records: Records) -> None:
        def write(name: str) -> None:
            for n in range(6):
                records.commit(Change(writes=[put(f"{name}{n}")]))

        threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        seen, after = [], 0
        while len(seen) < 18:
            page = records.find(QUARANTINE, after=after, limit=4)
            seen += [row.key for row in page]
            after = page[-1].order if page else after
            if not page and not any(thread.is_alive() for thread in threads):
                break
        seen += [row.key for row in records.find(QUARANTINE, after=after)]
        assert sorted(seen) == sorted(f"{name}{n}" for name in "abc" for n in range(6))

    def test_a_document_may_be_long_and_is_read_as_it_was_last_written(self, records: Records) -> None:
        long = "".join(random.Random(1).choices(string.ascii_letters, k=1_200_000))
        for text in (long, "short", long[::-1], long[: len(long) // 2]):
            records.commit(Change(writes=[Put(QUARANTINE, "a", {"text": text}, {"reason": "r"})]))
            assert records.get(QUARANTINE, "a").document == {"text": text}
            assert [row.document["text"] for row in records.find(QUARANTINE, {"reason": "r"})] == [text]
        records.commit(Change(writes=[Delete(QUARANTINE, "a")]))
        assert records.get(QUARANTINE, "a") is None

    def test_one_change_may_write_a_record_several_times(self, records: Records) -> None:
        records.commit(Change(writes=[put("a", 1), put("a", 2, reason="s"), Delete(QUARANTINE, "b"), put("b", 3)]))
        assert (records.get(QUARANTINE, "a").revision, records.get(QUARANTINE, "b").revision) == (2, 1)
        first = records.get(QUARANTINE, "a").order
        records.commit(Change(writes=[Delete(QUARANTINE, "a"), put("a", 4, expected=0)]))
        again = records.get(QUARANTINE, "a")
        assert (again.revision, again.document) == (1, {"value": 4})
        assert again.order > first
        assert [row.key for row in records.find(QUARANTINE)] == ["b", "a"]
        assert records.find(QUARANTINE, {"reason": "s"}) == []

    def test_what_is_not_there_cannot_be_adjusted_and_nothing_else_happens(self, records: Records) -> None:
        with pytest.raises(NotFound):
            records.commit(Change(writes=[put("a"), Adjust(STUDIES, "z", {"instances": 1})]))
        assert records.get(QUARANTINE, "a") is None

    def test_what_hangs_on_a_record_is_written_only_while_it_stands(self, records: Records) -> None:
        hanging = Change(writes=[Stands(STUDIES, "s"), put("a", expected=0)])
        with pytest.raises(NotFound):
            records.commit(hanging)
        assert records.get(QUARANTINE, "a") is None
        records.commit(Change(writes=[Put(STUDIES, "s", {}, {"instances": 1})]))
        records.commit(hanging)
        assert records.get(QUARANTINE, "a") is not None
        assert records.get(STUDIES, "s").revision == 1
        records.commit(
            Change(writes=[Stands(STUDIES, "s"), Delete(QUARANTINE, "a"), Adjust(STUDIES, "s", {"instances": 1})])
        )
        assert (records.get(STUDIES, "s").revision, records.get(QUARANTINE, "a")) == (2, None)
        with pytest.raises(NotFound):
            records.commit(Change(writes=[Delete(STUDIES, "s"), Stands(STUDIES, "s")]))
        assert records.get(STUDIES, "s") is not None

    def test_of_a_removal_and_of_what_hangs_on_it_one_sees_the_other(self, records: Records) -> None:
        """However they meet: what was written hangs on something, or was not written, or is found by who removes."""
        records.commit(Change(writes=[Put(STUDIES, f"s{n}", {}, {"instances": 1}) for n in range(8)]))

        def remove(name: str) -> None:
            records.commit(Change(writes=[Delete(STUDIES, name)]))
            for row in records.find(QUARANTINE, {"reason": name}):
                records.commit(Change(writes=[Delete(QUARANTINE, row.key)]))

        def hang(name: str) -> None:
            for n in range(4):
                try:
                    records.commit(Change(writes=[Stands(STUDIES, name), put(f"{name}-{n}", reason=name)]))
                except NotFound:
                    return

        works = [threading.Thread(target=work, args=(f"s{n}",)) for n in range(8) for work in (hang, remove)]
        for work in works:
            work.start()
        for work in works:
            work.join()
        assert (records.count(STUDIES), records.count(QUARANTINE)) == (0, 0)

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
