"""A real server, real scans, and Debian's Chromium."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, sync_playwright

from radloop import cli
from radloop.core.platform import Platform
from radloop.dicom.phantom import phantom_study
from radloop.local.home import Home
from radloop.up import STATIC
from radloop.wiring import open_local
from tests.dicom.files import ct, written

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "correct horse battery"
PEOPLE = {
    "anna": "verifier",
    "rita": "reader",
    "mila": "ml",
    "rolf": "release-approver",
    "aud": "auditor",
    "ada": "admin",
}
MUST_RUN = "RADLOOP_REQUIRE_BROWSER" in os.environ


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "Debian's Chromium is not installed (apt-get install chromium)"
        if MUST_RUN:
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def running(home: Path) -> Iterator[str]:
    """The address of `radloop up` on an empty home, without sign-in and TLS."""
    assert (STATIC / "index.html").exists(), "the web page is not built: make setup"
    command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--no-tls", "--no-dimse", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--home", str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "radloop is up" in line
    try:
        yield line.split()[3].removesuffix("/app/")
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with three studies of 24 slices in it."""
    with running(tmp_path_factory.mktemp("home")) as url:
        for number in (1, 2, 3):
            study = phantom_study(number, consolidated=number == 2, slices=24, size=256)
            files = [("files", (f"{place}.dcm", data)) for place, data in enumerate(study.files)]
            httpx.post(f"{url}/api/v1/uploads?complete=1", files=files, timeout=60).raise_for_status()
        yield url


@dataclass(frozen=True)
class Guarded:
    """A server with TLS and sign-in: `PEOPLE` with the one `PASSWORD`, a study, a report, two undecided models."""

    url: str
    home: Path

    def radloop(self, *arguments: str, stdin: str = "") -> None:
        """Run a command in this process: a process of its own would import for longer than most commands run."""
        done = CliRunner().invoke(cli.main, [*arguments, "--home", str(self.home)], input=stdin)
        assert done.exit_code == 0, done.output


def report() -> bytes:
    """A structured report: it has no frames."""
    described = {"Rows": None, "Columns": None, "PixelData": None, "SeriesDescription": "Words of nobody"}
    return written(ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", **described))


@contextmanager
def serving(home: Path) -> Iterator[Guarded]:
    """A server on `home` with TLS and sign-in."""
    command = [sys.executable, "-m", "radloop.cli", "up", "--no-dimse", "--listen", "127.0.0.1:0", "--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        while "radloop is up" not in (line := process.stdout.readline()):
            assert line, "the server ended before it answered"
        url = json.loads((home / "server.json").read_text())["url"].replace("127.0.0.1", "localhost")
        yield Guarded(url, home)
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def register(platform: Platform, number: int, *, auc: float = 0.93) -> None:
    """A model version with its evaluation beside it, as Evaluate writes it; nobody has decided about it."""
    folder, package = f"model-artifacts/models/run-{number}", b"a package of model %d" % number
    metrics = {
        "accuracy": {"value": 0.9, "ci_low": 0.86, "ci_high": 0.94},
        "roc_auc": {"value": auc, "ci_low": auc - 0.04, "ci_high": auc + 0.03},
    }
    rules = [
        {"name": name, "value": value, "limit": limit, "passed": True, "sentence": f"It holds: {value} is enough."}
        for name, value, limit in (("accuracy", 0.9, 0.85), ("roc-auc", auc - 0.04, 0.8))
    ]
    evaluation = {
        "metrics": metrics,
        "gate": {"approved": True, "rules": rules},
        "champion": None,
        "external": None,
        "model_sha256": hashlib.sha256(package).hexdigest(),
    }
    platform.blobs.put(f"{folder}/model.tar.gz", package)
    platform.blobs.put(f"{folder}/evaluation.json", json.dumps(evaluation).encode())
    platform.models.register(execution=f"run-{number}", artifact=f"{folder}/model.tar.gz", metrics=metrics, lineage={})


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home: Path = tmp_path_factory.mktemp("guarded")
    with Home(home).owned(), open_local(home) as installation:
        for number in (1, 2):
            register(installation.platform, number)
    with serving(home) as server:
        for name, role in PEOPLE.items():
            server.radloop("users", "create", name, "--role", role, "--stdin", stdin=PASSWORD + "\n")
        files = tmp_path_factory.mktemp("files")
        (files / "report.dcm").write_bytes(report())
        server.radloop("ingest", str(files))
        for place, data in enumerate(phantom_study(1, consolidated=True, slices=8, size=128).files):
            (files / f"{place}.dcm").write_bytes(data)
        server.radloop("ingest", str(files))
        yield server
