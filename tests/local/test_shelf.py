"""The shelf of what can be made again keeps what is asked for, within its limit, and gives whole values or none."""

import errno
import os
from pathlib import Path

import pytest

from radloop.local.blobs import Rooms
from radloop.local.shelf import FileShelf

KB = 1000


def got(shelf: FileShelf, key: str) -> bytes | None:
    found = shelf.get(key, waits=True)
    return None if found is None else bytes(found)


def test_what_was_put_is_got_by_every_process_that_opens_it(tmp_path: Path) -> None:
    shelf, other = FileShelf(tmp_path / "kept", 100 * KB), FileShelf(tmp_path / "kept", 100 * KB)
    assert got(shelf, "a/1") is None
    shelf.put("a/1", b"first")
    shelf.put("a/1", b"second, longer")
    assert got(shelf, "a/1") == got(other, "a/1") == b"second, longer"
    assert got(shelf, "a/2") is None
    if (at_once := other.get("a/1", waits=False)) is not None:  # not every file system can tell
        assert bytes(at_once) == b"second, longer"
    shelf.clear()
    assert got(other, "a/1") is None


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "kept", 100 * KB)
    shelf.put("a/1", b"x")
    assert (tmp_path / "kept" / "a" / "1").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0


def test_several_processes_stay_below_the_limit_together(tmp_path: Path) -> None:
    shelves = [FileShelf(tmp_path / "kept", 100 * KB) for _ in range(4)]
    for number in range(400):
        shelves[number % 4].put(f"set/{number}", bytes(KB))
        assert shelves[0].size_bytes <= 100 * KB
    assert shelves[0].size_bytes > 50 * KB
    assert got(shelves[0], "set/399") is not None


def test_what_was_asked_for_longest_ago_goes_first(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "kept", 64 * KB)
    for number in range(40):
        shelf.put(f"set/{number}", bytes(KB))
        long_ago = 1_000_000_000 + number
        os.utime(tmp_path / "kept" / "set" / str(number), (long_ago, long_ago))
    assert got(shelf, "set/0") is not None  # which makes it the newest
    for number in range(40, 70):
        shelf.put(f"set/{number}", bytes(KB))
    assert got(shelf, "set/0") is not None
    assert got(shelf, "set/1") is None
    assert got(shelf, "set/69") is not None


def test_what_is_large_is_for_who_waits(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "kept", 1 << 30)
    shelf.put("a/1", bytes(5 << 20))
    assert shelf.get("a/1", waits=False) is None
    assert got(shelf, "a/1") == bytes(5 << 20)


def test_without_room_nothing_is_kept(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "kept", 0)
    shelf.put("a/1", b"x")
    assert got(shelf, "a/1") is None
    assert not (tmp_path / "kept").exists()
    small = FileShelf(tmp_path / "kept", 10 * KB)
    small.put("a/1", bytes(KB))  # one value may not take the place of all others
    assert got(small, "a/1") is None


def test_a_full_disk_is_nobody_s_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = FileShelf(tmp_path / "kept", 100 * KB)
    shelf.put("a/1", b"x")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    shelf.put("a/2", b"y")
    monkeypatch.undo()
    assert got(shelf, "a/1") == b"x"
    assert [path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()] == ["1"]


def test_room_is_used_again_but_never_too_much_of_it() -> None:
    rooms = Rooms()
    first = rooms.of(10)
    first[:] = b"0123456789"
    assert bytes(rooms.of(4)) == b"0123"
    assert len(rooms.of(20)) == 20
    assert bytes(rooms.of(5 << 20)[:4]) == bytes(4)
    assert rooms.of(3).obj is rooms.of(20).obj
