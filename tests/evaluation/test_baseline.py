"""The trivial baseline learns what brightness tells, and nothing else; held against scikit-learn's trees."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from radloop.evaluation import baseline


def drawn(rule: object, count: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(2 * count, 15))
    labels = (rule(features) ^ (rng.random(2 * count) < 0.1)).astype(np.int64)
    return features[:count], labels[:count], features[count:], labels[count:]


@pytest.mark.parametrize(
    "rule",
    [
        lambda x: x[:, 3] > 0.4,
        lambda x: np.abs(x[:, 0]) > 0.7,
        lambda x: x[:, 1] + x[:, 2] - x[:, 5] > 0,
        lambda x: (x[:, 0] > 0) & (x[:, 1] > 0),
    ],
)
def test_it_does_about_as_well_as_scikit_learns_trees(rule: object) -> None:
    teach, labels, test, truth = drawn(rule)
    ours = roc_auc_score(truth, baseline.fit(teach, labels).scores(test))
    oracle = GradientBoostingClassifier(n_estimators=150, max_depth=3, learning_rate=0.1, random_state=0)
    theirs = roc_auc_score(truth, oracle.fit(teach, labels).predict_proba(test)[:, 1])
    assert ours > theirs - 0.02
    assert ours > 0.8


def test_where_there_is_nothing_to_learn_it_is_chance() -> None:
    teach, _, test, _ = drawn(lambda x: x[:, 0] > 0)
    rng = np.random.default_rng(4)
    labels, truth = rng.integers(0, 2, len(teach)), rng.integers(0, 2, len(test))
    assert roc_auc_score(truth, baseline.fit(teach, labels).scores(test)) == pytest.approx(0.5, abs=0.06)


def test_the_same_data_give_the_same_trees() -> None:
    teach, labels, test, _ = drawn(lambda x: x[:, 3] > 0.4, 200)
    assert (baseline.fit(teach, labels).scores(test) == baseline.fit(teach, labels).scores(test)).all()


@pytest.mark.parametrize("count", [1, 4, 12])
def test_few_or_constant_data_give_scores_all_the_same(count: int) -> None:
    labels = np.arange(count) % 2
    found = baseline.fit(np.ones((count, 15)), labels).scores(np.ones((3, 15)))
    assert np.isfinite(found).all()
    assert len(set(found.tolist())) == 1
