"""The guards: what each one stops, and what honest data it lets pass."""

import csv
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread

from radloop.codec.pictures import grey_pixels
from radloop.core.datasets import EXTERNAL, Example, Split, split_of
from radloop.core.errors import InvalidInput
from radloop.dicom.phantom import phantom_study
from radloop.dicom.tiles import TileSpec, planes_of
from radloop.training.guards import (
    RULE_LIMIT,
    Fingerprint,
    Guard,
    alike_pairs,
    fingerprint,
    guards_of,
    near_duplicates,
    same_pixels,
    stop_where_failed,
    told_by,
)

SPEC = TileSpec(64, 8, 16)
DATA = Path(os.environ.get("RADLOOP_TEST_DATA", "absent"))


def example(number: int, split: str = "train", **changes: object) -> Example:
    values = {
        "image_set": f"i{number}",
        "version": 1,
        "patient": f"p{number}",
        "study": f"s{number}",
        "split": split,
        "label": number % 2,
        "modality": "DX",
        "file": f"images/i{number}.npy",
    }
    return Example(**{**values, **changes})  # type: ignore[arg-type]


def dealt(count: int, **changes: object) -> list[Example]:
    """As many examples, seven parts in ten to train, of one patient each."""
    return [example(at, str(split_of(f"p{at}")), **changes) for at in range(count)]


def named(guards: Iterable[Guard], name: str) -> Guard:
    return next(guard for guard in guards if guard.name == name)


# Without pixels


def test_sound_data_pass_every_guard_and_nothing_is_raised() -> None:
    guards = guards_of(dealt(200))
    assert all(guard.passed and not guard.warns for guard in guards)
    stop_where_failed(guards)


@pytest.mark.parametrize(("field", "name"), [("patient", "patient-overlap"), ("study", "study-overlap")])
def test_a_patient_or_a_study_in_two_parts_stops_the_run(field: str, name: str) -> None:
    examples = dealt(50)
    torn = next(one for one in examples if one.split == "test")
    guards = guards_of([*examples, replace(torn, image_set="again", split="train", **{_other(field): "new"})])  # type: ignore[arg-type]
    found = named(guards, name)
    assert (found.value, found.limit, found.passed) == (1, 0, False)
    with pytest.raises(InvalidInput, match=f"{name}: 1 "):
        stop_where_failed(guards)
    assert [guard.name for guard in guards if not guard.passed] == [name]


def _other(field: str) -> str:
    return "study" if field == "patient" else "patient"


def test_lines_that_tell_no_study_are_not_one_study() -> None:
    assert named(guards_of(dealt(50, study="")), "study-overlap").passed


def test_a_retired_patient_who_came_back_stops_the_run() -> None:
    found = named(guards_of(dealt(50), frozenset({"p7", "gone"})), "retired-patients")
    assert (found.value, found.passed) == (1, False)


@pytest.mark.parametrize("field", ["source", "scanner"])
def test_a_hospital_or_scanner_that_tells_the_label_stops_the_run(field: str) -> None:
    told = [replace(one, **{field: f"h{one.label}"}) for one in dealt(200)]  # type: ignore[arg-type]
    found = named(guards_of(told), f"label-by-{field}")
    assert not found.passed
    assert found.value > 0.95
    assert "p 0.002" in found.sentence


def test_a_view_that_tells_the_label_is_warned_of_and_stops_nothing() -> None:
    guards = guards_of([replace(one, view=("PA", "AP")[one.label]) for one in dealt(200)])
    assert named(guards, "label-by-view").warns
    stop_where_failed(guards)


def test_the_external_part_may_be_of_one_hospital_and_one_class() -> None:
    outside = [example(1000 + at, EXTERNAL, source="elsewhere", label=1) for at in range(100)]
    stop_where_failed(guards_of([*dealt(200), *outside]))


def test_a_share_of_positives_that_differs_between_parts_is_warned_of() -> None:
    rng = np.random.default_rng(3)
    examples = [replace(one, label=int(rng.random() < (0.8 if one.split == "test" else 0.3))) for one in dealt(600)]
    found = named(guards_of(examples), "label-share")
    assert found.warns
    assert found.passed
    assert found.value > 0.3


