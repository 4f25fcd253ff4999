"""From pixels to what the network sees; training and serving share every step, so that they cannot differ.

    volume -> planes    crop to the lungs (CT), window, square, resize: uint8 (planes, size, size), kept between epochs
    planes -> bag       pick planes, stack three channels: float32 (tiles, 3, size, size) in 0..1

A bag is one study and has one label. For CT a tile is a slice with its two neighbours as channels; for an X-ray it is
one view, three times. numpy only.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.errors import InvalidInput

Planes = npt.NDArray[np.uint8]
Bag = npt.NDArray[np.float32]

CT: Final = "CT"
XRAYS: Final = frozenset({"CR", "DX"})
CHANNELS: Final = 3
_AIR_BELOW_HU: Final = -400


@dataclass(frozen=True, slots=True)
class TileSpec:
    """How pixels become tiles; travels with a model as `preprocess.json`.

    Attributes:
        size: Rows and columns of a tile.
        tiles_per_bag: Tiles drawn from a CT in one training step. Of an X-ray it is always one view.
        tiles_in_evaluation: Most tiles of a study in evaluation and serving; fewer where it has fewer planes.
        channels: `adjacent`: a CT slice between its neighbours; `same`: the slice three times; X-rays always so.
        crop: `lungs`: of a CT, the box around the aired lung; `none`: everything. X-rays are never cropped.
        window_center: Of the CT window, HU.
        window_width: Of the CT window, HU.
    """

    size: int = 224
    tiles_per_bag: int = 16
    tiles_in_evaluation: int = 32
    channels: str = "adjacent"
    crop: str = "lungs"
    window_center: float = -600.0
    window_width: float = 1500.0

    def __post_init__(self) -> None:
        """Refuse a spec that no image can satisfy.

        Raises:
            InvalidInput: A size or count is below 1, the window has no width, channels or crop are unknown.
        """
        if min(self.size, self.tiles_per_bag, self.tiles_in_evaluation) < 1 or self.window_width <= 0:
            raise InvalidInput("a tile spec needs sizes and counts of at least 1 and a window wider than 0 HU")
        if self.channels not in {"adjacent", "same"}:
            raise InvalidInput("the channels of a tile spec are 'adjacent' or 'same'")
        if self.crop not in {"lungs", "none"}:
            raise InvalidInput("the crop of a tile spec is 'lungs' or 'none'")

    def to_json(self) -> dict[str, Any]:
        """As it is written to `preprocess.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TileSpec":
        """The spec that `to_json` wrote.

        Raises:
            InvalidInput: A value is missing or cannot be used.
        """
        try:
            return cls(
                size=int(values["size"]),
                tiles_per_bag=int(values["tiles_per_bag"]),
                tiles_in_evaluation=int(values["tiles_in_evaluation"]),
                channels=str(values["channels"]),
                crop=str(values["crop"]),
                window_center=float(values["window_center"]),
                window_width=float(values["window_width"]),
            )
        except (KeyError, TypeError, ValueError):
            raise InvalidInput("a tile spec lacks a value or holds one of the wrong kind") from None


@dataclass(frozen=True, slots=True)
class Extent:
    """Where planes lie in the study that they were made of.

    Attributes:
        first: Number of the study's frame that the first plane is.
        top: Upper edge of a plane, in parts of the frame's height: 0 is the frame's own edge, 1 its other one. Below 0
            where a plane reaches beyond the frame.
        left: The same of the left edge, in parts of the width.
        bottom: Of the lower edge.
        right: Of the right edge.
    """

    first: int
    top: float
    left: float
    bottom: float
    right: float


def planes_of(volume: npt.NDArray[np.generic], modality: str, spec: TileSpec) -> Planes:
    """Every plane of a study, windowed and resized by area.

    The box around the lungs fills the square whatever its shape, for that evens out the shapes of bodies and wastes no
    pixel. What is not cropped keeps its shape and is padded with black.

    Args:
        volume: CT: int16 (slices, rows, columns), HU. X-ray: uint16 (views, rows, columns), MONOCHROME2 polarity,
            0..65535.
        modality: `CT`, `CR` or `DX`.
        spec: Size and window.

    Returns:
        uint8 (planes, size, size); 0 is black.

    Raises:
        InvalidInput: The array or modality is none of the above.
    """
    return located_planes(volume, modality, spec)[0]


def located_planes(volume: npt.NDArray[np.generic], modality: str, spec: TileSpec) -> tuple[Planes, Extent]:
    """The same, and where in the study the planes lie, so that what is seen in them can be shown in it."""
    if volume.ndim != 3 or 0 in volume.shape:  # noqa: PLR2004 — planes, rows, columns
        raise InvalidInput(f"a study is an array of planes, rows and columns, not of {volume.ndim} axes")
    if modality == CT and volume.dtype == np.int16:
        low, width = spec.window_center - spec.window_width / 2, spec.window_width
    elif modality in XRAYS and volume.dtype == np.uint16:
        low, width = 0.0, 65535.0
    else:
        raise InvalidInput(f"tiles are made from int16 CT and uint16 CR or DX, not from {volume.dtype} {modality}")
    is_cropped = modality == CT and spec.crop == "lungs"
    shape, first, box = volume.shape[1:], 0, None
    if is_cropped:
        slices, rows, columns = lung_box(volume.view(np.int16))
        first, box = slices.start, (rows, columns)
        volume = volume[slices, rows, columns]
    planes = np.empty((len(volume), spec.size, spec.size), dtype=np.uint8)
    for at, plane in enumerate(volume):
        grey = np.clip((plane.astype(np.float32) - np.float32(low)) * np.float32(1 / width), 0, 1)
        planes[at] = np.rint(_resize(grey, spec.size, fill=is_cropped) * np.float32(255))
    return planes, Extent(first, *(_sides(shape, spec.size) if box is None else _box_sides(shape, box)))


def _box_sides(shape: tuple[int, ...], box: tuple[slice, slice]) -> tuple[float, float, float, float]:
    (rows, columns), (down, across) = shape, box
    return down.start / rows, across.start / columns, down.stop / rows, across.stop / columns


def _sides(shape: tuple[int, ...], size: int) -> tuple[float, float, float, float]:
    """Of a square in which an image keeps its shape: it reaches beyond the image where that is padded."""
    height, width = _shrunk(shape, size)
    top, left = (size - height) // 2, (size - width) // 2
    return -top / height, -left / width, (size - top) / height, (size - left) / width


def lung_box(volume: npt.NDArray[np.int16]) -> tuple[slice, slice, slice]:
    """The box around the aired lung of a chest CT, with a small margin.

    Aired is what is darker than -400 HU and has a wall of brighter pixels on all four sides in its slice, together at
    least 4 % of the slice thick: air around the patient has not, for a table is thinner. A slice, row or column belongs
    to the box if its share of such pixels is above a fifth (slices) or a twentieth of the greatest share, so that gas
    in the bowel does not widen it.

    Args:
        volume: int16 (slices, rows, columns), HU.

    Returns:
        Ranges of slices, rows and columns; the whole volume where there is next to no such lung (less than 1 %).
    """
    step = max(1, max(volume.shape[1:]) // 256)  # a coarse look is enough to place a box
    coarse = volume[:, ::step, ::step]
    solid = coarse > _AIR_BELOW_HU
    inside = ~solid
    for axis in (1, 2):
        before = np.cumsum(solid, axis=axis, dtype=np.int32)
        wall = max(1, round(0.04 * solid.shape[axis]))
        inside &= (before >= wall) & (before.max(axis=axis, keepdims=True) - before >= wall)
    if inside.mean() < 0.01:  # noqa: PLR2004 — stated above
        return slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2])
    ranges = []
    for axis, (scale, least) in enumerate(((1, 0.20), (step, 0.05), (step, 0.05))):
        share = inside.mean(axis=tuple(other for other in range(3) if other != axis))
        kept = np.flatnonzero(share > least * share.max())
        margin = 0 if axis == 0 else max(1, len(share) // 64)
        first, last = max(0, int(kept[0]) - margin), int(kept[-1]) + 1 + margin
        ranges.append(slice(first * scale, min(last * scale, volume.shape[axis])))
    return ranges[0], ranges[1], ranges[2]


def _resize(plane: npt.NDArray[np.float32], size: int, *, fill: bool) -> npt.NDArray[np.float32]:
    """A plane as a square: float32 (size, size); stretched to fill it, or in its shape with black beside it."""
    rows, columns = plane.shape
    if fill:
        return np.asarray(_weights(rows, size) @ plane @ _weights(columns, size).T, dtype=np.float32)
    height, width = _shrunk(plane.shape, size)
    square = np.zeros((size, size), dtype=np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = _weights(rows, height) @ plane @ _weights(columns, width).T
    return square


def _shrunk(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Rows and columns of an image whose longer side becomes `size`."""
    scale = size / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


@lru_cache(maxsize=64)
def _weights(before: int, after: int) -> npt.NDArray[np.float32]:
    """Resampling along one axis: float32 (after, before), rows sum to 1.

    Shrinking averages by covered area; growing interpolates between pixel middles.
    """
    if after <= before:
        edges = np.arange(after + 1) * (before / after)
        pixel = np.arange(before)
        overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    else:
        middle = ((np.arange(after) + 0.5) * (before / after) - 0.5).clip(0, before - 1)
        overlap = 1 - np.abs(middle[:, None] - np.arange(before))
    weights = np.clip(overlap, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def spread(count: int, tiles: int, rng: np.random.Generator | None = None) -> npt.NDArray[np.int64]:
    """Which planes become tiles: `tiles` indices over `count` planes, evenly, ascending.

    The planes are cut into `tiles` equal stretches. With a generator the place within each stretch is random, without
    one it is the middle. More tiles than planes means repeats.

    >>> spread(16, 4).tolist()
    [2, 6, 10, 14]
    """
    within = rng.random(tiles) if rng is not None else 0.5
    places = (np.arange(tiles) + within) * (count / tiles)
    return np.asarray(np.floor(np.minimum(places, count - 1)), dtype=np.int64)


def bag_of(planes: Planes, modality: str, spec: TileSpec, rng: np.random.Generator | None = None) -> Bag:
    """One bag of tiles.

    Args:
        planes: uint8 (planes, size, size), from `planes_of`.
        modality: `CT`, `CR` or `DX`.
        spec: The one `planes` was made with.
        rng: In training: of a CT exactly `tiles_per_bag` tiles at random places, the neighbours of a slice in either
            order (series come head first and feet first); of an X-ray one view. Without: up to `tiles_in_evaluation`
            tiles at fixed places.

    Returns:
        float32 (tiles, 3, size, size) in 0..1.
    """
    wanted = spec.tiles_per_bag if modality == CT else 1
    tiles = min(len(planes), spec.tiles_in_evaluation) if rng is None else wanted
    at = spread(len(planes), tiles, rng)
    if modality == CT and spec.channels == "adjacent":
        step = -1 if rng is not None and rng.random() < 0.5 else 1  # noqa: PLR2004
        beside = np.stack((at - step, at, at + step), axis=1).clip(0, len(planes) - 1)
    else:
        beside = np.repeat(at[:, None], CHANNELS, axis=1)
    return np.asarray(planes[beside], dtype=np.float32) * np.float32(1 / 255)
