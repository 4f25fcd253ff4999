"""The DIMSE process of `radloop up`: it starts, tells where it is, and survives being killed."""

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pynetdicom.association import Association

from radloop.associations import entity_of
from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.settings import Settings
from radloop.core.tables import IMAGE_SETS
from radloop.wiring import open_local
from tests.dimse.door import CT, EXPLICIT, associated, data_set_of, echoes, send
from tests.processes import is_alive
from tests.store.house import of_patient

pytestmark = pytest.mark.timeout(300)


@dataclass
class Up:
    """`radloop up` as a child."""

    process: "subprocess.Popen[str]"
    home: Path
    lines: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(json.loads((self.home / "server.json").read_bytes())["dimse_port"])

    def dimse_processes(self) -> list[int]:
        found = []
        for each in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in each.read_text().split():
                with suppress(OSError):  # gone meanwhile
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "radloop-dimse":
                        found.append(int(pid))
        return found


@contextmanager
def up(home: Path, *options: str) -> Iterator[Up]:
    command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--no-tls", "--home", str(home)]
    command += ["--listen", "127.0.0.1:0", *(options or ("--dimse-port", "0"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    started = Up(process, home)
    try:
        started.lines.append(process.stdout.readline())
        if "--no-dimse" not in options:
            started.lines.append(process.stdout.readline())
        yield started
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def test_the_door_opens_with_up_and_closes_with_it(tmp_path: Path) -> None:
    with up(tmp_path / "home", "--dimse-port", "0", "--ae-title", "RADLOOP") as started:
        assert started.lines[1].strip() == f"DIMSE: RADLOOP@127.0.0.1:{started.port}"
        assert echoes(started.port)
        (pid,) = started.dimse_processes()
        port = started.port
    assert not Path(f"/proc/{pid}").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_it_goes_when_the_server_is_killed(tmp_path: Path) -> None:
    with up(tmp_path / "home") as started:
        assert started.dimse_processes() == []  # nobody called yet
        assert echoes(started.port)
        (pid,) = started.dimse_processes()
        os.kill(started.process.pid, signal.SIGKILL)
        until(lambda: not is_alive(pid), 10)


@pytest.mark.slow
def test_it_goes_when_nobody_has_called_for_a_while_and_comes_back_counting_on(tmp_path: Path) -> None:
    with up(tmp_path / "home") as started:
        assert echoes(started.port)
        (first,) = started.dimse_processes()
        with associated(started.port, (CT, [EXPLICIT])):
            time.sleep(5)
            assert started.dimse_processes() == [first]  # somebody is connected
        until(lambda: started.dimse_processes() == [])
        assert echoes(started.port)
        (second,) = started.dimse_processes()
        assert second != first
        until(lambda: _echoes_counted(started) == 2, 5)


def _echoes_counted(started: Up) -> float:
    address = json.loads((started.home / "server.json").read_bytes())["url"]
    told = httpx.get(f"{address}/metrics").text
    found = re.search(r'dimse_operations_total\{operation="C-ECHO",outcome="success"\} ([0-9.]+)', told)
    return float(found[1]) if found else 0.0


def test_it_can_be_left_out(tmp_path: Path) -> None:
    with up(tmp_path / "home", "--no-dimse") as started:
        assert "radloop is up" in started.lines[0]
        assert started.dimse_processes() == []
        assert json.loads((started.home / "server.json").read_bytes())["dimse_port"] is None


def test_a_port_in_use_is_told_and_titles_and_peers_are_checked() -> None:
    settings = Settings(peers=("A@10.0.0.1:104",))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(Unavailable, match=f"port {port} is in use; choose another with --dimse-port"):
            entity_of(settings, "127.0.0.1", port, title=None, peers=(), is_open=False)
    with pytest.raises(InvalidInput):
        entity_of(settings, "127.0.0.1", 0, title="TOO LONG A TITLE FOR AN AE", peers=(), is_open=False)
    with pytest.raises(InvalidInput):
        entity_of(settings, "127.0.0.1", 0, title=None, peers=("PACS",), is_open=False)
    entity = entity_of(settings, "127.0.0.1", 0, title=None, peers=("B@10.0.0.2:104",), is_open=False)
    assert (entity.title, entity.peers) == ("RADLOOP", ("A@10.0.0.1:104", "B@10.0.0.2:104"))
    entity.listener.close()


class Scanner(threading.Thread):
    """Sends one study after the other and remembers what was acknowledged."""

    def __init__(self, port: int, first: int) -> None:
        super().__init__()
        self.acknowledged: list[bytes] = []
        self._port, self._number = port, first
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            with suppress(OSError, RuntimeError, ValueError), associated(self._port, (CT, [EXPLICIT])) as association:
                self._send(association)
            self._number += 10

    def _send(self, association: Association) -> None:
        for file in of_patient(self._number):
            answer = send(association, file)
            if answer is None or answer.Status != 0x0000:
                return
            self.acknowledged.append(data_set_of(file))

    def end(self) -> None:
        self._stopping.set()
        self.join(timeout=60)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets that pynetdicom leaves open
def test_killing_it_in_the_middle_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    with up(tmp_path / "home") as started:
        scanners = [Scanner(started.port, first) for first in (1, 2)]
        for scanner in scanners:
            scanner.start()
        for _ in range(4):
            before = sum(len(scanner.acknowledged) for scanner in scanners)
            until(lambda: sum(len(scanner.acknowledged) for scanner in scanners) >= before + 6)  # noqa: B023 — at once
            (pid,) = started.dimse_processes()
            os.kill(pid, signal.SIGKILL)
            until(lambda: started.dimse_processes() not in ([], [pid]))  # noqa: B023 — at once
        for scanner in scanners:
            scanner.end()
        assert echoes(started.port)
    with open_local(tmp_path / "home") as installation:
        images = installation.images
        rows = installation.platform.records.find(IMAGE_SETS)
        kept = {data_set_of(images.export(each)) for row in rows for each in images.instances(row.key)}
    for scanner in scanners:
        assert scanner.acknowledged
        assert set(scanner.acknowledged) <= kept
    gc.collect()
