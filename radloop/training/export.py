"""A trained network as the files that serving and evaluation read.

model.onnx            tiles float32 (bags, tiles, 3, size, size) in 0..1 -> logit (bags,), embedding (bags, 2048),
                      attention (bags, tiles), saliency (bags, tiles, h, w): see `BagClassifier.explain`
model.pt              state dict, for the next training
preprocess.json       `TileSpec`
calibration.json      {"temperature": 1.3}: probability = sigmoid(logit / temperature)
threshold.json        {"threshold": 0.5, ...}, of that probability; both chosen on validation, never on test
labels.json           {"0": "absent", "1": "present"}
drift_reference.npz   what the validation image sets are like, which later ones are compared with
lineage.json          data, code, hyperparameters; written last
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from radloop.dicom.intensity import plane_statistics
from radloop.dicom.tiles import CHANNELS, TileSpec
from radloop.training.bags import Part
from radloop.training.calibration import OperatingPoint, probabilities_of
from radloop.training.folder import sha256_of, write_atomically, write_json
from radloop.training.network import BagClassifier

LABELS: Final = {"0": "absent", "1": "present"}
OUTPUTS: Final = ("logit", "embedding", "attention", "saliency")
TAGS: Final = ("modality", "scanner", "source", "view", "sex", "age_band")
"""What `drift_reference.npz` tells of every image set; `unknown` where the snapshot does not say."""

FILES: Final = (
    "model.onnx",
    "model.pt",
    "preprocess.json",
    "calibration.json",
    "threshold.json",
    "labels.json",
    "drift_reference.npz",
)
"""Of a model package; `lineage.json` holds their hashes."""

_OPSET: Final = 17


def write_model(
    folder: Path,
    model: BagClassifier,
    *,
    spec: TileSpec,
    threshold: OperatingPoint | float,
    temperature: float = 1.0,
    lineage: Mapping[str, Any],
    reference: npt.NDArray[np.float32],
    part: Part | None = None,
) -> None:
    """Write everything a model version is made of; the runner packs the folder.

    Args:
        folder: `model/` of the job.
        model: On the CPU, with its best weights.
        spec: How its tiles are made.
        threshold: Calibrated probability from which on the finding counts as present.
        temperature: Of the calibration.
        lineage: What the model rests on.
        reference: float32 (bags, 2048), embeddings of the validation part.
        part: That part, for the statistics and tags of its image sets; without it the reference has none.
    """
    model.eval()
    write_atomically(folder / "model.onnx", lambda beside: export_onnx(model, spec, beside))
    write_atomically(folder / "model.pt", lambda beside: torch.save(model.state_dict(), beside))
    write_json(folder / "preprocess.json", spec.to_json())
    write_json(folder / "calibration.json", {"temperature": temperature})
    point = threshold.to_json() if isinstance(threshold, OperatingPoint) else {"threshold": threshold}
    write_json(folder / "threshold.json", point)
    write_json(folder / "labels.json", LABELS)
    values = _reference(model, reference, temperature, part)
    write_atomically(folder / "drift_reference.npz", lambda beside: _save(beside, values))
    hashes = {name: sha256_of(folder / name) for name in FILES}
    write_json(folder / "lineage.json", {**lineage, "files_sha256": hashes})


class _Explained(nn.Module):
    """The classifier with all that `explain` gives, as ONNX wants it: one `forward`."""

    def __init__(self, model: BagClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.model.explain(tiles)


def export_onnx(model: BagClassifier, spec: TileSpec, path: Path) -> None:
    """Write the network as one ONNX file with free numbers of bags and of tiles a bag."""
    tiles = torch.zeros(2, 3, CHANNELS, spec.size, spec.size)
    bags = {name: {0: "bags"} for name in OUTPUTS}
    with warnings.catch_warnings():
        # The tracing exporter takes 1.5 s where its successor takes 21 s of CPU time, for the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Explained(model).eval(),
            (tiles,),
            str(path),
            dynamo=False,
            input_names=["tiles"],
            output_names=list(OUTPUTS),
            dynamic_axes={
                **bags,
                "tiles": {0: "bags", 1: "tiles"},
                "attention": {0: "bags", 1: "tiles"},
                "saliency": {0: "bags", 1: "tiles"},
            },
            opset_version=_OPSET,
        )


def _reference(
    model: BagClassifier, embeddings: npt.NDArray[np.float32], temperature: float, part: Part | None
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of `drift_reference.npz`.

    `embedding` float32 (n, 2048), `probability` float64 (n,), calibrated, `statistics` float32 (n, 15) of
    `radloop.dicom.intensity`, `target` float32 (n,), the posteriors, `patient` int32 (n,), the same number for the same
    patient, `tags`: a string that is JSON, a list of n objects.
    """
    with torch.inference_mode():
        logits = model.encoder.fc(torch.from_numpy(embeddings)).reshape(-1).numpy()
    values: dict[str, npt.NDArray[Any]] = {
        "embedding": embeddings,
        "probability": probabilities_of(logits, temperature),
    }
    if part is None:
        return values
    tags = [{name: str(item.get(name) or "unknown") for name in TAGS} for item in part.items]
    return {
        **values,
        "statistics": np.stack([plane_statistics(part.planes(at)) for at in range(len(part.labels))]),
        "target": part.targets,
        "patient": np.unique(part.patients, return_inverse=True)[1].astype(np.int32),
        "tags": np.array(json.dumps(tags, sort_keys=True)),
    }


def _save(path: Path, values: Mapping[str, npt.NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, **values)  # type: ignore[arg-type]
