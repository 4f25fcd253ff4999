import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from radloop.core.errors import Corrupt, InvalidInput, NoChampion, NotFound
from radloop.serving.champion import Champion
from tests.api.installation import Installation, open_installation

DARK = np.full((2, 32, 32), 0, dtype=np.uint16)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_installation(tmp_path) as opened:
        yield opened


def champion_of(installation: Installation) -> Champion:
    return Champion(installation.platform.models, installation.platform.blobs)


def test_without_an_approved_model_there_is_no_champion(installation: Installation) -> None:
    champion = champion_of(installation)
    installation.approve(bias=1.0, approved=False)
    with pytest.raises(NoChampion) as told:
        champion.predict(DARK, "CR")
    assert told.value.code == "no-champion"
    assert isinstance(told.value, NotFound)


def test_the_champion_says_what_its_network_computes_and_which_version_it_is(installation: Installation) -> None:
    installation.approve(bias=1.0)
    opinion = champion_of(installation).predict(DARK, "CR")
    assert opinion.model_version == 1
    assert opinion.prediction.probability == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert opinion.plain() == {
        "probability": opinion.prediction.probability,
        "finding": "present",
        "model_version": 1,
    }


def test_a_new_champion_counts_from_the_next_study_on(installation: Installation) -> None:
    champion = champion_of(installation)
    installation.approve(bias=2.0, execution="e1")
    assert champion.predict(DARK, "CR").prediction.finding == "present"
    installation.approve(bias=5.0, execution="e2", approved=False)
    assert champion.predict(DARK, "CR").model_version == 1, "a rejected version never serves"
    installation.approve(bias=-2.0, execution="e3")
    after = champion.predict(DARK, "CR")
    assert (after.model_version, after.prediction.finding) == (3, "absent")


def test_a_version_is_read_once_however_many_ask(installation: Installation) -> None:
    installation.approve(bias=1.0)
    reads: list[str] = []

    class Counted:
        def get(self, key: str) -> bytes:
            reads.append(key)
            return installation.platform.blobs.get(key)

    champion = Champion(installation.platform.models, Counted())
    assert reads == [], "nothing is loaded before it is asked"
    with ThreadPoolExecutor(4) as pool:
        opinions = list(pool.map(lambda _: champion.predict(DARK, "CR"), range(8)))
    assert len(reads) == 1
    assert len({opinion.prediction.probability for opinion in opinions}) == 1


def test_a_broken_package_is_told_and_does_not_stick(installation: Installation) -> None:
    model = installation.approve(bias=1.0)
    champion = champion_of(installation)
    good = installation.platform.blobs.get(model.artifact)
    installation.platform.blobs.put(model.artifact, b"not a package")
    with pytest.raises(Corrupt):
        champion.predict(DARK, "CR")
    installation.platform.blobs.delete(model.artifact)
    with pytest.raises(NotFound):
        champion.predict(DARK, "CR")
    installation.platform.blobs.put(model.artifact, good)
    assert champion.predict(DARK, "CR").model_version == 1


def test_pixels_the_model_does_not_take_are_the_callers_fault(installation: Installation) -> None:
    installation.approve(bias=1.0)
    with pytest.raises(InvalidInput):
        champion_of(installation).predict(DARK, "US")
