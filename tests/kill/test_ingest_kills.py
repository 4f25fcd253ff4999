"""kill -9 while four clients send: whatever was answered 200 is there byte for byte, and nothing is half there.

A server as people run it (`radloop up`), sent to over HTTP by four clients at once: two with a series of their own,
two into one series, everybody sending some files twice. At random moments one of its processes is killed: the server
itself, the doors, the worker, or whatever they have started. The seed is printed; RADLOOP_KILL_SEED repeats a run and
RADLOOP_KILLS sets the number of kills: 5 unless told, 200 for the whole of it.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from radloop.core.tables import IMAGE_SETS, INSTANCES
from radloop.store.instances import instance_of
from radloop.wiring import open_local
from tests.dicom.files import ct, written
from tests.kill.test_kill import until
from tests.processes import descendants

KILLS = int(os.environ.get("RADLOOP_KILLS", "5"))
SETTINGS = "quiet_s = 1.0\nfold_threads = 2\nbackoff_s = 0.05\nretrain_delay_s = 100000\n"
STUDY = "1.2.826.0.1.77"
SERIES = (f"{STUDY}.1", f"{STUDY}.2", f"{STUDY}.3", f"{STUDY}.3")
BOUNDARY = "kill-9"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@dataclass
class Sent:
    """What one client sent and what it was told of it."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    requests: int = 0


