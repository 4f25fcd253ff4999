"""What is known of the readers of a project: counted on with every read, and fitted anew now and then.

A read changes one image set, so its posterior is made anew and what it counted for before is taken back: incremental
EM (R. M. Neal and G. E. Hinton, A view of the EM algorithm that justifies incremental, sparse, and other variants,
1998). Image sets that were read earlier keep the posterior they had then. So all reads are fitted together once
they have grown by a tenth since the last time, which costs a constant amount a read.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from radloop.core.cases import Vote
from radloop.core.errors import Conflict
from radloop.core.ports import Change, Put, Records, Term
from radloop.core.reads import Read, Rule, label_of, read_of
from radloop.core.tables import LABELS, PANELS, READS
from radloop.reading.dawid_skene import WEIGHT_OF, Prior, Reads, estimate

PRIOR = Prior()
ADJUDICATOR_ODDS = math.log(0.98 / 0.02)
"""What an adjudicator's word adds to the log odds: it is nearly always right, and never certain."""

_GROWTH = 1.1
_FIRST_FIT = 8


class Quality(NamedTuple):
    """How good a reader is held to be.

    Attributes:
        reads: How much the reader has read, a doubtful read counting less than one.
    """

    sensitivity: float
    specificity: float
    reads: float


class Tally(NamedTuple):
    """What a reader got right and wrong, in expectation: hits and misses of what is present, then of what is not."""

    hits: float = 0.0
    misses: float = 0.0
    alarms: float = 0.0
    rejections: float = 0.0

    def plus(self, present: bool, weight: float, probability: float) -> "Tally":
        """With one more read of an image set that is present with this probability; a weight below 0 takes one back."""
        if present:
            return self._replace(hits=self.hits + weight * probability, alarms=self.alarms + weight * (1 - probability))
        return self._replace(
            misses=self.misses + weight * probability, rejections=self.rejections + weight * (1 - probability)
        )


@dataclass(frozen=True, slots=True)
class Panel:
    """The readers of a project, as their reads show them.

    Attributes:
        tallies: By opaque id.
        present, absent: How many image sets that were read are so, in expectation.
        reads: How many reads have been counted.
        fitted: How many there were when all were last fitted together.
    """

    tallies: Mapping[str, Tally] = field(default_factory=dict)
    present: float = 0.0
    absent: float = 0.0
    reads: int = 0
    fitted: int = 0

    def quality(self) -> dict[str, Quality]:
        """How good each reader is held to be."""
        of_all = _pooled(self.tallies.values())
        return {reader: _quality(tally, of_all) for reader, tally in sorted(self.tallies.items())}

    def posterior(self, votes: Iterable[Vote], known: float = 0.0) -> float:
        """Probability of present, given what readers said.

        Args:
            votes: One a reader.
            known: Log odds that are known besides, such as an adjudicator's.
        """
        odds = math.log((self.present + PRIOR.present) / (self.absent + PRIOR.absent)) + known
        of_all = _pooled(self.tallies.values())
        for vote in votes:
            sensitivity, specificity, _ = _quality(self.tallies.get(vote.reader, Tally()), of_all)
            told = sensitivity / (1 - specificity) if vote.present else (1 - sensitivity) / specificity
            odds += WEIGHT_OF[vote.confidence] * math.log(told)
        return 1 / (1 + math.exp(-odds))

    def moved(
        self, before: Sequence[Vote], was: float | None, after: Sequence[Vote], now: float, *, reads: int = 1
    ) -> "Panel":
        """What is known after an image set's votes and posterior went from one to the other."""
        tallies = dict(self.tallies)
        for votes, probability, sign in ((before, was, -1.0), (after, now, 1.0)):
            for vote in votes if probability is not None else ():
                tally = tallies.get(vote.reader, Tally())
                assert probability is not None
                tallies[vote.reader] = tally.plus(vote.present, sign * WEIGHT_OF[vote.confidence], probability)
        earlier = was if before and was is not None else None
        return replace(
            self,
            tallies={reader: Tally(*(max(0.0, count) for count in tally)) for reader, tally in tallies.items()},
            present=max(0.0, self.present + now - (earlier or 0.0)),
            absent=max(0.0, self.absent + (1 - now) - (0.0 if earlier is None else 1 - earlier)),
            reads=self.reads + reads,
        )

    @property
    def wants_fit(self) -> bool:
        """Whether it has grown enough since all reads were fitted together."""
        return self.reads >= max(_FIRST_FIT, self.fitted * _GROWTH)


def panel_of(records: Records, datastore: str) -> Panel:
    """What is known of the readers of a project."""
    return held_panel(records, datastore)[0]


