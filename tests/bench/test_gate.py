"""What the benchmark of the gate plants is what it says it plants."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))  # the programs there import each other by name

from gate import Outcome, verdict
from gate_candidates import ALL, Candidate
from gate_films import chest, cohort, pixels_of, write

from radloop.core.errors import InvalidInput
from radloop.dicom.intensity import plane_statistics
from radloop.dicom.tiles import TileSpec, planes_of
from radloop.training.preprocess import preprocess

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


def test_there_are_24_bad_candidates_and_12_good_ones() -> None:
    assert (sum(not one.is_good for one in ALL), sum(one.is_good for one in ALL)) == (24, 12)
    assert len({one.name for one in ALL}) == len(ALL)


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


def test_a_ct_shows_its_film_whole_through_the_lung_window() -> None:
    study = cohort(3, parts={"train": 2}, modality="CT")[0]
    planes = planes_of(pixels_of(study), "CT", SPEC)
    assert np.corrcoef(planes.ravel(), study.picture.ravel())[0, 1] > 0.999
    assert planes.max() < 170


def test_refused_for_another_reason_does_not_count_as_right() -> None:
    outcomes = [
        Outcome("good", "", (), "", 0.97, 1.0),
        Outcome("good and refused", "", ("baseline",), "it is not better", 0.8, 1.0),
        Outcome("bad", "calibration", ("calibration", "brier"), "it is too sure", 0.9, 1.0),
        Outcome("bad, another reason", "champion", ("accuracy",), "it is below", 0.7, 1.0),
        Outcome("bad and accepted", "evidence", (), "", 0.95, 1.0),
    ]
    assert verdict(outcomes).startswith("refused 1 of 3 for the right reason, accepted 1 of 2")
    assert "let through 2 of 3 bad ones" in verdict(outcomes)
