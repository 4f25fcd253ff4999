"""The state of a home survives kill -9 and reads as noise without its key."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import pytest

from radloop.core.errors import Conflict, Corrupt
from radloop.core.ports import Change, Put
from radloop.core.tables import QUARANTINE, TABLES
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from tests.local.conftest import now

WRITER = """
import sys, threading
from datetime import UTC, datetime
from pathlib import Path
from radloop.core.events import ImageQuarantined
from radloop.core.ports import Change, Put
from radloop.core.tables import QUARANTINE, TABLES
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
now = lambda: datetime.now(UTC)
records = SqliteRecords(Database(Path(sys.argv[1]), bytes(32), TABLES), now)
lock = threading.Lock()
def work(name):
    for n in range(100000):
        key = f"{sys.argv[2]}-{name}-{n}"
        event = ImageQuarantined(quarantine_id=key, reason="r").told(at=now())
        records.commit(Change(writes=[Put(QUARANTINE, key, {}, {})], events=[event]))
        with lock:
            print(key, flush=True)
for name in range(4):
    threading.Thread(target=work, args=(name,)).start()
"""


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    path = tmp_path / "index.sqlite"
    acknowledged: list[str] = []
    for run in range(8):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(run)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        acknowledged.append(child.stdout.readline().strip())
        time.sleep(dice.uniform(0.0, 0.25))
        os.kill(child.pid, signal.SIGKILL)
        lines = child.stdout.read().split("\n")
        acknowledged += [line for line in lines[:-1] if line]  # the last line may be cut
        child.stdout.close()
        child.wait()
    database = Database(path, bytes(32), TABLES)
    records = SqliteRecords(database, now)
    kept = {row.key for row in records.find(QUARANTINE)}
    told = {told.event.detail["quarantine_id"] for told in SqliteBus(database, []).events(limit=1_000_000)}
    database.close()
    assert len(acknowledged) > 8
    assert set(acknowledged) <= kept
    assert kept == told


def test_the_file_reads_as_noise_and_opens_only_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    database = Database(path, bytes(32), TABLES)
    SqliteRecords(database, now).commit(Change(writes=[Put(QUARANTINE, "k", {"name": "NOBODY^KNOWS"})]))
    at_rest = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    database.close()
    at_rest += path.read_bytes()
    assert b"NOBODY" not in at_rest
    assert b"SQLite format" not in at_rest
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    with pytest.raises(Corrupt):
        Database(path, b"1" * 32, TABLES)


def test_a_failing_piece_undoes_only_itself(records: SqliteRecords, database: Database) -> None:
    def fail(_: object) -> None:
        raise Corrupt("on purpose")

    with pytest.raises(Corrupt, match="on purpose"):
        database.write(fail)
    records.commit(Change(writes=[Put(QUARANTINE, "after", {})]))
    assert records.count(QUARANTINE) == 1


def test_an_index_of_another_layout_is_refused_with_what_to_do(tmp_path: Path) -> None:
    first = Database(tmp_path / "index.sqlite", bytes(32), TABLES)
    first.write(lambda connection: connection.execute("CREATE TABLE something (a)"))
    first.close()
    path = str(tmp_path / "index.sqlite")
    connection = apsw.Connection(path)
    connection.pragma("cipher", "aegis")
    connection.pragma("key", "raw:" + "00" * 32)
    connection.pragma("user_version", 1)
    connection.close()
    with pytest.raises(Conflict, match="export its image sets"):
        Database(tmp_path / "index.sqlite", bytes(32), TABLES)


def test_a_statement_is_not_planned_anew_for_each_new_value(database: Database) -> None:
    for connection in (database.read(), database.read()):
        assert connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1) == 1


def test_a_commit_that_waited_long_for_others_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radloop.local.database._LONG_S", 0.1)
    told: list[bool] = []
    path = Path(str(database._path))
    other = Database(path, bytes.fromhex(database._key), TABLES)
    other.tell_when_busy(lambda: told.append(True))
    other.write(lambda connection: connection.execute("SELECT 1").fetchall())
    assert told == []
    held, is_held = threading.Event(), threading.Event()

    def hold() -> None:
        with database.alone():
            is_held.set()
            held.wait(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    other.write(lambda connection: connection.execute("SELECT 1").fetchall())
    holder.join()
    assert told == [True]
    other.close()
