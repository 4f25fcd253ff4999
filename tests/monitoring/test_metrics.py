"""What is measured is in the contract, right, and tells nothing of a patient."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from radloop.core.errors import RadloopError
from radloop.core.events import CATALOGUE, AlarmStateChanged
from radloop.core.images import State, Storage
from radloop.core.ports import Change, Job, ModelVersion, Put, StepRun
from radloop.core.predictions import Observation, put_observation
from radloop.core.settings import Settings
from radloop.core.tables import ALARMS, DRIFT, EXECUTIONS, INSTANCES, QUARANTINE
from radloop.functions.catalogue import FUNCTIONS
from radloop.monitoring.alarms import load_alarms
from radloop.monitoring.associations import AssociationMeter
from radloop.monitoring.metrics import EXECUTION_STATES, LANES, Meter, Sample, collect, exposition, load_metrics
from tests.functions.house import CONTRACTS, House

CATALOGUE_OF_METRICS = load_metrics((CONTRACTS / "metrics.json").read_text())
PATIENTS = ["Doe^Jane", "DOE", "Jane", "PHANTOM-0001", "123456", "A1", "1.2.840.113619.2", "19700101", "", "mrn-1"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House.build(
        tmp_path, Settings(storage_budget_gigabytes=10.0, compute_dollars_per_hour=1.5, compute_price_source="a test")
    )
    yield built
    built.database.close()


@pytest.fixture
def meter() -> Meter:
    return Meter(CATALOGUE_OF_METRICS, ["GetImageFrame", "SearchImageSets"])


def busy(house: House) -> House:
    """A house in which everything that is measured has happened."""
    house.store("A", original_bytes=1_500_000_000, stored_bytes=600_000_000, prediction={"model_version": 1})
    house.store("B", original_bytes=500_000_000, stored_bytes=500_000_000, kept=1)
    house.verify("C", present=True)
    instances = ["folded", "folded", "kept"] * 3
    quarantined = "not-dicom"
    start = house.clock()
    house.engine.start("e1", {})
    house.engine.end(
        "e1",
        ended_at=(start + timedelta(minutes=9)).isoformat(),
        progress={"event": "epoch", "epoch": 3, "seconds": 12.5, "cpu_percent": 87.5, "gpu_percent": 40.0},
        steps=(
            StepRun(
                "Preprocess", "Processing", "Succeeded", start.isoformat(), (start + timedelta(seconds=40)).isoformat()
            ),
        ),
    )
    house.platform.records.commit(
        Change(
            writes=[
                *(
                    Put(INSTANCES, f"i{number}", {}, {"storage": storage, "image_set": "s"})
                    for number, storage in enumerate(instances)
                ),
                Put(QUARANTINE, "q", {}, {"reason": quarantined, "digest": "d"}),
                Put(EXECUTIONS, "e1", {}, {"state": "Succeeded"}),
            ],
            events=[AlarmStateChanged("a", "ALARM", "c").told(at=start)],
            jobs=[Job(id="j", lane="fold", kind="fold", payload={})],
        )
    )
    metrics = {name: {"value": 0.9} for name in ("accuracy", "precision", "recall", "f1", "roc_auc")}
    for number, approved in enumerate([True, True, False], start=1):
        house.platform.models.register(execution=f"e{number}", artifact="x", metrics=metrics, lineage={})
        house.platform.models.decide(number, approved=approved, by="chief")
    answered(house, 2, "champion", probabilities=[0.2, 0.9, 0.4])
    answered(house, 1, "shadow", probabilities=[0.1, 0.8, 0.6], refused=[None, None, "out-of-distribution"])
    looks = [{"monitor": "embedding", "chance": 1e-3}, {"monitor": "labels", "chance": 0.5}]
    watched = {
        "alarms": {"drift-inputs": {"is_on": True}},
        "examinations": [{"looks": looks, "level": 1e-6}],
        "labelled": [[str(number), number % 10 != 0, 0.9] for number in range(100)],
    }
    on = Put(ALARMS, "audit-lag", {"is_on": True})
    house.platform.records.commit(Change(writes=[Put(DRIFT, "v2", watched), on]))
    return house


def answered(
    house: House, version: int, role: str, *, probabilities: list[float], refused: list[str | None] | None = None
) -> None:
    """Answers of a model version, a second each."""
    rows = [
        put_observation(
            Observation(
                image_set=str(number),
                version=1,
                images="1-1-1",
                model_version=version,
                role=role,
                patient=f"p{number}",
                probability=probability,
                threshold=0.5,
                refused=None if refused is None else refused[number],
                seconds=number + 1.0,
                tags={},
                embedding=b"",
                statistics=b"",
                at=house.clock().isoformat(),
            )
        )
        for number, probability in enumerate(probabilities)
    ]
    house.platform.records.commit(Change(writes=rows))


def values(samples: list[Sample], name: str) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in samples if sample.name == name}


def exposed(meter: Meter, house: House) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Series by the catalogue's name; a histogram's parts under the name of the whole."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(exposition(meter, house.platform).decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = [
            (sample.labels, sample.value) for sample in family.samples if not sample.name.endswith("_created")
        ]
    return {name: series for name, series in found.items() if not name.endswith("_created")}


def with_shadow(real: Callable[[object], list[ModelVersion]]) -> Callable[[object], list[ModelVersion]]:
    """Version 1 under the alias `shadow`."""
    return lambda models: [
        replace(each, aliases=(*each.aliases, "shadow")) if each.version == 1 else each for each in real(models)
    ]


def test_what_is_exposed_is_what_the_contract_lists(
    house: House, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.answered("GetImageFrame", 10)
    meter.frames_retrieved(0.02)
    monkeypatch.setattr(type(house.platform.models), "versions", with_shadow(type(house.platform.models).versions))
    of_dimse = {f"{family.name}_total" for family in AssociationMeter(CATALOGUE_OF_METRICS).registry.collect()}
    assert set(exposed(meter, busy(house))) == set(CATALOGUE_OF_METRICS) - of_dimse
    assert of_dimse == {name for name in CATALOGUE_OF_METRICS if name.startswith("radloop_dimse_")}


def test_every_exposed_label_is_one_the_contract_admits(house: House, meter: Meter) -> None:
    meter.answered("GetImageFrame", 10)
    for name, series in exposed(meter, busy(house)).items():
        admitted = dict(CATALOGUE_OF_METRICS[name].labels)
        if CATALOGUE_OF_METRICS[name].kind == "histogram":
            admitted["le"] = ".*"
        for labels, _ in series:
            assert labels.keys() <= admitted.keys()
            assert all(re.fullmatch(admitted[label], value) for label, value in labels.items()), name


def test_no_label_can_carry_an_id_of_a_patient() -> None:
    for metric in CATALOGUE_OF_METRICS.values():
        for admitted in metric.labels.values():
            assert [patient for patient in PATIENTS if re.fullmatch(admitted, patient)] == []


def test_a_value_the_contract_does_not_admit_is_told_as_other(house: House, meter: Meter) -> None:
    leaky = {"model_version": "Doe^Jane"}
    house.store("A", prediction=leaky)
    house.store("B", prediction={"model_version": "Roe^John"})
    meter.answered("Doe^Jane", 5)
    text = exposition(meter, house.platform).decode()
    assert "Jane" not in text
    assert "John" not in text
    assert 'radloop_model_predictions{version="other"} 2.0' in text
    assert 'radloop_api_calls_total{operation="other"} 1.0' in text


def test_labels_know_every_word_of_the_house() -> None:
    def words(name: str, label: str) -> set[str]:
        return set(CATALOGUE_OF_METRICS[name].labels[label].split("|"))

    def codes(root: type[RadloopError]) -> set[str]:
        """Of the one page of errors; a room's own are no reasons for quarantine."""
        below = [kind for kind in root.__subclasses__() if kind.__module__ == RadloopError.__module__]
        return {root.code}.union(*map(codes, below))

    ours = {code for code in codes(RadloopError) if code}
    assert words("radloop_image_sets", "state") == {str(state) for state in State}
    assert words("radloop_instances", "storage") == {str(storage) for storage in Storage}
    assert words("radloop_jobs_waiting", "lane") == words("radloop_dead_letters", "lane") == set(LANES)
    assert words("radloop_executions", "state") == set(EXECUTION_STATES)
    assert words("radloop_events_told_total", "type") == {kind.__name__ for kind in CATALOGUE} | {"other"}
    assert words("radloop_quarantined_files", "reason") == ours | {"other"}
    assert words("radloop_function_runs_total", "function") >= {*FUNCTIONS, "other"}
    alarms = load_alarms((CONTRACTS / "alarms.json").read_text())
    assert words("radloop_alarm", "alarm") == {alarm.name for alarm in alarms}


