"""Files of one series that come one by one share a pack, for as long as nobody may drop it."""

import errno
import os
from pathlib import Path

import pytest

from radloop.core.errors import Unavailable
from radloop.core.identity import OWNER
from radloop.core.tables import INSTANCES, PACKS
from radloop.store import packs
from radloop.store.instances import instance_of
from tests.store.house import House, open_house, phantom


def packs_of(house: House, name: str) -> list[str]:
    """The pack of every instance, in the order they landed."""
    rows = house.records.find(INSTANCES, {"image_set": name})
    return [ref.pack for row in rows for ref in instance_of(row).refs]


def exported(house: House, name: str) -> list[bytes]:
    """Every file of an image set as it arrived, in ascending order."""
    return sorted(house.images.export(instance) for instance in house.images.instances(name))


def test_files_that_come_one_by_one_lie_in_one_pack_and_come_back_as_they_were(house: House) -> None:
    files = phantom(slices=4)
    (name,) = {house.land_one_set(file) for file in files}
    assert len(set(packs_of(house, name))) == 1
    assert house.records.count(PACKS) == 1
    assert exported(house, name) == sorted(files)


def test_what_lands_after_closing_does_not_go_into_a_pack_that_folding_drops(house: House) -> None:
    files = phantom(slices=4)
    name = house.land_one_set(files[0])
    house.land(files[1])
    house.images.complete(name, by=OWNER)
    house.land(files[2])
    first, second, third = packs_of(house, name)
    assert first == second != third
    house.images.complete(name, by=OWNER)
    house.images.fold(name)
    house.land(files[3])
    assert exported(house, name) == sorted(files)


def test_what_lands_into_a_pack_that_folding_has_just_dropped_is_sealed_into_another(house: House) -> None:
    """An image set is closed, opened again by the next file, and then folded with that file: its pack goes."""
    files = phantom(slices=4)
    name = house.land_one_set(files[0])
    house.images.complete(name, by=OWNER)
    house.land(files[1])
    with open_house(house.root) as other:
        other.images.fold(name)
    house.land(files[2])
    house.land(files[3])
    assert exported(house, name) == sorted(files)
    assert {ref.split("/")[-1] for ref in packs_of(house, name)} == {
        row.key.partition("/")[2] for row in house.records.find(PACKS)
    }


def test_an_image_set_that_another_process_closed_gets_a_new_pack(house: House) -> None:
    files = phantom(slices=3)
    name = house.land_one_set(files[0])
    with open_house(house.root) as other:
        other.images.complete(name, by=OWNER)
        other.images.fold(name)
    house.land(files[1])
    house.land(files[2])
    assert exported(house, name) == sorted(files)


def test_a_file_that_does_not_reach_the_disk_is_not_acknowledged_and_the_next_one_lands(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = phantom(slices=3)
    name = house.land_one_set(files[0])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(Unavailable, match="ENOSPC"):
        house.land(files[1])
    assert house.images.get(name).instances == 1
    monkeypatch.undo()
    assert [landing.outcome for landing in house.land(files[1], files[2])] == ["ingested", "ingested"]
    assert exported(house, name) == sorted(files)


def test_an_idle_pack_is_closed_so_that_its_room_comes_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "_IDLE_S", 0.01)
    name = house.land_one_set(phantom()[0])
    (pack,) = set(packs_of(house, name))
    path = str(house.blobs.path(packs.pack_key(name, pack)))
    for _ in range(500):
        if path not in held_open():
            break
        packs.time.sleep(0.01)
    assert path not in held_open()
    house.land(phantom()[1])
    assert len(set(packs_of(house, name))) == 2


def held_open() -> list[str]:
    """Files this process has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # the one that listed the folder
    return found
