"""Everything that infra/ makes is in the costs: by a line that pays for it, or by a reason why it costs nothing."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
CONTRACTS = ROOT / "contracts"
SOURCES = sorted(path for path in INFRA.rglob("*.tf") if not {".terraform", "tests"} & set(path.parts))

LIKELY = {"version": 5, "operation": 20, "reason": 3}
"""How many values a label has, as a guess, where the contract does not name them or few of them occur."""

TOLD_ELSEWHERE = {
    "radloop_database_busy_total",  # SQLite's
    "radloop_events_told_total",  # by a process that answers /metrics
    *("radloop_original_bytes", "radloop_stored_bytes", "radloop_ingested_gigabytes"),  # no record knows bytes on AWS
    *("radloop_htj2k_ratio_percent", "radloop_storage_budget_percent"),
}
"""Metrics that no function of AWS tells, besides those of DIMSE."""


def contract(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONTRACTS / name).read_text())
    return found


def resources(text: str) -> set[str]:
    return set(re.findall(r'^resource "(aws_\w+)"', text, flags=re.MULTILINE))


MADE = {kind for path in SOURCES for kind in resources(path.read_text())}
BILLED: dict[str, dict[str, Any]] = contract("billed.json")["resources"]
COSTS = contract("scenarios.json")
PAID = {line["id"]: line for line in (*COSTS["installation"]["lines"], *COSTS["left_out"])}


def test_every_kind_of_resource_has_a_line_that_pays_for_it_or_a_reason_why_it_is_free() -> None:
    assert len(MADE) > 80, "the sources are read as terraform fmt writes them"
    assert MADE - set(BILLED) == set(), "made, and no cost names it: add it to contracts/billed.json"
    assert set(BILLED) - MADE == set(), "in the costs, and nothing makes it"


@pytest.mark.parametrize("kind", sorted(BILLED))
def test_a_kind_of_resource_names_lines_that_there_are_or_says_why_it_is_free(kind: str) -> None:
    told = BILLED[kind]
    assert len(told) == 1
    assert set(told.get("lines", [])) <= set(PAID)
    assert told.get("lines") or told["free"].endswith(".")


def test_every_line_is_paid_for_something_that_is_made() -> None:
    named = {line for told in BILLED.values() for line in told.get("lines", [])}
    assert set(PAID) - named == set()


def test_a_resource_that_no_cost_names_is_seen() -> None:
    assert resources('resource "aws_macie2_account" "this" {}') - set(BILLED) == {"aws_macie2_account"}


def factor(line: str, name: str) -> float:
    found: float = PAID[line]["right"]["factors"][name]
    return found


def listed(text: str, after: str, before: str) -> list[str]:
    """Keys of the object between two marks, as `terraform fmt` writes them."""
    part = text[text.index(after) : text.index(before)]
    return re.findall(r"^    \"?([a-z.-]+)\"? += ", part, flags=re.MULTILINE)


def test_interface_endpoints_are_counted_as_they_are_made() -> None:
    text = (INFRA / "modules/network/endpoints.tf").read_text()
    made = len(listed(text, "  interfaces = {", "  gateways = {"))
    assert made == factor("endpoints", "interface endpoints") == 14
    for line in ("flow-logs", "flow-logs-parquet", "guardduty-flows"):
        assert factor(line, "network interfaces") == 2 * made + 2, "and one a zone for all functions together"


def test_keys_are_counted_as_they_are_made() -> None:
    text = (INFRA / "modules/keys/main.tf").read_text()
    made = len(listed(text, "  domains = {", "  data_actions = ["))
    assert made == factor("keys", "keys made") == factor("key-rotations", "keys made") == 8


def test_alarms_are_counted_by_the_metrics_that_each_of_them_looks_at() -> None:
    text = (INFRA / "platform/monitoring.tf").read_text()
    counted = text[text.index("counted_storage = concat(") : text.index("\n  )")]
    lists = [len(names.split(",")) for names in re.findall(r"for \w+ in \[([^\]]*)\]", counted)]
    places = sum(lists) + len(re.findall(r"^    \[\[", counted, flags=re.MULTILINE))
    functions = contract("functions.json")
    delayed = sum("delay" in rule for rule in contract("events/rules.json")["rules"])
    each = {"function": len(functions["functions"]), "dead_queue": len(functions["lanes"]) + delayed + 2}
    metrics = 0
    for alarm in (alarm["aws"] for alarm in contract("alarms.json")["alarms"]):
        looked_at = len(alarm.get("metrics", ["the one it names"])) * (places if "sum_over" in alarm else 1)
        metrics += looked_at * (each[alarm["each"]] if "each" in alarm else 1)
    assert metrics == factor("listed-alarms", "alarms listed") + factor("alarms", "metrics")


def test_metrics_are_counted_once_a_value_of_their_labels() -> None:
    likely = {**LIKELY, "function": len(contract("functions.json")["functions"])}
    told = [
        metric
        for metric in contract("metrics.json")["metrics"]
        if metric["name"] not in TOLD_ELSEWHERE and not metric["name"].startswith("radloop_dimse")
    ]
    series = sum(
        math.prod(
            likely.get(label) or len(set(values.split("|")) - {"other"})
            for label, values in metric.get("labels", {}).items()
        )
        for metric in told
    )
    assert series == factor("listed-metrics", "metrics listed") + factor("metrics", "metrics")


def test_queues_and_schedules_are_counted_as_functions_hang_on_them() -> None:
    triggers = [trigger for each in contract("functions.json")["functions"] for trigger in each["triggers"]]
    delayed = sum("delay" in rule for rule in contract("events/rules.json")["rules"])
    queues = sum("queue" in trigger for trigger in triggers) + delayed
    for line in ("queues", "queue-keys"):
        assert factor(line, "queues that functions listen to") == queues
    an_hour = {"rate(1 minute)": 60, "rate(1 hour)": 1}
    calls = sum(an_hour[trigger["schedule"]] for trigger in triggers if "schedule" in trigger)
    for line in ("calls-on-schedule", "calls-on-schedule-time"):
        assert factor(line, "calls an hour") == calls


def test_the_pool_has_the_plan_that_is_paid_for() -> None:
    assert re.search(r'^  user_pool_tier += "PLUS"', (INFRA / "modules/identity/main.tf").read_text(), re.MULTILINE)
    assert PAID["people"]["right"]["price"] == "cognito-plus"


def test_the_firewall_has_the_rules_that_are_paid_for() -> None:
    text = (INFRA / "modules/cdn/main.tf").read_text()
    firewall = text[text.index('resource "aws_wafv2_web_acl" "this"') :].partition("\n}\n")[0]
    (groups,) = re.findall(r'^  dynamic "rule" \{\n    for_each = \{([^}]*)\}', firewall, flags=re.MULTILINE)
    rules = groups.count("=") + len(re.findall(r"^  rule \{", firewall, flags=re.MULTILINE))
    assert rules == factor("firewall-rules", "rules and rule groups")


def test_deleted_uploads_are_paid_for_as_long_as_they_can_be_brought_back() -> None:
    text = (INFRA / "modules/storage/variables.tf").read_text()
    days = int(re.findall(r'variable "undo_days" \{[^}]*default +=\s*(\d+)', text)[0])
    assert days == 30 * factor("deleted", "months until they are gone")
