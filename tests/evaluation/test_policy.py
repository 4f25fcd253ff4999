"""The policy is data: read strictly, told in one text, and wrong in a line that is named."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import InvalidInput
from radloop.evaluation import policy
from radloop.evaluation.policy import default, load, of_home, shipped


def changed(before: str, after: str) -> str:
    assert before in shipped()
    return shipped().replace(before, after)


def test_what_radloop_comes_with_is_a_policy_and_nothing_of_it_is_off() -> None:
    assert default().accuracy.least == 0.85
    assert default().off() == []
    assert load(shipped("policy-demo.yaml")).counts.positives < default().counts.positives


def test_the_demos_policy_differs_in_minima_and_in_the_baseline_alone() -> None:
    usual, demo = default().to_json(), load(shipped("policy-demo.yaml")).to_json()
    different = {
        f"{section}.{name}"
        for section, limits in usual.items()
        if isinstance(limits, dict)
        for name in limits
        if demo[section][name] != limits[name]
    }
    assert different == {"counts.positives", "counts.negatives", "subgroups.image_sets", "baseline.margin"}


def test_the_canonical_text_is_a_policy_and_says_the_same() -> None:
    assert load(default().canonical()) == default()
    assert load(default().canonical()).sha256 == default().sha256
    assert json.loads(default().canonical()) == default().to_json()


def test_comments_order_and_spelling_of_numbers_do_not_change_the_hash() -> None:
    text = shipped().replace("0.85", "8.5e-1").replace("# ", "# another ")
    assert load(text).sha256 == default().sha256
    assert load(changed("least: 0.85", "least: 0.86")).sha256 != default().sha256


def test_an_empty_text_is_the_default() -> None:
    assert load("") == load(" \n") == default()


def test_null_switches_a_rule_off_and_is_told() -> None:
    assert load(changed("margin: 0.0  ", "margin: null")).off() == ["baseline.margin"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("least: 0.85", "least: 85", "accuracy.least is '85', expected a number from 0 to 1$"),
        ("least: 0.85", "least: high", "accuracy.least is 'high', expected a number from 0 to 1$"),
        ("least: 0.85", "least: null", "accuracy.least is 'null', expected a number from 0 to 1$"),
        ("least: 0.80", "least: '0.8'", "sensitivity.least is '0.8', expected a number from 0 to 1 or null$"),
        ("least: 0.80", "least: [0.8]", "sensitivity.least is a list or a mapping, expected"),
        ("least: 0.80", "least: .nan", "sensitivity.least is '.nan', expected a number"),
        ("positives: 50", "positives: 1.5", "counts.positives is '1.5', expected a whole number"),
        ("positives: 50", "positives: 0", "counts.positives is '0', expected a whole number from 1"),
        ("positives: 50", "positive: 50", "counts has no 'positive', expected positives, negatives"),
        ("negatives: 50", "positives: 50", "positives stands in counts twice, expected once"),
        ("positives: 50\n", "", "counts lacks positives; every limit is stated"),
        ("roc_auc:", "auc:", "the policy has no 'auc', expected version, counts, accuracy"),
        ("version: 1", "version: 2", "version is '2', expected 1$"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_what_was_found_and_what_was_expected(
    before: str, after: str, message: str
) -> None:
    line = shipped()[: shipped().index(before)].count("\n") + 1
    with pytest.raises(InvalidInput, match=f"^policy line {line}: {message}"):
        load(changed(before, after))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "line 1: the policy holds names and values"),
        ("a: [1\n", "line 2: this is not YAML"),
        ("version: 1\n", "line 1: the policy lacks counts, accuracy"),
        ("!!python/object:os.system x", "line 1: the policy holds names and values"),
        ("x" * 70_000, "at most 65536 characters"),
    ],
)
def test_what_is_no_policy_at_all_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(text)


@given(st.text(max_size=200))
def test_whatever_the_text_it_is_a_policy_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert load(text) == default()


def test_a_home_has_its_own_or_the_default(tmp_path) -> None:
    assert of_home(tmp_path) == default()
    (tmp_path / policy.FILE).write_text(changed("least: 0.85", "least: 0.9"))
    assert of_home(tmp_path).accuracy.least == 0.9
    (tmp_path / policy.FILE).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InvalidInput, match="UTF-8"):
        of_home(tmp_path)


def test_the_parameter_of_the_brief_replaces_one_floor() -> None:
    stricter = default().with_accuracy(0.95)
    assert stricter.accuracy.least == 0.95
    assert stricter.with_accuracy(0.85) == default()
    with pytest.raises(InvalidInput, match="expected a number from 0 to 1"):
        default().with_accuracy(85)


def test_a_text_nested_beyond_reason_is_refused_and_breaks_nothing() -> None:
    with pytest.raises(InvalidInput, match="policy line 1: this is not YAML"):
        load("[" * 20_000)
