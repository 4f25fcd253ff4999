from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from radloop.core.images import Confidence, Finding, Seen
from radloop.core.reads import Read
from radloop.reading.agreement import agreement, cohen, fleiss

AT = datetime(2026, 5, 1, tzinfo=UTC)


def read(image_set: str, reader: str, present: bool, version: int = 1) -> Read:
    finding = Finding(present, None, Confidence.MEDIUM, "", Seen(0, "lossless"))
    return Read(f"{image_set}{reader}{version}", image_set, version, reader, finding, AT)


def table_of(one: list[bool], other: list[bool]) -> np.ndarray:
    table = np.zeros((2, 2))
    np.add.at(table, (np.array(one, int), np.array(other, int)), 1)
    return table


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_kappa_of_two_is_what_scikit_learn_says(pairs: list[tuple[bool, bool]]) -> None:
    one, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ours = cohen(table_of(one, other))
    if len({*one, *other}) == 1:
        assert ours.value is None, "nothing can be said where all reads say the same"
        return
    assert ours.value == pytest.approx(cohen_kappa_score(one, other), abs=1e-9)
    assert ours.agreed == pytest.approx(np.mean(np.array(one) == other))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_fleiss_of_two_is_scotts_pi(pairs: list[tuple[bool, bool]]) -> None:
    observed = np.mean([one == other for one, other in pairs])
    share = np.mean([[one, other] for one, other in pairs])
    expected = share**2 + (1 - share) ** 2
    ours = fleiss(Counter((2, int(one) + int(other)) for one, other in pairs))
    if expected == 1:
        assert ours.value is None
    else:
        assert ours.value == pytest.approx((observed - expected) / (1 - expected))


def test_fleiss_of_a_worked_example() -> None:
    """Ten image sets, five readers each; by hand P = .82, share .54, Pe = .5032, kappa = .3168 / .4968."""
    ours = fleiss(Counter((5, present) for present in [5, 5, 5, 4, 4, 1, 0, 0, 0, 3]))
    assert ours.value == pytest.approx(0.3168 / 0.4968)
    assert (ours.image_sets, ours.agreed) == (10, pytest.approx(0.82))


def test_intervals_hold_what_was_planted_and_shrink_with_more_image_sets() -> None:
    rng, widths, held = np.random.default_rng(2), [], 0
    for count in (100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 6400):
        truth = rng.random(count) < 0.5
        one, other = (np.where(rng.random(count) < 0.85, truth, ~truth) for _ in range(2))
        found = cohen(table_of(list(one), list(other)))
        assert found.ci_low is not None
        assert found.ci_high is not None
        held += found.ci_low <= 0.49 <= found.ci_high  # (2 x .85 - 1)^2
        widths.append(found.ci_high - found.ci_low)
    assert held >= 9
    assert widths[-1] < min(widths[:-1]) / 4


def test_pairs_are_of_those_who_read_the_same_version_of_the_same_image_set() -> None:
    reads = [
        read("a", "anna", True),
        read("a", "boris", True),
        read("b", "anna", False),
        read("b", "boris", False),
        read("c", "anna", True),
        read("c", "clara", False),
        read("c", "boris", True, version=2),
    ]
    found = agreement(reads)
    assert [(pair.one, pair.other, pair.kappa.image_sets) for pair in found.pairs] == [
        ("anna", "boris", 2),
        ("anna", "clara", 1),
    ]
    assert found.pairs[0].kappa.value == 1.0
    assert found.all.image_sets == 3, "what was read once says nothing of agreement"


def test_nothing_read_twice_has_no_kappa() -> None:
    found = agreement([read("a", "anna", True), read("b", "boris", False)])
    assert (found.pairs, found.all.value, found.all.ci_low, found.all.image_sets) == ((), None, None, 0)
