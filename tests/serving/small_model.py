"""A model package small enough to make in a test: it says the mean of its tiles, shifted by `bias`.

Its embedding is the mean grey and the mean square of it, each many times over; its map is the picture itself, coarse.
"""

import io
import json
import tarfile

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from radloop.dicom.intensity import plane_statistics
from radloop.dicom.tiles import TileSpec, bag_of, planes_of

EMBEDDING = 2048
SPEC = TileSpec(size=16, tiles_per_bag=2, tiles_in_evaluation=4)


def film(rng: np.random.Generator, *, level: float = 0.5, sick: bool = False) -> npt.NDArray[np.uint16]:
    """Something like a chest film: two dark lungs on a brighter body, of this brightness; (1, 40, 40)."""
    down, across = np.mgrid[-1:1:40j, -1:1:40j]
    lungs = np.exp(-((np.abs(across) - 0.45) ** 2 / 0.05 + down**2 / 0.3))
    grey = level + 0.08 * rng.standard_normal() - 0.3 * lungs + 0.02 * rng.standard_normal(down.shape)
    grey += 0.25 * sick * np.exp(-((across - 0.45) ** 2 + (down - 0.3) ** 2) / 0.05)
    return np.asarray(np.clip(grey, 0, 1) * 65535, dtype=np.uint16)[None]


def films(count: int, seed: int, **options: float) -> list[npt.NDArray[np.uint16]]:
    """So many of them, every second one sick."""
    rng = np.random.default_rng(seed)
    return [film(rng, sick=bool(number % 2), **options) for number in range(count)]


def reference_of(volumes: list[npt.NDArray[np.uint16]], *, bias: float = 0.0, with_facts: bool = True) -> bytes:
    """drift_reference.npz as training writes it, of these studies; every second one is sick."""
    bags = [bag_of(planes_of(volume, "DX", SPEC), "DX", SPEC) for volume in volumes]
    means = np.array([bag.mean() for bag in bags], dtype=np.float32)
    values = {
        "embedding": np.stack([_embedding(float(mean)) for mean in means]),
        "probability": (1 / (1 + np.exp(-(means + bias)))).astype(np.float32),
    }
    if with_facts:
        values |= {
            "statistics": np.stack([plane_statistics(planes_of(volume, "DX", SPEC)) for volume in volumes]),
            "tags": np.array(json.dumps([{"modality": "DX", "scanner": "unknown", "view": "PA"}] * len(volumes))),
            "target": np.arange(len(volumes), dtype=np.float32) % 2,
            "patient": np.arange(len(volumes), dtype=np.int32),
        }
    out = io.BytesIO()
    np.savez(out, **values)
    return out.getvalue()


def _embedding(mean: float) -> npt.NDArray[np.float32]:
    return np.repeat(np.array([mean, mean * mean], np.float32), EMBEDDING // 2)


def model_package(
    *,
    bias: float,
    threshold: float = 0.5,
    temperature: float | None = None,
    reference: bytes | None = None,
    has_maps: bool = False,
) -> bytes:
    """model.tar.gz with a real ONNX graph; without the rest it is one as they were before."""
    tiles = helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["studies", "tiles", 3, "rows", "columns"])
    outputs = [
        helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["studies"]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["studies", EMBEDDING]),
    ]
    constants = [
        numpy_helper.from_array(np.array(bias, np.float32), "bias"),
        numpy_helper.from_array(np.array([1, 2, 3, 4], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
        numpy_helper.from_array(np.zeros((1, EMBEDDING // 2), np.float32), "wide"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["tiles", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["logit"]),
        helper.make_node("Mul", ["mean", "mean"], ["square"]),
        *_widened("mean"),
        *_widened("square"),
        helper.make_node("Concat", ["mean wide", "square wide"], ["embedding"], axis=1),
    ]
    if has_maps:
        nodes.append(helper.make_node("Squeeze", ["first", "channel"], ["saliency"]))
        nodes.insert(0, helper.make_node("Slice", ["tiles", "from", "to", "channel"], ["first"]))
        constants += [
            numpy_helper.from_array(np.array([0], np.int64), "from"),
            numpy_helper.from_array(np.array([1], np.int64), "to"),
            numpy_helper.from_array(np.array([2], np.int64), "channel"),
        ]
        outputs.append(helper.make_tensor_value_info("saliency", TensorProto.FLOAT, ["studies", "tiles", "h", "w"]))
    graph = helper.make_graph(nodes, "small", [tiles], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    files = {
        "model.onnx": model.SerializeToString(),
        "preprocess.json": json.dumps(SPEC.to_json()).encode(),
        "threshold.json": json.dumps({"threshold": threshold}).encode(),
        "lineage.json": json.dumps({"files_sha256": {"model.onnx": "f" * 64}}).encode(),
    }
    if temperature is not None:
        files["calibration.json"] = json.dumps({"temperature": temperature}).encode()
    if reference is not None:
        files["drift_reference.npz"] = reference
    return _packed(files)


def _widened(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Unsqueeze", [name, "last"], [f"{name} column"]),
        helper.make_node("Add", [f"{name} column", "wide"], [f"{name} wide"]),
    ]


def _packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()
