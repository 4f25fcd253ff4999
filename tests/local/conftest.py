from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from radloop.core.settings import Settings
from radloop.core.tables import TABLES
from radloop.functions.rules import load_rules
from radloop.local.blobs import FileBlobs
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.jobs import SqliteJobs
from radloop.local.records import SqliteRecords

RULES = """
{"rules": [
  {"name": "Put", "description": "d", "pattern": {"detail-type": ["ImageQuarantined"]}, "target": "aside"},
  {"name": "Late", "description": "d", "pattern": {"detail": {"reason": ["late"]}}, "target": "later",
   "delay": "retrain_delay_s"}
]}
"""


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "index.sqlite", bytes(32), TABLES)
    yield opened
    opened.close()


@pytest.fixture
def records(database: Database) -> SqliteRecords:
    return SqliteRecords(database, now)


@pytest.fixture
def jobs(database: Database) -> SqliteJobs:
    return SqliteJobs(database, max_tries=2, backoff_s=0.01)


@pytest.fixture
def bus(database: Database) -> SqliteBus:
    return SqliteBus(database, load_rules([RULES], Settings()))


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "objects")
