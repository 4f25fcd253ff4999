"""A home whose tables were made before a column was thought of."""

from dataclasses import replace
from pathlib import Path

from radloop.core.ports import Change, Put, Table, Term
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from tests.api.installation import now

OLD = Table("things", ("colour",))
NEW = replace(OLD, indexed=("colour", "weight"), facts=("shape",))


def test_a_table_gains_the_columns_and_indexes_it_lacks_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    before = Database(path, bytes(32), (OLD,))
    SqliteRecords(before, now).commit(Change(writes=[Put(OLD, "a", {"kept": 1}, {"colour": "red"})]))
    before.close()
    for _ in range(2):
        after = Database(path, bytes(32), (NEW,))
        records = SqliteRecords(after, now)
        row = records.get(NEW, "a")
        assert row is not None
        assert row.document == {"kept": 1}
        assert row.columns["colour"] == "red"
        plan = after.read().execute("EXPLAIN QUERY PLAN SELECT key FROM things WHERE weight = 1").fetchall()
        assert "things_weight" in str(plan)
        after.close()
    again = Database(path, bytes(32), (NEW,))
    records = SqliteRecords(again, now)
    records.commit(Change(writes=[Put(NEW, "b", {}, {"weight": 2.5, "shape": "round"})]))
    assert [found.key for found in records.search(NEW, [Term("weight", "between", (0.0, None))])] == ["b"]
    again.close()


def test_two_that_open_an_old_home_at_once_both_find_it_whole(tmp_path: Path) -> None:
    import threading

    path = tmp_path / "index.sqlite"
    Database(path, bytes(32), (OLD,)).close()
    failed: list[BaseException] = []
    ready = threading.Barrier(4)

    def run() -> None:
        ready.wait()
        try:
            Database(path, bytes(32), (NEW,)).close()
        except BaseException as error:  # noqa: BLE001 — that is what is looked at
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
