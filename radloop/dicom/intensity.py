"""What can be said of a study's planes without knowing any anatomy: how bright, how even, how sharp.

Fifteen numbers a study, from the very planes that a network sees. They are what drift in the input is measured on,
what tells an image that is no chest at all, and what a trained network must beat before it counts as having learned
anything. numpy only.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from radloop.core.errors import InvalidInput

STATISTICS: Final = (
    "mean",
    "deviation",
    "percentile_1",
    "percentile_10",
    "percentile_25",
    "percentile_50",
    "percentile_75",
    "percentile_90",
    "percentile_99",
    "black",
    "white",
    "gradient",
    "sharpness",
    "middle",
    "symmetry",
)
"""Names of the values of `plane_statistics`, in their order."""

_PERCENTILES: Final = (1, 10, 25, 50, 75, 90, 99)
_LEVELS: Final = 256
_BLACK: Final = 3  # of 256 levels: below it there is nothing but the edge of the film
_WHITE: Final = 253
_SMALLEST: Final = 3  # rows and columns that second differences and a middle need


def plane_statistics(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Fifteen numbers on the brightness and sharpness of a study.

    Args:
        planes: uint8 (planes, size, size), from `radloop.dicom.tiles.planes_of`; 0 is black.

    Returns:
        float32 (15,), in the order of `STATISTICS`, none of them NaN:

        - mean, deviation, seven percentiles: of all pixels, 0..1;
        - black, white: share of pixels that are nearly black, or nearly white, 0..1;
        - gradient: mean absolute difference of neighbouring pixels, 0..1;
        - sharpness: mean absolute second difference over the mean absolute first one; about 0.5 in a film, 1.7 in
          noise, 0 where all pixels are alike;
        - middle: mean of the central ninth less the mean of the four corner ninths, -1..1;
        - symmetry: correlation of the planes with their own mirror images, -1..1, 0 where all pixels are alike.

    Raises:
        InvalidInput: The array is none of the kind, or is smaller than 3 by 3.
    """
    if planes.ndim != 3 or planes.dtype != np.uint8 or 0 in planes.shape or min(planes.shape[1:]) < _SMALLEST:  # noqa: PLR2004
        raise InvalidInput("statistics are made of uint8 planes of at least 3 rows and 3 columns")
    counts = np.bincount(planes.reshape(-1), minlength=_LEVELS)
    reached = np.cumsum(counts)
    levels = np.arange(_LEVELS)
    mean = float(counts @ levels / reached[-1])
    deviation = float(np.sqrt(max(0.0, float(counts @ (levels - mean) ** 2) / float(reached[-1]))))
    percentiles = [float(np.searchsorted(reached, percent / 100 * reached[-1])) for percent in _PERCENTILES]
    gradient, curvature = _differences(planes)
    values = [
        *(value / (_LEVELS - 1) for value in (mean, deviation, *percentiles)),
        float(counts[:_BLACK].sum() / reached[-1]),
        float(counts[_WHITE:].sum() / reached[-1]),
        gradient / (_LEVELS - 1),
        curvature / gradient if gradient else 0.0,
        _middle(planes) / (_LEVELS - 1),
        _symmetry(planes, mean, deviation),
    ]
    return np.asarray(values, dtype=np.float32)


def _differences(planes: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Mean absolute first and second difference, along rows and columns alike."""
    first, second = [], []
    for axis in (1, 2):
        step = np.diff(planes.astype(np.int16), axis=axis)
        first.append(float(np.abs(step).mean()))
        second.append(float(np.abs(np.diff(step, axis=axis)).mean()))
    return sum(first) / 2, sum(second) / 2


def _middle(planes: npt.NDArray[np.uint8]) -> float:
    """How much brighter the central ninth is than the corners."""
    rows, columns = planes.shape[1] // 3, planes.shape[2] // 3
    centre = planes[:, rows : planes.shape[1] - rows, columns : planes.shape[2] - columns]
    corners = [planes[:, down, across] for down in _ends(rows) for across in _ends(columns)]
    return float(centre.mean()) - sum(float(corner.mean()) for corner in corners) / len(corners)


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)


def _symmetry(planes: npt.NDArray[np.uint8], mean: float, deviation: float) -> float:
    """Correlation with the mirror image; plane by plane, so that a long CT needs no second copy in floating point."""
    if not deviation:
        return 0.0
    products = 0.0
    for plane in planes:
        centred = plane.astype(np.float64) - mean
        products += float((centred * centred[:, ::-1]).sum())
    return products / (planes.size * deviation**2)
