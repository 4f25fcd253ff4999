"""Small 8-bit pictures for lists."""

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import UnsupportedPixels

_COLOUR = 3


def thumbnail_png(frame: NDArray[Any], window: tuple[float, float] | None = None, size: int = 160) -> bytes:
    """A frame shrunk to fit `size` x `size`, as an 8-bit PNG.

    Args:
        frame: Real numbers (rows, columns), grey, or uint8 or uint16 (rows, columns, 3), RGB. Decoded in full:
            a resolution of an HTJ2K frame would carry the wavelet's wrapped undershoot.
        window: Centre and width in the frame's own values (stored values, not rescaled ones). Without one, grey
            from the lowest to the highest hundredth.
        size: Greatest number of rows and columns.

    Raises:
        UnsupportedPixels: Another shape.
    """
    if frame.ndim not in {2, 3} or (frame.ndim == _COLOUR and frame.shape[2] != _COLOUR) or not frame.size:
        raise UnsupportedPixels(f"pictures are made of (rows, columns) or (rows, columns, 3), not {frame.shape}")
    small = _shrunk(frame, size)
    if frame.ndim == _COLOUR:
        small /= 257 if frame.dtype.itemsize > 1 else 1
    else:
        small = _windowed(small, window)
    return bytes(
        imagecodecs.png_encode(np.ascontiguousarray(np.clip(np.rint(small), 0, 255).astype(np.uint8)), level=6)
    )


def _shrunk(frame: NDArray[Any], size: int) -> NDArray[np.float32]:
    """The mean of whole blocks, then the nearest pixel of what is left to shrink; never enlarged."""
    rows, columns = frame.shape[:2]
    factor = max(1, max(rows, columns) // size)
    kept_rows, kept_columns = max(1, rows // factor), max(1, columns // factor)
    block_rows, block_columns = min(factor, rows), min(factor, columns)
    cut = frame[: kept_rows * block_rows, : kept_columns * block_columns].astype(np.float32)
    blocks: NDArray[np.float32] = cut.reshape(kept_rows, block_rows, kept_columns, block_columns, -1).mean(axis=(1, 3))
    longest = max(kept_rows, kept_columns)
    if longest > size:
        blocks = blocks[_steps(kept_rows, longest, size)][:, _steps(kept_columns, longest, size)]
    return blocks if frame.ndim == _COLOUR else blocks[..., 0]


def _steps(count: int, longest: int, size: int) -> NDArray[np.intp]:
    wanted = max(1, count * size // longest)
    return (np.arange(wanted) * count // wanted).astype(np.intp)


def _windowed(grey: NDArray[np.float32], window: tuple[float, float] | None) -> NDArray[np.float32]:
    if window is None:
        low, high = (float(value) for value in np.percentile(grey, (1, 99)))
    else:
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    return (grey - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