def test_every_row_says_what_it_is() -> None:
    for metric in CATALOGUE_OF_METRICS.values():
        assert metric.kind in {"gauge", "counter", "histogram"}
        assert metric.help.endswith(".")
        assert metric.unit
        assert (metric.kind == "counter") is metric.name.endswith("_total")
        assert all(re.fullmatch(r"M[123]\.\d", line) for line in filter(None, metric.dashboard.split(", ")))


def test_bytes_and_ratio_follow_the_image_sets(house: House) -> None:
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_ingested_gigabytes") == {(): pytest.approx(2.000001)}
    assert values(samples, "radloop_stored_bytes") == {(): 1_100_000_450}
    assert values(samples, "radloop_htj2k_ratio_percent") == {(): pytest.approx(40, abs=1e-3)}
    assert values(samples, "radloop_image_sets") == {("INGESTED",): 2, ("VERIFIED",): 1, ("REJECTED",): 0}


def test_nine_good_files_and_a_bad_one_are_90_percent(house: House) -> None:
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_data_quality_percent") == {(): 90}
    assert values(samples, "radloop_quarantined_files") == {("not-dicom",): 1}


def test_two_of_three_approved_models_are_two_thirds(house: House) -> None:
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_model_approval_percent") == {(): pytest.approx(66.7, abs=0.05)}
    assert values(samples, "radloop_model_accuracy") == {("v1",): 0.9, ("v2",): 0.9, ("v3",): 0.9}


