"""A model package as files by name, read without touching the disk."""

import io
import tarfile
from pathlib import Path

from radloop.core.errors import Corrupt

NETWORK = "model.onnx"
SPEC = "preprocess.json"
THRESHOLD = "threshold.json"
CALIBRATION = "calibration.json"
REFERENCE = "drift_reference.npz"
LINEAGE = "lineage.json"


def unpack(model_tar: bytes | Path, wanted: frozenset[str]) -> dict[str, bytes]:
    """Those of the `wanted` files that `model.tar.gz` holds.

    Args:
        model_tar: The archive, as bytes or as a file, or the folder that it was unpacked into.
        wanted: Names inside it; others are skipped, for the weights of a next training are as large as the network.

    Raises:
        Corrupt: It is no readable archive.
    """
    if isinstance(model_tar, Path) and model_tar.is_dir():
        return {name: (model_tar / name).read_bytes() for name in wanted if (model_tar / name).is_file()}
    data = model_tar if isinstance(model_tar, bytes) else model_tar.read_bytes()
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
