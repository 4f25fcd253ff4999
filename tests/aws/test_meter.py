"""What we tell CloudWatch is in its format and in the words of the contract, and never names anybody."""

import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radloop.api.app import operation_names
from radloop.aws.meter import Emf, EmfMeter, EmfWork
from radloop.monitoring.catalogue import Sample
from radloop.monitoring.metrics import Meter
from tests.contracts.meter import CATALOGUE, OPERATIONS, MeterContract, Told

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Log:
    """Lines as CloudWatch would read them."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.emf = Emf(CATALOGUE, lambda: AT, self.text.append)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.text]

    def figures(self) -> dict[tuple[str, ...], Any]:
        """Name and dimension values, and what was told."""
        found: dict[tuple[str, ...], Any] = {}
        for line in self.lines:
            (directive,) = line["_aws"]["CloudWatchMetrics"]
            (dimensions,) = directive["Dimensions"]
            for metric in directive["Metrics"]:
                found[metric["Name"], *(line[each] for each in dimensions)] = line[metric["Name"]]
        return found


@pytest.fixture
def log() -> Log:
    return Log()


class TestEmfMeter(MeterContract):
    @pytest.fixture
    def make(self, log: Log) -> Callable[[Iterable[str]], Meter]:
        return lambda operations: EmfMeter(CATALOGUE, operations, log.emf)

    @pytest.fixture
    def meter(self, make: Callable[[Iterable[str]], Meter]) -> Meter:
        return make(OPERATIONS)

    @pytest.fixture
    def told(self, log: Log, meter: Meter) -> Callable[[], Told]:
        def told() -> Told:
            assert isinstance(meter.work, EmfWork)
            meter.work.flush(time.time())
            return summed(log.lines)

        return told

    @pytest.fixture
    def tell(self) -> Callable[[Iterable[Sample]], Told]:
        def tell(samples: Iterable[Sample]) -> Told:
            log = Log()
            log.emf.tell(samples)
            return summed(log.lines)

        return tell


def summed(lines: Iterable[dict[str, Any]]) -> Told:
    """All that the lines say, as CloudWatch adds it up: counters their sum, gauges the latest value."""
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        (dimensions,) = directive["Dimensions"]
        names = [each["Name"] for each in directive["Metrics"]]
        assert set(line) == {"_aws", *dimensions, *names}
        for name in names:
            metric, labels = CATALOGUE[name], [line[each] for each in dimensions]
            values = line[name] if isinstance(line[name], list) else [line[name]]
            assert dimensions == list(metric.labels)
            if metric.kind == "gauge":
                found[name, *labels] = values[-1]
            elif metric.kind == "counter":
                found[name, *labels] += sum(values)
            else:
                found[f"{name}_count", *labels] += len(values)
                found[f"{name}_sum", *labels] += sum(values)
    return {key: value for key, value in found.items() if value}


def test_a_line_is_what_cloudwatch_reads(log: Log) -> None:
    log.emf.tell(
        [Sample("radloop_jobs_waiting", 3, {"lane": "events"}), Sample("radloop_dead_letters", 1, {"lane": "events"})]
    )
    assert log.lines == [
        {
            "_aws": {
                "Timestamp": int(AT.timestamp() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Radloop",
                        "Dimensions": [["lane"]],
                        "Metrics": [
                            {"Name": "radloop_jobs_waiting", "Unit": "Count"},
                            {"Name": "radloop_dead_letters", "Unit": "Count"},
                        ],
                    }
                ],
            },
            "lane": "events",
            "radloop_jobs_waiting": 3,
            "radloop_dead_letters": 1,
        }
    ]
    assert all("\n" not in text for text in log.text)


def test_of_a_counter_what_was_added_is_told_once(log: Log) -> None:
    work = EmfWork(CATALOGUE, log.emf)
    for added in (3, 1):
        for _ in range(added):
            work.store_failed()
        work.flush(AT.timestamp())
        assert log.figures() == {("radloop_datastore_errors_total",): added, ("radloop_audit_lag_seconds",): 0}
        log.text.clear()


@pytest.mark.parametrize(
    ("written", "sealed", "lag"),
    [(None, None, 0), (100, None, 100), (None, 960, 960), (100, 960, 960), (960, 100, 960)],
)
def test_the_audit_lags_by_what_waits_longest_to_be_written_or_sealed(
    log: Log, written: float | None, sealed: float | None, lag: float
) -> None:
    work, now = EmfWork(CATALOGUE, log.emf), AT.timestamp()
    work.audit_waits(None if written is None else now - written)
    work.seal_waits(None if sealed is None else now - sealed)
    work.flush(now)
    assert log.figures() == {("radloop_audit_lag_seconds",): lag}


def test_every_figure_goes_with_the_unit_the_contract_names(log: Log) -> None:
    log.emf.tell(Sample(name, 1) for name in CATALOGUE)
    told = {
        each["Name"]: each["Unit"]
        for line in log.lines
        for directive in line["_aws"]["CloudWatchMetrics"]
        for each in directive["Metrics"]
    }
    measured = {"seconds": "Seconds", "bytes": "Bytes", "gigabytes": "Gigabytes", "percent": "Percent"}
    without = {"ratio", "minutes", "hours", "dollars", "orders of magnitude"}  # which CloudWatch has no word for
    assert told == {
        name: "None" if metric.unit in without else measured.get(metric.unit, "Count")
        for name, metric in CATALOGUE.items()
    }
    assert {metric.unit for metric in CATALOGUE.values()} >= measured.keys()


def test_streams_that_end_are_told_as_they_ended(log: Log) -> None:
    meter = EmfMeter(CATALOGUE, operation_names(), log.emf)
    meter.stream_began()
    meter.stream_began()
    meter.stream_ended()
    log.emf.flush()
    assert log.figures() == {("radloop_streams_open",): [1, 2, 1]}


def test_every_retrieval_is_told_so_that_a_percentile_can_be_taken(log: Log) -> None:
    meter = EmfMeter(CATALOGUE, operation_names(), log.emf)
    wanted = [number / 1000 for number in range(250)]
    for seconds in wanted:
        meter.frames_retrieved(seconds)
    log.emf.flush()
    told = [line["radloop_frame_retrieval_seconds"] for line in log.lines]
    assert [len(each) for each in told] == [100, 100, 50]
    assert [value for each in told for value in each] == wanted
    log.text.clear()
    log.emf.flush()
    assert log.text == []


def test_what_is_no_number_is_left_out(log: Log) -> None:
    log.emf.tell(
        [Sample("radloop_drift_score", math.nan), Sample("radloop_reads", math.inf), Sample("radloop_reads", 1)]
    )
    log.emf.observe("radloop_audit_lag_seconds", -math.inf)
    log.emf.flush()
    assert log.text == []


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(
            Sample,
            st.sampled_from(sorted(CATALOGUE)),
            st.floats(0, 1e12),
            st.dictionaries(
                st.sampled_from(sorted({label for each in CATALOGUE.values() for label in each.labels})),
                st.text(max_size=20) | st.sampled_from(["events", "v1", "ok", "Failed"]),
            ),
        ),
        max_size=60,
    )
)
def test_whatever_is_told_keeps_to_the_format_and_the_contract(samples: list[Sample]) -> None:
    log = Log()
    log.emf.tell(samples)
    assert sum(map(len, (line["_aws"]["CloudWatchMetrics"][0]["Metrics"] for line in log.lines))) == len(log.figures())
    for line in log.lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        (dimensions,) = directive["Dimensions"]
        assert 0 < len(directive["Metrics"]) <= 100
        assert set(line) == {"_aws", *dimensions, *(each["Name"] for each in directive["Metrics"])}
        for metric in directive["Metrics"]:
            known = CATALOGUE[metric["Name"]]
            assert dimensions == list(known.labels)
            for label, admitted in known.labels.items():
                assert line[label] == "other" or re.fullmatch(admitted, line[label])


def test_lines_go_to_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    emf = Emf(CATALOGUE, lambda: AT)
    emf.count("radloop_datastore_errors_total")
    emf.flush()
    told = capsys.readouterr().out
    assert told.endswith("}\n")
    assert json.loads(told)["radloop_datastore_errors_total"] == 1
