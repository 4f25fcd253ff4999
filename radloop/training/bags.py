"""The planes that preprocessing wrote, read back as bags; and how training varies them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import CT, Bag, Planes, TileSpec, bag_of
from radloop.training.folder import read_json, sha256_of
from radloop.training.shards import number_of, planes_in

_SHIFT: Final = 0.06  # of the tile's side, each way
_CONTRAST: Final = 0.10
_BRIGHTNESS: Final = 0.05
_NOISE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the preprocessed data.

    Attributes:
        spec: How its planes were made and are to be cut into tiles.
        labels: float32 (bags,), 0 or 1.
        targets: float32 (bags,), the posterior that the finding is there, 0..1; the label where no manifest tells it.
        weights: float32 (bags,), how much each bag counts in training; 1 where no manifest tells it.
        patients: Pseudonym of each bag.
        modalities: Of each bag.
        files: Of each bag, uint8 (planes, size, size), its own or a shard; read when needed.
        firsts: Of each bag, its first plane in its shard, or None where the file is its own.
        lists: Of each bag, the shard it lies in, counted from 0; 0 where there are none.
        counts: Planes of each bag.
        items: Of each bag, what the manifest says of it.
        dataset_sha256: Of the manifest it all came from.
        manifest_sha256: Of the part's own manifest, which holds a hash of every image.
    """

    spec: TileSpec
    labels: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    patients: tuple[str, ...]
    modalities: tuple[str, ...]
    files: tuple[Path, ...]
    firsts: tuple[int | None, ...]
    lists: tuple[int, ...]
    counts: tuple[int, ...]
    items: tuple[Mapping[str, Any], ...]
    dataset_sha256: str
    manifest_sha256: str

    def bag(self, at: int) -> Bag:
        """Bag number `at` as evaluation sees it: float32 (tiles, 3, size, size) in 0..1."""
        return bag_of(self.planes(at), self.modalities[at], self.spec)

    def varied_bag(self, at: int, rng: np.random.Generator, strength: float) -> Bag:
        """Bag number `at` as training sees it: other tiles every time, each varied, same shape and range."""
        tiles = bag_of(self.planes(at), self.modalities[at], self.spec, rng)
        return augment(tiles, rng, strength) if strength else tiles

    @property
    def list_count(self) -> int:
        """How many shards there are; 1 where every bag has its own file."""
        return max(self.lists, default=0) + 1

    def tiles_in_training(self, at: int) -> int:
        """Tiles that bag number `at` gives in one step."""
        return self.spec.tiles_per_bag if self.modalities[at] == CT else 1

    def tiles_in_evaluation(self, at: int) -> int:
        """Tiles that bag number `at` gives in evaluation."""
        return min(self.counts[at], self.spec.tiles_in_evaluation)

    def planes(self, at: int) -> Planes:
        """The planes of bag number `at`: uint8 (planes, size, size).

        Raises:
            InvalidInput: The file is missing or damaged.
        """
        first = self.firsts[at]
        if first is not None:
            return planes_in(self.files[at], first, self.counts[at])
        try:
            planes: Planes = np.load(self.files[at], allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise InvalidInput(f"{self.files[at].name} is missing or damaged") from None
        return planes


def read_part(folder: Path) -> Part:
    """The part that preprocessing wrote to `folder`.

    Raises:
        InvalidInput: The manifest is missing, lacks a field or holds a posterior or weight out of range.
    """
    manifest = read_json(folder / "manifest.json")
    try:
        items = tuple(manifest["items"])
        part = Part(
            spec=TileSpec.from_json(manifest["tile_spec"]),
            labels=np.array([item["label"] for item in items], dtype=np.float32),
            targets=np.array([item.get("posterior", item["label"]) for item in items], dtype=np.float32),
            weights=np.array([item.get("weight", 1.0) for item in items], dtype=np.float32),
            patients=tuple(item["patient"] for item in items),
            modalities=tuple(item["modality"] for item in items),
            files=tuple(folder / str(item["file"]) for item in items),
            firsts=tuple(int(item["first"]) if "first" in item else None for item in items),
            lists=tuple(number_of(item["file"]) if "first" in item else 0 for item in items),
            counts=tuple(int(item["planes"]) for item in items),
            items=items,
            dataset_sha256=str(manifest["dataset_sha256"]),
            manifest_sha256=sha256_of(folder / "manifest.json"),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidInput(f"the manifest of the {folder.name} part lacks a field") from None
    if not ((part.targets >= 0) & (part.targets <= 1) & (part.weights >= 0) & np.isfinite(part.weights)).all():
        raise InvalidInput(f"the manifest of the {folder.name} part has a posterior or weight that is none")
    return part


def augment(tiles: Bag, rng: np.random.Generator, strength: float = 1.0) -> Bag:
    """A bag as another scanner might have shown it: shifted, brighter or paler, noisier.

    Never mirrored: left and right mean something in a chest.

    Args:
        tiles: float32 (tiles, 3, size, size) in 0..1.
        rng: Where the chance comes from.
        strength: 1 is the most that a long training stands; a short one learns faster with less.

    Returns:
        The same shape and range.
    """
    size = tiles.shape[-1]
    reach = int(round(_SHIFT * strength * size))  # noqa: RUF046 — mypy sees a float
    down, right = (int(step) for step in rng.integers(-reach, reach + 1, 2))
    at = np.arange(size)
    tiles = tiles[:, :, (at - down).clip(0, size - 1)[:, None], (at - right).clip(0, size - 1)]
    tiles *= np.float32(1 + strength * rng.uniform(-_CONTRAST, _CONTRAST))
    tiles += np.float32(strength * rng.uniform(-_BRIGHTNESS, _BRIGHTNESS))
    tiles += rng.standard_normal(tiles.shape, dtype=np.float32) * np.float32(strength * rng.uniform(0, _NOISE))
    return np.clip(tiles, 0, 1, out=tiles)


def alike(part: Part, most_tiles: int) -> Iterator[tuple[list[int], Bag]]:
    """All bags for evaluation, in groups with the same number of tiles so that each is one array.

    Yields:
        Numbers of the bags, and float32 (bags, tiles, 3, size, size) of at most `most_tiles` tiles, but of one bag at
        least.
    """
    for group in groups([part.tiles_in_evaluation(at) for at in range(len(part.counts))], most_tiles):
        yield group, np.stack([part.bag(at) for at in group])


def groups(tiles: Sequence[int], most_tiles: int) -> Iterator[list[int]]:
    """Numbers of the bags, in groups of as many tiles a bag and of at most `most_tiles` tiles, or one bag, together."""
    by_tiles: dict[int, list[int]] = {}
    for at, count in enumerate(tiles):
        by_tiles.setdefault(count, []).append(at)
    for count, members in sorted(by_tiles.items()):
        step = max(1, most_tiles // count)
        for first in range(0, len(members), step):
            yield members[first : first + step]
