"""The release at the terminal: plan, keys, signatures, rollback, what served when, evidence."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from radloop import cli
from radloop.change_plan import write_demo_plan
from radloop.registry.plan import load
from radloop.training.recipes import recipe_for
from radloop.wiring import open_local
from tests.functions.released import package_of


def radloop(line: str) -> tuple[int, str]:
    """Run a command in this process; its exit status and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            status = cli.main.main(line.split(), prog_name="radloop", standalone_mode=False)
        except SystemExit as ended:
            status = ended.code
    return int(status or 0), printed.getvalue()


def facts(line: str, status: int = 0) -> dict[str, Any]:
    found, printed = radloop(f"{line} --json")
    assert found == status, printed
    told: dict[str, Any] = json.loads(printed)
    return told


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADLOOP_KEY_PASSWORD", raising=False)
    (tmp_path / "h").mkdir()
    (tmp_path / "h/settings.toml").write_text("mlflow = false\n")
    return tmp_path / "h"


def with_models(home: Path, count: int) -> None:
    with open_local(home) as installation:
        platform = installation.platform
        for number in range(count):
            key = f"model-artifacts/models/e{number}/model.tar.gz"
            platform.blobs.put(key, package_of(model_onnx=b"%d" % number))
            model = platform.models.register(
                execution=f"e{number}", artifact=key, metrics={}, lineage={"snapshot": "s"}
            )
            platform.models.decide(model.version, approved=True, by="ann")


def test_a_plan_is_written_signed_by_two_and_then_valid(home: Path) -> None:
    assert facts("pccp check --home h", 3)["state"] == "missing"
    assert facts("pccp init --author author-1 --home h")["to_sign"] == ["release-approver", "auditor"]
    assert radloop("pccp init --author author-1 --home h")[0] == 4
    assert facts("pccp check --home h", 3)["missing"] == ["release-approver", "auditor"]
    for signer, role in (("ann", "release-approver"), ("bob", "auditor")):
        assert facts(f"pccp keygen {signer} --role {role} --home h")["fingerprint"]
        told = facts(f"pccp sign {signer} --role {role} --home h")
    assert told["state"] == "valid"
    check = facts("pccp check --home h")
    assert (check["state"], check["violations"], check["is_inside"]) == ("valid", [], True)
    noted = facts("audit list --action plan.sign --home h")["items"]
    assert [entry["subject"].split()[0] for entry in noted] == ["bob", "ann"]
    plan = home / "pccp.yaml"
    plan.write_bytes(plan.read_bytes() + b"#\n")
    assert facts("pccp check --home h", 3)["state"] == "void"


def test_a_plan_for_a_machine_with_a_gpu_foresees_its_recipe_and_not_this_ones(home: Path) -> None:
    assert facts("pccp init --author u-ml-lead --gpu --home h")["to_sign"] == ["release-approver", "auditor"]
    for signer, role in (("u-approver", "release-approver"), ("u-auditor", "auditor")):
        assert facts(f"pccp keygen {signer} --role {role} --home h")["key"].startswith(str(home / "keys"))
    assert [each["id"] for each in json.loads((home / "keys/signers.json").read_text())["signers"]] == [
        "u-approver",
        "u-auditor",
    ]
    plan = load((home / "pccp.yaml").read_bytes())
    assert all(plan.recipe[name].admits(value) for name, value in recipe_for(1, gpu=True).items())
    assert not plan.recipe["image_size"].admits(recipe_for(1, gpu=False)["image_size"])


def test_what_the_home_would_do_outside_the_plan_is_told_before_it_does(home: Path) -> None:
    write_demo_plan(home)
    assert facts("pccp check --home h")["violations"] == []
    (home / "settings.toml").write_text('mlflow = false\naccuracy_threshold = 0.5\n[training]\nepochs = "77"\n')
    codes = {each["code"] for each in facts("pccp check --home h", 3)["violations"]}
    assert codes == {"recipe-outside-plan", "policy-outside-plan"}


def test_a_plan_for_a_demonstration_is_valid_and_a_plan_that_is_there_is_left_alone(home: Path) -> None:
    write_demo_plan(home)
    before = (home / "pccp.yaml").read_bytes()
    assert facts("pccp check --home h")["state"] == "valid"
    write_demo_plan(home)
    assert (home / "pccp.yaml").read_bytes() == before
    assert load(before).author == "demo-author"


def test_a_key_made_elsewhere_is_registered_and_signs_sealed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts("pccp init --author author-1 --home h")
    monkeypatch.setenv("RADLOOP_KEY_PASSWORD", "a long password")
    made = facts("pccp keygen ann --role release-approver --out stick.pem --home other")
    public = json.loads((home.parent / "other/keys/signers.json").read_text())["signers"][0]["public_key"]
    (home.parent / "ann.pub").write_text(public)
    assert (
        facts("pccp register ann --role release-approver --key ann.pub --home h")["fingerprint"] == made["fingerprint"]
    )
    assert b"ENCRYPTED" in (home.parent / "stick.pem").read_bytes()
    assert facts("pccp sign ann --role release-approver --key stick.pem --home h")["missing"] == ["auditor"]
    monkeypatch.setenv("RADLOOP_KEY_PASSWORD", "another")
    assert radloop("pccp sign ann --role release-approver --key stick.pem --home h")[0] == 1


