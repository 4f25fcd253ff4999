"""Tests on two samples, held against SciPy and against what chance itself gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from radloop.monitoring.two_samples import (
    category_chance,
    few_successes,
    gamma_tail,
    ks_chance,
    ks_distance,
    mmd_chance,
)


@given(st.integers(2, 60), st.integers(2, 60), st.floats(0, 2), st.integers(0, 1000))
def test_kolmogorov_smirnov_is_scipys_exact_one(n: int, m: int, apart: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(n, 1)), rng.normal(size=(m, 1)) + apart
    theirs = stats.ks_2samp(one[:, 0], other[:, 0], method="exact")
    ours = float(ks_distance(one, other)[0])
    assert ours == pytest.approx(theirs.statistic, abs=1e-12)
    assert ks_chance(ours, n, m) == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-14)


def test_equal_values_make_the_chance_larger_and_never_smaller() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        one, other = rng.integers(0, 4, (50, 1)).astype(float), rng.integers(0, 4, (25, 1)).astype(float)
        wrong += ks_chance(float(ks_distance(one, other)[0]), 50, 25) <= 0.05
    assert wrong <= 20


def test_weights_count_as_copies_do() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    times = rng.integers(1, 4, 30)
    assert ks_distance(one, other, times.astype(float)) == pytest.approx(ks_distance(np.repeat(one, times, 0), other))


@given(st.integers(0, 40), st.integers(0, 12), st.integers(1, 40), st.integers(1, 12))
def test_a_category_against_the_rest_is_fishers_test(in_one: int, in_other: int, n: int, m: int) -> None:
    in_one, in_other = min(in_one, n), min(in_other, m)
    one, other = ["a"] * in_one + ["b"] * (n - in_one), ["a"] * in_other + ["b"] * (m - in_other)
    chance, name = category_chance(one, other)
    if len({*one, *other}) < 2:
        assert (chance, name) == (1, "")
        return
    table = [[in_one, in_other], [n - in_one, m - in_other]]
    tails = [stats.fisher_exact(table, alternative=side)[1] for side in ("less", "greater")]
    assert chance == pytest.approx(min(1.0, 2 * min(1.0, 2 * min(tails))), rel=1e-6, abs=1e-14)


def test_two_films_of_a_new_scanner_among_25_are_no_sensation() -> None:
    """Chi-square finds them impossible."""
    one, other = ["old"] * 285, ["old"] * 23 + ["new"] * 2
    assert stats.chi2_contingency([[285, 23], [0, 2]], correction=False)[1] < 1e-5
    assert category_chance(one, other)[0] > 0.01
    assert category_chance(one, ["new"] * 25)[0] < 1e-12


@given(st.floats(0.3, 80), st.floats(0.01, 200))
def test_the_gamma_tail_is_scipys(shape: float, place: float) -> None:
    assert gamma_tail(shape, place) == pytest.approx(stats.gamma.sf(place, shape), rel=1e-9, abs=1e-13)


def test_few_successes_are_binomial_where_all_chances_are_alike() -> None:
    for successes in (0, 3, 17, 25):
        assert few_successes(successes, [0.8] * 25) == pytest.approx(stats.binom.cdf(successes, 25, 0.8), rel=1e-9)
    assert few_successes(1, [0.5, 0.9]) == pytest.approx(1 - 0.45)


def test_discrepancy_is_quiet_where_nothing_changed() -> None:
    rng = np.random.default_rng(3)
    chances = np.array(
        [mmd_chance(rng.normal(size=(80, 8)), rng.normal(size=(25, 8)), permutations=100, seed=at) for at in range(300)]
    )
    for level in (0.1, 0.01):
        assert (chances <= level).mean() <= level + 3 * np.sqrt(level / 300)
    assert chances.min() > 1e-5


def test_discrepancy_sees_what_no_single_column_shows() -> None:
    rng = np.random.default_rng(4)
    apart = rng.normal(size=(150, 1))
    one, other = rng.normal(size=(200, 2)), np.hstack((apart, apart + 0.1 * rng.normal(size=(150, 1))))
    assert (ks_distance(one, other) < 0.2).all()
    assert mmd_chance(one, other) < 1e-4
    assert mmd_chance(one, other, seed=5) == mmd_chance(one, other, seed=5)
