"""What the lab makes of a plan, an apply and a report; and its named list, which must be of use."""

import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NAMED = json.loads((ROOT / "infra" / "lab.json").read_text())


def module(name: str) -> ModuleType:
    """A part of the lab, which is a program and no package."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


lab, terraform, golden, events = (module(name) for name in ("lab", "lab_terraform", "lab_golden", "lab_events"))


def change(address: str, *actions: str, before: Any = None, after: Any = None, unknown: Any = None) -> dict[str, Any]:
    told = {"actions": list(actions), "before": before, "after": after, "after_unknown": unknown or {}}
    return {"address": address, "change": told}


def test_a_plan_is_told_by_address_and_by_what_it_would_change() -> None:
    plan = {
        "resource_changes": [
            change("m.same", "no-op", before={"a": 1}, after={"a": 1}),
            change("m.read", "read"),
            change("m.new", "create", after={"a": 1}),
            change(
                "m.other", "update", before={"a": 1, "b": 2}, after={"a": 1, "b": 3}, unknown={"c": True, "a": False}
            ),
        ]
    }
    found = [(each.resource, each.says) for each in terraform.changes_of(plan)]
    assert found == [("m.new", "create"), ("m.other", "update: b, c")]


def test_only_errors_of_an_apply_count_and_each_has_its_address() -> None:
    lines = [
        {"type": "apply_complete", "hook": {}},
        {"type": "diagnostic", "diagnostic": {"severity": "warning", "summary": "old", "address": "m.a"}},
        {
            "type": "diagnostic",
            "diagnostic": {"severity": "error", "summary": "no", "detail": "such", "address": "m.b"},
        },
        {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "no plan"}},
    ]
    said = "text before\n" + "\n".join(json.dumps(line) for line in lines)
    assert [(each.resource, each.says) for each in terraform.errors_of(said)] == [("m.b", "no such"), ("", "no plan ")]


@pytest.mark.parametrize(
    ("resource", "says", "is_named"),
    [
        ('m.f["x"]', "Unknown action: Y, RequestID: 1", True),
        ('m.f["x"]', "denied", False),
        ('n.f["x"]', "Unknown action: Y", False),
        ("m.fx", "Unknown action: Y", False),
    ],
)
def test_a_fault_is_named_by_address_and_words_together(resource: str, says: str, is_named: bool) -> None:
    entries = [{"resource": "m.f[*]", "says": "Unknown action: Y"}]
    wrong = terraform.unnamed([terraform.Fault(resource, says)], entries)
    assert (wrong == []) is is_named
    assert is_named or any(text.startswith(f"not named in infra/lab.json: {resource}") for text in wrong)


def test_a_name_that_nothing_needs_is_a_fault() -> None:
    (wrong,) = terraform.unnamed([], [{"resource": "m.f", "says": "no"}])
    assert wrong == "named in infra/lab.json, and nothing needs it: m.f (no)"


@pytest.mark.parametrize(
    "entry", [each for kind in NAMED.values() for each in kind], ids=lambda each: str(next(iter(each.values())))
)
def test_everything_named_says_why_and_names_a_test_that_is_there(entry: dict[str, str]) -> None:
    assert entry["says"].strip()
    path, _, run = entry["proof"].partition("::")
    text = (ROOT / path).read_text()
    assert run in text
    if "resource" in entry and entry["resource"] != "*":
        kind = entry["resource"].split(".")[-2].partition("[")[0]
        assert any(kind in file.read_text() for file in (ROOT / "infra" / "modules").glob("*/main.tf"))


def test_what_is_switched_off_is_really_off() -> None:
    values = terraform.values()
    for entry in NAMED["off"]:
        found: Any = values
        for part in entry["variable"].split("."):
            found = found[part]
        assert found is False


def test_a_skipped_test_is_a_failure_and_so_is_a_part_that_did_nothing() -> None:
    report = (
        '<testsuites><testsuite><testcase classname="t" name="ok"/>'
        '<testcase classname="t" name="left"><skipped message="no emulator"/></testcase>'
        '<testcase classname="t" name="bad"><error message="broke"/></testcase></testsuite></testsuites>'
    )
    assert lab.outcome_of(report) == (1, ["t::left: no emulator"], ["t::bad: broke"])
    assert lab.Part("suites", run=1).is_ok
    assert not lab.Part("suites", run=1, skipped=["t::left"]).is_ok
    assert not lab.Part("suites").is_ok


def test_after_a_failure_nothing_is_done_but_what_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def fine(part: Any) -> None:
        done.append(part.name)
        part.run = 1

    def broken(part: Any) -> None:
        done.append(part.name)
        raise module("lab_servers").LabFailed("no")

    parts = {"up": fine, "apply": broken, "suites": fine, "golden": fine, "down": fine}
    monkeypatch.setattr(lab, "_PARTS", parts)
    told = lab.run(list(parts))
    assert done == ["up", "apply", "down"]
    assert [each.is_ok for each in told] == [True, False, False, False, True]
    assert told[1].wrong == ["no"]
    assert "golden" in lab.table(told)
    assert lab.table(told).count("failed") == 3


def test_the_gate_of_the_golden_path_is_a_policy_that_the_platform_reads() -> None:
    from radloop.evaluation import policy

    found = policy.load(json.dumps(golden.lenient()))
    assert found.to_json()["counts"] == {"positives": 1, "negatives": 1}


def test_what_the_shim_tells_is_what_the_applied_rules_wait_for() -> None:
    from radloop.functions.rules import matches

    text = (ROOT / "contracts" / "events" / "aws-rules.json").read_text()
    names = {
        "training_data": "b",
        "datastore_id": "d",
        "pipeline_arn": "p",
        "package_group": "g",
        "name": "radloop-dev",
    }
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
    told = [
        events.import_ended("d", {"jobId": "j", "jobStatus": "COMPLETED"}),
        events.import_ended("d", {"jobId": "j", "jobStatus": "FAILED"}),
        events.step_changed("p", "p/execution/e", "Train", "Executing", "Succeeded"),
        events.execution_changed("p", "p/execution/e", "Executing", "Failed"),
        events.execution_changed("p-drift", "p-drift/execution/e", "Executing", "Failed"),
        events.package_changed("arn:aws:sagemaker:r:1:model-package/g/3", "Approved"),
        events.alarm_changed("radloop-dev-A8", "ALARM"),
    ]
    met = [[rule["name"] for rule in json.loads(text)["rules"] if matches(rule["pattern"], each)] for each in told]
    assert met == [
        ["ImportJobEnded"],
        ["ImportJobFailed"],
        ["SageMakerStepEnded"],
        ["SageMakerPipelineEnded"],
        ["DriftJobFailed"],
        ["ModelPackageChanged"],
        ["CloudWatchAlarm"],
    ]


def test_what_functions_took_is_read_from_a_report_and_told_side_by_side() -> None:
    report = (
        '<testsuites><testsuite><testcase classname="t" name="ok"><properties>'
        '<property name="memory api" value="1024 180 2.5"/><property name="other" value="1"/>'
        "</properties></testcase></testsuite></testsuites>"
    )
    taken = lab.memory_of(report)
    assert taken == {"api": lab.Taken(1024, 180.0, 2.5)}
    parts = [lab.Part("suites", memory=taken), lab.Part("golden", memory={"drift": lab.Taken(512, 131.0, 0.4)})]
    _, api, drift = (line.split() for line in lab.memory_table(parts).splitlines())
    assert api == ["api", "1024", "180", "2.5", "-", "-"]
    assert drift == ["drift", "512", "-", "-", "131", "0.4"]


def test_the_alarms_that_are_named_as_computed_are_those_of_the_contract() -> None:
    contract = json.loads((ROOT / "contracts" / "alarms.json").read_text())
    computed = {each["id"] for each in contract["alarms"] if "expression" in each["aws"]}
    assert {name for entry in NAMED["computed"] for name in entry["alarms"]} == computed


def test_a_worker_of_the_emulator_is_known_by_its_mark_and_its_name(tmp_path: Path) -> None:
    memory = module("lab_memory")
    mark = f"RADLOOP_LAB_FOLDER={tmp_path}"
    environ = {
        "RADLOOP_LAB_FOLDER": str(tmp_path),
        "AWS_LAMBDA_FUNCTION_NAME": "radloop-dev-api",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    }
    command = [sys.executable, "-I", "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert memory.workers(mark) == {worker.pid: ("radloop-dev-api", 1024)}
        assert memory.workers(f"{mark}0") == {}
        assert 1 < memory.peak_mb(worker.pid) < 100
        worker.communicate()
    assert memory.workers(mark) == {}


@pytest.mark.parametrize(
    ("emulator", "holds"), [("ministack", {"ministack", "boto3", "cryptography"}), ("moto", {"moto", "flask"})]
)
def test_everything_of_an_emulator_is_pinned_by_hash(emulator: str, holds: set[str]) -> None:
    text = module("lab_install").wanted(emulator).read_text().replace("\\\n", " ")
    wanted = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all("==" in line and "--hash=sha256:" in line for line in wanted)
    assert holds <= {line.partition("==")[0] for line in wanted}


def test_what_is_installed_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install = module("lab_install")
    folder = tmp_path / "ministack"
    (folder / "bin").mkdir(parents=True)
    for name in ("ministack", "python"):
        (folder / "bin" / name).symlink_to("/bin/false")
    monkeypatch.setenv("RADLOOP_LAB", str(tmp_path))
    with pytest.raises(install.NotInstalled):
        install.install("ministack")
    (folder / ".ready").write_text(hashlib.sha256(install.wanted("ministack").read_bytes()).hexdigest() + "\n")
    assert install.install("ministack") == folder / "bin" / "ministack"
