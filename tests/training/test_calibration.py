"""Temperature, prior and threshold, all on validation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.training.calibration import (
    choose_operating_point,
    fit_temperature,
    prior_log_odds,
    probabilities_of,
)


def drawn(count: int, prevalence: float, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose sigmoid, plus the prior's log odds, is the true probability; and labels drawn from it."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0, 2, count)
    odds = np.log(prevalence / (1 - prevalence))
    labels = rng.random(count) < 1 / (1 + np.exp(-(evidence + odds)))
    return evidence, labels.astype(np.float32)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_model_that_is_too_sure_or_too_shy_is_found(true: float) -> None:
    evidence, labels = drawn(20_000, 0.5)
    assert fit_temperature(evidence * true, labels) == pytest.approx(true, rel=0.05)


def test_with_the_prior_put_back_the_probabilities_hold() -> None:
    evidence, labels = drawn(40_000, 0.8)
    odds = prior_log_odds((np.full(10, 0.8, np.float32), np.ones(10, np.float32)))
    temperature = fit_temperature(evidence * 2, labels, prior=odds)
    assert temperature == pytest.approx(2, rel=0.05)
    said = probabilities_of(evidence * 2 + temperature * odds, temperature)
    for low in np.arange(0.1, 1, 0.2):
        inside = (said >= low) & (said < low + 0.2)
        assert labels[inside].mean() == pytest.approx(said[inside].mean(), abs=0.03)


def test_a_part_that_is_told_apart_without_a_fault_asks_for_no_boundless_certainty() -> None:
    logits, labels = np.array([-3.0, -2, 2, 3]), np.array([0, 0, 1, 1], np.float32)
    assert probabilities_of(logits, fit_temperature(logits, labels)).max() < 0.95


def test_weights_are_counts() -> None:
    evidence, labels = drawn(500, 0.5)
    twice = fit_temperature(np.r_[evidence, evidence[:200]] * 2, np.r_[labels, labels[:200]])
    weights = np.ones(500, np.float32)
    weights[:200] = 2
    assert fit_temperature(evidence * 2, labels, weights) == pytest.approx(twice, rel=1e-3)


def test_a_threshold_lies_in_the_widest_gap_that_parts_best() -> None:
    labels = np.array([0, 0, 0, 1, 1], dtype=np.float32)
    found = choose_operating_point(labels, np.array([0.1, 0.2, 0.3, 0.9, 0.8]))
    assert found.threshold == pytest.approx(0.55)
    assert (found.sensitivity, found.specificity, found.target) == (1.0, 1.0, "balanced-accuracy")
    assert choose_operating_point(labels, np.full(5, 0.4)).threshold == 0.5


def test_a_wanted_sensitivity_is_reached_at_the_highest_specificity() -> None:
    labels = np.array([1, 0, 1, 0, 1, 0, 1, 0, 0], dtype=np.float32)
    said = np.array([0.95, 0.9, 0.8, 0.6, 0.5, 0.4, 0.2, 0.15, 0.1])
    found = choose_operating_point(labels, said, 0.75)
    assert (found.sensitivity, found.specificity) == (0.75, 0.6)
    assert 0.4 < found.threshold < 0.5
    assert found.to_json()["target"] == "sensitivity 0.75"
    all_of_them = choose_operating_point(np.array([0, 1, 1], np.float32), np.array([0.7, 0.2, 0.9]), 0.95)
    assert (all_of_them.threshold, all_of_them.sensitivity, all_of_them.specificity) == (0.2, 1.0, 0.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=40), st.sampled_from([0.0, 0.5, 0.9]))
def test_the_figures_told_are_those_of_the_threshold(cases: list[tuple[bool, float]], target: float) -> None:
    labels = np.array([label for label, _ in cases], dtype=np.float32)
    said = np.array([value for _, value in cases])
    if len(set(labels.tolist())) < 2:
        return
    found = choose_operating_point(labels, said, target)
    assert found.sensitivity == pytest.approx((said[labels == 1] >= found.threshold).mean())
    assert found.specificity == pytest.approx((said[labels == 0] < found.threshold).mean())
    assert found.sensitivity >= target
