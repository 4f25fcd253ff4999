"""Where in a study the network's answer comes from, as a picture over a frame.

The network gives a coarse map a tile (Grad-CAM of the logit on its last stage, what speaks for the finding only). It is
kept as it is, a few kilobytes a study, with the place of the tiles in the study; a picture is made when it is asked
for. A map tells what a network looked at. It is no finding and no outline of one.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from radloop.core.errors import NotFound
from radloop.dicom.tiles import Extent

_COLOUR = (255, 96, 0)
_OPAQUE = 160  # of 255, where the map is highest: what is under it must stay visible
_FAINT = 0.15  # of the highest value; below it nothing is drawn


@dataclass(frozen=True, slots=True)
class Saliency:
    """The maps of one study.

    Attributes:
        maps: float16 (tiles, h, w), 0 and above, in units of the logit.
        attention: float32 (tiles,), weight of each tile, together 1; None where the network tells none.
        frames: Number of each tile's frame in the study, ascending.
        extent: Where tiles lie in their frames.
    """

    maps: npt.NDArray[np.float16] = field(repr=False)
    attention: npt.NDArray[np.float32] | None = field(repr=False)
    frames: tuple[int, ...]
    extent: Extent

    @property
    def strongest(self) -> int:
        """The frame that counts most; a tile's map holds its attention already."""
        return self.frames[int(self.maps.reshape(len(self.maps), -1).max(axis=1).argmax())]

    def heat(self, frame: int, rows: int, columns: int) -> npt.NDArray[np.float32]:
        """The map of a frame, stretched over it.

        Args:
            frame: Number in the study.
            rows: Of the answer, which covers exactly the frame whatever its size.
            columns: The same.

        Returns:
            float32 (rows, columns), 0..1; 1 is the highest value in the whole study, so that frames compare.

        Raises:
            NotFound: The network did not look at this frame; the sentence names those that it did.
        """
        if frame not in self.frames:
            listed = ", ".join(map(str, self.frames))
            raise NotFound(f"the model did not look at frame {frame}; it looked at {listed}")
        grid = self.maps[self.frames.index(frame)].astype(np.float32)
        place = self.extent
        down = _weights(rows, len(grid), place.top, place.bottom)
        across = _weights(columns, grid.shape[1], place.left, place.right)
        highest = float(self.maps.max())
        return np.asarray(down @ grid @ across.T / (highest or 1.0), dtype=np.float32)

    def plain(self) -> dict[str, Any]:
        """As it is kept."""
        place = self.extent
        return {
            "maps": b64encode(self.maps.tobytes()).decode(),
            "shape": list(self.maps.shape),
            "attention": None if self.attention is None else [round(float(each), 5) for each in self.attention],
            "frames": list(self.frames),
            "extent": [place.first, place.top, place.left, place.bottom, place.right],
        }


def saliency_of(document: Mapping[str, Any]) -> Saliency:
    """The maps that `Saliency.plain` wrote."""
    first, *sides = document["extent"]
    attention = document["attention"]
    return Saliency(
        maps=np.frombuffer(b64decode(document["maps"]), dtype=np.float16).reshape(document["shape"]),
        attention=None if attention is None else np.asarray(attention, dtype=np.float32),
        frames=tuple(document["frames"]),
        extent=Extent(int(first), *sides),
    )


def overlay(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A map as a picture to lay over its frame: uint8 (rows, columns, 4), RGBA, clear where the map is faint.

    Args:
        heat: float32 (rows, columns), 0..1.
    """
    shown = np.clip((heat - _FAINT) / (1 - _FAINT), 0, 1)
    picture = np.empty((*heat.shape, 4), dtype=np.uint8)
    picture[..., 0] = _COLOUR[0]
    picture[..., 1] = np.rint(_COLOUR[1] + (255 - _COLOUR[1]) * shown)  # from orange to yellow
    picture[..., 2] = _COLOUR[2]
    picture[..., 3] = np.rint(_OPAQUE * shown)
    return picture


def _weights(wanted: int, cells: int, start: float, end: float) -> npt.NDArray[np.float32]:
    """Interpolation along one axis of a frame between the middles of cells that span start..end of it.

    Returns:
        float32 (wanted, cells); a row is 0 where it lies outside the cells, else its sum is 1.
    """
    place = (np.arange(wanted) + 0.5) / wanted
    within = (place - start) / (end - start) * cells
    middle = (within - 0.5).clip(0, cells - 1)
    weights = np.clip(1 - np.abs(middle[:, None] - np.arange(cells)), 0, None)
    weights[(within < 0) | (within > cells)] = 0
    return np.asarray(weights, dtype=np.float32)
