"""The audit: nothing is read unseen, and nothing is changed unnoticed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop.core.errors import RadloopError, Unavailable
from radloop.core.identity import OWNER
from radloop.core.ports import Audit, AuditEntry, Change
from radloop.core.tables import TABLES
from radloop.local.audit import SqliteAudit
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from tests.contracts.audit import READER, AuditContract, told


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "index.sqlite", bytes(32), TABLES)
    yield opened
    opened.close()


@pytest.fixture
def audit(database: Database) -> Iterator[SqliteAudit]:
    opened = SqliteAudit(database, SqliteRecords(database, now), now)
    yield opened
    opened.close()


class TestSqliteAudit(AuditContract):
    @pytest.fixture
    def audit(self, audit: SqliteAudit) -> Audit:
        return audit


def test_further_readings_are_counted_and_durable_within_a_second(audit: SqliteAudit) -> None:
    for _ in range(5):
        audit.read(READER, "a")
    audit.read(OWNER, "a")
    for _ in range(3):
        audit.count(READER, "search")
    time.sleep(1.0)
    assert told(audit)[:2] == [("read", "a", 1), ("read", "a", 1)]
    assert set(told(audit)[2:]) == {("read", "a", 4), ("search", "", 3)}


def refuse_entries(database: Database) -> None:
    """From now on the audit takes no entry, while everything else can be written."""
    stop = "CREATE TRIGGER stop BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'stopped'); END"
    database.write(lambda connection: connection.execute(stop).fetchall())


def test_nothing_more_may_be_read_once_counts_cannot_be_written(
    audit: SqliteAudit, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radloop.security.counting.PATIENCE_S", 0.05)
    waiting: list[float | None] = []
    audit.tell_waiting(waiting.append)
    audit.read(READER, "a")
    refuse_entries(database)
    with pytest.raises(RadloopError):
        audit.read(OWNER, "a")  # a first reading is noted before the answer
    audit.read(READER, "a")  # a further one is counted, and waits
    time.sleep(0.1)
    with pytest.raises(Unavailable):
        audit.read(READER, "a")
    assert [since is not None for since in waiting] == [True]
    time.sleep(0.6)  # the flusher has tried once, and goes on trying
    database.write(lambda connection: connection.execute("DROP TRIGGER stop").fetchall())
    time.sleep(0.6)
    audit.read(READER, "a")
    assert waiting[1] is None
    assert told(audit)[1] == ("read", "a", 1)


def test_a_flusher_that_is_gone_is_noticed(audit: SqliteAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radloop.security.counting.PATIENCE_S", 0.05)
    audit.read(READER, "a")
    audit._closed.set()  # it ends, and nobody writes down what is counted
    audit.read(READER, "a")
    time.sleep(0.1)
    with pytest.raises(Unavailable):
        audit.read(READER, "a")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(1, 10),
    change=st.sampled_from(
        [
            "UPDATE audit SET subject = 'other' WHERE seq = ?",
            "UPDATE audit SET principal = 'nobody' WHERE seq = ?",
            "UPDATE audit SET time = '2000' WHERE seq = ?",
            "UPDATE audit SET count = 2 WHERE seq = ?",
            "UPDATE audit SET outcome = 'refused' WHERE seq = ?",
            "DELETE FROM audit WHERE seq = ?",
        ]
    ),
)
def test_whatever_is_changed_breaks_the_chain_there(tmp_path: Path, at: int, change: str) -> None:
    path = tmp_path / "index.sqlite"
    path.unlink(missing_ok=True)
    opened = Database(path, bytes(32), TABLES)
    records = SqliteRecords(opened, now)
    audit = SqliteAudit(opened, records, now)
    for number in range(11):
        records.commit(Change(audit=[AuditEntry("x", "land", str(number))]))
    assert audit.verify().broken_at is None
    opened.write(lambda connection: connection.execute(change, (at,)))
    assert audit.verify().broken_at == at
    opened.close()


def test_the_end_cut_off_is_told_by_the_head_that_was_kept(audit: SqliteAudit, database: Database) -> None:
    for number in range(3):
        audit.record(AuditEntry("x", "land", str(number)))
    kept = audit.verify()
    database.write(lambda connection: connection.execute("DELETE FROM audit WHERE seq = 3"))
    after = audit.verify()
    assert after.broken_at is None
    assert (after.entries, after.head) != (kept.entries, kept.head)


def test_a_change_that_fails_leaves_no_entry(database: Database, audit: SqliteAudit) -> None:
    def refuse(connection: apsw.Connection) -> None:
        raise Unavailable("no")

    with pytest.raises(Unavailable):
        database.write(refuse)
    audit.record(AuditEntry("x", "land", "1"))
    assert audit.verify().entries == 1
