import importlib.util
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radloop.reading.dawid_skene import NOTHING, Prior, Reads, estimate


def reads_of(rows: list[tuple[int, int, bool]], weight: float = 1.0) -> Reads:
    """Reads from (item, reader, present)."""
    items, readers, present = (np.array([row[place] for row in rows]) for place in range(3))
    return Reads(items.astype(int), readers.astype(int), present.astype(float), np.full(len(rows), weight))


def simulated(
    seed: int, items: int, sensitivity: list[float], specificity: list[float], prevalence: float = 0.4
) -> tuple[np.ndarray, Reads]:
    """Truth, and what readers of known quality say of everything."""
    rng = np.random.default_rng(seed)
    truth = rng.random(items) < prevalence
    rate = np.where(truth[:, None], sensitivity, 1 - np.array(specificity))
    says = rng.random(rate.shape) < rate
    rows = [(item, reader, bool(says[item, reader])) for item in range(items) for reader in range(len(sensitivity))]
    return truth, reads_of(rows)


votes = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), min_size=1, max_size=40, unique_by=lambda v: v[:2]
)


@settings(max_examples=60, deadline=None)
@given(rows=votes, seed=st.integers(0, 999))
def test_the_order_and_the_names_of_items_and_readers_change_nothing(
    rows: list[tuple[int, int, bool]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    items, readers = rng.permutation(10), rng.permutation(4)
    renamed = [(int(items[item]), int(readers[reader]), present) for item, reader, present in rows]
    rng.shuffle(renamed)
    one = estimate(reads_of(rows), items=10, readers=4)
    other = estimate(reads_of(renamed), items=10, readers=4)
    np.testing.assert_allclose(other.posterior[items], one.posterior, atol=1e-6)
    np.testing.assert_allclose(other.sensitivity[readers], one.sensitivity, atol=1e-6)
    np.testing.assert_allclose(other.specificity[readers], one.specificity, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(rows=votes)
def test_calling_absent_present_and_present_absent_turns_everything_round(rows: list[tuple[int, int, bool]]) -> None:
    one = estimate(reads_of(rows), items=10, readers=4)
    other = estimate(reads_of([(item, reader, not present) for item, reader, present in rows]), items=10, readers=4)
    np.testing.assert_allclose(other.posterior, 1 - one.posterior, atol=1e-5)
    np.testing.assert_allclose(other.sensitivity, one.specificity, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(rows=votes)
def test_however_little_is_read_nothing_becomes_certain(rows: list[tuple[int, int, bool]]) -> None:
    found = estimate(reads_of(rows), items=10, readers=4)
    for probabilities in (found.posterior, found.sensitivity, found.specificity):
        assert ((probabilities > 0) & (probabilities < 1)).all()
    assert 0 < found.prevalence < 1


def test_two_readers_of_one_image_set_make_nobody_sure() -> None:
    found = estimate(reads_of([(0, 0, True), (0, 1, True)]), items=1, readers=2)
    assert 0.6 < found.posterior[0] < 0.99
    assert found.sensitivity.max() < 0.95


def test_planted_quality_of_readers_is_found() -> None:
    sensitivity, specificity = [0.95, 0.7, 0.8, 0.9, 0.6], [0.8, 0.95, 0.8, 0.7, 0.9]
    truth, reads = simulated(3, 4000, sensitivity, specificity)
    found = estimate(reads, items=4000, readers=5)
    assert found.has_converged
    np.testing.assert_allclose(found.sensitivity, sensitivity, atol=0.035)
    np.testing.assert_allclose(found.specificity, specificity, atol=0.035)
    assert found.prevalence == pytest.approx(0.4, abs=0.03)
    assert np.mean((found.posterior > 0.5) != truth) < 0.06
    said = [np.mean(found.posterior[truth]), np.mean(found.posterior[~truth])]
    assert said[0] > 0.9
    assert said[1] < 0.1


def test_one_good_reader_is_believed_against_two_poor_ones() -> None:
    truth, reads = simulated(8, 3000, [0.97, 0.6, 0.6, 0.6], [0.97, 0.6, 0.6, 0.6])
    found = estimate(reads, items=3000, readers=4)
    majority = np.bincount(reads.items, reads.present) / 4
    wrong = np.mean((found.posterior > 0.5) != truth), np.mean((majority > 0.5) != truth)
    assert wrong[0] < 0.06 < wrong[1]


def test_readers_need_not_have_read_everything() -> None:
    truth, reads = simulated(5, 2000, [0.9] * 6, [0.85] * 6)
    kept = np.random.default_rng(0).random(reads.items.size) < 0.5
    some = Reads(reads.items[kept], reads.readers[kept], reads.present[kept], reads.weights[kept])
    found = estimate(some, items=2000, readers=6)
    assert np.mean((found.posterior > 0.5) != truth) < 0.13
    np.testing.assert_allclose(found.sensitivity, 0.9, atol=0.05)


def test_an_item_that_nobody_read_is_as_probable_as_any() -> None:
    found = estimate(reads_of([(0, 0, True), (0, 1, True), (1, 0, False), (1, 1, False)]), items=3, readers=2)
    assert found.posterior[2] == pytest.approx(found.prevalence, abs=1e-4)


def test_no_reads_at_all_are_no_error() -> None:
    empty = np.zeros(0)
    found = estimate(Reads(empty.astype(int), empty.astype(int), empty, empty), items=0, readers=0)
    assert found.posterior.tolist() == []


def test_what_is_known_besides_outweighs_readers() -> None:
    rows = [(item, reader, True) for item in range(4) for reader in range(2)]
    known = np.array([-8.0, 0.0, 0.0, 0.0])
    found = estimate(reads_of(rows), items=4, readers=2, known=known)
    assert found.posterior[0] < 0.1
    assert found.posterior[1] > 0.5


def test_a_read_that_weighs_less_moves_less() -> None:
    rows = [(0, 0, True), (0, 1, True), (1, 0, False), (1, 1, False)]
    light, full = (estimate(reads_of(rows, weight), items=2, readers=2).posterior[0] for weight in (0.5, 1.0))
    assert 0.5 < light < full


def test_a_reader_who_has_read_little_is_held_to_be_like_the_others() -> None:
    _, reads = simulated(4, 500, [0.85] * 4, [0.85] * 4)
    rows = list(zip(reads.items.tolist(), reads.readers.tolist(), (reads.present > 0).tolist(), strict=True))
    found = estimate(reads_of([*rows, (0, 4, not rows[0][2])]), items=500, readers=5)
    assert found.sensitivity[4] == pytest.approx(0.85, abs=0.08)
    alone = estimate(reads_of([*rows, (0, 4, not rows[0][2])]), items=500, readers=5, prior=NOTHING)
    assert min(alone.sensitivity[4], alone.specificity[4]) < 0.5


@pytest.mark.skipif(importlib.util.find_spec("crowdkit") is None, reason="crowd-kit is not installed")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_a_prior_it_is_what_crowd_kit_finds(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from crowdkit.aggregation import DawidSkene

    _, reads = simulated(seed, 300, [0.9, 0.75, 0.8, 0.7, 0.85], [0.8, 0.9, 0.7, 0.85, 0.75])
    kept = np.random.default_rng(seed).random(reads.items.size) < 0.8
    some = Reads(reads.items[kept], reads.readers[kept], reads.present[kept], reads.weights[kept])
    ours = estimate(some, items=300, readers=5, prior=NOTHING, most_rounds=5000, tolerance=1e-12)
    table = pd.DataFrame({"task": some.items, "worker": some.readers, "label": some.present.astype(int)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DawidSkene(n_iter=5000, tol=1e-12).fit_predict_proba(table)
    np.testing.assert_allclose(ours.posterior[theirs.index], theirs[1].to_numpy(), atol=1e-4)


def test_the_prior_is_told_in_reads() -> None:
    found = estimate(reads_of([(0, 0, True)]), items=1, readers=1, prior=Prior(right=9, wrong=1, kin=1e6))
    assert found.specificity[0] == pytest.approx(0.9, abs=0.02)
