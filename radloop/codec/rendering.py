"""Frames as pictures for people: windowed, cut, scaled, in 8 bits. A preview, never a measurement.

See:
    PS3.3 C.11.2.1.2 (VOI functions), C.7.9 (palettes); PS3.18 §8.3.5 (rendering parameters).
"""

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.codec.htj2k import CODEC_FAULTS
from radloop.core.errors import InvalidInput, UnsupportedPixels

FUNCTIONS = frozenset({"linear", "linear-exact", "sigmoid"})
"""How a window turns values into grey."""

_COLOUR = 3
_TOP = 255.0
_STEEPEST = 60.0
_SAMPLED = 1 << 18

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Window:
    """A window in rescaled values; `width` is greater than 0, and at least 1 where `function` is linear."""

    center: float
    width: float
    function: str = "linear"


@dataclass(frozen=True, slots=True)
class Viewport:
    """Where a picture is to fit, and which part of the frame it shows.

    Attributes:
        width, height: Pixels the picture must fit into; its proportions are kept.
        left, top: First column and row of the part shown; they may have a fraction, which is cut.
        across, down: Columns and rows of the part; None for all to the end, negative ones mirror it.
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    across: float | None = None
    down: float | None = None


def grey(
    values: NDArray[Any],
    window: Window | None = None,
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    is_inverted: bool = False,
) -> Picture:
    """A grey frame in 8 bits.

    Args:
        values: (rows, columns), stored values.
        window: In rescaled values; without one, from the lowest to the highest hundredth of the frame.
        slope: Factor from stored to rescaled values.
        intercept: What is added after that.
        is_inverted: The lowest value is white (MONOCHROME1).
    """
    rescaled = values.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    shade = _shade(rescaled, window or _whole(rescaled))
    shade = np.nan_to_num(np.clip(shade, 0.0, 1.0), copy=False)
    if is_inverted:
        shade = 1.0 - shade
    picture: Picture = np.rint(shade * np.float32(_TOP)).astype(np.uint8)
    return picture


def colour(values: NDArray[Any], bits_stored: int) -> Picture:
    """An RGB frame (rows, columns, 3) in 8 bits."""
    if values.dtype == np.uint8 and bits_stored >= 8:  # noqa: PLR2004 — bits of a byte
        return values
    scaled = values.astype(np.float32) * np.float32(_TOP / ((1 << bits_stored) - 1))
    picture: Picture = np.clip(np.rint(scaled), 0, _TOP).astype(np.uint8)
    return picture


def painted(indices: NDArray[Any], palette: NDArray[np.uint8], first: int) -> Picture:
    """A palette frame in RGB: (rows, columns) of indices through (entries, 3); `first` is the first entry's index."""
    places = np.clip(indices.astype(np.int64) - first, 0, len(palette) - 1)
    return np.ascontiguousarray(palette[places])


def fitted(picture: Picture, viewport: Viewport) -> Picture:
    """The part of a picture that a viewport shows, scaled to fit it.

    Raises:
        InvalidInput: The part lies outside the picture.
    """
    rows, columns = picture.shape[:2]
    across = columns - viewport.left if viewport.across is None else viewport.across
    down = rows - viewport.top if viewport.down is None else viewport.down
    top, left = int(viewport.top), int(viewport.left)
    part = picture[max(top, 0) : top + round(abs(down)), max(left, 0) : left + round(abs(across))]
    if not part.size or min(top, left) < 0:
        raise InvalidInput("the part to be shown lies outside the picture")
    if down < 0:
        part = part[::-1]
    if across < 0:
        part = part[:, ::-1]
    scale = min(viewport.width / part.shape[1], viewport.height / part.shape[0])
    return _scaled(part, max(1, round(part.shape[0] * scale)), max(1, round(part.shape[1] * scale)))


def as_jpeg(picture: Picture, quality: int) -> bytes:
    """A picture as baseline JPEG, `quality` 1 to 100.

    Raises:
        UnsupportedPixels: It has more rows or columns than JPEG can write.
    """
    try:
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(picture), level=quality))
    except CODEC_FAULTS as error:
        raise UnsupportedPixels(f"a picture of {picture.shape} cannot be written as JPEG") from error


def as_png(picture: Picture) -> bytes:
    """A picture as PNG."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture), level=3))


def _shade(values: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """From 0, black, to 1, white; beyond both where the window ends (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    center, width = np.float32(window.center), np.float32(window.width)
    if window.function == "sigmoid":
        exponent = np.clip(-4 * (values - center) / width, -_STEEPEST, _STEEPEST)
        sigmoid: NDArray[np.float32] = 1 / (1 + np.exp(exponent))
        return sigmoid
    if window.function == "linear-exact":
        return (values - center) / width + np.float32(0.5)
    if width <= 1:
        return (values > center - np.float32(0.5)).astype(np.float32)
    return (values - (center - np.float32(0.5))) / (width - 1) + np.float32(0.5)


def _whole(values: NDArray[np.float32]) -> Window:
    """A window from the lowest to the highest hundredth, of every so many pixels."""
    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLED)]
    sample = sample[np.isfinite(sample)]
    low, high = (float(value) for value in np.percentile(sample, (1, 99))) if sample.size else (0.0, 1.0)
    return Window((low + high) / 2, max(high - low, 1e-6), "linear-exact")


def _scaled(picture: Picture, rows: int, columns: int) -> Picture:
    """A picture of another size: the mean of what a pixel covers where it shrinks, straight lines where it grows."""
    if picture.shape[:2] == (rows, columns):
        return np.ascontiguousarray(picture)
    halves = max(1, min(picture.shape[0] // (2 * rows) or 1, picture.shape[1] // (2 * columns) or 1))
    if halves > 1:  # whole blocks first: the rest is then small work
        kept = picture[: picture.shape[0] // halves * halves, : picture.shape[1] // halves * halves]
        blocks = kept.reshape(kept.shape[0] // halves, halves, kept.shape[1] // halves, halves, -1)
        planes = blocks.mean(axis=(1, 3), dtype=np.float32)
    else:
        planes = picture.reshape(*picture.shape[:2], -1).astype(np.float32)
    down, across = _weights(planes.shape[0], rows), _weights(planes.shape[1], columns)
    scaled = np.stack([down @ planes[..., place] @ across.T for place in range(planes.shape[2])], axis=-1)
    shown: Picture = np.clip(np.rint(scaled), 0, _TOP).astype(np.uint8)
    return shown[..., 0] if picture.ndim < _COLOUR else shown


def _weights(before: int, after: int) -> NDArray[np.float32]:
    """(after, before): how much every pixel gives to each of the new ones; a triangle as wide as the step."""
    step = before / after
    centers = (np.arange(after, dtype=np.float32) + 0.5) * step - 0.5
    reach = max(1.0, step)
    distances = np.abs(np.arange(before, dtype=np.float32)[None, :] - centers[:, None]) / np.float32(reach)
    weights: NDArray[np.float32] = np.maximum(0, 1 - distances).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
