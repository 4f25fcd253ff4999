"""What must hold of a data set before anything is learned from it: guards with a name, value, limit and sentence.

A guard that fails stops the run: what was taught or proved on such data would be false. A guard that only warns passes
and says so. They look at the whole data set at once, before training, so that no model has to be trained to see it.

What these guards do not see: a copy that was mirrored or turned by a quarter, and a label that shows in the pixels
themselves, such as a hospital's marker in a corner. For the latter there is the trivial baseline of the evaluation.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.datasets import EXTERNAL, PARTS, UNKNOWN, Example, Split
from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import CT, Planes

HASH_LIMIT: Final = 12
"""Bits of 64 in which the hashes of near-duplicates may differ."""
DETAIL_LIMIT: Final = 0.90
"""Correlation of fine detail from which on two radiographs are the same picture."""
CT_DETAIL_LIMIT: Final = 0.96
"""The same of two CT slices, which are cropped to the lungs and therefore more alike."""
RULE_LIMIT: Final = 0.75
"""AUC from which on a source or scanner tells the label by itself."""
SHARE_LIMIT: Final = 0.10
"""Difference in the share of positives between two parts from which on it is warned of."""

_CHANCE: Final = 0.01
_DEALS: Final = 499
_SEED: Final = 7
_NAMED: Final = 3
_SIDE: Final = 32
_BLOCK: Final = 1024


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard as it was applied.

    Attributes:
        value: What was found.
        limit: What it is held against.
        passed: False stops the run.
        sentence: Both figures, for a person; names image sets by their ids.
        warns: It passed, and somebody should look.
    """

    name: str
    value: float
    limit: float
    passed: bool
    sentence: str
    warns: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest of each part and in `evaluation.json`."""
        return asdict(self)


# On the manifest alone


def guards_of(examples: Sequence[Example], retired: AbstractSet[str] = frozenset()) -> list[Guard]:
    """Every guard that needs no pixels.

    Args:
        examples: The whole data set.
        retired: Pseudonyms of test patients who may not come back.
    """
    at_home = [example for example in examples if example.split != EXTERNAL]
    return [
        _overlap("patient-overlap", "patients", examples, lambda example: example.patient),
        _overlap("study-overlap", "studies", examples, lambda example: example.study),
        _no_retired(examples, retired),
        _not_told_by("label-by-source", "source", at_home, lambda example: example.source),
        _not_told_by("label-by-scanner", "scanner", at_home, lambda example: example.scanner),
        _not_told_by("label-by-view", "view", at_home, lambda example: example.view, is_warning=True),
        _share(at_home),
    ]


def _overlap(name: str, what: str, examples: Sequence[Example], key: Callable[[Example], str]) -> Guard:
    parts: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        if key(example):
            parts[key(example)].add(example.split)
    torn = sum(len(splits) > 1 for splits in parts.values())
    so = "so the test would not be one" if torn else f"of {len(parts)}"
    return Guard(name, torn, 0, not torn, f"{torn} {what} stand in more than one part, {so}")


def _no_retired(examples: Sequence[Example], retired: AbstractSet[str]) -> Guard:
    back = len({example.patient for example in examples} & retired)
    sentence = f"{back} of {len(retired)} retired test patients came back into the data set"
    return Guard("retired-patients", back, 0, not back, sentence)


def _not_told_by(
    name: str, what: str, examples: Sequence[Example], group: Callable[[Example], str], *, is_warning: bool = False
) -> Guard:
    """Whether knowing the group alone tells the label, across patients."""
    groups, labels = _by_patient(examples, group)
    found, chance = told_by(groups, labels)
    is_told = found >= RULE_LIMIT and chance <= _CHANCE
    kinds = len(set(groups))
    sentence = (
        f"knowing the {what} alone tells the label with an AUC of {found:.2f} (p {chance:.3f}, {len(groups)} patients, "
        f"{kinds} different); from {RULE_LIMIT:.2f} on a model could learn the {what} instead of the finding"
    )
    return Guard(name, round(found, 4), RULE_LIMIT, is_warning or not is_told, sentence, warns=is_warning and is_told)


def _by_patient(examples: Sequence[Example], group: Callable[[Example], str]) -> tuple[list[str], list[int]]:
    """The commonest group and the greatest label of each patient."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    labels: dict[str, int] = defaultdict(int)
    for example in examples:
        groups[example.patient][group(example) or UNKNOWN] += 1
        labels[example.patient] = max(labels[example.patient], example.label)
    chosen = [min(counts, key=lambda one: (-counts[one], one)) for counts in groups.values()]
    return chosen, [labels[patient] for patient in groups]


