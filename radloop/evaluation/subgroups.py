"""Figures by sex, age band, scanner, source and view, and what the parts are made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from radloop.evaluation.policy import Subgroups
from radloop.training.metrics import Estimate, Scored, estimates

BY: Final = ("sex", "age_band", "scanner", "source", "view")
_MADE_OF: Final = ("modality", *BY, "licence")
_SHOWN: Final = ("accuracy", "recall", "specificity", "roc_auc")
UNKNOWN: Final = "unknown"


def subgroups_of(
    scored: Scored, items: Sequence[Mapping[str, Any]], threshold: float, limits: Subgroups
) -> list[dict[str, Any]]:
    """Figures of every group of the test part.

    Args:
        scored: What the model said.
        items: The manifest lines, in order; what a line does not tell is the group `unknown`.
        threshold: The operating point.
        limits: How big a group must be to be judged. Of a smaller one only its size is told, for its figures would be
            noise.

    Returns:
        `by`, `group`, the counts, `is_judged`, and figures with intervals where it is.
    """
    found = []
    for by in BY:
        names = [str(item.get(by) or UNKNOWN) for item in items]
        for group in sorted(set(names)):
            some = scored.only(np.array([name == group for name in names]))
            counts = some.counts()
            smallest = min(counts["positives"], counts["negatives"])
            is_judged = counts["image_sets"] >= limits.image_sets and smallest >= limits.each_class
            figures: dict[str, Estimate] = estimates(some, threshold) if is_judged else {}
            shown = {name: figures[name] for name in _SHOWN if name in figures}
            about: dict[str, Any] = {"by": by, "group": group, "is_judged": is_judged}
            found.append(about | counts | shown)
    return found


def made_of(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a part is made of: image sets, patients and classes, how often each value occurs, and how it was read.

    Returns:
        `patients`, `image_sets`, `positives`, `negatives`; a count by value for modality, sex, age band, scanner,
        source, view and licence; `reads`: the count of image sets by number of reads; `doubtful`: image sets whose
        posterior lies between 0.1 and 0.9.
    """
    positives = sum(int(item["label"]) for item in items)
    posteriors = [item.get("posterior") for item in items]
    return {
        "patients": len({item["patient"] for item in items}),
        "image_sets": len(items),
        "positives": positives,
        "negatives": len(items) - positives,
        **{name: _counted(items, name) for name in _MADE_OF},
        "reads": _counted(items, "reads"),
        "doubtful": sum(0.1 < float(one) < 0.9 for one in posteriors if one is not None),  # noqa: PLR2004 — as told
    }


def _counted(items: Sequence[Mapping[str, Any]], name: str) -> dict[str, int]:
    found = Counter(UNKNOWN if item.get(name) in (None, "") else str(item[name]) for item in items)
    return dict(sorted(found.items()))
