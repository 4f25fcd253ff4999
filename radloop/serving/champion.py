"""The model version in use, loaded when it is first asked and again when another one takes its place."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radloop.core.errors import NoChampion
from radloop.core.ports import Blobs, Models, ModelVersion
from radloop.core.predictions import CHAMPION
from radloop.serving.package import REFERENCE, unpack
from radloop.serving.predict import Prediction, Predictor
from radloop.serving.reference import Reference, read_reference

_REST_S = 120.0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a model version says about one study.

    Attributes:
        weights_sha256: Of the network; "" where its package does not tell.
        seconds: From pixels to answer, without loading the model.
    """

    prediction: Prediction
    model_version: int
    weights_sha256: str = ""
    seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """What is kept with the image set. Where the study was refused there is no probability and no finding."""
        said = self.prediction
        maps = said.saliency
        return {
            "probability": None if said.refused else said.probability,
            "finding": said.finding,
            "threshold": said.threshold,
            "model_version": self.model_version,
            "calibrated": said.is_calibrated,
            "refused": said.refused,
            "ood": None if said.familiarity is None else said.familiarity.plain(),
            "frames": [] if maps is None or said.refused else list(maps.frames),
            "frame": None if maps is None or said.refused else maps.strongest,
        }


class Champion:
    """Predicts with the version that an alias of the registry means. Safe to use from several threads.

    The registry is asked each time, so that a version approved or taken back elsewhere counts from the next study on.
    While a new version loads, studies wait for it; none is ever judged by the version before. Who has nothing to
    predict for two minutes lets the model go, some 150 MB.

    Args:
        models: The registry.
        blobs: Where packages are kept.
        alias: `champion`, whose answers readers see, or `shadow`, whose answers nobody sees.
        rested: Called when a model has been let go, to give back its memory.
    """

    def __init__(
        self, models: Models, blobs: Blobs, *, alias: str = CHAMPION, rested: Callable[[], None] | None = None
    ) -> None:
        self._models = models
        self._blobs = blobs
        self._alias = alias
        self._rested = rested
        self._guard = threading.Lock()
        self._loaded: tuple[int, Predictor] | None = None
        self._asked = 0.0
        self._timer: threading.Timer | None = None

    def predict(self, volume: npt.NDArray[np.generic], modality: str) -> Opinion:
        """Look at one study.

        Args:
            volume: As `Predictor.predict` takes it.
            modality: `CT`, `CR` or `DX`.

        Raises:
            NoChampion: No model version has been approved yet.
            NotFound: The package is gone.
            Corrupt: The package cannot be used.
            InvalidInput: The model does not take such pixels.
        """
        version, predictor = self._current()
        began = time.perf_counter()
        prediction = predictor.predict(volume, modality)
        return Opinion(prediction, version, predictor.weights_sha256, time.perf_counter() - began)

    def version(self) -> int:
        """The version in use.

        Raises:
            NoChampion: No model version has been approved yet, or none is meant by the alias.
        """
        found = self._meant()
        if found is None:
            told = "has been approved" if self._alias == CHAMPION else f"is {self._alias}"
            raise NoChampion(f"no model version {told} yet")
        return found.version

    @property
    def exists(self) -> bool:
        """Whether the alias means any version."""
        return self._meant() is not None

    @property
    def is_loaded(self) -> bool:
        """Whether a model is in memory now."""
        with self._guard:
            return self._loaded is not None

    def reference(self, version: int) -> Reference | None:
        """What `version`, in use or not, was made from; None where its package does not tell.

        Raises:
            NotFound: There is no such version, or its package is gone.
            Corrupt: The package cannot be read.
        """
        with self._guard:
            if self._loaded is not None and self._loaded[0] == version:
                return self._loaded[1].reference
        package = self._blobs.get(self._models.get(version).artifact)
        held = unpack(package, frozenset({REFERENCE}))
        return read_reference(held[REFERENCE]) if REFERENCE in held else None

    def _meant(self) -> ModelVersion | None:
        if self._alias == CHAMPION:
            return self._models.champion()
        return next((model for model in self._models.versions() if self._alias in model.aliases), None)

    def _current(self) -> tuple[int, Predictor]:
        with self._guard:
            version = self.version()
            if self._loaded is None or self._loaded[0] != version:
                self._loaded = None  # two at a time would take twice the memory
                self._loaded = (version, Predictor(self._blobs.get(self._models.get(version).artifact)))
            self._asked = time.monotonic()
            self._watch(_REST_S)
            return self._loaded

    def _watch(self, wait_s: float) -> None:
        """See to it that the model goes when nobody needs it; the guard is held."""
        if self._timer is None:
            self._timer = threading.Timer(wait_s, self._rest)
            self._timer.daemon = True
            self._timer.start()

    def _rest(self) -> None:
        with self._guard:
            self._timer = None
            left_s = self._asked + _REST_S - time.monotonic()
            if left_s > 0:
                self._watch(left_s)
                return
            self._loaded = None
        if self._rested is not None:
            self._rested()