def told_by(groups: Sequence[str], labels: Sequence[int]) -> tuple[float, float]:
    """How well the best rule from group to label works, beyond what as many groups give by chance.

    Each group is scored by its own share of positives; the AUC of that score is lowered by what the same groups reach
    on average after the labels were dealt out anew, so that many small groups are no proof.

    Args:
        groups: Of each patient.
        labels: 0 or 1 of each patient.

    Returns:
        The AUC, 0.5 where nothing is told, and the share of deals that reach as much.

    >>> told_by(["a", "a", "a", "b", "b", "b"] * 20, [1, 1, 1, 0, 0, 0] * 20)[0] > 0.95
    True
    >>> told_by(["a"] * 40, [0, 1] * 20)
    (0.5, 1.0)
    """
    _, at = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    sizes = np.bincount(at) if len(at) else np.zeros(0)
    truth = np.asarray(labels, dtype=np.float64)
    if len(sizes) < 2 or truth.min() == truth.max():  # noqa: PLR2004 — one group tells nothing
        return 0.5, 1.0
    found = _rule_auc(sizes, np.bincount(at, truth))
    rng = np.random.default_rng(_SEED)
    deals = np.array([_rule_auc(sizes, np.bincount(at, rng.permutation(truth))) for _ in range(_DEALS)])
    chance = (1 + int((deals >= found - 1e-12).sum())) / (1 + _DEALS)
    return float(np.clip(found - deals.mean() + 0.5, 0.0, 1.0)), chance


def _rule_auc(sizes: npt.NDArray[Any], positives: npt.NDArray[Any]) -> float:
    """AUC of each group's own share of positives as a score, ties counted half."""
    order = np.argsort(positives / sizes, kind="stable")
    up, down = positives[order], (sizes - positives)[order]
    below = np.cumsum(down) - down
    share = (positives / sizes)[order]
    tied = np.concatenate(([0], np.flatnonzero(np.diff(share) > 0) + 1, [len(share)]))
    won = 0.0
    for first, last in pairwise(tied):
        won += up[first:last].sum() * (below[first] + down[first:last].sum() / 2)
    return float(won / (up.sum() * down.sum()))


def _share(examples: Sequence[Example]) -> Guard:
    """How far the share of positives lies apart between two parts, and whether chance explains it."""
    patients: dict[str, dict[str, int]] = {split: {} for split in Split}
    for example in examples:
        before = patients[example.split].get(example.patient, 0)
        patients[example.split][example.patient] = max(before, example.label)
    counts = {split: (len(labels), sum(labels.values())) for split, labels in patients.items() if labels}
    shares = {split: positive / total for split, (total, positive) in counts.items()}
    apart = max(shares.values(), default=0.0) - min(shares.values(), default=0.0)
    warns = apart > SHARE_LIMIT and _is_no_chance(list(counts.values()))
    told = ", ".join(f"{share:.0%} in {split}" for split, share in shares.items())
    sentence = f"the share of positive patients is {told}: {apart:.2f} apart, of which {SHARE_LIMIT:.2f} is expected"
    return Guard("label-share", round(apart, 4), SHARE_LIMIT, True, sentence, warns=warns)


