"""Alarms go on, stay on and go off when they should."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.monitoring.alarms import QUIET_S, Alarm, Standing, load_alarms
from tests.functions.house import CONTRACTS

ALARMS = {alarm.id: alarm for alarm in load_alarms((CONTRACTS / "alarms.json").read_text())}
LATENCY = ALARMS["A1"]


def through(alarm: Alarm, values: list[float | None], *, every_s: float = 5.0) -> list[bool]:
    """Whether the alarm is on after each value."""
    standing, told = Standing(), []
    for place, value in enumerate(values):
        standing = standing.after(alarm, value, place * every_s)
        told.append(standing.is_on)
    return told


def test_a_value_beyond_the_threshold_raises_it_at_once_and_quiet_ends_it() -> None:
    looks = int(QUIET_S / 5) + 1
    assert through(LATENCY, [0.1, 1.2]) == [False, True]
    assert through(LATENCY, [1.2] + [0.1] * looks) == [True] * looks + [False]


def test_a_value_that_trembles_about_the_threshold_is_told_once() -> None:
    trembling: list[float | None] = [1.01, 0.99] * 50
    assert all(through(LATENCY, trembling))


def test_a_break_in_the_quiet_begins_it_anew() -> None:
    values: list[float | None] = [1.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    assert through(LATENCY, values) == [True] * 13 + [False]


def test_the_threshold_itself_is_no_alarm() -> None:
    assert through(LATENCY, [1.0]) == [False]
    assert through(ALARMS["A3"], [0.85, 0.84]) == [False, True]


def test_several_periods_must_be_wrong_in_a_row() -> None:
    slow = replace(LATENCY, periods=3, window_s=10.0)
    assert through(slow, [2.0] * 5) == [False, False, False, False, True]
    assert not any(through(slow, [2.0, 2.0, 2.0, 2.0, 0.5] * 5))


@pytest.mark.parametrize(("missing", "expected"), [("notBreaching", False), ("breaching", True), ("ignore", True)])
def test_what_nothing_means_stands_in_the_contract(missing: str, expected: bool) -> None:
    alarm = replace(LATENCY, missing=missing)
    values: list[float | None] = [2.0, *([None] * 20)]
    assert through(alarm, values)[-1] is expected


def test_nothing_where_nothing_was_is_no_alarm() -> None:
    assert through(replace(LATENCY, missing="ignore"), [None, None]) == [False, False]


@given(st.lists(st.one_of(st.none(), st.floats(0, 3)), max_size=60))
def test_an_alarm_never_changes_without_a_reason(values: list[float | None]) -> None:
    standing = Standing()
    for place, value in enumerate(values):
        after = standing.after(LATENCY, value, place * 5.0)
        if after.is_on and not standing.is_on:
            assert value is not None
            assert value > LATENCY.threshold
        if standing.is_on and not after.is_on:
            quiet = values[max(0, place - int(QUIET_S / 5)) : place + 1]
            assert all(each is None or each <= LATENCY.clear for each in quiet)
        standing = after


def test_an_alarm_that_means_nothing_is_refused() -> None:
    entry = json.loads((CONTRACTS / "alarms.json").read_text())["alarms"][0]
    with pytest.raises(ValueError, match="A1"):
        load_alarms(json.dumps({"alarms": [{**entry, "comparison": "~"}]}))
