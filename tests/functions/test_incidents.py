"""Whoever reads of too many patients is noticed and kept out: on one machine."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radloop.core.images import ImageSet
from radloop.functions.incidents import IncidentWatch
from radloop.registry.signatures import PrivateKey
from radloop.security.access import RolePolicy
from radloop.store.guarded import GuardedImages
from tests.contracts.incidents import LIMITS, READER, IncidentsContract
from tests.functions.house import House
from tests.store.house import open_house, phantom


class LocalPlace:
    def __init__(self, house: House) -> None:
        self.house = house
        self.platform = replace(house.platform, signer=PrivateKey(bytes(32)))

    def store(self, patient: str, number: int = 0) -> ImageSet:
        return self.house.store(patient, number)

    def wait(self, seconds: float) -> None:
        self.house.clock.wait(seconds)

    def alarms(self) -> list[Mapping[str, Any]]:
        return self.house.told("AlarmStateChanged")


def test_pictures_in_a_worklist_are_no_readings_and_opened_series_are(tmp_path: Path) -> None:
    house = House.build(tmp_path / "home", LIMITS)
    audit = house.platform.audit
    with open_house(tmp_path / "images") as stored:
        reader = GuardedImages(stored.images, RolePolicy({"reader": frozenset({"image.read"})}), audit, READER)
        rows = []
        for number in range(1, 10):
            rows.append(stored.land_one_set(*phantom(number)))
            stored.images.complete(rows[-1], by=READER)
            stored.images.fold(rows[-1])
        watch = IncidentWatch(house.platform)
        for each in rows:
            assert reader.thumbnail(each)
        audit.flush()  # type: ignore[attr-defined]
        assert watch.look() == []
        assert len(audit.entries(where={"action": "search.thumbnail"})) == len(rows) > LIMITS.isolate_patients
        for each in rows[: LIMITS.incident_patients + 1]:
            reader.frame(each, 0)
        assert len(watch.look()) == 1
    audit.close()  # type: ignore[attr-defined]
    house.database.close()


class TestIncidentsOfOneMachine(IncidentsContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[LocalPlace]:
        house = House.build(tmp_path, LIMITS)
        yield LocalPlace(house)
        house.platform.audit.close()  # type: ignore[attr-defined]
        house.database.close()
