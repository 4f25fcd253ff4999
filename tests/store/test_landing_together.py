"""Several processes land into the same series at the same time: nothing is lost, doubled or left lying about."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import Conflict, Unavailable
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Landing, Upload
from radloop.core.tables import IMAGE_SETS, INSTANCES, PACKS, SERIES
from radloop.store.packs import PackWriter, Ref
from radloop.store.revisions import Revisions
from tests.store.house import House, now, open_house, phantom

PROCESSES, THREADS, SLICES = 3, 2, 24
FILES = phantom(7, slices=SLICES)


@pytest.fixture
def other(house: House) -> Iterator[House]:
    """Another process's view of the same home."""
    with open_house(house.root) as opened:
        yield opened


def land_some(root: Path, process: int, begin: Any, told: Any) -> None:
    """Land every second file of the series on each thread, one at a time, in an order of this process's own."""
    order = [(number + process * SLICES // PROCESSES) % SLICES for number in range(SLICES)]
    with open_house(root) as house:

        def land(thread: int) -> list[tuple[int, Landing]]:
            begin.wait()
            return [
                (number, house.images.land([Upload(FILES[number])], by=OWNER)[0])
                for number in order
                if number % THREADS == thread
            ]

        with ThreadPoolExecutor(THREADS) as pool:
            told.put([each for part in pool.map(land, range(THREADS)) for each in part])


@pytest.mark.timeout(180)
def test_processes_that_land_the_same_series_lose_nothing_and_double_nothing(house: House) -> None:
    context = get_context("spawn")
    begin, told = context.Barrier(PROCESSES * THREADS), context.Queue()
    processes = [
        context.Process(target=land_some, args=(house.root, number, begin, told)) for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    landed = [each for _ in processes for each in told.get(timeout=120)]
    for process in processes:
        process.join()
    (row,) = house.records.find(IMAGE_SETS)
    assert {landing.image_set for _, landing in landed} == {row.key}
    outcomes = Counter((number, landing.outcome) for number, landing in landed)
    assert all(outcomes[number, "ingested"] == 1 for number in range(SLICES)), "each is new to exactly one sender"
    assert all(outcomes[number, "duplicate"] == PROCESSES - 1 for number in range(SLICES))
    assert (row.document["instances"], row.document["frames"]) == (SLICES, SLICES)
    assert sorted(house.images.export(each) for each in house.images.instances(row.key)) == sorted(FILES)
    assert house.images.sweep() == 0, "whoever came too late has taken its pack away"
    assert packs_on_disk(house) == {each.key for each in house.records.find(PACKS)}


def packs_on_disk(house: House) -> set[str]:
    keys = house.blobs.keys("image-sets/")
    return {key.removeprefix("image-sets/").removesuffix(".pack") for key in keys}


def before_commits(house: House, monkeypatch: pytest.MonkeyPatch, happens: Iterator[Any]) -> None:
    """Before each commit of the house, let the next of these happen, as long as there are any.

    As with a store that cannot make others wait.
    """
    commit = house.records.commit
    monkeypatch.setattr(house.records, "alone", nullcontext)

    def late(change: Change) -> None:
        next(happens, None)
        commit(change)

    monkeypatch.setattr(house.records, "commit", late)


def counted_records(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds of the records that this process seals from now on."""
    kinds: list[str] = []
    add = PackWriter.add

    def counted(pack: PackWriter, kind: str, data: bytes) -> Ref:
        kinds.append(kind)
        return add(pack, kind, data)

    monkeypatch.setattr(PackWriter, "add", counted)
    return kinds


def test_a_file_is_sealed_once_however_often_others_come_first(
    house: House, other: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = house.land_one_set(FILES[0])
    other.land(*FILES[1:4])
    before_commits(house, monkeypatch, (other.land(file) for file in FILES[5:8]))
    sealed = counted_records(monkeypatch)
    assert house.land(FILES[4])[0].outcome == "ingested"
    assert len(sealed) == 1 + 3
    assert (house.images.get(name).instances, len(packs_on_disk(house))) == (8, 2)


def test_what_became_known_meanwhile_is_a_duplicate_and_the_rest_is_served_from_the_same_pack(
    house: House, other: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = house.land_one_set(FILES[0])
    sealed = counted_records(monkeypatch)
    before_commits(house, monkeypatch, (other.land(file) for file in FILES[1:2]))
    assert [landing.outcome for landing in house.land(*FILES[1:3])] == ["duplicate", "ingested"]
    assert len(sealed) == 2 + 1
    assert sorted(house.images.export(each) for each in house.images.instances(name)) == sorted(FILES[:3])


def test_a_pack_of_which_nothing_is_new_any_more_is_taken_away(
    house: House, other: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.land(FILES[0])
    before_commits(house, monkeypatch, (other.land(file) for file in FILES[1:2]))
    assert house.land(FILES[1])[0].outcome == "duplicate"
    assert packs_on_disk(house) == {each.key for each in house.records.find(PACKS)}


def test_two_that_open_the_same_series_at_once_open_one_image_set(
    house: House, other: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_commits(house, monkeypatch, (other.land(file) for file in FILES[:1]))
    name = house.land_one_set(FILES[1])
    assert [row.key for row in house.records.find(IMAGE_SETS)] == [name]
    assert {row.document["image_set"] for row in house.records.find(SERIES)} == {name}
    assert packs_on_disk(house) == {each.key for each in house.records.find(PACKS)}
    assert sorted(house.images.export(each) for each in house.images.instances(name)) == sorted(FILES[:2])


def test_an_image_set_that_is_deleted_meanwhile_is_opened_anew(
    house: House, other: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = house.land_one_set(FILES[0])
    revisions = Revisions(other.blobs, other.records, now, other.images)
    before_commits(house, monkeypatch, (revisions.delete(each, by=OWNER) for each in [name]))
    assert house.land_one_set(FILES[1]) != name
    assert house.records.count(INSTANCES) == 1
    assert packs_on_disk(house) == {each.key for each in house.records.find(PACKS)}


def test_other_bytes_that_came_first_under_the_same_uid_stand_behind_what_comes_now(
    house: House, other: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = house.land_one_set(FILES[0])
    changed = bytearray(FILES[1])
    changed[-1] ^= 1  # one pixel
    before_commits(house, monkeypatch, (other.land(file) for file in FILES[1:2]))
    (landing,) = house.land(bytes(changed))
    assert (landing.outcome, landing.is_replacement) == ("ingested", True)
    assert house.images.get(name).instances == 2
    assert bytes(changed) in {house.images.export(each) for each in house.images.instances(name)}


def test_who_remembers_how_a_series_stood_sees_what_another_process_did_to_it(house: House, other: House) -> None:
    name = house.land_one_set(FILES[0])
    changed = bytearray(FILES[1])
    changed[-1] ^= 1  # one pixel
    assert other.land(FILES[1])[0].outcome == "ingested"
    (landing,) = house.land(bytes(changed))
    assert (landing.outcome, landing.is_replacement) == ("ingested", True)
    assert other.land(FILES[1])[0].outcome == "duplicate"
    assert [landing.outcome for landing in house.land(*FILES[:3])] == ["duplicate", "duplicate", "ingested"]
    assert house.images.get(name).instances == 3
    Revisions(other.blobs, other.records, now, other.images).delete(name, by=OWNER)
    assert house.land_one_set(FILES[0]) != name


def test_who_is_too_late_every_time_is_told_to_come_again_and_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.land(FILES[0])
    before = packs_on_disk(house)
    tries = threading.Semaphore(0)

    def refused(change: Change) -> None:
        tries.release()
        raise Conflict("somebody else was faster")

    monkeypatch.setattr(house.records, "commit", refused)
    with pytest.raises(Unavailable):
        house.land(FILES[1])
    assert all(tries.acquire(blocking=False) for _ in range(10)), "it gave up early"
    assert packs_on_disk(house) == before
