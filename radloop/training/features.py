"""Embeddings computed once, for trainings whose encoder does not learn: the rest takes seconds.

They lie in `checkpoints/features/` under a name that is a hash of all they depend on: the encoder's weights, the part,
how tiles are cut, and how the copies were varied. Another seed of the last layer, another learning rate or another
number of epochs finds them again.
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from radloop.dicom.tiles import Bag
from radloop.training.bags import Part, groups
from radloop.training.distributed import Team
from radloop.training.folder import announce, write_atomically
from radloop.training.hyperparameters import Hyperparameters
from radloop.training.network import EMBEDDING, BagClassifier, weights_sha256
from radloop.training.tensors import tensor_of

_MOST_TILES: Final = 256
_SALT: Final = 0xFEA7


@dataclass(frozen=True, slots=True)
class Features:
    """The embeddings of a part.

    Attributes:
        rows: float32 (copies, rows, 2048).
        first: int64 (bags + 1,): the rows of bag n are first[n] to first[n + 1].
    """

    rows: npt.NDArray[np.float32]
    first: npt.NDArray[np.int64]

    @property
    def copies(self) -> int:
        """In how many variations every bag is there."""
        return len(self.rows)

    def of(self, bags: Sequence[int], copies: Sequence[int]) -> npt.NDArray[np.float32]:
        """Embeddings float32 (bags, rows, 2048) of bags that have as many rows each, in the copies asked for."""
        pairs = zip(bags, copies, strict=True)
        return np.stack([self.rows[copy, self.first[bag] : self.first[bag + 1]] for bag, copy in pairs])


def features_of(
    model: BagClassifier, part: Part, chosen: Hyperparameters, folder: Path, *, copies: int, team: Team
) -> Features:
    """The embeddings of a part, out of the cache or computed by all processes together.

    With mean pooling a bag is one row, for the mean of embeddings is all that the last line sees; with attention it is
    one row a tile.

    Args:
        model: Its encoder's weights; on the device that computes.
        part: Of the data.
        chosen: Pooling, seed and strength of the variation.
        folder: `checkpoints/features/`.
        copies: Varied ones of every bag; 0 for one as evaluation sees it.
        team: Who computes.
    """
    pooled = chosen.pooling == "mean"
    key = _key(model, part, chosen, copies=copies, pooled=pooled)
    path = folder / f"{key}.npz"
    begun = time.monotonic()
    found = team.from_first(_cached(path) if team.is_first else None)
    if found is None:
        made = _compute(model, part, chosen, copies=copies, pooled=pooled, team=team)
        if team.is_first:
            write_atomically(path, lambda beside: _save(beside, made))
    if team.is_first:
        seconds = round(time.monotonic() - begun, 2)
        announce(
            "features",
            image_sets=len(part.labels),
            copies=max(1, copies),
            cached=found is not None,
            seconds=seconds,
        )
    return made if found is None else found


def _compute(
    model: BagClassifier, part: Part, chosen: Hyperparameters, *, copies: int, pooled: bool, team: Team
) -> Features:
    tiles = [part.tiles_in_training(at) if copies else part.tiles_in_evaluation(at) for at in range(len(part.labels))]
    first = np.concatenate(([0], np.cumsum([1 if pooled else count for count in tiles]))).astype(np.int64)
    rows = np.zeros((max(1, copies), int(first[-1]), EMBEDDING), dtype=np.float32)
    model.eval()
    with torch.inference_mode():
        for copy in range(max(1, copies)):
            for group in groups(tiles, _MOST_TILES):
                places = team.share([part.lists[at] for at in group], part.list_count)
                if not places:
                    continue
                mine = [group[place] for place in places]
                bags = np.stack([_bag(part, at, copy if copies else None, chosen) for at in mine])
                seen = model.embed(tensor_of(bags, model))
                kept = (seen.mean(dim=1, keepdim=True) if pooled else seen).cpu().numpy()
                for at, values in zip(mine, kept, strict=True):
                    rows[copy, first[at] : first[at + 1]] = values
    return Features(team.total(rows), first)


def _bag(part: Part, at: int, copy: int | None, chosen: Hyperparameters) -> Bag:
    """A bag in one of its variations, or as evaluation sees it where `copy` is None."""
    if copy is None:
        return part.bag(at)
    return part.varied_bag(at, np.random.default_rng([chosen.seed, _SALT, copy, at]), chosen.augmentation)


def _key(model: BagClassifier, part: Part, chosen: Hyperparameters, *, copies: int, pooled: bool) -> str:
    encoder = {name: value for name, value in model.encoder.state_dict().items() if not name.startswith("fc.")}
    depends: dict[str, Any] = {
        "encoder": weights_sha256(encoder),
        "part": part.manifest_sha256,
        "spec": part.spec.to_json(),
        "copies": copies,
        "pooled": pooled,
        "variation": [chosen.seed, chosen.augmentation] if copies else None,
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _cached(path: Path) -> Features | None:
    """What lies in the cache; None where there is nothing or it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Features(file["rows"], file["first"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def _save(path: Path, features: Features) -> None:
    with path.open("wb") as file:
        np.savez(file, rows=features.rows, first=features.first)
