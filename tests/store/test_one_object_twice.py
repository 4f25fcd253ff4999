"""One SOP instance sent more than once: at once, by several clients, with equal and with other bytes, in two series.

Whatever comes first, nothing is lost, what is odd is flagged, and the counts are the same every time.
"""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from radloop.core.identity import OWNER
from radloop.core.images import ImageSet
from radloop.core.ports import Landing, Upload
from radloop.core.tables import INSTANCES, STUDIES
from radloop.store.fsck import Inspection
from radloop.store.instances import instance_of
from tests.dicom.files import ct, written
from tests.store.house import House, open_house

UID = "1.2.840.99.1"


def object_of(value: int, series: str = "1.2.3.1", uid: str = UID, patient: str = "P") -> bytes:
    pixels = np.full((8, 9), value, np.uint16)
    return written(ct(pixels, SOPInstanceUID=uid, SeriesInstanceUID=series, PatientID=patient))


def at_once(*works: Callable[[], list[Landing]]) -> list[Landing]:
    """Run all at the same moment; what they gave, in order."""
    start, given = threading.Barrier(len(works)), dict[int, list[Landing]]()

    def one(place: int) -> None:
        start.wait()
        given[place] = works[place]()

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [landing for place in range(len(works)) for landing in given[place]]


def sender(house: House, *files: bytes) -> Callable[[], list[Landing]]:
    return lambda: house.images.land([Upload(file) for file in files], by=OWNER)


def kept(house: House, name: str) -> list[bytes]:
    """Every file of an image set, those that stand behind newer ones too."""
    rows = house.records.find(INSTANCES, {"image_set": name})
    return sorted(house.images.export(instance_of(row)) for row in rows)


def is_whole(house: House) -> None:
    inspection = Inspection(house.blobs, house.records, house.keys, deep=True)
    assert inspection.run(house.jobs.unfinished).faults == ()


def closed(house: House, name: str) -> ImageSet:
    house.images.complete(name, by=OWNER)
    return house.images.fold(name)


@pytest.mark.parametrize("round_", range(5))
def test_equal_bytes_from_many_at_once_are_one_instance(house: House, round_: int) -> None:
    file = object_of(round_)
    landings = at_once(*[sender(house, file)] * 6)
    assert Counter(landing.outcome for landing in landings) == {"ingested": 1, "duplicate": 5}
    (name,) = {str(landing.image_set) for landing in landings}
    image_set = closed(house, name)
    assert (image_set.instances, image_set.frames, kept(house, name)) == (1, 1, [file])
    assert "sop-uid-reused" not in {notice.code for notice in image_set.notices}
    is_whole(house)


@pytest.mark.parametrize("round_", range(5))
def test_other_bytes_from_many_at_once_are_all_kept_and_one_is_shown(house: House, round_: int) -> None:
    files = [object_of(10 * round_ + value) for value in range(4)]
    landings = at_once(*[sender(house, file) for file in files])
    assert Counter(landing.outcome for landing in landings) == {"ingested": 4}
    (name,) = {str(landing.image_set) for landing in landings}
    image_set = closed(house, name)
    assert (image_set.instances, image_set.frames) == (1, 1)
    assert kept(house, name) == sorted(files)
    assert "sop-uid-reused" in {notice.code for notice in image_set.notices}
    (shown,) = house.images.instances(name)
    assert house.images.export(shown) in files
    assert len(house.images.frames(name)) == 1
    is_whole(house)


def test_other_bytes_in_one_batch_show_the_last(house: House) -> None:
    files = [object_of(value) for value in range(3)]
    name = house.land_one_set(*files)
    (shown,) = house.images.instances(name)
    assert house.images.export(shown) == files[-1]
    image_set = closed(house, name)
    assert (image_set.instances, image_set.frames) == (1, 1)
    assert kept(house, name) == sorted(files)
    assert "sop-uid-reused" in {notice.code for notice in image_set.notices}
    is_whole(house)


def test_the_older_bytes_again_change_nothing(house: House) -> None:
    first, second = object_of(1), object_of(2)
    name = house.land_one_set(first)
    house.land(second)
    before = house.images.get(name)
    (again,) = house.land(first)
    assert again.outcome == "duplicate"
    assert house.images.get(name) == before
    (shown,) = house.images.instances(name)
    assert house.images.export(shown) == second


@pytest.mark.parametrize("round_", range(3))
def test_one_object_in_two_series_is_in_both_and_flagged(house: House, round_: int) -> None:
    files = [object_of(round_, series=f"1.2.3.{place}") for place in (1, 2)]
    landings = at_once(*[sender(house, file) for file in files])
    assert Counter(landing.outcome for landing in landings) == {"ingested": 2}
    names = [str(landing.image_set) for landing in landings]
    assert len(set(names)) == 2
    for name, file in zip(names, files, strict=True):
        image_set = closed(house, name)
        assert (image_set.instances, kept(house, name)) == (1, [file])
        assert "sop-uid-elsewhere" in {notice.code for notice in image_set.notices}
    (study,) = house.records.find(STUDIES)
    assert (study.columns["series"], study.columns["instances"]) == (2, 2)
    is_whole(house)


def test_one_uid_twice_while_the_first_is_being_folded(house: House) -> None:
    files = [object_of(value, uid=f"{UID}.{value % 12}") for value in range(24)]
    name = house.land_one_set(*files[:12])
    house.images.complete(name, by=OWNER)
    with ThreadPoolExecutor(2) as pool:
        folder = threading.Thread(target=lambda: house.images.fold(name, executor=pool))
        folder.start()
        landings = at_once(sender(house, *files[12:18]), sender(house, *files[18:]))
        folder.join()
    assert Counter(landing.outcome for landing in landings) == {"ingested": 12}
    image_set = closed(house, name)
    assert (image_set.instances, image_set.landed) == (12, 0)
    assert kept(house, name) == sorted(files)
    assert sorted(house.images.export(one) for one in house.images.instances(name)) == sorted(files[12:])
    is_whole(house)


def test_two_processes_that_land_the_same_agree(tmp_path: Path) -> None:
    with open_house(tmp_path) as one, open_house(tmp_path) as other:
        files = [object_of(value, uid=f"{UID}.{value}") for value in range(8)]
        variants = [object_of(value + 50, uid=f"{UID}.{value}") for value in range(8)]
        works = [sender(house, file) for house in (one, other) for file in files]
        works += [sender(other, file) for file in variants]
        landings = at_once(*works)
        assert Counter(landing.outcome for landing in landings) == {"ingested": 16, "duplicate": 8}
        (name,) = {str(landing.image_set) for landing in landings}
        image_set = closed(one, name)
        assert image_set.instances == 8
        assert kept(one, name) == sorted(files + variants)
        is_whole(one)
