"""The Blobs port on a local directory."""

import ctypes
import errno
import os
import stat
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from radloop.core.errors import InvalidInput, NotFound, Unavailable
from radloop.core.ports import Span

_DRAFT = ".draft-"
_HELD_OPEN = 64
_BUFFER_BYTES = 1 << 16  # longer pieces go past it, uncopied
_LONGEST_GROWN = 64 << 20
_ROOM_KEPT_BYTES = 4 << 20
_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_SYNC_FILE_RANGE_WRITE = 2  # fcntl.h: begin to write what is dirty, wait for nothing
_START_WRITING = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux only; elsewhere the flush does it all
if _START_WRITING is not None:
    _START_WRITING.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class _FileWriter:
    """A file being written that counts its own bytes."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
        self._offset = 0

    def write(self, data: bytes) -> int:
        """See `BlobWriter.write`."""
        start = self._offset
        self._file.write(data)
        self._offset += len(data)
        return start

    def send(self) -> None:
        """Hand everything to the kernel, so that others read it."""
        self._file.flush()

    def finish(self) -> None:
        """Flush to the disk and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        """Close without caring for the rest, and leave nothing behind."""
        with suppress(OSError):  # what is left in the buffer may not fit on the disk either
            self._file.close()
        self.path.unlink(missing_ok=True)


class _GrowingFile:
    """See `GrowingBlob`. Closed when nobody holds it any more."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self._length = 0
        self._settled = -1  # the name is not on the disk yet either

    @property
    def is_full(self) -> bool:
        """See `GrowingBlob.is_full`."""
        return self._descriptor is None or self._length >= _LONGEST_GROWN

    def write(self, data: bytes) -> int:
        """See `GrowingBlob.write`."""
        start = self._length
        descriptor = self._held()
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
        except OSError as error:
            self.close()
            raise _translate(error) from error
        self._length += len(data)
        if _START_WRITING is not None and len(data) >= _BUFFER_BYTES:
            _START_WRITING(descriptor, start, len(data), _SYNC_FILE_RANGE_WRITE)
        return start

    def settle(self) -> None:
        """See `GrowingBlob.settle`."""
        length = self._length
        if self._settled == length:
            return
        try:
            os.fdatasync(self._held())
            if self._settled < 0:
                _sync(self._path.parent)
        except OSError as error:
            self.close()
            raise _translate(error) from error
        self._settled = length

    def close(self) -> None:
        """See `GrowingBlob.close`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _held(self) -> int:
        if self._descriptor is None:
            raise Unavailable("nothing can be added to a blob that is closed")
        return self._descriptor

    def __del__(self) -> None:
        self.close()


class Rooms(threading.local):
    """Room to read into, used again by each thread: to take and clear it anew costs as much as the reading."""

    def __init__(self) -> None:
        self._room = bytearray()

    def of(self, size: int) -> memoryview:
        """Room for so many bytes, until the next call from the same thread."""
        if size > _ROOM_KEPT_BYTES:
            return memoryview(bytearray(size))
        if size > len(self._room):
            self._room = bytearray(size)
        return memoryview(self._room)[:size]


class _OpenFile:
    """A file held open for reading; closed when nobody holds this any more, so never under a reader's hands."""

    __slots__ = ("descriptor",)

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def is_gone(self) -> bool:
        """Whether it has been deleted or replaced since."""
        return os.fstat(self.descriptor).st_nlink == 0

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self.descriptor)


