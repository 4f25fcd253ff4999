"""What we tell CloudWatch is in its format and in the words of the contract, and never names anybody."""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radloop.api.app import operation_names
from radloop.aws.meter import Emf, EmfMeter, EmfWork
from radloop.core.contracts import contracts
from radloop.monitoring.catalogue import Sample, load_metrics

CATALOGUE = load_metrics((contracts() / "metrics.json").read_text())
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
UNITS = {"Seconds", "Bytes", "Gigabytes", "Percent", "Count", "None"}


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


def test_what_the_contract_does_not_admit_is_told_as_other(log: Log) -> None:
    log.emf.tell(
        [
            Sample("radloop_quarantined_files", 1, {"reason": "DOE^JOHN"}),
            Sample("radloop_quarantined_files", 2, {"reason": "P1234"}),
            Sample("radloop_quarantined_files", 4, {"reason": "not-dicom"}),
            Sample("radloop_jobs_waiting", 8),
        ]
    )
    assert log.figures() == {
        ("radloop_quarantined_files", "other"): 3,
        ("radloop_quarantined_files", "not-dicom"): 4,
        ("radloop_jobs_waiting", "other"): 8,
    }
    assert "DOE" not in "".join(log.text)


def test_of_a_counter_what_was_added_is_told_once(log: Log) -> None:
    work = EmfWork(CATALOGUE, log.emf)
    for _ in range(3):
        work.store_failed()
    work.ran("image_ingestion", is_ok=True)
    work.ran("image_ingestion", is_ok=False)
    work.ran("DOE^JOHN", is_ok=True)
    work.database_busy()
    work.flush(AT.timestamp())
    assert log.figures() == {
        ("radloop_datastore_errors_total",): 3,
        ("radloop_database_busy_total",): 1,
        ("radloop_function_runs_total", "image_ingestion", "ok"): 1,
        ("radloop_function_runs_total", "image_ingestion", "failed"): 1,
        ("radloop_function_runs_total", "other", "ok"): 1,
        ("radloop_audit_lag_seconds",): 0,
    }
    log.text.clear()
    work.store_failed()
    work.flush(AT.timestamp())
    assert log.figures() == {("radloop_datastore_errors_total",): 1, ("radloop_audit_lag_seconds",): 0}


def test_how_long_the_audit_has_waited_is_told_until_it_waits_no_more(log: Log) -> None:
    work = EmfWork(CATALOGUE, log.emf)
    for since, lag in ((AT.timestamp() - 7, 7), (AT.timestamp() + 5, 0), (None, 0)):
        work.audit_waits(since)
        work.flush(AT.timestamp())
        assert log.figures()["radloop_audit_lag_seconds",] == lag


def test_the_traffic_of_the_doors_is_told_by_operation(log: Log) -> None:
    meter = EmfMeter(CATALOGUE, operation_names(), log.emf)
    for _ in range(2):
        meter.answered("getFrame", 500)
    meter.answered("getDoeJohn", 1)
    meter.stream_began()
    meter.stream_began()
    meter.stream_ended()
    log.emf.flush()
    assert log.figures() == {
        ("radloop_api_calls_total", "getFrame"): 2,
        ("radloop_api_bytes_total", "getFrame"): 1000,
        ("radloop_api_calls_total", "other"): 1,
        ("radloop_api_bytes_total", "other"): 1,
        ("radloop_streams_open",): [1, 2],
    }


def test_a_request_for_many_frames_is_one_retrieval_and_counts_each(log: Log) -> None:
    meter = EmfMeter(CATALOGUE, operation_names(), log.emf)
    meter.frames_retrieved(0.6, 3)
    meter.frames_retrieved(0.5)
    log.emf.flush()
    told = {name: value for line in log.lines for name, value in line.items()}
    assert told["radloop_frame_retrieval_seconds"] == [pytest.approx(0.2), 0.5]
    assert told["radloop_frames_retrieved_total"] == 4


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
            assert metric["Unit"] in UNITS
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
