"""Out of quarantine, and away from dead letters, as a person does it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from radloop.cli import main
from radloop.core.errors import NotDicom
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Job, Upload
from radloop.dicom.phantom import phantom_study
from radloop.local.home import Home
from radloop.store import landing
from radloop.wiring import open_local
from tests.test_cli import facts, radloop

STUDY = phantom_study(1, consolidated=True, slices=4, size=64)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with junk and two good slices, which were not understood, in quarantine, and two dead letters."""
    root = tmp_path / "home"
    with Home(root).owned(), open_local(root) as installation:
        with monkeypatch.context() as before:

            def parse(_: bytes) -> None:
                raise NotDicom("it is not read yet")

            before.setattr(landing, "parse", parse)
            uploads = [Upload(data, "Doe^Jane.dcm") for data in (*STUDY.files[:2], b"junk")]
            installation.images.land(uploads, by=OWNER)
        jobs = installation.platform.jobs
        names = ("fold-a-1", "fold-b-1")
        payloads = [Job(name, "fold", "fold", {"image_set": name[5]}, trace=name[5]) for name in names]
        installation.platform.records.commit(Change(jobs=payloads))
        installation.database.write(
            lambda connection: connection.execute("UPDATE jobs SET state = 'dead', error = 'corrupt'") and None
        )
        assert len(jobs.dead_letters()) == 2
    return root


def test_files_that_are_understood_now_are_released_and_the_rest_stays(home: Path) -> None:
    listed = facts("quarantine", "list", "--home", home)["items"]
    assert [entry["code"] for entry in listed] == ["not-dicom"] * 3
    assert "Doe" not in json.dumps(listed)
    told = radloop("quarantine", "release", "--code", "not-dicom", "--home", home, status=3)
    assert "2 ingested, 0 known already, 1 kept" in told.stdout
    assert "another reason now" in told.stdout
    told = radloop("quarantine", "release", "--code", "not-dicom", "--home", home, status=3)
    assert "0 ingested, 0 known already, 1 kept" in told.stdout
    assert "the same again" in told.stdout
    (kept,) = facts("quarantine", "list", "--home", home)["items"]
    shown = facts("quarantine", "show", kept["id"], "--home", home)
    assert (shown["state"], shown["left_by"]) == ("kept", None)
    released = next(entry["id"] for entry in listed if entry["id"] != kept["id"])
    shown = facts("quarantine", "show", released, "--home", home)
    assert (shown["state"], shown["left_by"]) == ("released", "owner")
    (again,) = facts("quarantine", "release", released, "--home", home)["items"]
    assert (again["outcome"], again["image_set"]) == ("released", shown["image_set"])
    exported = home.parent / "out"
    facts("export", shown["image_set"], "--out", exported, "--home", home)
    assert sorted(path.read_bytes() for path in exported.rglob("*.dcm")) == sorted(STUDY.files[:2])


def test_the_bytes_can_be_had_and_the_audit_tells_of_it(home: Path, tmp_path: Path) -> None:
    entry = facts("quarantine", "list", "--home", home, "--limit", "1")["items"][0]["id"]
    radloop("quarantine", "download", entry, "--out", tmp_path / "file", "--home", home)
    assert (tmp_path / "file").read_bytes() == b"junk"
    (noted,) = facts("audit", "list", "--home", home, "--action", "quarantine.download")["items"]
    assert (noted["principal"], noted["subject"]) == ("owner", entry)


def test_discarding_asks_first_and_is_for_good(home: Path) -> None:
    names = [entry["id"] for entry in facts("quarantine", "list", "--home", home)["items"]]
    arguments = ["quarantine", "discard", *names[:2], "--home", str(home)]
    refused = CliRunner().invoke(main, arguments, input="n\n")
    assert refused.exit_code == 1
    assert len(facts("quarantine", "list", "--home", home)["items"]) == 3
    for _ in range(2):
        assert "2 files discarded" in radloop(*arguments, "--yes").stdout
    assert [entry["id"] for entry in facts("quarantine", "list", "--home", home)["items"]] == names[2:]
    assert not list((home / "objects/training-data/quarantine" / names[0]).glob("*"))
    radloop("quarantine", "release", names[0], "--home", home, status=4)
    radloop("quarantine", "release", "none", "--home", home, status=1)


@pytest.mark.parametrize("command", ["release", "discard"])
def test_what_is_meant_must_be_said(home: Path, command: str) -> None:
    radloop("quarantine", command, "--home", home, status=1)
    radloop("quarantine", command, "x", "--code", "not-dicom", "--home", home, status=1)
    assert len(facts("quarantine", "list", "--home", home)["items"]) == 3


def test_dead_letters_are_shown_tried_again_and_forgotten(home: Path) -> None:
    listed = facts("jobs", "list", "--home", home)["items"]
    assert [(job["id"], job["kind"], job["error"]) for job in listed] == [
        ("fold-a-1", "fold", "corrupt"),
        ("fold-b-1", "fold", "corrupt"),
    ]
    assert facts("jobs", "show", "fold-a-1", "--home", home)["payload"] == {"image_set": "a"}
    radloop("jobs", "discard", "--home", home, "--yes", status=1)
    for _ in range(2):
        assert "1 job discarded" in radloop("jobs", "discard", "fold-a-1", "--home", home, "--yes").stdout
    assert facts("jobs", "retry", "--all", "--home", home)["jobs"] == ["fold-b-1"]
    radloop("jobs", "retry", "fold-a-1", "--home", home, status=1)
    assert facts("jobs", "list", "--home", home)["items"] == []
    (noted,) = facts("audit", "list", "--home", home, "--action", "job.replay")["items"]
    assert noted["subject"] == "fold-b-1"


def test_fsck_tells_of_dead_letters_which_are_no_damage(home: Path) -> None:
    radloop("jobs", "discard", "fold-b-1", "--home", home, "--yes")
    told = CliRunner().invoke(main, ["fsck", "--home", str(home)]).stdout
    assert "1 job was given up on: radloop jobs list" in told


def test_a_single_image_set_is_one(tmp_path: Path) -> None:
    radloop("phantom", "--out", tmp_path / "in", "--slices", "4", "--size", "64")
    assert "0 quarantined, 1 image set\n" in radloop("ingest", tmp_path / "in", "--home", tmp_path / "other").stdout