def _is_no_chance(counts: Sequence[tuple[int, int]]) -> bool:
    """Whether shares differ by more than 2.6 standard errors between any part and the rest, as if of one urn."""
    total, positive = (sum(column) for column in zip(*counts, strict=True))
    share = positive / total
    spread = share * (1 - share)
    return any(
        abs(found / size - share) > 2.6 * (spread * (1 / size - 1 / total)) ** 0.5
        for size, found in counts
        if size < total
    )


# On the pixels


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a study looks like, small enough to be held against all others.

    Attributes:
        hashes: uint64 (planes,), the 64-bit difference hash of each plane that was looked at.
        details: float32 (planes, 1024), fine detail of the same planes; each row has length 1, or 0 where it has none.
    """

    hashes: npt.NDArray[np.uint64]
    details: npt.NDArray[np.float32]

    def told(self) -> list[str]:
        """The hashes as a manifest holds them, 16 hexadecimal digits each."""
        return [f"{int(each):016x}" for each in self.hashes]


def fingerprint(planes: Planes, modality: str) -> Fingerprint:
    """The fingerprint of a study.

    Of a CT it is taken at a quarter, the middle and three quarters of the planes, of an X-ray from the first three
    views.

    Args:
        planes: uint8 (planes, size, size), from `planes_of`.
        modality: `CT`, `CR` or `DX`.
    """
    count = len(planes)
    quarter = (count - 1) // 4  # symmetric, so that a series that runs the other way shows the same planes
    places = {quarter, count // 2, count - 1 - quarter} if modality == CT else set(range(min(3, count)))
    chosen = [planes[place].astype(np.float32) for place in sorted(places)]
    return Fingerprint(
        hashes=np.array([_difference_hash(plane) for plane in chosen], dtype=np.uint64),
        details=np.stack([_detail(plane) for plane in chosen]),
    )


def _difference_hash(plane: npt.NDArray[np.float32]) -> int:
    """64 bits: whether each of 8 x 9 coarse pixels is darker than its right neighbour."""
    coarse = _shrunk(plane, 8, 9)
    bits = (coarse[:, :-1] < coarse[:, 1:]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _detail(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 (1024,): a thumbnail without its coarse shades, which all chests share."""
    small = _shrunk(plane, _SIDE, _SIDE)
    padded = np.pad(small, 2, mode="edge")
    blurred = sum(
        padded[down : down + _SIDE, right : right + _SIDE] for down in range(5) for right in range(5)
    ) / np.float32(25)
    fine = (small - blurred).ravel()
    fine -= fine.mean()
    length = float(np.linalg.norm(fine))
    flat = np.zeros_like(fine) if length < 1e-3 else fine / np.float32(length)  # noqa: PLR2004 — nothing but rounding
    return np.asarray(flat, dtype=np.float32)


