"""The ways out of quarantine."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radloop.core.errors import Conflict, Corrupt, Denied, NotDicom, NotFound
from radloop.core.identity import OWNER, Principal, derived_id
from radloop.core.ports import Upload
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, INSTANCES, QUARANTINE, QUARANTINE_LEFT
from radloop.store import landing
from radloop.store.quarantine import DISCARDED, KEPT, RELEASED, Quarantine, folder_of
from tests.api.installation import PHANTOM, Installation, open_installation

JUNK = b"junk"
LIMITED = Principal("limited", frozenset({"admin"}), frozenset({"A"}))


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_installation(tmp_path) as opened:
        yield opened


@pytest.fixture
def quarantine(installation: Installation) -> Quarantine:
    return Quarantine(installation.platform)


def put_aside(installation: Installation, data: bytes = JUNK) -> str:
    (landed,) = installation.platform.images.land([Upload(data, "Doe^Jane.dcm")], by=OWNER)
    assert landed.quarantine_id is not None
    return landed.quarantine_id


def misunderstood(installation: Installation, data: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """A good file that a version before this one could not read."""
    with monkeypatch.context() as before:

        def parse(_: bytes) -> None:
            raise NotDicom("it is not read yet")

        before.setattr(landing, "parse", parse)
        return put_aside(installation, data)


def blobs(installation: Installation, identity: str) -> list[str]:
    return list(installation.platform.blobs.keys(folder_of(identity)))


def audited(installation: Installation, identity: str) -> list[tuple[str, str]]:
    entries = installation.platform.audit.entries(before=0, limit=50, where={"subject": identity})
    return [(entry.action, entry.outcome) for entry in reversed(entries)]


def test_an_entry_tells_its_reason_and_nothing_of_a_patient(installation: Installation, quarantine: Quarantine) -> None:
    identity = put_aside(installation)
    (entry,) = quarantine.page(limit=5)
    assert (entry.id, entry.code, entry.size_bytes, entry.state) == (identity, "not-dicom", 4, KEPT)
    assert entry.sha256 == hashlib.sha256(JUNK).hexdigest()
    assert "Doe" not in repr(entry)
    assert quarantine.get(identity) == entry


def test_entries_come_newest_first_page_by_page_and_by_reason(
    installation: Installation, quarantine: Quarantine
) -> None:
    names = [put_aside(installation, b"%d" % number) for number in range(5)]
    cut = put_aside(installation, PHANTOM.files[0][:-10])
    first = quarantine.page(limit=3)
    rest = quarantine.page(after=first[-1].id, limit=50)
    assert [one.id for one in (*first, *rest)] == [cut, *reversed(names)]
    assert [one.id for one in quarantine.page(code="truncated-file", limit=50)] == [cut]
    assert [one.id for one in quarantine.page(code="not-dicom", after=names[3], limit=2)] == [names[2], names[1]]
    with pytest.raises(NotFound):
        quarantine.page(after="none", limit=1)


def test_what_is_understood_now_lands_as_if_it_came_now(
    installation: Installation, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PHANTOM.files[0]
    identity = misunderstood(installation, data, monkeypatch)
    done = quarantine.release(identity, by=OWNER)
    assert done.landing is not None
    assert (done.landing.outcome, done.entry.state, done.entry.left_by) == ("ingested", RELEASED, "owner")
    name = done.landing.image_set
    assert name == done.entry.image_set
    (instance,) = installation.images.instances(name)
    assert installation.images.export(instance) == data
    assert quarantine.page(limit=5) == []
    assert blobs(installation, identity) == []
    assert audited(installation, identity) == [("quarantine", "success"), ("quarantine.release", "success")]
    again = quarantine.release(identity, by=OWNER)
    assert (again.entry, again.landing) == (done.entry, None)
    with pytest.raises(Conflict):
        quarantine.discard(identity, by=OWNER)
    assert installation.platform.records.count(INSTANCES) == 1


def test_what_came_again_by_another_way_meanwhile_is_a_duplicate(
    installation: Installation, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = misunderstood(installation, PHANTOM.files[0], monkeypatch)
    installation.platform.images.land([Upload(PHANTOM.files[0])], by=OWNER)
    done = quarantine.release(identity, by=OWNER)
    assert done.landing is not None
    assert (done.landing.outcome, done.entry.state) == ("duplicate", RELEASED)


def test_it_lands_in_the_data_store_that_is_named(
    installation: Installation, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = misunderstood(installation, PHANTOM.files[0], monkeypatch)
    other = derived_id("datastore", "other")
    done = quarantine.release(identity, by=OWNER, datastore=other)
    assert installation.images.get(str(done.entry.image_set)).datastore == other != DEFAULT_DATASTORE


def test_what_is_refused_for_the_same_reason_stays_as_it_was(
    installation: Installation, quarantine: Quarantine
) -> None:
    identity = put_aside(installation)
    before = quarantine.get(identity)
    for _ in range(2):
        done = quarantine.release(identity, by=OWNER)
        assert (done.entry, done.is_same) == (before, True)
    assert quarantine.file(identity, by=OWNER) == JUNK
    assert audited(installation, identity)[1:] == [
        ("quarantine.release", "refused"),
        ("quarantine.release", "refused"),
        ("quarantine.download", "success"),
    ]


def test_what_is_refused_for_another_reason_stays_under_that(
    installation: Installation, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = misunderstood(installation, PHANTOM.files[0][:-10], monkeypatch)
    done = quarantine.release(identity, by=OWNER)
    assert (done.entry.state, done.entry.code, done.is_same) == (KEPT, "truncated-file", False)
    assert quarantine.get(identity) == done.entry
    assert [one.id for one in quarantine.page(code="truncated-file", limit=5)] == [identity]
    reason = installation.platform.blobs.get(f"{folder_of(identity)}/reason.json")
    assert b"truncated-file" in reason
    assert b"wrapped_key" not in reason
    assert quarantine.release(identity, by=OWNER).is_same


def test_what_is_discarded_leaves_who_and_when_and_no_key(installation: Installation, quarantine: Quarantine) -> None:
    identity = put_aside(installation)
    gone = quarantine.discard(identity, by=replace(OWNER, id="ada"))
    assert (gone.state, gone.left_by, gone.code) == (DISCARDED, "ada", "not-dicom")
    assert quarantine.discard(identity, by=OWNER) == gone == quarantine.get(identity)
    assert blobs(installation, identity) == []
    records = installation.platform.records
    assert records.get(QUARANTINE, identity) is None
    grave = records.get(QUARANTINE_LEFT, identity)
    assert grave is not None
    assert "wrapped_key" not in grave.document
    assert audited(installation, identity) == [("quarantine", "success"), ("quarantine.discard", "success")]
    for act in (quarantine.release, quarantine.file):
        with pytest.raises(Conflict, match="discarded"):
            act(identity, by=OWNER)


def test_what_was_discarded_and_comes_again_is_kept_again(installation: Installation, quarantine: Quarantine) -> None:
    identity = put_aside(installation)
    quarantine.discard(identity, by=OWNER)
    assert put_aside(installation) == identity
    assert quarantine.get(identity).state == KEPT
    assert quarantine.file(identity, by=OWNER) == JUNK
    assert quarantine.discard(identity, by=OWNER).state == DISCARDED


@pytest.mark.parametrize("done", [0, 1])
def test_what_a_crash_left_half_discarded_the_next_start_finishes(
    installation: Installation, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    identity = put_aside(installation)
    delete, left = installation.platform.blobs.delete, iter([None] * done)

    def dies(key: str) -> None:
        next(left)
        delete(key)

    with monkeypatch.context() as crash:
        crash.setattr(installation.platform.blobs, "delete", dies)
        with pytest.raises(StopIteration):
            quarantine.discard(identity, by=OWNER)
    assert quarantine.get(identity).state == DISCARDED
    assert quarantine.page(limit=5) == []
    quarantine.discard(identity, by=OWNER)
    quarantine.sweep()
    assert blobs(installation, identity) == []
    assert installation.platform.records.get(QUARANTINE, identity) is None
    assert quarantine.get(identity).state == DISCARDED


def test_who_is_limited_to_some_patients_opens_and_moves_nothing(
    installation: Installation, quarantine: Quarantine
) -> None:
    identity = put_aside(installation)
    for act in (quarantine.release, quarantine.file, quarantine.discard):
        with pytest.raises(Denied):
            act(identity, by=LIMITED)
    assert quarantine.get(identity).state == KEPT


def test_a_file_of_a_patient_out_of_scope_is_released_by_somebody_who_is_not_limited(
    installation: Installation, quarantine: Quarantine
) -> None:
    (landed,) = installation.platform.images.land([Upload(PHANTOM.files[0])], by=LIMITED)
    assert landed.reason == "out-of-scope"
    quarantine.release(str(landed.quarantine_id), by=OWNER)
    assert installation.platform.records.count(IMAGE_SETS, {"patient_id": PHANTOM.patient_id}) == 1


def test_damaged_bytes_are_not_landed_and_can_be_discarded(installation: Installation, quarantine: Quarantine) -> None:
    identity = put_aside(installation)
    key = f"{folder_of(identity)}/file.sealed"
    sealed = installation.platform.blobs.get(key)
    installation.platform.blobs.put(key, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(Corrupt):
        quarantine.release(identity, by=OWNER)
    installation.platform.blobs.delete(key)
    with pytest.raises(Corrupt, match="gone"):
        quarantine.file(identity, by=OWNER)
    assert quarantine.discard(identity, by=OWNER).state == DISCARDED


def test_what_never_was_there_is_not_found(quarantine: Quarantine) -> None:
    for act in (quarantine.release, quarantine.file, quarantine.discard):
        with pytest.raises(NotFound):
            act("none", by=OWNER)
