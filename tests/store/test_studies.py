"""When a study is all here."""

import threading

from radloop.core.identity import OWNER
from radloop.core.tables import IMAGE_SETS
from tests.store.house import House, phantom
from tests.store.test_search import person


def received(house: House) -> list[tuple[int, int, int]]:
    told = [each.event for each in house.bus.events() if each.event.detail_type == "StudyReceived"]
    return [(e.detail["version"], e.detail["image_sets"], e.detail["instances"]) for e in told]


def test_a_quiet_study_is_received_once_with_all_its_series_closed(house: House) -> None:
    house.land(person(0), person(0, series=1), person(0, series=1, instance=1))
    assert house.images.complete_quiet_studies(3600, by=OWNER) == []
    (key,) = house.images.complete_quiet_studies(0, by=OWNER)
    assert house.images.complete_quiet_studies(0, by=OWNER) == []
    assert house.images.complete_study(key, by=OWNER).version == 1
    assert received(house) == [(1, 2, 3)]
    assert house.told().count("ImageIngested") == 2
    assert all(
        house.images.get(name).is_closed for name in house.images.studies.image_sets(house.images.studies.get(key))
    )


def test_a_late_instance_makes_the_next_version(house: House) -> None:
    house.land(person(0))
    house.images.complete_quiet_studies(0, by=OWNER)
    house.land(person(0, series=1))
    house.land(person(0, series=1))  # a duplicate opens nothing
    house.images.complete_quiet_studies(0, by=OWNER)
    house.land(person(0))
    house.images.complete_quiet_studies(0, by=OWNER)
    assert received(house) == [(1, 1, 1), (2, 2, 2)]


def test_many_threads_that_open_series_of_one_study_lose_no_count(house: House) -> None:
    threads = [threading.Thread(target=house.land, args=(person(0, series=number),)) for number in range(12)]
    threads += [threading.Thread(target=house.land, args=(person(0, series=0, instance=n),)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (key,) = house.images.complete_quiet_studies(0, by=OWNER)
    study = house.images.studies.get(key)
    assert (study.series, study.instances, study.is_open) == (12, 16, False)


def test_the_same_study_under_two_patients_is_two_studies(house: House) -> None:
    house.land(person(0), person(0, PatientID="P9", SOPInstanceUID="1.9.9"))
    assert len(house.images.complete_quiet_studies(0, by=OWNER)) == 2
    sets = [house.images.get(row.key) for row in house.records.find(IMAGE_SETS)]
    assert sorted(each.is_primary for each in sets) == [False, True]


def test_phantoms_are_studies_too(house: House) -> None:
    house.land(*phantom())
    (key,) = house.images.complete_quiet_studies(0, by=OWNER)
    assert house.images.studies.get(key).instances == 4
