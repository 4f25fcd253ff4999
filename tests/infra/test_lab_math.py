"""An alarm of several metrics goes on by their values, as the lab computes it on an emulator that does not."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from radloop.aws import clients
from tests.aws.emulators import CREDENTIALS, client, ministack, unique
from tests.infra.test_lab import module

__all__ = ["ministack"]

math = module("lab_math")
alarms = module("lab_alarms")
failed = module("lab_servers").LabFailed

ALARMS = json.loads((Path(__file__).parents[2] / "contracts/alarms.json").read_text())["alarms"]
COMPUTED = [each for each in ALARMS if "expression" in each["aws"]]


def query(name: str, metric: str, function: str) -> dict[str, Any]:
    where = {"dimensions": {"FunctionName": function}, "period": 300, "stat": "Sum"}
    asked = {"namespace": "AWS/Lambda", "metric_name": metric, **where}
    return {"id": name, "expression": "", "metric": [asked], "return_data": False}


@pytest.fixture
def alarm(ministack: str) -> dict[str, Any]:
    """More than one in a hundred runs failed, as Terraform's state has it; its name is that of the function."""
    name = unique("function")
    client(ministack, "cloudwatch").put_metric_alarm(
        AlarmName=name,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=1.0,
        EvaluationPeriods=1,
        MetricName="held in the state",
        Namespace="n",
        Period=60,
        Statistic="Sum",
    )
    expression = "IF(invocations > 0, 100 * errors / invocations, 0)"
    return {
        "alarm_name": name,
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 1,
        "evaluation_periods": 1,
        "datapoints_to_alarm": None,
        "treat_missing_data": "notBreaching",
        "metric_query": [
            query("errors", "Errors", name),
            query("invocations", "Invocations", name),
            {"id": "result", "expression": expression, "metric": [], "return_data": True},
        ],
    }


@pytest.mark.parametrize(
    ("errors", "invocations", "state"), [(0, 50, "OK"), (1, 100, "OK"), (2, 100, "ALARM"), (None, 100, "OK")]
)
def test_it_is_as_the_values_of_the_metrics_together_say(
    ministack: str, alarm: dict[str, Any], errors: int | None, invocations: int, state: str
) -> None:
    cloudwatch = client(ministack, "cloudwatch")
    name = alarm["alarm_name"]
    where = [{"Name": "FunctionName", "Value": name}]
    told = {"Errors": errors, "Invocations": invocations}
    data = [{"MetricName": each, "Dimensions": where, "Value": n} for each, n in told.items() if n is not None]
    cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=data)
    assert math.judge(cloudwatch, alarm) == state
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == state


def test_what_it_does_not_compute_is_said() -> None:
    for expression in ("ANOMALY_DETECTION_BAND(m1)", "a ** 2", "'x'", "a < b < c"):
        with pytest.raises(failed, match="does not compute"):
            math.evaluated(expression, {"a": 1.0, "b": 2.0, "c": 3.0, "m1": 1.0}.get)


def test_an_alarm_of_many_periods_goes_on_by_as_many_as_it_says(ministack: str, alarm: dict[str, Any]) -> None:
    cloudwatch, now = client(ministack, "cloudwatch"), datetime.now(UTC)
    where = [{"Name": "FunctionName", "Value": alarm["alarm_name"]}]
    data = [
        {"MetricName": name, "Dimensions": where, "Value": 50, "Timestamp": now - timedelta(seconds=700)}
        for name in ("Errors", "Invocations")
    ]
    cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=data)
    for periods, datapoints, state in ((1, None, "OK"), (3, None, "OK"), (3, 1, "ALARM"), (3, 2, "OK")):
        asked = {**alarm, "evaluation_periods": periods, "datapoints_to_alarm": datapoints}
        assert math.judge(cloudwatch, asked) == state
        assert math.judge(cloudwatch, asked, now - timedelta(days=1)) == "OK", "before anything was"


@pytest.mark.parametrize(("missing", "state"), [("notBreaching", "OK"), ("breaching", "ALARM"), ("ignore", None)])
def test_what_nothing_means_stands_in_the_alarm(
    ministack: str, alarm: dict[str, Any], missing: str, state: str | None
) -> None:
    asked = {**alarm, "treat_missing_data": missing}
    assert math.judge(client(ministack, "cloudwatch"), asked) == (state or "INSUFFICIENT_DATA")


def through(aws: Mapping[str, Any], told: Mapping[str, float]) -> float | None:
    """What the alarm looks at, where these of its metrics have a value; a sum over storage is one part of it."""
    terms = {**{name: f"FILL({name}_1, 0)" for name in aws["metrics"] if "sum_over" in aws}, **aws.get("terms", {})}

    def value(name: str) -> float | None:
        return math.evaluated(terms[name], value) if name in terms else told.get(name.removesuffix("_1"))

    found: float | None = math.evaluated(re.sub(r"\$\{\w+\}", "1000", aws["expression"]), value)
    return found