def test_a_share_that_chance_explains_is_not_warned_of() -> None:
    few = [example(at, ("train", "validation", "test")[at % 3], label=int(at in {0, 1, 3})) for at in range(9)]
    assert not named(guards_of(few), "label-share").warns


@given(st.integers(0, 10_000), st.integers(20, 200), st.integers(1, 40))
@settings(max_examples=60)
def test_groups_that_chance_dealt_out_tell_nothing(seed: int, patients: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"g{group}" for group in rng.integers(0, kinds, patients)]
    found, chance = told_by(groups, rng.integers(0, 2, patients).tolist())
    assert found < RULE_LIMIT or chance > 0.01


@pytest.mark.parametrize(("share", "stops"), [(0.6, False), (0.7, False), (0.85, True), (0.95, True)])
def test_hospitals_may_differ_in_what_they_see_but_not_be_the_answer(share: float, stops: bool) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 400)
    groups = [f"h{label if rng.random() < share else 1 - label}" for label in labels]
    found, chance = told_by(groups, labels.tolist())
    assert (found >= RULE_LIMIT and chance <= 0.01) is stops


def test_a_scanner_of_its_own_for_each_patient_is_no_rule() -> None:
    found, _ = told_by([f"x{at}" for at in range(300)], [at % 2 for at in range(300)])
    assert found == pytest.approx(0.5)


# On pixels


def print_of(picture: npt.NDArray[np.uint8]) -> Fingerprint:
    volume = (picture.astype(np.float32) * (65535 / 255)).astype(np.uint16)[None]
    return fingerprint(planes_of(volume, "DX", SPEC), "DX")


def test_the_same_pixels_in_two_parts_or_under_two_patients_stop_the_run() -> None:
    one, other = example(1), example(2)
    assert not same_pixels([one, replace(other, split="test")], ["a", "a"]).passed
    assert not same_pixels([one, other], ["a", "a"]).passed
    assert same_pixels([one, replace(other, patient="p1")], ["a", "a"]).passed
    assert same_pixels([one, replace(other, split="test")], ["a", "b"]).passed


