"""The container of an endpoint: the model below /opt/ml/model behind the HTTP that SageMaker asks.

    python -m radloop.functions.inference [serve]

`SAGEMAKER_BIND_TO_PORT` names the port (8080), `RADLOOP_MODEL_VERSION` the version that is served. A study is
`application/x-npy` or one DICOM file, `application/dicom`. SIGTERM ends it once every study that came is answered.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from types import FrameType
from typing import Final

import numpy as np

from radloop.core.errors import Corrupt, UnsupportedPixels
from radloop.dicom.parse import parse
from radloop.monitoring.logs import log_to_stderr
from radloop.serving.predict import Predictor
from radloop.serving.server import NPY, Answering, Server, Study, npy_study
from radloop.store.folding import Decoded
from radloop.store.greys import grey
from radloop.training.folder import ml_root

DICOM: Final = "application/dicom"
_PORT: Final = "8080"
_PATIENCE_S: Final = 25.0  # SageMaker kills after 30
_log = logging.getLogger("radloop.serving")


def dicom_study(body: bytes) -> Study:
    """A DICOM file: an X-ray, one CT slice, or all frames of an enhanced CT.

    Raises:
        InvalidInput: It is no DICOM file that can be read, or its pixels cannot be decoded.
    """
    instance = parse(body)
    image = instance.image
    if image is None:
        raise UnsupportedPixels("the file holds no pixels")
    modality, decoded = str(instance.attributes.get("Modality") or ""), Decoded(body, instance)
    description = asdict(image)
    frames = [grey(decoded.frame(number), description, modality) for number in range(image.frames)]
    return np.stack(frames), modality


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status, 1 where the model cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m radloop.functions.inference", description=main.__doc__)
    parser.add_argument("mode", nargs="?", choices=["serve"], default="serve")  # as SageMaker starts a container
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 — a container's own network
    chosen = parser.parse_args(arguments)
    log_to_stderr(logging.INFO)
    cores = os.cpu_count() or 1
    try:
        predictor = Predictor(ml_root() / "model", threads=1)
    except Corrupt as error:
        _log.error("%s: %s", error.code, error)
        return 1
    answering = Answering(
        predictor=predictor,
        model_version=int(os.environ.get("RADLOOP_MODEL_VERSION", "0")),
        readers={NPY: npy_study, DICOM: dicom_study},
        at_once=threading.BoundedSemaphore(cores),
    )
    server = Server(answering, (chosen.host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", _PORT))))

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        threading.Thread(target=server.shutdown).start()  # which waits for the loop that this interrupts

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
    _log.info("serving model version %s on port %s", answering.model_version, server.server_address[1])
    with server:
        server.serve_forever()
        server.drain(_PATIENCE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
