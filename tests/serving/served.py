"""Packages that can be told apart by what they say, for tests of what serves."""

import math

import numpy as np

from radloop.core.ports import Blobs
from radloop.serving.champion import Champion
from tests.contracts.serving import VERSIONS, artifact_of
from tests.serving.small_model import model_package

DARK = np.full((2, 32, 32), 0, dtype=np.uint16)


def lay_packages(blobs: Blobs) -> None:
    """The package of each version, whose logit of what is dark is the version's number."""
    for number in range(1, VERSIONS + 1):
        blobs.put(artifact_of(number), model_package(bias=number))


def judged_by(champion: Champion) -> int:
    """The version whose package judges a study now, which is the one that it says."""
    opinion = champion.predict(DARK, "CR")
    said = opinion.prediction.probability
    version = round(math.log(said / (1 - said)))
    assert opinion.model_version == version
    return version
