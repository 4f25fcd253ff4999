"""Stored pixel values as pictures and training want them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import UnsupportedPixels


def stored_window(image: Mapping[str, Any]) -> tuple[float, float] | None:
    """The file's window in stored values instead of rescaled ones."""
    center, width, slope = image.get("window_center"), image.get("window_width"), float(image.get("slope") or 1.0)
    if center is None or not width:
        return None
    return (float(center) - float(image.get("intercept") or 0.0)) / slope, float(width) / slope


def grey(pixels: NDArray[np.generic], image: Any, modality: str) -> NDArray[np.generic]:
    """One frame as a slice of a volume, of the values that `ImageStore.volume` tells.

    Raises:
        UnsupportedPixels: It is in colour.
    """
    if pixels.ndim != 2:  # noqa: PLR2004 — rows, columns
        raise UnsupportedPixels("colour frames are not used for training")
    slope, intercept = float(image.get("slope") or 1.0), float(image.get("intercept") or 0.0)
    if modality == "CT":
        hounsfield = np.rint(pixels.astype(np.float32) * slope + intercept)
        clipped: NDArray[np.int16] = np.clip(hounsfield, -32768, 32767).astype(np.int16)
        return clipped
    bits = int(image["bits_stored"])
    offset = 1 << (bits - 1) if image["signed"] else 0
    scaled = (pixels.astype(np.float64) + offset) / ((1 << bits) - 1)
    if image.get("photometric") == "MONOCHROME1":
        scaled = 1.0 - scaled
    spread: NDArray[np.uint16] = np.rint(np.clip(scaled, 0.0, 1.0) * 65535).astype(np.uint16)
    return spread
