"""The gate: a pure decision that says why."""

import math

import pytest

from radloop.training.gate import Policy, decide


def test_a_good_model_passes_and_every_rule_says_so() -> None:
    decision = decide({"accuracy": 0.9}, positives=20, negatives=20, policy=Policy())
    assert decision.approved
    assert [rule.name for rule in decision.rules] == ["positives", "negatives", "accuracy"]
    assert all(rule.passed for rule in decision.rules)


@pytest.mark.parametrize(("accuracy", "approved"), [(0.85, True), (math.nextafter(0.85, 0), False), (math.nan, False)])
def test_the_limit_itself_passes_and_the_last_bit_below_does_not(accuracy: float, approved: bool) -> None:
    assert decide({"accuracy": accuracy}, positives=1, negatives=1, policy=Policy()).approved is approved


def test_a_refusal_names_its_figures_in_a_sentence() -> None:
    decision = decide({"accuracy": 0.8125}, positives=16, negatives=16, policy=Policy(least_accuracy=0.9))
    refused = [rule for rule in decision.rules if not rule.passed]
    assert not decision.approved
    assert [rule.sentence for rule in refused] == [
        "Accuracy 0.8125 on 32 test image sets is below the limit of 0.9000."
    ]
    assert (refused[0].value, refused[0].limit) == (0.8125, 0.9)


def test_a_test_part_with_one_class_is_refused_however_accurate() -> None:
    decision = decide({"accuracy": 1.0}, positives=0, negatives=40, policy=Policy())
    assert not decision.approved
    assert decision.rules[0].sentence == "The test part has 0 positives, too few: at least 1 are needed."
