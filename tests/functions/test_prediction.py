"""The model looks at what comes in, once, and what is not to be judged or shown is neither."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from radloop.core.errors import Conflict, Corrupt, NoChampion, NotFound, Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.core.images import Confidence, Finding, ImageSet, Seen
from radloop.core.ports import Change
from radloop.core.reads import Project, ReadingPolicy, put_project
from radloop.core.tables import ASKED, DEFAULT_DATASTORE, IMAGE_SETS, image_set_of
from radloop.functions import prediction
from radloop.functions.prediction import ask_worker, saliency_kept, shown_grey, standing
from radloop.functions.shadow import comparison
from radloop.reading.truth import verify
from radloop.serving.champion import Champion
from tests.functions.serving_home import ServingHome, serving_home
from tests.serving.small_model import films

FILMS = films(12, seed=5)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ServingHome]:
    with serving_home(tmp_path) as opened:
        yield opened


def test_a_new_image_set_is_judged_by_itself_and_what_it_said_is_kept(home: ServingHome) -> None:
    home.put_to_work()
    identity = home.land(FILMS[0], "P1")
    home.work()
    kept = home.image_set(identity).prediction
    assert kept is not None
    assert (kept["model_version"], kept["calibrated"], kept["refused"], kept["frames"]) == (1, True, None, [0])
    assert kept["finding"] in {"present", "absent"}
    (row,) = home.rows()
    assert row.document["tags"] == {"modality": "DX", "scanner": "unknown", "view": "PA"}
    assert row.document["patient"] == home.platform.keys.pseudonym("P1")
    assert "P1" not in str(row.document)


def test_without_a_model_or_against_the_setting_nothing_is_judged(tmp_path: Path) -> None:
    with serving_home(tmp_path) as home:
        home.land(FILMS[0], "P1")
        home.work()
        assert home.rows() == []
    (tmp_path / "still").mkdir()
    with serving_home(tmp_path / "still", "predict_new = false\n") as home:
        home.put_to_work()
        home.land(FILMS[1], "P2")
        home.work()
        assert home.rows() == []


def test_all_that_is_new_is_judged_once_and_a_worker_that_died_goes_on(home: ServingHome) -> None:
    identities = [home.land(film, f"P{number}") for number, film in enumerate(FILMS[:5])]
    home.work()
    with pytest.raises(NoChampion):
        prediction.ask_for_all(home.platform, by=OWNER)
    home.put_to_work()
    assert prediction.ask_for_all(home.platform, by=OWNER, patients=frozenset({"P0"})) == 1
    assert prediction.ask_for_all(home.platform, by=OWNER) == 5, "the one that waits is counted too"
    home.worker._once("predict")
    claimed = home.platform.jobs.claim("predict")
    assert claimed is not None, "and dies here"
    home.platform.jobs.release_abandoned()
    home.work()
    assert len(home.rows()) == 5
    assert standing(home.platform) == {"model_version": 1, "predicted": 5, "refused": 0, "waiting": 0}
    assert prediction.ask_for_all(home.platform, by=OWNER) == 0
    assert {home.image_set(each).prediction is None for each in identities} == {False}


def test_a_new_champion_finds_everything_new_again(home: ServingHome) -> None:
    home.put_to_work(bias=9.0)
    identity = home.land(FILMS[0], "P1")
    home.work()
    home.put_to_work(bias=-9.0)
    assert prediction.ask_for([identity, identity], home.platform, by=OWNER) >= 1
    home.work()
    kept = home.image_set(identity).prediction
    assert kept is not None
    assert (kept["model_version"], kept["finding"]) == (2, "absent")
    assert len(home.rows()) == 2, "what the one before said stays with it"
    with pytest.raises(NotFound):
        prediction.ask_for(["0" * 32], home.platform, by=OWNER)


def test_what_is_no_chest_is_refused_and_nothing_is_shown_of_it(home: ServingHome) -> None:
    home.put_to_work()
    noise = np.random.default_rng(1).integers(0, 65536, (1, 40, 40)).astype(np.uint16)
    identity = home.land(noise, "P1")
    home.work()
    image_set = home.image_set(identity)
    assert image_set.prediction is not None
    assert (image_set.prediction["probability"], image_set.prediction["finding"]) == (None, None)
    assert image_set.prediction["refused"] == "out-of-distribution"
    with pytest.raises(NotFound):
        saliency_kept(image_set, home.platform)
    (row,) = home.rows(refused="out-of-distribution")
    assert 0 <= row.document["probability"] <= 1, "what drift is measured on"
    assert standing(home.platform)["refused"] == 1


def test_reading_changes_no_image_and_a_late_film_does(home: ServingHome) -> None:
    home.put_to_work()
    identity = home.land(FILMS[0], "P1")
    home.work()
    home.read(identity, present=True)
    read = home.image_set(identity)
    assert read.version == 2
    assert saliency_kept(read, home.platform).frames == (0,)
    assert prediction.ask_for([identity], home.platform, by=OWNER) == 0
    late = replace(read, instances=2, frames=2)
    with pytest.raises(NotFound):
        saliency_kept(late, home.platform)


def test_who_reads_while_the_model_looks_does_not_keep_it_from_answering(
    home: ServingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.put_to_work()
    identity = home.land(FILMS[0], "P1")
    look = Champion.predict

    def slowly(champion: Champion, *arguments: object) -> object:
        if home.image_set(identity).version == 1:
            home.read(identity, present=True)
        return look(champion, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Champion, "predict", slowly)
    home.work()
    assert home.image_set(identity).prediction is not None


def test_what_a_model_made_is_judged_by_no_model(home: ServingHome, monkeypatch: pytest.MonkeyPatch) -> None:
    home.put_to_work()
    identity = home.land(FILMS[0], "P1")
    image_set = home.image_set(identity)
    assert prediction.is_judgeable(image_set)
    monkeypatch.setattr(type(image_set), "made_by_ai", property(lambda _: True))
    assert not prediction.is_judgeable(image_set)
    champion = Champion(home.platform.models, home.platform.blobs)
    with pytest.raises(Conflict):
        prediction.predict(image_set, home.installation.images, home.platform, champion, by=OWNER)
    home.work()
    assert home.rows() == []


# Shadow


@pytest.fixture
def shadowed(home: ServingHome, monkeypatch: pytest.MonkeyPatch) -> ServingHome:
    """Version 1 in use, version 2 beside it under the alias `shadow`."""
    home.put_to_work(bias=5.0)
    package = home.platform.models.get(1).artifact
    home.platform.blobs.put("models/shadow.tar.gz", home.platform.blobs.get(package))
    home.platform.models.register(execution="shadow", artifact="models/shadow.tar.gz", metrics={}, lineage={})
    real = type(home.platform.models).versions

    def versions(self: object) -> list[object]:
        return [replace(each, aliases=(*each.aliases, "shadow")) if each.version == 2 else each for each in real(self)]

    monkeypatch.setattr(type(home.platform.models), "versions", versions)
    return home


def test_a_shadow_looks_too_and_no_reader_sees_what_it_says(shadowed: ServingHome) -> None:
    identities = [shadowed.land(film, f"P{number}") for number, film in enumerate(FILMS[:4])]
    shadowed.work()
    assert {shadowed.image_set(each).prediction["model_version"] for each in identities} == {1}  # type: ignore[index]
    assert {row.document["role"] for row in shadowed.rows(model_version=2)} == {"shadow"}
    told = comparison(shadowed.platform)
    assert (told["champion"], told["shadow"], told["image_sets"], told["agreement"]) == (1, 2, 4, 1.0)
    assert told["difference"] == 0


def test_without_a_shadow_there_is_nothing_to_compare(home: ServingHome) -> None:
    assert comparison(home.platform)["champion"] is None
    home.put_to_work()
    told = comparison(home.platform)
    assert (told["champion"], told["shadow"], told["image_sets"], told["agreement"]) == (1, None, 0, None)


# Results


def test_a_result_is_written_where_that_is_wanted_and_judged_by_nobody(tmp_path: Path) -> None:
    with serving_home(tmp_path, "write_results = true\n") as home:
        home.put_to_work()
        identity = home.land(FILMS[0], "P1")
        home.work()
        study = home.image_set(identity).study_uid
        sets = [home.image_set(row.key) for row in home.platform.records.search(IMAGE_SETS)]
        made = [each for each in sets if each.made_by_ai]
        assert {each.study_uid for each in made} == {study}
        assert {each.modality for each in made} == {"SR", "OT"}
        for each in made:
            home.installation.images.complete(each.id, by=OWNER)
        home.work()
        assert len(home.rows()) == 1
        assert home.platform.jobs.dead_letters() == []


def test_where_several_read_the_result_is_written_once_they_have(tmp_path: Path) -> None:
    with serving_home(tmp_path, "write_results = true\n") as home:
        home.put_to_work()
        project = Project(DEFAULT_DATASTORE, ReadingPolicy.DOUBLE)
        home.platform.records.commit(Change(writes=[put_project(project)]))
        identity = home.land(FILMS[0], "P1")
        home.work()

        def made() -> list[ImageSet]:
            sets = [image_set_of(row) for row in home.platform.records.search(IMAGE_SETS)]
            return [each for each in sets if each.made_by_ai]

        assert made() == [], "a report in the study would tell readers what the model says"
        finding = Finding(False, None, Confidence.HIGH, "", Seen(0, "lossless"))
        for reader in ("reader-1", "reader-2"):
            by = Principal(reader, frozenset({"verifier"}))
            version = home.image_set(identity).version
            verify(home.platform.records, home.platform.clock, identity, finding, version=version, by=by)
        assert home.image_set(identity).truth is not None
        home.work()
        assert len(made()) == 2


def test_a_frame_is_shown_grey_in_the_window_that_fits_it() -> None:
    hounsfield = np.array([[-1350, -600, 150, 900]], np.int16)
    assert shown_grey(hounsfield, "CT").tolist() == [[0, 128, 255, 255]]
    assert shown_grey(np.array([[0, 32768, 65535]], np.uint16), "DX").tolist() == [[0, 128, 255]]


# Asked at a door, answered by the worker


@contextmanager
def at_work(home: ServingHome) -> Iterator[None]:
    """A worker that answers those who wait."""
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            if not home.worker._once("ask"):
                time.sleep(0.01)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_who_asks_at_a_door_gets_the_workers_answer_and_the_door_loads_no_model(home: ServingHome) -> None:
    home.put_to_work()
    identity = home.land(FILMS[0], "P1")
    somebody = Principal("somebody", frozenset({"reader"}))
    with at_work(home):
        said = ask_worker(home.image_set(identity), home.platform, by=somebody)
    assert said == home.image_set(identity).prediction
    assert not home.installation.champion.is_loaded
    audit = home.platform.audit.entries(where={"action": "predict"})
    assert [entry.principal for entry in audit] == ["somebody"]
    assert home.platform.records.find(ASKED) == []


def test_why_there_is_no_answer_is_told_as_at_home(home: ServingHome) -> None:
    identity = home.land(FILMS[0], "P1")
    with pytest.raises(NoChampion):
        ask_worker(home.image_set(identity), home.platform, by=OWNER)
    model = home.put_to_work()
    home.platform.blobs.put(model.artifact, b"not a package")
    with at_work(home), pytest.raises(Corrupt, match="not a readable archive"):
        ask_worker(home.image_set(identity), home.platform, by=OWNER)
    assert home.platform.jobs.dead_letters() == []


def test_a_worker_that_does_not_answer_is_not_waited_for_for_ever(
    home: ServingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "_PATIENCE_S", 0.1)
    home.put_to_work()
    identity = home.land(FILMS[0], "P1")
    with pytest.raises(Unavailable):
        ask_worker(home.image_set(identity), home.platform, by=OWNER)
    home.worker.drain(("ask",))
    assert home.image_set(identity).prediction is not None, "late, and kept"
    assert len(home.platform.records.find(ASKED)) == 1
    prediction.forget_answers(home.platform)
    assert home.platform.records.find(ASKED) == []
