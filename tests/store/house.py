"""A store on a temporary directory, and phantoms to put into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from radloop.core.identity import OWNER
from radloop.core.ports import Landing, Upload
from radloop.core.tables import TABLES
from radloop.dicom.parse import parse
from radloop.dicom.phantom import phantom_study
from radloop.local.blobs import FileBlobs
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.jobs import SqliteJobs
from radloop.local.keys import open_keyring
from radloop.local.records import SqliteRecords
from radloop.security.sealing import Keyring
from radloop.store.images import ImageStore


@dataclass
class House:
    root: Path
    blobs: FileBlobs
    records: SqliteRecords
    jobs: SqliteJobs
    bus: SqliteBus
    images: ImageStore
    keys: Keyring
    is_damaged: bool = False

    def land(self, *files: bytes) -> list[Landing]:
        return self.images.land([Upload(file) for file in files], by=OWNER)

    def land_one_set(self, *files: bytes) -> str:
        (name,) = {landing.image_set for landing in self.land(*files)}
        assert name is not None
        return name

    def told(self) -> list[str]:
        return [told.event.detail_type for told in self.bus.events()]

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file()]


@contextmanager
def open_house(root: Path) -> Iterator[House]:
    keyring = open_keyring(root / "keys" / "kek")
    database = Database(root / "index.sqlite", keyring.derive("index"), TABLES)
    try:
        blobs, records = FileBlobs(root / "objects"), SqliteRecords(database, now)
        images = ImageStore(blobs, records, keyring, now)
        yield House(root, blobs, records, SqliteJobs(database), SqliteBus(database, []), images, keyring)
    finally:
        database.close()


def now() -> datetime:
    return datetime.now(UTC)


@cache
def phantom(number: int = 1, slices: int = 4, size: int = 64) -> tuple[bytes, ...]:
    return phantom_study(number, consolidated=bool(number % 2), slices=slices, size=size).files


def slices(number: int, patient: int = 11) -> tuple[bytes, ...]:
    """Small slices of one series; beyond a few of a phantom, copies of the first under UIDs of their own."""
    first = phantom(patient, slices=20, size=32)
    template, uid = first[0], parse(first[0]).sop_uid.encode()
    more = range(10_000, 10_000 + number - len(first))
    return (*first, *(template.replace(uid, uid[:-5] + f"{each:05d}".encode()) for each in more))


def of_patient(number: int) -> tuple[bytes, ...]:
    """The first phantom as if of another patient: other image sets at hardly any cost."""
    return tuple(file.replace(b"PHANTOM-00001", f"PHANTOM-{number:05d}".encode()) for file in phantom())