def _shrunk(plane: npt.NDArray[np.float32], rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Averages over an even grid of boxes, float32 (rows, columns)."""
    down = np.linspace(0, plane.shape[0], rows, endpoint=False).astype(np.intp)
    right = np.linspace(0, plane.shape[1], columns, endpoint=False).astype(np.intp)
    sums = np.add.reduceat(np.add.reduceat(plane, down, axis=0), right, axis=1)
    heights = np.maximum(1, np.diff(np.append(down, plane.shape[0])))
    widths = np.maximum(1, np.diff(np.append(right, plane.shape[1])))
    return np.asarray(sums / np.outer(heights, widths), dtype=np.float32)


def same_pixels(examples: Sequence[Example], digests: Sequence[str]) -> Guard:
    """Whether the same pixels stand in two parts, or under two patients.

    Args:
        examples: The whole data set.
        digests: SHA-256 of the pixels of each.
    """
    by_digest: dict[str, list[Example]] = defaultdict(list)
    for example, digest in zip(examples, digests, strict=True):
        by_digest[digest].append(example)
    pairs = []
    for alike in by_digest.values():
        others = [one for one in alike[1:] if (one.split, one.patient) != (alike[0].split, alike[0].patient)]
        pairs += [(alike[0], other) for other in others]
    return _of_pairs("same-pixels", pairs, "have the same pixels")


def near_duplicates(examples: Sequence[Example], prints: Sequence[Fingerprint]) -> Guard:
    """Whether nearly the same picture stands in two parts: compressed anew, resized, brighter, noisier.

    Two planes are the same picture where their hashes differ in at most `HASH_LIMIT` bits and their fine detail
    correlates by `DETAIL_LIMIT`. Of two CT it takes two planes and `CT_DETAIL_LIMIT`, for single slices of two chests
    may be alike.

    Args:
        examples: The whole data set.
        prints: The fingerprint of each.
    """
    pairs = [(examples[one], examples[other]) for one, other in alike_pairs(examples, prints)]
    return _of_pairs("near-duplicates", pairs, "are nearly the same picture")


def alike_pairs(examples: Sequence[Example], prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Places of image sets of two parts that are nearly the same picture; of 20,000 it takes seconds."""
    counts = [len(each.hashes) for each in prints]
    if not counts:
        return []
    owner = np.repeat(np.arange(len(prints)), counts)
    plane = np.concatenate([np.arange(count) for count in counts])
    hashes, details = (np.concatenate(each) for each in zip(*((p.hashes, p.details) for p in prints), strict=True))
    is_ct = np.array([example.modality == CT for example in examples])[owner]
    part = np.array([PARTS.index(example.split) for example in examples])[owner]
    found: dict[tuple[int, int], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    for left, right in _candidates(details, part):
        limit = np.where(is_ct[left] & is_ct[right], CT_DETAIL_LIMIT, DETAIL_LIMIT)
        is_close = np.einsum("ij,ij->i", details[left], details[right]) >= limit
        is_close &= np.bitwise_count(hashes[left] ^ hashes[right]) <= HASH_LIMIT
        for one, other in zip(left[is_close].tolist(), right[is_close].tolist(), strict=True):
            mine, theirs = found[int(owner[one]), int(owner[other])]
            mine.add(int(plane[one]))
            theirs.add(int(plane[other]))
    return sorted(
        pair
        for pair, (mine, theirs) in found.items()
        if min(len(mine), len(theirs)) >= min(_needed(examples, pair), counts[pair[0]], counts[pair[1]])
    )


def _needed(examples: Sequence[Example], pair: tuple[int, int]) -> int:
    """Planes that must be alike."""
    return 2 if all(examples[at].modality == CT for at in pair) else 1


def _candidates(
    details: npt.NDArray[np.float32], part: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Places of planes in two parts whose fine detail correlates by `DETAIL_LIMIT`, some at a time.

    A product of matrices tells it for all pairs sooner than an index would for a few: chests are so much alike that
    hashes alone leave a third of all pairs.
    """
    for number in range(len(PARTS)):
        left, right = np.flatnonzero(part == number), np.flatnonzero(part > number)
        beside = details[right].T
        for first in range(0, len(left) if len(right) else 0, _BLOCK):
            block = left[first : first + _BLOCK]
            rows, columns = np.nonzero(details[block] @ beside >= DETAIL_LIMIT)
            yield block[rows], right[columns]


def _of_pairs(name: str, pairs: Sequence[tuple[Example, Example]], what: str) -> Guard:
    if not pairs:
        return Guard(name, 0, 0, True, f"no image sets of two parts {what}")
    told = [
        f"{one.image_set} ({one.split}) and {other.image_set} ({other.split})"
        for one, other in sorted(pairs, key=lambda pair: (pair[0].image_set, pair[1].image_set))[:_NAMED]
    ]
    more = f", and {len(pairs) - _NAMED} more pairs" if len(pairs) > _NAMED else ""
    return Guard(name, len(pairs), 0, False, f"image sets {'; '.join(told)} {what}{more}")


# The verdict


def stop_where_failed(guards: Iterable[Guard]) -> None:
    """Go on only where every guard passed.

    Raises:
        InvalidInput: With the name and the sentence of each that did not.
    """
    failed = [f"{guard.name}: {guard.sentence}" for guard in guards if not guard.passed]
    if failed:
        raise InvalidInput("; ".join(failed))
