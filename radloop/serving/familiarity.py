"""Whether a study is anything like those a model was made from, so that a model may say: this I cannot judge.

Three looks, any of which may refuse. The embedding must lie near embeddings of the reference, the fifteen intensity
statistics near its statistics (both by the mean distance to the nearest few, in units of the reference's own spread),
and no single statistic may lie far outside everything the reference knows. The limit of a distance is a quantile of
the reference's own distances, each study's measured to the studies of other patients: that is what a new patient's
distance will be like.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.dicom.intensity import STATISTICS
from radloop.serving.reference import Reference

QUANTILE: Final = 0.995
"""Of the reference's own distances; so about one study in a hundred of the same source is refused, by both together."""

FEWEST: Final = 50
"""Studies that a reference must have before it may refuse anything."""

_NEIGHBOURS: Final = 5
_MOST: Final = 2000  # studies of the reference that distances are measured to
_THINNEST: Final = 0.01  # of the mean variance
_BEYOND: Final = 0.25
"""How far outside the reference a statistic may lie, as a part of the reference's whole range."""
_WORDS: Final = {
    "embedding": "the network sees nothing like it in the studies it was made from",
    "statistics": "brightness and sharpness are unlike those of the studies it was made from",
    "range": "{} lies outside everything it was made from",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a study is from the reference.

    Attributes:
        embedding: Distance of the embedding over its limit; above 1 is outside.
        statistics: The same for the intensity statistics; None where the reference has none.
        beyond: Names of statistics far outside the reference's range.
    """

    embedding: float
    statistics: float | None
    beyond: tuple[str, ...] = ()

    @property
    def is_outside(self) -> bool:
        """Whether the model must not judge it."""
        return bool(self.reasons)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why: `embedding`, `statistics`, `range:<name>`; empty where it is familiar."""
        told = ["embedding"] if self.embedding > 1 else []
        if self.statistics is not None and self.statistics > 1:
            told.append("statistics")
        return (*told, *(f"range:{name}" for name in self.beyond))

    @property
    def sentence(self) -> str:
        """For people; empty where it is familiar."""
        if not self.is_outside:
            return ""
        kind, _, name = self.reasons[0].partition(":")
        return f"The model does not judge this study: {_WORDS[kind].format(name.replace('_', ' '))}."

    def plain(self) -> dict[str, Any]:
        """As it is kept with the prediction."""
        return {
            "outside": self.is_outside,
            "embedding": round(self.embedding, 4),
            "statistics": None if self.statistics is None else round(self.statistics, 4),
            "reasons": list(self.reasons),
            "sentence": self.sentence,
        }


class Familiarity:
    """Measures studies against a reference of at least `FEWEST`."""

    def __init__(self, reference: Reference) -> None:
        self._embedding = _Neighbourhood.of(reference.embedding, reference.patient)
        statistics = reference.statistics
        self._statistics = None if statistics is None else _Neighbourhood.of(statistics, reference.patient)
        if statistics is not None:
            low, high = statistics.min(axis=0), statistics.max(axis=0)
            room = _BEYOND * np.maximum(high - low, 1e-6)
            self._low, self._high = low - room, high + room

    def judge(self, embedding: npt.NDArray[np.float32], statistics: npt.NDArray[np.float32]) -> Verdict:
        """How familiar a study is.

        Args:
            embedding: float32 (components,), from `Reference.project`.
            statistics: float32 (15,), from `plane_statistics`.
        """
        distance = self._embedding.distance(embedding) / self._embedding.limit
        if self._statistics is None:
            return Verdict(distance, None)
        outside = (statistics < self._low) | (statistics > self._high)
        return Verdict(
            embedding=distance,
            statistics=self._statistics.distance(statistics) / self._statistics.limit,
            beyond=tuple(name for name, is_out in zip(STATISTICS, outside, strict=True) if is_out),
        )


@dataclass(frozen=True, slots=True)
class _Neighbourhood:
    """Points in units of their own spread along every direction, and the distance to them that counts as far."""

    middle: npt.NDArray[np.float32] = field(repr=False)
    turn: npt.NDArray[np.float32] = field(repr=False)
    points: npt.NDArray[np.float32] = field(repr=False)
    limit: float

    @classmethod
    def of(cls, values: npt.NDArray[np.float32], patient: npt.NDArray[np.int32]) -> "_Neighbourhood":
        step = -(-len(values) // _MOST)
        values, patient = values[::step], patient[::step]
        middle, turn = values.mean(axis=0), _whitening(values)
        points = np.asarray((values - middle) @ turn, dtype=np.float32)
        own = [_near(points[patient != mine], point) for point, mine in zip(points, patient, strict=True)]
        return cls(middle, turn, points, max(_quantile(own), 1e-6))

    def distance(self, value: npt.NDArray[np.float32]) -> float:
        return _near(self.points, np.asarray((value - self.middle) @ self.turn, dtype=np.float32))


def _whitening(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turns values into uncorrelated ones of spread 1: float32 (values, values).

    Directions that hardly vary are not blown up beyond `_THINNEST`, for in them there is only noise to measure.
    """
    spread = np.maximum(values.std(axis=0), 1e-6)
    scaled = (values - values.mean(axis=0)) / spread
    widths, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    return np.asarray(directions / np.sqrt(np.maximum(widths, _THINNEST)) / spread[:, None], dtype=np.float32)


def _near(points: npt.NDArray[np.float32], point: npt.NDArray[np.float32]) -> float:
    """Mean distance to the nearest few; infinite where there is nobody else."""
    if not len(points):
        return float("inf")
    squares = ((points - point) ** 2).sum(axis=1)
    count = min(_NEIGHBOURS, len(squares))
    return float(np.sqrt(np.partition(squares, count - 1)[:count]).mean())


def _quantile(distances: Sequence[float]) -> float:
    """The distance that a further study of the same kind exceeds with a chance of at most 1 - QUANTILE."""
    ordered = sorted(distances)
    rank = int(np.ceil((len(ordered) + 1) * QUANTILE))
    return ordered[min(rank, len(ordered)) - 1]