def test_answers_are_counted_by_version_with_their_times(house: House) -> None:
    samples = collect(busy(house).platform)
    found = values(samples, "radloop_model_answers")
    assert (found["v1", "judged"], found["v1", "refused"], found["v2", "judged"]) == (2, 1, 3)
    assert values(samples, "radloop_model_answer_seconds")["v2", "0.5"] == 2
    assert values(samples, "radloop_model_answer_seconds")["v2", "0.95"] == 3


def test_champion_and_shadow_are_compared_on_what_both_have_judged(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(house.platform.models), "versions", with_shadow(type(house.platform.models).versions))
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_shadow_agreement_percent") == {(): pytest.approx(100 * 2 / 3)}
    assert values(samples, "radloop_shadow_difference_mean") == {(): pytest.approx((0.1 + 0.1 + 0.2) / 3)}


def test_drift_is_told_of_the_version_in_use(house: House) -> None:
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_drift_alarm")["drift-inputs",] == 1
    assert values(samples, "radloop_drift_alarm")["drift-labels",] == 0
    assert values(samples, "radloop_drift_surprise")["embedding",] == pytest.approx(3)


def test_durations_are_those_of_the_runs(house: House) -> None:
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_execution_minutes_mean") == {(): 9}
    assert values(samples, "radloop_training_seconds_per_epoch") == {(): 12.5}
    assert values(samples, "radloop_preprocessing_seconds") == {(): 40}
    assert values(samples, "radloop_executions")[("Succeeded",)] == 1


def test_what_later_steps_tell_does_not_hide_what_an_epoch_took(house: House) -> None:
    house.engine.start("e1", {})
    history = [{"epoch": 1, "seconds": 9.0, "cpu_percent": 50.0}, {"epoch": 2, "seconds": 8.0, "cpu_percent": 61.5}]
    house.engine.end("e1", progress={"step": "Evaluate", "history": history})
    samples = collect(house.platform)
    assert values(samples, "radloop_training_seconds_per_epoch") == {(): 8}
    assert values(samples, "radloop_training_cpu_percent") == {(): 61.5}
    assert values(samples, "radloop_training_gpu_percent") == {}  # no series where there is none


def run_of(house: House, name: str, *, seconds: int, state: str = "Succeeded") -> None:
    """A run of an hour whose step Train took so long."""
    begun = house.clock()
    house.engine.start(name, {})
    train = StepRun("Train", "Training", state, begun.isoformat(), (begun + timedelta(seconds=seconds)).isoformat())
    house.clock.wait(3600)
    house.engine.end(name, steps=(train, StepRun("Gate", "Condition", "Succeeded")), state=state)


def test_a_training_costs_its_seconds_times_the_price(house: House) -> None:
    run_of(house, "e1", seconds=1200)
    assert values(collect(house.platform), "radloop_training_cost_dollars") == {(): pytest.approx(0.5)}


def test_a_failed_training_is_told_until_one_succeeds(house: House) -> None:
    found = []
    for name, state in (("e1", "Succeeded"), ("e2", "Failed"), ("e3", "Succeeded")):
        run_of(house, name, seconds=60, state=state)
        found += values(collect(house.platform), "radloop_training_failed").values()
    assert found == [0, 1, 0]


def test_runs_of_the_last_day_are_counted(house: House) -> None:
    for number in range(3):
        run_of(house, f"e{number}", seconds=60)
    assert values(collect(house.platform), "radloop_executions_last_day") == {(): 3}
    house.clock.wait(22.5 * 3600)
    assert values(collect(house.platform), "radloop_executions_last_day") == {(): 1}


def test_time_to_deployment_is_from_registration_to_the_first_service(house: House) -> None:
    for number, hours in ((1, 2), (2, 4)):
        house.platform.models.register(execution=f"e{number}", artifact="x", metrics={}, lineage={})
        house.clock.wait(hours * 3600)
        house.platform.models.decide(number, approved=True, by="chief")
    house.platform.models.roll_back(by="chief", reason="drift")  # the first serves again, which is no deployment
    assert values(collect(house.platform), "radloop_deployment_hours_mean") == {(): pytest.approx(3)}


