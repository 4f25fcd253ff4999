"""Whether two samples are of one kind: tests in numpy, exact where chances are small.

Drift is tested again and again, so a single test may be wrong once in a million times at most. There the usual
approximations are wrong by orders of magnitude: a chi-square test finds two films of a new scanner among 25 impossible
(p = 1e-6) that happen by chance once in 150 times. So Kolmogorov-Smirnov and the test on categories count exactly.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]

_SMALLEST = 1e-15
"""No chance below it is told: doubles do not hold the difference."""


def ks_distance(one: Values, other: Values, weights: Values | None = None) -> npt.NDArray[np.float64]:
    """Greatest distance of two empirical distributions, in every column.

    Args:
        one: (n, columns).
        other: (m, columns).
        weights: (n,), of the rows of `one`, above 0; None for equal ones.

    Returns:
        float64 (columns,), 0..1.
    """
    everything = np.concatenate((one, other))
    share = np.full(len(one), 1 / len(one)) if weights is None else weights / weights.sum()
    steps = np.concatenate((share, np.full(len(other), -1 / len(other))))
    order = np.argsort(everything, axis=0, kind="stable")
    climbed = np.cumsum(steps[order], axis=0)
    ordered = np.take_along_axis(everything, order, axis=0)
    is_last = np.ones(ordered.shape, dtype=bool)
    is_last[:-1] = ordered[1:] != ordered[:-1]  # among equal values the distributions jump at once
    return np.asarray(np.where(is_last, np.abs(climbed), 0.0).max(axis=0), dtype=np.float64)


@lru_cache(maxsize=512)
def ks_chance(distance: float, n: int, m: int) -> float:
    """The chance of such a distance, or a greater one, where both samples are of one kind (two-sided, exact).

    Every order in which the values of both may stand is a path over a grid, all as likely. Those that come nowhere
    as far from the diagonal are counted, by the share of them at each point. With equal values among them the chance
    is smaller than told, never greater.

    Args:
        distance: From `ks_distance`.
        n: Values of the one.
        m: Values of the other.

    >>> round(ks_chance(0.5, 10, 10), 4)
    0.1678
    """
    if distance <= 0:
        return 1.0
    inside = np.zeros(n + 1)
    inside[0] = 1.0
    taken = np.arange(n + 1)
    for total in range(1, n + m + 1):
        from_one = np.zeros(n + 1)
        from_one[1:] = inside[:-1] * taken[1:] / total
        inside = from_one + inside * np.maximum(total - taken, 0) / total
        others = total - taken
        is_far = np.abs(taken / n - others / m) >= distance - 1e-9
        inside[is_far | (others < 0) | (others > m)] = 0.0
    return float(min(1.0, max(_SMALLEST, 1 - inside[n])))


def category_chance(one: Sequence[str], other: Sequence[str]) -> tuple[float, str]:
    """The chance that a category is as unevenly spread over two samples as the most uneven one is (exact).

    Each category against all others is Fisher's exact test (two-sided, by doubling), and as many are tried as there
    are.

    Returns:
        The chance, corrected for the number of categories, and the category it is about; 1 and "" where both samples
        know one category only.
    """
    names = sorted({*one, *other})
    if len(names) < 2:  # noqa: PLR2004 — nothing to tell apart
        return 1.0, ""
    found = [(_fisher(list(one).count(name), len(one), list(other).count(name), len(other)), name) for name in names]
    chance, name = min(found)
    return min(1.0, chance * len(names)), name


def _fisher(in_one: int, n: int, in_other: int, m: int) -> float:
    """The chance that so few, or so many, of those with a mark fall into the other sample; the smaller, doubled."""
    marked, total = in_one + in_other, n + m
    least, most = max(0, marked - n), min(marked, m)
    counts = range(least, most + 1)
    logs = [_choose(marked, at) + _choose(total - marked, m - at) - _choose(total, m) for at in counts]
    few = math.fsum(math.exp(log) for at, log in zip(counts, logs, strict=True) if at <= in_other)
    many = math.fsum(math.exp(log) for at, log in zip(counts, logs, strict=True) if at >= in_other)
    return min(1.0, max(_SMALLEST, 2 * min(few, many)))


def _choose(n: int, k: int) -> float:
    """Logarithm of the number of ways to choose."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def few_successes(successes: int, chances: Sequence[float]) -> float:
    """The chance of so few successes, or fewer, where each try has a chance of its own (exact, Poisson-binomial).

    >>> round(few_successes(2, [0.5] * 10), 4)
    0.0547
    """
    counts = np.zeros(len(chances) + 1)
    counts[0] = 1.0
    for chance in chances:
        counts[1:] = counts[1:] * (1 - chance) + counts[:-1] * chance
        counts[0] *= 1 - chance
    return float(min(1.0, max(_SMALLEST, counts[: successes + 1].sum())))


