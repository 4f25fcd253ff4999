import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop.core.errors import Conflict, Corrupt, NotFound, TooLarge
from radloop.core.identity import OWNER, Principal
from radloop.core.settings import Settings
from radloop.core.tables import DRAFT_PIECES, TABLES
from radloop.local.blobs import FileBlobs
from radloop.local.database import Database
from radloop.local.jobs import SqliteJobs
from radloop.local.records import SqliteRecords
from radloop.security.sealing import Keyring
from radloop.store.drafts import LANDING, LANE, RECEIVING, Draft, Drafts

OTHER = Principal("other", frozenset({"reader"}))


class Desk:
    """Drafts on a real disk, and a clock that goes only when told."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 1, 5, tzinfo=UTC)
        self.database = Database(folder / "index.sqlite", bytes(32), TABLES)
        self.blobs = FileBlobs(folder / "objects")
        self.records = SqliteRecords(self.database, lambda: self.now)
        self.jobs = SqliteJobs(self.database)
        kept = Settings(upload_gigabytes=1e-3, uploads_at_once=200, upload_hours=2)
        self.drafts = Drafts(self.blobs, self.records, Keyring(os.urandom(32)), lambda: self.now, kept)

    def send(self, draft: Draft, data: bytes) -> Draft:
        appending = self.drafts.appending(draft, draft.offset)
        appending.add(data)
        return appending.settle()

    def content(self, draft: Draft) -> bytes:
        source = self.drafts.source(draft)
        return source.read(0, source.size)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    opened = Desk(tmp_path_factory.mktemp("desk"))
    yield opened
    opened.database.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8),
    spans=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=6),
)
def test_what_was_sent_in_any_pieces_is_read_from_any_place(
    desk: Desk, parts: list[bytes], spans: list[tuple[int, int]]
) -> None:
    whole = b"".join(parts)
    draft = desk.drafts.begin(OWNER, len(whole))
    for part in parts:
        assert draft.state == RECEIVING
        draft = desk.send(draft, part)
    assert draft == desk.drafts.get(draft.id, OWNER)
    assert (draft.state, draft.offset, draft.pieces) == (LANDING, len(whole), len(parts))
    source = desk.drafts.source(draft)
    for start, end in spans:
        assert source.read(start, end) == whole[start:end]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["first", "second", "crash", "stale"]), max_size=12))
def test_of_two_that_send_one_wins_and_the_bytes_are_always_a_beginning(desk: Desk, steps: list[str]) -> None:
    whole = bytes(range(100))
    draft = desk.drafts.begin(OWNER, len(whole))
    old = draft
    for step in steps:
        current = desk.drafts.get(draft.id)
        believed = old if step == "stale" else current
        appending = desk.drafts.appending(believed, believed.offset)
        appending.add(whole[believed.offset :][:7] or b"") if believed.offset < len(whole) else None
        if step == "crash":
            continue
        if step == "stale" and believed.revision != current.revision:
            with pytest.raises(Conflict):
                appending.settle()
        else:
            appending.settle()
        old = current
        now = desk.drafts.get(draft.id)
        assert desk.content(now) == whole[: now.offset]
    desk.drafts.sweep()
    assert len(list(desk.blobs.keys(f"drafts/{draft.id}/"))) == desk.drafts.get(draft.id).pieces


def test_nothing_of_a_draft_lies_on_the_disk_in_clear(desk: Desk) -> None:
    draft = desk.send(desk.drafts.begin(OWNER, 100), b"DOE^JANE" * 5)
    (key,) = desk.blobs.keys(f"drafts/{draft.id}/")
    assert b"DOE^JANE" not in desk.blobs.get(key)
    damaged = bytearray(desk.blobs.get(key))
    damaged[-1] ^= 1
    desk.blobs.put(key, bytes(damaged))
    with pytest.raises(Corrupt):
        desk.content(draft)
    desk.blobs.delete(key)
    with pytest.raises(Corrupt):
        desk.content(draft)


def test_a_draft_is_its_owners_alone(desk: Desk) -> None:
    draft = desk.drafts.begin(OWNER, 1)
    with pytest.raises(NotFound) as foreign:
        desk.drafts.get(draft.id, OTHER)
    with pytest.raises(NotFound) as nothing:
        desk.drafts.get("0" * 32, OTHER)
    assert str(foreign.value) == str(nothing.value)


def test_too_long_and_too_many_are_refused(desk: Desk) -> None:
    with pytest.raises(TooLarge):
        desk.drafts.begin(OWNER, 1_000_001)
    draft = desk.drafts.begin(OWNER, 3)
    with pytest.raises(TooLarge):
        desk.send(draft, b"four")
    busy = Principal("busy", frozenset())
    for _ in range(200):
        desk.drafts.begin(busy, 1)
    with pytest.raises(TooLarge, match="unfinished"):
        desk.drafts.begin(busy, 1)


def test_the_last_byte_asks_for_the_landing_in_the_same_commit(desk: Desk) -> None:
    before = desk.jobs.pending(LANE)
    draft = desk.send(desk.drafts.begin(OWNER, 3), b"abc")
    assert desk.jobs.pending(LANE) == before + 1
    with pytest.raises(Conflict):
        desk.drafts.remove(draft, by=OWNER)
    empty = desk.drafts.begin(OWNER, 0)
    assert empty.state == LANDING
    assert desk.jobs.pending(LANE) == before + 2


def test_what_is_not_gone_on_with_expires_and_what_lands_does_not(desk: Desk) -> None:
    idle, landing = desk.drafts.begin(OWNER, 9), desk.send(desk.drafts.begin(OWNER, 1), b"x")
    idle = desk.send(idle, b"abc")
    desk.now += timedelta(hours=1)
    busy = desk.send(desk.send(desk.drafts.begin(OWNER, 9), b"abc"), b"def")
    desk.now += timedelta(hours=1, minutes=1)
    with pytest.raises(NotFound):
        desk.drafts.get(idle.id)
    assert desk.drafts.sweep_expired() >= 1
    assert not list(desk.blobs.keys(f"drafts/{idle.id}/"))
    assert not desk.records.find(DRAFT_PIECES, {"draft": idle.id})
    assert desk.content(desk.drafts.get(busy.id)) == b"abcdef"
    assert desk.content(desk.drafts.get(landing.id)) == b"x"
