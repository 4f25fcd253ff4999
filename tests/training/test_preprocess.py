"""The preprocessing job: what it writes, and every dataset it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radloop.core.datasets import Split
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
    assert "1 patients stand in more than one part" in reason(job_root)
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
        ("modality", "MR"),
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