def mmd_chance(one: Values, other: Values, *, permutations: int = 500, seed: int = 0) -> float:
    """The chance of such a maximum mean discrepancy where both samples are of one kind.

    Gaussian kernel as wide as the median distance; rows are dealt out anew to see what chance gives. The share of
    deals that come as far is the chance; where none or few do, the tail is read off a gamma curve with the mean,
    spread and skewness of the deals (Pearson type III).

    Args:
        one: (n, columns).
        other: (m, columns).
        permutations: Deals.
        seed: Of the deals; the same seed gives the same answer.
    """
    rows = np.concatenate((one, other)).astype(np.float64)
    kernel = _kernel(rows)
    n, m = len(one), len(other)
    sides = np.full((n + m, permutations + 1), 1 / n)
    sides[n:, 0] = -1 / m
    rng = np.random.default_rng(seed)
    for deal in range(1, permutations + 1):
        sides[rng.permutation(n + m)[:m], deal] = -1 / m
    values = np.einsum("ij,ij->j", sides, kernel @ sides)
    found, dealt = float(values[0]), values[1:]
    as_far = int((dealt >= found).sum())
    counted = (1 + as_far) / (1 + permutations)
    return counted if as_far >= _ENOUGH else max(_SMALLEST, min(counted, _pearson_tail(found, dealt)))


_ENOUGH = 10


def _kernel(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0)
    middle = float(np.median(distances[np.triu_indices(len(rows), 1)]))
    return np.asarray(np.exp(-distances / max(middle, 1e-12)), dtype=np.float64)


def _pearson_tail(value: float, sample: npt.NDArray[np.float64]) -> float:
    """The chance of a value as large, on a gamma curve through the sample's first three moments."""
    mean, spread = float(sample.mean()), float(sample.std())
    if spread <= 0:
        return 1.0
    skew = max(0.05, float((((sample - mean) / spread) ** 3).mean()))
    shape = 4 / skew**2
    place = (value - mean) / spread * 2 / skew + shape
    return 1.0 if place <= 0 else gamma_tail(shape, place)


def gamma_tail(shape: float, place: float) -> float:
    """The chance that a gamma variable of this shape (scale 1) is greater than `place`: Q(shape, place).

    A series below the middle, a continued fraction above it (Numerical Recipes 6.2). Half the tail of twice the place
    is that of chi-square with 2 * shape degrees of freedom.

    >>> round(gamma_tail(1.0, 2.0), 6)
    0.135335
    """
    front = math.exp(-place + shape * math.log(place) - math.lgamma(shape))
    if place < shape + 1:
        term = total = 1 / shape
        at = shape
        for _ in range(10_000):
            at += 1
            term *= place / at
            total += term
            if term < total * 1e-15:
                break
        return min(1.0, max(0.0, 1 - total * front))
    tiny = 1e-300
    below = place + 1 - shape
    ratio, inverse = 1 / tiny, 1 / below
    answer = inverse
    for step in range(1, 10_000):
        numerator = -step * (step - shape)
        below += 2
        inverse = numerator * inverse + below
        inverse = 1 / (inverse if abs(inverse) > tiny else tiny)
        ratio = below + numerator / ratio
        ratio = ratio if abs(ratio) > tiny else tiny
        change = ratio * inverse
        answer *= change
        if abs(change - 1) < 1e-14:  # noqa: PLR2004 — as near as doubles come
            break
    return min(1.0, max(0.0, answer * front))
