"""What the expressions of a definition mean."""

from typing import Any

import pytest

from radloop.core.errors import InvalidInput, NotFound
from radloop.pipeline.expressions import Scope, holds, parameters_of, resolve

REPORT = {"gate": {"approved": True}, "rules": [{"name": "accuracy"}], "odd name": 1, "accuracy": 0.9}
SCOPE = Scope(
    parameters={"Threshold": 0.85, "Bucket": "models"},
    execution={"PipelineExecutionId": "one"},
    steps={"Cut": {"Config": {"Outputs": [{"OutputName": "train", "Uri": "a"}, {"OutputName": "test", "Uri": "b"}]}}},
    report=lambda step, name: {("Judge", "Report"): REPORT}[step, name],
)


def json_get(path: str) -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Judge.PropertyFiles.Report"}, "Path": path}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Get": "Parameters.Threshold"}, 0.85),
        ({"Get": "Execution.PipelineExecutionId"}, "one"),
        ({"Get": "Steps.Cut.Config.Outputs['test'].Uri"}, "b"),
        ({"Get": "Steps.Cut.Config.Outputs[0].Uri"}, "a"),
        ({"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Bucket"}, 7]}}, "s3://models/7"),
        (json_get("gate.approved"), True),
        (json_get("rules[0].name"), "accuracy"),
        (json_get("['odd name']"), 1),
        ({"a": [{"Get": "Parameters.Bucket"}], "b": True}, {"a": ["models"], "b": True}),
    ],
)
def test_an_expression_means(expression: Any, value: Any) -> None:
    assert resolve(expression, SCOPE) == value


@pytest.mark.parametrize(
    "expression",
    [
        {"Get": "Parameters.Other"},
        {"Get": "Steps.Cut.Config.Outputs['third'].Uri"},
        {"Get": "Steps.Cut.Config.Outputs[2].Uri"},
        {"Get": "Steps.None.Uri"},
        json_get("gate.decided"),
        json_get("accuracy.value"),
    ],
)
def test_what_is_not_there_is_not_found(expression: Any) -> None:
    with pytest.raises(NotFound):
        resolve(expression, SCOPE)


@pytest.mark.parametrize("expression", [{"Get": "Secrets.Key"}, {"Get": "Parameters.Bucket b"}])
def test_what_is_no_expression_is_refused(expression: Any) -> None:
    with pytest.raises(InvalidInput):
        resolve(expression, SCOPE)


@pytest.mark.parametrize(
    ("kind", "right", "truth"),
    [
        ("Equals", 0.9, True),
        ("Equals", "0.9", False),
        ("GreaterThan", 0.9, False),
        ("GreaterThanOrEqualTo", {"Get": "Parameters.Threshold"}, True),
        ("LessThan", 1, True),
        ("LessThanOrEqualTo", 0.85, False),
    ],
)
def test_a_comparison(kind: str, right: Any, truth: bool) -> None:
    assert holds({"Type": kind, "LeftValue": json_get("accuracy"), "RightValue": right}, SCOPE) is truth


@pytest.mark.parametrize("left", [1, 1.0, "true", "True", None, [True]])
def test_nothing_but_true_equals_true(left: Any) -> None:
    assert not holds({"Type": "Equals", "LeftValue": left, "RightValue": True}, SCOPE)
    assert not holds({"Type": "In", "QueryValue": left, "Values": [True]}, SCOPE)


def test_conditions_of_conditions() -> None:
    yes = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
    no = {"Type": "Not", "Expression": yes}
    assert holds(yes, SCOPE)
    assert not holds(no, SCOPE)
    assert holds({"Type": "Or", "Conditions": [no, yes]}, SCOPE)
    assert not holds({"Type": "Or", "Conditions": [no, no]}, SCOPE)
    assert holds({"Type": "In", "QueryValue": "b", "Values": ["a", "b"]}, SCOPE)


@pytest.mark.parametrize("condition", [{"Type": "Like"}, {"Type": "LessThan", "RightValue": "1"}])
def test_a_condition_without_a_meaning_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        holds({"LeftValue": 1, "RightValue": 1} | condition, SCOPE)


def test_parameters_take_their_declared_type() -> None:
    declared = {
        "Parameters": [
            {"Name": "a", "Type": "Float", "DefaultValue": 0.5},
            {"Name": "b", "Type": "Integer"},
            {"Name": "c", "Type": "String", "DefaultValue": "x"},
        ]
    }
    assert parameters_of(declared, {"a": "0.25", "b": "3"}) == {"a": 0.25, "b": 3, "c": "x"}