@pytest.mark.parametrize("alarm", COMPUTED, ids=lambda alarm: alarm["id"])
def test_each_cause_alone_raises_a_computed_alarm_and_silence_does_not(alarm: dict[str, Any]) -> None:
    aws = alarm["aws"]
    assert aws["raised_by"]
    for names in aws["raised_by"]:
        far = through(aws, dict.fromkeys(names, 1e12))
        assert far is not None
        assert far > aws["threshold"], names
    silence = through(aws, {})
    assert silence is None or silence <= aws["threshold"]
    assert {*chain.from_iterable(aws["raised_by"])} | {"done"} >= {*aws["metrics"]}


def test_one_in_a_hundred_runs_that_lambda_did_not_count_is_no_alarm_and_two_are() -> None:
    (alarm,) = [each for each in COMPUTED if each["id"] == "A5"]
    for unseen, seen, is_on in ((1, 0, False), (2, 0, True), (0, 1, False), (0, 2, True), (1, 2, True)):
        told = {"failed": unseen, "done": 100 - unseen, "errors": seen, "invocations": 100}
        found = through(alarm["aws"], told)
        assert found is not None
        assert (found > alarm["aws"]["threshold"]) is is_on


def test_a_filled_value_cannot_hide_one_that_comes_late() -> None:
    for each in COMPUTED:
        aws = each["aws"]
        assert aws["datapoints"] == 1 < aws["periods"]
        assert aws["periods"] * aws["period_s"] <= timedelta(days=7).total_seconds()


def as_applied(contract: dict[str, Any], name: str) -> dict[str, Any]:
    """A computed alarm as Terraform's state has it, on metrics of its own; what is summed is there twice."""
    aws = contract["aws"]
    copies = {each: [f"{each}0", f"{each}1"] if "sum_over" in aws else [each] for each in aws["metrics"]}
    asked = {"metric_name": "value", "namespace": "lab", "period": aws["period_s"]}
    metrics = {
        copy: {**asked, "stat": metric["statistic"], "dimensions": {"of": f"{name}-{copy}"}}
        for each, metric in aws["metrics"].items()
        for copy in copies[each]
    }
    sums = {each: " + ".join(f"FILL({copy}, 0)" for copy in some) for each, some in copies.items() if len(some) > 1}
    result = re.sub(r"\$\{\w+\}", "1000", aws["expression"])
    terms = {**aws.get("terms", {}), **sums, "result": result}
    return {
        "alarm_name": name,
        "comparison_operator": "GreaterThanThreshold",
        "threshold": aws["threshold"],
        "evaluation_periods": aws["periods"],
        "datapoints_to_alarm": aws["datapoints"],
        "treat_missing_data": contract["missing"],
        "metric_query": [
            *({"id": key, "expression": "", "metric": [each], "return_data": False} for key, each in metrics.items()),
            *(
                {"id": key, "expression": text, "metric": [], "return_data": key == "result"}
                for key, text in terms.items()
            ),
        ],
    }


@pytest.fixture
def asked_there(ministack: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": ministack}.items():
        monkeypatch.setenv(name, value)
    for kept in (clients.session, clients.client):
        kept.cache_clear()
    yield
    for kept in (clients.session, clients.client):
        kept.cache_clear()


@pytest.mark.usefixtures("asked_there")
@pytest.mark.parametrize("contract", COMPUTED, ids=lambda contract: contract["id"])
def test_the_lab_raises_an_alarm_by_each_of_its_causes(alarm: dict[str, Any], contract: dict[str, Any]) -> None:
    applied = as_applied(contract, alarm["alarm_name"])
    asked = alarms.Alarm(contract, applied["alarm_name"], applied)
    asked.provoke()
    assert asked.state() == "ALARM"
    causes = [[each["dimensions"]["of"] for each in some] for some in alarms.causes_of(contract, applied)]
    assert len(causes) == 2


@pytest.mark.usefixtures("asked_there")
def test_the_lab_finds_an_alarm_that_only_both_of_its_causes_raise(alarm: dict[str, Any]) -> None:
    (contract,) = [each for each in COMPUTED if each["id"] == "A6"]
    careless = {**contract, "aws": {**contract["aws"], "expression": "reads + writes"}}
    applied = as_applied(careless, alarm["alarm_name"])
    with pytest.raises(failed, match="does not go on by"):
        alarms.Alarm(careless, applied["alarm_name"], applied).provoke()
