"""Event patterns mean what EventBridge means by them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import InvalidPattern
from radloop.core.events import (
    AlarmStateChanged,
    DicomUploaded,
    ImageIngested,
    ImageVerified,
    ModelApproved,
    ModelEvaluationFailed,
    ModelEvaluationPassed,
    ModelRolledBack,
    PipelineEnded,
    PipelineStepEnded,
    PipelineTriggered,
    ReleaseHeld,
)
from radloop.core.settings import Settings
from radloop.functions.rules import load_rules, matches, targets
from tests.functions.house import CONTRACTS, HandClock

NOTHING = object()
NOW = HandClock()()


def holds(tests: Any, value: Any) -> bool:
    """Whether `tests` on detail.k hold for `value`, or for an event without k."""
    return matches({"detail": {"k": tests}}, {"detail": {} if value is NOTHING else {"k": value}})


@pytest.mark.parametrize(
    ("tests", "fitting", "other"),
    [
        (["a"], ["a", ["x", "a"], [["a"]]], ["A", "ab", "", None, 1, NOTHING, [], {}, {"k": "a"}]),
        ([""], [""], [" ", None, NOTHING]),
        ([1], [1, 1.0, [2, 1]], ["1", True, 1.5, 10, NOTHING]),
        ([0], [0, -0.0], [False, None, ""]),
        ([True], [True], [1, "true", False]),
        ([False], [False], [0, None, NOTHING]),
        ([None], [None, [None]], ["null", 0, [], NOTHING]),
        (["a", 2, None], ["a", 2, None], ["2", "b", NOTHING]),
        ([300000000000000], [3e14], [300000000000001]),
        (["10.0.0.1"], ["10.0.0.1"], ["10.0.0.2", "10.0.0.1/32"]),
        (["2001:db8::1"], ["2001:0db8:0:0:0:0:0:1"], ["2001:db8::2"]),
        ([{"exactly": "a"}], ["a"], ["A", "ab"]),
        ([{"prefix": "up/"}], ["up/", "up/x", ["x", "up/y"]], ["Up/x", "xup/", 5, None, NOTHING]),
        ([{"prefix": ""}], ["", "x"], [1, None, NOTHING]),
        ([{"prefix": {"equals-ignore-case": "UP"}}], ["upload", "Up", "uP\n"], ["u", "xup"]),
        ([{"suffix": ".dcm"}], ["a.dcm", ".dcm"], ["a.DCM", "a.dcmx", None]),
        ([{"suffix": {"equals-ignore-case": ".DCM"}}], ["a.dcm", "\n.Dcm"], ["adcm", ".dcm "]),
        ([{"equals-ignore-case": "Alice"}], ["alice", "ALICE"], ["alic", "alicee", "a.ice"]),
        ([{"equals-ignore-case": "a.*"}], ["A.*"], ["abc"]),
        ([{"wildcard": "*"}], ["", "x", "*"], [1, None, NOTHING]),
        ([{"wildcard": "a*c"}], ["ac", "abc", "a*c", "acac"], ["a", "c", "abcd", "ca"]),
        ([{"wildcard": "*a*a*"}], ["aa", "xaxax"], ["a", "xa"]),
        ([{"wildcard": "ab*ba"}], ["abba", "abxba"], ["aba", "ab"]),
        ([{"wildcard": r"a\*b"}], ["a*b"], ["axb", r"a\*b"]),
        ([{"wildcard": r"a\\*"}], ["a\\", "a\\x"], ["a*", "a"]),
        ([{"wildcard": "plain"}], ["plain"], ["plai", "plainx"]),
        ([{"numeric": ["=", 3.018e2]}], [301.8], [301.80001, "301.8"]),
        ([{"numeric": [">", 0]}], [0.1, 1e300], [0, -1, True, "1", None, NOTHING]),
        ([{"numeric": [">=", 0]}], [0, 5], [-0.1]),
        ([{"numeric": ["<", 0]}], [-1], [0, False]),
        ([{"numeric": ["<=", 0]}], [0, -1], [0.0001]),
        ([{"numeric": [">", 0, "<=", 5]}], [1, 5, [9, 3]], [0, 5.01, [0, 9]]),
        ([{"numeric": [">=", 0, "<", 5]}], [0, 4.9], [5]),
        ([{"anything-but": "a"}], ["b", 1, None, True, ["a", "b"]], ["a", ["a"], [], NOTHING, {}]),
        ([{"anything-but": ["a", "b"]}], ["c", ["a", "c"]], ["a", ["a", "b"]]),
        ([{"anything-but": 5}], [6, "5"], [5, 5.0]),
        ([{"anything-but": [5, 6]}], [7], [6.0]),
        ([{"anything-but": {"prefix": "tmp/"}}], ["x", 5], ["tmp/x", NOTHING]),
        ([{"anything-but": {"prefix": ["tmp/", "x"]}}], ["y"], ["tmp/1", "x1"]),
        ([{"anything-but": {"suffix": [".txt", ".log"]}}], ["a.dcm"], ["a.log"]),
        ([{"anything-but": {"equals-ignore-case": ["NO", "never"]}}], ["yes"], ["no", "NEVER"]),
        ([{"anything-but": {"wildcard": ["*/lib/*", "z*"]}}], ["a/b"], ["a/lib/b", "zoo"]),
        ([{"exists": True}], ["", None, False, [0], [[], 1]], [NOTHING, [], {}, [{}], {"z": 1}]),
        ([{"exists": False}], [NOTHING, [], {}, {"z": 1}], [None, "", 0, [None]]),
        ([{"exists": False}, "a"], [NOTHING, "a"], ["b", None]),
        ([{"cidr": "10.0.0.7/24"}], ["10.0.0.0", "10.0.0.255"], ["10.0.1.0", "10.0.0", 5, "10.0.0.0/24"]),
        ([{"cidr": "0.0.0.0/0"}], ["1.2.3.4"], ["::1"]),
        ([{"cidr": "2001:db8::/32"}], ["2001:db8:1::"], ["2001:db9::", "10.0.0.1"]),
    ],
)
def test_what_a_field_may_be(tests: Any, fitting: list[Any], other: list[Any]) -> None:
    assert [value for value in fitting if not holds(tests, value)] == []
    assert [value for value in other if holds(tests, value)] == []


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"a": ["x"], "b": ["y"]}, {"a": "x", "b": "y"}, True),
        ({"a": ["x"], "b": ["y"]}, {"a": "x", "b": "z"}, False),
        ({"a.b": ["x"]}, {"a": {"b": "x"}}, True),
        ({"a": {"b": ["x"]}}, {"a.b": "x"}, True),
        ({"a": {"b": ["x"]}}, {"a": "x"}, False),
        ({"d": {"x": [1], "y": [2]}}, {"d": [{"x": 1}, {"y": 2}]}, False),
        ({"d": {"x": [1], "y": [2]}}, {"d": [{"x": 1}, {"x": 1, "y": 2}]}, True),
        ({"d": {"x": [1]}, "e": {"x": [2]}}, {"d": [{"x": 1}], "e": [{"x": 3}, {"x": 2}]}, True),
        ({"d": {"e": {"x": [1], "y": [2]}}}, {"d": [{"e": [{"x": 1}, {"y": 2}]}]}, False),
        ({"d": {"e": {"x": [1]}, "n": [5]}}, {"d": [{"e": [{"x": 0}, {"x": 1}], "n": 5}]}, True),
        ({"d": {"e": {"x": [1]}, "n": [5]}}, {"d": [{"e": [{"x": 1}], "n": 4}, {"e": [], "n": 5}]}, False),
        ({"d": {"a": [1], "b": [{"exists": False}]}}, {"d": [{"a": 1}, {"b": 1}]}, True),
        ({"d": {"b": [1], "a": [{"exists": False}]}}, {"d": [{"b": 1}, {"a": 1}]}, False),
        ({"d": {"x": [1], "n": [5]}}, {"d": [{"x": 1, "n": (4, 5)}]}, True),
        ({"$or": [{"a": [1]}, {"b": [2]}]}, {"b": 2}, True),
        ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 2, "b": 1}, False),
        ({"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}, {"a": 1, "c": 4}, False),
        ({"d": {"$or": [{"a": [1], "b": [1]}, {"c": [1]}]}}, {"d": {"a": 1}}, False),
        ({"$or": [{"$or": [{"a": [1]}, {"b": [1]}]}, {"c": [1]}]}, {"b": 1}, True),
        ({"$or": [{"a": [1]}, {"b": [1]}], "d": {"$or": [{"e": [1]}, {"f": [1]}]}}, {"b": 1, "d": {"f": 1}}, True),
    ],
)
def test_how_fields_come_together(pattern: Any, event: Any, expected: bool) -> None:
    assert matches(pattern, event) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        {"a": {}},
        {"a": []},
        {"a": "x"},
        {"a": 1},
        {"a": None},
        {"a": [["x"]]},
        {"a": [{}]},
        {"a": [{"prefix": "x", "suffix": "y"}]},
        {"a": [{"unknown": "x"}]},
        {"a": [{"prefix": 5}]},
        {"a": [{"prefix": {"wildcard": "x"}}]},
        {"a": [{"suffix": {"equals-ignore-case": 1}}]},
        {"a": [{"equals-ignore-case": ["x"]}]},
        {"a": [{"wildcard": "a**b"}]},
        {"a": [{"wildcard": r"a\b"}]},
        {"a": [{"wildcard": "a\\"}]},
        {"a": [{"numeric": []}]},
        {"a": [{"numeric": [">"]}]},
        {"a": [{"numeric": ["!", 5]}]},
        {"a": [{"numeric": [">", "5"]}]},
        {"a": [{"numeric": [">", True]}]},
        {"a": [{"numeric": ["<", 5, ">", 1]}]},
        {"a": [{"numeric": [">", 5, "<", 5]}]},
        {"a": [{"numeric": ["=", 5, "<", 9]}]},
        {"a": [{"numeric": 5}]},
        {"a": [{"anything-but": []}]},
        {"a": [{"anything-but": ["a", 5]}]},
        {"a": [{"anything-but": [None]}]},
        {"a": [{"anything-but": True}]},
        {"a": [{"anything-but": {"prefix": ""}}]},
        {"a": [{"anything-but": {"prefix": []}}]},
        {"a": [{"anything-but": {"numeric": [">", 5]}}]},
        {"a": [{"anything-but": {"wildcard": "**"}}]},
        {"a": [{"exists": "true"}]},
        {"a": [{"exists": 1}]},
        {"a": [{"exists": None}]},
        {"a": [{"cidr": "10.0.0.0"}]},
        {"a": [{"cidr": "10.0.0.0/32"}]},
        {"a": [{"cidr": "10.0.0.0/33"}]},
        {"a": [{"cidr": "10.0.0.0/255.255.0.0"}]},
        {"a": [{"cidr": "host/8"}]},
        {"$or": []},
        {"$or": [{"a": [1]}]},
        {"$or": {"a": [1]}},
        {"$or": [{"a": [1]}, 5]},
        {"$or": [{"a": [1]}, {}]},
        {"$or": [{"a": [1]}, {"prefix": ["x"]}]},
    ],
)
def test_what_eventbridge_refuses_is_refused(pattern: Any) -> None:
    with pytest.raises(InvalidPattern):
        matches(pattern, {"a": "x"})


def test_too_many_combinations_are_refused_before_they_are_made() -> None:
    choice = [{f"f{number}": [1]} for number in range(2)]
    pattern: dict[str, Any] = {f"d{level}": {"$or": choice} for level in range(60)}
    with pytest.raises(InvalidPattern, match="combinations"):
        matches(pattern, {})


def test_a_pattern_nested_without_end_is_refused() -> None:
    pattern: dict[str, Any] = {"a": [1]}
    for _ in range(5000):
        pattern = {"a": pattern}
    with pytest.raises(InvalidPattern):
        matches(pattern, {})


def test_an_event_nested_without_end_is_read() -> None:
    event: Any = 1
    for _ in range(50_000):
        event = [event]
    assert matches({"a": [1]}, {"a": event})


def test_many_arrays_in_one_event_do_not_multiply() -> None:
    names = [f"f{number}" for number in range(8)]
    event = {name: [{"x": index} for index in range(300)] for name in names}
    pattern = {name: {"x": [{"numeric": [">=", 0]}]} for name in names}
    assert matches(pattern, event)


_leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_names = st.sampled_from(["a", "b", "a.b", "$or", "prefix", "detail"]) | st.text(max_size=3)
_json = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3))
_operator = st.sampled_from(
    ["prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr", "equals-ignore-case", "exactly"]
)
_operand = _json | st.sampled_from([[">", 0], ["<", 1e400], ["=", 10**400], "1.2.3.4/5", "a*", "\\", "::/0"])
_tests = st.lists(_leaf | st.dictionaries(_operator, _operand, min_size=1, max_size=2), max_size=3)
_pattern = st.recursive(
    st.dictionaries(_names, _tests, max_size=3),
    lambda inner: st.dictionaries(_names, inner | st.lists(inner, max_size=3), max_size=3),
)


@given(pattern=_pattern | st.dictionaries(_names, _json), event=st.dictionaries(_names, _json, max_size=4))
def test_no_pattern_and_no_event_breaks_it(pattern: Any, event: Any) -> None:
    try:
        assert matches(pattern, event) in {True, False}
    except InvalidPattern:
        return


@given(event=st.dictionaries(st.sampled_from("abc"), _leaf.filter(lambda leaf: str(leaf) != "nan"), min_size=1))
def test_the_pattern_made_of_an_events_own_leaves_matches_it(event: dict[str, Any]) -> None:
    assert matches({name: [leaf] for name, leaf in event.items()}, event)


@given(value=_leaf, text=st.text(max_size=3))
def test_anything_but_is_the_opposite_of_exact_for_a_single_leaf(value: Any, text: str) -> None:
    assert holds([{"anything-but": text}], value) is not holds([{"exactly": text}], value)


VECTORS = json.loads(Path(__file__).with_name("event-pattern-vectors.json").read_text())["vectors"]
"""Patterns, events, and what AWS's own Event Ruler says of them."""


