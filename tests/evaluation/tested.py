"""The folders of an evaluation, with images and a network made for it.

A positive has a bright block on the left, a negative the same block on the right: no statistic of the whole image tells
them apart, and the network, one weight a pixel, does.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from radloop.dicom.tiles import TileSpec

SIZE = 16
SPEC = TileSpec(SIZE, 2, 3)
DATASET = "d" * 64
GUARDS = [
    {
        "name": "patient-overlap",
        "value": 0,
        "limit": 0,
        "passed": True,
        "warns": False,
        "sentence": "No patient twice.",
    },
    {"name": "same-pixels", "value": 0, "limit": 0, "passed": True, "warns": False, "sentence": "No pixels twice."},
]
FACTS = {"newest_label_days": 0.5, "behind_champion_days": -1.0}


def network(*, gain: float = 160.0, size: int = SIZE, with_saliency: bool = True) -> bytes:
    """Left half less right half, times `gain`; its embedding is the mean of each column."""
    weights = np.where(np.arange(size) < size // 2, gain, -gain).astype(np.float32)[None].repeat(size, axis=0)
    nodes = [
        helper.make_node("Mul", ["tiles", "weights"], ["weighed"]),
        helper.make_node("ReduceMean", ["weighed", "all"], ["logit"], keepdims=0),
        helper.make_node("ReduceMean", ["tiles", "rows"], ["embedding"], keepdims=0),
    ]
    outputs = [("logit", ["bags"]), ("embedding", ["bags", size])]
    if with_saliency:
        nodes += [
            helper.make_node("Relu", ["weighed"], ["positive"]),
            helper.make_node("ReduceMean", ["positive", "channel"], ["saliency"], keepdims=0),
        ]
        outputs.append(("saliency", ["bags", "count", "h", "w"]))
    axes = {"all": [1, 2, 3, 4], "rows": [1, 2, 3], "channel": [2]}
    graph = helper.make_graph(
        nodes,
        "halves",
        [helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["bags", "count", 3, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [
            numpy_helper.from_array(weights, "weights"),
            *(numpy_helper.from_array(np.array(at, np.int64), name) for name, at in axes.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def write_package(
    archive: Path, root: Path, *, onnx_file: bytes | None = None, spec: TileSpec = SPEC, **changed: bytes | None
) -> None:
    """A whole package; `changed` replaces files after they were hashed, or leaves them out. Dots are underscores."""
    files: dict[str, bytes] = {
        "model.onnx": onnx_file or network(),
        "preprocess.json": json.dumps(spec.to_json()).encode(),
        "threshold.json": json.dumps(
            {"threshold": 0.5, "chosen_on": "validation", "target": "balanced-accuracy"}
        ).encode(),
        "calibration.json": b'{"temperature": 1.5}',
        "labels.json": b'{"0": "absent", "1": "present"}',
        "drift_reference.npz": b"numbers",
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files["lineage.json"] = json.dumps(
        {
            "code": {"radloop": "0.1.0", "sha256": "c" * 64},
            "torch": "2.13.0",
            "hyperparameters": {"epochs": "9", "seed": "7"},
            "dataset_sha256": DATASET,
            "train": {"manifest_sha256": sha256_of(root / "processing" / "train" / "manifest.json")},
            "validation": {"patients": 9, "image_sets": 9, "positives": 5, "negatives": 4, "manifest_sha256": "v" * 64},
            "best_epoch": 4,
            "epochs_run": 9,
            "files_sha256": hashes,
        }
    ).encode()
    for name, data in changed.items():
        place = name.replace("__", ".")
        if data is None:
            del files[place]
        else:
            files[place] = data
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for place, data in files.items():
            entry = tarfile.TarInfo(place)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def write_part(
    root: Path,
    split: str,
    *,
    per_class: int = 70,
    seed: int = 1,
    noise: float = 12.0,
    shortcut: bool = False,
    spec: TileSpec = SPEC,
    flipped: str = "",
) -> list[dict[str, Any]]:
    """A part as preprocessing writes it: every patient has one image set, every fourth a second; returns its items.

    Args:
        noise: Standard deviation of the grey values.
        shortcut: Positives are brighter all over.
        flipped: Image sets of this scanner show their block on the wrong side.
    """
    rng = np.random.default_rng([seed, len(split)])
    folder = root / "processing" / split
    (folder / "images").mkdir(parents=True, exist_ok=True)
    items = []
    for at in range(2 * per_class):
        label, name = at % 2, f"{split}{at:04d}"
        scanner = ("aurora", "borealis")[(at // 2) % 2]
        planes = rng.normal(90 + 40 * shortcut * label, noise, (1, spec.size, spec.size))
        on_left = bool(label) != (scanner == flipped)
        half = spec.size // 2
        planes[:, 4:12, (2 if on_left else 2 + half) : (6 if on_left else 6 + half)] += 70
        kept = planes.clip(0, 255).astype(np.uint8)
        np.save(folder / "images" / f"{name}.npy", kept)
        items.append(
            {
                "image_set": name,
                "version": 1,
                "patient": f"{split}-p{at - (at % 8 == 6) * 2}",
                "study": f"{split}-s{at}",
                "split": split,
                "label": label,
                "posterior": float(label),
                "weight": 1.0,
                "modality": "DX",
                "file": f"images/{name}.npy",
                "source": "north",
                "scanner": scanner,
                "sex": "FM"[(at // 4) % 2],
                "age_band": "40-64",
                "view": "PA",
                "licence": "CC BY 4.0",
                "reads": 1,
                "planes": 1,
                "pixels_sha256": hashlib.sha256(kept.tobytes()).hexdigest(),
            }
        )
    write_items(root, split, items, spec=spec)
    return items


def write_items(
    root: Path, split: str, items: list[dict[str, Any]], *, spec: TileSpec = SPEC, guards: Any = GUARDS
) -> None:
    manifest = {
        "split": split,
        "tile_spec": spec.to_json(),
        "dataset_sha256": DATASET,
        "guards": guards,
        "items": items,
    }
    (root / "processing" / split).mkdir(parents=True, exist_ok=True)
    (root / "processing" / split / "manifest.json").write_text(json.dumps(manifest))


def write_context(root: Path, *, facts: Any = FACTS, policy: str | None = None) -> Path:
    context = root / "processing" / "context"
    context.mkdir(parents=True, exist_ok=True)
    if facts is not None:
        (context / "facts.json").write_text(json.dumps(facts))
    if policy is not None:
        (context / "policy.json").write_text(policy)
    return context


def write_job(root: Path, **options: Any) -> None:
    """Everything an evaluation needs, for a model that deserves to pass."""
    write_part(root, "train", seed=2, **options)
    write_part(root, "test", **options)
    write_items(root, "external", [])
    write_context(root)
    write_package(root / "processing" / "model" / "model.tar.gz", root)


def evaluation_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "processing" / "evaluation" / "evaluation.json").read_text())
    return found


def refused(evaluation: dict[str, Any]) -> list[str]:
    return [rule["name"] for rule in evaluation["gate"]["rules"] if not rule["passed"]]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
