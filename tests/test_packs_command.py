"""`radloop packs`: static packs as a person has them written."""

from pathlib import Path

import pytest

from radloop.local.home import Home
from radloop.wiring import open_local
from tests.api.test_stream import records
from tests.test_cli import facts, radloop


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    radloop("phantom", "--out", folder / "in", "--slices", "4", "--size", "64")
    facts("ingest", folder / "in", "--home", folder / "home")
    return folder / "home"


def image_set_of(home: Path) -> str:
    return next(path.name for path in (home / "objects" / "image-sets").iterdir())


def test_packs_are_written_into_a_folder_and_again_they_stay_as_they_are(home: Path, tmp_path: Path) -> None:
    identity, out = image_set_of(home), tmp_path / "out"
    told = facts("packs", "write", identity, out, "--home", home)
    folder = out / "packs" / identity / "1"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert sorted(files) == ["frames/0", "index", "previews/0"]
    assert told == {
        "image_set": identity,
        "version": 1,
        "frames": 4,
        "files": 3,
        "bytes": sum(map(len, files.values())),
        "out": str(folder),
    }
    assert [each.frame for each in records(files["previews/0"])] == [0, 2, 1, 3]
    assert [path.name for path in out.iterdir()] == ["packs"], "nothing is left of the way there"
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    radloop("packs", "write", identity, out, "--home", home)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == times


def test_what_is_written_out_is_in_the_audit(home: Path, tmp_path: Path) -> None:
    identity = image_set_of(home)
    with Home(home).owned(), open_local(home) as installation:
        before = len(installation.audit.entries(where={"action": "export", "subject": identity}))
    radloop("packs", "write", identity, tmp_path / "out", "--home", home)
    with Home(home).owned(), open_local(home) as installation:
        assert len(installation.audit.entries(where={"action": "export", "subject": identity})) == before + 1


def test_a_home_may_be_served_meanwhile(home: Path, tmp_path: Path) -> None:
    with Home(home).owned():
        assert facts("packs", "write", image_set_of(home), tmp_path / "out", "--home", home)["files"] == 3


def test_what_is_not_there_is_told_in_a_line(home: Path, tmp_path: Path) -> None:
    told = radloop("packs", "write", "0" * 32, tmp_path / "out", "--home", home, status=1)
    assert "[not-found]" in told.output
    told = radloop("packs", "write", "0" * 32, tmp_path / "out", "--home", tmp_path / "nowhere", status=1)
    assert "is no home" in told.output
    assert not (tmp_path / "nowhere").exists()
