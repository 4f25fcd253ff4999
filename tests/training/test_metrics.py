"""Our own figures, held against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from radloop.training.metrics import confusion, interval, report, roc_auc, roc_curve

cases = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=60)


@given(cases)
def test_counts_and_ratios_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] / 12 for r in rows])
    said = scores >= 0.5
    counts = confusion(labels, said)
    expected = oracle.confusion_matrix(labels, said.astype(int), labels=[0, 1])
    assert [[counts.tn, counts.fp], [counts.fn, counts.tp]] == expected.tolist()
    assert counts.accuracy == pytest.approx(oracle.accuracy_score(labels, said))
    assert counts.precision == pytest.approx(oracle.precision_score(labels, said, zero_division=0))
    assert counts.recall == pytest.approx(oracle.recall_score(labels, said, zero_division=0))
    assert counts.f1 == pytest.approx(oracle.f1_score(labels, said, zero_division=0))


@given(cases.filter(lambda rows: len({label for label, _ in rows}) == 2))
def test_curve_and_area_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] / 12 for r in rows])
    assert roc_auc(labels, scores) == pytest.approx(oracle.roc_auc_score(labels, scores))
    ours, theirs = roc_curve(labels, scores), oracle.roc_curve(labels, scores, drop_intermediate=False)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other)


def test_an_area_needs_both_classes() -> None:
    assert np.isnan(roc_auc(np.zeros(4, np.int64), np.linspace(0, 1, 4)))


def test_intervals_draw_patients_and_not_images() -> None:
    rng = np.random.default_rng(3)
    labels = np.tile([0, 1], 20)
    scores = np.clip(labels * 0.3 + rng.random(40) * 0.7, 0, 1)
    many = interval(labels, scores, [str(at) for at in range(40)], 0.5)
    few = interval(np.repeat(labels, 9), np.repeat(scores, 9), [str(at) for at in range(40) for _ in range(9)], 0.5)
    for name, bounds in many.items():
        assert few[name] == pytest.approx(bounds), "nine copies of every image are no new evidence"
    low, high = many["accuracy"]
    assert low < ((scores >= 0.5) == labels).mean() < high


def test_a_report_of_one_class_has_no_area_and_can_be_written_as_json() -> None:
    import json

    found = report(np.ones(3, np.int64), np.array([0.2, 0.6, 0.9]), ["a", "b", "b"], 0.5)
    assert found["metrics"]["roc_auc"] == {"value": None}
    assert found["test"] == {"patients": 2, "image_sets": 3, "positives": 3, "negatives": 0}
    assert "NaN" not in json.dumps(found)
    assert "Infinity" not in json.dumps(found)
