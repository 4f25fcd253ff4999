"""A candidate beside the champion, on the same test patients, pair by pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from radloop.core.errors import InvalidInput
from radloop.training.bags import Part
from radloop.training.folder import read_json, sha256_of
from radloop.training.metrics import Floats, Scored, difference, estimates
from radloop.training.package import Network, PackedModel, planes_fit, unpack

CHAMPION: Final = "champion.tar.gz"
_ABOUT: Final = "champion.json"
_RECORDED: Final = "champion_predictions.json"
_LEAST_SHARE: Final = 0.5  # of the test image sets that recorded predictions must cover


@dataclass(frozen=True, slots=True)
class _Word:
    """What the champion says: scores float64 (n,), bool (n,) of those it was asked about, and how it was asked."""

    scores: Floats
    asked: Floats
    how: str


def against_champion(context: Path, test: Part, scored: Scored, *, threads: int) -> dict[str, Any] | None:
    """How the candidate does against the champion.

    Both see the same planes where both can; a champion that wants smaller tiles sees them averaged down. One that
    wants others is judged by what it said of the same versions of the same image sets in its own evaluation, where
    that was handed over. Else there is no comparison, and `how` says why.

    Args:
        context: The folder that came with the execution.
        test: The test part.
        scored: What the candidate said.
        threads: For ONNX Runtime.

    Returns:
        None without a champion, else `version`, `how`, `image_sets`, and where compared `roc_auc`, `accuracy` (the
        champion's own, at its own operating point) and `delta`: candidate less champion in ROC AUC.
    """
    archive = context / CHAMPION
    about = read_json(context / _ABOUT) if (context / _ABOUT).is_file() else {}
    if not archive.is_file() and not about:
        return None
    found: dict[str, Any] = {"version": about.get("version"), "image_sets": 0, "delta": None}
    if not archive.is_file():
        return found | {"how": "cannot be compared, for its package was not handed over"}
    found["model_sha256"] = sha256_of(archive)
    try:
        champion = unpack(archive)
        word = _ask(champion, context, test, threads=threads)
    except InvalidInput as error:
        return found | {"how": f"cannot be compared: {error}"}
    if isinstance(word, str):
        return found | {"how": word}
    chosen = word.asked > 0
    mine, theirs = scored.only(chosen), word.scores[chosen]
    own = estimates(Scored(mine.labels, theirs, mine.patients), champion.threshold)
    return found | {
        "how": word.how,
        "image_sets": int(chosen.sum()),
        "roc_auc": own["roc_auc"],
        "accuracy": own["accuracy"],
        "delta": difference(mine, theirs),
    }


def _ask(champion: PackedModel, context: Path, test: Part, *, threads: int) -> _Word | str:
    why_not = planes_fit(test, champion.spec)
    if why_not is None:
        logits = Network(champion, threads=threads).see(test).logits
        how = "saw the same planes"
        if champion.spec.size < test.spec.size:
            how = f"saw the same planes, averaged from {test.spec.size} down to its {champion.spec.size} pixels"
        return _Word(champion.probabilities(logits), np.ones(len(logits)), how)
    recorded = _recorded(context / _RECORDED, test.items)
    if recorded is None:
        return f"cannot be compared: it {why_not}, and what it said of these image sets was not handed over"
    if recorded.asked.mean() < _LEAST_SHARE:
        share = f"{int(recorded.asked.sum())} of {len(test.items)}"
        return f"cannot be compared: it {why_not}, and only {share} image sets were in its own test"
    return recorded


def _recorded(path: Path, items: Sequence[Mapping[str, Any]]) -> _Word | None:
    """What the champion said in its own evaluation of the same versions of the image sets."""
    if not path.is_file():
        return None
    try:
        said = {(str(one["image_set"]), int(one["version"])): float(one["probability"]) for one in read_json(path)}
    except (KeyError, TypeError, ValueError):
        raise InvalidInput(f"{_RECORDED} lacks a field") from None
    keys = [(str(item["image_set"]), int(item["version"])) for item in items]
    return _Word(
        np.array([said.get(key, 0.5) for key in keys]),
        np.array([float(key in said) for key in keys]),
        "is judged by what it said of these image sets in its own evaluation",
    )
