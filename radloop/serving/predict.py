"""One model version answering for one study at a time.

The pixels take the way they took in training (`radloop.dicom.tiles`), the network is the ONNX file that was
evaluated, temperature and threshold are those chosen with it, and what is nothing like the studies it was made from
is refused (`radloop.serving.familiarity`). ONNX Runtime and numpy only.

Packages of before 1.0 lack the temperature, the reference or the maps; they answer without, and say so.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from radloop.core.errors import Corrupt
from radloop.core.predictions import OUT_OF_DISTRIBUTION
from radloop.dicom.intensity import plane_statistics
from radloop.dicom.tiles import Bag, Extent, TileSpec, bag_of, located_planes, spread
from radloop.serving.familiarity import FEWEST, Familiarity, Verdict
from radloop.serving.package import CALIBRATION, LINEAGE, NETWORK, REFERENCE, SPEC, THRESHOLD, unpack
from radloop.serving.reference import Reference, read_reference
from radloop.serving.saliency import Saliency

_FILES = frozenset({NETWORK, SPEC, THRESHOLD, CALIBRATION, REFERENCE, LINEAGE})


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one study.

    Attributes:
        probability: Of the finding, 0..1, calibrated where the package tells a temperature. Where the study is refused
            it means nothing, and is kept for measuring only.
        finding: `present` from the threshold on; None where the study is refused.
        threshold: Of the model version, on the calibrated probability.
        is_calibrated: Whether the package tells a temperature.
        embedding: float32 (2048,), of the bag.
        components: float32 (components,), the embedding in the axes of the reference; empty without one.
        statistics: float32 (15,), of the planes.
        familiarity: How far the study is from those the model was made from; None where nothing tells.
        saliency: Where the answer comes from; None where the network tells no maps.
    """

    probability: float
    finding: Literal["present", "absent"] | None
    threshold: float
    is_calibrated: bool = False
    embedding: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False
    )
    components: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False
    )
    statistics: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False
    )
    familiarity: Verdict | None = None
    saliency: Saliency | None = field(default=None, repr=False, compare=False)

    @property
    def refused(self) -> str | None:
        """`OUT_OF_DISTRIBUTION`, where the model must not judge the study."""
        return OUT_OF_DISTRIBUTION if self.familiarity is not None and self.familiarity.is_outside else None


class Predictor:
    """A loaded model version. Safe to use from several threads.

    Args:
        model_tar: `model.tar.gz`, as bytes or as a file, or the folder that it was unpacked into.
        threads: For ONNX Runtime. Pinned, for its own choice takes every core from the doors beside it.

    Raises:
        Corrupt: The archive cannot be read or lacks a file.
    """

    def __init__(self, model_tar: bytes | Path, *, threads: int = 1) -> None:
        import onnxruntime  # noqa: PLC0415 — 16 MB that only a process that predicts needs

        files = unpack(model_tar, _FILES)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it would keep the largest study's memory for ever
        self.reference: Reference | None = read_reference(files[REFERENCE]) if REFERENCE in files else None
        try:
            self.spec = TileSpec.from_json(json.loads(files[SPEC]))
            self.threshold = float(json.loads(files[THRESHOLD])["threshold"])
            self.temperature = float(json.loads(files[CALIBRATION])["temperature"]) if CALIBRATION in files else None
            self.weights_sha256 = weights_of(files)
            self._session: Any = onnxruntime.InferenceSession(
                files[NETWORK], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises kinds of its own that share no root
            raise Corrupt("the model package lacks a file or holds one that cannot be used") from error
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature > 0):
            raise Corrupt("the temperature of the model package is not above 0")
        self._told = [output.name for output in self._session.get_outputs()]
        reference = self.reference
        self._familiarity = None if reference is None or len(reference) < FEWEST else Familiarity(reference)

    def predict(self, volume: npt.NDArray[np.generic], modality: str) -> Prediction:
        """Look at one study.

        Args:
            volume: CT: int16 (slices, rows, columns), HU. X-ray: uint16 (views, rows, columns), MONOCHROME2 polarity,
                0..65535.
            modality: `CT`, `CR` or `DX`.

        Raises:
            InvalidInput: The array or modality is none of the above.
        """
        planes, extent = located_planes(volume, modality, self.spec)
        tiles = bag_of(planes, modality, self.spec)
        told = self._run(tiles)
        embedding = np.asarray(told["embedding"], dtype=np.float32)
        components = np.empty(0, np.float32) if self.reference is None else self.reference.project(embedding)
        statistics = plane_statistics(planes)
        verdict = None if self._familiarity is None else self._familiarity.judge(components, statistics)
        probability = _sigmoid(float(told["logit"]) / (self.temperature or 1.0))
        is_refused = verdict is not None and verdict.is_outside
        return Prediction(
            probability=probability,
            finding=None if is_refused else "present" if probability >= self.threshold else "absent",
            threshold=self.threshold,
            is_calibrated=self.temperature is not None,
            embedding=embedding,
            components=components,
            statistics=statistics,
            familiarity=verdict,
            saliency=_saliency(told, len(planes), len(tiles), extent),
        )

    def _run(self, tiles: Bag) -> dict[str, Any]:
        """Outputs of the network for one bag, by name, without the axis of the bags."""
        values = self._session.run(self._told, {"tiles": tiles[None]})
        return {name: value[0] for name, value in zip(self._told, values, strict=True)}


def _saliency(told: dict[str, Any], planes: int, tiles: int, extent: Extent) -> Saliency | None:
    if "saliency" not in told:
        return None
    return Saliency(
        maps=np.clip(told["saliency"], 0, np.finfo(np.float16).max).astype(np.float16),
        attention=np.asarray(told["attention"], dtype=np.float32) if "attention" in told else None,
        frames=tuple(extent.first + int(at) for at in spread(planes, tiles)),
        extent=extent,
    )


def weights_of(files: dict[str, bytes]) -> str:
    """SHA-256 of the network as its training wrote it down; "" where the package does not tell."""
    lineage = json.loads(files.get(LINEAGE, b"{}"))
    return str(lineage.get("files_sha256", {}).get(NETWORK, ""))


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-np.float64(np.clip(logit, -700, 700)))))
