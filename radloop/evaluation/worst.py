"""The worst cases: image sets that a model was most sure of and wrong about, with pictures of where it looked."""

from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt

from radloop.training.bags import Part
from radloop.training.folder import write_atomically
from radloop.training.metrics import Scored
from radloop.training.package import Network

PICTURES: Final = "pictures"
_MOST: Final = 6
_SIDE: Final = 224
_HEAT: Final = (255.0, 96.0, 0.0)
_OPAQUE: Final = 0.65


def worst_cases(network: Network, test: Part, scored: Scored, threshold: float, folder: Path) -> list[dict[str, Any]]:
    """At most six wrong calls, the surest first, and their pictures below `folder`.

    A picture shows the tile that speaks most for the finding, plain and with the Grad-CAM of the logit on the last
    stage over it. Grad-CAM tells where evidence for the finding came from, not where the finding is.

    Args:
        network: The candidate's.
        test: The test part.
        scored: What the candidate said.
        threshold: The operating point.
        folder: `processing/evaluation`.

    Returns:
        `image_set`, `label` and `called` (0 or 1), `probability`, `tile` and `tiles` (its number from 1), `picture`
        (a name below `folder`) and `has_saliency`.
    """
    called = (scored.scores >= threshold).astype(np.int64)
    miss = np.abs(scored.scores - scored.labels)
    wrong = [at for at in range(len(called)) if called[at] != scored.labels[at]]
    wrong.sort(key=lambda at: (-miss[at], str(test.items[at]["image_set"])))
    found = []
    for at in wrong[:_MOST]:
        name = f"{PICTURES}/{test.items[at]['image_set']}.png"
        tile, tiles, picture = _picture(network, test, at)
        write_atomically(folder / name, lambda beside, data=picture: beside.write_bytes(data))  # type: ignore[misc]
        found.append(
            {
                "image_set": str(test.items[at]["image_set"]),
                "label": int(scored.labels[at]),
                "called": int(called[at]),
                "probability": float(scored.scores[at]),
                "tile": tile + 1,
                "tiles": tiles,
                "picture": name,
                "has_saliency": network.has_saliency,
            }
        )
    return found


def _picture(network: Network, test: Part, at: int) -> tuple[int, int, bytes]:
    """Number of the tile from 0, how many there are, and a PNG."""
    if not network.has_saliency:
        tiles = test.bag(at)
        tile = len(tiles) // 2
        grey = _enlarged(tiles[tile, 1])
        return tile, len(tiles), _png(np.repeat(grey[..., None], 3, axis=2) * 255)
    tiles, heat = network.saliency(test, at)
    tile = int(heat.sum(axis=(1, 2)).argmax())
    grey = np.repeat(_enlarged(tiles[tile, 1])[..., None], 3, axis=2) * np.float32(255)
    most = float(heat.max())
    strength = _enlarged(heat[tile] / np.float32(most) if most > 0 else heat[tile])[..., None] * np.float32(_OPAQUE)
    return tile, len(tiles), _png(np.hstack((grey, grey * (1 - strength) + np.array(_HEAT, np.float32) * strength)))


def _enlarged(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A plane as float32 (224, 224), interpolated between the middles of its pixels."""
    for _ in range(2):
        rows = len(plane)
        place = ((np.arange(_SIDE) + 0.5) * (rows / _SIDE) - 0.5).clip(0, rows - 1)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, rows - 1)
        share = (place - low).astype(np.float32)[:, None]
        plane = (plane[low] * (1 - share) + plane[high] * share).T
    return plane


def _png(colours: npt.NDArray[np.float32]) -> bytes:
    picture = np.ascontiguousarray(np.clip(np.rint(colours), 0, 255).astype(np.uint8))
    return bytes(imagecodecs.png_encode(picture, level=9))
