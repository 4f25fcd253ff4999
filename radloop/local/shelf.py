"""The Shelf port on a local directory.

Nothing here is worth a flush: a crash loses what can be made again. What is kept was sealed by whoever keeps it.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from radloop.local.blobs import Rooms

_DRAFT = ".draft-"
_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_AT_ONCE_BYTES = 4 << 20  # to copy and open more takes milliseconds, in which nobody else is answered
_SEEN_EVERY_S = 60.0
_LOOK_EVERY = 32
_FILL = 7 / 8
_MOST_OF_DISK = 0.5


class FileShelf:
    """The Shelf port on a local directory, one file a key, for any number of processes.

    A value is written beside its place and renamed, so that a reader has all of it or nothing. A file's time tells
    when it was asked for last, give or take a minute. Each process looks through the directory when it has written
    a 32nd of the limit, and leaves seven eighths of it: so up to four of them stay below the limit together.

    Args:
        root: The directory; made when it is needed. Keys are `folder/name`.
        limit_bytes: 0 keeps nothing. Never more than half of what is free on the disk is taken.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root = root
        self._limit = limit_bytes
        self._written = limit_bytes  # so that the first thing kept leads to a look at what is there
        self._names = count()
        self._guard = threading.Lock()
        self._rooms = Rooms()

    def get(self, key: str, *, waits: bool) -> memoryview | None:
        """See `Shelf.get`."""
        if not self._limit or not (waits or _NOWAIT is not None):
            return None
        try:
            descriptor = os.open(f"{self._root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return self._read(descriptor, waits=waits)
        except OSError:
            return None  # its bytes are not in memory; or the disk fails, and it must be made again
        finally:
            os.close(descriptor)

    def put(self, key: str, data: bytes) -> None:
        """See `Shelf.put`."""
        if len(data) * _LOOK_EVERY > self._limit:
            return
        path = self._root / key
        draft = path.with_name(f"{_DRAFT}{os.getpid()}-{next(self._names)}")
        try:
            if not path.parent.is_dir():
                self._root.mkdir(exist_ok=True, mode=0o700)  # a mode is not for parents that are made along
                path.parent.mkdir(exist_ok=True, mode=0o700)
            with open(draft, "xb", opener=_private) as file:
                file.write(data)
            draft.replace(path)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return
        self._make_room(len(data))

    def clear(self) -> None:
        """See `Shelf.clear`."""
        shutil.rmtree(self._root, ignore_errors=True)

    @property
    def size_bytes(self) -> int:
        """What it holds now."""
        return sum(size for _, size, _ in self._files())

    def _read(self, descriptor: int, *, waits: bool) -> memoryview | None:
        status = os.fstat(descriptor)
        if not waits and status.st_size > _AT_ONCE_BYTES:
            return None
        data = self._rooms.of(status.st_size)
        if os.preadv(descriptor, [data], 0, 0 if waits else _NOWAIT or 0) != status.st_size:
            return None
        now = time.time()
        if now - status.st_mtime > _SEEN_EVERY_S:
            os.utime(descriptor, (now, now))
        return data

    def _make_room(self, size: int) -> None:
        with self._guard:
            self._written += size
            if self._written * _LOOK_EVERY < self._limit:
                return
            self._written = 0
        files = sorted(self._files())
        held = sum(size for _, size, _ in files)
        most = min(self._limit, int((held + shutil.disk_usage(self._root).free) * _MOST_OF_DISK))
        for _, length, path in files:
            if held <= most * _FILL:
                return
            with suppress(OSError):  # another process was faster
                path.unlink()
            held -= length

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each file was asked for last, its bytes, and where it is."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                with suppress(OSError):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
