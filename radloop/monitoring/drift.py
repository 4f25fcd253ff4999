"""Whether what comes in is still what a model version was made from, and if not, what changed.

Studies are taken as they come, each patient once, in blocks of 25, 50, 100, 200 and 400. Each block is examined once,
when it is full, and against the reference as a whole. Five monitors look at it: three at the images (embedding by
Kolmogorov-Smirnov in each principal component, embedding by maximum mean discrepancy, intensity statistics), one at
the header (modality, scanner, view), one at the probabilities. Small blocks find a new scanner at once, large ones a
slow change.

**Testing for ever.** Who tests again and again finds everything in the end. The chance of a false alarm is therefore
handed out by the image: a block of `s` studies may use `s` parts of the budget, whatever its size, so that on average
at most one alarm in `images_per_false_alarm` studies is false. That needs no independence of tests, blocks or
monitors, for chances only add up. All chances are counted exactly but one (see `two_samples`).

**What changed.** A block that is unlike the reference is compared once more with the reference weighted to the
prevalence that the probabilities speak for. Where nothing is left over, the prevalence changed; where something is,
the images did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.dicom.intensity import STATISTICS
from radloop.monitoring.prevalence import Prevalence, estimate, weights
from radloop.monitoring.two_samples import category_chance, few_successes, ks_chance, ks_distance, mmd_chance

BLOCKS: Final = (25, 50, 100, 200, 400)
"""Studies in a block; each is a whole number of the smallest."""

PREFIX: Final = "drift-"
INPUTS, SCORES, PREVALENCE, LABELS = "drift-inputs", "drift-scores", "drift-prevalence", "drift-labels"
CAUSES: Final = (INPUTS, SCORES, PREVALENCE, LABELS)
"""Names of the alarms, which say what drifted."""

MONITORS: Final = ("embedding", "discrepancy", "statistics", "header", "scores", "labels")
"""What is looked at, each with the same part of the budget."""

TAGS: Final = ("modality", "scanner", "view")
"""Facts of the header that are compared."""

_UNUSUAL: Final = 0.01
"""A chance that is worth watching; above it everything is quiet."""

_QUIET_BLOCKS: Final = 2
"""Blocks in a row, as large as the one that raised an alarm, that must be quiet before it ends."""

FEWEST_PATIENTS: Final = 30
"""Patients that a reference must have, for anything to be compared with it."""

_MOST: Final = 1000  # studies of the reference that blocks are compared with


@dataclass(frozen=True, slots=True)
class Studies:
    """Studies as drift sees them: numbers, no image.

    Attributes:
        embedding: float32 (n, components), in the axes of the reference.
        probability: float32 (n,), calibrated.
        statistics: float32 (n, 15); None where nobody kept them.
        tags: Facts of each header by name; empty where nobody kept them.
        target: float32 (n,), posterior of the finding; None where nobody knows.
    """

    embedding: npt.NDArray[np.float32] = field(repr=False)
    probability: npt.NDArray[np.float32] = field(repr=False)
    statistics: npt.NDArray[np.float32] | None = field(default=None, repr=False)
    tags: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    target: npt.NDArray[np.float32] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.probability)

    def chosen(self, at: npt.NDArray[np.intp]) -> "Studies":
        """Those with these numbers."""
        return Studies(
            embedding=self.embedding[at],
            probability=self.probability[at],
            statistics=None if self.statistics is None else self.statistics[at],
            tags=tuple(self.tags[place] for place in at) if self.tags else (),
            target=None if self.target is None else self.target[at],
        )


def independent(studies: Studies, patient: npt.NDArray[np.int32]) -> Studies:
    """One study a patient, at most a thousand; studies of one patient are too alike to count as several.

    Args:
        studies: The reference.
        patient: int32 (n,), a number a patient.
    """
    first = np.sort(np.unique(patient, return_index=True)[1])
    return studies.chosen(first[:: -(-len(first) // _MOST)])


@dataclass(frozen=True, slots=True)
class Look:
    """What one monitor found in one block.

    Attributes:
        monitor: One of `MONITORS`.
        chance: Of finding as much where nothing changed, corrected for all it tried.
        value: The distance it found, 0..1; or for the labels the share of right answers.
        about: Where: a component, a statistic, a fact of the header; "" where that makes no sense.
    """

    monitor: str
    chance: float
    value: float
    about: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in one block.

    Attributes:
        studies: Its size.
        level: Chance from which on a single monitor raises the alarm.
        looks: By monitor.
        cause: The alarm that this block raises, one of `CAUSES`; None for none.
        prevalence: Estimated where there is a cause.
        left_over: Chance of what is left over once the prevalence is accounted for; None where nobody asked.
    """

    studies: int
    level: float
    looks: tuple[Look, ...]
    cause: str | None = None
    prevalence: Prevalence | None = None
    left_over: float | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is worth watching."""
        return min((look.chance for look in self.looks), default=1.0) * len(self.looks) > _UNUSUAL

    def look(self, monitor: str) -> Look | None:
        """What `monitor` found."""
        return next((look for look in self.looks if look.monitor == monitor), None)


def level_of(studies: int, images_per_false_alarm: float) -> float:
    """The chance that one monitor may use up on one block of so many studies."""
    return studies / images_per_false_alarm / len(BLOCKS) / len(MONITORS)


def examine(reference: Studies, block: Studies, *, images_per_false_alarm: float, seed: int = 0) -> Examination:
    """Look at one full block.

    Args:
        reference: One study a patient, see `independent`; of `FEWEST_PATIENTS` at least.
        block: As many studies as `BLOCKS` has, one a patient.
        images_per_false_alarm: The budget.
        seed: Of what is drawn by chance; the same seed gives the same answer.
    """
    level = level_of(len(block), images_per_false_alarm)
    looks = tuple(_looks(reference, block, seed))
    found = Examination(len(block), level, looks)
    fired = {look.monitor for look in looks if look.chance <= level}
    if not fired:
        return found
    shift, left_over = _explained(reference, block, seed)
    if shift.has_changed and left_over > _UNUSUAL and "header" not in fired:
        cause = PREVALENCE
    else:
        cause = SCORES if fired == {"scores"} else INPUTS
    return replace(found, cause=cause, prevalence=shift, left_over=left_over)


def examine_labels(
    correct: Sequence[bool], confidence: Sequence[float], *, margin: float, images_per_false_alarm: float
) -> Examination:
    """Look at one full block of studies that readers have judged since.

    Readers are sent to what is hard, so a share of right answers says little. But a calibrated model tells for each
    study how sure it is, hard or not, and over many must be right as often as it says.

    Args:
        correct: Whether the model was right.
        confidence: The probability it gave to what it said.
        margin: Calibration error that is forgiven, 0..1.
        images_per_false_alarm: The budget.
    """
    chances = [min(1.0, max(0.0, each - margin)) for each in confidence]
    chance = few_successes(sum(correct), chances)
    level = level_of(len(correct), images_per_false_alarm)
    look = Look("labels", chance, sum(correct) / len(correct))
    return Examination(len(correct), level, (look,), cause=LABELS if chance <= level else None)


def _looks(reference: Studies, block: Studies, seed: int) -> list[Look]:
    looks = [_columns("embedding", reference.embedding, block.embedding, _COMPONENT_NAMES)]
    discrepancy = mmd_chance(reference.embedding, block.embedding, seed=seed)
    looks.append(Look("discrepancy", discrepancy, looks[0].value))
    if reference.statistics is not None and block.statistics is not None:
        looks.append(_columns("statistics", reference.statistics, block.statistics, STATISTICS))
    if reference.tags and block.tags:
        looks.append(_header(reference.tags, block.tags))
    looks.append(_columns("scores", reference.probability[:, None], block.probability[:, None], ("probability",)))
    return looks


_COMPONENT_NAMES: Final = tuple(f"component {number}" for number in range(1, 1025))


def _columns(
    monitor: str, reference: npt.NDArray[np.float32], block: npt.NDArray[np.float32], names: Sequence[str]
) -> Look:
    """The column that differs most; its chance counts for as many columns as were tried."""
    distances = ks_distance(reference, block)
    at = int(distances.argmax())
    chance = ks_chance(_rounded(distances[at]), len(reference), len(block)) * len(distances)
    return Look(monitor, min(1.0, chance), float(distances[at]), names[at])


def _header(reference: Sequence[Mapping[str, str]], block: Sequence[Mapping[str, str]]) -> Look:
    found = []
    for tag in TAGS:
        before, now = ([each.get(tag, "unknown") for each in side] for side in (reference, block))
        chance, name = category_chance(before, now)
        share = abs(before.count(name) / len(before) - now.count(name) / len(now)) if name else 0.0
        found.append((chance, tag, share))
    chance, tag, share = min(found)
    return Look("header", min(1.0, chance * len(TAGS)), share, tag)


def _explained(reference: Studies, block: Studies, seed: int) -> tuple[Prevalence, float]:
    """The prevalence that the probabilities speak for, and the chance of what it leaves over."""
    target = reference.probability if reference.target is None else reference.target
    before = float(target.mean())
    shift = estimate(block.probability, before, seed=seed)
    weight = weights(target, before, shift.now)
    worth = max(1, round(float(weight.sum() ** 2 / (weight**2).sum())))
    least = 1.0
    for old, new in _compared(reference, block):
        distance = float(ks_distance(old, new, weight).max())
        least = min(least, ks_chance(_rounded(distance), worth, len(block)) * old.shape[1])
    return shift, min(1.0, least * len(_compared(reference, block)))


def _compared(reference: Studies, block: Studies) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    pairs = [(reference.embedding, block.embedding)]
    if reference.statistics is not None and block.statistics is not None:
        pairs.append((reference.statistics, block.statistics))
    return pairs


def _rounded(distance: float) -> float:
    """Equal distances in one spelling, so that their chance is counted once."""
    return round(float(distance), 9)


# Alarms


@dataclass(frozen=True, slots=True)
class Alarm:
    """One of the four.

    Attributes:
        name: One of `CAUSES`.
        is_on: Whether it is on.
        since: When it last went on or off, RFC 3339; "" for never.
        block: Size of the smallest block that raised it since it went on.
        quiet: Quiet blocks of that size or larger in a row, since.
    """

    name: str
    is_on: bool = False
    since: str = ""
    block: int = 0
    quiet: int = 0

    def plain(self) -> dict[str, Any]:
        """As it is kept."""
        return {name: getattr(self, name) for name in self.__slots__}


def advance(alarms: Mapping[str, Alarm], found: Examination, at: str) -> dict[str, Alarm]:
    """The alarms after one more examination.

    An alarm goes on at once, for its block has used its part of the budget. It ends when two blocks in a row, each at
    least as large as the one that raised it, are quiet. Where a block as large as that tells another cause, the alarm
    of the one ends and that of the other begins.

    Args:
        alarms: By name; those that are absent are off.
        found: The examination.
        at: Now, RFC 3339.
    """
    after = {name: alarms.get(name, Alarm(name)) for name in CAUSES}
    of_labels = any(look.monitor == "labels" for look in found.looks)
    for name in CAUSES:
        if (name == LABELS) is not of_labels:
            continue
        alarm = after[name]
        if alarm.is_on and found.studies >= alarm.block and found.cause != name:
            quiet = alarm.quiet + 1 if found.is_quiet else 0
            is_replaced = found.cause is not None
            if is_replaced or quiet >= _QUIET_BLOCKS:
                after[name] = Alarm(name, since=at)
            else:
                after[name] = replace(alarm, quiet=quiet)
    cause = found.cause
    if cause is not None and not after[cause].is_on and not _is_told_otherwise(after, cause, found.studies):
        after[cause] = Alarm(cause, is_on=True, since=at, block=found.studies)
    elif cause is not None and after[cause].is_on:
        after[cause] = replace(after[cause], block=min(after[cause].block, found.studies), quiet=0)
    return after


def _is_told_otherwise(alarms: Mapping[str, Alarm], cause: str, studies: int) -> bool:
    """Whether a larger block has told another cause, which a smaller one does not know better."""
    return cause != LABELS and any(
        alarm.is_on and alarm.name not in {LABELS, cause} and alarm.block > studies for alarm in alarms.values()
    )
