"""The Processing job that tests a model on patients it never saw, and says whether it may be registered.

    python -m radloop.training.evaluate [--accuracy-threshold 0.85] [--threads 1]

It reads `processing/model/model.tar.gz` and `processing/test/` and writes `processing/evaluation/evaluation.json`:
metrics (accuracy and ROC AUC with 95 % intervals over patients), confusion matrix, ROC curve, figures of the test part
and the gate with every rule. What runs is the ONNX file that serving will run, at the threshold chosen in training.
"""

import argparse
import json
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import TileSpec
from radloop.training.bags import Part, alike, read_part
from radloop.training.folder import announce, run_job, sha256_of, write_json
from radloop.training.gate import Policy, decide
from radloop.training.metrics import report

_MOST_TILES: Final = 64  # in one run of the network


@dataclass(frozen=True, slots=True)
class PackedModel:
    """What evaluation needs out of a `model.tar.gz`."""

    onnx: bytes
    spec: TileSpec
    threshold: float


def evaluate(root: Path, policy: Policy, *, threads: int = 1) -> None:
    """Test the model and write the evaluation.

    Args:
        root: Of the job's folders.
        policy: Of the gate.
        threads: For ONNX Runtime.

    Raises:
        InvalidInput: The model or the test part cannot be used, or they were made for different tiles.
    """
    archive = root / "processing" / "model" / "model.tar.gz"
    model = unpack(archive)
    test = read_part(root / "processing" / "test")
    if not len(test.labels):
        raise InvalidInput("the test part is empty")
    if replace(test.spec, tiles_per_bag=1) != replace(model.spec, tiles_per_bag=1):
        raise InvalidInput("the test part was preprocessed for other tiles than the model was trained on")
    probabilities = predict_part(model, test, threads=threads)
    labels = test.labels.astype(np.int64)
    found = report(labels, probabilities, test.patients, model.threshold)
    decision = decide(
        {name: metric["value"] for name, metric in found["metrics"].items() if metric["value"] is not None},
        positives=found["test"]["positives"],
        negatives=found["test"]["negatives"],
        policy=policy,
    )
    evaluation = {
        **found,
        "gate": decision.to_json(),
        "model_sha256": sha256_of(archive),
        "test_manifest_sha256": test.manifest_sha256,
        "dataset_sha256": test.dataset_sha256,
    }
    write_json(root / "processing" / "evaluation" / "evaluation.json", evaluation)
    announce("evaluated", approved=decision.approved, accuracy=found["metrics"]["accuracy"]["value"])


def unpack(archive: Path) -> PackedModel:
    """Read a packed model without writing any of it to disk.

    Raises:
        InvalidInput: The archive is missing, damaged or lacks a file.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            files = {Path(member.name).as_posix(): member for member in tar.getmembers() if member.isfile()}

            def read(name: str) -> bytes:
                inside = tar.extractfile(files[name])
                assert inside is not None  # members that are no files were left out
                return inside.read()

            return PackedModel(
                onnx=read("model.onnx"),
                spec=TileSpec.from_json(json.loads(read("preprocess.json"))),
                threshold=float(json.loads(read("threshold.json"))["threshold"]),
            )
    except (OSError, tarfile.TarError, EOFError, KeyError, ValueError, TypeError):
        raise InvalidInput("model.tar.gz is missing, damaged or lacks one of the files of a model") from None


def predict_part(model: PackedModel, part: Part, *, threads: int) -> npt.NDArray[np.float64]:
    """Probability of the finding for every bag of a part, float64 (bags,)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.onnx, options, providers=["CPUExecutionProvider"])
    logits = np.empty(len(part.labels), dtype=np.float64)
    for members, tiles in alike(part, _MOST_TILES):
        outputs: list[Any] = session.run(["logit"], {"tiles": tiles})
        logits[members] = outputs[0]
    return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see the module."""
    parser = argparse.ArgumentParser(prog="python -m radloop.training.evaluate", description=evaluate.__doc__)
    parser.add_argument("--accuracy-threshold", type=float, default=Policy().least_accuracy)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    policy = Policy(least_accuracy=chosen.accuracy_threshold)
    return run_job(lambda root: evaluate(root, policy, threads=chosen.threads))


if __name__ == "__main__":
    sys.exit(main())
