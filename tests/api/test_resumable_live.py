"""Uploads over links that break, to servers that are killed: real processes, real sockets.

RADLOOP_UPLOAD_MB sets the size of the upload (64 unless told, 1024 for the full measure). The seed is printed;
RADLOOP_UPLOAD_SEED repeats a run.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from radloop.client import SOCKET_OPTIONS
from radloop.dicom.phantom import phantom_study
from radloop.sending import Memory, Sender, parcels
from tests.api.bad_link import BadLink
from tests.processes import descendants, is_alive

MEGABYTES = int(os.environ.get("RADLOOP_UPLOAD_MB", "64"))
CUTS = 20
LOST_PER_CUT = 512 * 1024
"""Bytes that one cut may cost: with 20 cuts 1 % of a gigabyte."""
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}
PLACE = "/api/v1/resumable"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Server:
    """`radloop up` on a home, on a port that stays the same when it is started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--no-tls", "--no-dimse"]
        self.process = subprocess.Popen(
            [*command, "--home", str(self.home), "--listen", f"127.0.0.1:{self.port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        assert "radloop is up" in self.process.stdout.readline()

    def family(self) -> dict[int, str]:
        """The server's processes and their names."""
        assert self.process is not None
        found = {}
        for pid in {self.process.pid, *descendants(self.process.pid)}:
            with suppress(OSError):  # gone meanwhile
                found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
        return found

    def worker(self) -> int:
        def found() -> list[int]:
            return [pid for pid, line in self.family().items() if line == "radloop-worker"]

        until(lambda: len(found()) == 1, 20)
        return found()[0]

    def most_memory_mb(self) -> dict[int, int]:
        """High-water marks of the resident memory of the server's processes."""
        texts = {}
        for pid in self.family():
            with suppress(OSError):  # gone meanwhile
                texts[pid] = Path(f"/proc/{pid}/status").read_text()
        return {
            pid: int(re.search(r"VmHWM:\s+(\d+)", text)[1]) // 1024 for pid, text in texts.items() if "VmHWM" in text
        }

    def kill(self) -> None:
        assert self.process is not None
        family = self.family()
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()
        until(lambda: not any(is_alive(pid) for pid in family), 10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.toml").write_text("fold_threads = 1\nquiet_s = 3600\nstudy_quiet_s = 3600\n")
    started = Server(home)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("RADLOOP_UPLOAD_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"RADLOOP_UPLOAD_SEED={seed}")
    return random.Random(seed)


def study(folder: Path, megabytes: int) -> list[Path]:
    """Slices of half a megabyte each, with pixels that are all different."""
    folder.mkdir()
    (file, *_) = phantom_study(7, consolidated=True, slices=4, size=512).files
    uid = re.search(rb"\x08\x00\x18\x00UI..([0-9.]+)", file, re.DOTALL)
    assert uid is not None
    noise = random.Random(7)
    paths = []
    for number in range(max(2, 2 * megabytes)):
        other = uid[1][:-5] + b"%05d" % number
        slice_ = bytearray(file.replace(uid[1], other))
        slice_[-4096:] = noise.randbytes(2048) + bytes(2048)
        paths.append(folder / f"{number:05}.dcm")
        paths[-1].write_bytes(slice_)
    return paths


Sending = Callable[[str], Sender]


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sending]:
    opened: list[httpx.Client] = []

    def made(url: str) -> Sender:
        opened.append(httpx.Client(base_url=url, transport=httpx.HTTPTransport(socket_options=SOCKET_OPTIONS)))
        return Sender(opened[-1], Memory(tmp_path / "uploads.json"))

    yield made
    for http in opened:
        http.close()


def test_twenty_cuts_cost_next_to_nothing(server: Server, sender: Sending, tmp_path: Path, dice: random.Random) -> None:
    files = study(tmp_path / "study", MEGABYTES)
    (parcel,) = parcels(files)
    link = BadLink(("127.0.0.1", server.port))
    places = sorted(dice.sample(range(parcel.content.length // 50, parcel.content.length), CUTS))
    rest = iter(places[1:])
    link.cut_at, link.next_cut = places[0], lambda: next(rest, None)
    before = server.most_memory_mb()
    begun = time.monotonic()
    sending = sender(link.url)
    place = sending.send(parcel)
    sent_in = time.monotonic() - begun
    told = sending.finish(place, parcel)
    link.close()
    resent = link.passed - parcel.content.length
    share = 100 * resent / parcel.content.length
    print(
        f"{parcel.content.length / 1e6:.0f} MB, {link.cuts} cuts: {resent / 1e3:.0f} kB sent again by the wire"
        f" ({share:.2f} %), {sending.tally.resent / 1e3:.0f} kB by the sender's count; sent in {sent_in:.1f} s,"
        f" landed after {time.monotonic() - begun:.1f} s; memory {before} -> {server.most_memory_mb()} MB"
    )
    assert (told["state"], told["ingested"], told["duplicates"]) == ("done", len(files), 0)
    assert link.cuts == CUTS
    assert resent <= CUTS * LOST_PER_CUT
    after = server.most_memory_mb()
    assert max(after[pid] - before.get(pid, 0) for pid in after) < 400
    assert not list((server.home / "objects" / "drafts").rglob("*.*"))


def test_killing_the_server_while_it_receives_loses_nothing_it_acknowledged(
    server: Server, sender: Sending, tmp_path: Path, dice: random.Random
) -> None:
    files = study(tmp_path / "study", 24)
    (parcel,) = parcels(files)
    link = BadLink(("127.0.0.1", server.port), rate=12e6)
    sending = sender(link.url)
    ended: list[dict] = []
    thread = threading.Thread(target=lambda: ended.append(sending.finish(sending.send(parcel), parcel)), daemon=True)
    thread.start()
    for share in sorted(dice.uniform(0.1, 0.8) for _ in range(2)):
        until(lambda share=share: link.passed > share * parcel.content.length, 60)
        acknowledged = offset_now(server, tmp_path)
        server.kill()
        server.start()
        assert offset_now(server, tmp_path) >= acknowledged
    thread.join(120)
    link.close()
    (told,) = ended
    assert (told["state"], told["ingested"], told["duplicates"]) == ("done", len(files), 0)
    assert sending.tally.cuts >= 2


def offset_now(server: Server, folder: Path) -> int:
    (place,) = json.loads((folder / "uploads.json").read_text()).values()
    return int(httpx.head(server.url + place, headers=TUS).headers["upload-offset"])


def test_killing_everything_between_the_last_byte_and_the_landing_loses_nothing(
    server: Server, sender: Sending, tmp_path: Path
) -> None:
    files = study(tmp_path / "study", 4)
    (parcel,) = parcels(files)
    os.kill(server.worker(), signal.SIGSTOP)
    place = sender(server.url).send(parcel)
    assert httpx.get(server.url + place).json()["state"] == "landing"
    server.kill()
    server.start()
    told = sender(server.url).finish(place)
    assert (told["state"], told["ingested"], told["files"]) == ("done", len(files), len(files))


def test_killing_the_worker_while_it_lands_lands_everything_once(
    server: Server, sender: Sending, tmp_path: Path
) -> None:
    files = study(tmp_path / "study", 96)
    (parcel,) = parcels(files)
    place = sender(server.url).send(parcel)
    for _ in range(2):
        until(lambda: httpx.get(server.url + place).json()["files"] > 0 or is_over(server, place), 60)
        os.kill(server.worker(), signal.SIGKILL)
        time.sleep(0.5)
    told = sender(server.url).finish(place)
    assert told["state"] == "done"
    assert told["ingested"] + told["duplicates"] == told["files"] == len(files)
    (name,) = told["image_sets"]
    assert httpx.get(f"{server.url}/api/v1/image-sets/{name}").json()["frames"] == len(files)


def is_over(server: Server, place: str) -> bool:
    return httpx.get(server.url + place).json()["state"] == "done"


def test_of_two_that_send_at_once_one_goes_on_and_the_other_is_told(server: Server) -> None:
    place = httpx.post(server.url + PLACE, headers={**TUS, "Upload-Length": "6000000"}).headers["location"]
    body = bytes(3_000_000)
    statuses: list[int] = []

    def slowly() -> Iterator[bytes]:
        for begin in range(0, len(body), 100_000):
            yield body[begin : begin + 100_000]
            time.sleep(0.01)

    def send() -> None:
        headers = {**CHUNK, "Upload-Offset": "0", "Content-Length": str(len(body))}
        statuses.append(httpx.patch(server.url + place, content=slowly(), headers=headers, timeout=30).status_code)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [204, 409]
    assert httpx.head(server.url + place, headers=TUS).headers["upload-offset"] == "3000000"


def test_a_connection_that_died_without_a_word_is_in_nobodys_way(server: Server) -> None:
    place = httpx.post(server.url + PLACE, headers={**TUS, "Upload-Length": "3000000"}).headers["location"]
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        head = f"PATCH {place} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\nUpload-Offset: 0\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in CHUNK.items())
        silent.sendall(head.encode() + b"\r\n" + bytes(1_500_000))
        until(lambda: httpx.head(server.url + place, headers=TUS).headers["upload-offset"] == "1500000", 10)
        headers = {**CHUNK, "Upload-Offset": "1500000"}
        assert httpx.patch(server.url + place, content=b"x" * 1000, headers=headers).status_code == 204
        silent.sendall(bytes(1_500_000))
        assert b" 409 " in silent.recv(100)
    assert httpx.head(server.url + place, headers=TUS).headers["upload-offset"] == "1501000"


def test_a_checksummed_part_that_is_cut_counts_for_nothing(server: Server) -> None:
    place = httpx.post(server.url + PLACE, headers={**TUS, "Upload-Length": "3000000"}).headers["location"]
    with socket.create_connection(("127.0.0.1", server.port)) as cut:
        head = f"PATCH {place} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\nUpload-Offset: 0\r\n"
        head += "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in CHUNK.items())
        cut.sendall(head.encode() + b"\r\n" + bytes(2_500_000))
        time.sleep(0.3)
    time.sleep(0.5)
    assert httpx.head(server.url + place, headers=TUS).headers["upload-offset"] == "0"
    assert not [path for path in (server.home / "objects" / "drafts").rglob("*") if path.is_file()]


def test_the_command_goes_on_where_it_was_killed(server: Server, tmp_path: Path) -> None:
    files = study(tmp_path / "study", 16)
    (tmp_path / "study" / "note.txt").write_text("no image")
    link = BadLink(("127.0.0.1", server.port), rate=10e6)
    command = [sys.executable, "-m", "radloop.cli", "ingest", str(tmp_path / "study"), "--resume", "--json"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    options = {"env": environment, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen([*command, "--server", link.url], **options)
    until(lambda: link.passed > 6e6, 60)
    first.kill()
    first.communicate()
    link.rate = None
    again = subprocess.run([*command, "--server", link.url], check=False, **options, timeout=120)
    link.close()
    facts = json.loads(again.stdout)
    assert (facts["ingested"], facts["quarantined"], facts["duplicates"]) == (len(files), 1, 0)
    assert facts["reasons"][0]["names"] == ["note.txt"]
    assert facts["sent_bytes"] < 12e6
    state = (tmp_path / "state" / "radloop" / "uploads.json").read_text()
    assert json.loads(state) == {}
    assert httpx.get(f"{server.url}/api/v1/image-sets/{facts['image_sets'][0]}").json()["closed"]


def until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"it did not become true within {seconds} s"
        time.sleep(0.02)
