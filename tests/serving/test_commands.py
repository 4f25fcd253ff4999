"""`radloop predict` and `radloop drift` on a home that no server holds."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from radloop import cli
from tests.functions.serving_home import serving_home
from tests.serving.small_model import films


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with serving_home(tmp_path) as home:
        for number, film in enumerate(films(6, seed=21)):
            home.land(film, f"P{number}")
        home.work()
        home.put_to_work()
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, list(arguments))


def test_all_new_is_done_here_and_now_and_the_second_time_there_is_nothing_left(root: Path) -> None:
    first = json.loads(run("predict", "--all-new", "--home", str(root), "--json").stdout)
    assert first == {"model_version": 1, "predicted": 6, "refused": 0, "waiting": 0, "queued": 6}
    second = json.loads(run("predict", "--all-new", "--home", str(root), "--json").stdout)
    assert (second["queued"], second["predicted"]) == (0, 6)


@pytest.mark.parametrize("arguments", [(), ("x" * 32, "--all-new")])
def test_one_image_set_or_all_new_and_not_both_or_neither(root: Path, arguments: tuple[str, ...]) -> None:
    answer = run("predict", *arguments, "--home", str(root))
    assert answer.exit_code == 1


def test_drift_is_told_in_words_and_as_json(root: Path) -> None:
    told = json.loads(run("drift", "--home", str(root), "--json").stdout)
    assert told["state"] == "waiting"
    words = run("drift", "--home", str(root))
    assert words.exit_code == 0
    assert "too few studies" in words.stdout
    assert "embedding" in words.stdout


def test_an_alarm_is_an_exit_status_of_its_own(tmp_path: Path) -> None:
    with serving_home(tmp_path) as home:
        home.put_to_work()
        for number, film in enumerate(films(25, seed=22, level=0.8)):
            home.land(film, f"P{number}")
        home.work()
    answer = run("drift", "--home", str(tmp_path))
    assert answer.exit_code == 3
    assert "The images have changed" in answer.stdout
