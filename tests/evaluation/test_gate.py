"""The gate: a pure decision that says why, and that nothing passes by absence."""

import copy
import json
import math
from typing import Any

import pytest

from radloop.evaluation.gate import Decision, decide
from radloop.evaluation.policy import default, load, shipped

POLICY = default()


def one(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "ci_low": low, "ci_high": high}


GOOD: dict[str, Any] = {
    "test": {"image_sets": 400, "positive_patients": 180, "negative_patients": 170},
    "metrics": {
        "accuracy": one(0.93, 0.90, 0.95),
        "recall": one(0.92, 0.88, 0.95),
        "specificity": one(0.94, 0.90, 0.97),
        "roc_auc": one(0.97, 0.95, 0.98),
        "brier": one(0.06, 0.05, 0.07),
        "ece": one(0.03, 0.02, 0.05),
    },
    "brier_of_prevalence": 0.25,
    "baseline": {"roc_auc": one(0.8, 0.75, 0.85), "delta": one(0.17, 0.12, 0.21)},
    "champion": {"version": 3, "how": "saw the same planes", "delta": one(0.01, -0.005, 0.02)},
    "subgroups": [
        {"by": "sex", "group": "F", "image_sets": 200, "is_judged": True,
         "roc_auc": one(0.96, 0.9, 0.98), "accuracy": one(0.92, 0.9, 0.95)},
        {"by": "sex", "group": "O", "image_sets": 2, "is_judged": False},
    ],
    "external": {"test": {"image_sets": 100}, "metrics": {"roc_auc": one(0.85, 0.78, 0.9)}},
    "shuffled": {"mean_auc": 0.5, "p_value": 0.0005},
    "freshness": {"newest_label_days": 0.2, "behind_champion_days": -3.0},
    "guards": [{"name": "patient-overlap", "passed": True, "sentence": "No patient twice."}],
    "evidence": {"package": {"model.onnx": "a"}, "problems": []},
}  # fmt: skip


def with_(path: str, value: Any) -> dict[str, Any]:
    """The good evaluation with one thing changed, or left out where the value is None."""
    found = copy.deepcopy(GOOD)
    inner = found
    *names, last = path.split(".")
    for name in names:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return found


def refusing(decision: Decision) -> list[str]:
    return [rule.name for rule in decision.rules if not rule.passed]


def sentence(decision: Decision, name: str) -> str:
    (rule,) = [rule for rule in decision.rules if rule.name == name]
    return rule.sentence


def test_a_good_model_passes_and_every_rule_says_so() -> None:
    decision = decide(GOOD, POLICY)
    assert decision.approved
    assert [rule.name for rule in decision.rules] == [
        "positives", "negatives", "accuracy", "roc_auc_lower_bound", "sensitivity", "specificity", "baseline",
        "champion", "subgroups", "calibration", "brier", "external", "shuffled", "permutation", "freshness",
        "behind_champion", "guards", "evidence"
    ]  # fmt: skip
    assert all(rule.sentence.endswith(".") for rule in decision.rules)
    json.dumps(decision.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("path", "value", "rules"),
    [
        ("test.positive_patients", 49, ["positives"]),
        ("test.negative_patients", 49, ["negatives"]),
        ("metrics.accuracy", one(0.849, 0.8, 0.9), ["accuracy"]),
        ("metrics.roc_auc", one(0.9, 0.79, 0.95), ["roc_auc_lower_bound"]),
        ("metrics.recall", one(0.79, 0.7, 0.9), ["sensitivity"]),
        ("metrics.specificity", one(0.74, 0.7, 0.9), ["specificity"]),
        ("baseline.delta", one(0.02, -0.001, 0.04), ["baseline"]),
        ("champion.delta", one(0.0, -0.021, 0.02), ["champion"]),
        ("metrics.ece", one(0.101, 0.08, 0.12), ["calibration"]),
        ("metrics.brier", one(0.25, 0.2, 0.3), ["brier"]),
        ("external.metrics.roc_auc", one(0.75, 0.69, 0.8), ["external"]),
        ("shuffled.mean_auc", 0.61, ["shuffled"]),
        ("shuffled.p_value", 0.011, ["permutation"]),
        ("freshness.newest_label_days", 366.0, ["freshness"]),
        ("freshness.behind_champion_days", 0.1, ["behind_champion"]),
        ("guards", [{"name": "x", "passed": False, "sentence": "It leaks."}], ["guards"]),
        ("evidence.problems", ["labels.json is missing from the package"], ["evidence"]),
    ],
)
def test_each_rule_refuses_alone_what_it_is_for(path: str, value: Any, rules: list[str]) -> None:
    decision = decide(with_(path, value), POLICY)
    assert not decision.approved
    assert refusing(decision) == rules


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("test", ["positives", "negatives"]),
        ("metrics", ["accuracy", "roc_auc_lower_bound", "sensitivity", "specificity", "calibration", "brier"]),
        ("metrics.roc_auc.ci_low", ["roc_auc_lower_bound"]),
        ("brier_of_prevalence", ["brier"]),
        ("baseline", ["baseline"]),
        ("baseline.delta", ["baseline"]),
        ("champion.delta", ["champion"]),
        ("subgroups", ["subgroups"]),
        ("external.metrics", ["external"]),
        ("shuffled", ["shuffled", "permutation"]),
        ("freshness", ["freshness", "behind_champion"]),
        ("guards", ["guards"]),
        ("evidence", ["evidence"]),
        ("champion", []),
        ("external", []),
    ],
)
def test_what_is_missing_does_not_pass_but_for_a_champion_and_an_external_part(path: str, rules: list[str]) -> None:
    decision = decide(with_(path, None), POLICY)
    assert refusing(decision) == rules
    assert all("what is missing does not pass" in sentence(decision, name) for name in rules)


