"""What is nothing like the studies a model was made from is refused, and what is like them is not."""

import numpy as np
import pytest

from radloop.core.errors import Corrupt
from radloop.serving.familiarity import FEWEST, Familiarity
from radloop.serving.predict import Predictor
from radloop.serving.reference import read_reference
from tests.serving.small_model import film, films, model_package, reference_of

KNOWN = reference_of(films(200, seed=1))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(model_package(bias=0.0, temperature=1.0, reference=KNOWN))


def test_new_films_of_the_same_kind_are_judged(predictor: Predictor) -> None:
    said = [predictor.predict(volume, "DX") for volume in films(200, seed=2)]
    assert sum(each.refused is not None for each in said) <= 0.03 * len(said)


@pytest.mark.parametrize("what", ["inverted", "noise", "black", "narrow window", "one grey"])
def test_what_is_no_such_film_is_refused_and_nothing_is_called_a_finding(predictor: Predictor, what: str) -> None:
    rng = np.random.default_rng(3)
    good = film(rng)
    volume = {
        "inverted": 65535 - good,
        "noise": rng.integers(0, 65536, good.shape).astype(np.uint16),
        "black": np.zeros_like(good),
        "narrow window": np.where(good > 30000, 65535, 0).astype(np.uint16),
        "one grey": np.full_like(good, 30000),
    }[what]
    said = predictor.predict(volume, "DX")
    assert said.refused == "out-of-distribution"
    assert said.finding is None
    assert said.familiarity is not None
    assert said.familiarity.sentence.startswith("The model does not judge this study: ")


def test_the_limit_is_one_that_the_reference_itself_keeps(predictor: Predictor) -> None:
    reference = read_reference(KNOWN)
    assert reference is not None
    familiarity = Familiarity(reference)
    assert reference.statistics is not None
    verdicts = [
        familiarity.judge(embedding, statistics)
        for embedding, statistics in zip(reference.embedding, reference.statistics, strict=True)
    ]
    assert not any(verdict.is_outside for verdict in verdicts), "each lies nearest to itself"


def test_studies_of_one_patient_do_not_make_each_other_familiar() -> None:
    """Twins lie close together; the limit must be what a new patient's distance is like."""
    rng = np.random.default_rng(4)
    points = np.repeat(rng.normal(size=(60, 4)), 2, axis=0).astype(np.float32)
    points += rng.normal(scale=0.001, size=points.shape).astype(np.float32)
    reference = read_reference(reference_of(films(120, seed=1)))
    assert reference is not None

    def limit_with(patient: np.ndarray) -> float:
        from radloop.serving.familiarity import _Neighbourhood

        return _Neighbourhood.of(points, patient.astype(np.int32)).limit

    assert limit_with(np.arange(120) // 2) > limit_with(np.arange(120))


def test_a_package_without_a_reference_judges_everything_and_says_that_it_cannot_tell() -> None:
    noise = np.random.default_rng(5).integers(0, 65536, (1, 40, 40)).astype(np.uint16)
    for package in (
        model_package(bias=0.0),
        model_package(bias=0.0, reference=reference_of(films(FEWEST - 1, seed=1))),
    ):
        said = Predictor(package).predict(noise, "DX")
        assert (said.familiarity, said.refused) == (None, None)
        assert said.finding is not None


def test_a_reference_of_before_has_no_statistics_and_still_measures_the_embedding() -> None:
    package = model_package(bias=0.0, reference=reference_of(films(100, seed=1), with_facts=False))
    said = Predictor(package).predict(np.full((1, 40, 40), 65535, np.uint16), "DX")
    assert said.familiarity is not None
    assert said.familiarity.statistics is None
    assert said.familiarity.reasons == ("embedding",)


def test_a_damaged_reference_is_told() -> None:
    with pytest.raises(Corrupt):
        Predictor(model_package(bias=0.0, reference=b"PK nothing"))
