"""Made-up films on which brightness tells nothing, for judging a gate rather than a model.

A film is a chest of soft shadows with one small patch of streaks somewhere in it. Streaks that run down to the left are
the finding; streaks that run down to the right are a harmless look-alike. One is the mirror image of the other, and all
15 numbers of `radloop.dicom.intensity` are the same for a picture and its mirror image: who sees no shape is left with
a coin, and who sees shapes is nearly always right.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.datasets import Example

SIZE: Final = 48
SLICES: Final = 6
CT_HU: Final = 950  # from black to white
STREAKED: Final = 4  # slices of a CT that the patch goes through
PARTS: Final = {"train": 260, "validation": 120, "test": 160}
Picture = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Film:
    """One image set: its line in the manifest, and float64 (planes, rows, columns) in 0..1."""

    example: Example
    picture: Picture

    def told(self, **changes: Any) -> "Film":
        """The same film with other facts in its line."""
        return replace(self, example=replace(self.example, **changes))

    def shown(self, picture: Picture) -> "Film":
        """The same line with other pixels."""
        return replace(self, picture=picture)

    @property
    def part(self) -> str:
        """The part it belongs to."""
        return self.example.split


def cohort(
    seed: int,
    *,
    parts: Mapping[str, int] = PARTS,
    positive: float = 0.5,
    contrast: float = 1.0,
    modality: str = "DX",
) -> list[Film]:
    """One film each of as many patients as `parts` names, with the finding in a share of them.

    Args:
        seed: Another one gives other patients.
        parts: Patients of each part.
        positive: Share with the finding, the same in every part.
        contrast: Of the streaks; with 0 nothing is to be seen.
        modality: `DX`, or `CT` for studies of a few slices.
    """
    films = []
    for part, count in parts.items():
        positives = round(positive * count)
        films += [
            film(seed, f"{part}-{number:04d}", part, label=int(number < positives), contrast=contrast, kind=modality)
            for number in range(count)
        ]
    return films


def film(seed: int, name: str, part: str, *, label: int, contrast: float = 1.0, kind: str = "DX") -> Film:
    """The film of one patient; the same arguments give the same film."""
    rng = np.random.default_rng([seed, int(pseudonym(name)[:8], 16)])
    example = Example(
        image_set=f"{seed}-{name}",
        version=1,
        patient=pseudonym(f"{seed}:{name}"),
        study=pseudonym(f"{seed}:{name}:study"),
        split=part,
        label=label,
        posterior=float(label),
        modality=kind,
        file=f"images/{seed}-{name}.npy",
        source=f"house-{rng.integers(2)}",
        scanner=f"scanner-{rng.integers(2)}",
        sex="FM"[int(rng.integers(2))],
        age_band=("18-39", "40-64", "65+")[int(rng.integers(3))],
        view="PA",
        licence="made-up",
    )
    planes = SLICES if kind == "CT" else 1
    return Film(example, chest(rng, leans_left=bool(label), contrast=contrast, planes=planes))


def chest(rng: np.random.Generator, *, leans_left: bool, contrast: float, planes: int = 1) -> Picture:
    """Soft shadows, two darker lungs, grain, and a patch of streaks: float64 (planes, 48, 48) in 0..1."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    shade = _smooth(rng)
    for centre in (0.3, 0.7):
        down, right = 0.5 + rng.uniform(-0.06, 0.06), centre + rng.uniform(-0.05, 0.05)
        tall, wide = rng.uniform(0.3, 0.42), rng.uniform(0.14, 0.2)
        shade -= 0.25 / (1 + np.exp(12 * (np.hypot((rows - down) / tall, (columns - right) / wide) - 1)))
    down, right = rng.uniform(0.28, 0.72, 2)
    across = (columns - right) + (1 if leans_left else -1) * (rows - down)
    waves = np.cos(across * SIZE * np.sqrt(0.5) * 2 * np.pi / rng.uniform(5, 7) + rng.uniform(0, 2 * np.pi))
    patch = 0.22 * waves * np.exp(-((rows - down) ** 2 + (columns - right) ** 2) / (2 * 0.13**2))
    first = (planes - STREAKED) // 2
    made = [
        shade + contrast * patch * (planes == 1 or first <= at < first + STREAKED) + rng.normal(0, 0.03, shade.shape)
        for at in range(planes)
    ]
    return np.clip(np.stack(made), 0, 1)


def _smooth(rng: np.random.Generator) -> Picture:
    """Shadows without edges, about 0.6."""
    at = np.arange(SIZE) * 2 * np.pi / SIZE
    shade = np.full((SIZE, SIZE), 0.6)
    for _ in range(5):
        down, right = rng.uniform(0.3, 2.0, 2) * rng.choice((-1, 1), 2)
        shade += 0.05 * np.cos(down * at[:, None] + right * at + rng.uniform(0, 2 * np.pi))
    return shade


def write(films: Iterable[Film], dataset: Path) -> None:
    """A data set as the runner lays it out: `manifest.jsonl` and the pixels it names."""
    (dataset / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for one in films:
        np.save(dataset / one.example.file, pixels_of(one))
        lines.append(one.example.line())
    (dataset / "manifest.jsonl").write_bytes(b"".join(lines))


def pixels_of(one: Film) -> npt.NDArray[np.generic]:
    """As an import would leave them: uint16 of an X-ray; HU, int16, of a CT, in the lower part of the lung window.

    None of a CT is brighter than -400 HU, so that nothing is taken for lung in a wall and cropped to.
    """
    if one.example.modality == "CT":
        return np.rint(one.picture * CT_HU - 1350).astype(np.int16)
    return np.rint(one.picture * 65535).astype(np.uint16)


def pseudonym(of: str) -> str:
    """A name that tells nothing."""
    return hashlib.sha256(f"bench:{of}".encode()).hexdigest()[:32]
