"""Increases, shares, means and percentiles of readings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.monitoring.series import Question, Reading

BY_OPERATION = (("operation", "getFrame"),)
OTHER = (("operation", "search"),)


def counts(*values: float | None, name: str = "calls") -> list[Reading]:
    return [{} if value is None else {name: {(): value}} for value in values]


def test_a_counter_that_begins_anew_loses_nothing_it_counted_since() -> None:
    question = Question("calls", "increase")
    assert question.answer(counts(10, 14, 3, 5)) == 4 + 3 + 2
    assert question.answer(counts(None, 4)) == 4
    assert question.answer(counts(7)) is None  # nobody knows since when
    assert question.answer([]) is None


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20))
def test_what_grew_is_what_came_however_often_one_looks(steps: list[int]) -> None:
    totals = [float(sum(steps[: place + 1])) for place in range(len(steps))]
    question = Question("calls", "increase")
    assert question.answer(counts(*totals)) == pytest.approx(sum(steps[1:]))


def test_series_are_told_apart_narrowed_down_and_divided() -> None:
    readings: list[Reading] = [
        {"bytes": {BY_OPERATION: 0, OTHER: 0}, "calls": {BY_OPERATION: 0, OTHER: 0}},
        {"bytes": {BY_OPERATION: 3000, OTHER: 50}, "calls": {BY_OPERATION: 3, OTHER: 1}},
    ]
    assert Question("calls", "increase", by="operation").answers(readings) == {"getFrame": 3, "search": 1}
    only = {"operation": ("getFrame",)}
    assert Question("bytes", "increase", only, per="calls").answer(readings) == 1000
    assert Question("calls", "percent", only).answer(readings) == 75


def test_nothing_run_is_no_share() -> None:
    assert Question("calls", "percent").answer(counts(5, 5)) is None


def test_one_delayed_frame_in_a_hundred_moves_the_99th_percentile_and_not_the_mean() -> None:
    def frames(quick: int, slow: int) -> Reading:
        bounds = {"0.1": quick, "1.0": quick, "2.5": quick + slow, "+Inf": quick + slow}
        return {
            "frames_bucket": {(("le", bound),): float(count) for bound, count in bounds.items()},
            "frames_sum": {(): 0.05 * quick + 2.0 * slow},
            "frames_count": {(): float(quick + slow)},
        }

    calm, delayed = [frames(0, 0), frames(200, 0)], [frames(0, 0), frames(98, 2)]
    tail = Question("frames", "p99")
    assert tail.answer(calm) == pytest.approx(0.099)
    assert tail.answer(delayed) == pytest.approx(1.75)
    assert tail.answer([frames(5, 5), frames(5, 5)]) is None
    assert Question("frames", "mean").answer(delayed) == pytest.approx(0.089)


def test_the_greatest_and_the_latest() -> None:
    assert Question("open", "maximum").answer(counts(1, 5, 2, name="open")) == 5
    assert Question("open", "latest").answer(counts(1, 5, 2, name="open")) == 2
    assert Question("open", "latest").answer(counts(1, None, name="open")) is None


def test_a_statistic_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="median"):
        Question("calls", "median")
