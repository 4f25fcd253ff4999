"""AWS as others have rebuilt it: MiniStack and moto's server, each in a process of its own on the loopback.

Each lies in a venv of its own below RADLOOP_LAB (by default `.lab` of the repository), as tools/lab_install.py makes
it; where it is absent its tests are skipped, or fail where RADLOOP_REQUIRE_EMULATORS is set.
Every test makes its own resources, under names from `unique`.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from radloop.local.processes import die_with_parent

REGION = "eu-west-1"
ACCOUNT = "123456789012"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
MUST_RUN = "RADLOOP_REQUIRE_EMULATORS" in os.environ
"""Whether an emulator that is missing is a failure."""

_STARTS_WITHIN_S = 60.0


@pytest.fixture(scope="session")
def ministack() -> Iterator[str]:
    """The address of a MiniStack: S3, DynamoDB, SQS, SNS, EventBridge, Lambda, KMS, Cognito, CloudWatch and more."""
    with ministack_serving() as address:
        yield address


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The address of moto's server: what MiniStack lacks, above all SageMaker."""
    with moto_serving() as address:
        yield address


@contextmanager
def ministack_serving() -> Iterator[str]:
    program = installed("ministack", "ministack")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="radloop-ministack-") as folder:
        surroundings = {
            "BIND_HOST": "127.0.0.1",  # it runs uploaded code, and would listen everywhere
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "STATE_DIR": folder,
            "TMPDIR": folder,
            "IOT_MTLS_ENABLED": "0",  # a port of its own, which nothing here asks
        }
        with _running([str(program)], f"http://127.0.0.1:{port}", "/_ministack/health", surroundings) as address:
            yield address


@contextmanager
def moto_serving() -> Iterator[str]:
    program = installed("moto", "moto_server")
    port = free_port()
    command = [str(program), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, f"http://127.0.0.1:{port}", "/moto-api/", {}) as address:
        answer = httpx.post(
            f"{address}/moto-api/config", json={"lambda": {"use_docker": False}, "batch": {"use_docker": False}}
        )
        answer.raise_for_status()
        yield address


def installed(emulator: str, program: str) -> Path:
    """Where an emulator is started; ends the test where it is absent."""
    found = lab() / emulator / "bin" / program
    if not found.exists():
        (pytest.fail if MUST_RUN else pytest.skip)(f"{emulator} is not in {lab() / emulator}: tools/lab_install.py")
    return found


def lab() -> Path:
    """Where tools lie that are no dependency of ours."""
    found = os.environ.get("RADLOOP_LAB")
    return Path(found) if found else Path(__file__).parents[2] / ".lab"


@lru_cache(maxsize=64)
def client(address: str, service: str, region: str = REGION) -> Any:
    """A boto3 client of the tests' own for the server at `address`."""
    return boto3.client(
        service,
        endpoint_url=address,
        region_name=region,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(
            s3={"addressing_style": "path"}, inject_host_prefix=False, retries={"mode": "standard", "max_attempts": 2}
        ),
    )


def unique(name: str) -> str:
    """A name that no other test has."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def make_bucket(address: str, name: str, **options: Any) -> str:
    where = {"LocationConstraint": REGION}
    client(address, "s3").create_bucket(Bucket=name, CreateBucketConfiguration=where, **options)
    return name


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def _running(command: list[str], address: str, health: str, surroundings: Mapping[str, str]) -> Iterator[str]:
    parent = os.getpid()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 — also where the tests are killed
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **CREDENTIALS, **surroundings},
            start_new_session=True,  # the code that it runs ends with it
        )
        try:
            _wait(process, f"{address}{health}", said)
            yield address
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, said: Any) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < until:
        if process.poll() is not None:
            said.seek(0)
            pytest.fail(f"the server ended before it answered: {said.read()[-1000:].decode(errors='replace')}")
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail("the server did not answer")


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
    process.wait(5)
