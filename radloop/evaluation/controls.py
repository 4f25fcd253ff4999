"""Controls on shuffled labels: what the figures would be if there were nothing to learn.

Two of them, both cheap, for they rest on embeddings and scores that are there already:

Heads on shuffled labels. The model's last line is taught anew, as a ridge regression over its embeddings of a sample of
the training part, 400 times, each time on labels that were shuffled among the image sets. Their mean ROC AUC on the
test part must be about 0.5. It shows that the figures follow the labels and that scoring gives nothing away. It does
not train the encoder again, so it cannot tell what the encoder itself learned from the true labels; and it does not
see shared patients or shortcuts, which are the guards' and the baseline's business.

A permutation test. The test labels are shuffled among the patients 2,000 times, patients with equally many image sets
changing places, and the p-value is how often the model's ROC AUC is reached. It tells a model that learned nothing, as
one trained on shuffled labels, from one that did, however few the patients.
"""

from collections import defaultdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.training.metrics import Floats, Labels, Scored, areas, roc_auc

Embeddings = npt.NDArray[np.float32]

_SHUFFLES: Final = 400
_PERMUTATIONS: Final = 2000


def shuffled_heads(
    embeddings: Embeddings, labels: Labels, test: Embeddings, scored: Scored, *, seed: int = 7
) -> dict[str, Any]:
    """Heads taught on shuffled labels, and one on the true ones.

    Args:
        embeddings: float32 (n, 2048), of image sets of the training part.
        labels: int64 (n,), theirs.
        test: float32 (m, 2048), of the test part.
        scored: The test part.
        seed: Of the shuffles.

    Returns:
        `shuffles`, `image_sets`, `mean_auc`, `auc_low` and `auc_high` (the middle 95 % of the shuffles) and
        `true_auc`; figures are None where the test part lacks a class.
    """
    rng = np.random.default_rng(seed)
    middle = embeddings.mean(axis=0)
    teach = (embeddings - middle).astype(np.float64)
    kernel = teach @ teach.T
    ridge = max(float(np.trace(kernel)) / len(kernel), 1e-12)
    wanted = np.stack([labels, *(rng.permutation(labels) for _ in range(_SHUFFLES))], axis=1).astype(np.float64)
    weights = np.linalg.solve(kernel + ridge * np.eye(len(kernel)), wanted - wanted.mean(axis=0))
    said = (test - middle).astype(np.float64) @ teach.T @ weights
    truth, once = scored.labels > 0, np.ones((1, len(scored.labels)))
    reached = np.array([float(areas(truth, said[:, at], once)[0][0]) for at in range(said.shape[1])])
    found: dict[str, Any] = {"shuffles": _SHUFFLES, "image_sets": len(labels)}
    if not np.isfinite(reached).all():
        return found | dict.fromkeys(("mean_auc", "auc_low", "auc_high", "true_auc"))
    low, high = np.percentile(reached[1:], (2.5, 97.5))
    return found | {
        "mean_auc": float(reached[1:].mean()),
        "auc_low": float(low),
        "auc_high": float(high),
        "true_auc": float(reached[0]),
    }


def permutation_p(scored: Scored, *, seed: int = 7) -> float | None:
    """How often shuffled test labels reach the model's ROC AUC, counting the true ones; None where a class is missing.

    Labels move with their patients: what a patient's image sets have in common stays together. Patients with a number
    of image sets that no other has keep theirs, which makes the test the more cautious.
    """
    if not np.isfinite(roc_auc(scored)):
        return None
    rng = np.random.default_rng(seed)
    shuffled = np.tile(scored.labels, (_PERMUTATIONS, 1))
    for places in _alike(scored.patients):
        order = np.argsort(rng.random((_PERMUTATIONS, len(places))), axis=1)
        shuffled[:, places.ravel()] = scored.labels[places][order].reshape(_PERMUTATIONS, -1)
    ranks = _ranks(scored.scores)
    reached = shuffled @ ranks >= scored.labels @ ranks - 1e-9
    return float((1 + reached.sum()) / (1 + _PERMUTATIONS))


def _alike(patients: tuple[str, ...]) -> list[npt.NDArray[np.int64]]:
    """Places of image sets, (patients, image sets each), for every number of image sets that patients have."""
    by_patient: dict[str, list[int]] = defaultdict(list)
    for at, patient in enumerate(patients):
        by_patient[patient].append(at)
    by_count: dict[int, list[list[int]]] = defaultdict(list)
    for places in by_patient.values():
        by_count[len(places)].append(places)
    return [np.array(places, dtype=np.int64) for _, places in sorted(by_count.items())]


def _ranks(scores: Floats) -> Floats:
    """Ranks from 1, ties the mean of theirs; for labels of one sum, ROC AUC rises with the sum of positives' ranks."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place], dtype=np.float64)
