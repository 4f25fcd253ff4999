"""What every Meter must do, and whatever tells the samples that are computed from the records."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from radloop.core.contracts import contracts
from radloop.monitoring.catalogue import Metric, Sample, load_metrics
from radloop.monitoring.metrics import Meter

CATALOGUE = load_metrics((contracts() / "metrics.json").read_text())
OPERATIONS = ("getFrame", "searchStudies")
Told = Mapping[tuple[str, ...], float]
"""Name and values of the labels in the contract's order, and the figure. A counter is what was counted since the meter
was made, a gauge what it is now; of a histogram there are `_count`, and `_sum` of the values. What is 0 is left out."""

PATIENTS = ("Doe^Jane", "DOE", "PHANTOM-0001", "123456", "1.2.840.113619.2.1", "19700101", "mrn-1", "getFrame\n", "")
WAITED_S = 70.0
THREADS, TURNS, ROUNDS = 4, 3, 8


def sample_of(metric: Metric, value: float) -> Sample:
    """One of this metric, whose labels have values that the contract admits."""
    return Sample(metric.name, value, {label: _word_of(admitted) for label, admitted in metric.labels.items()})


def _word_of(admitted: str) -> str:
    return next(word for word in ("v1", OPERATIONS[0], *admitted.split("|")) if re.fullmatch(admitted, word))


class MeterContract:
    """Subclass it and provide `make`, `meter`, `told` and `tell`.

    `make` builds a meter for names of operations, `meter` is one for OPERATIONS. `told` gives what can be read where
    its figures go, `tell` what can be read there of samples; both check that no label is there but the contract's.
    """

    @pytest.fixture
    def giving_way(self) -> Iterator[None]:
        """Threads that begin from here on let another run at every call and every return."""
        threading.setprofile(lambda *_: time.sleep(0))
        yield
        threading.setprofile(None)

    def test_a_counter_adds_and_reading_takes_nothing_away(self, meter: Meter, told: Callable[[], Told]) -> None:
        for expected in (3, 6):
            for _ in range(3):
                meter.work.store_failed()
            meter.work.database_busy()
            assert told()["radloop_datastore_errors_total",] == expected
            assert told() == told()
        assert told()["radloop_database_busy_total",] == 2

    def test_calls_and_bytes_are_told_by_operation(self, meter: Meter, told: Callable[[], Told]) -> None:
        meter.answered("getFrame", 500)
        meter.answered("getFrame", 1500)
        meter.answered("searchStudies", 7)
        assert told() == {
            ("radloop_api_calls_total", "getFrame"): 2,
            ("radloop_api_bytes_total", "getFrame"): 2000,
            ("radloop_api_calls_total", "searchStudies"): 1,
            ("radloop_api_bytes_total", "searchStudies"): 7,
        }

    def test_runs_are_told_by_function_and_how_they_ended(self, meter: Meter, told: Callable[[], Told]) -> None:
        for is_ok in (True, True, False):
            meter.work.ran("image_ingestion", is_ok=is_ok)
        assert told() == {
            ("radloop_function_runs_total", "image_ingestion", "ok"): 2,
            ("radloop_function_runs_total", "image_ingestion", "failed"): 1,
        }

    def test_a_gauge_is_what_it_is_now(self, meter: Meter, told: Callable[[], Told]) -> None:
        for _ in range(3):
            meter.stream_began()
        assert told() == {("radloop_streams_open",): 3}
        meter.stream_ended()
        assert told() == {("radloop_streams_open",): 2}
        for _ in range(2):
            meter.stream_ended()
        assert told() == {}

    def test_a_histogram_observes_each_request_in_seconds_and_counts_its_frames(
        self, meter: Meter, told: Callable[[], Told]
    ) -> None:
        meter.frames_retrieved(0.75, 3)
        meter.frames_retrieved(0.5)
        assert told() == {
            ("radloop_frame_retrieval_seconds_count",): 2,
            ("radloop_frame_retrieval_seconds_sum",): pytest.approx(0.75),
            ("radloop_frames_retrieved_total",): 4,
        }

    def test_how_long_the_audit_waits_is_told_in_seconds_until_it_does_not(
        self, meter: Meter, told: Callable[[], Told]
    ) -> None:
        meter.work.audit_waits(time.time() - WAITED_S)
        assert told() == {("radloop_audit_lag_seconds",): pytest.approx(WAITED_S, abs=5)}
        meter.work.audit_waits(time.time() + WAITED_S)
        assert told() == {}, "a clock that was put back is no lag below nothing"
        meter.work.audit_waits(None)
        assert told() == {}

    # What the contract admits

    @pytest.mark.parametrize("patient", PATIENTS)
    def test_no_value_of_a_patient_becomes_a_label(
        self, meter: Meter, told: Callable[[], Told], tell: Callable[[Iterable[Sample]], Told], patient: str
    ) -> None:
        meter.answered(patient, 9)
        meter.work.ran(patient, is_ok=False)
        assert told() == {
            ("radloop_api_calls_total", "other"): 1,
            ("radloop_api_bytes_total", "other"): 9,
            ("radloop_function_runs_total", "other", "failed"): 1,
        }
        everywhere = [
            Sample(metric.name, 1, dict.fromkeys(metric.labels, patient))
            for metric in CATALOGUE.values()
            if metric.labels and metric.kind != "histogram"
        ]
        assert set(tell(everywhere)) == {(one.name, *("other" for _ in one.labels)) for one in everywhere}

    def test_an_operation_the_contract_does_not_admit_is_refused_when_the_meter_is_made(
        self, make: Callable[[Iterable[str]], Meter]
    ) -> None:
        for name in ("/patients/123", "frame", "getFrame/1.2.3"):
            with pytest.raises(ValueError, match="does not admit"):
                make([name])

    def test_an_operation_there_is_not_is_told_as_other_though_the_contract_admits_its_form(
        self, meter: Meter, told: Callable[[], Told]
    ) -> None:
        meter.answered("getDoeJane", 0)
        assert told() == {("radloop_api_calls_total", "other"): 1}

    def test_a_name_the_contract_does_not_have_is_refused(self, tell: Callable[[Iterable[Sample]], Told]) -> None:
        with pytest.raises(KeyError):
            tell([Sample("radloop_patients_total", 1)])

    def test_a_label_the_contract_does_not_have_is_left_out(self, tell: Callable[[Iterable[Sample]], Told]) -> None:
        told = tell([Sample("radloop_dead_letters", 2, {"lane": "events", "patient": "Doe^Jane"})])
        assert told == {("radloop_dead_letters", "events"): 2}

    def test_a_label_that_is_missing_is_told_as_other(self, tell: Callable[[Iterable[Sample]], Told]) -> None:
        assert tell([Sample("radloop_dead_letters", 2)]) == {("radloop_dead_letters", "other"): 2}

    # Samples

    def test_every_metric_can_be_told_under_its_own_name_and_labels(
        self, tell: Callable[[Iterable[Sample]], Told]
    ) -> None:
        kept = [metric for metric in CATALOGUE.values() if metric.kind != "histogram"]
        samples = [sample_of(metric, number + 0.5) for number, metric in enumerate(kept)]
        assert tell(samples) == {(one.name, *one.labels.values()): one.value for one in samples}

    def test_samples_that_share_all_labels_are_their_sum(self, tell: Callable[[Iterable[Sample]], Told]) -> None:
        reasons = {"Doe^Jane": 1, "Roe^John": 2, "not-dicom": 4}
        told = tell(Sample("radloop_quarantined_files", count, {"reason": code}) for code, count in reasons.items())
        assert told == {
            ("radloop_quarantined_files", "other"): 3,
            ("radloop_quarantined_files", "not-dicom"): 4,
        }

    # Threads

    @pytest.mark.usefixtures("giving_way")
    def test_many_who_count_at_once_lose_nothing_while_another_reads(
        self, meter: Meter, told: Callable[[], Told]
    ) -> None:
        def counts(_: int) -> None:
            for _ in range(TURNS):
                meter.stream_began()
                meter.answered("getFrame", 2)
                meter.frames_retrieved(1.0, 2)
                meter.work.ran("fold", is_ok=True)
                meter.stream_ended()

        with ThreadPoolExecutor(THREADS) as pool:
            for turns in range(THREADS * TURNS, ROUNDS * THREADS * TURNS + 1, THREADS * TURNS):
                counting = [pool.submit(counts, number) for number in range(THREADS)]
                while not all(each.done() for each in counting):
                    assert 0 <= told().get(("radloop_streams_open",), 0) <= THREADS
                    time.sleep(0.02)  # the others are slow beside one that never waits
                assert [each.exception() for each in counting] == [None] * THREADS
                assert told() == {
                    ("radloop_api_calls_total", "getFrame"): turns,
                    ("radloop_api_bytes_total", "getFrame"): 2 * turns,
                    ("radloop_frame_retrieval_seconds_count",): turns,
                    ("radloop_frame_retrieval_seconds_sum",): pytest.approx(turns / 2),
                    ("radloop_frames_retrieved_total",): 2 * turns,
                    ("radloop_function_runs_total", "fold", "ok"): turns,
                }

    @pytest.mark.usefixtures("giving_way")
    def test_streams_that_begin_and_end_at_once_leave_the_number_that_is_open(
        self, meter: Meter, told: Callable[[], Told]
    ) -> None:
        together = threading.Barrier(THREADS)

        def thrice(happened: Callable[[], None]) -> None:
            together.wait()
            for _ in range(3):
                happened()

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(ROUNDS):
                list(pool.map(thrice, [meter.stream_began] * THREADS))
                assert told() == {("radloop_streams_open",): 3 * THREADS}
                list(pool.map(thrice, [meter.stream_ended] * THREADS))
                assert told() == {}
