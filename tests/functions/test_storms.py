"""Storms of verifications through the real bus, worker, records and pipeline runner; only the training pretends."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from radloop import wiring
from radloop.core.identity import derived_id
from radloop.core.images import Confidence, Finding, ImageSet, Seen, State
from radloop.core.ports import Change
from radloop.core.tables import DEFAULT_DATASTORE, EXECUTIONS, put_image_set
from radloop.local.jobs import SqliteJobs
from radloop.pipeline.pipeline_builder import definition_of
from radloop.store.images import ImageStore
from radloop.wiring import Installation, open_local
from tests.local.pipeline_home import pretending

STORM = 500
SETTINGS = """
retrain_delay_s = 1.0
retrain_least_per_class = 2
backoff_s = 0.05
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["0", "0.2"], ids=["quick runs", "runs that outlast the quiet time"])
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Installation]:
    (tmp_path / "settings.toml").write_text(SETTINGS)
    environment = {"FAKE_EPOCH_S": request.param}
    monkeypatch.setattr(
        wiring, "definition_of", lambda recipe: pretending(definition_of(recipe), tmp_path, environment)
    )
    monkeypatch.setattr(ImageStore, "volume", lambda _self, _identity: np.zeros((1, 2, 2), np.uint16))
    with open_local(tmp_path) as installation:
        worker = installation.worker()
        working = threading.Thread(target=worker.run)
        working.start()
        yield installation
        worker.stop()
        working.join(timeout=20)


def test_two_storms_of_500_verifications_are_one_run_each(home: Installation) -> None:
    for storm in (1, 2):
        verify(home, stored(home, storm))
        wait_until(lambda: is_quiet(home))
        assert len(triggered(home)) == storm
        manifest = home.platform.blobs.get(f"training-data/snapshots/{triggered(home)[-1]}/manifest.jsonl")
        assert manifest.count(b"\n") == storm * STORM
    assert [run.state for run in home.platform.pipelines.executions()] == ["Succeeded", "Succeeded"]
    assert len(home.platform.models.versions()) == 2
    assert home.platform.jobs.dead_letters() == []


def test_a_storm_that_comes_while_a_run_is_on_is_one_more_run(home: Installation) -> None:
    first, second = stored(home, 1), stored(home, 2)
    verify(home, first)
    wait_until(lambda: home.platform.records.count(EXECUTIONS) == 1)
    verify(home, second)
    wait_until(lambda: is_quiet(home))
    assert len(triggered(home)) == 2
    assert home.platform.jobs.dead_letters() == []


def stored(home: Installation, storm: int) -> list[ImageSet]:
    """Closed image sets of as many patients, not yet verified."""
    now = datetime.now(UTC)
    found = [image_set(f"storm-{storm}-{number}", now) for number in range(STORM)]
    home.platform.records.commit(Change(writes=[put_image_set(one, expected=0) for one in found]))
    return found


def image_set(patient: str, now: datetime) -> ImageSet:
    return ImageSet(
        id=derived_id("storm", patient),
        version=1,
        state=State.INGESTED,
        is_closed=True,
        patient_id=patient,
        study_uid=f"1.2.{patient.replace('storm-', '').replace('-', '.')}",
        series_uid="1.2.3",
        attributes={"Modality": "DX"},
        instances=1,
        frames=1,
        landed=0,
        kept=0,
        original_bytes=1,
        stored_bytes=1,
        notices=(),
        geometry={},
        truth=None,
        prediction=None,
        wrapped_key=b"\0",
        datastore=DEFAULT_DATASTORE,
        created_at=now,
        updated_at=now,
    )


def verify(home: Installation, found: list[ImageSet]) -> None:
    """One commit a finding, as fast as they go."""
    finding = Finding(present=True, site=None, confidence=Confidence.HIGH, note="", seen=Seen(0, "lossless"))
    for number, one in enumerate(found):
        now = datetime.now(UTC)
        after, happening = one.verify(replace(finding, present=bool(number % 2)), version=1, by="reader", at=now)
        events = [happening.told(at=now)]
        home.platform.records.commit(Change(writes=[put_image_set(after, expected=1)], events=events))


def triggered(home: Installation) -> list[str]:
    told = home.platform.bus.events(limit=10_000)
    return [str(one.event.detail["snapshot"]) for one in told if one.event.detail_type == "PipelineTriggered"]


def is_quiet(home: Installation) -> bool:
    """Nothing is left to route, to do or to wait for."""
    jobs = home.platform.jobs
    assert isinstance(jobs, SqliteJobs)
    return home.platform.bus.route() == 0 and not any(jobs.pending(lane) for lane in ("events", "pipeline"))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    time.sleep(0.2)
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
