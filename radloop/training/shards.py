"""Many small files as few large ones: a part of the preprocessed data in shards of fixed size.

    python -m radloop.training.shards FOLDER

A part of 20,000 studies as 20,000 files is slow to copy and slow on a network disk. A shard is one uint8 array
(planes, size, size) of many studies, in whatever order the manifest has them; the manifest's items say in which shard
(`file`) and from which plane on (`first`) their planes lie. A shard's name holds its SHA-256, so that the SHA-256 of
the manifest speaks for every pixel. Each process of a training reads a list of shards of its own.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import Planes
from radloop.training.folder import read_json, write_atomically, write_json

SHARD_BYTES: Final = 128 << 20
_FOLDER: Final = "shards"
_NAME: Final = re.compile(r"(\d{5})-([0-9a-f]{64})\.npy")
_OPEN: Final = 64


def pack(folder: Path, shard_bytes: int = SHARD_BYTES) -> int:
    """Turn a part of single files into one of shards, in place; returns how many shards it has.

    The manifest is replaced after the shards are written and before the single files go, so that a kill leaves a part
    that can be read. A part of shards is left as it is.

    Args:
        folder: Of a part: `manifest.json` and what its items name.
        shard_bytes: Pixels of a shard, at most; a study that has more gets a shard for itself.

    Raises:
        InvalidInput: The manifest or an image cannot be read.
    """
    manifest = read_json(folder / "manifest.json")
    items: list[dict[str, Any]] = manifest["items"]
    if all("first" in item for item in items):
        return len({item["file"] for item in items})
    packed: list[dict[str, Any]] = []
    singles = [folder / item["file"] for item in items]
    for number, members in enumerate(_fitting(items, manifest["tile_spec"]["size"], shard_bytes)):
        planes = np.concatenate([_single(folder / item["file"]) for item in members])
        name = f"{_FOLDER}/{number:05d}-{hashlib.sha256(planes.tobytes()).hexdigest()}.npy"
        write_atomically(folder / name, lambda beside, planes=planes: _save(beside, planes))  # type: ignore[misc]
        first = 0
        for item in members:
            packed.append({**item, "file": name, "first": first})
            first += int(item["planes"])
    write_json(folder / "manifest.json", {**manifest, "items": packed})
    for path in singles:
        path.unlink(missing_ok=True)
    return len({item["file"] for item in packed})


def planes_in(path: Path, first: int, count: int) -> Planes:
    """The planes of one study out of its shard: uint8 (count, size, size).

    Raises:
        InvalidInput: The shard is missing, shorter than its manifest says or not what its name says.
    """
    shard = _opened(path)
    if first < 0 or first + count > len(shard):
        raise InvalidInput(f"shard {path.name[:5]} is shorter than the manifest says")
    return np.array(shard[first : first + count])


def number_of(name: str) -> int:
    """The number of a shard, from its name.

    Raises:
        InvalidInput: It is no shard's name.
    """
    found = _NAME.fullmatch(Path(name).name)
    if found is None:
        raise InvalidInput("the manifest names a shard that has no number and SHA-256 in its name")
    return int(found[1])


@lru_cache(maxsize=_OPEN)
def _opened(path: Path) -> Planes:
    """A shard mapped into memory, after its pixels were held against the SHA-256 in its name."""
    named = _NAME.fullmatch(path.name)
    try:
        shard: Planes = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InvalidInput(f"shard {path.name[:5]} is missing or damaged") from None
    if named is None or hashlib.sha256(np.ascontiguousarray(shard).data).hexdigest() != named[2]:
        raise InvalidInput(f"the pixels of shard {path.name[:5]} are not those its name speaks of")
    return shard


def _fitting(items: Sequence[dict[str, Any]], size: int, shard_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """The items in their order, cut where a shard is full."""
    members: list[dict[str, Any]] = []
    planes = 0
    for item in items:
        if members and (planes + int(item["planes"])) * size * size > shard_bytes:
            yield members
            members, planes = [], 0
        members.append(item)
        planes += int(item["planes"])
    if members:
        yield members


def _single(path: Path) -> Planes:
    try:
        planes: Planes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InvalidInput(f"{path.name} is missing or damaged") from None
    return planes


def _save(path: Path, planes: Planes) -> None:
    with path.open("wb") as file:
        np.save(file, planes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack a part that preprocessing wrote; see the module."""
    parser = argparse.ArgumentParser(prog="python -m radloop.training.shards", description=pack.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=int, default=SHARD_BYTES >> 20, help="pixels of a shard, at most")
    chosen = parser.parse_args(arguments)
    try:
        count = pack(chosen.folder, chosen.megabytes << 20)
    except InvalidInput as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
    sys.stdout.write(f"{count} shards\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
