"""One model version answering for one study at a time.

The pixels take the way they took in training (`radloop.dicom.tiles`), the network is the ONNX file that was
evaluated, and the threshold is the one chosen with it.
"""

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from radloop.core.errors import Corrupt
from radloop.dicom.tiles import TileSpec, bag_of, planes_of


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one study.

    Attributes:
        probability: Of the finding, 0..1, as the network puts it; not calibrated.
        finding: `present` from the threshold on.
        threshold: Of the model version.
        embedding: float32 (2048,), the mean over the tiles; what drift is measured on.
    """

    probability: float
    finding: Literal["present", "absent"]
    threshold: float
    embedding: npt.NDArray[np.float32] = field(repr=False, compare=False)


class Predictor:
    """A loaded model version. Safe to use from several threads.

    Args:
        model_tar: `model.tar.gz`, as bytes or as a file.
        threads: For ONNX Runtime. Pinned, for its own choice takes every core from the doors beside it.

    Raises:
        Corrupt: The archive cannot be read or lacks a file.
    """

    def __init__(self, model_tar: bytes | Path, *, threads: int = 1) -> None:
        import onnxruntime  # noqa: PLC0415 — 16 MB that only a process that predicts needs

        files = _unpack(model_tar)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self.spec = TileSpec.from_json(json.loads(files["preprocess.json"]))
            self.threshold = float(json.loads(files["threshold.json"])["threshold"])
            self._session: Any = onnxruntime.InferenceSession(
                files["model.onnx"], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises kinds of its own that share no root
            raise Corrupt("the model package lacks a file or holds one that cannot be used") from error

    def predict(self, volume: npt.NDArray[np.generic], modality: str) -> Prediction:
        """Look at one study.

        Args:
            volume: CT: int16 (slices, rows, columns), HU. X-ray: uint16 (views, rows, columns), MONOCHROME2 polarity,
                0..65535.
            modality: `CT`, `CR` or `DX`.

        Raises:
            InvalidInput: The array or modality is none of the above.
        """
        tiles = bag_of(planes_of(volume, modality, self.spec), modality, self.spec)
        logits, embeddings = self._session.run(["logit", "embedding"], {"tiles": tiles[None]})
        probability = float(1 / (1 + np.exp(-np.float64(logits[0]))))
        return Prediction(
            probability=probability,
            finding="present" if probability >= self.threshold else "absent",
            threshold=self.threshold,
            embedding=embeddings[0],
        )


def _unpack(model_tar: bytes | Path) -> dict[str, bytes]:
    """The files of a model package by name, read without touching the disk.

    Raises:
        Corrupt: It is no readable archive.
    """
    data = model_tar if isinstance(model_tar, bytes) else model_tar.read_bytes()
    wanted = {"model.onnx", "preprocess.json", "threshold.json"}
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
            for member in tar:
                name = Path(member.name).as_posix()
                inside = tar.extractfile(member) if name in wanted else None
                if inside is not None:
                    files[name] = inside.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Corrupt("the model package is not a readable archive") from error
    return files
