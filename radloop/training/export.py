"""A trained network as the files that serving and evaluation read.

model.onnx            tiles float32 (bags, tiles, 3, size, size) in 0..1 -> logit (bags,), embedding (bags, 2048)
model.pt              state dict, for the next training
preprocess.json       `TileSpec`
threshold.json        {"threshold": 0.5}, of the probability; chosen on validation, never on test
labels.json           {"0": "absent", "1": "present"}
drift_reference.npz   embeddings and probabilities of the validation bags, what later images are compared with
lineage.json          data, code, hyperparameters; written last
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from radloop.dicom.tiles import CHANNELS, TileSpec
from radloop.training.folder import sha256_of, write_atomically, write_json
from radloop.training.network import BagClassifier

LABELS: Final = {"0": "absent", "1": "present"}
_OPSET: Final = 17


def write_model(
    folder: Path,
    model: BagClassifier,
    *,
    spec: TileSpec,
    threshold: float,
    lineage: Mapping[str, Any],
    reference: npt.NDArray[np.float32],
) -> None:
    """Write everything a model version is made of; the runner packs the folder.

    Args:
        folder: `model/` of the job.
        model: On the CPU, with its best weights.
        spec: How its tiles are made.
        threshold: Probability from which on the finding counts as present.
        lineage: What the model rests on.
        reference: float32 (bags, 2048), embeddings of the validation part.
    """
    model.eval()
    write_atomically(folder / "model.onnx", lambda beside: export_onnx(model, spec, beside))
    write_atomically(folder / "model.pt", lambda beside: torch.save(model.state_dict(), beside))
    write_json(folder / "preprocess.json", spec.to_json())
    write_json(folder / "threshold.json", {"threshold": threshold})
    write_json(folder / "labels.json", LABELS)
    write_atomically(folder / "drift_reference.npz", lambda beside: _save_reference(beside, model, reference))
    hashes = {name: sha256_of(folder / name) for name in ("model.onnx", "model.pt", "preprocess.json")}
    write_json(folder / "lineage.json", {**lineage, "files_sha256": hashes})


def export_onnx(model: BagClassifier, spec: TileSpec, path: Path) -> None:
    """Write the network as one ONNX file with free numbers of bags and of tiles a bag."""
    tiles = torch.zeros(2, 3, CHANNELS, spec.size, spec.size)
    with warnings.catch_warnings():
        # The tracing exporter takes 1.5 s where its successor takes 21 s of CPU time, for the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (tiles,),
            str(path),
            dynamo=False,
            input_names=["tiles"],
            output_names=["logit", "embedding"],
            dynamic_axes={"tiles": {0: "bags", 1: "tiles"}, "logit": {0: "bags"}, "embedding": {0: "bags"}},
            opset_version=_OPSET,
        )


def choose_threshold(labels: npt.NDArray[np.float32], probabilities: npt.NDArray[np.float64]) -> float:
    """The probability that parts the classes best: highest mean of sensitivity and specificity.

    Candidates lie halfway between neighbouring probabilities. Among equals the middle of the widest gap wins, for
    there a new case is least likely to fall on the wrong side.

    >>> choose_threshold(np.array([0, 0, 1, 1], np.float32), np.array([0.1, 0.3, 0.7, 0.8]))
    0.5
    """
    order = np.unique(probabilities)
    if len(order) == 1:
        return 0.5
    middles, gaps = (order[1:] + order[:-1]) / 2, np.diff(order)
    said = probabilities[None, :] >= middles[:, None]
    sensitivity = said[:, labels > 0].mean(axis=1)
    specificity = 1 - said[:, labels == 0].mean(axis=1)
    balanced = np.round(sensitivity + specificity, 9)
    best = np.flatnonzero(balanced == balanced.max())
    return float(middles[best[np.argmax(gaps[best])]])


def _save_reference(path: Path, model: BagClassifier, embeddings: npt.NDArray[np.float32]) -> None:
    with torch.inference_mode():
        logits = model.encoder.fc(torch.from_numpy(embeddings)).reshape(-1)
    with path.open("wb") as file:
        np.savez(file, embedding=embeddings, probability=torch.sigmoid(logits).numpy())
