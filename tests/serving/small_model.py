"""A model package small enough to make in a test: it says the mean of its tiles, shifted by `bias`."""

import io
import json
import tarfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from radloop.dicom.tiles import TileSpec

EMBEDDING = 2048


def model_package(*, bias: float, threshold: float = 0.5) -> bytes:
    """model.tar.gz with a real ONNX graph."""
    tiles = helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["studies", "tiles", 3, "rows", "columns"])
    logit = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["studies"])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["studies", EMBEDDING])
    constants = [
        numpy_helper.from_array(np.array(bias, np.float32), "bias"),
        numpy_helper.from_array(np.array([1, 2, 3, 4], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
        numpy_helper.from_array(np.zeros((1, EMBEDDING), np.float32), "wide"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["tiles", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["logit"]),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Add", ["column", "wide"], ["embedding"]),
    ]
    graph = helper.make_graph(nodes, "small", [tiles], [logit, embedding], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    spec = TileSpec(size=16, tiles_per_bag=2, tiles_in_evaluation=4)
    return _packed(
        {
            "model.onnx": model.SerializeToString(),
            "preprocess.json": json.dumps(spec.to_json()).encode(),
            "threshold.json": json.dumps({"threshold": threshold}).encode(),
        }
    )


def _packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()
