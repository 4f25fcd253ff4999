"""The Processing job that turns a dataset snapshot into planes ready for training.

    python -m radloop.training.preprocess [--image-size 224] [--tiles-per-bag 16] [--tiles-in-evaluation 32]

It reads `processing/input/dataset/`: `manifest.jsonl`, one line an image set (`core.datasets.Example`), the pixels that
the lines name, and `snapshot.json`, which tells of retired test patients and may be missing.

It writes `processing/{train,validation,test,external}/`: `images/*.npy`, uint8 (planes, size, size), and
`manifest.json`, whose items hold every field of their line. A dataset that would teach or prove something false is
refused with the reason: see `radloop.training.guards`. Augmentation is not done here but in training, where it differs
in every epoch.
"""

import argparse
import hashlib
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.datasets import PARTS, Example, Split
from radloop.core.datasets import read_manifest as examples_of
from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import CT, XRAYS, TileSpec, planes_of
from radloop.training.folder import announce, read_json, run_job, sha256_of, write_atomically, write_json
from radloop.training.guards import (
    Fingerprint,
    Guard,
    fingerprint,
    guards_of,
    near_duplicates,
    same_pixels,
    stop_where_failed,
)
from radloop.training.shards import pack

_ANNOUNCED_EVERY: Final = 50
_MOST_FILES: Final = 2000  # in one part; of more, shards are made


def preprocess(root: Path, spec: TileSpec) -> None:
    """Check the dataset and write its parts.

    Args:
        root: Of the job's folders.
        spec: Size and number of tiles.

    Raises:
        InvalidInput: The manifest cannot be read, a part is empty or holds one class only, a guard failed, or an image
            is constant, missing or of the wrong kind.
    """
    dataset = root / "processing" / "input" / "dataset"
    examples = read_manifest(dataset / "manifest.jsonl")
    check_parts(examples)
    guards = guards_of(examples, retired_in(dataset))
    stop_where_failed(guards)
    for part in PARTS:
        shutil.rmtree(root / "processing" / part, ignore_errors=True)
    items, prints = _write_planes(root, dataset, examples, spec)
    guards += [same_pixels(examples, [item["pixels_sha256"] for item in items]), near_duplicates(examples, prints)]
    stop_where_failed(guards)
    _write_manifests(root, items, guards, spec, source=sha256_of(dataset / "manifest.jsonl"))


def read_manifest(path: Path) -> list[Example]:
    """The examples in a dataset manifest, in the order of their image set ids.

    Raises:
        InvalidInput: The file is missing, a line cannot be read, an image set stands there twice, or is of a modality
            we do not train on.
    """
    if not path.is_file():
        raise InvalidInput("the dataset has no manifest.jsonl")
    examples = examples_of(path.read_text(encoding="utf-8"))
    strange = [example.image_set for example in examples if example.modality not in {CT, *XRAYS}]
    if strange:
        raise InvalidInput(f"image set {strange[0]} is of a modality that is not trained on")
    return examples


def retired_in(dataset: Path) -> frozenset[str]:
    """Pseudonyms of the test patients who may not come back; none where no `snapshot.json` tells of any.

    Raises:
        InvalidInput: It cannot be read.
    """
    path = dataset / "snapshot.json"
    if not path.is_file():
        return frozenset()
    try:
        return frozenset(str(each) for each in read_json(path).get("retired_patients", ()))
    except (AttributeError, TypeError):
        raise InvalidInput("snapshot.json does not tell of retired patients the way it should") from None


def check_parts(examples: Sequence[Example]) -> None:
    """Refuse parts of our own patients that are empty or know one class only.

    Raises:
        InvalidInput: With the part and the figures.
    """
    for split in Split:
        labels = [example.label for example in examples if example.split == split]
        if not labels:
            raise InvalidInput(f"the {split} part is empty")
        if len(set(labels)) == 1:
            lacking = "negative" if labels[0] else "positive"
            raise InvalidInput(f"the {split} part has {len(labels)} image sets and not one {lacking}")


def _write_planes(
    root: Path, dataset: Path, examples: Sequence[Example], spec: TileSpec
) -> tuple[list[dict[str, Any]], list[Fingerprint]]:
    """Write the planes of every example; what the manifests say of each, and what each looks like."""
    items: list[dict[str, Any]] = []
    prints: list[Fingerprint] = []
    for done, example in enumerate(examples, start=1):
        volume = load_volume(dataset, example)
        pixels = pixels_sha256(volume, example)
        planes = planes_of(volume, example.modality, spec)
        name = f"images/{example.image_set}.npy"
        write_atomically(root / "processing" / example.split / name, lambda beside, p=planes: _save(beside, p))  # type: ignore[misc]
        prints.append(fingerprint(planes, example.modality))
        items.append(
            {
                **asdict(example),
                "file": name,
                "planes": len(planes),
                "pixels_sha256": pixels,
                "dhash": prints[-1].told(),
            }
        )
        if done % _ANNOUNCED_EVERY == 0 or done == len(examples):
            announce("preprocessed", done=done, of=len(examples))
    return items, prints


def _write_manifests(
    root: Path, items: Sequence[dict[str, Any]], guards: Sequence[Guard], spec: TileSpec, *, source: str
) -> None:
    parts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        parts[item["split"]].append(item)
    for part in PARTS:
        manifest = {
            "split": part,
            "tile_spec": spec.to_json(),
            "dataset_sha256": source,
            "guards": [guard.to_json() for guard in guards],
            "items": parts[part],
        }
        write_json(root / "processing" / part / "manifest.json", manifest)
        if len(parts[part]) > _MOST_FILES:
            pack(root / "processing" / part)


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


def pixels_sha256(volume: npt.NDArray[np.generic], example: Example) -> str:
    """SHA-256 of shape, type and pixels, hexadecimal.

    Raises:
        InvalidInput: The pixels are all alike.
    """
    if volume.size == 0 or volume.min() == volume.max():
        raise InvalidInput(f"image set {example.image_set} is empty or has the same value everywhere")
    digest = hashlib.sha256(f"{volume.shape}{volume.dtype}".encode())
    digest.update(np.ascontiguousarray(volume).data)
    return digest.hexdigest()


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
