# ruff: noqa: INP001 — part of programs that are run by themselves
"""What an alarm of several metrics comes to: CloudWatch's metric math, as far as contracts/alarms.json goes.

MiniStack takes such an alarm, forgets its metrics and never computes it. So this reads the alarm in Terraform's state,
as it was applied, and the values as they lie in the emulator, computes, compares, and sets the state, as CloudWatch
does by itself.

Of a sum with a part that is missing AWS's guide says that the part counts as 0, and people have seen other things. Here
the sum is missing, so that an expression which relies on the one or the other is found: it has to say FILL.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
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
CLOCKS_DIFFER = timedelta(minutes=1)
"""A value may have a time that is so much after ours."""


def judge(cloudwatch: Any, alarm: Mapping[str, Any], at: datetime | None = None) -> str:
    """Set an alarm to what its metrics come to.

    Args:
        cloudwatch: A boto3 client.
        alarm: The attributes of an `aws_cloudwatch_metric_alarm`.
        at: The moment up to which values are looked at; None for now.

    Returns:
        The state that was set: OK, ALARM, or INSUFFICIENT_DATA.

    Raises:
        LabFailed: Its expressions hold what is not computed here.
    """
    end, missing = at or datetime.now(UTC), alarm["treat_missing_data"]
    length = timedelta(seconds=_period(alarm["metric_query"]))
    periods = range(alarm["evaluation_periods"])
    found = [computed(cloudwatch, alarm["metric_query"], end - each * length) for each in periods]
    is_beyond = partial(_is_beyond, alarm)
    wrong = sum(missing == "breaching" if value is None else is_beyond(value) for value in found)
    if wrong >= (alarm["datapoints_to_alarm"] or len(found)):
        state = "ALARM"
    elif missing == "notBreaching" or any(value is not None for value in found):
        state = "OK"
    else:
        state = "INSUFFICIENT_DATA"
    reason = f"computed: {found} against {alarm['threshold']}"
    cloudwatch.set_alarm_state(AlarmName=alarm["alarm_name"], StateValue=state, StateReason=reason)
    return state


def computed(cloudwatch: Any, queries: Sequence[Mapping[str, Any]], end: datetime) -> float | None:
    """The value of the one query that is returned, over the period that ends then; None where there is none."""
    by_name = {each["id"]: each for each in queries}
    (returned,) = [each["id"] for each in queries if each["return_data"]]

    def value(name: str) -> float | None:
        query = by_name[name]
        for metric in query["metric"]:
            return _latest(cloudwatch, metric, end)
        return evaluated(query["expression"], value)

    return value(returned)


def evaluated(expression: str, value: Callable[[str], float | None]) -> float | None:
    """An expression of metric math, of numbers, names, + - * /, comparisons, IF and FILL.

    Returns:
        Its value; None where a name has no value and FILL gives it none, or where something is divided by 0.

    Raises:
        LabFailed: There is something else in it.

    >>> evaluated("IF(runs > 0, 100 * errors / runs, 0)", {"runs": 8.0, "errors": 2.0}.get)
    25.0
    >>> evaluated("IF(runs > 0, 100 * errors / runs, 0)", {"runs": 0.0, "errors": 2.0}.get)
    0.0
    >>> evaluated("reads + writes", {"reads": 1.0}.get) is None
    True
    >>> evaluated("FILL(reads, 0) + FILL(writes, 0)", {"reads": 1.0}.get)
    1.0
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
            case ast.Call(ast.Name("FILL"), [series, filler], []):
                found = of(series)
                return of(filler) if found is None else found
        raise LabFailed(f"the lab does not compute {expression}")

    return of(ast.parse(expression, mode="eval").body)


def _both(do: Callable[[float, float], float], left: float | None, right: float | None) -> float | None:
    if left is None or right is None or (do is operator.truediv and right == 0):
        return None
    return float(do(left, right))


def _is_beyond(alarm: Mapping[str, Any], value: float) -> bool:
    return _CROSSED[alarm["comparison_operator"]](value, alarm["threshold"])


def _period(queries: Sequence[Mapping[str, Any]]) -> int:
    """Seconds of a period, which all metrics of an alarm share."""
    (period,) = {metric["period"] for query in queries for metric in query["metric"]}
    return int(period)


def dimensions(metric: Mapping[str, Any]) -> list[dict[str, str]]:
    """The dimensions of a metric of a query, as CloudWatch's API has them."""
    return [{"Name": name, "Value": value} for name, value in (metric["dimensions"] or {}).items()]


def _latest(cloudwatch: Any, metric: Mapping[str, Any], end: datetime) -> float | None:
    statistic, period = metric["stat"], metric["period"]
    points = cloudwatch.get_metric_statistics(
        Namespace=metric["namespace"],
        MetricName=metric["metric_name"],
        Dimensions=dimensions(metric),
        StartTime=end - timedelta(seconds=period),
        EndTime=end + CLOCKS_DIFFER,
        Period=period,
        Statistics=[statistic],
    )["Datapoints"]
    return float(max(points, key=lambda point: point["Timestamp"])[statistic]) if points else None
