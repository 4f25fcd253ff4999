"""What stands in a pipeline definition besides plain values: `Get`, `Std:Join`, `Std:JsonGet`, and the conditions.

Both are SageMaker's, version 2020-12-01. Resolving them is pure: whatever runs a definition says in a `Scope` what
the names mean at that moment.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from radloop.core.errors import InvalidInput, NotFound

_PART = re.compile(r"\.?([A-Za-z0-9_-]+)|\['([^']+)'\]|\[(\d+)\]")
_REPORT = re.compile(r"Steps\.([A-Za-z0-9-]+)\.PropertyFiles\.([A-Za-z0-9_-]+)")
_NAMES = ("OutputName", "InputName", "ChannelName")
_TYPES: Mapping[str, Callable[[Any], Any]] = {"String": str, "Integer": int, "Float": float}
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": lambda left, right: left > right,
    "GreaterThanOrEqualTo": lambda left, right: left >= right,
    "LessThan": lambda left, right: left < right,
    "LessThanOrEqualTo": lambda left, right: left <= right,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What the names in a definition mean.

    Attributes:
        parameters: Behind `Parameters.<name>`.
        execution: Behind `Execution.<name>`, such as PipelineExecutionId.
        steps: Behind `Steps.<name>`: what SageMaker would describe the step's job as.
        report: Content of a property file, by step and by name of the file; for `Std:JsonGet`.
    """

    parameters: Mapping[str, Any]
    execution: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    report: Callable[[str, str], Any] | None = None


def parameters_of(definition: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the definition: what was given, else its default, in its declared type.

    Raises:
        InvalidInput: A parameter is unknown, missing, or not of its type.

    >>> parameters_of({"Parameters": [{"Name": "epochs", "Type": "Integer", "DefaultValue": 50}]}, {"epochs": "3"})
    {'epochs': 3}
    """
    declared = {parameter["Name"]: parameter for parameter in definition["Parameters"]}
    if unknown := sorted(set(given) - set(declared)):
        raise InvalidInput(f"the pipeline has no parameter {', '.join(unknown)}")
    values = {}
    for name, parameter in declared.items():
        if name not in given and "DefaultValue" not in parameter:
            raise InvalidInput(f"the pipeline needs the parameter {name}")
        value = given.get(name, parameter.get("DefaultValue"))
        try:
            values[name] = _TYPES[parameter["Type"]](value)
        except (TypeError, ValueError):
            raise InvalidInput(f"the parameter {name} is not of type {parameter['Type']}") from None
    return values


def resolve(value: Any, scope: Scope) -> Any:
    """`value` with every expression in it replaced by what it means.

    Raises:
        NotFound: An expression names what is not there.
        InvalidInput: It is no expression of ours.

    >>> scope = Scope(parameters={"bucket": "models"})
    >>> resolve({"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.bucket"}, "a"]}}, scope)
    's3://models/a'
    """
    if isinstance(value, Mapping):
        if set(value) == {"Get"}:
            return _get(value["Get"], scope)
        if set(value) == {"Std:Join"}:
            join = value["Std:Join"]
            return join["On"].join(str(resolve(part, scope)) for part in join["Values"])
        if set(value) == {"Std:JsonGet"}:
            return _json_get(value["Std:JsonGet"], scope)
        return {key: resolve(part, scope) for key, part in value.items()}
    if isinstance(value, list):
        return [resolve(part, scope) for part in value]
    return value


def holds(condition: Mapping[str, Any], scope: Scope) -> bool:
    """Whether a condition of a Condition step is true.

    Equal means equal in type as well: the number 1 is not the boolean true.

    Raises:
        NotFound: It names what is not there.
        InvalidInput: It is of an unknown type, or compares what has no order.
    """
    kind = condition["Type"]
    if kind == "Not":
        return not holds(condition["Expression"], scope)
    if kind == "Or":
        return any(holds(part, scope) for part in condition["Conditions"])
    if kind == "In":
        query = resolve(condition["QueryValue"], scope)
        return any(_same(query, resolve(part, scope)) for part in condition["Values"])
    left, right = resolve(condition["LeftValue"], scope), resolve(condition["RightValue"], scope)
    if kind == "Equals":
        return _same(left, right)
    if kind not in _ORDERS:
        raise InvalidInput(f"unknown condition {kind}")
    try:
        return _ORDERS[kind](left, right)
    except TypeError:
        raise InvalidInput(f"{kind} compares values without an order") from None


def _same(left: Any, right: Any) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _get(expression: str, scope: Scope) -> Any:
    root, _, rest = expression.partition(".")
    worlds = {"Parameters": scope.parameters, "Execution": scope.execution, "Steps": scope.steps}
    if root not in worlds:
        raise InvalidInput(f"unknown expression {expression}")
    return _walk(worlds[root], rest, expression)


def _json_get(arguments: Mapping[str, Any], scope: Scope) -> Any:
    name = arguments["PropertyFile"]["Get"]
    found = _REPORT.fullmatch(name)
    if found is None or scope.report is None:
        raise InvalidInput(f"{name} is no property file")
    return _walk(scope.report(*found.groups()), arguments["Path"], f"{name} {arguments['Path']}")


def _walk(value: Any, path: str, expression: str) -> Any:
    """Follow `a.b[0].c['name']`; a name also picks from a list the item that bears it."""
    position = 0
    while position < len(path):
        part = _PART.match(path, position)
        if part is None:
            raise InvalidInput(f"{expression} is no path")
        position = part.end()
        name, index = part[1] or part[2], part[3]
        try:
            if index is not None:
                value = value[int(index)]
            elif isinstance(value, list):
                value = next(item for item in value if name in (item.get(key) for key in _NAMES))
            else:
                value = value[name]
        except (LookupError, TypeError, StopIteration, AttributeError):
            raise NotFound(f"{expression} is not there") from None
    return value
