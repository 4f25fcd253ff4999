"""Files on their way into HealthImaging: our own server as HealthImaging, MiniStack as S3, and one tick of each hop."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from radloop.aws.assembly import KIND, LANE, Assembly
from radloop.aws.blobs import S3Blobs
from radloop.aws.images import HealthImagingImages
from radloop.aws.long_objects import LongObjects
from radloop.core.ports import Records
from radloop.core.tables import TABLES
from radloop.healthimaging import HealthImaging
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.jobs import SqliteJobs
from radloop.local.keys import open_keyring
from radloop.local.records import SqliteRecords
from radloop.wiring_aws import pixels_of
from tests.api.healthimaging.conftest import ROLE, connect, serving
from tests.aws.emulators import CREDENTIALS, client, make_bucket, unique

QUIET_S = 60.0


@dataclass
class Clock:
    """A clock that tests turn."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def turn(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@dataclass
class Recorded:
    """A client that notes the names of the calls made through it.

    Attributes:
        replaced: What is sent instead of what was given, where a call has it.
    """

    inner: Any
    calls: list[str] = field(default_factory=list)
    replaced: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            return found(*args, **{key: self.replaced.get(key, value) for key, value in kwargs.items()})

        return call


@dataclass
class Arriving:
    """One data store, and everything a file passes on its way into it."""

    images: HealthImagingImages
    assembly: Assembly
    records: Records
    database: Database
    jobs: SqliteJobs
    bus: SqliteBus
    clock: Clock
    imaging: Recorded
    s3: Any
    buckets: dict[str, str]
    datastore: str

    def look(self) -> None:
        """Do every look that was asked for, as the queue would once it is due; the clock tells what is quiet."""
        self.database.write(lambda connection: connection.execute("UPDATE jobs SET due = 0"))
        while (claim := self.jobs.claim(LANE)) is not None:
            assert claim.job.kind == KIND
            self.assembly.look(str(claim.job.payload["study"]), int(claim.job.payload["batch"]))
            self.jobs.done(claim)

    def started(self) -> int:
        return self.imaging.calls.count("start_dicom_import_job")

    def ended(self) -> list[dict[str, Any]]:
        """Every import job, once all have ended."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            jobs = self.imaging.inner.list_dicom_import_jobs(datastoreId=self.datastore)["jobSummaries"]
            if all(job["jobStatus"] in {"COMPLETED", "FAILED"} for job in jobs):
                return list(jobs)
            time.sleep(0.05)
        raise AssertionError("the import did not end")

    def told(self) -> list[str]:
        return [told.event.detail_type for told in self.bus.events(limit=1000)]

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.buckets[bucket], Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]


@pytest.fixture(scope="session")
def healthimaging_url(tmp_path_factory: pytest.TempPathFactory, ministack: str) -> Iterator[str]:
    """The address of our server as HealthImaging; every test has data stores of its own in it."""
    with healthimaging(tmp_path_factory.mktemp("healthimaging"), ministack) as served:
        yield served


@contextmanager
def healthimaging(home: Path, s3: str) -> Iterator[str]:
    """Our server as HealthImaging, which reads and writes the S3 at `s3`."""
    (home / "settings.toml").write_text(f's3_endpoint = "{s3}"\n')
    with pytest.MonkeyPatch.context() as surroundings:
        for name, value in CREDENTIALS.items():
            surroundings.setenv(name, value)
        with serving(home) as url:
            yield url


@contextmanager
def arriving(root: Path, url: str, s3: str) -> Iterator[Arriving]:
    """An empty data store of its own on a server that runs."""
    clock = Clock()
    imaging = Recorded(connect(url))
    datastore = str(imaging.inner.create_datastore()["datastoreId"])
    buckets = {name: make_bucket(s3, unique(name)) for name in ("training-data", "archive")}
    s3_client = client(s3, "s3")
    keyring = open_keyring(root / "kek")
    database = Database(root / "index.sqlite", keyring.derive("index"), TABLES)
    try:
        records = SqliteRecords(database, clock)
        blobs = S3Blobs(s3_client, buckets)
        assembly = Assembly(
            records,
            clock,
            s3=s3_client,
            imaging=imaging,
            buckets=buckets,
            datastore=datastore,
            role_arn=ROLE,
            quiet_s=QUIET_S,
        )
        reader = HealthImaging(datastore, endpoint=url, access_key="key", secret_key="secret")
        images = HealthImagingImages(
            blobs,
            records,
            keyring,
            clock,
            objects=LongObjects(s3_client, blobs),
            imaging=imaging,
            assembly=assembly,
            datastore=datastore,
            pixels=pixels_of(reader),
        )
        jobs, bus = SqliteJobs(database), SqliteBus(database, [])
        yield Arriving(images, assembly, records, database, jobs, bus, clock, imaging, s3_client, buckets, datastore)
    finally:
        database.close()
