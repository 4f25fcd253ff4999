"""A real server, real scans, and Debian's Chromium."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from radloop.dicom.phantom import phantom_study
from radloop.up import STATIC

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `radloop up` with three studies of 24 slices in it."""
    assert (STATIC / "index.html").exists(), "the web page is not built: make setup"
    home: Path = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--no-tls", "--no-dimse", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--home", str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "radloop is up" in line
    url = line.split()[3].removesuffix("/app/")
    for number in (1, 2, 3):
        study = phantom_study(number, consolidated=number == 2, slices=24, size=256)
        files = [("files", (f"{place}.dcm", data)) for place, data in enumerate(study.files)]
        httpx.post(f"{url}/api/v1/uploads?complete=1", files=files, timeout=60).raise_for_status()
    yield url
    process.terminate()
    process.wait(timeout=20)
    process.stdout.close()
