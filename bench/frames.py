"""How fast frames come out of a running server, and how far that is from serving plain files.

    python bench/frames.py

Both servers are granian in a process of its own on loopback and answer one client that keeps its connection. The plain
one opens a file and sends it. Ours also routes, checks the caller, finds the frame, opens its seal, measures and tells
the quality. They take turns, so that what else the machine does falls on both.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from granian.constants import Interfaces
from granian.server.embed import Server
from report import Row, tell
from studies import Study, chest_study

from radloop.client import Client, batches
from radloop.core.ports import Upload
from radloop.local.processes import die_with_parent

TURNS = 5
TURN_S = 0.6
UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Requests of one turn: seconds of each, and the bytes they brought."""

    seconds: tuple[float, ...]
    size_bytes: int

    @property
    def rate(self) -> float:
        """Megabytes a second, one request behind the other."""
        return self.size_bytes / 1e6 / sum(self.seconds)


def fetch(connection: HTTPConnection, paths: list[str], length_s: float) -> Turn:
    """Ask for `paths` again and again for a while."""
    seconds: list[float] = []
    size = 0
    until = time.perf_counter() + length_s
    while time.perf_counter() < until:
        for path in paths:
            begun = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            seconds.append(time.perf_counter() - begun)
            assert answer.status == 200, f"{path} answered {answer.status}"
            size += len(body)
    return Turn(tuple(seconds), size)


def compare(what: str, ours: tuple[str, list[str]], plain: tuple[str, list[str]]) -> list[Row]:
    """Ask both servers for the same bytes, turn by turn.

    Args:
        what: Is asked for.
        ours: Host and port, and the paths.
        plain: The same of the limit.
    """
    connections = [HTTPConnection(address, timeout=30) for address, _ in (ours, plain)]
    for connection, (_, paths) in zip(connections, (ours, plain), strict=True):
        fetch(connection, paths, 0.2)
    turns: tuple[list[Turn], list[Turn]] = ([], [])
    for _ in range(TURNS):
        for place, (_, paths) in enumerate((ours, plain)):
            turns[place].append(fetch(connections[place], paths, TURN_S))
    mine, limit = ([1000 * second for turn in found for second in turn.seconds] for found in turns)
    rate, best = (median(turn.rate for turn in found) for found in turns)
    against = "the same bytes as plain files"
    return [
        Row(f"{what}, p50", percentile(mine, 50), "ms", percentile(limit, 50), against),
        Row(f"{what}, p99", percentile(mine, 99), "ms", percentile(limit, 99), against),
        Row(f"{what}, one by one", rate, "MB/s", best, against),
    ]


def percentile(values: list[float], share: int) -> float:
    """The smallest value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


# Servers


@contextmanager
def radloop_server(home: Path) -> Iterator[str]:
    """`radloop up` on a free port; yields its address."""
    command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--no-tls", "--no-dimse", "--listen", "127.0.0.1:0"]
    with child([*command, "--home", str(home)]) as process:
        yield wait_for(lambda: str(orjson.loads((home / "server.json").read_bytes())["url"]), process)


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """The limit; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with child([sys.executable, __file__, str(folder), str(port)]) as process:
        yield wait_for(lambda: f"http://127.0.0.1:{port}", process)


@contextmanager
def child(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that never outlives this one."""
    parent = os.getpid()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 — one thread so far
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(address: Callable[[], str], process: "subprocess.Popen[bytes]") -> str:
    """The address of a server once it answers."""
    deadline = time.monotonic() + UP_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            found = address()
            connection = HTTPConnection(found.removeprefix("http://"), timeout=2)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return found
        except (OSError, ValueError, KeyError):
            time.sleep(0.1)
    raise SystemExit("a server did not start")


def serve_files(folder: Path, port: int) -> None:
    """Answer every GET with the file of that name."""

    async def app(scope: dict[str, Any], _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return
        path = folder / scope["path"].strip("/")
        body = path.read_bytes() if path.is_file() else b"ok"
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    asyncio.run(server.serve())


# The run


def take_in(client: Client, study: Study) -> str:
    """Upload a study, wait until it is folded, return its image set."""
    entries = [entry for batch in batches(Upload(file) for file in study.files) for entry in client.upload(batch)]
    name = str(entries[0]["image_set"])
    client.post(f"image-sets/{name}/complete")
    deadline = time.monotonic() + UP_S
    while client.get(f"image-sets/{name}")["storage"] == "landed":
        if time.monotonic() > deadline:
            raise SystemExit("the study was not folded in time")
        time.sleep(0.2)
    return name


def main() -> None:
    """Run all of it and tell."""
    load, study = os.getloadavg()[0], chest_study()
    with tempfile.TemporaryDirectory(prefix="radloop-bench-") as folder:
        home, files = Path(folder, "home"), Path(folder, "files")
        files.mkdir()
        with radloop_server(home) as url, plain_server(files) as plain:
            client = Client(url, None)
            name = take_in(client, study)
            rows: list[Row] = []
            sizes: dict[str, int] = {}
            for what, suffix in (("frame, lossless", ""), ("preview", "/preview")):
                paths = [f"image-sets/{name}/frames/{index}{suffix}" for index in range(len(study.files))]
                for index, path in enumerate(paths):
                    (files / f"{what[:5]}-{index}").write_bytes(client.fetch(path))
                names = [f"/{what[:5]}-{index}" for index in range(len(paths))]
                sizes[what] = sum((files / each[1:]).stat().st_size for each in names) // len(names)
                rows += compare(
                    what,
                    (url.removeprefix("http://"), [f"/api/v1/{path}" for path in paths]),
                    (plain.removeprefix("http://"), names),
                )
    mean = ", ".join(f"{what} {size / 1000:.1f} KB" for what, size in sizes.items())
    tell("frames", f"{study.name}; mean size: {mean}; one client, {TURNS} turns of {TURN_S:g} s each", rows, load)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        die_with_parent()
        serve_files(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
