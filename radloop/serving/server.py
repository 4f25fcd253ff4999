"""A model version behind HTTP, as SageMaker's containers for inference answer.

    GET  /ping                  200 while the model is there
    POST /invocations           a study in, a JSON object out
    GET  /execution-parameters  how batch transform should ask: one study at a time

A study is one body: `application/x-npy`, or what the caller of `serve` knows to read besides. Bodies are not logged;
lines of the log hold status, seconds and an error's code.
"""

import io
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.errors import InvalidInput, RadloopError, TooLarge
from radloop.serving.champion import Opinion
from radloop.serving.predict import Predictor

NPY: Final = "application/x-npy"
LONGEST_BODY: Final = 100 << 20
"""Bytes of a study: what batch transform hands over at most. A real-time endpoint itself takes less."""

Study = tuple[npt.NDArray[np.generic], str]
"""Pixels as `Predictor.predict` takes them, and the modality."""

Reader = Callable[[bytes], Study]

_BATCH: Final = {"MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": LONGEST_BODY >> 20}
_JSON: Final = "application/json"
_MODALITIES: Final = {"int16": "CT", "uint16": "DX"}
_SLOWEST_READ_S: Final = 60.0
_log = logging.getLogger("radloop.serving")


def npy_study(body: bytes) -> Study:
    """A study in numpy's own format: int16 (slices, rows, columns) is a CT in HU, uint16 (views, rows, columns) X-ray.

    Raises:
        InvalidInput: It is no such file, or says that it holds more than came.
    """
    file = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
        is_whole = math.prod(shape) * kind.itemsize == len(body) - file.tell()
    except ValueError:
        raise InvalidInput(f"a body of type {NPY} is an array file of version 1 or 2") from None
    if kind.name not in _MODALITIES or kind.hasobject:
        raise InvalidInput(f"an array holds {' or '.join(_MODALITIES)}, and not {kind.name}")
    if not is_whole:
        raise InvalidInput("the array is longer or shorter than its header says")
    file.seek(0)
    return np.load(file, allow_pickle=False), _MODALITIES[kind.name]


@dataclass(frozen=True, slots=True)
class Answering:
    """One model version and what it can read.

    Attributes:
        model_version: Number in the registry, as whoever deploys it says.
        readers: What turns a body into a study, by content type.
        at_once: Studies that are looked at at the same time; others wait.
    """

    predictor: Predictor
    model_version: int
    readers: Mapping[str, Reader]
    at_once: threading.BoundedSemaphore

    def answer(self, body: bytes, content_type: str) -> dict[str, Any]:
        """What the model says about one study, and the numbers that drift is measured on.

        Raises:
            InvalidInput: The body cannot be read, or the model does not take such pixels.
            KeyError: Nothing reads this content type.
        """
        volume, modality = self.readers[content_type](body)
        with self.at_once:
            began = time.perf_counter()
            said = self.predictor.predict(volume, modality)
            seconds = time.perf_counter() - began
        opinion = Opinion(said, self.model_version, self.predictor.weights_sha256, seconds)
        return {
            **opinion.plain(),
            "weights_sha256": opinion.weights_sha256,
            "seconds": round(seconds, 4),
            "observation": {
                "probability": said.probability,
                "modality": modality,
                "components": [float(each) for each in said.components],
                "statistics": [float(each) for each in said.statistics],
            },
        }


class Server(ThreadingHTTPServer):
    """Listens; `serve_forever` and `shutdown` are the caller's.

    Args:
        answering: The model version.
        address: Host and port.
    """

    daemon_threads = True  # an idle connection keeps nobody from ending; `drain` waits for studies
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answering: Answering, address: tuple[str, int]) -> None:
        self.answering = answering
        self._busy = 0
        self._idle = threading.Condition()
        super().__init__(address, _Handler)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While a study is being taken in, looked at and answered."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def drain(self, longest_s: float) -> bool:
        """Wait until every study that came is answered; whether that was so in time."""
        with self._idle:
            return self._idle.wait_for(lambda: self._busy == 0, longest_s)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "radloop"
    sys_version = ""
    timeout = _SLOWEST_READ_S

    def do_GET(self) -> None:
        """See the module."""
        if self.path == "/ping":
            self._reply(HTTPStatus.OK, {})
        elif self.path == "/execution-parameters":
            self._reply(HTTPStatus.OK, _BATCH)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "not-found", "there are /ping and /invocations")

    def do_POST(self) -> None:
        """See the module."""
        with self.server.busy():
            self._invoked()

    def _invoked(self) -> None:
        if self.path != "/invocations":
            self.close_connection = True  # the body is not read
            self._refuse(HTTPStatus.NOT_FOUND, "not-found", "a study is sent to /invocations")
            return
        content_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        try:
            self._reply(HTTPStatus.OK, self.server.answering.answer(self._body(), content_type))
        except KeyError:
            readable = ", ".join(sorted(self.server.answering.readers))
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid-input", f"a study is of type {readable}")
        except TooLarge as error:
            self.close_connection = True
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.code, str(error))
        except InvalidInput as error:
            self._refuse(HTTPStatus.BAD_REQUEST, error.code, str(error))
        except TimeoutError:
            raise
        except RadloopError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, error.code, "the study cannot be judged")
        except Exception as error:  # noqa: BLE001 — the outermost loop; its text may hold what was sent
            _log.error("an unforeseen %s", type(error).__name__)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "error", "the study cannot be judged")

    def _body(self) -> bytes:
        """What was sent.

        Raises:
            TooLarge: It is longer than we take.
            InvalidInput: Nothing tells how long it is, or it ends before.
        """
        told = self.headers.get("Content-Length", "")
        if not (told.isascii() and told.isdigit()):
            self.close_connection = True
            raise InvalidInput("the length of the study is not told")
        if int(told) > LONGEST_BODY:
            raise TooLarge(f"a study has at most {LONGEST_BODY} bytes")
        body = self.rfile.read(int(told))
        if len(body) != int(told):
            self.close_connection = True
            raise InvalidInput("the study ends before its length")
        return body

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        self._reply(status, {"code": code, "message": message})

    def _reply(self, status: HTTPStatus, value: Mapping[str, Any]) -> None:
        data = json.dumps(value, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", _JSON)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of a healthy ping; of all else the status only."""
        del size
        if self.path != "/ping":
            _log.info("%s %s", self.path if self.path == "/invocations" else "other", int(code))

    def log_error(self, format: str, *args: object) -> None:  # noqa: A002 — the name is http.server's
        """Say what kind of fault it was; what was sent may stand in its text."""
        del format, args
        _log.warning("a request could not be answered")
