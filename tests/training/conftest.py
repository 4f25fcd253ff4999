"""A tiny dataset in the folders of a job."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radloop.core.datasets import Split

Lines = list[dict[str, Any]]


def make_dataset(root: Path, *, per_class: int = 3, modality: str = "CT", seed: int = 1) -> Lines:
    """Write a dataset in which positives have a bright square; return the manifest's lines."""
    rng = np.random.default_rng(seed)
    folder = root / "processing" / "input" / "dataset"
    (folder / "images").mkdir(parents=True)
    lines: Lines = []
    for split in Split:
        for at in range(2 * per_class):
            label, name = at % 2, f"{split}-{at}"
            volume = rng.integers(0, 20_000, (1 if modality != "CT" else 4, 24, 24))
            volume[:, 6:18, 6:18] += 40_000 * label
            if modality == "CT":
                volume = volume // 45 - 1300
            np.save(folder / "images" / f"{name}.npy", volume.astype(np.int16 if modality == "CT" else np.uint16))
            lines.append(
                {
                    "image_set": name,
                    "version": 1,
                    "patient": hashlib.sha256(name.encode()).hexdigest()[:16],
                    "split": split,
                    "label": label,
                    "modality": modality,
                    "file": f"images/{name}.npy",
                }
            )
    write_manifest(root, lines)
    return lines


def write_manifest(root: Path, lines: Lines) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (root / "processing" / "input" / "dataset" / "manifest.jsonl").write_text(text)


def hand_over(root: Path, **hyperparameters: object) -> None:
    """What the runner does between preprocessing and training: channels and hyperparameters."""
    config = root / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_text(json.dumps({k: str(v) for k, v in hyperparameters.items()}))
    (root / "input" / "data").mkdir(exist_ok=True)
    for name in ("train", "validation"):
        channel = root / "input" / "data" / name
        if not channel.exists():
            channel.symlink_to(root / "processing" / name)


@pytest.fixture
def job_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RADLOOP_ML_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def dataset() -> Callable[..., Lines]:
    return make_dataset


@pytest.fixture
def manifest() -> Callable[[Path, Lines], None]:
    return write_manifest


@pytest.fixture(scope="session")
def channels() -> Callable[..., None]:
    return hand_over
