"""From a file to an image set: one import job a study, and what it made is taken up once."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from radloop.aws import assembly
from radloop.aws.assembly import Batch, batch_of
from radloop.core.errors import NotFound
from radloop.core.identity import OWNER, SYSTEM, Principal
from radloop.core.images import State
from radloop.core.ports import Row, Upload
from radloop.core.tables import ASSEMBLIES, BATCHES, IMAGE_SETS, QUARANTINE, STUDIES
from radloop.dicom.parse import parse
from tests.aws.arriving import QUIET_S, Arriving, arriving
from tests.store.house import of_patient, open_house, phantom


@pytest.fixture
def house(tmp_path: Path, healthimaging_url: str, ministack: str) -> Iterator[Arriving]:
    with arriving(tmp_path, healthimaging_url, ministack) as opened:
        yield opened


def land(house: Arriving, *files: bytes, by: Principal = SYSTEM) -> list[str]:
    return [landing.outcome for landing in house.images.land([Upload(file) for file in files], by=by)]


def imported(house: Arriving) -> list[str]:
    """Let the study fall quiet, import it, and take up what every job made; ids of the jobs."""
    house.clock.turn(QUIET_S + 1)
    house.look()
    jobs = [str(job["jobId"]) for job in house.ended()]
    for job in jobs:
        house.images.take_up(job, by=SYSTEM)
    return jobs


def image_set(house: Arriving) -> str:
    (row,) = house.records.find(IMAGE_SETS)
    return row.key


def test_a_study_becomes_one_import_job_and_an_image_set_that_is_told_of_once(house: Arriving) -> None:
    files = phantom()
    assert land(house, *files[:2]) == ["ingested", "ingested"]
    assert land(house, *files[2:]) == ["ingested", "ingested"]
    house.look()
    assert house.started() == 0  # somebody is still sending
    (job,) = imported(house)
    found = house.images.get(image_set(house))
    assert (found.state, found.is_closed, found.version) == (State.INGESTED, True, 1)
    assert (found.instances, found.frames, found.landed, found.kept) == (4, 4, 0, 0)
    assert found.geometry["slice_spacing_mm"] is not None
    assert house.told() == ["ImageIngested", "StudyReceived"]
    house.images.take_up(job, by=SYSTEM)  # the event came twice
    house.look()
    assert house.told() == ["ImageIngested", "StudyReceived"]
    assert house.started() == 1


def test_originals_stay_as_they_came_and_staged_files_go(house: Arriving) -> None:
    land(house, *phantom())
    imported(house)
    assert house.keys("training-data", "import/") == []
    kept = [house.images.export(instance) for instance in house.images.instances(image_set(house))]
    assert kept == list(phantom())


def test_the_volume_is_the_one_our_own_store_makes_of_the_same_files(house: Arriving, tmp_path: Path) -> None:
    land(house, *reversed(phantom()))
    imported(house)
    ours = house.images.get(image_set(house))
    (tmp_path / "house").mkdir()
    with open_house(tmp_path / "house") as other:
        theirs = other.land_one_set(*phantom())
        closed = other.images.complete(theirs, by=OWNER)
        assert ours.geometry == closed.geometry
        assert dict(ours.attributes) == dict(closed.attributes)
        np.testing.assert_array_equal(house.images.volume(ours.id), other.images.volume(theirs))


def test_late_objects_start_the_next_job_and_the_next_version(house: Arriving) -> None:
    files = phantom()
    land(house, *files[:3])
    imported(house)
    land(house, files[3])
    assert len(imported(house)) == 2
    found = house.images.get(image_set(house))
    assert (found.version, found.instances) == (2, 4)
    assert house.told() == ["ImageIngested", "StudyReceived"] * 2
    (study,) = house.records.find(STUDIES)
    assert (study.columns["instances"], study.document["version"]) == (4, 2)


def test_two_studies_are_two_jobs(house: Arriving) -> None:
    land(house, *phantom(), *of_patient(7))
    imported(house)
    assert house.started() == 2
    assert house.records.count(IMAGE_SETS) == 2


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_study_of_very_many_objects_from_several_senders_starts_one_job(house: Arriving, count: int) -> None:
    template = phantom(slices=1, size=64)[0]
    uid = _sop_uid(template)
    files = [template.replace(uid, _numbered(uid, number)) for number in range(count)]
    with ThreadPoolExecutor(4) as senders:
        tens = (files[first : first + 10] for first in range(0, count, 10))
        assert {outcome for landed in senders.map(lambda ten: land(house, *ten), tens) for outcome in landed} == {
            "ingested"
        }
    house.clock.turn(QUIET_S + 1)
    house.look()
    assert house.started() == 1
    (batch,) = house.records.find(BATCHES)
    assert batch.document["files"] == len(files)


@pytest.mark.parametrize("quota", ["MOST_FILES", "LARGEST_IMPORT"])
def test_a_study_above_what_one_job_takes_is_several_jobs_and_one_image_set(
    house: Arriving, quota: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = phantom(slices=8)
    monkeypatch.setattr(assembly, quota, {"MOST_FILES": 3, "LARGEST_IMPORT": int(len(files[0]) * 3.5)}[quota])
    assert set(land(house, *files[:2])) == {"ingested"}
    house.look()
    assert house.started() == 0  # there is room for more
    assert set(land(house, *files[2:])) == {"ingested"}
    house.look()
    full = house.started()
    assert full >= 2  # what is full waits for nobody
    assert len(imported(house)) == house.started() > full
    batches = [house.assembly.arrivals(Batch(row.document["study"], row.document["number"])) for row in all_of(house)]
    assert max(map(len, batches)) <= 3
    assert sum(map(len, batches)) == len(files)
    found = house.images.get(image_set(house))
    assert (found.instances, found.is_closed) == (8, True)
    assert [house.images.export(each) for each in house.images.instances(found.id)] == list(files)


def all_of(house: Arriving) -> list[Row]:
    return list(house.records.find(BATCHES))


def test_the_same_file_again_is_a_duplicate_and_starts_nothing(house: Arriving) -> None:
    land(house, *phantom())
    assert set(land(house, *phantom())) == {"duplicate"}
    imported(house)
    assert set(land(house, *phantom())) == {"duplicate"}
    imported(house)
    assert house.started() == 1


def test_what_is_said_to_be_complete_is_not_waited_for(house: Arriving) -> None:
    land(house, *phantom())
    (study,) = {found.study for found in house.assembly.arrivals(batch(house)).values()}
    house.images.complete_study(study, by=OWNER)
    house.look()
    assert house.started() == 1
    with pytest.raises(NotFound):
        house.images.complete_study("0" * 32, by=OWNER)


def test_junk_goes_to_quarantine_with_its_reason_and_holds_nobody_up(house: Arriving) -> None:
    assert land(house, phantom()[0], b"junk", phantom()[1]) == ["ingested", "quarantined", "ingested"]
    (row,) = house.records.find(QUARANTINE)
    assert row.document["code"] == "not-dicom"
    assert house.told() == ["ImageQuarantined"]
    assert sorted(key.rpartition("/")[2] for key in house.keys("training-data", "quarantine/")) == [
        "file.sealed",
        "reason.json",
    ]


def test_a_sender_adds_nothing_to_patients_who_are_not_theirs(house: Arriving) -> None:
    other = Principal("somebody", frozenset({"reader"}), patients=frozenset({"nobody"}))
    assert land(house, phantom()[0], by=other) == ["quarantined"]
    (row,) = house.records.find(QUARANTINE)
    assert row.document["code"] == "out-of-scope"


def test_a_crash_between_closing_and_starting_is_made_good_by_the_next_look(
    house: Arriving, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(house, *phantom())
    house.clock.turn(QUIET_S + 1)
    with monkeypatch.context() as broken:
        broken.setattr(house.assembly, "_role_arn", "")  # HealthImaging refuses
        with pytest.raises(Exception, match="medical-imaging"):
            house.look()
    assert house.started() == 1
    (row,) = house.records.find(BATCHES)
    assert row.columns["state"] == "CLOSED"
    house.assembly.look(row.document["study"], row.document["number"])
    house.assembly.look(row.document["study"], row.document["number"])
    assert house.started() == 2
    assert len(house.ended()) == 1


def test_a_look_that_got_lost_is_asked_for_again_after_an_hour(house: Arriving) -> None:
    land(house, *phantom())
    house.database.write(lambda connection: connection.execute("DELETE FROM jobs"))
    assert house.assembly.overdue() == 0
    house.clock.turn(3601)
    assert house.assembly.overdue() == 1
    house.assembly.overdue()
    house.look()
    assert house.started() == 1


def test_a_job_that_has_not_ended_or_is_not_ours_makes_nothing(house: Arriving) -> None:
    foreign = house.imaging.inner.start_dicom_import_job(
        datastoreId=house.datastore,
        dataAccessRoleArn="arn:aws:iam::000000000000:role/import",
        inputS3Uri=f"s3://{house.buckets['archive']}/elsewhere/",
        outputS3Uri=f"s3://{house.buckets['training-data']}/elsewhere/",
    )["jobId"]
    house.ended()
    assert house.images.take_up(foreign, by=SYSTEM) is None
    assert batch_of("s3://training-data/in1/") is None
    assert house.told() == []


def test_an_import_that_fails_as_a_whole_is_tried_three_times_and_then_told(house: Arriving) -> None:
    house.imaging.replaced = {"outputS3Uri": "s3://nowhere-that-exists/out/"}
    land(house, *phantom())
    house.clock.turn(QUIET_S + 1)
    for attempt in range(1, 4):
        house.look()
        failed = {str(job["jobId"]) for job in house.ended()}
        assert (house.started(), len(failed)) == (attempt, attempt)
        for job in failed:
            assert house.images.take_up(job, by=SYSTEM) is None
    house.look()
    assert house.started() == 3
    (row,) = house.records.find(BATCHES)
    assert row.columns["state"] == "FAILED"
    assert house.told() == ["AlarmStateChanged"]
    assert len(house.keys("archive")) == len(phantom())


def test_no_file_name_or_patient_stands_in_any_key_or_job(house: Arriving) -> None:
    land(house, *phantom())
    imported(house)
    keys = house.keys("training-data") + house.keys("archive")
    jobs = json.dumps(house.ended(), default=str)
    assert keys
    assert "PHANTOM" not in json.dumps(keys) + jobs


def batch(house: Arriving) -> Batch:
    (row,) = house.records.find(ASSEMBLIES)
    return Batch(row.key, row.document["batch"])


def _sop_uid(file: bytes) -> bytes:
    return parse(file).sop_uid.encode()


def _numbered(uid: bytes, number: int) -> bytes:
    return uid[:-4] + f"{number:04d}".encode()
