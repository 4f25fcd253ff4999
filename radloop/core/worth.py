"""What the next read of an image set is worth, by which the worklist can be ordered.

The measure is how much one more reader of usual skill would tell: the expected fall of the entropy of "present",
given what is known now. Readers decide what is known; what a model said shifts it by half of its log odds, so that a
case where model and readers part, or where the model is near its threshold, comes earlier. The model never enters the
label, only the order.
"""

import math
from typing import Any, NamedTuple

from radloop.core.cases import differ
from radloop.core.images import ImageSet, State

SKILL = 0.84
"""Sensitivity and specificity of a reader of usual skill: two of them agree with a kappa of about .46."""

MODEL_SHARE = 0.5
DISAGREEMENT, DRIFT = 0.1, 0.1
"""What is added where readers differ, and where the model has not seen the like."""

_PER_SECOND = 1e-8
_FAR = 4_102_444_800.0  # the year 2100; ages are counted back from there, so that none is negative
_CERTAIN = 1e-4
_NEAR = 0.25


class Worth(NamedTuple):
    """What the next read is worth, from 0, and the one word that says why."""

    value: float
    why: str


def worth(
    posterior: float | None, *, reads: int, disagree: bool, model_odds: float | None = None, is_drifted: bool = False
) -> Worth:
    """What one more read is worth.

    Args:
        posterior: Probability of present after the reads there are; None before the first.
        reads: How many there are.
        disagree: Whether they differ.
        model_odds: Log odds of the model's probability, less those of its threshold; None where it said nothing.
        is_drifted: Whether the image is unlike those the model learned from.

    Returns:
        The worth, about 0 to 1.2, and why: `disagreement`, `drifted`, `uncertain` (the model is near its threshold),
        `second-read`, or `waiting`.

    >>> worth(None, reads=0, disagree=False)
    Worth(value=1.0, why='waiting')
    >>> worth(0.5, reads=2, disagree=True).why
    'disagreement'
    >>> worth(0.99, reads=2, disagree=False).value < 0.2
    True
    """
    known = _odds(0.5 if posterior is None else posterior)
    trusted = model_odds if model_odds is not None and not is_drifted else 0.0
    value = gain(_probability(known + MODEL_SHARE * trusted))
    value += DISAGREEMENT * disagree + DRIFT * is_drifted
    return Worth(value, _why(reads, disagree, model_odds, is_drifted))


def gain(probability: float) -> float:
    """Expected fall of the entropy by one more read, as a share of the greatest, which is at 1/2.

    >>> gain(0.5)
    1.0
    """
    seen = probability * SKILL + (1 - probability) * (1 - SKILL)
    after = seen * _entropy(probability * SKILL / seen) + (1 - seen) * _entropy(probability * (1 - SKILL) / (1 - seen))
    return (_entropy(probability) - after) / (1 - _entropy(SKILL))


def worth_of(image_set: ImageSet) -> Worth | None:
    """What the next read of an image set is worth; None where it waits for no reader."""
    waits = image_set.state is State.INGESTED and image_set.is_closed and image_set.has_work
    return None if not waits or image_set.asked is not None else _worth_now(image_set)


def order_of(image_set: ImageSet) -> float | None:
    """The same as the worklist is ordered by: what waits for a year gains .3, so that nothing waits for ever."""
    found = worth_of(image_set)
    return None if found is None else found.value + (_FAR - image_set.created_at.timestamp()) * _PER_SECOND


def _worth_now(image_set: ImageSet) -> Worth:
    case, told = image_set.case, image_set.prediction or {}
    votes = () if case is None else case.of(image_set.version)
    posterior = case.posterior if case is not None and votes else None
    return worth(
        posterior,
        reads=len(votes),
        disagree=differ(votes),
        model_odds=_model_odds(told),
        is_drifted=told.get("refused") is not None or bool((told.get("ood") or {}).get("outside")),
    )


def _model_odds(told: Any) -> float | None:
    probability, threshold = told.get("probability"), told.get("threshold")
    if probability is None:
        return None
    return _odds(probability) - _odds(0.5 if threshold is None else threshold)


def _why(reads: int, disagree: bool, model_odds: float | None, is_drifted: bool) -> str:
    if disagree:
        return "disagreement"
    if is_drifted:
        return "drifted"
    if model_odds is not None and abs(_probability(model_odds) - 0.5) <= _NEAR:
        return "uncertain"
    return "second-read" if reads else "waiting"


def _entropy(probability: float) -> float:
    if not 0.0 < probability < 1.0:
        return 0.0
    return -probability * math.log2(probability) - (1 - probability) * math.log2(1 - probability)


def _odds(probability: float) -> float:
    sure = min(max(probability, _CERTAIN), 1 - _CERTAIN)
    return math.log(sure / (1 - sure))


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))
