"""The picture of a model's result: the key slice, where the model looked as colours over it, and words around it.

The words are part of the pixels, so that no viewer can leave them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from radloop.core.errors import InvalidInput
from radloop.results.letters import HEIGHT, width_of, written

Rgb = npt.NDArray[np.uint8]

WARNING: Final = "AI result, not verified, not for diagnosis"
LONGEST_SIDE: Final = 768
_LEAST_WIDTH, _MARGIN, _LINE_GAP = 880, 24, 6
_HEADING_SCALE, _TEXT_SCALE = 3, 2
_BAR_WIDTH, _BAR_STRIP = 24, 120
_STRONGEST = 0.65  # of a colour over the grey: what is below stays to be seen
_WEAKEST_SHOWN = (
    0.15  # of the strongest; below it the grey stays untouched, for every map is a little above 0 somewhere
)
_BACKGROUND, _WORDS, _ALERT = (16, 16, 20), (230, 230, 230), (255, 196, 0)
_RAMP: Final = (
    (0.0, (40, 11, 84)),
    (0.25, (122, 28, 109)),
    (0.5, (207, 68, 70)),
    (0.75, (251, 155, 6)),
    (1.0, (252, 255, 164)),
)


@dataclass(frozen=True, slots=True)
class KeySlice:
    """The frame that says most, and where on it the model looked.

    Attributes:
        frame: Its place in the image set, from 0.
        plane: uint8 (rows, columns), windowed grey.
        heat: float32 (h, w) of any size, over exactly the same frame; 0 or more, not scaled.
    """

    frame: int
    plane: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InvalidInput: Another type, no pixels, or heat that is negative or no number.
        """
        if self.plane.ndim != 2 or self.plane.dtype != np.uint8 or not self.plane.size:  # noqa: PLR2004
            raise InvalidInput("the key slice is uint8 (rows, columns) with at least one pixel")
        if self.heat.ndim != 2 or not self.heat.size:  # noqa: PLR2004
            raise InvalidInput("a heat map is float32 (rows, columns) with at least one value")
        if not np.isfinite(self.heat).all() or float(self.heat.min()) < 0:
            raise InvalidInput("a heat map holds numbers from 0 on")


