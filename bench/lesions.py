"""Whether the saliency of a model points at the lesion of a phantom: hits, and how often chance would hit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import onnxruntime

from radloop.dicom.tiles import CT, Extent, located_planes, spread
from radloop.training.bags import Part, read_part

SLACK = 0.04  # of the box around the lungs, by which a lesion is widened on every side
SHOWN = 12
SIDE = 160

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where a model looked in one study with a lesion.

    Attributes:
        at: Number of the bag in the test part.
        saliency: float32 (tiles, h, w).
        inside: bool (tiles, h, w): the middle of this place lies in the widened lesion.
        lesion: bool (tiles, side, side): the lesion itself, in the tiles.
        chance: Share of all places that lie in it.
        elsewhere: Share of the other patients' strongest places that would lie in it.
    """

    at: int
    saliency: Map
    inside: Mask
    lesion: Mask
    chance: float
    elsewhere: float = 0.0

    @property
    def strongest(self) -> tuple[int, int, int]:
        """Tile, row and column of the highest value."""
        tile, row, column = np.unravel_index(int(self.saliency.argmax()), self.saliency.shape)
        return int(tile), int(row), int(column)

    @property
    def is_hit(self) -> bool:
        """Whether the strongest place lies in the lesion."""
        return bool(self.inside[self.strongest])


def point(root: Path) -> list[Pointing]:
    """Look at every positive test study of a trained job, whatever the model says of it."""
    part = read_part(root / "processing" / "test")
    session = onnxruntime.InferenceSession(root / "model" / "model.onnx", providers=["CPUExecutionProvider"])
    found = [_look(session, part, at, root) for at in range(len(part.labels)) if part.labels[at]]
    places = [_relative(one) for one in found]
    for number, one in enumerate(found):
        others = [_is_inside(one, place) for other, place in enumerate(places) if other != number]
        found[number] = Pointing(one.at, one.saliency, one.inside, one.lesion, one.chance, float(np.mean(others)))
    return found


def _look(session: Any, part: Part, at: int, root: Path) -> Pointing:
    (saliency,) = session.run(["saliency"], {"tiles": part.bag(at)[None]})
    tiles, rows, columns = saliency[0].shape
    name = str(part.items[at]["image_set"])
    dataset = root / "processing" / "input" / "dataset"
    volume = np.load(dataset / "images" / f"{name}.npy")
    mask = np.load(dataset / "lesions" / f"{name}.npy")
    _, extent = located_planes(volume, CT, part.spec)
    planes = extent.first + spread(part.counts[at], tiles)
    wide = np.stack([_widened(mask[plane], extent) for plane in planes])
    inside = _sampled(wide, extent, rows, columns)
    return Pointing(at, saliency[0], inside, _sampled(mask[planes], extent, SIDE, SIDE), float(inside.mean()))


def _widened(mask: Mask, extent: Extent) -> Mask:
    """A slice of the lesion, wider by `SLACK` of the box on every side."""
    rows, columns = mask.shape
    wide = mask
    for axis, size in ((0, (extent.bottom - extent.top) * rows), (1, (extent.right - extent.left) * columns)):
        for _ in range(max(1, round(SLACK * size))):
            wide = wide | np.roll(wide, 1, axis) | np.roll(wide, -1, axis)
    return wide


def _sampled(masks: Mask, extent: Extent, rows: int, columns: int) -> Mask:
    """Masks (tiles, rows, columns) of whole frames at the middles of a grid over the box."""
    height, width = masks.shape[1:]
    down = (extent.top + (np.arange(rows) + 0.5) / rows * (extent.bottom - extent.top)) * height
    across = (extent.left + (np.arange(columns) + 0.5) / columns * (extent.right - extent.left)) * width
    at = np.clip(down.astype(int), 0, height - 1), np.clip(across.astype(int), 0, width - 1)
    return masks[:, at[0][:, None], at[1][None, :]]


def _relative(one: Pointing) -> tuple[float, float, float]:
    """The strongest place as parts of the box, 0..1, so that it can be looked up in another patient."""
    return tuple((place + 0.5) / size for place, size in zip(one.strongest, one.saliency.shape, strict=True))  # type: ignore[return-value]


def _is_inside(one: Pointing, place: tuple[float, float, float]) -> bool:
    return bool(one.inside[tuple(int(part * size) for part, size in zip(place, one.inside.shape, strict=True))])


def draw(pointing: list[Pointing], root: Path) -> bytes:
    """A PNG: of some patients the slice that counts most, the lesion outlined in green, the saliency in orange."""
    part = read_part(root / "processing" / "test")
    cells = [_cell(one, part) for one in pointing[:SHOWN]]
    lines = [np.concatenate(cells[first : first + 6], axis=1) for first in range(0, len(cells) // 6 * 6, 6)]
    picture = np.concatenate(lines or [cells[0]], axis=0)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture), level=6))


def _cell(one: Pointing, part: Part) -> npt.NDArray[np.uint8]:
    tile, row, column = one.strongest
    grey = part.bag(one.at)[tile, 1]
    at = np.arange(SIDE) * grey.shape[0] // SIDE
    picture = np.repeat(grey[at][:, at, None], 3, axis=2)
    heat = _stretched(one.saliency[tile] / max(float(one.saliency.max()), 1e-12))
    picture = picture * (1 - 0.5 * heat[..., None]) + np.array([1.0, 0.4, 0.0]) * 0.5 * heat[..., None]
    lesion = one.lesion[tile]
    inner = lesion & np.roll(lesion, 1, 0) & np.roll(lesion, -1, 0) & np.roll(lesion, 1, 1) & np.roll(lesion, -1, 1)
    picture[lesion & ~inner] = (0.2, 1.0, 0.2)
    middle = [
        int((place + 0.5) / size * SIDE) for place, size in zip((row, column), one.saliency.shape[1:], strict=True)
    ]
    picture[middle[0] - 1 : middle[0] + 2, middle[1] - 5 : middle[1] + 6] = 1.0
    picture[middle[0] - 5 : middle[0] + 6, middle[1] - 1 : middle[1] + 2] = 1.0
    picture[:, -1] = picture[-1] = 1.0
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)


def _stretched(coarse: Map) -> Map:
    """A coarse map over the whole cell, linear between the middles of its places."""
    weights = []
    for size in coarse.shape:
        middle = ((np.arange(SIDE) + 0.5) * size / SIDE - 0.5).clip(0, size - 1)
        weights.append(np.clip(1 - np.abs(middle[:, None] - np.arange(size)), 0, None))
    return np.asarray(weights[0] @ coarse @ weights[1].T, dtype=np.float32)
