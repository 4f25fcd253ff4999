"""A command that dies with its parent and never runs beside another."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from radloop.local.launch import LOCKED

TOP = Path(__file__).parents[2]


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def launch(lock: int, *command: str, parent: int | None = None) -> subprocess.Popen[bytes]:
    launcher = [sys.executable, "-m", "radloop.local.launch", str(parent or os.getpid()), str(lock), "--"]
    return subprocess.Popen([*launcher, *command], cwd=TOP, pass_fds=(lock,), stdin=subprocess.PIPE)


def test_the_command_takes_the_launchers_place_and_holds_the_lock_while_it_lives(lock: int, tmp_path: Path) -> None:
    script = 'echo $$ > "$0.part"; mv "$0.part" "$0"; read line'
    process = launch(lock, "sh", "-c", script, str(tmp_path / "pid"))
    while not (tmp_path / "pid").exists():
        assert process.poll() is None
    assert int((tmp_path / "pid").read_text()) == process.pid
    other = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.communicate(b"\n")
    assert process.returncode == 0
    os.close(other)


def test_a_command_whose_lock_another_holds_does_not_run(lock: int, tmp_path: Path) -> None:
    other = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    process = launch(lock, "touch", str(tmp_path / "ran"))
    process.communicate()
    os.close(other)
    assert process.returncode == LOCKED
    assert not (tmp_path / "ran").exists()


def test_a_command_whose_parent_is_gone_does_not_run(lock: int, tmp_path: Path) -> None:
    process = launch(lock, "touch", str(tmp_path / "ran"), parent=1)
    process.communicate()
    assert process.returncode != 0
    assert not (tmp_path / "ran").exists()


def test_the_exit_status_is_the_commands(lock: int) -> None:
    process = launch(lock, "sh", "-c", "exit 7")
    process.communicate()
    assert process.returncode == 7
