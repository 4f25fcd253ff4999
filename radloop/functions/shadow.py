"""Champion against shadow: what two versions said of the same image sets."""

from typing import Any

import numpy as np

from radloop.core.platform import Platform
from radloop.core.predictions import SHADOW, Observation, key_of, observation_of
from radloop.core.tables import PREDICTIONS


def comparison(platform: Platform, *, most: int = 1000) -> dict[str, Any]:
    """Champion against shadow on the image sets that both have judged lately.

    Returns:
        `champion`, `shadow`: versions, null without; `image_sets`; `agreement`: share with the same finding;
        `difference`: mean absolute difference of the probabilities; `higher`: share in which the shadow's is higher.
        Null where nothing can be compared. Nothing about a single image set, whose readers may be blinded.
    """
    champion = platform.models.champion()
    shadow = next((model for model in platform.models.versions() if SHADOW in model.aliases), None)
    told: dict[str, Any] = {
        "champion": None if champion is None else champion.version,
        "shadow": None if shadow is None else shadow.version,
        "image_sets": 0,
        "agreement": None,
        "difference": None,
        "higher": None,
    }
    if champion is None or shadow is None:
        return told
    pairs = []
    for row in platform.records.find(PREDICTIONS, {"model_version": shadow.version}, newest_first=True, limit=most):
        of_shadow = observation_of(row)
        beside = platform.records.get(PREDICTIONS, key_of(champion.version, of_shadow.image_set))
        if beside is not None:
            pairs.append((observation_of(beside), of_shadow))
    if not pairs:
        return told
    differences = np.array([shown.probability - hidden.probability for shown, hidden in pairs])
    return told | {
        "image_sets": len(pairs),
        "agreement": float(np.mean([_verdict(shown) == _verdict(hidden) for shown, hidden in pairs])),
        "difference": float(np.abs(differences).mean()),
        "higher": float((differences < 0).mean()),
    }


def _verdict(said: Observation) -> str:
    return said.refused or ("present" if said.says_present else "absent")
