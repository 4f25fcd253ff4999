"""The model registry on records."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from radloop.core.ports import Models
from radloop.core.tables import LEDGER, TABLES
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.models import RecordModels
from radloop.local.records import SqliteRecords
from radloop.registry.ledger import (
    AliasMoved,
    Decided,
    Registered,
    document_of,
    entry_of,
    versions_of,
)
from tests.contracts.models import ModelsContract, register

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "index.sqlite", bytes(32), TABLES)
    yield database
    database.close()


@pytest.fixture
def records(database: Database) -> SqliteRecords:
    return SqliteRecords(database, lambda: NOW)


class TestRecordModels(ModelsContract):
    @pytest.fixture
    def models(self, records: SqliteRecords) -> Models:
        return RecordModels(records, lambda: NOW)


def test_every_step_is_told_once_in_the_same_commit(database: Database, records: SqliteRecords) -> None:
    models = RecordModels(records, lambda: NOW)
    for _ in range(2):
        register(models, "a")
        models.decide(1, approved=True, by="chief")
    register(models, "b")
    models.decide(2, approved=False, by="chief")
    told = [(told.event.detail_type, dict(told.event.detail)) for told in SqliteBus(database, ()).events()]
    assert told == [
        ("ModelRegistered", {"model_version": 1, "execution": "a"}),
        ("ModelApproved", {"model_version": 1, "execution": "a", "approved_by": "chief"}),
        ("ModelRegistered", {"model_version": 2, "execution": "b"}),
    ]
    audit = list(database.read().execute("SELECT principal, action, subject FROM audit ORDER BY seq"))
    assert audit == [
        ("radloop", "register", "model-1"),
        ("chief", "approve", "model-1"),
        ("radloop", "register", "model-2"),
        ("chief", "reject", "model-2"),
    ]


def test_the_ledger_only_grows(records: SqliteRecords) -> None:
    models = RecordModels(records, lambda: NOW)
    before: list[tuple[str, object]] = []
    for number, execution in enumerate("abc", start=1):
        register(models, execution)
        models.decide(number, approved=True, by="chief")
        after = [(row.key, dict(row.document)) for row in records.find(LEDGER)]
        assert after[: len(before)] == before
        assert all(row.revision == 1 for row in records.find(LEDGER))
        before = list(after)
    assert [row.key for row in records.find(LEDGER, {"action": "alias"})] == [f"champion.{n:08d}" for n in (1, 2, 3)]


def test_a_rollback_is_one_more_entry_and_the_last_one_counts() -> None:
    entries = [
        Registered(1, "a", "x", {}, {}, "t1"),
        Registered(2, "b", "y", {}, {}, "t2"),
        Decided(1, True, "chief", "t3"),
        AliasMoved(1, "champion", "chief", "t3"),
        Decided(2, True, "chief", "t4"),
        AliasMoved(2, "champion", "chief", "t4"),
        AliasMoved(1, "champion", "chief", "t5"),
        AliasMoved(1, "canary", "chief", "t6"),
    ]
    second, first = versions_of(entries)
    assert first.aliases == ("canary", "champion")
    assert second.aliases == ()
    assert second.status == "Approved"


@pytest.mark.parametrize(
    "entry",
    [
        Registered(1, "a", "x", {"f1": 0.5}, {"snapshot": "s"}, "t"),
        Decided(1, False, "chief", "t"),
        AliasMoved(1, "champion", "chief", "t"),
    ],
)
def test_an_entry_survives_being_written_down(entry: Registered | Decided | AliasMoved) -> None:
    assert entry_of(document_of(entry)) == entry
