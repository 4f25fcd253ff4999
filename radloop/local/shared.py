"""What the door processes of one server must know of each other from one request to the next, and a restart may forget.

It lies in an SQLite file of its own that nobody waits for: nothing in it is a patient's, and nothing in it is worth a
flush to the disk. The file is made anew at every start.
"""

import threading
import time
from datetime import datetime
from pathlib import Path

import apsw

from radloop.core.identity import derived_id
from radloop.security.attempts import delay_s
from radloop.security.sigv4 import REPEAT_S

_BUSY_MS = 5_000
_FORGET_EVERY = 1_000
_FAILURE_S = 3_600.0
"""Seconds after which a failed sign-in is forgotten, counted from when the next try was allowed."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS signatures (key BLOB PRIMARY KEY, at REAL NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (name TEXT PRIMARY KEY, count INTEGER NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""


class SharedNotes:
    """Signatures that were accepted, calls that are left, and who failed to sign in: one for all that open `path`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._guard = threading.Lock()
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(_BUSY_MS)
        self._connection.pragma("journal_mode", "wal")
        self._connection.pragma("synchronous", "off")
        self._connection.execute(_SCHEMA)
        self._admitted = 0

    def admit(self, signature: str, now: datetime, until: datetime) -> bool:
        """See `security.sigv4.Replays.admit`."""
        key, moment = bytes.fromhex(signature)[:16], now.timestamp()
        with self._guard, self._connection:
            self._admitted += 1
            if self._admitted % _FORGET_EVERY == 0:
                self._connection.execute("DELETE FROM signatures WHERE until < ?", (moment,))
            self._connection.execute(
                "INSERT INTO signatures VALUES (?, ?, ?) ON CONFLICT(key) DO NOTHING", (key, moment, until.timestamp())
            )
            if self._connection.changes():
                return True
            found = self._connection.execute("SELECT at FROM signatures WHERE key = ?", (key,)).fetchone()
        return found is not None and moment - float(found[0]) <= REPEAT_S

    def take(self, name: str, rate: float) -> bool:
        """Take one call out of a bucket that fills at `rate` a second and holds one second's worth, at least one."""
        most, now = max(1.0, rate), time.time()
        with self._guard:
            self._connection.execute("BEGIN IMMEDIATE")
            found = self._connection.execute("SELECT tokens, at FROM buckets WHERE name = ?", (name,)).fetchone()
            tokens, at = (most, now) if found is None else (float(found[0]), float(found[1]))
            tokens = min(most, tokens + max(0.0, now - at) * rate)
            allowed = tokens >= 1
            self._connection.execute(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (name, tokens - 1 if allowed else tokens, now)
            )
            self._connection.execute("COMMIT")
        return allowed

    def begin(self, name: str, now: float) -> float:
        """See `security.attempts.Failures.begin`; of what was typed for a name, only the digest is written down."""
        key = derived_id("sign-in", name)
        with self._guard:
            self._connection.execute("BEGIN IMMEDIATE")
            found = self._connection.execute("SELECT count, until FROM failures WHERE name = ?", (key,)).fetchone()
            count, until = (0, 0.0) if found is None else (int(found[0]), float(found[1]))
            if until <= now:
                self._connection.execute("DELETE FROM failures WHERE until < ?", (now - _FAILURE_S,))
                self._connection.execute(
                    "INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (key, count + 1, now + delay_s(count + 1))
                )
            self._connection.execute("COMMIT")
        return max(0.0, until - now)

    def forgive(self, name: str) -> None:
        """See `security.attempts.Failures.forgive`."""
        with self._guard:
            self._connection.execute("DELETE FROM failures WHERE name = ?", (derived_id("sign-in", name),))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
