"""What readers know together: the posterior of each label and the quality of each reader, by Dawid and Skene.

Each reader has a sensitivity and a specificity, which nobody tells. Given the labels they could be counted; given them
the labels follow by Bayes. Expectation maximisation does both in turn. A. P. Dawid and A. M. Skene, Maximum likelihood
estimation of observer error-rates using the EM algorithm, Applied Statistics 28 (1979), 20-28; here for two classes,
with a prior so that a handful of reads makes nobody certain, and sparse: a reader need not have read everything.

A read may weigh less than one: its log likelihood, and what it adds to the counts, are taken times its weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radloop.core.images import Confidence

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WEIGHT_OF: Mapping[str, float] = {Confidence.LOW: 0.5, Confidence.MEDIUM: 1.0, Confidence.HIGH: 1.3}
"""What a read weighs by how sure its reader was; `bench/readers.py` measures it."""

_NEVER = 1e-12


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before the first read, as reads that have been seen: of each class, by each reader.

    Attributes:
        right, wrong: Reads that the panel as a whole got right and wrong, of present and of absent alike.
        kin: Reads of each class that each reader is believed to have made as well as the panel does on the whole; so
            a reader who has read little is held to be like the others.
        present, absent: Image sets of each class.
    """

    right: float = 4.0
    wrong: float = 1.0
    kin: float = 20.0
    present: float = 1.0
    absent: float = 1.0


NOTHING = Prior(0.0, 0.0, 0.0, 0.0, 0.0)
"""No prior: maximum likelihood, as it was published."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Reads as columns, one entry a read.

    Attributes:
        items: Number of the image set, from 0.
        readers: Number of the reader, from 0.
        present: 1.0 where it says present, 0.0 where it says absent.
        weights: Above 0.
    """

    items: Ints
    readers: Ints
    present: Floats
    weights: Floats


@dataclass(frozen=True, slots=True)
class Estimate:
    """What came out.

    Attributes:
        posterior: Probability of present, one an item.
        sensitivity, specificity: One a reader.
        prevalence: Share of items that are present.
        rounds: Rounds it took.
        has_converged: Whether the posteriors had stopped moving.
    """

    posterior: Floats
    sensitivity: Floats
    specificity: Floats
    prevalence: float
    rounds: int
    has_converged: bool


def estimate(
    reads: Reads,
    *,
    items: int,
    readers: int,
    prior: Prior = Prior(),
    known: Floats | None = None,
    most_rounds: int = 200,
    tolerance: float = 1e-6,
) -> Estimate:
    """Posterior labels and readers' quality from reads.

    Args:
        reads: One entry a read; an item without any has the prevalence of the others as its posterior.
        items: How many items there are.
        readers: How many readers there are.
        prior: What is believed before.
        known: Log odds of present that are known of each item besides, such as an adjudicator's; None for none.
        most_rounds: Rounds after which it ends though it still moves.
        tolerance: It ends once no posterior moves more than this in a round.
    """
    offsets = np.zeros(items) if known is None else known
    posterior = _first(reads, items, offsets)
    sensitivity, specificity, prevalence, rounds = np.zeros(readers), np.zeros(readers), 0.5, 0
    moved = np.inf
    while rounds < most_rounds and moved > tolerance:
        sensitivity, specificity, prevalence = _quality(reads, posterior, readers, prior)
        after = _posterior(reads, sensitivity, specificity, prevalence, offsets)
        moved = float(np.max(np.abs(after - posterior), initial=0.0))
        posterior, rounds = after, rounds + 1
    return Estimate(posterior, sensitivity, specificity, prevalence, rounds, moved <= tolerance)


def _first(reads: Reads, items: int, offsets: Floats) -> Floats:
    """The share of reads that say present, which the rounds begin from; 1/2 for an item that nobody read."""
    weight = _summed(reads.items, reads.weights, items)
    present = _summed(reads.items, reads.weights * reads.present, items)
    share = np.divide(present, weight, out=np.full(items, 0.5), where=weight > 0)
    return np.where(offsets == 0.0, share, _probability(offsets))


def _quality(reads: Reads, posterior: Floats, readers: int, prior: Prior) -> tuple[Floats, Floats, float]:
    """The maximisation: sensitivities, specificities and prevalence, given posteriors."""
    is_present = posterior[reads.items] * reads.weights
    is_absent = reads.weights - is_present
    hits = _summed(reads.readers, is_present * reads.present, readers)
    positives = _summed(reads.readers, is_present, readers)
    rejections = _summed(reads.readers, is_absent * (1 - reads.present), readers)
    negatives = _summed(reads.readers, is_absent, readers)
    sensitivity = _shrunk(hits, positives, prior)
    specificity = _shrunk(rejections, negatives, prior)
    read = _summed(reads.items, reads.weights, posterior.size) > 0
    counted = int(read.sum()) + prior.present + prior.absent
    prevalence = (float(posterior[read].sum()) + prior.present) / counted if counted else 0.5
    return sensitivity, specificity, prevalence


def _posterior(reads: Reads, sensitivity: Floats, specificity: Floats, prevalence: float, offsets: Floats) -> Floats:
    """The expectation: posteriors, given the quality of readers."""
    told = told_by(sensitivity, specificity)
    says = np.where(reads.present > 0, told[0][reads.readers], told[1][reads.readers])
    odds = _summed(reads.items, reads.weights * says, offsets.size) + offsets + float(_odds(np.array(prevalence)))
    return _probability(odds)


def told_by(sensitivity: Floats, specificity: Floats) -> tuple[Floats, Floats]:
    """By how much the log odds of present move where a reader says present, and where the reader says absent."""
    hit, miss = _kept(sensitivity), _kept(1 - sensitivity)
    rejection, alarm = _kept(specificity), _kept(1 - specificity)
    return np.log(hit / alarm), np.log(miss / rejection)


def _shrunk(right: Floats, read: Floats, prior: Prior) -> Floats:
    """Share of reads that each reader got right, drawn towards that of the panel."""
    of_panel = _share(np.array([right.sum() + prior.right]), np.array([read.sum() + prior.right + prior.wrong]))
    return _share(right + prior.kin * of_panel, read + prior.kin)


def _summed(places: Ints, values: Floats, count: int) -> Floats:
    """The values summed by their place."""
    return np.bincount(places, values, count).astype(np.float64)


def _share(part: Floats, whole: Floats) -> Floats:
    """Part by whole; 1/2 where nothing is known."""
    return np.asarray(np.divide(part, whole, out=np.full(part.size, 0.5), where=whole > 0))


def _kept(probability: Floats) -> Floats:
    return np.clip(probability, _NEVER, 1.0)


def _odds(probability: Floats) -> Floats:
    kept = np.clip(probability, _NEVER, 1 - _NEVER)
    return np.asarray(np.log(kept / (1 - kept)))


def _probability(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -500, 500))))
