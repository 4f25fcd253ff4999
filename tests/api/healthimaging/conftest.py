"""Real servers and real boto3 clients."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

ROOT = Path(__file__).parents[3]
ROLE = "arn:aws:iam::000000000000:role/import"


@contextmanager
def serving(home: Path, mode: str = "open") -> Iterator[str]:
    """The address of a server of `home`, with its worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.api.healthimaging.served", str(home), str(port), str(os.getpid()), mode]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_for(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended before it answered"
        try:
            assert httpx.get(f"{address}/healthz").status_code == 200
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not answer")


def connect(url: str, *, key: str = "key", secret: str = "secret", **options: Any) -> Any:
    """A boto3 client on our server; nothing of it is changed but where it calls."""
    config = Config(inject_host_prefix=False, retries={"max_attempts": 0}, **options)
    return boto3.client(
        "medical-imaging",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
    )


class Imaging:
    """A client, its server's home, and the few steps that most tests begin with."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home
        self.client = connect(url)
        self._made = 0

    def datastore(self, **options: Any) -> str:
        return str(self.client.create_datastore(**options)["datastoreId"])

    def imported(self, datastore: str, *files: bytes) -> dict[str, Any]:
        """The finished import job of some files."""
        self._made += 1
        folder = self.home / "objects" / "training-data" / f"in{self._made}"
        folder.mkdir(parents=True)
        for number, data in enumerate(files):
            (folder / f"{number:04d}.dcm").write_bytes(data)
        started = self.client.start_dicom_import_job(
            datastoreId=datastore,
            dataAccessRoleArn=ROLE,
            inputS3Uri=f"s3://training-data/in{self._made}/",
            outputS3Uri="s3://training-data/out/",
        )
        return self.ended(datastore, started["jobId"])

    def ended(self, datastore: str, job: str) -> dict[str, Any]:
        for _ in range(600):
            found: dict[str, Any] = self.client.get_dicom_import_job(datastoreId=datastore, jobId=job)["jobProperties"]
            if found["jobStatus"] in {"COMPLETED", "FAILED"}:
                return found
            time.sleep(0.05)
        pytest.fail("the import did not end")

    def one_set(self, datastore: str, *files: bytes) -> str:
        """The id of the one image set that some files become."""
        known = {each["imageSetId"] for each in self.found(datastore)}
        assert self.imported(datastore, *files)["jobStatus"] == "COMPLETED"
        (made,) = {each["imageSetId"] for each in self.found(datastore)} - known
        return str(made)

    def found(self, datastore: str, *filters: dict[str, Any], **sort: str) -> list[dict[str, Any]]:
        criteria: dict[str, Any] = {"filters": list(filters)} if filters else {}
        if sort:
            criteria["sort"] = {"sortField": sort["by"], "sortOrder": sort["order"]}
        pages = self.client.get_paginator("search_image_sets").paginate(datastoreId=datastore, searchCriteria=criteria)
        return [each for page in pages for each in page["imageSetsMetadataSummaries"]]


@pytest.fixture(scope="session")
def imaging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imaging]:
    home = tmp_path_factory.mktemp("healthimaging")
    (home / "settings.toml").write_text("[throttle]\nListTagsForResource = 3\n")
    with serving(home) as url:
        yield Imaging(url, home)


@pytest.fixture
def datastore(imaging: Imaging) -> str:
    """An empty data store of the test's own."""
    return imaging.datastore()
