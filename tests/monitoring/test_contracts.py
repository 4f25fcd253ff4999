"""The three contracts hold what the list of dashboards and alarms asks for, and fit each other."""

import json
import re
from typing import Any

import pytest

from radloop.api.gate import FRAME_OPERATIONS
from radloop.aws import endpoint
from radloop.functions import notification
from radloop.local import worker
from radloop.monitoring.alarms import load_alarms
from radloop.monitoring.dashboards import load_dashboards
from radloop.monitoring.metrics import LANES, load_metrics
from tests.functions.house import CONTRACTS

METRICS = load_metrics((CONTRACTS / "metrics.json").read_text())
ALARMS = load_alarms((CONTRACTS / "alarms.json").read_text())
DASHBOARDS = load_dashboards((CONTRACTS / "dashboards.json").read_text())
WIDGETS = [widget for dashboard in DASHBOARDS for widget in dashboard.widgets]
PAGE = (CONTRACTS.parent / "docs" / "monitoring.md").read_text()
LINES = [
    *(f"M1.{number}" for number in range(1, 8)),
    *(f"M2.{number}" for number in range(1, 9)),
    *(f"M3.{number}" for number in range(1, 8)),
]
PLACEHOLDERS = {
    *("pipeline", "endpoint", "table", "function", "function_label", "dead_queue"),
    *("bucket", "storage_type", "storage_budget_bytes", "archive"),
}


def test_every_line_of_the_three_dashboards_is_drawn_and_measured() -> None:
    assert [dashboard.id for dashboard in DASHBOARDS] == ["healthimaging", "pipeline", "mlops"]
    assert sorted({widget.id for widget in WIDGETS}) == LINES
    assert sorted({line for metric in METRICS.values() for line in metric.dashboard.split(", ") if line}) == LINES
    for widget in WIDGETS:
        assert widget.id in METRICS[widget.question.metric].dashboard.split(", ")
        assert f"| {widget.id} |" in PAGE
        assert f"`{widget.question.metric}`" in PAGE


def test_there_are_the_eight_alarms_of_the_brief_and_one_of_ours() -> None:
    assert [alarm.id for alarm in ALARMS] == [*(f"A{number}" for number in range(1, 9)), "O1"]
    told = {alarm.id: (alarm.comparison, alarm.threshold, alarm.window_s) for alarm in ALARMS}
    assert told["A1"] == (">", 1.0, 60)  # 1000 ms
    assert told["A3"][:2] == ("<", 0.85)
    assert told["A4"] == (">", 5, 60)
    assert told["A5"][:2] == (">", 1)
    assert told["A8"][:2] == (">", 15 * 60)
    for alarm in ALARMS:
        assert f"| {alarm.id} | `{alarm.name}` |" in PAGE
        assert re.fullmatch(r"[a-z-]{1,64}", alarm.name)


@pytest.mark.parametrize("question", [*(each.question for each in ALARMS), *(each.question for each in WIDGETS)])
def test_what_is_asked_for_is_measured_that_way(question: Any) -> None:
    metric = METRICS[question.metric]
    assert {*question.where, question.by} - {""} <= metric.labels.keys()
    assert (metric.kind == "histogram") is (question.statistic in {"mean", "p99"})
    assert metric.kind == "counter" or question.statistic not in {"increase", "percent"}
    for label, admitted in question.where.items():
        assert all(re.fullmatch(metric.labels[label], value) for value in admitted)
    if question.per:
        assert METRICS[question.per].labels == metric.labels


def test_bytes_per_image_are_those_of_every_operation_that_gives_a_frame() -> None:
    (widget,) = [widget for widget in WIDGETS if widget.id == "M1.3"]
    assert set(widget.question.where["operation"]) == FRAME_OPERATIONS


def test_an_alarm_clears_on_the_good_side_of_its_threshold() -> None:
    for alarm in ALARMS:
        assert not alarm.is_wrong(alarm.clear, alarm.threshold)


def test_cloudwatch_is_told_the_same() -> None:
    for alarm in ALARMS:
        aws = alarm.aws
        assert aws["threshold"] == alarm.threshold
        assert aws["period_s"] % 60 == 0
        if "expression" in aws:
            computed = " ".join([aws["expression"], *aws.get("terms", {}).values()])
            assert all(re.search(rf"\b{name}\b", computed) for name in aws["metrics"])
        elif aws["namespace"] == "Radloop":
            assert aws["metric"] == alarm.question.metric
    for text in (CONTRACTS / name for name in ("metrics.json", "alarms.json")):
        named = set(re.findall(r"\$\{(\w+)\}", text.read_text()))
        assert named <= PLACEHOLDERS
    for metric in METRICS.values():
        for told in metric.aws:
            assert {"namespace", "metric", "statistic", "dimensions"} <= told.keys()


def test_every_lane_in_which_a_job_can_die_raises_the_alarm_of_dead_letters_but_that_of_messages() -> None:
    (alarm,) = [alarm for alarm in ALARMS if alarm.name == "dead-letters"]
    on_aws = {lane["name"] for lane in json.loads((CONTRACTS / "functions.json").read_text())["lanes"]} - {"uploads"}
    assert {*LANES} == {*worker.LANES, worker.MIRROR_LANE, notification.LANE, *on_aws}
    assert {*alarm.question.where["lane"]} == {*LANES} - {notification.LANE}


def test_cloudwatch_finds_what_our_functions_tell_under_their_own_names() -> None:
    functions = json.loads((CONTRACTS / "functions.json").read_text())["functions"]
    named = METRICS["radloop_function_runs_total"].labels["function"]
    assert [each["name"] for each in functions if not re.fullmatch(named, each["name"].replace("-", "_"))] == []


def test_the_endpoint_is_asked_under_the_name_of_its_variant() -> None:
    (told,) = METRICS["radloop_model_predictions"].aws
    assert told["dimensions"]["VariantName"] == endpoint._CHAMPION


def test_the_contracts_are_plain_json() -> None:
    for name in ("metrics", "alarms", "dashboards"):
        assert json.loads((CONTRACTS / f"{name}.json").read_text()).keys() == {name}
