"""An alarm of several metrics goes on by their values, as the lab computes it on an emulator that does not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.aws.emulators import client, ministack, unique
from tests.infra.test_lab import module

__all__ = ["ministack"]

math = module("lab_math")
failed = module("lab_servers").LabFailed


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


def test_every_expression_of_the_contract_is_computed() -> None:
    alarms = json.loads((Path(__file__).parents[2] / "contracts/alarms.json").read_text())["alarms"]
    computed = [each["aws"] for each in alarms if "expression" in each["aws"]]
    assert computed
    for each in computed:
        expression = re.sub(r"\$\{\w+\}", "1000", each["expression"])
        values = dict.fromkeys(each["metrics"], 1000.0)
        assert math.evaluated(expression, values.get) > each["threshold"] * 0.99
        assert math.evaluated(expression, {}.get) is None
