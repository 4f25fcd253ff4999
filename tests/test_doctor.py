"""`radloop doctor` answers every box of the deployment checklist for a home."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from radloop.core.checklist import load_boxes
from radloop.core.contracts import contracts


def doctor(home: Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status, and the answer to each box by its id."""
    told = run("doctor", "--json", "--home", str(home))
    facts: dict[str, Any] = json.loads(told.stdout)
    return told.returncode, {box["id"]: box for box in facts["boxes"]}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "radloop.cli", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_the_checklist_has_the_41_boxes_of_the_brief_and_two_of_its_controls() -> None:
    boxes = load_boxes((contracts() / "checklist.json").read_bytes())
    assert len({box.id for box in boxes}) == len(boxes) == 43
    assert sum(re.fullmatch(r"D([1-9]|10)\.[1-6]", box.id) is not None for box in boxes) == 41
    assert [box.id for box in boxes if not box.id.startswith("D")] == ["C8", "C12"]


def test_a_fresh_home_is_told_what_has_not_been_done_yet(tmp_path: Path) -> None:
    status, boxes = doctor(tmp_path / "home")
    assert status == 3
    assert len(boxes) == 43
    assert [boxes[box]["state"] for box in ("C8", "C12")] == ["not applicable", "failed"]
    assert boxes["D1.2"]["state"] == "ok"
    assert boxes["D9.1"]["state"] == "failed"
    assert boxes["D2.1"]["state"] == "not applicable"
    assert "notify" in boxes["D7.2"]["reason"]
    assert all(box["reason"] for box in boxes.values())


def test_what_was_done_and_what_was_done_badly_is_seen(tmp_path: Path) -> None:
    home, scans = tmp_path / "home", tmp_path / "scans"
    assert run("phantom", "--out", str(scans), "--slices", "4").returncode == 0
    assert run("ingest", str(scans), "--home", str(home)).returncode == 0
    (home / "settings.toml").write_text('notify = ["json://localhost:9"]\n')
    _, boxes = doctor(home)
    states = {name: boxes[name]["state"] for name in ("D1.3", "D6.3", "D7.2", "D8.1", "D9.1", "D9.2", "C12")}
    assert set(states.values()) == {"ok"}, states
    home.chmod(0o755)
    pack = next(path for path in (home / "objects" / "image-sets").rglob("*") if path.is_file())
    pack.write_bytes(b"\0" * 128 + b"DICM")
    _, boxes = doctor(home)
    assert boxes["D5.3"]["state"] == "failed"
    assert boxes["D1.3"]["state"] == "failed"
    assert boxes["D8.2"]["state"] == "failed"


@pytest.mark.parametrize("flag", ["--help"])
def test_the_command_says_what_it_does(flag: str) -> None:
    assert "deployment checklist" in run("doctor", flag).stdout