def test_no_more_than_three_pairs_are_named() -> None:
    examples = [example(at, "train" if at % 2 else "test") for at in range(10)]
    sentence = same_pixels(examples, [str(at // 2) for at in range(10)]).sentence
    assert sentence.count(" and i") == 3
    assert sentence.endswith("and 2 more pairs")


def test_a_search_over_20_000_pictures_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    details = rng.standard_normal((20_000, 1, 1024), dtype=np.float32)
    details /= np.linalg.norm(details, axis=2, keepdims=True)
    prints = [Fingerprint(rng.integers(0, 2**63, 1, dtype=np.uint64), each) for each in details]
    examples = dealt(20_000)
    place = next(at for at, one in enumerate(examples) if one.split == "test")
    other = next(at for at, one in enumerate(examples) if one.split == "train")
    prints[place] = prints[other]
    start = time.process_time()
    assert alike_pairs(examples, prints) == [(other, place)]
    assert time.process_time() - start < 20


@pytest.fixture(scope="module")
def phantoms() -> list[npt.NDArray[np.int16]]:
    return [volume_of(number) for number in range(1, 25)]


def volume_of(number: int) -> npt.NDArray[np.int16]:
    files = phantom_study(number, consolidated=bool(number % 2), slices=12, size=128).files
    slices = sorted((dcmread(BytesIO(file)) for file in files), key=lambda one: float(one.ImagePositionPatient[2]))
    return np.stack([
        np.clip(one.pixel_array.astype(np.float32) + float(one.RescaleIntercept), -2000, 3000).astype(np.int16)
        for one in slices
    ])  # fmt: skip


def ct(at: int, split: str) -> Example:
    return example(at, split, modality="CT")


def test_phantoms_of_different_patients_are_not_alike(phantoms: list[npt.NDArray[np.int16]]) -> None:
    prints = [fingerprint(planes_of(volume, "CT", SPEC), "CT") for volume in phantoms]
    examples = [ct(at, "train" if at % 2 else "test") for at in range(len(phantoms))]
    assert near_duplicates(examples, prints).passed


@pytest.mark.parametrize("change", ["noise", "brighter", "reversed", "coarser"])
def test_a_study_that_comes_again_under_another_patient_is_found(
    phantoms: list[npt.NDArray[np.int16]], change: str
) -> None:
    rng = np.random.default_rng(1)
    found = 0
    for volume in phantoms[:10]:
        again = {
            "noise": volume + rng.normal(0, 10, volume.shape),
            "brighter": volume + 8.0,
            "reversed": volume[::-1],
            "coarser": np.rint(volume / 4.0) * 4,
        }[change]
        prints = [fingerprint(planes_of(one.astype(np.int16), "CT", SPEC), "CT") for one in (volume, again)]
        found += not near_duplicates([ct(0, "train"), ct(1, "test")], prints).passed
    assert found >= 9


def labelled(name: str) -> list[dict[str, str]]:
    path = DATA / name / "labels.csv"
    if not path.is_file():
        pytest.skip(f"RADLOOP_TEST_DATA names no folder with {name}")
    with path.open() as file:
        return list(csv.DictReader(file))


def pictures(name: str) -> tuple[list[Example], list[npt.NDArray[np.uint8]]]:
    """Radiographs with their patients, dealt as a data set deals them."""
    rows = labelled(name)
    found = [np.asarray(grey_pixels((DATA / name / row["file"]).read_bytes())[0]) for row in rows]
    examples = [example(at, str(split_of(row["patient_id"])), patient=row["patient_id"]) for at, row in enumerate(rows)]
    return examples, found


@pytest.mark.data
@pytest.mark.parametrize("name", ["cxr-kermany", "cxr-nih"])
def test_real_chests_of_different_patients_are_not_alike_and_their_copies_are(name: str) -> None:
    examples, found = pictures(name)
    prints = [print_of(picture) for picture in found]
    assert near_duplicates(examples, prints).passed
    apart = [replace(one, split="train" if at % 2 else "test") for at, one in enumerate(examples)]
    by_patient = {(apart[one].patient, apart[other].patient) for one, other in alike_pairs(apart, prints)}
    assert all(one == other for one, other in by_patient), "two patients were taken for one"
    missed = [
        change for picture, seen in list(zip(found, prints, strict=True))[:60] for change in _missed(picture, seen)
    ]
    assert len(missed) <= 0.02 * 60 * 5, missed


def _missed(picture: npt.NDArray[np.uint8], seen: Fingerprint) -> list[str]:
    """Changes of a picture under which it is not known again."""
    rows, columns = picture.shape
    image = Image.fromarray(picture)
    packed = BytesIO()
    image.save(packed, "JPEG", quality=30)
    noise = np.random.default_rng(1).normal(0, 6, picture.shape)
    copies = {
        "compressed": np.asarray(Image.open(BytesIO(packed.getvalue()))),
        "smaller": np.asarray(image.resize((columns // 2, rows // 2))),
        "paler": (255 * (picture / 255.0) ** 0.67).astype(np.uint8),
        "windowed": np.clip((picture - 30.0) * 1.3, 0, 255).astype(np.uint8),
        "noisy": np.clip(picture + noise, 0, 255).astype(np.uint8),
    }
    pair = [example(0), example(1, "test")]
    return [name for name, copy in copies.items() if near_duplicates(pair, [seen, print_of(copy)]).passed]


@pytest.mark.data
def test_two_honest_hospitals_together_pass() -> None:
    mixed: list[Example] = []
    for name in ("cxr-kermany", "cxr-nih"):
        for row in labelled(name):
            split = str(split_of(row["patient_id"]))
            label = int(row["label"] == "pneumonia")
            file = f"{name}-{row['file']}"
            mixed.append(example(len(mixed), split, patient=row["patient_id"], label=label, source=name, study=file))
    guards = guards_of(mixed)
    stop_where_failed(guards)
    assert 0.55 < named(guards, "label-by-source").value < 0.65
    assert {one.split for one in mixed} == {str(split) for split in Split}
