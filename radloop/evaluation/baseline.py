"""The trivial baseline: boosted trees on 15 plane statistics, which see brightness and sharpness and no anatomy.

Where they do as well as the network, the labels can be told from how the images were taken, and a high figure proves
nothing about the chest. numpy only.
"""

from dataclasses import dataclass
from typing import Final, Union

import numpy as np
import numpy.typing as npt

from radloop.dicom.intensity import plane_statistics
from radloop.training.bags import Part
from radloop.training.metrics import Floats, Labels

_TREES: Final = 150
_DEPTH: Final = 3
_RATE: Final = 0.1
_RIDGE: Final = 1.0
_LEAST_ROWS: Final = 5  # on either side of a split
_EDGES: Final = 31  # between the bins of a feature

Node = Union["Split", float]


@dataclass(frozen=True, slots=True)
class Split:
    """A question about one feature: up to bin `at` go low, the others high."""

    feature: int
    at: int
    low: Node
    high: Node


@dataclass(frozen=True, slots=True)
class Trees:
    """Boosted trees for two classes.

    Attributes:
        edges: float64 (features, 31), between the bins of each feature.
        start: Log odds of the training labels.
        trees: Each adds its leaf to the log odds.
    """

    edges: Floats
    start: float
    trees: tuple[Node, ...]

    def scores(self, features: Floats) -> Floats:
        """Log odds float64 (n,) of features (n, features)."""
        binned = _binned(features, self.edges)
        total = np.full(len(features), self.start)
        for tree in self.trees:
            _add(tree, binned, np.arange(len(features)), total)
        return total


def statistics_of(part: Part) -> Floats:
    """The 15 numbers of every bag of a part, float64 (bags, 15).

    Raises:
        InvalidInput: The planes of a bag are missing or damaged.
    """
    rows = [plane_statistics(part.planes(at)) for at in range(len(part.counts))]
    return np.asarray(rows, dtype=np.float64)


def fit(features: Floats, labels: Labels) -> Trees:
    """Trees of depth 3, each taught on what those before it left, with Newton's step in the leaves (Friedman 2001).

    Args:
        features: float64 (n, features), n at least 1.
        labels: int64 (n,), 0 or 1.
    """
    edges = np.quantile(features, np.linspace(0, 1, _EDGES + 2)[1:-1], axis=0).T
    binned = _binned(features, edges)
    share = (labels.sum() + 1) / (len(labels) + 2)
    start = float(np.log(share / (1 - share)))
    odds = np.full(len(labels), start)
    trees: list[Node] = []
    for _ in range(_TREES):
        said = 1 / (1 + np.exp(-odds))
        tree = _grow(binned, labels - said, said * (1 - said), np.arange(len(labels)), _DEPTH)
        trees.append(tree)
        _add(tree, binned, np.arange(len(labels)), odds)
    return Trees(edges, start, tuple(trees))


def _binned(features: Floats, edges: Floats) -> Labels:
    columns = [np.searchsorted(edges[at], features[:, at]) for at in range(len(edges))]
    return np.stack(columns, axis=1).astype(np.int64)


def _grow(binned: Labels, slope: Floats, curve: Floats, rows: npt.NDArray[np.int64], depth: int) -> Node:
    """The best split of `rows`, and below it the same again; a leaf where none gains anything."""
    slope_sum, curve_sum = float(slope[rows].sum()), float(curve[rows].sum())
    leaf = _RATE * slope_sum / (curve_sum + _RIDGE)
    if depth == 0 or len(rows) < 2 * _LEAST_ROWS:
        return leaf
    features = binned.shape[1]
    flat = (binned[rows] + (_EDGES + 1) * np.arange(features)).ravel()

    def below(values: Floats) -> Floats:
        """Sums of `values` up to each bin of each feature, (features, 31)."""
        sums = np.bincount(flat, weights=np.repeat(values, features), minlength=features * (_EDGES + 1))
        return np.asarray(np.cumsum(sums.reshape(features, -1), axis=1)[:, :-1])

    low_slope, low_curve, low_rows = below(slope[rows]), below(curve[rows]), below(np.ones(len(rows)))
    gain = (
        low_slope**2 / (low_curve + _RIDGE)
        + (slope_sum - low_slope) ** 2 / (curve_sum - low_curve + _RIDGE)
        - slope_sum**2 / (curve_sum + _RIDGE)
    )
    gain[(low_rows < _LEAST_ROWS) | (len(rows) - low_rows < _LEAST_ROWS)] = 0
    feature, at = (int(place) for place in np.unravel_index(int(gain.argmax()), gain.shape))
    if gain[feature, at] <= 0:
        return leaf
    is_low = binned[rows, feature] <= at
    return Split(
        feature,
        at,
        _grow(binned, slope, curve, rows[is_low], depth - 1),
        _grow(binned, slope, curve, rows[~is_low], depth - 1),
    )


def _add(node: Node, binned: Labels, rows: npt.NDArray[np.int64], total: Floats) -> None:
    """Add a tree's leaves to the totals of `rows`."""
    if not isinstance(node, Split):
        total[rows] += node
        return
    is_low = binned[rows, node.feature] <= node.at
    _add(node.low, binned, rows[is_low], total)
    _add(node.high, binned, rows[~is_low], total)
