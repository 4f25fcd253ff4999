import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from radloop.core.errors import Corrupt, InvalidInput, NoChampion, NotFound
from radloop.core.ports import Models, Span
from radloop.local.blobs import FileBlobs
from radloop.serving.champion import Champion
from tests.api.installation import Installation, open_installation
from tests.contracts.serving import ServingContract
from tests.serving.served import DARK, judged_by, lay_packages
from tests.serving.small_model import films, model_package, reference_of


class CountingBlobs(FileBlobs):
    """Blobs that count how often one is read."""

    reads = 0

    def get(self, key: str, span: Span | None = None) -> bytes:
        self.reads += 1
        return super().get(key, span)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_installation(tmp_path) as opened:
        yield opened


def champion_of(installation: Installation) -> Champion:
    return Champion(installation.platform.models, installation.platform.blobs)


class TestChampion(ServingContract):
    @pytest.fixture
    def models(self, installation: Installation) -> Models:
        return installation.platform.models

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> CountingBlobs:
        blobs = CountingBlobs(tmp_path / "packages")
        lay_packages(blobs)
        return blobs

    @pytest.fixture
    def asked(self, models: Models, blobs: CountingBlobs) -> Callable[[], int]:
        return partial(judged_by, Champion(models, blobs))

    @pytest.fixture
    def changes(self, blobs: CountingBlobs) -> Callable[[], int]:
        return lambda: blobs.reads


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
        "threshold": 0.5,
        "model_version": 1,
        "calibrated": False,
        "refused": None,
        "ood": None,
        "frames": [],
        "frame": None,
    }
    assert opinion.weights_sha256 == "f" * 64
    assert opinion.seconds > 0


def test_a_study_that_is_refused_has_neither_probability_nor_finding_nor_maps(installation: Installation) -> None:
    package = model_package(bias=1.0, temperature=2.0, reference=reference_of(films(80, seed=1)), has_maps=True)
    installation.approve(bias=1.0)
    installation.platform.blobs.put("model-artifacts/e1/model.tar.gz", package)
    champion = champion_of(installation)
    refused = champion.predict(DARK, "DX").plain()
    assert (refused["probability"], refused["finding"], refused["frames"]) == (None, None, [])
    assert refused["refused"] == "out-of-distribution"
    assert refused["ood"]["outside"]
    judged = champion.predict(films(1, seed=9)[0], "DX").plain()
    assert judged["refused"] is None
    assert judged["calibrated"]
    assert judged["frames"] == [0]


def test_the_shadow_is_another_version_under_its_own_alias(installation: Installation) -> None:
    installation.approve(bias=1.0)
    shadow = Champion(installation.platform.models, installation.platform.blobs, alias="shadow")
    assert not shadow.exists
    with pytest.raises(NoChampion):
        shadow.predict(DARK, "CR")


def test_a_model_that_nobody_asks_is_let_go_and_comes_back_when_asked(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radloop.serving.champion._REST_S", 0.05)
    installation.approve(bias=1.0)
    champion = champion_of(installation)
    champion.predict(DARK, "CR")
    deadline = time.monotonic() + 5
    while champion.is_loaded and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not champion.is_loaded
    assert champion.predict(DARK, "CR").model_version == 1


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
