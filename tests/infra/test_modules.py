"""What can be said of infra/ without Terraform: how modules are written, and what they may not hold."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from radloop.aws.sagemaker import OWN_DISKS

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
MODULES = sorted(path for path in (INFRA / "modules").iterdir() if path.is_dir())
SOURCES = sorted(path for path in INFRA.rglob("*.tf") if ".terraform" not in path.parts)

sys.path.insert(0, str(ROOT / "tools"))
import check_infra  # noqa: E402 — a program, not a package

module_by_module = pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
file_by_file = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(INFRA).as_posix())


def blocks(text: str, kind: str) -> dict[str, str]:
    """Name -> body of the top-level blocks of a kind, as `terraform fmt` writes them."""
    return dict(re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, flags=re.MULTILINE | re.DOTALL))


def text_of(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))


def without_comments(text: str) -> str:
    return re.sub(r"(?:^|\s)#.*$", "", text, flags=re.MULTILINE)


@module_by_module
def test_a_module_has_its_four_files_and_tests(module: Path) -> None:
    assert {"main.tf", "variables.tf", "outputs.tf", "versions.tf"} <= {path.name for path in module.iterdir()}
    assert any((module / "tests").glob("*.tftest.hcl"))


@module_by_module
def test_a_module_begins_by_saying_what_it_is(module: Path) -> None:
    assert (module / "main.tf").read_text().startswith("# ")


@pytest.mark.parametrize("folder", [*MODULES, INFRA / "platform"], ids=lambda path: path.name)
def test_every_variable_has_words_and_a_type_and_is_used(folder: Path) -> None:
    text = text_of(folder)
    for name, body in blocks(text, "variable").items():
        assert re.search(r'^  description = ".{10,}', body, flags=re.MULTILINE), f"{name} is not described"
        assert re.search(r"^  type +=", body, flags=re.MULTILINE), f"{name} has no type"
        assert name == "settings" or not re.search(r"^  type +=\s+any$", body, flags=re.MULTILINE), (
            f"{name} may be anything"
        )
        assert len(re.findall(rf"\bvar\.{name}\b", text.replace(body, ""))) > 0, f"nothing uses {name}"


@pytest.mark.parametrize("folder", [*MODULES, INFRA / "platform"], ids=lambda path: path.name)
def test_every_output_has_words(folder: Path) -> None:
    for name, body in blocks(text_of(folder), "output").items():
        assert re.search(r'^  description = ".{10,}', body, flags=re.MULTILINE), f"{name} is not described"


@file_by_file
def test_nothing_reads_the_account_it_is_applied_to(path: Path) -> None:
    """Names are made of variables, so a plan without credentials renders every policy."""
    assert not re.search(r'^data "', path.read_text(), flags=re.MULTILINE)


@file_by_file
def test_no_file_holds_an_account_or_a_secret(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\b\d{12}\b", text)
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE", text)


def wildcards(text: str) -> Iterator[tuple[str, str]]:
    """Effect of the statement and the action, of every action with a wildcard."""
    effect = ""
    for found in re.finditer(
        r'"?Effect"?\s*[=:]\s*"(\w+)"|"([a-z0-9-]+:[A-Za-z]*\*)"|Action"?\s*[=:]\s*\[?\s*"(\*)"', text
    ):
        effect = found[1] or effect
        if not found[1]:
            yield effect, found[2] or found[3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Effect = "Allow"\nAction = ["s3:*"]', [("Allow", "s3:*")]),
        ('Effect = "Allow"\nAction = "*"', [("Allow", "*")]),
        ('{"Effect": "Allow", "Action": ["dynamodb:Get*"]}', [("Allow", "dynamodb:Get*")]),
        ('Effect = "Deny"\nAction = ["s3:*"]', [("Deny", "s3:*")]),
        ('Effect = "Allow"\nAction = ["s3:GetObject"]\nResource = "*"', []),
    ],
)
def test_a_wildcard_would_be_found(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(wildcards(text)) == expected


@pytest.mark.parametrize(
    "path",
    [*SOURCES, ROOT / "contracts" / "functions.json"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_no_statement_allows_a_wildcard(path: Path) -> None:
    assert [found for found in wildcards(without_comments(path.read_text())) if found[0] != "Deny"] == []


def test_no_action_of_the_contract_has_a_wildcard() -> None:
    contract = json.loads((ROOT / "contracts" / "functions.json").read_text())
    grants = contract["common"]["actions"] + [grant for each in contract["functions"] for grant in each["actions"]]
    named = [action for grant in grants for action in grant["actions"]]
    assert named
    assert [action for action in named if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z0-9]+", action)] == []


@pytest.mark.parametrize("stack", check_infra.STACKS)
def test_a_stack_is_thin_and_keeps_its_state_sealed(stack: str) -> None:
    text = text_of(INFRA / "stacks" / stack)
    assert re.findall(r'^resource "', text, flags=re.MULTILINE) == []
    assert re.findall(r'source\s+= "(\.\./[^"]+)"', text) == ["../../platform"]
    assert re.search(r'backend "s3" \{\n    encrypt +=\s+true', text)
    assert f'environment = "{stack}"' in re.sub(r" +", " ", text)


def test_the_stacks_differ_in_values_only() -> None:
    names = [set(blocks(text_of(INFRA / "stacks" / stack), "variable")) for stack in check_infra.STACKS]
    assert names[0] == names[1] == names[2]


@pytest.mark.parametrize("stack", check_infra.STACKS)
def test_a_stack_can_say_whatever_the_platform_can_be_told(stack: str) -> None:
    said = set(re.findall(r"^  (\w+) += ", (INFRA / "stacks" / stack / "main.tf").read_text(), flags=re.MULTILINE))
    wanted = set(blocks(text_of(INFRA / "platform"), "variable"))
    assert wanted - said == {"project", "lambda_package", "pipeline_definitions"}  # of the tree, not of an account


def test_everything_terraform_leaves_behind_is_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".terraform/", "*.tfstate", "*.tfstate.*", ".terraform.lock.hcl"} <= set(ignored)


# The tool that checks it all


def test_every_waiver_gives_a_reason() -> None:
    for waiver in json.loads((INFRA / "waivers.json").read_text())["waivers"]:
        assert waiver.keys() == {"tool", "id", "resource", "reason"}
        assert len(waiver["reason"]) > 30, waiver
        assert waiver["resource"] != "*", "a waiver for everything switches the check off"


FOUND = check_infra.Finding("checkov", "C1", 'module.a.aws_s3_bucket.this["logs"]', "text")
WAIVER = {"tool": "checkov", "id": "C1", "resource": 'module.a.aws_s3_bucket.this["logs"]', "reason": "because"}


def test_a_waiver_covers_its_finding_with_index_and_all() -> None:
    assert list(check_infra.judged([FOUND], [WAIVER], frozenset({"checkov"}))) == []


@pytest.mark.parametrize(
    "change", [{"tool": "parliament"}, {"id": "C2"}, {"resource": 'module.a.aws_s3_bucket.this["web"]'}]
)
def test_a_waiver_of_something_else_covers_nothing(change: dict[str, str]) -> None:
    wrong = list(check_infra.judged([FOUND], [WAIVER | change], frozenset({"checkov", "parliament"})))
    assert len(wrong) == 2
    assert wrong[0] == str(FOUND)
    assert wrong[1].startswith("a waiver that nothing needs")


def test_a_waiver_of_a_linter_that_did_not_run_is_left_alone() -> None:
    assert list(check_infra.judged([], [WAIVER], frozenset({"parliament"}))) == []


def test_linters_are_pinned() -> None:
    groups = check_infra.groups()
    assert groups.keys() == {"checkov", "iam"}
    assert all(re.search("[=<]=?[0-9]", package) for packages in groups.values() for package in packages)


def test_a_mirror_of_providers_is_used_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLOOP_TF_MIRROR", str(tmp_path / "mirror"))
    environ = check_infra.environment(tmp_path)
    settings = Path(environ["TF_CLI_CONFIG_FILE"]).read_text()
    assert "filesystem_mirror" in settings
    assert json.dumps(str(tmp_path / "mirror")) in settings


def test_without_a_mirror_the_registry_is_asked_and_its_answers_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RADLOOP_TF_MIRROR", raising=False)
    monkeypatch.delenv("TF_CLI_CONFIG_FILE", raising=False)
    monkeypatch.setattr(check_infra, "_KEPT", tmp_path)
    environ = check_infra.environment(tmp_path)
    assert "TF_CLI_CONFIG_FILE" not in environ
    assert Path(environ["TF_PLUGIN_CACHE_DIR"]).is_dir()


@pytest.mark.parametrize("name", ["variables.tf", "versions.tf", "outputs.tf"])
def test_what_stacks_must_repeat_is_the_same_in_each(name: str) -> None:
    assert len({(INFRA / "stacks" / stack / name).read_text() for stack in ("dev", "staging", "prod")}) == 1


def test_machines_with_disks_of_their_own_are_the_same_for_terraform_and_for_python() -> None:
    (pattern,) = re.findall(r'^ +own_disks += "(.+)"$', (INFRA / "modules/training/main.tf").read_text(), re.MULTILINE)
    assert json.loads(f'"{pattern}"') == f"^{OWN_DISKS.pattern}"