def held_panel(records: Records, datastore: str) -> tuple[Panel, int]:
    """The same with the revision it stands at, 0 where nobody has read."""
    row = records.get(PANELS, datastore)
    if row is None:
        return Panel(), 0
    document = row.document
    tallies = {reader: Tally(*counts) for reader, counts in document["tallies"].items()}
    others = (document["present"], document["absent"], document["reads"], document["fitted"])
    return Panel(tallies, *others), row.revision


def put_panel(panel: Panel, datastore: str, *, expected: int) -> Put:
    """The write that keeps what is known of readers."""
    document: dict[str, Any] = {
        "tallies": {reader: list(tally) for reader, tally in panel.tallies.items()},
        "present": panel.present,
        "absent": panel.absent,
        "reads": panel.reads,
        "fitted": panel.fitted,
    }
    return Put(PANELS, datastore, document, expected=expected)


def refit(records: Records, datastore: str) -> None:
    """Fit all reads of a project together; where somebody reads meanwhile, it is left to the next read."""
    panel, revision = held_panel(records, datastore)
    fitted = replace(fit(standing(records, datastore), adjudicated(records, datastore)), reads=panel.reads)
    try:
        change = Change(writes=[put_panel(replace(fitted, fitted=panel.reads), datastore, expected=revision)])
        records.commit(change)
    except Conflict:
        return


Item = tuple[str, int]
"""What is read: an image set in one version."""


def standing(records: Records, datastore: str) -> list[Read]:
    """The reads of a project that count: of each reader and version the last that was made unseen."""
    last: dict[tuple[str, int, str], Read] = {}
    for row in records.each(READS, [Term("datastore", "is", (datastore,))], columns=()):
        read = read_of(row)
        if read.is_blinded:
            last[read.image_set, read.version, read.reader] = read
    return list(last.values())


def adjudicated(records: Records, datastore: str) -> dict[str, bool]:
    """What adjudicators decided last, by image set."""
    found: dict[str, bool] = {}
    for row in records.each(LABELS, [Term("datastore", "is", (datastore,))], columns=()):
        label = label_of(row)
        if label.rule in {Rule.ADJUDICATION, Rule.REVISION}:
            found[label.image_set] = label.finding.present
    return found


def fit(reads: Sequence[Read], decided: Mapping[str, bool]) -> Panel:
    """A panel from all reads at once."""
    items, readers = _numbered((read.image_set, read.version) for read in reads), _numbered(r.reader for r in reads)
    told = columns(reads, items, readers)
    known = np.array([_known(decided.get(image_set)) for image_set, _ in items])
    found = estimate(told, items=len(items), readers=len(readers), prior=PRIOR, known=known)
    is_present = found.posterior[told.items] * told.weights
    is_absent = told.weights - is_present
    says = told.present
    counts = (is_present * says, is_present * (1 - says), is_absent * says, is_absent * (1 - says))
    sums = np.stack([np.bincount(told.readers, each, len(readers)) for each in counts], axis=1)
    present = float(found.posterior.sum())
    tallies = {reader: Tally(*map(float, sums[place])) for reader, place in readers.items()}
    return Panel(tallies, present, len(items) - present, len(reads), len(reads))


def columns(reads: Sequence[Read], items: Mapping[Item, int], readers: Mapping[str, int]) -> Reads:
    """Reads as columns."""
    return Reads(
        items=np.array([items[read.image_set, read.version] for read in reads], np.int64),
        readers=np.array([readers[read.reader] for read in reads], np.int64),
        present=np.array([float(read.finding.present) for read in reads]),
        weights=np.array([WEIGHT_OF[read.finding.confidence] for read in reads]),
    )


def _numbered(names: Iterable[Any]) -> dict[Any, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _known(decided: bool | None) -> float:
    if decided is None:
        return 0.0
    return ADJUDICATOR_ODDS if decided else -ADJUDICATOR_ODDS


def _pooled(tallies: Iterable[Tally]) -> tuple[float, float]:
    """Sensitivity and specificity of all readers together."""
    hits, misses, alarms, rejections = (sum(column) for column in zip(Tally(), *tallies, strict=True))
    both = PRIOR.right + PRIOR.wrong
    return (hits + PRIOR.right) / (hits + misses + both), (rejections + PRIOR.right) / (alarms + rejections + both)


def _quality(tally: Tally, of_all: tuple[float, float]) -> Quality:
    """What a reader's reads show, drawn towards what those of all show; see `dawid_skene.Prior.kin`."""
    hits, misses, alarms, rejections = tally
    sensitivity = (hits + PRIOR.kin * of_all[0]) / (hits + misses + PRIOR.kin)
    specificity = (rejections + PRIOR.kin * of_all[1]) / (alarms + rejections + PRIOR.kin)
    return Quality(sensitivity, specificity, sum(tally))
