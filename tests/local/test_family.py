"""Children that are forked from one process: they live, die, and are started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import is_alive

SCRIPT = """
import os, select, signal, socket, sys, time
from pathlib import Path
from radloop.local.family import Family, Member

folder = Path(sys.argv[1])

def note(name):
    with (folder / name).open("a") as lines:
        lines.write(f"{os.getpid()}\\n")

def lasting():
    note("lasting")
    time.sleep(600)

def renewed():
    note("renewed")
    time.sleep(600)

def dying():
    note("dying")
    os._exit(3)

def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("stubborn")
    time.sleep(600)

listener = socket.create_server(("127.0.0.1", 0))
(folder / "port").write_text(str(listener.getsockname()[1]))

def called():
    note("called")
    while not (folder / "rest").exists():
        if select.select([listener], [], [], 0.05)[0]:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(str(os.getpid()).encode())

family = Family([
    Member("lasting", lasting),
    Member("renewed", renewed, is_renewed=True),
    Member("dying", dying),
    Member("stubborn", stubborn, grace_s=0.5),
    Member("called", called, called_by=listener),
])
family.run(lambda: 1.0)
print("ended", flush=True)
"""


class Parent:
    """A process with a family."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def pids(self, name: str) -> list[int]:
        """Of everyone who ever was the member `name`, in order."""
        path = self.folder / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def living(self) -> list[int]:
        names = ("lasting", "renewed", "dying", "stubborn", "called")
        return [pid for name in names for pid in self.pids(name) if is_alive(pid)]

    def call(self) -> int:
        """Who answers on the port."""
        with socket.create_connection(("127.0.0.1", int((self.folder / "port").read_text())), timeout=20) as calling:
            return int(calling.recv(100))


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    started = Parent(tmp_path)
    until(lambda: all(started.pids(name) for name in ("lasting", "renewed", "stubborn")))
    yield started
    started.process.kill()
    started.process.communicate()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_dies_is_started_again_at_once_and_says_so(parent: Parent) -> None:
    (first,) = parent.pids("lasting")
    os.kill(first, signal.SIGKILL)
    until(lambda: len(parent.pids("lasting")) == 2, 1.0)
    parent.process.terminate()
    _, told = parent.process.communicate(timeout=20)
    assert "lasting ended with status -9 and is started again" in told


def test_one_that_dies_again_and_again_is_started_with_growing_pauses_and_holds_up_nobody(parent: Parent) -> None:
    until(lambda: len(parent.pids("dying")) >= 4)  # at once, after 0.5 s, after 1 s
    time.sleep(1.0)
    assert len(parent.pids("dying")) == 4  # the next comes after 2 s
    assert len(parent.pids("lasting")) == 1
    assert parent.process.poll() is None


def test_one_that_is_called_comes_with_the_first_call_and_after_its_death_with_the_next(parent: Parent) -> None:
    time.sleep(0.5)
    assert parent.pids("called") == []
    first = parent.call()
    assert parent.call() == first
    assert parent.pids("called") == [first]
    os.kill(first, signal.SIGKILL)
    until(lambda: not is_alive(first))
    time.sleep(0.3)
    assert parent.pids("called") == [first]
    second = parent.call()
    assert parent.pids("called") == [first, second]
    parent.process.terminate()
    parent.process.communicate(timeout=20)
    assert not is_alive(second)


def test_one_that_is_called_may_go_by_itself_and_comes_with_the_next_call_which_is_no_fault(parent: Parent) -> None:
    first = parent.call()
    (parent.folder / "rest").touch()
    until(lambda: not is_alive(first))
    (parent.folder / "rest").unlink()
    second = parent.call()
    assert parent.pids("called") == [first, second]
    parent.process.terminate()
    _, told = parent.process.communicate(timeout=20)
    assert "called ended" not in told


def test_sigterm_ends_all_of_them_the_stubborn_by_force(parent: Parent) -> None:
    parent.process.terminate()
    told, _ = parent.process.communicate(timeout=20)
    assert told == "ended\n"
    assert parent.process.returncode == 0
    assert parent.living() == []


def test_ctrl_c_at_a_terminal_reaches_children_too_and_only_the_parent_heeds_it(parent: Parent) -> None:
    (lasting,) = parent.pids("lasting")
    os.kill(lasting, signal.SIGINT)
    time.sleep(0.3)
    assert is_alive(lasting)
    parent.process.send_signal(signal.SIGINT)
    assert parent.process.wait(timeout=20) == 0
    assert not is_alive(lasting)


def test_killing_the_parent_leaves_nobody(parent: Parent) -> None:
    family = parent.living()
    assert len(family) >= 3
    parent.process.kill()
    until(lambda: not any(is_alive(pid) for pid in family))


def test_sighup_has_successors_take_over_before_predecessors_go(parent: Parent) -> None:
    (before,) = parent.pids("renewed")
    parent.process.send_signal(signal.SIGHUP)
    until(lambda: len(parent.pids("renewed")) == 2)
    assert is_alive(before)
    until(lambda: not is_alive(before))
    assert len(parent.pids("renewed")) == 2
    assert len(parent.pids("lasting")) == 1
