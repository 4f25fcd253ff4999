"""A platform of real parts on a temporary folder; only landing, keys and the pipeline engine are stand-ins."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from radloop.core.datasets import Split, split_of
from radloop.core.errors import NotFound
from radloop.core.events import Event
from radloop.core.identity import Principal, derived_id
from radloop.core.images import Confidence, Finding, ImageSet, Seen
from radloop.core.platform import Platform
from radloop.core.ports import Change, Execution, Landing, Records, Upload
from radloop.core.settings import Settings
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, TABLES, image_set_of, put_image_set
from radloop.functions.rules import load_rules
from radloop.local.audit import SqliteAudit
from radloop.local.blobs import FileBlobs
from radloop.local.buckets import FileBuckets
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.jobs import SqliteJobs
from radloop.local.records import SqliteRecords
from radloop.registry.models import RecordModels
from radloop.security.access import RolePolicy

CONTRACTS = Path(__file__).parents[2] / "contracts"


@dataclass
class HandClock:
    """A clock that goes only when it is told to."""

    now: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Inbox:
    """Lands nothing and remembers everything; files that are no DICOM are quarantined."""

    landed: list[tuple[bytes, str]] = field(default_factory=list)

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        self.landed += [(upload.data, by.id) for upload in uploads]
        return [
            Landing(outcome="ingested" if b"DICM" in upload.data else "quarantined", reason=None) for upload in uploads
        ]


class HashKeys:
    """Only the pseudonym, which is all a function asks for."""

    def create(self) -> bytes:
        raise NotImplementedError

    def cipher(self, wrapped: bytes) -> Any:
        raise NotImplementedError

    def pseudonym(self, patient_id: str) -> str:
        return hashlib.sha256(b"test key" + patient_id.encode()).hexdigest()[:32]


@dataclass
class Engine:
    """Starts executions and leaves them for the test to end."""

    records: Records
    clock: HandClock
    runs: dict[str, Execution] = field(default_factory=dict)

    def start(self, execution: str, parameters: Mapping[str, Any], *, events: Sequence[Event] = ()) -> bool:
        if execution in self.runs:
            return False
        self.records.commit(Change(events=list(events)))
        self.runs[execution] = Execution(
            id=execution, state="Executing", parameters=parameters, steps=(), started_at=self.clock().isoformat()
        )
        return True

    def end(self, execution: str, **changes: Any) -> None:
        ended = {"state": "Succeeded", "ended_at": self.clock().isoformat()} | changes
        self.runs[execution] = replace(self.runs[execution], **ended)

    def get(self, execution: str) -> Execution:
        if execution not in self.runs:
            raise NotFound(f"no execution {execution}")
        return self.runs[execution]

    def executions(self, *, limit: int = 50) -> list[Execution]:
        return list(reversed(self.runs.values()))[:limit]


@dataclass
class House:
    """The platform and the handles a test needs on it."""

    platform: Platform
    clock: HandClock
    engine: Engine
    inbox: Inbox
    database: Database

    @classmethod
    def build(cls, folder: Path, settings: Settings) -> "House":
        clock = HandClock()
        database = Database(folder / "index.sqlite", bytes(32), TABLES)
        records = SqliteRecords(database, clock)
        engine, inbox = Engine(records, clock), Inbox()
        rules = load_rules([(CONTRACTS / "events" / "rules.json").read_text()], settings)
        platform = Platform(
            blobs=(blobs := FileBlobs(folder / "objects")),
            buckets=FileBuckets(blobs),
            records=records,
            keys=HashKeys(),
            bus=SqliteBus(database, rules),
            jobs=SqliteJobs(database),
            images=inbox,
            policy=RolePolicy({"admin": frozenset()}),
            audit=SqliteAudit(database, records, clock),
            models=RecordModels(records, clock),
            pipelines=engine,
            settings=settings,
            clock=clock,
            recipe=lambda: {"epochs": "3", "seed": "7"},
        )
        return cls(platform, clock, engine, inbox, database)

    def told(self, detail_type: str) -> list[Mapping[str, Any]]:
        """Details of the events of one type, in order."""
        events = [told.event for told in self.platform.bus.events(limit=10_000)]
        return [event.detail for event in events if event.detail_type == detail_type]

    def store(self, patient: str, number: int = 0, **changes: Any) -> ImageSet:
        """A closed image set of `patient`."""
        identity = derived_id("test", patient, str(number))
        values: dict[str, Any] = {
            "id": identity,
            "version": 1,
            "state": "INGESTED",
            "is_closed": True,
            "patient_id": patient,
            "study_uid": f"1.2.{number}",
            "series_uid": f"1.2.{number}.1",
            "attributes": {"Modality": "CT", "PatientName": "Doe^Jane"},
            "instances": 1,
            "frames": 1,
            "landed": 0,
            "kept": 0,
            "original_bytes": 1000,
            "stored_bytes": 450,
            "notices": [],
            "geometry": {},
            "truth": None,
            "prediction": None,
            "wrapped_key": "00",
            "datastore": DEFAULT_DATASTORE,
            "is_primary": True,
            "created_at": self.clock().isoformat(),
            "updated_at": self.clock().isoformat(),
        }
        row = type("Row", (), {"document": values | changes})
        image_set = image_set_of(row)  # type: ignore[arg-type]
        self.platform.records.commit(Change(writes=[put_image_set(image_set, expected=0)]))
        return image_set

    def verify(self, patient: str, *, present: bool, number: int = 0) -> Event:
        """Store an image set and verify it at once; the event that tells it."""
        stored = self.store(patient, number)
        finding = Finding(
            present=present, site=None, confidence=Confidence.HIGH, note="seen well", seen=Seen(0, "lossless")
        )
        now = self.clock()
        after, happening = stored.verify(finding, version=1, by="reader-1", at=now)
        event = happening.told(at=now)
        self.platform.records.commit(Change(writes=[put_image_set(after, expected=1)], events=[event]))
        return event

    def verify_enough(self, *, per_class: int = 3) -> Event:
        """Verified patients of both classes in every split; the last event."""
        event = None
        for split in Split:
            for present in (False, True):
                for patient in patients_in(split, per_class, f"{'P' if present else 'N'}"):
                    event = self.verify(patient, present=present)
        assert event is not None
        return event

    def image_set(self, identity: str) -> ImageSet:
        row = self.platform.records.get(IMAGE_SETS, identity)
        assert row is not None
        return image_set_of(row)


def patients_in(split: Split, count: int, prefix: str) -> list[str]:
    """The first `count` patients of a made-up series that fall into `split`."""
    found = (patient for number in range(10_000) if split_of(patient := f"{prefix}-{number}") is split)
    return [next(found) for _ in range(count)]
