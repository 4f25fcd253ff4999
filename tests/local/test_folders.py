"""Folding processes: they come from a nursery, do what is asked, and die one by one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from radloop.core.errors import Conflict
from radloop.local.folders import Folders, Nursery, folding_processes
from tests.local.test_family import until
from tests.processes import is_alive


@pytest.fixture
def folders() -> Iterator[Folders]:
    with folding_processes(2) as made:
        yield made


def refuse() -> None:
    raise Conflict("no")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_is_asked_is_answered_by_another_process(folders: Folders) -> None:
    answers = [folders.submit(pow, 2, power) for power in range(20)]
    assert [each.result() for each in answers] == [2**power for power in range(20)]
    assert folders.submit(os.getpid).result() != os.getpid()


def test_what_is_raised_there_is_raised_here(folders: Folders) -> None:
    with pytest.raises(Conflict, match="no"):
        folders.submit(refuse).result()


def test_large_answers_come_whole(folders: Folders) -> None:
    assert folders.submit(bytes, 5 << 20).result() == bytes(5 << 20)


def test_one_that_dies_takes_its_request_and_nothing_else(folders: Folders) -> None:
    with pytest.raises(BrokenExecutor):
        folders.submit(die).result()
    assert folders.submit(pow, 2, 3).result() == 8


def test_without_its_nursery_nothing_more_is_done_and_it_says_so(folders: Folders) -> None:
    pid = folders.submit(os.getppid).result()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid))
    with pytest.raises(BrokenExecutor):
        for _ in range(3):
            folders.submit(pow, 2, 3).result()


def test_those_with_nothing_to_do_go(folders: Folders) -> None:
    pid = folders.submit(os.getpid).result()
    folders.rest(60.0)
    assert is_alive(pid)
    folders.rest(0.0)
    until(lambda: not is_alive(pid))
    assert folders.submit(pow, 2, 3).result() == 8


def test_a_nursery_that_is_closed_is_gone() -> None:
    nursery = Nursery.launched()
    with Folders(1, nursery) as folders:
        pid = folders.submit(os.getppid).result()
    assert nursery.is_alive
    nursery.close()
    assert not nursery.is_alive
    assert not is_alive(pid)


def test_killing_whoever_asks_ends_nursery_and_children(tmp_path: Path) -> None:
    script = f"""
import os, time
from pathlib import Path
from radloop.local.folders import Folders, Nursery
nursery = Nursery.forked()
folders = Folders(1, nursery)
told = f"{{folders.submit(os.getpid).result()}} {{folders.submit(os.getppid).result()}}"
Path({str(tmp_path / "told")!r}).write_text(told)
folders.submit(time.sleep, 600).result()
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    until(lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_text().count(" ") == 1)
    time.sleep(0.2)
    family = [int(pid) for pid in (tmp_path / "told").read_text().split()]
    assert all(is_alive(pid) for pid in family)
    process.kill()
    process.wait()
    until(lambda: not any(is_alive(pid) for pid in family))