def test_it_agrees_with_event_ruler_on_every_vector() -> None:
    assert len(VECTORS) == 120
    assert [vector for vector in VECTORS if _verdict(vector) != vector["verdict"].split()[0]] == []


def _verdict(vector: dict[str, Any]) -> str:
    try:
        return str(matches(vector["pattern"], vector["event"])).lower()
    except InvalidPattern:
        return "ERR"


# Our own rules

RULES = load_rules([(CONTRACTS / "events" / "rules.json").read_text()], Settings(retrain_delay_s=12))


HAPPENINGS = [
    (ImageVerified("i", 2, "present", None, "high", "r"), {"ImageVerified", "PredictionJudged"}),
    (PipelineStepEnded("e", "Evaluate", "Processing", "Succeeded"), {"TrainingComplete"}),
    (PipelineStepEnded("e", "Evaluate", "Processing", "Failed"), set()),
    (PipelineStepEnded("e", "Train", "Training", "Succeeded"), set()),
    (PipelineTriggered("e", "s", 3), {"Notification"}),
    (PipelineEnded("e", "Failed", "x"), {"PipelineFailure", "RetrainAgain", "Notification"}),
    (PipelineEnded("e", "Succeeded", ""), {"RetrainAgain"}),
    (AlarmStateChanged("a", "ALARM", "c"), {"MetricViolation", "Notification"}),
    (AlarmStateChanged("drift-scores", "ALARM", "c"), {"MetricViolation", "DriftAlarm", "Notification"}),
    (AlarmStateChanged("drift-scores", "OK", "c"), {"Notification"}),
    (AlarmStateChanged("a", "OK", "c"), {"Notification"}),
    (AlarmStateChanged("dead-letter-notify", "ALARM", "c"), {"MetricViolation"}),
    (DicomUploaded("training-data/upload/a"), {"DICOMUploaded"}),
    (ImageIngested("i", 1, "CT", 2, 2), {"PredictNew"}),
    (ModelEvaluationPassed("e", 0.91, 0.85, "APPROVE"), {"EvaluationPassed"}),
    (ModelEvaluationPassed("e", 0.91, 0.85, "HOLD"), set()),
    (ModelEvaluationFailed("e", 0.84, 0.85, ("accuracy",)), set()),
    (ModelApproved(2, "e", "u-ml-lead"), {"Notification"}),
    (ReleaseHeld(2, "e", ("no-plan",)), {"ReleaseHeld", "Notification"}),
    (ModelRolledBack(2, 1, "worse", "u-ml-lead", 3), {"ModelRolledBack", "Notification"}),
]
"""Events of ours, each with the rules it meets."""


