"""What was delivered twice is done once, by the idempotency of powertools on our own records."""

from collections.abc import Callable

import pytest

from radloop.aws.repeats import once
from radloop.core.tables import DELIVERIES
from tests.aws.substrate import Substrate
from tests.functions.house import HandClock


def doing(substrate: Substrate, done: list[str]) -> Callable[..., None]:
    clock = HandClock()

    def deliver(delivery: str, *, of: str = "drift", fails: bool = False) -> None:
        def work() -> None:
            done.append(f"{of}/{delivery}")
            if fails:
                raise ValueError(delivery)

        once(work, delivery, of=of, records=substrate.records, clock=clock)

    return deliver


def test_a_delivery_is_done_once_for_each_function(substrate: Substrate) -> None:
    done: list[str] = []
    deliver = doing(substrate, done)
    for _ in range(3):
        deliver("e1")
    deliver("e2")
    deliver("e1", of="prediction")
    assert done == ["drift/e1", "drift/e2", "prediction/e1"]
    days = {str(row.document["day"]) for row in substrate.records.find(DELIVERIES)}
    assert days == {HandClock()().date().isoformat()}


def test_what_failed_is_done_again(substrate: Substrate) -> None:
    done: list[str] = []
    deliver = doing(substrate, done)
    with pytest.raises(ValueError, match="e1"):
        deliver("e1", fails=True)
    assert substrate.records.count(DELIVERIES) == 0
    deliver("e1")
    deliver("e1")
    assert done == ["drift/e1", "drift/e1"]


def test_who_comes_while_a_first_delivery_runs_works_beside_it(substrate: Substrate) -> None:
    done: list[str] = []
    deliver = doing(substrate, done)

    def first() -> None:
        done.append("first")
        deliver("e1")

    once(first, "e1", of="drift", records=substrate.records, clock=HandClock())
    assert done == ["first", "drift/e1"]
