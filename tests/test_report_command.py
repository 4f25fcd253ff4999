"""`radloop report` and `radloop policy`, as a person runs them."""

import json
from pathlib import Path

import pytest

from radloop import cli
from radloop.evaluation.policy import default, shipped
from radloop.wiring import open_local


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = 0
    try:
        status = cli.main.main([*arguments], prog_name="radloop", standalone_mode=False) or 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    told = capsys.readouterr()
    return int(status), told.out, told.err


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one model version and its evaluation."""
    root = tmp_path / "home"
    gate = {"approved": False, "rules": [{"name": "accuracy", "passed": False, "sentence": "Too low."}]}
    files = {
        "report.html": b"<!doctype html><style></style>",
        "model_card.md": b"# card",
        "evaluation.json": json.dumps({"metrics": {}, "gate": gate}).encode(),
        "checklists.json": b"{}",
    }
    with open_local(root) as installation:
        platform = installation.platform
        for name, data in files.items():
            platform.blobs.put(f"model-artifacts/models/e1/{name}", data)
        platform.models.register(
            execution="e1", artifact="model-artifacts/models/e1/model.tar.gz", metrics={}, lineage={}
        )
    return root


def test_the_report_of_a_version_is_written_as_files(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status, printed, _ = run("report", "1", "--out", str(out), "--home", str(home), "--json", capsys=capsys)
    assert status == 0
    facts = json.loads(printed)
    assert (facts["approved"], facts["refused_by"]) == (False, ["accuracy"])
    assert {path.name for path in out.iterdir()} == {
        "report.html",
        "model_card.md",
        "evaluation.json",
        "checklists.json",
    }
    assert (out / "model_card.md").read_text() == "# card"


def test_a_version_that_is_not_there_ends_with_a_sentence(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, told = run("report", "7", "--out", str(tmp_path / "out"), "--home", str(home), capsys=capsys)
    assert status == 1
    assert "[not-found]" in told
    assert not (tmp_path / "out").exists()


def test_the_policy_of_a_home_is_shown_and_can_be_checked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed, _ = run("policy", "show", "--home", str(tmp_path), capsys=capsys)
    assert status == 0
    (tmp_path / "policy.yaml").write_text(printed.replace("least: 0.85", "least: 0.9"))
    status, printed, _ = run("policy", "show", "--home", str(tmp_path), "--json", capsys=capsys)
    facts = json.loads(printed)
    assert facts["own"] is True
    assert facts["policy"]["accuracy"]["least"] == 0.9
    status, printed, _ = run("policy", "check", str(tmp_path / "policy.yaml"), "--json", capsys=capsys)
    assert status == 0
    assert json.loads(printed)["sha256"] == facts["sha256"] != default().sha256


def test_a_wrong_policy_is_refused_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text(shipped().replace("positives: 50", "positives: many"))
    status, _, told = run("policy", "check", str(tmp_path / "policy.yaml"), capsys=capsys)
    assert status == 1
    assert "policy line 7: counts.positives is 'many', expected a whole number from 1 to 100000" in " ".join(
        told.split()
    )