@pytest.mark.parametrize(("happening", "rules"), HAPPENINGS)
def test_which_rules_an_event_of_ours_meets(happening: Any, rules: set[str]) -> None:
    assert {rule.name for rule in targets(happening.told(at=NOW).as_json(), RULES)} == rules


def test_every_rule_of_ours_has_an_example_that_meets_it_and_one_that_does_not() -> None:
    names = {rule.name for rule in RULES}
    assert set().union(*(rules for _, rules in HAPPENINGS)) == names
    assert all(any(name not in rules for _, rules in HAPPENINGS) for name in names)


def test_the_briefs_five_rules_are_there_under_their_names() -> None:
    names = {rule.name for rule in RULES}
    assert {"ImageVerified", "TrainingComplete", "EvaluationPassed", "MetricViolation", "PipelineFailure"} <= names


def test_only_verifications_wait_and_as_long_as_the_setting_says() -> None:
    assert {rule.name: rule.delay_s for rule in RULES if rule.delay_s} == {"ImageVerified": 12.0}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"pattern": {"source": "x"}}, InvalidPattern),
        ({"delay": "no_such_setting"}, ValueError),
    ],
)
def test_a_rule_that_cannot_be_is_refused_at_loading(change: dict[str, Any], error: type[Exception]) -> None:
    entry = {"name": "N", "description": "", "pattern": {"source": ["x"]}, "target": "t"} | change
    with pytest.raises(error):
        load_rules([json.dumps({"rules": [entry]})], Settings())


def test_two_rules_of_one_name_are_refused() -> None:
    text = json.dumps({"rules": [{"name": "N", "description": "", "pattern": {"source": ["x"]}, "target": "t"}]})
    with pytest.raises(ValueError, match="share a name"):
        load_rules([text, text], Settings())
