"""The model version in use, loaded when it is first asked and again when another one takes its place."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radloop.core.errors import NoChampion
from radloop.core.ports import Blobs, Models
from radloop.serving.predict import Prediction, Predictor


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a model version says about one study."""

    prediction: Prediction
    model_version: int

    def plain(self) -> dict[str, Any]:
        """What is kept with the image set."""
        return {
            "probability": self.prediction.probability,
            "finding": self.prediction.finding,
            "model_version": self.model_version,
        }


class Champion:
    """Predicts with the champion of the registry. Safe to use from several threads.

    The registry is asked each time, so that a version approved or taken back elsewhere counts from the next study on.
    While a new version loads, studies wait for it; none is ever judged by the version before.
    """

    def __init__(self, models: Models, blobs: Blobs) -> None:
        self._models = models
        self._blobs = blobs
        self._guard = threading.Lock()
        self._loaded: tuple[int, Predictor] | None = None

    def predict(self, volume: npt.NDArray[np.generic], modality: str) -> Opinion:
        """Look at one study.

        Args:
            volume: As `Predictor.predict` takes it.
            modality: `CT`, `CR` or `DX`.

        Raises:
            NoChampion: No model version has been approved yet.
            NotFound: The champion's package is gone.
            Corrupt: The package cannot be used.
            InvalidInput: The model does not take such pixels.
        """
        version, predictor = self._current()
        return Opinion(prediction=predictor.predict(volume, modality), model_version=version)

    def version(self) -> int:
        """The version in use.

        Raises:
            NoChampion: No model version has been approved yet.
        """
        champion = self._models.champion()
        if champion is None:
            raise NoChampion("no model version has been approved yet")
        return champion.version

    def _current(self) -> tuple[int, Predictor]:
        with self._guard:
            version = self.version()
            if self._loaded is None or self._loaded[0] != version:
                self._loaded = (version, Predictor(self._blobs.get(self._models.get(version).artifact)))
            return self._loaded
