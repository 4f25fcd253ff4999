"""The worker: inbox, quiet image sets, retries, dead letters, alarms."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from radloop.core.events import AlarmStateChanged
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Job, Upload
from radloop.core.tables import IMAGE_SETS, QUARANTINE
from radloop.store.revisions import Revisions
from radloop.wiring import Installation, open_local
from tests.store.house import phantom

SETTINGS = "quiet_s = 0.0\nmax_tries = 2\nbackoff_s = 0.01\nfold_threads = 1\n"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "settings.toml").write_text(SETTINGS)
    with open_local(tmp_path) as installation:
        yield installation


def told(home: Installation) -> list[str]:
    return [told.event.detail_type for told in home.platform.bus.events()]


def put_into_inbox(home: Installation, name: str, data: bytes) -> Path:
    path = home.home.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    settled = time.time() - 10
    os.utime(path, (settled, settled))
    return path


def test_files_in_the_inbox_become_an_image_set_that_closes_and_folds(home: Installation) -> None:
    files = phantom()
    for place, file in enumerate(files):
        put_into_inbox(home, f"DOE^JANE/{place}.dcm", file)
    worker = home.worker()
    worker.tick()
    worker.drain(("events",))
    worker.tick()
    worker.drain(("events", "fold"))
    (row,) = home.platform.records.find(IMAGE_SETS)
    image_set = home.images.get(row.key)
    assert (image_set.instances, image_set.is_closed, image_set.storage) == (4, True, "folded")
    assert sorted(home.images.export(i) for i in home.images.instances(row.key)) == sorted(files)
    assert [path for path in home.home.inbox.rglob("*") if path.is_file()] == []
    assert list(home.platform.blobs.keys("training-data/uploaded/")) == []


def test_the_name_of_a_file_in_the_inbox_reaches_no_event(home: Installation) -> None:
    put_into_inbox(home, "DOE^JANE.dcm", phantom()[0])
    home.worker().tick()
    (event,) = home.platform.bus.events()
    assert event.event.detail_type == "DicomUploaded"
    assert "DOE" not in str(event.event)


def test_a_file_still_being_copied_is_left_alone(home: Installation) -> None:
    path = home.home.inbox / "growing.dcm"
    path.write_bytes(phantom()[0][:1000])
    home.worker().tick()
    assert path.exists()
    assert told(home) == []


def test_a_crash_between_renaming_and_telling_loses_nothing(home: Installation) -> None:
    home.platform.blobs.put(f"training-data/uploaded/{'0' * 32}", phantom()[0])
    worker = home.worker()
    worker.tick()
    worker.drain(("events",))
    assert home.platform.records.count(IMAGE_SETS) == 1


def test_a_bad_file_in_the_inbox_is_quarantined_and_the_good_one_goes_on(home: Installation) -> None:
    put_into_inbox(home, "1.txt", b"a letter")
    put_into_inbox(home, "2.dcm", phantom()[0])
    worker = home.worker()
    worker.tick()
    worker.drain(("events",))
    assert home.platform.records.count(IMAGE_SETS) == 1
    assert home.platform.records.count(QUARANTINE) == 1
    assert home.platform.jobs.dead_letters() == []


def test_a_job_that_keeps_failing_becomes_a_dead_letter_and_an_alarm(home: Installation) -> None:
    job = Job(id="j", lane="fold", kind="fold", payload={"image_set": "0" * 32})
    home.platform.records.commit(Change(jobs=[job]))
    worker = home.worker()
    for _ in range(40):
        worker.drain(("fold",))
        time.sleep(0.02)
        if home.platform.jobs.dead_letters():
            break
    (letter,) = home.platform.jobs.dead_letters()
    assert (letter.error, letter.tries) == ("not-found", 2)
    assert told(home) == [AlarmStateChanged.__name__]


def test_an_execution_that_cannot_be_run_ends_as_failed_so_that_the_next_can_start(home: Installation) -> None:
    home.platform.pipelines.start(
        "e" * 32, {"DatasetUri": "s3://training-data/gone", "Snapshot": "s", "ContextUri": "s3://context"}
    )
    worker = home.worker()
    for _ in range(40):
        worker.drain()
        time.sleep(0.02)
        if home.platform.pipelines.get("e" * 32).state != "Executing":
            break
    assert home.platform.pipelines.get("e" * 32).state == "Failed"


def test_the_worker_runs_and_stops(home: Installation) -> None:
    import threading

    landings = home.images.land([Upload(file) for file in phantom()], by=OWNER)
    worker = home.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    deadline = time.monotonic() + 60
    while "ImageFolded" not in told(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert home.images.get(str(landings[0].image_set)).storage == "folded"
    assert told(home) == ["ImageIngested", "ImageFolded"]


def test_folding_what_was_deleted_meanwhile_is_no_fault(home: Installation) -> None:
    (identity,) = {each.image_set for each in home.images.land([Upload(file) for file in phantom()], by=OWNER)}
    assert identity is not None
    home.images.complete(identity, by=OWNER)
    Revisions(home.platform.blobs, home.platform.records, home.platform.clock, home.images).delete(identity, by=OWNER)
    home.worker().drain(("fold",))
    assert home.platform.jobs.pending("fold") == 0
    assert home.platform.jobs.dead_letters() == []


def test_packs_of_killed_processes_go_while_the_worker_works(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = home.worker()
    left = f"image-sets/{'a' * 32}/{'b' * 32}.pack"
    home.platform.blobs.put(left, b"never named")
    monkeypatch.setattr("radloop.local.worker._SWEPT_EVERY_S", 0.0)
    monkeypatch.setattr("radloop.store.leftovers.AGE_S", 0.0)
    worker.tick()
    assert list(home.platform.blobs.keys("image-sets/")) == [left], "the first look is an hour after the start"
    monkeypatch.setattr(worker, "_sweep_due", 0.0)
    worker.tick()
    assert list(home.platform.blobs.keys("image-sets/")) == []
