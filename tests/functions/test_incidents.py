"""Whoever reads of too many patients is noticed and kept out: on one machine."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radloop.core.images import ImageSet
from radloop.registry.signatures import PrivateKey
from tests.contracts.incidents import LIMITS, IncidentsContract
from tests.functions.house import House


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


class TestIncidentsOfOneMachine(IncidentsContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[LocalPlace]:
        house = House.build(tmp_path, LIMITS)
        yield LocalPlace(house)
        house.platform.audit.close()  # type: ignore[attr-defined]
        house.database.close()
