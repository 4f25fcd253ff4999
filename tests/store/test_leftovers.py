"""Packs of killed processes go while others work, and nothing that was acknowledged goes with them."""

import threading
import time
from dataclasses import dataclass, field

import pytest

from radloop.core.errors import Unavailable
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Delete, Landing, Upload
from radloop.core.tables import PACKS
from radloop.store import leftovers
from radloop.store.fsck import Inspection
from radloop.store.leftovers import AGE_S, SWEPT, Leftovers
from radloop.store.packs import new_pack
from tests.store.house import House, open_house, phantom


@dataclass
class Sweeper:
    """A sweep whose hours pass when they are told to."""

    house: House
    now: float = 0.0
    leftovers: Leftovers = field(init=False)

    def __post_init__(self) -> None:
        self.leftovers = Leftovers(self.house.blobs, self.house.records, monotonic=lambda: self.now)

    def after(self, seconds: float) -> int:
        self.now += seconds
        return self.leftovers.sweep()


@pytest.fixture
def sweeper(house: House) -> Sweeper:
    return Sweeper(house)


def left_behind(house: House, name: str) -> str:
    """A pack in the image set's folder that was never named."""
    with new_pack(house.blobs, house.keys.cipher(house.images.get(name).wrapped_key), name) as pack:
        pack.add("original", b"x" * 100)
    return f"image-sets/{name}/{pack.name}.pack"


def packs(house: House) -> set[str]:
    return set(house.blobs.keys("image-sets/"))


def test_a_pack_that_nobody_names_goes_after_an_hour_and_all_others_stay(house: House, sweeper: Sweeper) -> None:
    name = house.land_one_set(*phantom(slices=2))
    named = packs(house)
    left = left_behind(house, name)
    assert [sweeper.after(0), sweeper.after(AGE_S - 1)] == [0, 0]
    assert packs(house) == {*named, left}
    assert sweeper.after(2) == 1
    assert packs(house) == named
    assert sorted(house.images.export(each) for each in house.images.instances(name)) == sorted(phantom(slices=2))


def test_a_pack_that_was_named_meanwhile_stays(house: House, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = house.records.commit
    seen: list[int] = []

    def slow(change: Change) -> object:
        if any(getattr(write, "table", None) is PACKS for write in change.writes) and not seen:
            seen.append(sweeper.after(0))
        return commit(change)

    monkeypatch.setattr(house.records, "commit", slow)
    name = house.land_one_set(phantom()[0])
    assert seen == [0]
    assert sweeper.after(AGE_S + 1) == 0
    (instance,) = house.images.instances(name)
    assert house.images.export(instance) == phantom()[0]


def test_a_landing_whose_pack_was_swept_before_its_commit_is_not_acknowledged_and_lands_when_sent_again(
    house: House, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = house.records.commit
    swept: list[int] = []

    def stopped(change: Change) -> object:
        naming = [write for write in change.writes if getattr(write, "table", None) is PACKS]
        if naming and not swept and naming[0].columns["image_set"] != SWEPT:  # type: ignore[union-attr]
            swept.append(0)
            sweeper.after(0)
            swept[0] = sweeper.after(AGE_S + 1)  # the process was stopped for an hour, just here
        return commit(change)

    monkeypatch.setattr(house.records, "commit", stopped)
    try:
        (landing,) = house.land(phantom()[0])
    except Unavailable:
        assert packs(house) == set()
        (landing,) = house.land(phantom()[0])
    assert swept == [1]
    assert landing.outcome == "ingested"
    (instance,) = house.images.instances(str(landing.image_set))
    assert house.images.export(instance) == phantom()[0]


def test_a_name_that_was_taken_stays_taken_until_the_next_start(house: House, sweeper: Sweeper) -> None:
    name = house.land_one_set(phantom()[0])
    left = left_behind(house, name)
    sweeper.after(0)
    sweeper.after(AGE_S)
    (taken,) = house.records.find(PACKS, {"image_set": SWEPT})
    assert f"image-sets/{taken.key}.pack" == left
    house.blobs.put(left, b"written by one who was stopped")
    assert sweeper.after(1) == 0
    assert left not in packs(house), "what appears under a taken name goes at the next look"
    sweeper.leftovers.start_over()
    assert house.records.find(PACKS, {"image_set": SWEPT}) == []


def test_a_sweep_cut_off_between_taking_the_name_and_deleting_is_taken_up_again(
    house: House, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_behind(house, house.land_one_set(phantom()[0]))
    sweeper.after(0)

    def killed(key: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(house.blobs, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            sweeper.after(AGE_S)
    assert left in packs(house)
    Sweeper(house).after(0)
    assert left not in packs(house)


def test_a_pack_that_instances_refer_to_stays_even_if_its_record_is_lost(house: House, sweeper: Sweeper) -> None:
    name = house.land_one_set(phantom()[0])
    (row,) = house.records.find(PACKS)
    house.records.commit(Change(writes=[Delete(PACKS, row.key)]))
    house.is_damaged = True
    assert [sweeper.after(0), sweeper.after(AGE_S)] == [0, 0]
    assert packs(house) == {f"image-sets/{row.key}.pack"}
    assert name in row.key


def test_a_taken_name_is_no_fault(house: House, sweeper: Sweeper) -> None:
    left_behind(house, house.land_one_set(phantom()[0]))
    sweeper.after(0)
    sweeper.after(AGE_S)
    report = Inspection(house.blobs, house.records, house.keys).run(list)
    assert [fault for fault in report.faults if fault.code != "never-folds"] == []


def test_landing_beside_a_sweep_that_waits_for_nothing_loses_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "AGE_S", 0.0)
    over = threading.Event()
    swept = [0]

    def sweep() -> None:
        with open_house(house.root) as other:
            everything = Leftovers(other.blobs, other.records)
            while not over.is_set():
                swept[0] += everything.sweep()
                time.sleep(0.01)

    def land(file: bytes) -> Landing:
        for _ in range(100):
            try:
                return house.images.land([Upload(file)], by=OWNER)[0]
            except Unavailable:
                time.sleep(0.01)
        raise AssertionError("it never landed")

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    try:
        files = phantom(slices=8)
        landings = [land(file) for file in files]
        name = str(landings[0].image_set)
        house.images.complete(name, by=OWNER)
    finally:
        over.set()
        sweeping.join()
    assert {landing.outcome for landing in landings} == {"ingested"}
    assert sorted(house.images.export(each) for each in house.images.instances(name)) == sorted(files)
