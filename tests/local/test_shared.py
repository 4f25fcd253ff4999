"""What several door processes know of each other."""

import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from radloop.local.shared import SharedNotes

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def admit(path: Path, first: int) -> int:
    notes = SharedNotes(path)
    return sum(notes.admit(f"{number:064x}"[::-1], NOW, NOW + timedelta(minutes=5)) for number in range(first, 200))


def take(path: Path) -> int:
    notes = SharedNotes(path)
    return sum(notes.take("x", 50.0) for _ in range(100))


def test_a_signature_is_accepted_once_whichever_process_it_comes_to(tmp_path: Path) -> None:
    first, second = SharedNotes(tmp_path / "notes"), SharedNotes(tmp_path / "notes")
    assert first.admit("ab" * 32, NOW, NOW + timedelta(minutes=5))
    assert second.admit("ab" * 32, NOW + timedelta(seconds=1), NOW + timedelta(minutes=5))  # a retry at once
    assert not second.admit("ab" * 32, NOW + timedelta(seconds=3), NOW + timedelta(minutes=5))
    assert not first.admit("ab" * 32, NOW + timedelta(seconds=4), NOW + timedelta(minutes=5))


def test_old_signatures_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radloop.local.shared._FORGET_EVERY", 2)
    notes = SharedNotes(tmp_path / "notes")
    notes.admit("ab" * 32, NOW, NOW + timedelta(seconds=1))
    notes.admit("cd" * 32, NOW + timedelta(seconds=10), NOW + timedelta(seconds=20))
    assert notes.admit("ab" * 32, NOW + timedelta(seconds=11), NOW + timedelta(seconds=20))


def test_a_bucket_is_emptied_by_all_and_fills_with_time(tmp_path: Path) -> None:
    first, second = SharedNotes(tmp_path / "notes"), SharedNotes(tmp_path / "notes")
    assert [first.take("x", 2.0), second.take("x", 2.0), first.take("x", 2.0)] == [True, True, False]
    assert second.take("y", 2.0)
    time.sleep(0.6)
    assert second.take("x", 2.0)


def test_a_wrong_password_counts_in_every_process_and_a_right_one_forgives_in_every_one(tmp_path: Path) -> None:
    first, second = SharedNotes(tmp_path / "notes"), SharedNotes(tmp_path / "notes")
    assert [notes.begin("anna", 100.0) for notes in (first, second, first)] == [0.0, 0.0, 0.0]
    assert second.begin("anna", 100.25) == pytest.approx(0.75)
    assert second.begin("bert", 100.25) == 0.0
    assert second.begin("anna", 101.0) == 0.0
    assert first.begin("anna", 101.0) == pytest.approx(2.0)
    second.forgive("anna")
    assert [first.begin("anna", 101.0), second.begin("anna", 101.0)] == [0.0, 0.0]


def test_failures_are_forgotten_after_an_hour_and_names_are_not_written_down(tmp_path: Path) -> None:
    notes = SharedNotes(tmp_path / "notes")
    for now in (100.0, 100.0, 100.0):
        notes.begin("secret-name", now)
    notes.begin("other", 3800.0)
    assert [notes.begin("secret-name", 3800.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    notes.close()
    assert b"secret-name" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def try_password(path: Path) -> int:
    notes = SharedNotes(path)
    return sum(notes.begin("anna", 100.0) == 0.0 for _ in range(100))


def test_processes_that_try_at_once_have_no_more_tries_than_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert sum(pool.map(try_password, [tmp_path / "notes"] * 3)) == 3


def test_processes_that_write_at_once_wait_for_each_other(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        admitted = pool.starmap(admit, [(tmp_path / "notes", 0)] * 3)
        taken = pool.map(take, [tmp_path / "notes"] * 3)
    assert len(admitted) == 3
    assert 50 <= sum(taken) < 150
