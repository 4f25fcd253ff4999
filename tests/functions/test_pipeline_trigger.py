"""When a retraining starts, and on what."""

import hashlib
import json
from dataclasses import fields, replace
from datetime import timedelta

import pytest

from radloop.core.datasets import Example, Split, split_of
from radloop.core.events import Event, PipelineEnded
from radloop.functions.pipeline_trigger import handle, retraining_status
from tests.functions.house import House, patients_in

DELAY_S = 30.0


def ended(house: House, execution: str) -> Event:
    return PipelineEnded(execution=execution, status="Succeeded", reason="").told(at=house.clock())


def only_run(house: House) -> str:
    (run,) = house.engine.runs
    return run


def test_enough_ground_truth_starts_one_run_on_its_snapshot(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    run = house.engine.get(only_run(house))
    snapshot = run.parameters["Snapshot"]
    assert run.parameters["DatasetUri"] == f"s3://training-data/snapshots/{snapshot}"
    assert run.parameters["AccuracyThreshold"] == 0.85
    assert run.parameters["epochs"] == "3"
    assert all(isinstance(value, str | float) for value in run.parameters.values())
    assert house.told("PipelineTriggered") == [{"execution": run.id, "snapshot": snapshot, "studies": 1}]


def test_the_manifest_is_canonical_and_names_no_patient(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    snapshot = house.engine.get(only_run(house)).parameters["Snapshot"]
    manifest = house.platform.blobs.get(f"training-data/snapshots/{snapshot}/manifest.jsonl")
    assert hashlib.sha256(manifest).hexdigest() == snapshot
    lines = [json.loads(line) for line in manifest.splitlines()]
    assert len(lines) == 18
    assert [line["image_set"] for line in lines] == sorted(line["image_set"] for line in lines)
    assert set(lines[0]) == {field.name for field in fields(Example)}
    for line in lines:
        image_set = house.image_set(line["image_set"])
        assert line["file"] == f"images/{image_set.id}.npy"
        assert line["split"] == split_of(image_set.patient_id)
        assert line["label"] == int(image_set.patient_id.startswith("P"))
        assert line["version"] == image_set.version == 2
        assert line["patient"] == house.platform.keys.pseudonym(image_set.patient_id)
        assert image_set.patient_id.encode() not in manifest
    assert b"Doe" not in manifest


def test_the_same_event_again_starts_nothing_more(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    for _ in range(3):
        handle(last, house.platform)
    house.engine.end(only_run(house))
    handle(last, house.platform)
    handle(ended(house, only_run(house)), house.platform)
    assert len(house.engine.runs) == 1
    assert len(house.told("PipelineTriggered")) == 1


def test_a_burst_of_verifications_makes_one_run(house: House) -> None:
    due = [(house.clock.now + timedelta(seconds=DELAY_S), house.verify_enough())]
    patients = patients_in(Split.TRAIN, 20, "Burst")
    runs_at_delivery = []
    for _ in range(60):
        house.clock.wait(10)
        if patients:
            event = house.verify(patients.pop(), present=True)
            due.append((house.clock.now + timedelta(seconds=DELAY_S), event))
        while due and due[0][0] <= house.clock.now:
            handle(due.pop(0)[1], house.platform)
            runs_at_delivery.append(len(house.engine.runs))
    assert runs_at_delivery == [0] * 20 + [1]
    (run,) = house.engine.runs.values()
    manifest = house.platform.blobs.get(f"{run.parameters['DatasetUri'].removeprefix('s3://')}/manifest.jsonl")
    assert len(manifest.splitlines()) == 18 + 20


def test_the_newest_findings_own_delivery_starts_even_when_the_clock_was_set_back(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(-3600)
    handle(last, house.platform)
    assert len(house.engine.runs) == 1


def test_readers_who_never_pause_do_not_hold_retraining_up_for_ever(house: House) -> None:
    first = house.verify_enough()
    started_after = None
    for number, patient in enumerate(patients_in(Split.TRAIN, 120, "Endless")):
        house.clock.wait(10)
        house.verify(patient, present=True)
        handle(first, house.platform)
        if house.engine.runs:
            started_after = 10 * (number + 1)
            break
    assert started_after == 900


def test_what_was_trained_on_does_not_count_as_waiting(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    house.engine.end(only_run(house))
    house.clock.wait(100_000)
    house.verify("Late-1", present=True)
    house.clock.wait(1)
    handle(last, house.platform)
    assert len(house.engine.runs) == 1


def test_nothing_starts_while_a_run_is_on_and_its_end_looks_again(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    first = only_run(house)
    late = house.verify("Late-1", present=True)
    house.clock.wait(DELAY_S)
    handle(late, house.platform)
    assert list(house.engine.runs) == [first]
    house.engine.end(first)
    handle(ended(house, first), house.platform)
    assert len(house.engine.runs) == 2


def test_a_run_that_ends_in_the_quiet_time_leaves_the_start_to_the_last_verification(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    first = only_run(house)
    late = house.verify("Late-1", present=True)
    house.clock.wait(DELAY_S / 2)
    house.engine.end(first)
    handle(ended(house, first), house.platform)
    assert list(house.engine.runs) == [first]
    house.clock.wait(DELAY_S / 2)
    handle(late, house.platform)
    assert len(house.engine.runs) == 2


def test_a_failed_run_is_not_started_again_on_the_same_data(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    house.engine.end(only_run(house), state="Failed")
    handle(ended(house, only_run(house)), house.platform)
    assert len(house.engine.runs) == 1


def test_too_little_ground_truth_is_told_once_and_starts_nothing(house: House) -> None:
    event = house.verify("Alone", present=True)
    house.clock.wait(DELAY_S)
    handle(event, house.platform)
    handle(event, house.platform)
    assert not house.engine.runs
    ((deferred),) = house.told("RetrainingDeferred")
    assert deferred["reason"] == "too-few-verified"


def test_many_image_sets_of_one_patient_are_not_many_patients(house: House) -> None:
    for split in Split:
        for present, prefix in ((True, "P"), (False, "N")):
            (patient,) = patients_in(split, 1, prefix)
            for number in range(3):
                event = house.verify(patient, present=present, number=number)
    house.clock.wait(DELAY_S)
    handle(event, house.platform)
    assert not house.engine.runs


def test_without_any_ground_truth_nothing_happens(house: House) -> None:
    house.store("Unread")
    handle(ended(house, "x" * 32), house.platform)
    assert not house.engine.runs
    assert not house.told("RetrainingDeferred")


def test_another_threshold_or_recipe_is_another_execution(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    first = only_run(house)
    house.engine.runs.clear()
    handle(last, replace(house.platform, recipe=lambda: {"epochs": "4"}))
    assert only_run(house) != first
    house.engine.runs.clear()
    handle(last, replace(house.platform, settings=replace(house.platform.settings, accuracy_threshold=0.9)))
    assert only_run(house) != first


def test_the_status_tells_what_is_missing(house: House) -> None:
    assert retraining_status(house.platform)["state"] == "idle"
    (patient,) = patients_in(Split.TEST, 1, "P")
    house.verify(patient, present=True)
    status = retraining_status(house.platform)
    assert status["state"] == "collecting"
    assert (status["verified"], status["new_since_last"]) == (1, 1)
    assert status["needed"]["test"] == {"absent": 3, "present": 2}
    assert "2 with pneumonia in test" in status["sentence"]


def test_the_status_follows_a_run_from_waiting_to_idle(house: House) -> None:
    last = house.verify_enough()
    status = retraining_status(house.platform)
    assert (status["state"], status["needed"]) == ("collecting", {})
    assert "30 seconds" in status["sentence"]
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    assert retraining_status(house.platform)["state"] == "running"
    house.engine.end(only_run(house))
    status = retraining_status(house.platform)
    assert (status["state"], status["verified"], status["new_since_last"]) == ("idle", 18, 0)


@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_manifest_only_makes_everything_count_as_new(house: House, lost: bool) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    house.engine.end(only_run(house))
    if lost:
        house.platform.blobs.delete(next(house.platform.blobs.keys("training-data/snapshots/")))
    assert retraining_status(house.platform)["new_since_last"] == (18 if lost else 0)


def test_a_new_recipe_alone_starts_no_run_on_ground_truth_that_was_trained_on(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    house.engine.end(only_run(house))
    handle(last, replace(house.platform, recipe=lambda: {"epochs": "4"}))
    assert len(house.engine.runs) == 1