def drawn(key: KeySlice, lines: Sequence[str]) -> Rgb:
    """The whole picture: uint8 (rows, columns, 3).

    Args:
        key: What is shown; its longer side becomes 768 pixels.
        lines: What is told below it.
    """
    rows, columns = _fitted(key.plane.shape)
    shown = _coloured(_resized(key.plane.astype(np.float32), rows, columns), _share(key.heat, rows, columns))
    width = max(_LEAST_WIDTH, columns + _BAR_STRIP + 2 * _MARGIN, *(_needed(line) for line in lines))
    heading = HEIGHT * _HEADING_SCALE + 2 * _MARGIN
    step = HEIGHT * _TEXT_SCALE + _LINE_GAP
    page = np.full((heading + rows + _MARGIN + step * len(lines) + _MARGIN, width, 3), _BACKGROUND, dtype=np.uint8)
    left = (width - _BAR_STRIP - columns) // 2
    page[heading : heading + rows, left : left + columns] = shown
    _write(page, WARNING, _MARGIN, (width - width_of(WARNING, _HEADING_SCALE)) // 2, _HEADING_SCALE, _ALERT)
    _draw_bar(page, heading, rows, left + columns + _MARGIN)
    for number, line in enumerate(lines):
        _write(page, line, heading + rows + _MARGIN + number * step, _MARGIN, _TEXT_SCALE, _WORDS)
    return page


def _needed(line: str) -> int:
    return width_of(line, _TEXT_SCALE) + 2 * _MARGIN


def _fitted(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = LONGEST_SIDE / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _share(heat: npt.NDArray[np.float32], rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Heat as a share of its own greatest value, 0..1, in the size of the picture; all 0 where there is none."""
    greatest = float(heat.max())
    if greatest <= 0:
        return np.zeros((rows, columns), dtype=np.float32)
    down, across = _smooth_weights(heat.shape[0], rows), _smooth_weights(heat.shape[1], columns)
    spread = down @ heat.astype(np.float32) @ across.T
    return np.asarray(np.clip(spread / spread.max(), 0, 1), dtype=np.float32)


def _coloured(grey: npt.NDArray[np.float32], share: npt.NDArray[np.float32]) -> Rgb:
    """Grey 0..255 with the colours of `share` over it: the stronger, the less grey shines through."""
    over = np.clip((share - _WEAKEST_SHOWN) / (1 - _WEAKEST_SHOWN), 0, 1)
    weight = (_STRONGEST * np.sqrt(over))[..., None]
    mixed = grey[..., None] * (1 - weight) + _colours(share) * weight
    painted: Rgb = np.rint(mixed).clip(0, 255).astype(np.uint8)
    return painted


def _colours(share: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 (..., 3): dark violet, red, orange, pale yellow; brightness rises all the way."""
    places = [place for place, _ in _RAMP]
    parts = [np.interp(share, places, [colour[part] for _, colour in _RAMP]) for part in range(3)]
    return np.stack(parts, axis=-1).astype(np.float32)


def _draw_bar(page: Rgb, top: int, rows: int, left: int) -> None:
    """What the colours mean: shares of the strongest place in this very picture."""
    line = HEIGHT * _TEXT_SCALE + _LINE_GAP
    bar_top, bar_rows = top + 3 * line, max(1, rows - 3 * line)
    for number, word in enumerate(("Weight", "in this", "picture")):
        _write(page, word, top + number * (line - 2), left, _TEXT_SCALE, _WORDS)
    share = np.linspace(1, 0, bar_rows, dtype=np.float32)
    page[bar_top : bar_top + bar_rows, left : left + _BAR_WIDTH] = _colours(share)[:, None].astype(np.uint8)
    for place, word in ((0.0, "100 %"), (0.5, "50 %"), (1.0, "0 %")):
        at = bar_top + round(place * (bar_rows - HEIGHT * _TEXT_SCALE))
        _write(page, word, at, left + _BAR_WIDTH + _LINE_GAP, _TEXT_SCALE, _WORDS)


def _write(page: Rgb, text: str, top: int, left: int, scale: int, colour: tuple[int, int, int]) -> None:  # noqa: PLR0917
    """Put a line of text on the page; what reaches beyond its edge is cut."""
    mask = written(text, scale)[: page.shape[0] - top, : page.shape[1] - left]
    page[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = colour


def _resized(values: npt.NDArray[np.float32], rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Values in another size: shrinking averages by covered area, growing interpolates between pixel middles."""
    down, across = _weights(values.shape[0], rows), _weights(values.shape[1], columns)
    return np.asarray(down @ values @ across.T, dtype=np.float32)


@lru_cache(maxsize=32)
def _weights(before: int, after: int) -> npt.NDArray[np.float32]:
    """Along one axis: float32 (after, before), rows sum to 1."""
    if after <= before:
        edges = np.arange(after + 1) * (before / after)
        pixel = np.arange(before)
        overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    else:
        middle = ((np.arange(after) + 0.5) * (before / after) - 0.5).clip(0, before - 1)
        overlap = 1 - np.abs(middle[:, None] - np.arange(before))
    weights = np.clip(overlap, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=32)
def _smooth_weights(before: int, after: int) -> npt.NDArray[np.float32]:
    """As `_weights`, but for growing by a quadratic spline: a coarse map gets no edges that it has not."""
    if after <= before:
        return _weights(before, after)
    middle = (np.arange(after) + 0.5) * (before / after) - 0.5
    away = np.abs(middle[:, None] - np.arange(before))
    weights = np.where(away < 0.5, 0.75 - away**2, 0.5 * np.clip(1.5 - away, 0, None) ** 2)  # noqa: PLR2004
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
