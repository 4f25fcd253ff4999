"""`radloop incident` as a person types it, and the drill from the first reading to the last word."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from radloop import drill
from radloop.functions.incident_evidence import examine
from tests.docs.test_commands_run import facts, run


def test_the_drill_notices_within_a_minute_keeps_out_signs_and_reports(tmp_path: Path) -> None:
    told = {each["step"]: each for each in facts(f"radloop incident drill --out {tmp_path / 'kept'} --json")["items"]}
    assert list(told) == [
        "read", "noticed", "isolated", "told", "clocks", "report", "evidence", "released", "closed"
    ]  # fmt: skip
    assert all(each["ok"] for each in told.values()), told
    evidence = (tmp_path / "kept" / "evidence.zip").read_bytes()
    assert examine(evidence).holds
    report = json.loads((tmp_path / "kept" / "report.json").read_text())
    assert report["patients_affected"] == 201
    for name in ("report.json", "report.md", "evidence.zip"):
        assert b"DRILL-" not in (tmp_path / "kept" / name).read_bytes(), "a PatientID stands in what leaves the house"


def test_a_drill_that_nobody_notices_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "NOTICED_WITHIN_S", 1.0)
    monkeypatch.setattr(drill, "_SETTINGS", drill._SETTINGS + "incident_patients = 0\n")
    steps = drill.walk()
    assert [(each["step"], each["ok"]) for each in steps] == [("read", True), ("noticed", False)]


@pytest.fixture
def home(tmp_path: Path) -> str:
    place = tmp_path / "home"
    facts(f"radloop users create ann --role reader --home {place} --json")
    return shlex.quote(str(place))


def failed(line: str, status: int) -> str:
    found, printed = run(line)
    assert found == status, printed
    return printed


def test_somebody_is_kept_out_by_name_and_let_in_again(home: str) -> None:
    made = facts(f"radloop incident isolate ANN --home {home} --json")
    assert facts(f"radloop incident show {made['id']} --home {home} --json") == made
    listed = json.loads(failed(f"radloop incident list --home {home} --json", 3))
    assert listed["isolated"][0]["principal"] == made["principal"]
    assert "not-found" in failed(f"radloop incident isolate stranger --home {home}", 1)
    assert "conflict" in failed(f"radloop incident isolate owner --home {home}", 4)
    assert facts(f"radloop incident release ann --home {home} --json")["released"]
    assert facts(f"radloop incident close {made['id']} --as false-alarm --home {home} --json")["state"] == "closed"
    status, _ = run(f"radloop incident list --home {home} --json")
    assert status == 0


def test_evidence_is_checked_without_a_home_and_a_changed_file_is_found(home: str, tmp_path: Path) -> None:
    made = facts(f"radloop incident open --principal ann --home {home} --json")
    file, key = tmp_path / "incident.zip", tmp_path / "key.pem"
    facts(f"radloop incident evidence {made['id']} --out {file} --home {home} --json")
    facts(f"radloop evidence key --out {key} --home {home} --json")
    told: dict[str, Any] = facts(f"radloop incident verify {file} --key {key} --json")
    assert (told["holds"], told["is_trusted"], told["incident"]) == (True, True, made["id"])
    assert facts(f"radloop audit verify --head {told['head']} --home {home} --json")["whole"]
    assert "conflict" in failed(f"radloop incident evidence {made['id']} --out {file} --home {home}", 4)
    data = bytearray(file.read_bytes())
    data[data.index(b'"principal"')] ^= 1
    file.write_bytes(bytes(data))
    failed(f"radloop incident verify {file}", 3)


def test_the_report_is_a_page_or_facts_and_is_not_written_over(home: str, tmp_path: Path) -> None:
    made = facts(f"radloop incident open --home {home} --drill --json")
    page = failed(f"radloop incident report {made['id']} --home {home}", 0)
    assert page.startswith(f"# Incident {made['id']} (drill)")
    assert facts(f"radloop incident report {made['id']} --home {home} --json")["incident"]["is_drill"]
    file = tmp_path / "report.md"
    failed(f"radloop incident report {made['id']} --out {file} --home {home}", 0)
    assert file.read_text().startswith("# Incident")
    failed(f"radloop incident report {made['id']} --out {file} --home {home}", 4)
