"""The model registry on records: what only this adapter promises, and the ledger itself."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from radloop.core.ports import Models, Put, Reason
from radloop.core.tables import LEDGER, TABLES
from radloop.local.audit import SqliteAudit
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from radloop.registry.ledger import (
    AliasMoved,
    Approval,
    Decided,
    Entry,
    Held,
    Registered,
    RolledBack,
    chained,
    check_chain,
    document_of,
    entry_of,
    head_of,
    versions_of,
)
from radloop.registry.models import RecordModels
from tests.contracts.models import ModelsContract, register, serve, version_of

NOW = datetime(2026, 1, 5, tzinfo=UTC)


class Hands:
    """A clock that shows what it is set to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


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
    models.hold(2, [Reason("no-plan", "."), Reason("no-plan", "again"), Reason("late", ".")])
    models.decide(2, approved=False, by="chief")
    register(models, "c")
    models.decide(3, approved=True, by="chief")
    models.roll_back(by="ann", reason="drift")
    told = [(told.event.detail_type, dict(told.event.detail)) for told in SqliteBus(database, ()).events()]
    assert told == [
        ("ModelRegistered", {"model_version": 1, "execution": "a"}),
        ("ModelApproved", {"model_version": 1, "execution": "a", "approved_by": "chief"}),
        ("ModelRegistered", {"model_version": 2, "execution": "b"}),
        ("ReleaseHeld", {"model_version": 2, "execution": "b", "reasons": ["no-plan", "late"]}),
        ("ModelRegistered", {"model_version": 3, "execution": "c"}),
        ("ModelApproved", {"model_version": 3, "execution": "c", "approved_by": "chief"}),
        (
            "ModelRolledBack",
            {"model_version": 3, "serving_version": 1, "reason": "drift", "rolled_back_by": "ann", "entry": 10},
        ),
    ]
    audit = list(database.read().execute("SELECT principal, action, subject FROM audit ORDER BY seq"))
    assert [each for each in audit if each[1] != "ledger"] == [
        ("radloop", "register", "model-1"),
        ("chief", "approve", "model-1"),
        ("radloop", "register", "model-2"),
        ("radloop", "hold", "model-2"),
        ("chief", "reject", "model-2"),
        ("radloop", "register", "model-3"),
        ("chief", "approve", "model-3"),
        ("ann", "roll-back", "model-3"),
    ]
    heads = [subject for _, action, subject in audit if action == "ledger"]
    assert heads[-1] == models.verify().head
    assert len(set(heads)) == len(heads) == 8


def test_taking_the_same_version_back_twice_is_told_twice(database: Database, records: SqliteRecords) -> None:
    models = RecordModels(records, lambda: NOW)
    serve(models, 2)
    for _ in range(2):
        models.roll_back(by="ann", reason="drift", to=1)
        models.roll_back(by="ann", reason="not-intended", to=2)
    told = [told.event for told in SqliteBus(database, ()).events() if told.event.detail_type == "ModelRolledBack"]
    assert [event.detail["model_version"] for event in told] == [2, 1, 2, 1]


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
    assert [key for key, _ in before] == [f"entry-{n:08d}" for n in range(1, 10)]
    assert len(records.find(LEDGER, {"action": "alias"})) == 3


def test_the_last_move_of_an_alias_counts() -> None:
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


ENTRIES: tuple[Entry, ...] = (
    Registered(1, "a", "x", {"f1": 0.5, "curve": [0.1, 1e-17]}, {"snapshot": "s"}, NOW.isoformat()),
    Held(1, [{"code": "no-plan", "sentence": "There is no plan."}], NOW.isoformat()),
    Approval(1, "ann", "evidence-reviewed", True, NOW.isoformat()),
    Decided(1, True, "chief", NOW.isoformat(), "evidence-reviewed", ["ann", "chief"], {"package_sha256": "0"}),
    AliasMoved(1, "champion", "chief", NOW.isoformat()),
    RolledBack(1, 2, "ann", "drift", NOW.isoformat()),
)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_survives_being_written_down(entry: Entry) -> None:
    assert entry_of(document_of(entry)) == entry
    (written,) = chained([entry], 0, "0" * 64)
    assert entry_of(json.loads(json.dumps(written))) == entry


