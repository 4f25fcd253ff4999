"""Our own figures, held against scikit-learn's; and intervals that mean what they say."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from radloop.training.metrics import (
    NAMES,
    Scored,
    areas,
    bins_of,
    difference,
    draws,
    estimate,
    estimates,
    figures,
    roc_auc,
    values_of,
)

Rows = list[tuple[int, int, int]]
rows_of = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(0, 3)), min_size=2, max_size=60)
of_both = rows_of.filter(lambda rows: {label for label, _, often in rows if often} == {0, 1})


def scored_of(rows: Rows) -> Scored:
    labels, scores = np.array([row[0] for row in rows], dtype=np.int64), np.array([row[1] / 12 for row in rows])
    return Scored(labels, scores, tuple(f"p{at}" for at in range(len(rows))))


def drawn(count: int = 300, *, seed: int = 3, pull: float = 0.4) -> Scored:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    scores = np.clip(labels * pull + rng.random(count) * (1 - pull), 0, 1)
    return Scored(labels, scores, tuple(f"p{at // 2}" for at in range(count)))


@given(of_both)
def test_every_figure_is_scikit_learns_whatever_the_weights(rows: Rows) -> None:
    scored = scored_of(rows)
    weights = np.array([float(row[2]) for row in rows])
    kept = weights > 0
    labels, scores, often = scored.labels[kept], scored.scores[kept], weights[kept]
    said = scores >= 0.5
    found = {name: float(values[0]) for name, values in figures(scored, 0.5, weights[None]).items()}
    options = {"sample_weight": often, "zero_division": 0}
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(labels, said, sample_weight=often))
    assert found["precision"] == pytest.approx(oracle.precision_score(labels, said, **options))
    assert found["recall"] == pytest.approx(oracle.recall_score(labels, said, **options))
    assert found["specificity"] == pytest.approx(oracle.recall_score(labels, said, pos_label=0, **options))
    assert found["f1"] == pytest.approx(oracle.f1_score(labels, said, **options))
    assert found["roc_auc"] == pytest.approx(oracle.roc_auc_score(labels, scores, sample_weight=often))
    assert found["pr_auc"] == pytest.approx(oracle.average_precision_score(labels, scores, sample_weight=often))
    assert found["brier"] == pytest.approx(oracle.brier_score_loss(labels, scores, sample_weight=often))


def test_the_calibration_error_is_that_of_scikit_learns_bins() -> None:
    scored = drawn()
    bins = bins_of(scored.scores)
    present, mean = calibration_curve(scored.labels, scored.scores, n_bins=10, strategy="quantile")
    sizes = np.bincount(bins)
    assert sizes.tolist() == [30] * 10
    expected = float((np.abs(present - mean) * sizes[sizes > 0]).sum() / len(bins))
    assert estimates(scored, 0.5)["ece"]["value"] == pytest.approx(expected)


def test_equal_scores_share_a_bin_and_few_images_share_one() -> None:
    assert bins_of(np.full(200, 0.7)).max() == bins_of(np.full(200, 0.7)).min()
    assert set(bins_of(np.linspace(0, 1, 15)).tolist()) == {0}
    assert set(bins_of(np.linspace(0, 1, 45)).tolist()) == {0, 1}


def test_a_figure_that_a_missing_class_forbids_is_not_known() -> None:
    found = values_of(estimates(Scored(np.ones(3, np.int64), np.array([0.2, 0.6, 0.9]), ("a", "b", "b")), 0.5))
    assert [name for name, value in found.items() if value is None] == ["specificity", "roc_auc", "pr_auc"]
    assert found["recall"] == pytest.approx(2 / 3)
    assert set(found) == set(NAMES)


@settings(max_examples=10, deadline=None)
@given(of_both)
def test_every_interval_holds_its_figure(rows: Rows) -> None:
    for one in estimates(scored_of(rows), 0.5).values():
        assert one["ci_low"] <= one["value"] <= one["ci_high"]


def test_an_interval_draws_patients_and_not_images() -> None:
    few = drawn(80)
    many = Scored(np.repeat(few.labels, 9), np.repeat(few.scores, 9), tuple(p for p in few.patients for _ in range(9)))
    assert estimates(many, 0.5)["roc_auc"] == pytest.approx(estimates(few, 0.5)["roc_auc"]), "copies are no evidence"
    alone = Scored(many.labels, many.scores, tuple(str(at) for at in range(len(many.labels))))
    width = {name: one["ci_high"] - one["ci_low"] for name, one in estimates(many, 0.5).items()}
    for name, one in estimates(alone, 0.5).items():
        assert one["ci_high"] - one["ci_low"] < 0.7 * width[name], name


def test_an_interval_is_as_wide_as_chance_moves_the_figure_and_mostly_holds_the_truth() -> None:
    truth = roc_auc(drawn(40_000, seed=99))
    found, widths, held = [], [], 0
    for seed in range(150):
        scored = drawn(120, seed=seed)
        moved = [areas(scored.labels > 0, scored.scores, some)[0] for some in draws(scored.patients, seed=7, count=300)]
        one = estimate(roc_auc(scored), np.concatenate(moved))
        found.append(one["value"])
        widths.append(np.concatenate(moved).std())
        held += one["ci_low"] <= truth <= one["ci_high"]
    assert np.mean(widths) == pytest.approx(np.std(found), rel=0.2)
    assert 0.87 < held / 150 < 0.99, "percentiles near an area of 1 hold a little less than they promise"


def test_an_area_does_not_care_for_the_order_of_the_images() -> None:
    scored = drawn()
    order = np.random.default_rng(1).permutation(len(scored.labels))
    assert roc_auc(Scored(scored.labels[order], scored.scores[order], scored.patients)) == pytest.approx(
        roc_auc(scored)
    )


def test_a_paired_difference_knows_that_equals_are_equal() -> None:
    scored = drawn()
    assert difference(scored, scored.scores) == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    assert difference(scored, scored.scores * 5 - 2) == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}


def test_a_paired_interval_is_narrower_than_two_alone() -> None:
    scored = drawn()
    nearly = scored.scores + 0.02 * np.random.default_rng(0).standard_normal(len(scored.scores))
    paired = difference(scored, nearly)
    alone = estimates(scored, 0.5)["roc_auc"]
    assert paired["ci_high"] - paired["ci_low"] < 0.4 * (alone["ci_high"] - alone["ci_low"])
    assert difference(Scored(scored.labels, nearly, scored.patients), scored.scores)["value"] == pytest.approx(
        -paired["value"]
    )


def test_a_draw_has_as_many_patients_as_there_are() -> None:
    patients = ("a", "a", "b", "c", "c", "c")
    for weights in draws(patients, seed=5, count=130):
        assert (weights[:, 0] == weights[:, 1]).all()
        assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert sum(len(weights) for weights in draws(patients, seed=5, count=130)) == 130


def test_two_thousand_draws_over_five_thousand_image_sets_take_seconds() -> None:
    scored = drawn(5000)
    begun = time.process_time()
    estimates(scored, 0.5)
    assert time.process_time() - begun < 8


def test_areas_of_many_draws_are_those_of_each() -> None:
    scored = drawn(60)
    weights = next(draws(scored.patients, seed=1))
    together = areas(scored.labels > 0, scored.scores, weights)
    for at in (0, 7, 99):
        alone = areas(scored.labels > 0, scored.scores, weights[at : at + 1])
        assert [part[at] for part in together] == pytest.approx([part[0] for part in alone])
