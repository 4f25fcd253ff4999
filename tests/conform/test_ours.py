"""The checker on our own server, over a real connection: no must fails."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from radloop.conform import stock
from radloop.conform.model import Outcome, Severity
from radloop.conform.run import Report, run
from radloop.conform.session import Session
from radloop.conform.table import CHECKS
from radloop.conform.wire import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("conform")
    command = [sys.executable, "-m", "tests.api.served", str(folder), str(port), str(os.getpid())]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/healthz", process)
        yield f"{address}/dicomweb"
    finally:
        process.terminate()
        process.wait(10)


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended before it answered"
        try:
            assert httpx.get(address).status_code == 200
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not answer")


@pytest.fixture(scope="module")
def report(url: str) -> Report:
    with closing(Server(url)) as server:
        return run(CHECKS, Session(server))


def told(report: Report, severity: Severity) -> list[str]:
    return [
        f"{result.check.id}: expected {result.check.expected}, found {result.found} ({result.check.clause})"
        for result in report.results
        if result.outcome is Outcome.FAIL and result.check.severity is severity
    ]


def test_no_must_fails(report: Report) -> None:
    assert told(report, Severity.MUST) == []
    assert report.conforms


def test_hardly_anything_is_left_out(report: Report) -> None:
    assert report.count(Outcome.SKIP) <= 6


def test_what_is_found_there_passes_too(url: str, report: Report) -> None:
    with closing(Server(url)) as server:
        newest = stock.ct(Session(server))  # else the last of the damaged ones would be looked at, and that is slow
        session = Session(server, only_reads=True)
        found = run(CHECKS, session)
    assert session.found_there().study == newest.study
    assert told(found, Severity.MUST) == []
    assert found.count(Outcome.PASS, Severity.MUST) > 60