def test_what_is_no_number_is_written_as_nothing_and_still_follows(records: SqliteRecords) -> None:
    models = RecordModels(records, lambda: NOW)
    models.register(
        execution="a", artifact="m", metrics={"auc": float("nan"), "f1": float("inf"), "parts": (1, 2)}, lineage={}
    )
    register(models, "b")
    assert models.get(1).metrics == {"auc": None, "f1": None, "parts": [1, 2]}
    assert models.verify().broken_at is None


def test_what_another_process_wrote_is_told_at_once(records: SqliteRecords) -> None:
    here, there = RecordModels(records, lambda: NOW), RecordModels(records, lambda: NOW)
    for number in range(1, 4):
        register(here, f"e{number}")
        assert version_of(there.shadow()) == number
        there.decide(number, approved=True, by="chief")
        assert version_of(here.champion()) == number
        assert len(here.servings()) == number
    there.roll_back(by="ann", reason="drift")
    assert version_of(here.champion()) == 2


# Tampering


def written_ledger() -> list[dict[str, Any]]:
    return chained(ENTRIES, 0, "0" * 64)


def test_a_whole_chain_holds() -> None:
    verdict = check_chain(written_ledger())
    assert (verdict.entries, verdict.broken_at) == (len(ENTRIES), None)


@pytest.mark.parametrize("place", range(len(ENTRIES)))
def test_an_entry_that_was_changed_is_found(place: int) -> None:
    ledger = written_ledger()
    for name in ledger[place]:
        changed = [dict(each) for each in ledger]
        changed[place][name] = "f" * 64 if name in {"before", "hash"} else "something else"
        assert check_chain(changed).broken_at == place + 1, name
        del changed[place][name]
        assert check_chain(changed).broken_at in {place + 1, place + 2} or place == len(ENTRIES) - 1, name


@pytest.mark.parametrize("place", range(len(ENTRIES) - 1))
def test_an_entry_that_was_taken_out_put_in_or_exchanged_is_found(place: int) -> None:
    ledger = written_ledger()
    assert check_chain([*ledger[:place], *ledger[place + 1 :]]).broken_at == place + 1
    assert check_chain([*ledger[: place + 1], ledger[place], *ledger[place + 1 :]]).broken_at == place + 2
    swapped = [*ledger[:place], ledger[place + 1], ledger[place], *ledger[place + 2 :]]
    assert check_chain(swapped).broken_at == place + 1


def test_an_entry_that_was_forged_with_its_hash_breaks_the_next(records: SqliteRecords) -> None:
    ledger = written_ledger()
    forged = chained([Decided(1, False, "mallory", NOW.isoformat())], 3, head_of(ledger[:3]))
    assert check_chain([*ledger[:3], *forged, *ledger[4:]]).broken_at == 5


def test_a_changed_record_is_found_in_the_database(database: Database, records: SqliteRecords) -> None:
    models = RecordModels(records, lambda: NOW)
    serve(models, 2)
    row = records.find(LEDGER)[1]
    document = {**row.document, "by": "mallory"}
    records.commit(change_of(Put(LEDGER, row.key, document, row.columns, expected=None)))
    assert models.verify().broken_at == 2


def test_a_ledger_that_was_cut_short_does_not_end_as_the_audit_says(database: Database, records: SqliteRecords) -> None:
    models = RecordModels(records, lambda: NOW)
    serve(models, 2)
    database.write(lambda connection: connection.execute("DELETE FROM model_ledger WHERE key >= 'entry-00000005'"))
    assert models.verify().broken_at is None, "what is left is whole in itself"
    (noted,) = SqliteAudit(database, records, lambda: NOW).entries(where={"action": "ledger"}, limit=1)
    assert noted.subject != models.verify().head


def change_of(put: Put) -> Any:
    from radloop.core.ports import Change

    return Change(writes=[put])


# Homes of before there was a chain


def old_ledger(records: SqliteRecords) -> None:
    """What radloop wrote before: version 1 approved and serving."""
    old: dict[str, Entry] = {
        "00000001": Registered(1, "a", "m", {"accuracy": 0.9}, {"snapshot": "s"}, NOW.isoformat()),
        "00000001.decided": Decided(1, True, "policy", NOW.isoformat()),
        "champion.00000001": AliasMoved(1, "champion", "policy", NOW.isoformat()),
    }
    for key, entry in old.items():
        document = document_of(entry)
        for added in ("reason", "approvers", "evidence"):
            document.pop(added, None)
        records.commit(change_of(Put(LEDGER, key, document, {"action": document["action"]}, expected=0)))


