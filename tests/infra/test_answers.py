"""The table of docs/aws.md that answers the brief: what it names is there, and every box and rule is in it."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "aws.md").read_text()
TABLE = TEXT[TEXT.index("\n## What answers the brief") : TEXT.index("\n## What is weak")]
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith(("| brief", "| ---"))
]
ANSWERS = [row for row in ROWS if not row[0].startswith("**")]
NAMED = sorted({name for row in ANSWERS for name in re.findall(r"`([^`]+)`", row[1])})
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "infra" / "modules").glob("*/*.tf")))
PROOFS = (
    "lab",
    "emulator",
    "server",
    "unit",
    "static",
    "mock",
    "embedded",
    "never",
    "the viewer",
    "the doctor",
    "tests",
)


def contract(name: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads((ROOT / "contracts" / name).read_text())
    return found


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row[0])
def test_every_item_has_an_answer_and_a_proof_or_says_that_it_has_none(row: tuple[str, ...]) -> None:
    assert len(row) == 3
    assert row[1]
    assert re.search(rf"\b({'|'.join(PROOFS)})\b", row[2]), row[2]


@pytest.mark.parametrize("name", [each for each in NAMED if each.startswith("aws_")])
def test_every_resource_that_is_named_is_made(name: str) -> None:
    kind, _, label = name.partition(".")
    assert re.search(rf'^resource "{kind}" "{label or "[a-z_]+"}" {{', SOURCES, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "name", [each for each in NAMED if re.match(r"(radloop|infra|contracts|tools|tests|docs)/", each)]
)
def test_every_file_that_is_named_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_every_module_and_variable_that_is_named_is_there() -> None:
    modules = {path.name for path in (ROOT / "infra" / "modules").iterdir()}
    said = {name for row in ANSWERS for name in re.findall(r"module `([a-z]+)`", row[1])}
    said |= {
        name
        for row in ANSWERS
        for some in re.findall(r"modules ((?:`[a-z]+`(?:, )?)+)", row[1])
        for name in re.findall(r"`([a-z]+)`", some)
    }
    assert said <= modules
    stack = (ROOT / "infra" / "stacks" / "prod" / "variables.tf").read_text()
    variables = {name for row in ANSWERS for name in re.findall(r"variable `([a-z_]+)`", row[1])}
    assert {"is_spot", "training", "enable_nat", "has_endpoint", "region"} <= variables
    assert [name for name in variables if f'variable "{name}" {{' not in stack] == []


def test_every_module_answers_something_or_belongs_to_what_the_brief_leaves_out() -> None:
    unnamed = set()
    for module in (ROOT / "infra" / "modules").iterdir():
        made = set(
            re.findall(
                r'^resource "(\w+)" "(\w+)"',
                "\n".join(path.read_text() for path in module.glob("*.tf")),
                flags=re.MULTILINE,
            )
        )
        is_named = any(f"{kind}.{label}" in TABLE for kind, label in made) or re.search(
            rf"modules? [^|]*`{module.name}`", TABLE
        )
        unnamed |= set() if is_named else {module.name}
    assert unnamed == {"budget"}  # the brief's costs are its §5


def test_every_box_of_the_checklist_is_a_row() -> None:
    rows = {row[0].split()[0] for row in ANSWERS if re.match(r"D\d+\.\d|C\d+ ", row[0])}
    assert rows == {box["id"] for box in contract("checklist.json")["boxes"]}


def test_the_briefs_rules_functions_buckets_and_ranges_are_rows() -> None:
    items = " ; ".join(row[0] for row in ANSWERS)
    for name in ("ImageVerified", "TrainingComplete", "EvaluationPassed", "MetricViolation", "PipelineFailure"):
        assert f"rule {name}" in items
    for name in ("image ingestion", "pipeline trigger", "model evaluation", "model registry", "error logging"):
        assert name in items
    for name in ("training-data", "preprocessed-data", "model-artifacts", "logs"):
        assert f"bucket {name}" in items
    for name in (
        "10.0.0.0/16",
        "notebook",
        "NAT",
        "flow logs",
        "dashboards",
        "alarms",
        "second factor",
        "de-identification",
    ):
        assert name in items


def test_the_endpoints_are_counted() -> None:
    text = (ROOT / "infra" / "modules" / "network" / "endpoints.tf").read_text()
    interfaces, gateways = text.index("  interfaces = {"), text.index("  gateways = {")
    made = re.findall(r'^    "[a-z.-]+" +=', text[interfaces:gateways], flags=re.MULTILINE)
    ways = re.findall(r"^    [a-z0-9]+ = \[", text[gateways:], flags=re.MULTILINE)
    assert f"`aws_vpc_endpoint.gateway` ({len(ways)}), `aws_vpc_endpoint.interface` ({len(made)})" in TABLE