def test_a_revoked_signer_counts_no_more_and_the_audit_tells_who_was_let_in_and_out(home: Path) -> None:
    facts("pccp init --author author-1 --home h")
    for signer, role in (("ann", "release-approver"), ("aud", "auditor")):
        facts(f"pccp keygen {signer} --role {role} --home h")
        facts(f"pccp sign {signer} --role {role} --home h")
    assert facts("pccp check --home h")["state"] == "valid"
    assert facts("pccp revoke aud --home h")["counts"] is False
    held = radloop("pccp check --json --home h")
    assert held[0] == 3
    assert json.loads(held[1])["missing"] == ["auditor"]
    assert radloop("pccp revoke aud --home h")[0] == 1
    noted = facts("audit list --home h")["items"]
    signers = [(one["action"], one["subject"], one["outcome"]) for one in noted if one["action"].startswith("plan.s")]
    assert ("plan.signer.add", "ann", "success") in signers
    assert ("plan.signer.revoke", "aud", "success") in signers
    assert ("plan.signer.revoke", "aud", "failure") in signers


def test_a_private_key_that_others_may_read_is_not_used(home: Path) -> None:
    facts("pccp init --author author-1 --home h")
    facts("pccp keygen ann --role auditor --home h")
    (home / "keys/signers/ann.pem").chmod(0o644)
    assert radloop("pccp sign ann --role auditor --home h")[0] == 1


def test_one_command_takes_the_model_back_and_the_ledger_tells_it(home: Path) -> None:
    assert radloop("rollback --reason drift --home h")[0] == 1
    with_models(home, 3)
    assert facts("rollback --reason drift --home h") == {"serving": 2, "taken_back": 3, "reason": "drift"}
    assert facts("rollback --reason incident --to 1 --home h")["serving"] == 1
    assert radloop("rollback --reason incident --home h")[0] == 4
    assert facts("serving --home h")["version"] == 1
    assert facts("serving --at 2020-01-01 --home h")["version"] is None
    assert radloop("serving --at yesterday --home h")[0] == 1
    assert "ann" in radloop("serving --home h")[1]
    assert facts("serving verify --home h")["whole"]
    actions = [entry["action"] for entry in facts("serving ledger --home h")["items"]]
    assert actions[:4] == ["alias", "rolledback", "alias", "rolledback"]


def test_a_ledger_that_was_cut_is_found_at_the_terminal(home: Path) -> None:
    with_models(home, 2)
    with open_local(home) as installation:
        installation.database.write(
            lambda connection: connection.execute("DELETE FROM model_ledger WHERE key > 'entry-00000004'")
        )
    told = facts("serving verify --home h", 3)
    assert (told["whole"], told["broken_at"], told["ends_as_audited"]) == (False, None, False)


def test_evidence_is_exported_once_and_checked_with_a_key_alone(home: Path) -> None:
    with_models(home, 1)
    assert facts("evidence export 1 --out e.zip --home h")["bytes"] > 1000
    assert radloop("evidence export 1 --out e.zip --home h")[0] == 4
    assert radloop("evidence export 9 --out other.zip --home h")[0] == 1
    key = facts("evidence key --out key.pem --home h")["public_key"]
    home.rename(home.parent / "gone")
    for named in ("key.pem", key):
        told = facts(f"evidence verify e.zip --key {named}")
        assert (told["holds"], told["is_trusted"], told["version"]) == (True, True, 1)
    assert not facts("evidence verify e.zip")["is_trusted"]
    assert "signature" in radloop("evidence verify e.zip")[1]
    assert not facts(f"evidence verify e.zip --key {'0' * 64}", 3)["holds"]
    assert radloop("evidence verify e.zip --key nonsense")[0] == 1
    data = bytearray((home.parent / "e.zip").read_bytes())
    data[len(data) // 2] ^= 1
    (home.parent / "e.zip").write_bytes(data)
    assert not facts(f"evidence verify e.zip --key {key}", 3)["holds"]
    assert not home.exists(), "it needs no home, and makes none"


def test_the_mirror_says_how_to_look_at_it(home: Path) -> None:
    status, printed = radloop("mlflow ui --home h --json")
    told = json.loads(printed)
    assert told["run"].startswith("mlflow ui --backend-store-uri sqlite:///")
    assert (status == 3) is bool(told["missing"])


def test_how_a_release_was_set_before_is_still_understood(home: Path) -> None:
    from radloop.core.errors import InvalidInput
    from radloop.local.home import read_settings

    assert read_settings({}).release == "plan"
    assert read_settings({"approve_automatically": True}).release == "automatic"
    assert read_settings({"approve_automatically": False}).release == "manual"
    for wrong in ({"release": "always"}, {"approvers": 0}, {"approve_automatically": True, "release": "plan"}):
        with pytest.raises(InvalidInput):
            read_settings(wrong)
