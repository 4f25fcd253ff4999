"""PNG and JPEG pictures as grey pixels."""

from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import InvalidInput

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


def is_picture(path: Path) -> bool:
    """Whether the file's name says it is a PNG or JPEG."""
    return path.suffix.lower() in SUFFIXES


def grey_pixels(data: bytes) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], bool]:
    """The grey pixels of a picture and whether it was compressed with loss.

    Returns:
        (rows, columns), uint8 or uint16. Colour is turned to grey by the luma weights of ITU-R BT.601.

    Raises:
        InvalidInput: It is neither PNG nor JPEG, or it is damaged.
    """
    try:
        if data.startswith(_PNG):
            return _grey(imagecodecs.png_decode(data)), False
        if data.startswith(_JPEG):
            return _grey(imagecodecs.jpeg8_decode(data)), True
    except (RuntimeError, ValueError) as error:
        raise InvalidInput("the picture is damaged") from error
    raise InvalidInput("not a PNG or JPEG picture")


def _grey(pixels: NDArray[np.generic]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if pixels.ndim == 2:  # noqa: PLR2004 — rows, columns
        return pixels  # type: ignore[return-value]
    if pixels.shape[2] in {1, 2}:  # grey, grey with alpha
        return np.ascontiguousarray(pixels[..., 0])
    luma = pixels[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(pixels.dtype)
