# ruff: noqa: INP001 — part of programs that are run by themselves
"""What an alarm of several metrics comes to: CloudWatch's metric math, as far as contracts/alarms.json goes.

MiniStack takes such an alarm, forgets its metrics and never computes it. So this reads the alarm in Terraform's state,
as it was applied, and the values as they lie in the emulator, computes, compares, and sets the state, as CloudWatch
does by itself.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lab_servers import LabFailed

_TWO: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ORDER: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}
_CROSSED: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_CLOCKS_DIFFER = timedelta(minutes=1)


def judge(cloudwatch: Any, alarm: Mapping[str, Any]) -> str:
    """Set an alarm to what its metrics come to.

    Args:
        cloudwatch: A boto3 client.
        alarm: The attributes of an `aws_cloudwatch_metric_alarm`.

    Returns:
        The state that was set: OK, ALARM, or INSUFFICIENT_DATA.

    Raises:
        LabFailed: Its expressions hold what is not computed here.
    """
    found = computed(cloudwatch, alarm["metric_query"])
    if found is None:
        state = {"notBreaching": "OK", "breaching": "ALARM"}.get(alarm["treat_missing_data"], "INSUFFICIENT_DATA")
    else:
        state = "ALARM" if _CROSSED[alarm["comparison_operator"]](found, alarm["threshold"]) else "OK"
    reason = f"computed: {found} against {alarm['threshold']}"
    cloudwatch.set_alarm_state(AlarmName=alarm["alarm_name"], StateValue=state, StateReason=reason)
    return state


def computed(cloudwatch: Any, queries: Sequence[Mapping[str, Any]]) -> float | None:
    """The value of the one query that is returned, over its last period; None where a metric has no value there."""
    by_name = {each["id"]: each for each in queries}
    (returned,) = [each["id"] for each in queries if each["return_data"]]

    def value(name: str) -> float | None:
        query = by_name[name]
        for metric in query["metric"]:
            return _latest(cloudwatch, metric)
        return evaluated(query["expression"], value)

    return value(returned)


def evaluated(expression: str, value: Callable[[str], float | None]) -> float | None:
    """An expression of metric math, of numbers, names, + - * /, comparisons and IF; None where a name has no value.

    Raises:
        LabFailed: There is something else in it.

    >>> evaluated("IF(runs > 0, 100 * errors / runs, 0)", {"runs": 8.0, "errors": 2.0}.get)
    25.0
    >>> evaluated("IF(runs > 0, 100 * errors / runs, 0)", {"runs": 0.0, "errors": 2.0}.get)
    0.0
    >>> evaluated("reads + writes", {"reads": 1.0}.get) is None
    True
    """

    def of(node: ast.expr) -> float | None:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                return value(name)
            case ast.BinOp(left, op, right) if type(op) in _TWO:
                return _both(_TWO[type(op)], of(left), of(right))
            case ast.Compare(left, [op], [right]) if type(op) in _ORDER:
                return _both(_ORDER[type(op)], of(left), of(right))
            case ast.Call(ast.Name("IF"), [condition, then, otherwise], []):
                holds = of(condition)
                return None if holds is None else of(then if holds else otherwise)
        raise LabFailed(f"the lab does not compute {expression}")

    return of(ast.parse(expression, mode="eval").body)


def _both(do: Callable[[float, float], float], left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else float(do(left, right))


def dimensions(metric: Mapping[str, Any]) -> list[dict[str, str]]:
    """The dimensions of a metric of a query, as CloudWatch's API has them."""
    return [{"Name": name, "Value": value} for name, value in (metric["dimensions"] or {}).items()]


def _latest(cloudwatch: Any, metric: Mapping[str, Any]) -> float | None:
    statistic, period, now = metric["stat"], metric["period"], datetime.now(UTC)
    points = cloudwatch.get_metric_statistics(
        Namespace=metric["namespace"],
        MetricName=metric["metric_name"],
        Dimensions=dimensions(metric),
        StartTime=now - timedelta(seconds=period),
        EndTime=now + _CLOCKS_DIFFER,
        Period=period,
        Statistics=[statistic],
    )["Datapoints"]
    return float(max(points, key=lambda point: point["Timestamp"])[statistic]) if points else None