class Server:
    """`radloop up` on a home; every line it prints until it is ready is read, later ones are not waited for."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--no-tls", "--no-dimse", "--home", str(home)]
        self.process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        line = ""
        while "radloop is up" not in line:
            line = self.process.stdout.readline()
            assert line, "the server ended before it was up"
        self.url = next(word for word in line.split() if word.startswith("http")).removesuffix("/app/")

    def family(self) -> dict[str, list[int]]:
        """Its processes by what they do."""
        found: dict[str, list[int]] = {}
        for pid in sorted(descendants(self.process.pid)):
            kind = kind_of(pid)
            if kind is not None:
                found.setdefault(kind, []).append(pid)
        return found

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        family = descendants(self.process.pid)
        os.kill(self.process.pid, signal.SIGKILL)
        self.end()
        until(lambda: not any(Path(f"/proc/{pid}/cwd").exists() for pid in family), 15)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.end()

    def end(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait(timeout=60)


def file_of(client: int, number: int) -> tuple[str, bytes]:
    """SOP instance UID and file number `number` of a client; noise, so that no two are alike."""
    uid = f"{SERIES[client]}.{client}.{number}"
    noise = np.random.default_rng(client * 1_000_003 + number)
    pixels = noise.integers(0, 4096, (32, 48), dtype=np.uint16)
    data_set = ct(
        pixels,
        SOPInstanceUID=uid,
        SeriesInstanceUID=SERIES[client],
        StudyInstanceUID=STUDY,
        InstanceNumber=number * 4 + client,
        ImagePositionPatient=[0, 0, number * 4 + client],
        PatientID="KILLS",
    )
    return uid, written(data_set)


def send(url: str, files: list[bytes]) -> set[str]:
    """STOW these; the SOP instance UIDs that were acknowledged."""
    parts = b"".join(
        f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file + b"\r\n" for file in files
    )
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
        "Accept": "application/dicom+json",
    }
    body = parts + f"--{BOUNDARY}--\r\n".encode()
    answer = httpx.post(f"{url}/dicomweb/studies", content=body, headers=headers, timeout=30)
    if answer.status_code not in {200, 202}:
        return set()
    told = answer.json().get("00081199", {}).get("Value", [])
    return {item["00081155"]["Value"][0] for item in told}


def client(url: str, number: int, sent: Sent, *, first: int, stop: threading.Event, dice: random.Random) -> None:
    """Send batch after batch until told to stop or the server is gone."""
    at = first
    while not stop.is_set():
        batch = [file_of(number, at + place) for place in range(dice.choice((1, 2, 4)))]
        at += len(batch)
        if sent.acknowledged and dice.random() < 0.4:
            batch.append(dice.choice(list(sent.acknowledged.items())))
        if number == 3 and dice.random() < 0.5:
            batch.append(file_of(2, first + dice.randrange(8)))  # what client 2 may be sending now
        sent.requests += 1
        try:
            told = send(url, [file for _, file in batch])
        except httpx.HTTPError:
            return
        sent.acknowledged.update((uid, file) for uid, file in batch if uid in told)
        sent.refused += [uid for uid, _ in batch if uid not in told]


def export(url: str, uid: str, series: str) -> bytes:
    answer = httpx.get(
        f"{url}/dicomweb/studies/{STUDY}/series/{series}/instances/{uid}",
        headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        timeout=30,
    )
    assert answer.status_code == 200, (answer.status_code, uid)
    return answer.content


def counts_agree(url: str) -> None:
    """What lists, searches and image sets say of how many instances there are is one number."""
    with httpx.Client(timeout=30, headers={"Accept": "application/dicom+json"}) as http:
        for series in set(SERIES):
            found = http.get(f"{url}/dicomweb/studies/{STUDY}/series", params={"SeriesInstanceUID": series})
            if found.status_code == 204 or not found.json():
                continue
            (row,) = found.json()
            told = row["00201209"]["Value"][0]
            listed = 0
            while True:
                page = http.get(
                    f"{url}/dicomweb/studies/{STUDY}/series/{series}/instances",
                    params={"limit": 500, "offset": listed},
                )
                rows = [] if page.status_code == 204 else page.json()
                listed += len(rows)
                if not rows:
                    break
            assert listed == told, series


@pytest.fixture
def server_of(tmp_path: Path) -> Iterator[list[Server]]:
    running: list[Server] = []
    yield running
    for server in running:
        if server.process.poll() is None:
            server.kill()
        server.end()


def test_nothing_acknowledged_is_lost_by_any_kill(tmp_path: Path, server_of: list[Server]) -> None:
    seed = int(os.environ.get("RADLOOP_KILL_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"RADLOOP_KILL_SEED={seed}")
    dice = random.Random(seed)
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.toml").write_text(SETTINGS)
    clients = [Sent() for _ in SERIES]
    killed: Counter[str] = Counter()
    server_of.append(Server(home))
    for round_ in range(KILLS):
        server = server_of[-1]
        before = [set(sent.acknowledged) for sent in clients]
        killed[one_round(server, clients, round_, dice)] += 1
        until(lambda server=server: server.process.poll() is not None or server.answers(), 60)
        if server.process.poll() is not None:  # killed, or its doors died twice within seconds and it gave up
            server.end()
            server_of[-1] = server = Server(home)
        for number, sent in enumerate(clients):
            fresh = sorted(sent.acknowledged.keys() - before[number])
            older = sorted(before[number])
            for uid in fresh[-6:] + dice.sample(older, min(2, len(older))):
                assert sent.acknowledged[uid] in export(server.url, uid, SERIES[number]), uid
        counts_agree(server.url)
    server = server_of[-1]
    closed(server)
    server.stop()
    acknowledged = {uid: file for sent in clients for uid, file in sent.acknowledged.items()}
    print(
        f"kills {dict(killed)}, requests {sum(sent.requests for sent in clients)},"
        f" acknowledged {len(acknowledged)}, refused {sum(len(sent.refused) for sent in clients)}"
    )
    assert sum(killed.values()) == KILLS
    assert len(acknowledged) >= KILLS
    whole(home, acknowledged)


def one_round(server: Server, clients: list[Sent], round_: int, dice: random.Random) -> str:
    """Four clients send, and one process dies; returns which."""
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=client,
            args=(server.url, number, sent),
            kwargs={"first": round_ * 1000, "stop": stop, "dice": random.Random(dice.random())},
            daemon=True,
        )
        for number, sent in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(dice.uniform(0.02, 0.8))
    family = server.family()
    if not family or dice.random() < 0.3:
        server.kill()
        victim = "server"
    else:
        victim = dice.choice(sorted(family))
        try:
            os.kill(dice.choice(family[victim]), signal.SIGKILL)
        except ProcessLookupError:
            victim = "gone"
        time.sleep(dice.uniform(0, 0.3))
    stop.set()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return victim


def kind_of(pid: int) -> str | None:
    """What a process of the server does; None for one that is gone or does nothing of ours."""
    try:
        line, name = Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None
    if b"radloop.codec.isolated" in line:
        return "codec"
    kinds = ("door", "worker", "nursery", "folder")
    return next((kind for kind in kinds if name.startswith(f"radloop-{kind}")), None)


def closed(server: Server) -> None:
    """Close every image set and wait until all are folded."""

    def sets() -> list[dict]:
        return httpx.get(f"{server.url}/api/v1/worklist", params={"limit": 200}, timeout=30).json()["items"]

    for item in sets():
        httpx.post(f"{server.url}/api/v1/image-sets/{item['id']}/complete", timeout=60)

    def folded() -> bool:
        states = [httpx.get(f"{server.url}/api/v1/image-sets/{item['id']}", timeout=60).json() for item in sets()]
        return all(state["storage"] == "folded" for state in states)

    until(folded, 240)


def whole(home: Path, acknowledged: dict[str, bytes]) -> None:
    """Everything acknowledged is exported as it came, and fsck finds nothing wrong."""
    with open_local(home) as installation:
        images, records = installation.images, installation.platform.records
        names = [row.key for row in records.find(IMAGE_SETS)]
        assert len(names) == len(set(SERIES))
        instances = {one.sop_uid: one for name in names for one in images.instances(name)}
        assert sum(images.get(name).instances for name in names) == len(instances) == records.count(INSTANCES)
        for uid, file in acknowledged.items():
            assert images.export(instances[uid]) == file, uid
        for row in records.find(INSTANCES):
            one = instance_of(row)
            assert hashlib.sha256(images.export(one)).hexdigest() == one.digest
        assert installation.platform.jobs.dead_letters() == []
        swept = images.sweep()  # what the doors were writing when they were killed; every start does this
    found = subprocess.run(
        [sys.executable, "-m", "radloop.cli", "fsck", "--deep", "--json", "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(found.stdout)
    print({name: report[name] for name in ("clean", "image_sets", "instances", "records", "bytes")}, f"{swept} swept")
    assert (found.returncode, report["faults"], report["leftovers"]) == (0, [], [])
