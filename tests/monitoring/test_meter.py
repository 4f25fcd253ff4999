"""The meter that Prometheus reads keeps the contract of meters."""

from collections.abc import Callable, Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from radloop.monitoring.catalogue import Sample
from radloop.monitoring.metrics import Meter, text_of
from tests.contracts.meter import CATALOGUE, OPERATIONS, MeterContract, Told


def read(text: bytes) -> Told:
    """The figures in a text as Prometheus reads it; of a histogram not its buckets."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        if family.name.endswith("_created"):
            continue  # when it was made
        metric = CATALOGUE[f"{family.name}_total" if family.type == "counter" else family.name]
        assert family.type == metric.kind
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                assert set(sample.labels) == set(metric.labels)
                found[sample.name, *(sample.labels[label] for label in metric.labels)] = sample.value
    return {key: value for key, value in found.items() if value}


class TestMeter(MeterContract):
    @pytest.fixture
    def make(self) -> Callable[[Iterable[str]], Meter]:
        return lambda operations: Meter(CATALOGUE, operations)

    @pytest.fixture
    def meter(self, make: Callable[[Iterable[str]], Meter]) -> Meter:
        return make(OPERATIONS)

    @pytest.fixture
    def told(self, meter: Meter) -> Callable[[], Told]:
        return lambda: read(text_of(CATALOGUE, *meter.counted()))

    @pytest.fixture
    def tell(self) -> Callable[[Iterable[Sample]], Told]:
        return lambda samples: read(text_of(CATALOGUE, (), samples))
