"""The inference container as SageMaker starts and asks it: a process of its own, HTTP, and a model in a folder."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from radloop.core.errors import InvalidInput
from radloop.dicom.make import xray_instance
from radloop.serving.predict import Predictor
from radloop.serving.server import LONGEST_BODY, npy_study
from tests.aws.emulators import free_port
from tests.serving.small_model import film, films, model_package, reference_of

NPY = {"Content-Type": "application/x-npy"}
DICOM = {"Content-Type": "application/dicom"}
PACKAGE = model_package(bias=-0.4, temperature=1.5, reference=reference_of(films(80, 1)), has_maps=True)


def npy(volume: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, volume)
    return out.getvalue()


@contextmanager
def container(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command of the Dockerfile, below another root than /opt/ml."""
    environment = {
        **os.environ,
        "RADLOOP_ML_ROOT": str(root),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "RADLOOP_MODEL_VERSION": "7",
    }
    command = [sys.executable, "-m", "radloop.functions.inference", "serve", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    root, port = tmp_path_factory.mktemp("ml"), free_port()
    with tarfile.open(fileobj=io.BytesIO(PACKAGE)) as tar:
        tar.extractall(root / "model", filter="data")
    with container(root, port) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        wait(client, process)
        yield client


def wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None
        try:
            if client.get("/ping").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail("it does not answer")


def test_an_answer_is_that_of_the_model_itself(served: httpx.Client) -> None:
    volume = film(np.random.default_rng(3))
    said = served.post("/invocations", content=npy(volume), headers=NPY).raise_for_status().json()
    expected = Predictor(PACKAGE).predict(volume, "DX")
    assert said["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert (said["finding"], said["refused"], said["calibrated"]) == (expected.finding, None, True)
    assert (said["model_version"], said["weights_sha256"]) == (7, "f" * 64)
    assert said["observation"]["components"] == pytest.approx(expected.components.tolist(), abs=1e-4)
    assert len(said["observation"]["statistics"]) == 15


def test_a_dicom_file_gets_the_answer_that_its_pixels_get(served: httpx.Client) -> None:
    volume = film(np.random.default_rng(4))
    file = xray_instance(volume[0], patient_id="P-1")
    by_file = served.post("/invocations", content=file, headers=DICOM).raise_for_status().json()
    by_pixels = served.post("/invocations", content=npy(volume), headers=NPY).raise_for_status().json()
    assert by_file["probability"] == pytest.approx(by_pixels["probability"], abs=1e-6)


def test_what_is_nothing_like_the_reference_gets_no_finding(served: httpx.Client) -> None:
    noise = np.random.default_rng(5).integers(0, 65535, (1, 40, 40)).astype(np.uint16)
    said = served.post("/invocations", content=npy(noise), headers=NPY).raise_for_status().json()
    assert (said["refused"], said["finding"], said["probability"]) == ("out-of-distribution", None, None)
    assert said["observation"]["probability"] is not None, "drift is measured on it all the same"


def test_batch_transform_is_told_to_send_one_study_at_a_time(served: httpx.Client) -> None:
    told = served.get("/execution-parameters").json()
    assert (told["BatchStrategy"], told["MaxPayloadInMB"]) == ("SINGLE_RECORD", 100)


def test_many_at_once_each_get_their_own_answer(served: httpx.Client) -> None:
    volumes = films(16, 9)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda each: served.post("/invocations", content=npy(each), headers=NPY).json(), volumes)
        )
    predictor = Predictor(PACKAGE)
    for volume, said in zip(volumes, answers, strict=True):
        assert said["observation"]["probability"] == pytest.approx(
            predictor.predict(volume, "DX").probability, abs=1e-6
        )


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no array", NPY, 400),
        (npy(np.zeros((1, 8, 8), np.float32)), NPY, 400),
        (npy(np.zeros((8, 8), np.uint16)), NPY, 400),
        (npy(np.zeros((1, 8, 8), np.uint16))[:-1], NPY, 400),
        (b"no file", DICOM, 400),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"", NPY, 400),
    ],
    ids=["text", "type", "axes", "cut off", "no dicom", "json", "empty"],
)
def test_what_cannot_be_read_is_the_senders_fault_and_is_not_quoted(
    served: httpx.Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = served.post("/invocations", content=body, headers=headers)
    assert (answer.status_code, set(answer.json())) == (status, {"code", "message"})
    assert served.get("/ping").status_code == 200


@pytest.mark.parametrize("length", [str(LONGEST_BODY + 1), "many", "-1"])
def test_a_length_that_is_too_great_or_no_number_is_refused_before_the_body(served: httpx.Client, length: str) -> None:
    said = raw(
        served,
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\nContent-Length: {length}\r\n\r\n",
    )
    assert said.startswith(b"HTTP/1.1 413" if length.isdigit() else b"HTTP/1.1 400")
    assert b"Connection: close" in said


def test_an_unknown_path_is_not_found(served: httpx.Client) -> None:
    assert served.get("/models").status_code == 404
    assert served.post("/models", content=b"x").status_code == 404


def raw(client: httpx.Client, request: str) -> bytes:
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=10) as connection:
        connection.sendall(request.encode())
        said = b""
        while more := connection.recv(65536):
            said += more
    return said


def test_sigterm_ends_it_and_its_log_holds_no_more_than_status(tmp_path: Path) -> None:
    port = free_port()
    with tarfile.open(fileobj=io.BytesIO(PACKAGE)) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    with container(tmp_path, port) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        wait(client, process)
        file = xray_instance(film(np.random.default_rng(6))[0], patient_id="SECRET-1", patient_name="Secret^Name")
        client.post("/invocations?who=Secret", content=file, headers=DICOM)
        client.post("/invocations", content=file, headers=DICOM).raise_for_status()
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    told = [line["message"] for line in lines]
    assert told == [f"serving model version 7 on port {port}", "other 404", "/invocations 200"]


def test_sigterm_waits_for_a_study_on_its_way_and_not_for_who_only_listens(tmp_path: Path) -> None:
    port = free_port()
    with tarfile.open(fileobj=io.BytesIO(PACKAGE)) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    with container(tmp_path, port) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}") as idle:
        wait(idle, process)
        body = npy(film(np.random.default_rng(6)))
        head = f"POST /invocations HTTP/1.1\r\nContent-Type: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head.encode() + body[:100])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.7)
            assert process.poll() is None
            connection.sendall(body[100:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert process.wait(10) == 0


def test_without_a_model_it_ends_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with container(tmp_path, free_port()) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "corrupt: the model package lacks a file" in json.loads(said)["message"]


@pytest.mark.parametrize("shape", [(10**12, 10**6, 8), (2, 8, 8), (0,)])
def test_a_header_that_promises_more_than_came_reserves_no_memory(shape: tuple[int, ...]) -> None:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<i2", "fortran_order": False, "shape": shape})
    with pytest.raises(InvalidInput):
        npy_study(out.getvalue() + b"12")


def test_pickled_objects_are_refused() -> None:
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput):
        npy_study(out.getvalue())
