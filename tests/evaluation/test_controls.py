"""Controls on shuffled labels: chance where labels mean nothing, certainty where they mean everything."""

import numpy as np
import pytest

from radloop.evaluation.controls import permutation_p, shuffled_heads
from radloop.training.metrics import Scored


def parted(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of which one direction tells the label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    embeddings = rng.normal(size=(count, 64)).astype(np.float32)
    embeddings[:, 0] += 3 * labels
    return embeddings, labels


def scored_of(labels: np.ndarray, scores: np.ndarray, each: int = 1) -> Scored:
    return Scored(labels, scores.astype(float), tuple(f"p{at // each}" for at in range(len(labels))))


def test_heads_on_shuffled_labels_are_chance_and_the_true_one_is_not() -> None:
    teach, labels = parted()
    test, truth = parted(seed=1)
    found = shuffled_heads(teach, labels, test, scored_of(truth, test[:, 0]))
    assert found["mean_auc"] == pytest.approx(0.5, abs=0.05)
    assert found["auc_low"] < found["mean_auc"] < found["auc_high"]
    assert found["true_auc"] > 0.95
    assert (found["shuffles"], found["image_sets"]) == (400, 200)


def test_it_repeats_itself() -> None:
    teach, labels = parted()
    scored = scored_of(labels, teach[:, 0])
    assert shuffled_heads(teach, labels, teach, scored) == shuffled_heads(teach, labels, teach, scored)
    assert permutation_p(scored) == permutation_p(scored)


def test_embeddings_that_are_all_alike_are_no_trouble() -> None:
    _, labels = parted()
    alike = np.ones((200, 64), np.float32)
    assert shuffled_heads(alike, labels, alike, scored_of(labels, np.arange(200)))["mean_auc"] == pytest.approx(0.5)


def test_a_test_part_of_one_class_has_no_figures() -> None:
    teach, labels = parted()
    scored = scored_of(np.ones(200, np.int64), teach[:, 0])
    assert shuffled_heads(teach, labels, teach, scored)["mean_auc"] is None
    assert permutation_p(scored) is None


def test_a_good_model_is_no_chance_and_a_coin_may_be() -> None:
    _, labels = parted()
    rng = np.random.default_rng(3)
    assert permutation_p(scored_of(labels, labels + rng.normal(size=200))) == pytest.approx(1 / 2001)
    assert permutation_p(scored_of(labels, rng.normal(size=200))) > 0.05


def test_p_values_of_coins_are_spread_evenly() -> None:
    _, labels = parted(60)
    found = [permutation_p(scored_of(labels, np.random.default_rng(seed).normal(size=60))) for seed in range(60)]
    assert np.mean([value <= 0.2 for value in found]) == pytest.approx(0.2, abs=0.15)
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_labels_move_with_their_patients() -> None:
    """Twelve patients of ten alike images each: 120 images are no more than twelve pieces of evidence."""
    labels = np.repeat(np.arange(12) % 2, 10)
    scores = np.repeat(np.random.default_rng(5).normal(size=12) + (np.arange(12) % 2), 10)
    together, alone = permutation_p(scored_of(labels, scores, each=10)), permutation_p(scored_of(labels, scores))
    assert together > 10 * alone


def test_a_patient_with_a_number_of_images_of_its_own_keeps_its_labels() -> None:
    labels = np.array([1, 0, 1])
    assert permutation_p(Scored(labels, np.array([0.9, 0.1, 0.8]), ("a", "b", "a"))) == 1.0