def test_an_empty_evaluation_is_refused_by_every_rule() -> None:
    decision = decide({}, POLICY)
    assert refusing(decision) == [rule.name for rule in decision.rules]
    json.dumps(decision.to_json(), allow_nan=False)


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, "0.9", True, None])
def test_a_figure_that_is_no_number_does_not_pass(accuracy: Any) -> None:
    evaluation = copy.deepcopy(GOOD)
    evaluation["metrics"]["accuracy"] = {"value": accuracy, "ci_low": accuracy, "ci_high": accuracy}
    assert refusing(decide(evaluation, POLICY)) == ["accuracy"]


@pytest.mark.parametrize(("accuracy", "approved"), [(0.85, True), (math.nextafter(0.85, 0), False)])
def test_the_limit_itself_passes_and_the_last_bit_below_does_not(accuracy: float, approved: bool) -> None:
    assert decide(with_("metrics.accuracy", one(accuracy, 0.8, 0.9)), POLICY).approved is approved


def test_the_weakest_group_is_named_with_its_figures() -> None:
    weak = [*GOOD["subgroups"], {"by": "age_band", "group": "65+", "image_sets": 60, "is_judged": True,
                                 "roc_auc": one(0.95, 0.9, 0.98), "accuracy": one(0.8, 0.7, 0.9)}]  # fmt: skip
    decision = decide(with_("subgroups", weak), POLICY)
    assert refusing(decision) == ["subgroups"]
    assert sentence(decision, "subgroups") == (
        "Of 2 subgroups the weakest is age band 65+: its accuracy of 0.8000 on 60 image sets lies 0.1300 below that of "
        "all, and at most 0.1000 below is allowed."
    )


def test_where_no_group_is_big_enough_the_rule_says_so_and_passes() -> None:
    decision = decide(with_("subgroups", [{"by": "sex", "group": "F", "is_judged": False}]), POLICY)
    assert decision.approved
    assert "No subgroup is big enough to be judged" in sentence(decision, "subgroups")


def test_a_refusal_tells_its_figures_in_a_sentence() -> None:
    decision = decide(with_("champion.delta", one(-0.03, -0.05, -0.01)), POLICY)
    assert sentence(decision, "champion") == (
        "On the same patients the model may be worse than version 3: its ROC AUC lies 0.0300 below that one's "
        "(95 % interval -0.0500 to -0.0100), and the lower bound must not be below -0.0200."
    )


def test_a_champion_that_cannot_be_compared_refuses_with_the_reason() -> None:
    evaluation = with_("champion", {"version": 4, "how": "cannot be compared: it needs other tiles", "delta": None})
    assert refusing(decide(evaluation, POLICY)) == ["champion"]
    assert sentence(decide(evaluation, POLICY), "champion").startswith(
        "Version 4 is in use and cannot be compared: it needs other tiles, and"
    )


def test_optional_lower_bounds_are_rules_of_their_own() -> None:
    text = shipped().replace("lower_bound: null", "lower_bound: 0.89")
    decision = decide(GOOD, load(text))
    assert refusing(decision) == ["sensitivity_lower_bound"]
    assert {"accuracy_lower_bound", "specificity_lower_bound"} <= {rule.name for rule in decision.rules}


def test_a_rule_that_is_off_is_not_applied_and_is_told() -> None:
    policy = load(shipped().replace("most_p: 0.01 ", "most_p: null "))
    decision = decide(with_("shuffled.p_value", 0.5), policy)
    assert decision.approved
    assert decision.off == ("shuffled.most_p",)
    assert "permutation" not in [rule.name for rule in decision.rules]


def test_deciding_changes_nothing_and_repeats_itself() -> None:
    before = copy.deepcopy(GOOD)
    assert decide(GOOD, POLICY) == decide(GOOD, POLICY)
    assert before == GOOD
