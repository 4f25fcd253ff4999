"""The preprocessing job: what it writes, and every dataset it refuses."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radloop.core.datasets import PARTS, Example, Split
from radloop.dicom.tiles import TileSpec, planes_of
from radloop.training.preprocess import main

ARGUMENTS = ["--image-size", "16", "--tiles-per-bag", "2", "--tiles-in-evaluation", "4"]
Dataset = Callable[..., list[dict[str, Any]]]
Manifest = Callable[[Path, list[dict[str, Any]]], None]


def reason(root: Path) -> str:
    return (root / "output" / "failure").read_text()


def test_every_part_holds_the_planes_that_serving_would_make(job_root: Path, dataset: Dataset) -> None:
    lines = dataset(job_root)
    assert main(ARGUMENTS) == 0
    spec = TileSpec(16, 2, 4)
    for split in Split:
        part = job_root / "processing" / split
        written = json.loads((part / "manifest.json").read_text())
        assert TileSpec.from_json(written["tile_spec"]) == spec
        assert sorted(i["image_set"] for i in written["items"]) == [
            line["image_set"] for line in lines if line["split"] == split
        ]
        for item in written["items"]:
            raw = np.load(job_root / "processing" / "input" / "dataset" / item["file"])
            planes = np.load(part / item["file"])
            assert planes.dtype == np.uint8
            assert np.array_equal(planes, planes_of(raw, "CT", spec))
    assert not (job_root / "output" / "failure").exists()


def test_a_second_run_gives_the_same_manifests_and_leaves_nothing_of_the_first(
    job_root: Path, dataset: Dataset, manifest: Manifest
) -> None:
    lines = dataset(job_root)
    assert main(ARGUMENTS) == 0
    path = job_root / "processing" / "train" / "manifest.json"
    first = path.read_bytes()
    assert main(ARGUMENTS) == 0
    assert path.read_bytes() == first
    manifest(job_root, [line for line in lines if line["image_set"] != "train-0"])
    assert main(ARGUMENTS) == 0
    assert not (path.parent / "images" / "train-0.npy").exists()


def test_every_part_tells_of_its_image_sets_and_of_the_guards(
    job_root: Path, dataset: Dataset, manifest: Manifest
) -> None:
    lines = dataset(job_root)
    known = {"study": "s1", "posterior": 0.93, "weight": 0.8, "source": "north", "scanner": "a-64", "reads": 3}
    manifest(
        job_root, [{**lines[0], **known, "label": 1}, *({**line, "study": line["image_set"]} for line in lines[1:])]
    )
    assert main(ARGUMENTS) == 0
    for part in PARTS:
        written = json.loads((job_root / "processing" / part / "manifest.json").read_text())
        assert {guard["name"] for guard in written["guards"]} >= {"patient-overlap", "near-duplicates", "same-pixels"}
        assert all(guard["passed"] for guard in written["guards"])
        assert all(set(item) >= {field.name for field in fields(Example)} for item in written["items"])
        assert all(len(digits) == 16 for item in written["items"] for digits in item["dhash"])
    item = next(i for i in items_of(job_root, lines[0]["split"]) if i["image_set"] == lines[0]["image_set"])
    assert {name: item[name] for name in known} == known
    assert items_of(job_root, "external") == []


def test_external_image_sets_have_a_part_of_their_own(job_root: Path, dataset: Dataset, manifest: Manifest) -> None:
    lines = dataset(job_root)
    moved = [{**line, "split": "external"} if line["image_set"] == "test-0" else line for line in lines]
    manifest(job_root, moved)
    assert main(ARGUMENTS) == 0
    assert [item["image_set"] for item in items_of(job_root, "external")] == ["test-0"]


def items_of(root: Path, part: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads((root / "processing" / part / "manifest.json").read_text())["items"]
    return items


def test_a_retired_test_patient_stops_the_run(job_root: Path, dataset: Dataset) -> None:
    lines = dataset(job_root)
    path = job_root / "processing" / "input" / "dataset" / "snapshot.json"
    path.write_text(json.dumps({"retired_patients": ["somebody", lines[-1]["patient"]]}))
    assert main(ARGUMENTS) == 1
    assert reason(job_root) == "retired-patients: 1 of 2 retired test patients came back into the data set\n"
    path.write_text("[]")
    assert main(ARGUMENTS) == 1
    assert "snapshot.json" in reason(job_root)


def test_a_source_that_is_the_label_stops_the_run(job_root: Path, dataset: Dataset, manifest: Manifest) -> None:
    lines = dataset(job_root, per_class=8)
    manifest(job_root, [{**line, "source": f"hospital-{line['label']}"} for line in lines])
    assert main(ARGUMENTS) == 1
    assert reason(job_root).startswith("label-by-source: knowing the source alone tells the label")


def test_nearly_the_same_pixels_in_two_parts_are_refused(job_root: Path, dataset: Dataset) -> None:
    dataset(job_root, modality="DX")
    images = job_root / "processing" / "input" / "dataset" / "images"
    brighter = np.load(images / "train-0.npy") // 10 * 9 + 500
    np.save(images / "test-0.npy", brighter.astype(np.uint16))
    assert main(ARGUMENTS) == 1
    wanted = "near-duplicates: image sets train-0 (train) and test-0 (test) are nearly the same picture\n"
    assert reason(job_root) == wanted


def test_a_modality_that_is_not_trained_on_is_refused(job_root: Path, dataset: Dataset, manifest: Manifest) -> None:
    lines = dataset(job_root)
    manifest(job_root, [{**lines[0], "modality": "MR"}, *lines[1:]])
    assert main(ARGUMENTS) == 1
    assert reason(job_root) == f"image set {lines[0]['image_set']} is of a modality that is not trained on\n"


def test_x_rays_are_taken_too(job_root: Path, dataset: Dataset) -> None:
    dataset(job_root, modality="DX")
    assert main(ARGUMENTS) == 0
    assert np.load(job_root / "processing" / "test" / "images" / "test-1.npy").shape == (1, 16, 16)


@pytest.mark.parametrize("split", list(Split))
def test_an_empty_part_is_refused(split: Split, job_root: Path, dataset: Dataset, manifest: Manifest) -> None:
    manifest(job_root, [line for line in dataset(job_root) if line["split"] != split])
    assert main(ARGUMENTS) == 1
    assert reason(job_root) == f"the {split} part is empty\n"


def test_a_part_with_one_class_is_refused(job_root: Path, dataset: Dataset, manifest: Manifest) -> None:
    manifest(job_root, [line for line in dataset(job_root) if line["split"] != "test" or line["label"] == 0])
    assert main(ARGUMENTS) == 1
    assert reason(job_root) == "the test part has 3 image sets and not one positive\n"


def test_a_patient_in_two_parts_is_refused_and_not_named(job_root: Path, dataset: Dataset, manifest: Manifest) -> None:
    lines = dataset(job_root)
    lines[0]["patient"] = lines[-1]["patient"]
    manifest(job_root, lines)
    assert main(ARGUMENTS) == 1
    assert reason(job_root).startswith("patient-overlap: 1 patients stand in more than one part")
    assert lines[0]["patient"] not in reason(job_root)


def test_the_same_pixels_in_two_parts_are_refused(job_root: Path, dataset: Dataset) -> None:
    dataset(job_root)
    images = job_root / "processing" / "input" / "dataset" / "images"
    (images / "test-0.npy").write_bytes((images / "train-0.npy").read_bytes())
    assert main(ARGUMENTS) == 1
    assert "test-0 (test) and train-0 (train) have the same pixels" in reason(job_root)


def test_a_constant_image_is_refused(job_root: Path, dataset: Dataset) -> None:
    dataset(job_root)
    np.save(job_root / "processing" / "input" / "dataset" / "images" / "train-2.npy", np.zeros((4, 24, 24), np.int16))
    assert main(ARGUMENTS) == 1
    assert "image set train-2 is empty or has the same value everywhere" in reason(job_root)


def test_missing_or_damaged_pixels_are_refused(job_root: Path, dataset: Dataset) -> None:
    dataset(job_root)
    path = job_root / "processing" / "input" / "dataset" / "images" / "train-2.npy"
    path.write_bytes(path.read_bytes()[:200])
    assert main(ARGUMENTS) == 1
    path.unlink()
    assert main(ARGUMENTS) == 1
    assert "image set train-2 are missing or cannot be read" in reason(job_root)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("split", "holdout"),
        ("label", 2),
        ("file", "../../secret.npy"),
        ("image_set", "../x"),
        ("patient", ""),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_by_its_number(
    field: str, value: object, job_root: Path, dataset: Dataset, manifest: Manifest
) -> None:
    lines = dataset(job_root)
    lines[1][field] = value
    manifest(job_root, lines)
    assert main(ARGUMENTS) == 1
    assert reason(job_root).startswith("line 2 of the manifest")


def test_a_missing_manifest_and_a_doubled_image_set_are_refused(
    job_root: Path, dataset: Dataset, manifest: Manifest
) -> None:
    assert main(ARGUMENTS) == 1
    assert reason(job_root) == "the dataset has no manifest.jsonl\n"
    lines = dataset(job_root)
    manifest(job_root, [*lines, lines[0]])
    assert main(ARGUMENTS) == 1
    assert reason(job_root) == "1 image sets stand in the manifest more than once\n"
