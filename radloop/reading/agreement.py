"""Agreement of readers beyond chance: Cohen's kappa of each pair, Fleiss' kappa of all, with bootstrap intervals.

Image sets are resampled, not reads, because reads of one image set belong together. For two classes an image set is
told by a few counts, so that resampling image sets is drawing those counts from a multinomial distribution: exact,
and as cheap for a million image sets as for ten.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from radloop.core.reads import Read

DRAWS = 2000
_SEED = 20261
_LOW, _HIGH = 2.5, 97.5
_ROUNDING = 1e-12

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kappa:
    """A kappa with its 95 % interval.

    Attributes:
        value: None where it is not defined: nothing was read twice, or all reads say the same.
        image_sets: How many it rests on.
        agreed: Share of pairs of reads that say the same; None without any.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    image_sets: int
    agreed: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """How two readers agree."""

    one: str
    other: str
    kappa: Kappa


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the readers of a project agree.

    Attributes:
        pairs: Every two readers who have read an image set both, the most common first.
        all: All of them together.
    """

    pairs: tuple[Pair, ...]
    all: Kappa


def agreement(reads: Sequence[Read]) -> Agreement:
    """Agreement of reads, one a reader, image set and version."""
    said: dict[tuple[str, int], dict[str, bool]] = defaultdict(dict)
    for read in reads:
        said[read.image_set, read.version][read.reader] = read.finding.present
    tables: dict[tuple[str, str], Counter[tuple[bool, bool]]] = defaultdict(Counter)
    patterns: Counter[tuple[int, int]] = Counter()
    for votes in said.values():
        patterns[len(votes), sum(votes.values())] += 1
        for one, other in combinations(sorted(votes), 2):
            tables[one, other][votes[one], votes[other]] += 1
    pairs = [Pair(one, other, cohen(_table(counts))) for (one, other), counts in tables.items()]
    pairs.sort(key=lambda pair: (-pair.kappa.image_sets, pair.one, pair.other))
    return Agreement(tuple(pairs), fleiss(patterns))


def cohen(table: Floats) -> Kappa:
    """Cohen's kappa of two readers.

    Args:
        table: (2, 2), image sets by what the one and the other say.
    """
    cells = table.reshape(1, 4)
    drawn = _drawn(cells[0])
    total = float(cells.sum())
    agreed = None if not total else float((table[0, 0] + table[1, 1]) / total)
    return _told(_cohen(cells), _cohen(drawn), int(total), agreed)


def fleiss(patterns: Mapping[tuple[int, int], int]) -> Kappa:
    """Fleiss' kappa of any number of readers, who need not have read the same image sets.

    Args:
        patterns: How many image sets have so many reads, of which so many say present. Those read once are left out.
    """
    kept = [(reads, present, count) for (reads, present), count in sorted(patterns.items()) if reads > 1]
    if not kept:
        return Kappa(None, None, None, 0, None)
    reads, present, counts = (np.array(column, float) for column in zip(*kept, strict=True))
    value = _fleiss(reads, present, counts.reshape(1, -1))
    drawn = _fleiss(reads, present, _drawn(counts))
    agreed = float(np.sum(counts * _agreed(reads, present)) / counts.sum())
    return _told(value, drawn, int(counts.sum()), agreed)


def _cohen(tables: Floats) -> Floats:
    """Kappas of tables (n, 4); NaN where it is not defined."""
    share = tables / np.maximum(tables.sum(axis=1, keepdims=True), 1)
    observed = share[:, 0] + share[:, 3]
    one, other = share[:, 2] + share[:, 3], share[:, 1] + share[:, 3]
    return _beyond(observed, one * other + (1 - one) * (1 - other))


def _fleiss(reads: Floats, present: Floats, counts: Floats) -> Floats:
    """Kappas of draws (n, patterns); NaN where it is not defined."""
    total = np.maximum(counts.sum(axis=1), 1)
    observed = counts @ _agreed(reads, present) / total
    share = counts @ present / np.maximum(counts @ reads, 1)
    return _beyond(observed, share**2 + (1 - share) ** 2)


def _agreed(reads: Floats, present: Floats) -> Floats:
    """Share of pairs of reads of an image set that say the same."""
    absent = reads - present
    return (present * (present - 1) + absent * (absent - 1)) / (reads * (reads - 1))


def _beyond(observed: Floats, expected: Floats) -> Floats:
    """Agreement beyond what chance gives, as a share of what there could be."""
    room = 1 - expected
    return np.asarray(np.divide(observed - expected, room, out=np.full(observed.shape, np.nan), where=room > _ROUNDING))


def _drawn(counts: Floats) -> Floats:
    """Counts of as many image sets drawn anew, `DRAWS` times; the same counts give the same draws."""
    total = int(counts.sum())
    if not total:
        return np.zeros((0, counts.size))
    draws = np.random.default_rng(_SEED).multinomial(total, counts / total, DRAWS)
    return draws.astype(np.float64)


def _told(value: Floats, drawn: Floats, image_sets: int, agreed: float | None) -> Kappa:
    found = drawn[np.isfinite(drawn)]
    if not np.isfinite(value[0]) or not found.size:
        return Kappa(None, None, None, image_sets, agreed)
    low, high = np.percentile(found, [_LOW, _HIGH])
    return Kappa(float(value[0]), float(low), float(high), image_sets, agreed)


def _table(counts: Mapping[tuple[bool, bool], int]) -> Floats:
    return np.array([[counts.get((one, other), 0) for other in (False, True)] for one in (False, True)], float)