def test_the_drift_score_is_the_nearest_monitor_per_limit_and_shift_raises_it(house: House) -> None:
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_drift_score") == {(): pytest.approx(0.5)}
    looks = [{"monitor": "embedding", "chance": 1e-12}]
    row = house.platform.records.get(DRIFT, "v2")
    assert row is not None
    seen = [*row.document["examinations"], {"looks": looks, "level": 1e-6}]
    house.platform.records.commit(Change(writes=[Put(DRIFT, "v2", {**row.document, "examinations": seen})]))
    assert values(collect(house.platform), "radloop_drift_score") == {(): pytest.approx(2)}


def test_accuracy_on_what_was_read_has_an_interval_and_waits_for_25(house: House) -> None:
    found = values(collect(busy(house).platform), "radloop_champion_accuracy")
    assert found["value",] == pytest.approx(0.9)
    assert found["low",] == pytest.approx(0.8256, abs=1e-3)
    assert found["high",] == pytest.approx(0.9448, abs=1e-3)


def test_the_budget_is_held_against_what_is_stored(house: House) -> None:
    assert values(collect(busy(house).platform), "radloop_storage_budget_percent") == {(): pytest.approx(11, abs=0.01)}


def test_jobs_and_dead_letters_are_told_by_lane(house: House) -> None:
    samples = collect(busy(house).platform)
    assert values(samples, "radloop_jobs_waiting")[("fold",)] == 1
    claim = house.platform.jobs.claim("fold")
    assert claim is not None
    house.platform.jobs.failed(replace(claim, tries=8), "unavailable")
    samples = collect(house.platform)
    assert values(samples, "radloop_jobs_waiting")[("fold",)] == 0
    assert values(samples, "radloop_dead_letters") == {(lane,): 1 if lane == "fold" else 0 for lane in LANES}


def test_where_another_service_holds_the_pixels_no_bytes_are_told_rather_than_none(house: House) -> None:
    house.store("A", original_bytes=0, stored_bytes=0)
    names = {sample.name for sample in collect(house.platform)}
    assert "radloop_image_sets" in names
    assert not names & {"radloop_original_bytes", "radloop_ingested_gigabytes", "radloop_stored_bytes"}
    assert not names & {"radloop_htj2k_ratio_percent", "radloop_storage_budget_percent"}


def test_an_empty_house_has_no_ratio_rather_than_a_wrong_one(house: House) -> None:
    names = {sample.name for sample in collect(house.platform)}
    told = {name for name in names if name.endswith("_percent") or "mean" in name or "seconds" in name}
    assert told == {"radloop_storage_budget_percent"}  # of a budget that is there, nothing is used
    assert not names & {"radloop_champion_accuracy", "radloop_drift_score", "radloop_training_cost_dollars"}


def test_events_are_counted_once_however_often_one_asks(house: House, meter: Meter) -> None:
    for number in range(3):
        told = AlarmStateChanged("a", "ALARM", f"c{number}").told(at=house.clock())
        house.platform.records.commit(Change(events=[told]))
        for _ in range(2):
            assert meter.events_told(house.platform.bus)["AlarmStateChanged"] == number + 1


def test_one_slow_frame_moves_the_tail_and_bytes_are_those_answered(house: House, meter: Meter) -> None:
    for _ in range(99):
        meter.frames_retrieved(0.004)
        meter.answered("GetImageFrame", 1000)
    meter.frames_retrieved(1.8)
    meter.answered("SearchImageSets", 7)
    text = exposition(meter, house.platform).decode()
    assert 'radloop_frame_retrieval_seconds_bucket{le="0.005"} 99.0' in text
    assert 'radloop_frame_retrieval_seconds_bucket{le="1.0"} 99.0' in text
    assert "radloop_frame_retrieval_seconds_count 100.0" in text
    assert 'radloop_api_bytes_total{operation="GetImageFrame"} 99000.0' in text
    assert 'radloop_api_calls_total{operation="SearchImageSets"} 1.0' in text


@pytest.mark.parametrize(
    "operation", ["GetDICOMInstance", "getFrame", "describe", "storeInstances", "decideOnModel", "UntagResource"]
)
def test_operations_of_every_door_have_names_the_contract_admits(operation: str) -> None:
    Meter(CATALOGUE_OF_METRICS, [operation])


def test_two_meters_do_not_share_anything(house: House, meter: Meter) -> None:
    meter.answered("GetImageFrame", 1)
    other = Meter(CATALOGUE_OF_METRICS, ["GetImageFrame"])
    assert 'operation="GetImageFrame"' not in exposition(other, house.platform).decode()
