"""Clients that load a server: STOW from processes of their own, storescu, wrk, h2load."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from peers import Peer

from radloop.dicom.parse import parse

BOUNDARY = "bench-boundary"
_READY_S = 0.3
_LUA = """
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long us; } moment; int gettimeofday(moment *, void *);")
local now = function()
  local moment = ffi.new("moment")
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.s) * 1e6 + tonumber(moment.us)
end
local begun
local requests, at, answered = {}, 0, 0
init = function(args)
  if args[3] then response = once end
  begun = now()
  local headers = {["Accept"] = args[2]}
  for line in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", line, headers) end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
once = function()
  answered = answered + 1
  if answered == #requests then
    io.write(string.format("ONCE %d\\n", now() - begun))
    wrk.thread:stop()
  end
end
done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format("TOLD %d %d %d %d %d\\n", summary.requests, summary.duration, summary.bytes,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load of requests brought.

    Attributes:
        rate: Requests a second.
        mean_bytes: Of an answer, headers included.
    """

    rate: float
    mean_bytes: float
    p99_ms: float


def renamed(file: bytes, series: int, instance: int) -> bytes:
    """`file` as instance `instance` of series `series`; its length does not change.

    No SOP instance UID comes twice, for Orthanc does not find the frames of one that stands in several series.
    """
    found = parse(file)
    new_series = f"{found.series_uid[:-5]}1{series:04d}"
    new_sop = f"{found.sop_uid[:-9]}1{series:04d}{instance:04d}"
    for old, new in ((found.series_uid, new_series), (found.sop_uid, new_sop)):
        file = file.replace(old.encode(), new.encode())
    return file


# STOW


def stow_together(  # noqa: PLR0917 — one line of what is sent where
    peer: Peer, folder: Path, series: int, files: int, clients: int, pool: Executor, at_once: int = 1
) -> tuple[float, float]:
    """Store a fresh series of `files` instances from so many clients, each on one connection.

    Returns:
        Seconds from the first byte to the last answer; the 99th percentile of an answer's time in ms.
    """
    start = time.monotonic() + _READY_S + 0.006 * files / clients
    shares = [range(client, files, clients) for client in range(clients)]
    waiting = [pool.submit(_stow, peer.address, peer.root, folder, series, share, start, at_once) for share in shares]
    done = [each.result() for each in waiting]
    times = sorted(seconds for *_, found in done for seconds in found)
    begun = min(began for began, *_ in done)
    return max(end for _, end, _ in done) - begun, 1000 * times[min(len(times) - 1, len(times) * 99 // 100)]


def _stow(  # noqa: PLR0917 — the same
    address: str, root: str, folder: Path, series: int, share: Sequence[int], start: float, at_once: int
) -> tuple[float, float, list[float]]:
    """When the first byte was sent, when the last answer was there, and the seconds of each answer."""
    names = sorted(folder.iterdir())
    bodies = list(_bodies([(names[each % len(names)], series, each) for each in share], at_once))
    connection = HTTPConnection(address, timeout=120)
    connection.connect()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
        "Accept": "application/dicom+json",
    }
    time.sleep(max(0.0, start - time.monotonic()))  # on a busy machine a client may be ready late
    times, began = [], time.monotonic()
    for body in bodies:
        begun = time.perf_counter()
        connection.request("POST", f"{root}/studies", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        times.append(time.perf_counter() - begun)
        if answer.status != 200:
            raise SystemExit(f"STOW was answered with {answer.status}: {told[:200]!r}")
    return began, time.monotonic(), times


def _bodies(files: list[tuple[Path, int, int]], at_once: int) -> Iterator[bytes]:
    for first in range(0, len(files), at_once):
        parts = [
            b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n"
            % (BOUNDARY.encode(), renamed(path.read_bytes(), series, number))
            for path, series, number in files[first : first + at_once]
        ]
        yield b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


# C-STORE


def store_together(peer: Peer, folders: Sequence[Path]) -> float:
    """Send every folder over an association of its own, all at the same time; returns seconds."""
    assert peer.dicom_port is not None
    command = ["storescu", "-aet", "BENCH", "-aec", peer.title, "+sd", "127.0.0.1", str(peer.dicom_port)]
    begun = time.monotonic()
    senders = [subprocess.Popen([*command, str(folder)], stderr=subprocess.PIPE) for folder in folders]
    for sender in senders:
        _, told = sender.communicate(timeout=120)
        if sender.returncode != 0 or b"E: " in told:
            raise SystemExit(f"storescu ended with {sender.returncode}: {told[-200:]!r}")
    return time.monotonic() - begun


# Frames


def wrk(  # noqa: PLR0917 — one line of what is asked how
    peer: Peer, paths: Sequence[str], accept: str, connections: int, seconds: int, scratch: Path, *, once: bool = False
) -> Load:
    """Ask for `paths` in turn over so many connections; until each was answered where that is to be `once`."""
    script, list_ = scratch / "frames.lua", scratch / "paths.txt"
    script.write_text(_LUA)
    list_.write_text("".join(f"{path}\n" for path in paths))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script)]
    told = subprocess.run(
        [*command, f"http://{peer.address}", "--", str(list_), accept, *(["once"] if once else [])],
        capture_output=True,
        text=True,
        check=True,
        timeout=60 + seconds,
    ).stdout
    found = re.search(r"TOLD (\d+) (\d+) (\d+) (\d+) (\d+)", told)
    if found is None:
        raise SystemExit(f"wrk told nothing: {told[-300:]}")
    requests, microseconds, size, errors, p99 = map(int, found.groups())
    if errors:
        print(f"  {peer.name}: {errors} of {requests} requests failed, which do not count", file=sys.stderr)
    stopped = re.search(r"ONCE (\d+)", told)
    if once and not stopped:
        raise SystemExit(f"wrk was not answered {len(paths)} times in {seconds} s")
    if stopped:
        microseconds = int(stopped.group(1))  # wrk itself waits until its time is over
    good = max(0, (len(paths) if once else requests) - errors)
    return Load(good / (microseconds / 1e6), size / max(1, requests), p99 / 1000)


def h2load(peer: Peer, paths: Sequence[str], connections: int, seconds: int, scratch: Path) -> Load:
    """The same over TLS and HTTP/1.1."""
    list_ = scratch / "uris.txt"
    list_.write_text("".join(f"{peer.scheme}://{peer.address}{path}\n" for path in paths))
    command = ["h2load", "--h1", "-t1", f"-c{connections}", "-m1", "-D", str(seconds), "-i", str(list_)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60 + seconds).stdout
    good = re.search(r"status codes: (\d+) 2xx", told)
    size = re.search(r"traffic: .*?\((\d+)\) total", told)
    if good is None or size is None:
        raise SystemExit(f"h2load told nothing: {told[-300:]}")
    count = int(good.group(1))
    return Load(count / seconds, int(size.group(1)) / max(1, count), 0.0)


def missing(*programs: str) -> str | None:
    """Why a part cannot run here."""
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed" if absent else None
