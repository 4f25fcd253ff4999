"""The Processing job that turns a dataset snapshot into planes ready for training.

    python -m radloop.training.preprocess [--image-size 224] [--tiles-per-bag 16] [--tiles-in-evaluation 32]

It reads `processing/input/dataset/manifest.jsonl`, one JSON object a line:

    {"image_set": "4f..", "version": 1, "patient": "9c..", "split": "train", "label": 0, "modality": "CT",
     "file": "images/4f...npy"}

and writes `processing/{train,validation,test}/`: `images/*.npy`, uint8 (planes, size, size), and `manifest.json`. A
dataset that would teach or prove something false is refused with the reason. Augmentation is not done here but in
training, where it differs in every epoch.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.datasets import Split
from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import CT, XRAYS, TileSpec, planes_of
from radloop.training.folder import announce, run_job, sha256_of, write_atomically, write_json

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Example:
    """One line of the dataset manifest."""

    image_set: str
    version: int
    patient: str
    split: Split
    label: int
    modality: str
    file: str


def preprocess(root: Path, spec: TileSpec) -> None:
    """Check the dataset and write the three parts.

    Args:
        root: Of the job's folders.
        spec: Size and number of tiles.

    Raises:
        InvalidInput: The manifest cannot be read, a part is empty or holds one class only, a patient or the same
            pixels stand in two parts, or an image is constant, missing or of the wrong kind.
    """
    dataset = root / "processing" / "input" / "dataset"
    examples = read_manifest(dataset / "manifest.jsonl")
    check_parts(examples)
    source = sha256_of(dataset / "manifest.jsonl")
    items: dict[Split, list[dict[str, Any]]] = defaultdict(list)
    seen: dict[str, Example] = {}
    for split in Split:
        shutil.rmtree(root / "processing" / split, ignore_errors=True)
    for done, example in enumerate(examples, start=1):
        volume = load_volume(dataset, example)
        pixels = check_pixels(volume, example, seen)
        planes = planes_of(volume, example.modality, spec)
        name = f"images/{example.image_set}.npy"
        write_atomically(root / "processing" / example.split / name, lambda beside, p=planes: _save(beside, p))  # type: ignore[misc]
        items[example.split].append(
            {**asdict(example), "file": name, "planes": len(planes), "pixels_sha256": pixels},
        )
        if done % 50 == 0 or done == len(examples):
            announce("preprocessed", done=done, of=len(examples))
    for split in Split:
        manifest = {"split": split, "tile_spec": spec.to_json(), "dataset_sha256": source, "items": items[split]}
        write_json(root / "processing" / split / "manifest.json", manifest)


def read_manifest(path: Path) -> list[Example]:
    """The examples in a dataset manifest, in the order of their image set ids.

    Raises:
        InvalidInput: The file is missing, a line cannot be read or an image set stands there twice.
    """
    if not path.is_file():
        raise InvalidInput("the dataset has no manifest.jsonl")
    examples = [_parse_line(number, line) for number, line in _lines(path)]
    ids = {example.image_set for example in examples}
    if len(ids) < len(examples):
        raise InvalidInput(f"{len(examples) - len(ids)} image sets stand in the manifest more than once")
    return sorted(examples, key=lambda example: example.image_set)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def _parse_line(number: int, line: str) -> Example:
    """One manifest line as an example; names only the line's number, for the line speaks of a patient."""
    try:
        value = json.loads(line)
        example = Example(
            image_set=str(value["image_set"]),
            version=int(value["version"]),
            patient=str(value["patient"]),
            split=Split(value["split"]),
            label=int(value["label"]),
            modality=str(value["modality"]),
            file=str(value["file"]),
        )
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"line {number} of the manifest lacks a field or holds one of the wrong kind") from None
    inside = PurePosixPath(example.file)
    if not _NAME.fullmatch(example.image_set) or inside.is_absolute() or ".." in inside.parts:
        raise InvalidInput(f"line {number} of the manifest names a file outside the dataset")
    if example.label not in (0, 1) or example.modality not in {CT, *XRAYS} or not example.patient:
        raise InvalidInput(f"line {number} of the manifest has a label, modality or patient we do not know")
    return example


def check_parts(examples: Sequence[Example]) -> None:
    """Refuse parts that are empty, know one class only or share a patient.

    Raises:
        InvalidInput: With the part and the figures.
    """
    for split in Split:
        labels = [example.label for example in examples if example.split is split]
        if not labels:
            raise InvalidInput(f"the {split} part is empty")
        if len(set(labels)) == 1:
            lacking = "negative" if labels[0] else "positive"
            raise InvalidInput(f"the {split} part has {len(labels)} image sets and not one {lacking}")
    parts: dict[str, set[Split]] = defaultdict(set)
    for example in examples:
        parts[example.patient].add(example.split)
    torn = sum(len(splits) > 1 for splits in parts.values())
    if torn:
        raise InvalidInput(f"{torn} patients stand in more than one part, so the test would not be one")


def load_volume(dataset: Path, example: Example) -> npt.NDArray[np.generic]:
    """The pixels of one example.

    Raises:
        InvalidInput: The file is missing or is not an array file.
    """
    try:
        volume = np.load(dataset / example.file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InvalidInput(f"the pixels of image set {example.image_set} are missing or cannot be read") from None
    return np.asarray(volume)


def check_pixels(volume: npt.NDArray[np.generic], example: Example, seen: dict[str, Example]) -> str:
    """Refuse pixels that are all alike, or that another part holds too; remember them in `seen`.

    Returns:
        SHA-256 of shape, type and pixels, hexadecimal.

    Raises:
        InvalidInput: With the image sets concerned.
    """
    if volume.size == 0 or volume.min() == volume.max():
        raise InvalidInput(f"image set {example.image_set} is empty or has the same value everywhere")
    digest = hashlib.sha256(f"{volume.shape}{volume.dtype}".encode())
    digest.update(np.ascontiguousarray(volume).data)
    pixels = digest.hexdigest()
    first = seen.setdefault(pixels, example)
    if first.split is not example.split:
        raise InvalidInput(
            f"image sets {first.image_set} ({first.split}) and {example.image_set} ({example.split}) "
            "have the same pixels"
        )
    return pixels


def _save(path: Path, planes: npt.NDArray[np.uint8]) -> None:
    with path.open("wb") as file:
        np.save(file, planes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see the module."""
    parser = argparse.ArgumentParser(prog="python -m radloop.training.preprocess", description=preprocess.__doc__)
    default = TileSpec()
    parser.add_argument("--image-size", type=int, default=default.size)
    parser.add_argument("--tiles-per-bag", type=int, default=default.tiles_per_bag)
    parser.add_argument("--tiles-in-evaluation", type=int, default=default.tiles_in_evaluation)
    chosen = parser.parse_args(arguments)

    def job(root: Path) -> None:
        spec = TileSpec(chosen.image_size, chosen.tiles_per_bag, chosen.tiles_in_evaluation)
        preprocess(root, spec)

    return run_job(job)


if __name__ == "__main__":
    sys.exit(main())
