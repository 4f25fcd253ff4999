"""A packed model, read without writing any of it to disk, and what its network says about a part."""

import hashlib
import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import CT, Bag, Planes, TileSpec, bag_of, planes_of
from radloop.training.bags import Part, groups
from radloop.training.calibration import probabilities_of
from radloop.training.metrics import Floats

_MOST_TILES: Final = 64  # in one run of the network
_TEMPERATURE: Final = "calibration.json"


@dataclass(frozen=True, slots=True)
class PackedModel:
    """What evaluation needs out of a `model.tar.gz`.

    Attributes:
        temperature: The logit is divided by it before it becomes a probability; 1 in packages of old.
        operating: `threshold.json` as it stands.
        files: SHA-256 of every file of the package by name.
    """

    onnx: bytes
    spec: TileSpec
    threshold: float
    temperature: float
    operating: Mapping[str, Any]
    lineage: Mapping[str, Any]
    files: Mapping[str, str]

    def probabilities(self, logits: Floats) -> Floats:
        """Calibrated probabilities of logits, both float64 (n,)."""
        return probabilities_of(logits, self.temperature)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a network says about every bag of a part: logits float64 (bags,), embeddings float32 (bags, 2048)."""

    logits: Floats
    embeddings: npt.NDArray[np.float32]


def unpack(archive: Path) -> PackedModel:
    """Read a packed model.

    Raises:
        InvalidInput: The archive is missing, damaged or lacks a file.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            files = {PurePosixPath(member.name).as_posix(): member for member in tar.getmembers() if member.isfile()}

            def read(name: str) -> bytes:
                inside = tar.extractfile(files[name])
                assert inside is not None  # members that are no files were left out
                return inside.read()

            operating = json.loads(read("threshold.json"))
            temperature = float(json.loads(read(_TEMPERATURE))["temperature"]) if _TEMPERATURE in files else 1.0
            if not 0 < temperature < math.inf:
                raise InvalidInput("the temperature of the model is no number above 0")
            return PackedModel(
                onnx=read("model.onnx"),
                spec=TileSpec.from_json(json.loads(read("preprocess.json"))),
                threshold=float(operating["threshold"]),
                temperature=temperature,
                operating=operating,
                lineage=dict(json.loads(read("lineage.json"))) if "lineage.json" in files else {},
                files={name: hashlib.sha256(read(name)).hexdigest() for name in sorted(files)},
            )
    except (OSError, tarfile.TarError, EOFError, KeyError, ValueError, TypeError):
        raise InvalidInput("model.tar.gz is missing, damaged or lacks one of the files of a model") from None


class Network:
    """The ONNX file that serving runs, open; the model's own tile spec decides what it is shown.

    Args:
        model: The package.
        threads: For ONNX Runtime.

    Raises:
        InvalidInput: The network cannot be loaded or has no output `logit`.
    """

    def __init__(self, model: PackedModel, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(model.onnx, options, providers=["CPUExecutionProvider"])
        except Exception:  # noqa: BLE001 — the runtime's errors share no class of their own
            raise InvalidInput("model.onnx is no network that can be run") from None
        self._spec = model.spec
        self._outputs = {output.name for output in self._session.get_outputs()}
        if "logit" not in self._outputs:
            raise InvalidInput("model.onnx has no output called logit")

    @property
    def has_saliency(self) -> bool:
        """Whether it tells which pixels spoke for the finding."""
        return "saliency" in self._outputs

    def see(self, part: Part, chosen: list[int] | None = None) -> Seen:
        """Look at the bags of a part, or at those that are chosen, in this order."""
        members = list(range(len(part.labels))) if chosen is None else chosen
        wanted = [name for name in ("logit", "embedding") if name in self._outputs]
        logits = np.empty(len(members), dtype=np.float64)
        embeddings: npt.NDArray[np.float32] | None = None
        for places, tiles in self._shown(part, members):
            outputs: list[Any] = self._session.run(wanted, {"tiles": tiles})
            logits[places] = outputs[0]
            if len(outputs) > 1:
                if embeddings is None:
                    embeddings = np.empty((len(members), outputs[1].shape[1]), dtype=np.float32)
                embeddings[places] = outputs[1]
        return Seen(logits, np.zeros((len(members), 0), np.float32) if embeddings is None else embeddings)

    def saliency(self, part: Part, at: int) -> tuple[Bag, npt.NDArray[np.float32]]:
        """The tiles of bag number `at`, and where they speak for the finding: float32 (tiles, rows, columns)."""
        tiles = self._bag(part, at)
        outputs: list[Any] = self._session.run(["saliency"], {"tiles": tiles[None]})
        return tiles, np.asarray(outputs[0][0], dtype=np.float32)

    def _shown(self, part: Part, members: list[int]) -> Iterator[tuple[list[int], Bag]]:
        """Bags with equally many tiles together, so that each group is one array; with their places in `members`."""
        for places in groups([min(part.counts[at], self._spec.tiles_in_evaluation) for at in members], _MOST_TILES):
            yield places, np.stack([self._bag(part, members[place]) for place in places])

    def _bag(self, part: Part, at: int) -> Bag:
        return bag_of(shown(part, at, self._spec), part.modalities[at], self._spec)


def shown(part: Part, at: int, spec: TileSpec) -> Planes:
    """The planes of a bag as a spec wants them; greater ones are averaged down to its size.

    Raises:
        InvalidInput: The file is missing or damaged.
    """
    planes = part.planes(at)
    if planes.shape[1] == spec.size:
        return planes
    return planes_of(planes.astype(np.uint16) * np.uint16(257), "DX", TileSpec(size=spec.size))


def planes_fit(part: Part, spec: TileSpec) -> str | None:
    """Why a model with this spec cannot be shown the planes of a part, or None where it can.

    Windows and crops matter for CT alone. A smaller tile is made from a greater one by averaging, which is what making
    it from the pixels would do; a greater one cannot be made.
    """
    if spec.size > part.spec.size:
        return f"needs tiles of {spec.size} pixels where the part has {part.spec.size}"
    is_alike = (spec.crop, spec.window_center, spec.window_width) == (
        part.spec.crop,
        part.spec.window_center,
        part.spec.window_width,
    )
    if CT in part.modalities and not is_alike:
        return "sees CT through another window or crop"
    return None
