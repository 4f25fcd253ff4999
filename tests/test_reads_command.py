"""`radloop reads` on a home that nobody serves."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from radloop.cli import main
from radloop.dicom.phantom import phantom_study


@pytest.fixture
def home(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    files.mkdir()
    for place, data in enumerate(phantom_study(7, consolidated=True, slices=3, size=64).files):
        (files / f"{place}.dcm").write_bytes(data)
    run(tmp_path / "home", "ingest", str(files))
    return tmp_path / "home"


def run(home: Path, *arguments: str, status: int = 0) -> Any:
    result = CliRunner().invoke(main, [*arguments, "--home", str(home), "--json"])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout) if status == 0 else result.output


def test_a_finding_is_read_revised_and_told_from_the_terminal(home: Path) -> None:
    (waiting,) = run(home, "reads", "next")["items"]
    identity = waiting["id"]
    assert waiting["why"] == "waiting"
    run(home, "verify", identity, "--finding", "present", "--site", "DIFFUSE", "--laterality", "left", "--frame", "1")
    (read,) = run(home, "reads", "list", identity)["items"]
    assert (read["finding"], read["laterality"], read["mine"]) == ("present", "left", True)
    assert run(home, "reads", "queue") == {"items": [], "next": None, "total": 0}
    run(home, "reads", "adjudicate", identity, "--finding", "absent", "--reason", "artefact", "--frame", "0")
    labels = run(home, "reads", "labels", identity)["items"]
    assert [(label["rule"], label["finding"]) for label in labels] == [("single", "present"), ("revision", "absent")]
    assert run(home, "reads", "agreement")["all"]["kappa"] is None
    assert run(home, "reads", "quality")["items"] == []
    assert run(home, "reads", "next")["items"] == []


def test_a_policy_is_told_and_set(home: Path) -> None:
    assert run(home, "reads", "policy")["policy"] == "single"
    told = run(home, "reads", "policy", "--set", "double", "--settle-at", "0.95")
    assert (told["policy"], told["settle_at"], told["changed_by"]) == ("double", 0.95, "owner")
    assert "must be from" in run(home, "reads", "policy", "--set", "double", "--settle-at", "2", status=1)


def test_tables_are_for_people(home: Path) -> None:
    for words in (["agreement"], ["quality"], ["queue"], ["next"], ["policy"]):
        result = CliRunner().invoke(main, ["reads", *words, "--home", str(home)])
        assert result.exit_code == 0, result.output
