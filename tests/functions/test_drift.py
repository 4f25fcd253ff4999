"""The watch: blocks fill as answers come, alarms are told once, and what is done twice is done once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from radloop.core.errors import Conflict
from radloop.functions.drift import drift_status, handle_alarm, watch, watched
from radloop.serving.champion import Champion
from tests.functions.serving_home import ServingHome, serving_home
from tests.serving.small_model import films


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ServingHome]:
    with serving_home(tmp_path) as opened:
        opened.put_to_work(accuracy={"value": 0.9}, ece={"value": 0.03})
        yield opened


def show(home: ServingHome, volumes: list[np.ndarray], *, first: int = 0, view: str = "PA") -> list[str]:
    identities = [home.land(film, f"P{first + number}", view=view) for number, film in enumerate(volumes)]
    home.work()
    return identities


def test_more_of_the_same_is_quiet(home: ServingHome) -> None:
    show(home, films(26, seed=7))
    told = drift_status(home.platform)
    assert (told["state"], told["changed"], told["studies"]) == ("quiet", None, 25)
    assert told["reference"]["image_sets"] == 120
    assert {each["name"]: each["studies"] for each in told["monitors"]}["embedding"] == 25
    assert home.told("AlarmStateChanged") == []


def test_other_images_raise_one_alarm_that_says_so(home: ServingHome) -> None:
    show(home, films(26, seed=8, level=0.75))
    told = drift_status(home.platform)
    assert (told["state"], told["changed"]) == ("alarm", "scanner")
    (event,) = home.told("AlarmStateChanged")
    assert (event.detail["alarm"], event.detail["state"]) == ("drift-inputs", "ALARM")
    assert event.detail["cause"] == "drift-inputs v1 after 25 studies and 0 reads"
    champion = Champion(home.platform.models, home.platform.blobs)
    watch(1, home.platform, champion)
    assert len(home.told("AlarmStateChanged")) == 1


def test_another_view_is_seen_in_the_header(home: ServingHome) -> None:
    show(home, films(26, seed=7), view="LL")
    told = drift_status(home.platform)
    header = next(each for each in told["monitors"] if each["name"] == "header")
    assert (told["state"], header["state"]) == ("alarm", "alarm")
    assert "view" in header["sentence"]


def test_a_patient_counts_once(home: ServingHome) -> None:
    for film in films(5, seed=9):
        home.land(film, "the same one")
    show(home, films(21, seed=10), first=100)
    watch(1, home.platform, Champion(home.platform.models, home.platform.blobs))
    assert watched(1, home.platform).counted == 22
    assert drift_status(home.platform)["next"] == "The next look comes after 3 more patients."


def test_blocks_are_the_same_however_the_answers_come(home: ServingHome) -> None:
    champion = Champion(home.platform.models, home.platform.blobs)
    show(home, films(20, seed=11))
    watch(1, home.platform, champion)
    show(home, films(30, seed=12), first=50)
    known = watch(1, home.platform, champion)
    assert known.counted == 50
    assert [(each["counted"], each["studies"]) for each in known.examinations] == [(25, 25), (50, 25), (50, 50)]


def test_two_who_watch_at_once_are_one(home: ServingHome, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = Champion(home.platform.models, home.platform.blobs)
    show(home, films(10, seed=13))
    stale = watched(1, home.platform)
    watch(1, home.platform, champion)
    monkeypatch.setattr("radloop.functions.drift.watched", lambda *_: stale)
    with pytest.raises(Conflict):
        watch(1, home.platform, champion)


def test_what_readers_find_is_held_against_the_model(home: ServingHome) -> None:
    identities = show(home, films(26, seed=14))
    champion = Champion(home.platform.models, home.platform.blobs)
    for identity in identities:
        said = home.image_set(identity).prediction
        assert said is not None
        home.read(identity, present=said["finding"] == "present")
    watch(1, home.platform, champion)
    told = drift_status(home.platform)
    assert told["reads"] == 26
    assert told["feedback"]["accuracy"]["value"] == 1.0
    assert told["state"] == "quiet"


def test_a_sure_model_that_readers_contradict_raises_the_alarm_of_the_labels(tmp_path: Path) -> None:
    with serving_home(tmp_path) as home:
        home.put_to_work(bias=8.0, reference=None, ece=0.01)
        identities = [home.land(film, f"P{number}") for number, film in enumerate(films(25, seed=15))]
        home.work()
        for identity in identities:
            home.read(identity, present=False)
        known = watch(1, home.platform, Champion(home.platform.models, home.platform.blobs))
        assert known.alarms["drift-labels"].is_on
        assert drift_status(home.platform)["sentence"] == "Readers find the model wrong more often than it says it is."


def test_an_installation_without_a_model_or_a_reference_says_so(tmp_path: Path) -> None:
    with serving_home(tmp_path) as home:
        assert drift_status(home.platform)["state"] == "no-model"
        home.put_to_work(reference=None)
        assert drift_status(home.platform)["state"] == "waiting"
        show(home, films(26, seed=16))
        assert drift_status(home.platform)["state"] == "no-reference"


def test_an_alarm_retrains_where_the_plan_or_without_one_the_setting_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr("radloop.functions.drift.pipeline_trigger.start_now", lambda _: started.append("run") or "run")
    asked: list[str] = []
    monkeypatch.setattr("radloop.functions.drift.retrains_on", lambda _, name: asked.append(name) or name == "inputs")
    for number, (settings, expected) in enumerate(
        [
            ('release = "automatic"\n', []),
            ('release = "automatic"\nretrain_on_drift = true\n', ["run"]),
            ('release = "plan"\n', ["run"]),
        ]
    ):
        started.clear()
        folder = tmp_path / str(number)
        folder.mkdir()
        with serving_home(folder, settings) as home:
            home.put_to_work()
            show(home, films(26, seed=8, level=0.75))
            (event,) = home.told("AlarmStateChanged")
            handle_alarm(event, home.platform)
            assert started[:1] == expected
    assert set(asked) == {"inputs"}
