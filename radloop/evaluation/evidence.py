"""Whether everything that a decision rests on is there and is what it says it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from radloop.training.bags import Part
from radloop.training.folder import sha256_of
from radloop.training.package import PackedModel

PACKAGE: Final = (
    "model.onnx",
    "preprocess.json",
    "threshold.json",
    "calibration.json",
    "labels.json",
    "drift_reference.npz",
    "lineage.json",
)
"""What a package must hold."""
_LINEAGE: Final = ("code", "hyperparameters", "dataset_sha256", "train", "validation")


def evidence_of(model: PackedModel, test: Part, train: Part | None) -> dict[str, Any]:
    """Every file of the package with its hash, and all that is missing or contradicts another.

    Args:
        model: The candidate.
        test: The part it is tested on.
        train: The part it says it was taught on; None where that was not handed over.

    Returns:
        `package`: SHA-256 by file name; `problems`: one clause each, in a fixed order.
    """
    return {
        "package": dict(model.files),
        "problems": [
            *(f"{name} is missing from the package" for name in PACKAGE if name not in model.files),
            *_hashes(model),
            *_origin(model, test, train),
        ],
    }


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its name there."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _hashes(model: PackedModel) -> list[str]:
    told = model.lineage.get("files_sha256")
    if not isinstance(told, Mapping) or "model.onnx" not in told:
        return ["lineage.json holds no hash of model.onnx"]
    problems = []
    for name, expected in sorted(told.items()):
        if name not in model.files:
            problems.append(f"{name} has a hash in lineage.json and is not in the package")
        elif model.files[name] != expected:
            problems.append(f"{name} is not the file whose hash stands in lineage.json")
    return problems


def _origin(model: PackedModel, test: Part, train: Part | None) -> list[str]:
    problems = [f"lineage.json does not tell {name}" for name in _LINEAGE if not model.lineage.get(name)]
    if model.lineage.get("dataset_sha256") not in (None, test.dataset_sha256):
        problems.append("the model was taught on another data set than the test part comes from")
    if test.manifest_sha256 in (_manifest(model, "train"), _manifest(model, "validation")):
        problems.append("the model was taught or tuned on the part that it is tested on")
    if train is None:
        problems.append("the training part was not handed to the evaluation")
        return problems
    if train.dataset_sha256 != test.dataset_sha256:
        problems.append("the training part and the test part come from different data sets")
    if _manifest(model, "train") != train.manifest_sha256:
        problems.append("the training part is not the one that lineage.json names")
    return problems


def _manifest(model: PackedModel, part: str) -> str | None:
    """SHA-256 of the manifest that lineage.json tells of a part."""
    told = model.lineage.get(part)
    return told.get("manifest_sha256") if isinstance(told, Mapping) else None