class FileBlobs:
    """The Blobs port on a local directory.

    A value is written beside its place, flushed and renamed over it, so that a crash leaves the old value or the new
    one and never half of either. Drafts left by a crash are removed by `sweep`.

    Files that `at_once` reads are held open, a few at a time. One that is deleted meanwhile, by whichever process, is
    not read any more; it gives its room on the disk back with the next `at_once`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._guard = threading.Lock()
        self._rooms = Rooms()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, key: str, data: bytes) -> None:
        """See `Blobs.put`."""
        with self.writer(key) as writer:
            writer.write(data)

    @contextmanager
    def writer(self, key: str, *, is_unnamed: bool = False) -> Iterator[_FileWriter]:
        """See `Blobs.writer`."""
        path = self.path(key)
        try:
            _make_directories(path.parent, self._root)
            descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=_DRAFT)
        except OSError as error:
            raise _translate(error) from error
        writer = _FileWriter(Path(draft), descriptor)
        try:
            yield writer
            if is_unnamed:
                writer.send()
                writer.path = writer.path.replace(path)  # before the flush, whose journal entry then holds the name too
                writer.finish()
            else:
                writer.finish()
                writer.path.replace(path)
            _sync(path.parent)
        except BaseException as error:
            writer.abandon()
            if isinstance(error, OSError):
                raise _translate(error) from error
            raise

    def growing(self, key: str) -> _GrowingFile:
        """See `Blobs.growing`."""
        path = self.path(key)
        try:
            return _GrowingFile(path, _opened(path, self._root))
        except OSError as error:
            raise _translate(error) from error

    def get(self, key: str, span: Span | None = None) -> bytes:
        """See `Blobs.get`."""
        try:
            descriptor = os.open(self.path(key), os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"no blob {key}") from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotFound(f"no blob {key}")
            size = status.st_size
            start, end = (0, size) if span is None else (span.start, min(span.end, size))
            return _read(descriptor, start, max(0, end - start))
        finally:
            os.close(descriptor)

    def at_once(self, key: str, span: Span) -> memoryview | None:
        """See `Blobs.at_once`; None where the kernel cannot tell whether the bytes are in memory."""
        if _NOWAIT is None:
            return None
        file = self._held_open(key)
        if file is None or file.is_gone:
            self._let_go()
            return None
        data = self._rooms.of(span.end - span.start)
        try:
            length = os.preadv(file.descriptor, [data], span.start, _NOWAIT)
        except OSError:
            return None
        return data if length == len(data) else None

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.keys`."""
        found: list[str] = []
        start = self._root / prefix if prefix.endswith("/") else self._root / prefix.rpartition("/")[0]
        for folder, _, names in os.walk(start):
            relative = Path(folder).relative_to(self._root).as_posix()
            base = "" if relative == "." else f"{relative}/"
            found += [f"{base}{name}" for name in names if not name.startswith(_DRAFT)]
        yield from sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """See `Blobs.delete`."""
        self.path(key).unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """Where `key` lies.

        Raises:
            InvalidInput: The key would leave the directory.
        """
        parts = key.split("/")
        if not key or key.startswith("/") or any(part in {"", ".", ".."} for part in parts) or "\0" in key:
            raise InvalidInput("a blob key is a relative path without empty, '.' or '..' parts")
        return self._root.joinpath(*parts)

    def _held_open(self, key: str) -> _OpenFile | None:
        with self._guard:
            file = self._open.get(key)
            if file is not None:
                self._open.move_to_end(key)
                return file
        try:
            file = _OpenFile(self.path(key))
        except OSError:
            return None
        self._let_go()
        with self._guard:
            self._open[key] = file
            while len(self._open) > _HELD_OPEN:
                self._open.popitem(last=False)
        return file

    def _let_go(self) -> None:
        """Close what was deleted under our hands."""
        with self._guard:
            for key in [key for key, file in self._open.items() if file.is_gone]:
                del self._open[key]

    def sweep(self) -> int:
        """Remove drafts that a crash left; only the sole owner of the directory may call this."""
        drafts = list(self._root.rglob(f"{_DRAFT}*"))
        for draft in drafts:
            draft.unlink(missing_ok=True)
        return len(drafts)


def _opened(path: Path, root: Path) -> int:
    """A file that is written where it stays: whoever chose its name is the only one to know it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        _make_directories(path.parent, root)
        return os.open(path, flags, 0o600)


def _translate(error: OSError) -> Unavailable:
    """Our error for one of the file system: a full disk, lost rights, a broken drive."""
    return Unavailable(f"the disk refuses to write: {errno.errorcode.get(error.errno or 0, 'unknown')}")


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _make_directories(folder: Path, root: Path) -> None:
    """Make `folder`, flushing every parent that gained an entry."""
    missing: list[Path] = []
    while folder != root and not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True, mode=0o700)
        _sync(made.parent)


def _sync(folder: Path) -> None:
    """Flush a directory, so that a rename in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
