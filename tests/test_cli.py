"""The command line as a person meets it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import click
import httpx
import imagecodecs
import numpy as np
import pytest
from click.testing import CliRunner, Result

from radloop.cli import main
from radloop.client import silence_of


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def radloop(*arguments: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def facts(*arguments: str | Path) -> dict:
    return json.loads(radloop(*arguments, "--json").stdout)


def test_phantoms_go_in_and_come_out_byte_for_byte(tmp_path: Path, home: Path) -> None:
    radloop("phantom", "--out", tmp_path / "in", "--studies", "2", "--slices", "4", "--size", "64")
    report = facts("ingest", tmp_path / "in", "--home", home)
    assert (report["ingested"], report["duplicates"], report["quarantined"]) == (8, 0, 0)
    assert len(report["image_sets"]) == 2
    assert facts("ingest", tmp_path / "in", "--home", home)["duplicates"] == 8
    assert facts("export", "--out", tmp_path / "out", "--home", home)["files"] == 8
    originals = sorted(path.read_bytes() for path in (tmp_path / "in").rglob("*.dcm"))
    assert sorted(path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")) == originals


def test_without_a_server_ingest_closes_and_folds_before_it_ends(tmp_path: Path, home: Path) -> None:
    radloop("phantom", "--out", tmp_path / "in", "--slices", "4", "--size", "64")
    facts("ingest", tmp_path / "in", "--home", home)
    told = [event["detail_type"] for event in facts("events", "--home", home)["items"]]
    assert told == ["ImageFolded", "StudyReceived", "ImageIngested"]


def test_bad_files_are_told_with_their_reasons_and_do_not_stop_the_others(tmp_path: Path, home: Path) -> None:
    radloop("phantom", "--out", tmp_path / "in", "--slices", "4", "--size", "64")
    (tmp_path / "in" / "letter.txt").write_text("Dear colleague")
    (tmp_path / "in" / "empty").touch()
    result = radloop("ingest", tmp_path / "in", "--home", home)
    assert "4 ingested, 0 known already, 2 quarantined" in result.stdout
    assert "not-dicom" in result.stdout
    assert "colleague" not in result.output


def test_pictures_become_verified_image_sets(tmp_path: Path, home: Path) -> None:
    rows = [("a.png", "P1", "normal"), ("b.jpeg", "P2", "pneumonia"), ("c.png", "P2", "1")]
    random = np.random.default_rng(1)
    for name, _, _ in rows:
        pixels = random.integers(0, 255, (80, 90), dtype=np.uint8)
        encode = imagecodecs.png_encode if name.endswith("png") else imagecodecs.jpeg8_encode
        (tmp_path / name).write_bytes(encode(pixels))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "patient_id", "label"), *rows])
    arguments = ("import-images", tmp_path, "--labels", tmp_path / "labels.csv", "--verified", "--home", home)
    report = facts(*arguments)
    assert (report["ingested"], report["verified"]) == (3, 3)
    again = facts(*arguments)
    assert (again["duplicates"], again["verified"]) == (3, 0)


def test_a_finding_can_be_given_and_is_asked_for_once(tmp_path: Path, home: Path) -> None:
    radloop("phantom", "--out", tmp_path / "in", "--slices", "4", "--size", "64")
    (name,) = facts("ingest", tmp_path / "in", "--home", home)["image_sets"]
    after = facts("verify", name, "--finding", "present", "--site", "RLL", "--frame", "2", "--home", home)
    assert after == {"image_set": name, "state": "VERIFIED", "version": 2}
    result = radloop("verify", name, "--finding", "absent", "--frame", "0", "--home", home, status=4)
    assert "[conflict]" in result.stderr


def test_without_a_champion_a_prediction_says_so(tmp_path: Path, home: Path) -> None:
    radloop("phantom", "--out", tmp_path / "in", "--slices", "4", "--size", "64")
    (name,) = facts("ingest", tmp_path / "in", "--home", home)["image_sets"]
    assert "[no-champion]" in radloop("predict", name, "--home", home, status=1).stderr


def test_training_on_too_little_says_what_is_missing(home: Path) -> None:
    assert "More verified patients are needed" in radloop("train", "--home", home, status=4).stderr


def test_serving_openly_is_refused_off_the_loopback(home: Path) -> None:
    result = radloop("up", "--open", "--no-tls", "--listen", "0.0.0.0:8080", "--home", home, status=1)
    assert "loopback" in result.stderr


def test_settings_that_do_not_exist_are_refused(home: Path) -> None:
    home.mkdir()
    (home / "settings.toml").write_text("acuracy_threshold = 0.9\n")
    assert "there is no setting acuracy_threshold" in radloop("models", "--home", home, status=1).stderr


def test_what_a_list_shows_can_be_copied_whole(home: Path) -> None:
    made = facts("users", "create", "anna", "--role", "verifier", "--role", "ml", "--home", home)
    listed = radloop("users", "list", "--home", home).stdout
    assert made["id"] in listed
    assert "ml, verifier" in listed


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "--ca or RADLOOP_CA"),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "try http://"),
        (httpx.RemoteProtocolError("Server disconnected"), "write https://"),
        (httpx.ConnectError("[Errno 111] Connection refused"), "look whether it runs"),
        (httpx.ReadTimeout("timed out"), "try again"),
    ],
)
def test_a_server_that_gives_no_answer_is_told_with_what_to_do(error: httpx.HTTPError, advice: str) -> None:
    said = silence_of(error)
    assert said.startswith("the server does not answer")
    assert advice in said


def test_what_is_asked_for_wrongly_is_told_with_what_was_found_and_what_is_right(home: Path) -> None:
    assert (
        "127.0.0.1:8080, and not 'nonsense'" in radloop("up", "--listen", "nonsense", "--home", home, status=1).output
    )
    assert "no user nobody" in radloop("users", "password", "nobody", "--home", home, status=1).output
    refused = radloop("users", "create", "anna", "--role", "doctor", "--home", home, status=1).output
    assert "adjudicator, admin" in refused


def test_lists_of_an_empty_home_are_empty(home: Path) -> None:
    for command in ("models", "executions", "events"):
        assert facts(command, "--home", home) == {"items": []}
        radloop(command, "--home", home)


def test_a_server_that_is_not_there_is_told_in_one_line(home: Path) -> None:
    result = radloop("models", "--server", "http://127.0.0.1:1", "--home", home, status=5)
    assert result.stderr.startswith("radloop: the server does not answer (ConnectError); look whether it runs")
    assert result.stderr.count("\n") == 1


def test_an_error_of_our_own_making_is_not_taken_for_a_silent_server(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("radloop.commands.models.reach", fail)
    with pytest.raises(ZeroDivisionError):
        radloop("models", "--home", home)


def test_a_command_that_is_not_there_is_a_wrong_use() -> None:
    assert "No such command" in radloop("ingset", status=2).stderr


@pytest.mark.parametrize("name", main.commands)
def test_what_help_says_of_a_command_is_what_the_command_says_of_itself(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    lines = CliRunner().invoke(main, ["--help"], terminal_width=200, max_content_width=200).stdout.splitlines()
    assert [name, command.get_short_help_str(limit=200)] in [line.split(maxsplit=1) for line in lines]


def loaded_by(code: str) -> set[str]:
    """Names of all modules in a fresh interpreter that has run `code`."""
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(printed.stdout.split())


def loading(name: str) -> str:
    return f"import click; from radloop.cli import main; assert main.get_command(click.Context(main), {name!r})"


SHOW = {"httpx", "rich", "pygments"}
HEAVY = {"numpy", "pydicom", "radloop.wiring", "radloop.up", "radloop.api"}


def test_what_stays_in_memory_while_radloop_is_up_is_what_it_needs() -> None:
    loaded = loaded_by(loading("up"))
    assert "radloop.up" in loaded
    assert not loaded & {*SHOW, "radloop.client", "radloop.demo", "radloop.conform"}


def test_the_command_line_alone_loads_no_command_and_nothing_heavy() -> None:
    loaded = loaded_by("import radloop.cli")
    assert "radloop.cli" in loaded
    assert not loaded & {*SHOW, *HEAVY, "radloop.commands"}


@pytest.mark.parametrize("name", ["ingest", "export", "verify", "train", "models", "users", "audit", "jobs"])
def test_a_command_that_asks_a_server_loads_nothing_of_a_home_before_it_must(name: str) -> None:
    loaded = loaded_by(loading(name))
    assert "radloop.client" in loaded
    assert not loaded & HEAVY


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quick_demonstration_walks_the_whole_loop(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "radloop.cli", "demo", "--quick", "--no-serve", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for hop in ("up", "ingested", "folded", "verified", "triggered", "preprocess", "train", "evaluated", "done"):
        assert hop in result.stdout
