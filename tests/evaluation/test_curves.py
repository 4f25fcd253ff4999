"""Curves are scikit-learn's, and thin enough to be kept."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from radloop.evaluation.curves import curves_of, pr_curve, roc_curve
from radloop.training.metrics import Scored, roc_auc

cases = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=60).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@given(cases)
def test_points_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] / 12 for row in rows])
    for mine, other in zip(
        roc_curve(labels, scores), oracle.roc_curve(labels, scores, drop_intermediate=False), strict=True
    ):
        assert mine == pytest.approx(other)
    precision, recall, limits = oracle.precision_recall_curve(labels, scores)
    recalls, precisions, at = pr_curve(labels, scores)
    assert recalls == pytest.approx(recall[-2::-1])
    assert precisions == pytest.approx(precision[-2::-1])
    assert at == pytest.approx(limits[::-1])


@given(cases)
def test_leaving_out_what_lies_on_a_straight_line_keeps_the_area(rows: list[tuple[int, int]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] / 12 for row in rows])
    scored = Scored(labels, scores, tuple(str(at) for at in range(len(rows))))
    points = curves_of(scored)["roc_curve"]
    area = np.trapezoid([point["tpr"] for point in points], [point["fpr"] for point in points])
    assert area == pytest.approx(roc_auc(scored))
    assert (points[0]["fpr"], points[0]["tpr"], points[-1]["fpr"], points[-1]["tpr"]) == (0, 0, 1, 1)


def test_long_curves_are_thinned_and_can_be_written_as_json() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 5000)
    scored = Scored(labels, np.clip(labels * 0.2 + rng.random(5000) * 0.8, 0, 1), ("p",) * 5000)
    found = curves_of(scored)
    assert len(found["roc_curve"]) <= 200
    assert len(found["pr_curve"]) == 200
    assert sum(one["image_sets"] for one in found["calibration"]) == 5000
    text = json.dumps(found)
    assert "NaN" not in text
    assert "Infinity" not in text


def test_one_class_has_curves_too() -> None:
    found = curves_of(Scored(np.ones(3, np.int64), np.array([0.1, 0.1, 0.4]), ("a", "b", "c")))
    assert found["roc_curve"][-1]["fpr"] == 0
    assert found["pr_curve"][-1] == {"recall": 1.0, "precision": 1.0, "threshold": 0.1}
