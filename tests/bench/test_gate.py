"""What the benchmark of the gate plants is what it says it plants."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))  # the programs there import each other by name

import gate_home
from gate import KEPT, RECIPE, Outcome, verdict
from gate_candidates import ALL, BIG, Candidate
from gate_films import chest, cohort, pixels_of, write

from radloop.core.errors import InvalidInput
from radloop.core.platform import Platform
from radloop.dicom.intensity import plane_statistics
from radloop.dicom.tiles import TileSpec, planes_of
from radloop.functions.model_registry import run_to_come, standing_now
from radloop.registry.plan import violations
from radloop.training.preprocess import preprocess
from radloop.wiring import open_local

SPEC = TileSpec(48, 4, 6)
GUARDED = {
    "patient-overlap",
    "study-overlap",
    "retired-patients",
    "label-by-source",
    "label-by-scanner",
    "same-pixels",
    "near-duplicates",
}

WIDE = {"CT studies of six slices", "an external house that is alike"}


def prepare(candidate: Candidate, root: Path) -> None:
    dataset = root / "processing" / "input" / "dataset"
    write(candidate.films(), dataset)
    retired = ", ".join(f'"{each}"' for each in candidate.retired())
    (dataset / "snapshot.json").write_text(f'{{"retired_patients": [{retired}]}}')
    preprocess(root, SPEC)


def test_there_are_24_bad_candidates_and_12_good_ones_and_some_that_are_to_be_released() -> None:
    judged, released = ([one for one in ALL if (one.release is not None) is so] for so in (False, True))
    assert (sum(not one.is_good for one in judged), sum(one.is_good for one in judged)) == (24, 12)
    assert (sum(not one.is_good for one in released), sum(one.is_good for one in released)) == (5, 2)
    assert len({one.name for one in ALL}) == len(ALL)
    assert {one.name for one in ALL if one.is_good} >= {*KEPT, *(one.champion for one in ALL if one.champion)}


def test_finding_and_look_alike_have_the_same_fifteen_numbers() -> None:
    for seed in range(8):
        film = chest(np.random.default_rng(seed), leans_left=True, contrast=1.0)
        one, mirrored = (
            plane_statistics(np.rint(each * 255).astype(np.uint8))
            for each in (film, np.ascontiguousarray(film[:, :, ::-1]))
        )
        np.testing.assert_allclose(one, mirrored, atol=1e-6)


def test_the_same_seed_gives_the_same_films_and_another_one_others() -> None:
    parts = {"train": 2, "validation": 2, "test": 2}
    first, second, other = (cohort(seed, parts=parts) for seed in (1, 1, 2))
    assert [one.example for one in first] == [one.example for one in second]
    assert all((a.picture == b.picture).all() for a, b in zip(first, second, strict=True))
    assert not {one.example.patient for one in first} & {one.example.patient for one in other}


@pytest.mark.parametrize(
    "candidate", [one for one in ALL if one.expected in GUARDED], ids=lambda one: str(one.expected)
)
def test_a_planted_leak_or_shortcut_is_stopped_by_its_own_guard(candidate: Candidate, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"{candidate.expected}: "):
        prepare(candidate, tmp_path)


@pytest.mark.parametrize("candidate", [ALL[0], *(one for one in ALL if one.name in WIDE)], ids=lambda one: one.name)
def test_no_guard_stops_a_good_candidate(candidate: Candidate, tmp_path: Path) -> None:
    prepare(candidate, tmp_path)


def test_doubtful_readers_are_wrong_as_often_as_they_say() -> None:
    films = next(one for one in ALL if one.name.startswith("doubtful")).films()
    truth = {one.example.image_set: one.example.label for one in cohort(18, parts={**BIG, "test": 400})}
    wrong = np.array([truth[one.example.image_set] != one.example.label for one in films])
    said = np.array([1 - max(one.example.posterior, 1 - one.example.posterior) for one in films])
    assert wrong.mean() == pytest.approx(said.mean(), abs=0.025)
    assert all((one.example.posterior > 0.5) == bool(one.example.label) for one in films)


@pytest.mark.parametrize(
    ("plant", "state", "outside"),
    [
        (None, "valid", []),
        (gate_home.one_byte_of_the_plan, "void", []),
        (gate_home.one_byte_of_the_policy, "valid", ["policy-outside-plan"]),
        (gate_home.another_recipe, "valid", ["recipe-outside-plan"]),
    ],
    ids=["nothing", "plan", "policy", "recipe"],
)
def test_what_is_planted_in_a_home_is_what_its_plan_does_not_foresee(
    plant: Callable[[Path], None] | None, state: str, outside: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    gate_home.lay_out(home, RECIPE)
    if plant is not None:
        plant(home)
    with open_local(home) as opened:
        assert plan_of(opened.platform) == (state, outside)


def plan_of(platform: Platform) -> tuple[str, list[str]]:
    standing = standing_now(platform)
    assert standing.plan is not None
    return standing.state, [each.code for each in violations(standing.plan, run_to_come(standing.plan, platform))]


def test_a_ct_shows_its_film_whole_through_the_lung_window() -> None:
    study = cohort(3, parts={"train": 2}, modality="CT")[0]
    planes = planes_of(pixels_of(study), "CT", SPEC)
    assert np.corrcoef(planes.ravel(), study.picture.ravel())[0, 1] > 0.999
    assert planes.max() < 170


def outcome(name: str, expected: str, refused_by: tuple[str, ...], accuracy: float) -> Outcome:
    return Outcome(name, expected, refused_by, "", accuracy, seconds=1.0, seed=1, load=0.0)


def test_refused_for_another_reason_does_not_count_as_right() -> None:
    outcomes = [
        outcome("good", "", (), 0.97),
        outcome("good, not easy", "", (), 0.9),
        outcome("good and refused", "", ("baseline",), 0.8),
        outcome("bad", "calibration", ("calibration", "brier"), 0.9),
        outcome("bad, another reason", "champion", ("accuracy",), 0.7),
        outcome("bad and accepted", "evidence", (), 0.95),
    ]
    assert verdict(outcomes).startswith(
        "refused 1 of 3 for the right reason, accepted 2 of 3, 1 of 2 with an accuracy of 0.95 at most"
    )
    assert "let through 2 of 3 bad ones" in verdict(outcomes)
