"""One encrypted SQLite file: its schema, its readers, and its one writer with group commit."""

import fcntl
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from radloop.core.errors import Conflict, Corrupt, RadloopError, Unavailable
from radloop.core.ports import Table

_BUSY_MS = 30_000
_BATCH = 256
_READER_KB = 512  # of pages a thread; the file's own pages are in the kernel's memory anyway
_CHECKPOINT_PAGES = 2048  # 8 MB; a checkpoint holds up the commit that meets it

LAYOUT = 2
"""Number of the tables' layout; it rises when a home of before can no longer be read."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, time TEXT NOT NULL, source TEXT NOT NULL,
    detail_type TEXT NOT NULL, detail TEXT NOT NULL, trace TEXT NOT NULL, routed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS events_unrouted ON events(seq) WHERE routed = 0;
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, lane TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL, trace TEXT NOT NULL,
    state TEXT NOT NULL, due REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS jobs_due ON jobs(lane, state, due);
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, principal TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, outcome TEXT NOT NULL, count INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_subject ON audit(subject, seq);
CREATE INDEX IF NOT EXISTS audit_principal ON audit(principal, seq);
"""

_LONG_S = 1.0

Work = Callable[[apsw.Connection], Any]


class Database:
    """The state of a home in one file, encrypted, WAL, flushed at every commit.

    Reading goes through a connection a thread. Writing goes through one more: whoever comes to its turn takes all
    work waiting at the moment into one transaction and flushes once for all of it; each piece has a savepoint of its
    own, so that one that fails undoes only itself.

    Processes that write to the same file queue at a lock beside it, which wakes the next one at once; at SQLite's own
    lock they would look again every few milliseconds.
    """

    def __init__(self, path: Path, key: bytes, tables: tuple[Table, ...]) -> None:
        self._path = path
        self._key = key.hex()
        self._local = threading.local()
        self._waiting: deque[_Piece] = deque()
        self._turn = threading.RLock()
        self._depth = 0
        self._is_closed = False
        self._told_busy: Callable[[], None] | None = None
        self._connections: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()  # a thread that ends lets go of its own
        self._guard = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._queue = os.open(path.with_name(f"{path.name}-queue"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._writer = writer = self._connect()
        _require_layout(writer)
        writer.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
        with self.alone(), writer:  # of two that open an old home at once, one adds what it lacks
            writer.execute(_SCHEMA)
            for table in tables:
                _prepare(writer, table)
        self._watch = self._connect()  # its numbers cannot be compared with those of another connection
        self._watching = threading.Lock()

    def read(self) -> apsw.Connection:
        """This thread's connection, for reading only."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            connection.execute(f"PRAGMA cache_size = -{_READER_KB}")
        return connection

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file; every page is read and its seal checked. Empty where all is well."""
        try:
            lines = [str(line) for (line,) in self.read().execute("PRAGMA integrity_check")]
        except apsw.Error as error:
            return [f"a page does not open ({type(error).__name__})"]
        return [line for line in lines if line != "ok"]

    def stamp(self) -> int:
        """A number that is another one whenever any connection of any process has committed since it was last asked."""
        with self._watching:
            return int(self._watch.execute("PRAGMA data_version").fetchone()[0])  # type: ignore[index]

    def tell_when_busy(self, told: Callable[[], None]) -> None:
        """Call `told` whenever others kept a commit waiting for longer than a second, or for so long that it failed."""
        self._told_busy = told

    def write(self, work: Work) -> Any:
        """Run `work` inside a write transaction; returns its value once the commit is on the disk.

        Raises:
            RadloopError: What `work` raised; its changes are undone.
            Unavailable: The database could not be written, or it is closed.
        """
        piece = _Piece(work)
        self._waiting.append(piece)
        with self._turn:
            while not piece.is_done:
                if self._is_closed:
                    raise Unavailable("the database is closed")
                with self.alone():
                    self._commit([self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))])
        return piece.told()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else write, in this process or another, while the block runs."""
        with self._turn:
            if not self._depth:
                begun = time.monotonic()
                fcntl.flock(self._queue, fcntl.LOCK_EX)
                if time.monotonic() - begun > _LONG_S:
                    self._busy()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    fcntl.flock(self._queue, fcntl.LOCK_UN)

    def close(self) -> None:
        """Finish what is queued and close every connection."""
        with self._turn:
            if self._is_closed:
                return
            self._is_closed = True
            if self._waiting:
                with self.alone():
                    self._commit(list(self._waiting))
            with self._guard:
                for connection in list(self._connections):
                    connection.close()
                self._connections.clear()
            os.close(self._queue)

    def _busy(self) -> None:
        if self._told_busy is not None:
            self._told_busy()

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        with self._guard:
            self._connections.add(connection)
        connection.set_busy_timeout(_BUSY_MS)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else a statement is planned anew for each new value
        try:
            connection.pragma("cipher", "aegis")
            connection.pragma("key", f"raw:{self._key}")  # a whole key: no passphrase to stretch at every opening
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
        except apsw.NotADBError:
            raise Corrupt(f"{self._path.name} does not open: damaged, or encrypted under another key") from None
        return connection

    def _commit(self, batch: list["_Piece"]) -> None:
        """One transaction for the whole batch; nobody is told anything before the flush."""
        connection = self._writer
        try:
            connection.execute("BEGIN IMMEDIATE")
            for piece in batch:
                piece.attempt(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, apsw.BusyError):
                self._busy()
            for piece in batch:
                piece.error = Unavailable(f"the database could not be written: {type(error).__name__}")
            if not isinstance(error, Exception):
                raise  # whoever interrupts us is told, and so is everybody who waited
        finally:
            for piece in batch:
                piece.is_done = True


class _Piece:
    """Work of one caller in a transaction that may hold the work of others too."""

    __slots__ = ("error", "is_done", "value", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.value: Any = None
        self.error: Exception | None = None
        self.is_done = False

    def attempt(self, connection: apsw.Connection) -> None:
        """Do the work; where it fails for a reason of its own, undo it alone."""
        connection.execute("SAVEPOINT piece")
        try:
            self.value = self.work(connection)
        except apsw.ConstraintError:
            self.error = Conflict("a record of that name is there already")
        except RadloopError as error:
            self.error = error
        else:
            connection.execute("RELEASE piece")
            return
        connection.execute("ROLLBACK TO piece")
        connection.execute("RELEASE piece")

    def told(self) -> Any:
        """What the work gave, once it is done."""
        if self.error is not None:
            raise self.error
        return self.value


def _require_layout(connection: apsw.Connection) -> None:
    """Go on only with a database of this layout, or a fresh one, which is given it."""
    found = int(connection.pragma("user_version"))
    is_fresh = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    if is_fresh:
        connection.pragma("user_version", LAYOUT)
    elif found != LAYOUT:
        raise Conflict(
            f"the home's index has layout {found}, this radloop reads {LAYOUT}: export its image sets with the version"
            " that wrote it, and ingest them into a new home"
        )


def _prepare(connection: apsw.Connection, table: Table) -> None:
    """Have a table be there with all its columns and indexes; one of before gains those that it lacks, empty."""
    columns = "".join(f", {column}" for column in table.columns)
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table.name} (place INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,"
        f" revision INTEGER NOT NULL, document TEXT NOT NULL{columns})"
    )
    there = {str(name) for _, name, *_ in connection.execute(f"PRAGMA table_info({table.name})")}
    for column in table.columns:
        if column not in there:
            connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {column}")
    for column in table.indexed:
        connection.execute(f"CREATE INDEX IF NOT EXISTS {table.name}_{column} ON {table.name}({column}, place)")