def test_a_home_of_before_goes_on_and_is_sealed_by_its_next_entry(records: SqliteRecords) -> None:
    old_ledger(records)
    models = RecordModels(records, lambda: NOW)
    assert version_of(models.champion()) == 1
    assert models.verify().broken_at is None
    serving = models.serving_on(NOW)
    assert serving is not None
    assert (serving.version, serving.approved_by, dict(serving.evidence)) == (1, ("policy",), {})
    register(models, "b")
    assert [row.key for row in records.find(LEDGER)][-1] == "entry-00000004"
    assert models.verify().broken_at is None
    assert register(models, "a").version == 1
    row = records.find(LEDGER)[1]
    records.commit(change_of(Put(LEDGER, row.key, {**row.document, "by": "mallory"}, row.columns)))
    assert models.verify().broken_at == 4, "the first chained entry no longer follows from those of before"


# What served when


def test_what_served_at_a_moment_is_told_with_who_approved_it_and_why(records: SqliteRecords) -> None:
    clock = Hands()
    models = RecordModels(records, clock)
    register(models, "a")
    clock.now = NOW + timedelta(hours=1)
    models.decide(1, approved=True, by="ann", reason="evidence-reviewed", needed=2)
    models.decide(1, approved=True, by="bob", needed=2, evidence={"package_sha256": "p"}, reason="clinical-need")
    clock.now = NOW + timedelta(hours=2)
    register(models, "b")
    models.decide(2, approved=True, by="plan", evidence={"plan_sha256": "q"})
    clock.now = NOW + timedelta(hours=3)
    models.roll_back(by="carl", reason="incident")
    assert models.serving_on(NOW + timedelta(minutes=59)) is None
    first = models.serving_on(NOW + timedelta(minutes=90))
    assert first is not None
    assert (first.version, first.approved_by, first.reason) == (1, ("ann", "bob"), "clinical-need")
    assert (first.since, first.until) == (NOW + timedelta(hours=1), NOW + timedelta(hours=2))
    assert first.evidence == {"package_sha256": "p"}
    second = models.serving_on(NOW + timedelta(hours=2, minutes=30))
    assert second is not None
    assert (second.version, second.approved_by, second.evidence) == (2, ("plan",), {"plan_sha256": "q"})
    third = models.serving_on(NOW + timedelta(days=400))
    assert third is not None
    assert (third.version, third.until, third.moved_by, third.rollback_reason) == (1, None, "carl", "incident")
    assert third.approved_by == ("ann", "bob"), "the approval of then, not the rollback, put it to work"


def test_a_version_serves_from_its_very_moment_on_and_not_a_microsecond_before(records: SqliteRecords) -> None:
    clock = Hands()
    models = RecordModels(records, clock)
    serve(models, 1)
    clock.now = NOW + timedelta(seconds=1)
    serve(models, 1)
    tick = timedelta(microseconds=1)
    moments = [NOW - tick, NOW, NOW + timedelta(seconds=1) - tick, NOW + timedelta(seconds=1)]
    found = [models.serving_on(at) for at in moments]
    assert [None if each is None else each.version for each in found] == [None, 1, 1, 2]


def test_of_two_that_went_to_work_in_the_same_instant_the_later_entry_counts(records: SqliteRecords) -> None:
    models = RecordModels(records, lambda: NOW)
    serve(models, 3)
    found = models.serving_on(NOW)
    assert found is not None
    assert found.version == 3


def test_a_clock_that_is_set_back_does_not_reorder_the_ledger(records: SqliteRecords) -> None:
    clock = Hands()
    models = RecordModels(records, clock)
    serve(models, 1)
    clock.now = NOW - timedelta(hours=5)
    serve(models, 1)
    clock.now = NOW + timedelta(hours=1)
    serve(models, 1)
    entries = [datetime.fromisoformat(entry["at"]) for entry in models.ledger()]
    assert entries == sorted(entries)
    assert models.serving_on(NOW - timedelta(hours=4)) is None
    found = models.serving_on(NOW)
    assert found is not None
    assert found.version == 2
