"""A whole installation of real parts on a temporary folder, and clients on its doors."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from argon2 import PasswordHasher

from radloop.api.app import create_app, operation_names
from radloop.api.doors import Doors, Monitoring
from radloop.core.identity import OWNER
from radloop.core.platform import Platform
from radloop.core.ports import ModelVersion, Upload
from radloop.core.settings import Settings
from radloop.core.tables import TABLES
from radloop.dicom.phantom import PhantomStudy, phantom_study
from radloop.functions.image_ingestion import ingest
from radloop.functions.rules import load_rules
from radloop.local.audit import SqliteAudit
from radloop.local.blobs import FileBlobs
from radloop.local.buckets import FileBuckets
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.jobs import SqliteJobs
from radloop.local.pipelines import LocalPipelines
from radloop.local.plans import FilePlans
from radloop.local.records import SqliteRecords
from radloop.local.shared import SharedNotes
from radloop.local.shelf import FileShelf
from radloop.monitoring.alarms import load_alarms
from radloop.monitoring.dashboards import load_dashboards
from radloop.monitoring.metrics import Meter, load_metrics
from radloop.pipeline.pipeline_builder import definition
from radloop.registry.models import RecordModels
from radloop.registry.signatures import PrivateKey
from radloop.security.access import RolePolicy, load_roles
from radloop.security.identities import Identities
from radloop.security.links import PURPOSE, Links
from radloop.security.sealing import Keyring
from radloop.serving.champion import Champion
from radloop.store.images import ImageStore
from tests.serving.small_model import model_package

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would like an httpx that is not out yet
    from starlette.testclient import TestClient

CONTRACTS = Path(__file__).parents[2] / "contracts"
BASE = "http://127.0.0.1:8080"
PHANTOM = phantom_study(7, consolidated=True, slices=4, size=64)
OTHER = phantom_study(8, consolidated=False, slices=3, size=64)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Installation:
    doors: Doors
    database: Database

    @property
    def platform(self) -> Platform:
        return self.doors.platform

    @property
    def images(self) -> ImageStore:
        return self.doors.images

    def client(self, **options: object) -> TestClient:
        return TestClient(create_app(self.doors), base_url=BASE, **options)

    def land(self, study: PhantomStudy = PHANTOM, *, closed: bool = True, folded: bool = False) -> str:
        """The id of the image set that the study became."""
        landings = ingest([Upload(data) for data in study.files], self.platform, by=OWNER)
        identity = landings[0].image_set
        assert identity is not None
        if closed:
            self.images.complete(identity, by=OWNER)
        if folded:
            self.images.fold(identity)
        return identity

    def approve(
        self, *, bias: float, execution: str = "e1", approved: bool = True, package: bytes | None = None
    ) -> ModelVersion:
        """A small model, registered and decided on."""
        key = f"model-artifacts/{execution}/model.tar.gz"
        self.platform.blobs.put(key, model_package(bias=bias) if package is None else package)
        model = self.platform.models.register(
            execution=execution, artifact=key, metrics={"accuracy": {"value": 0.9}}, lineage={"snapshot": "s"}
        )
        return self.platform.models.decide(model.version, approved=approved, by="owner")


@contextmanager
def open_installation(folder: Path) -> Iterator[Installation]:
    database = Database(folder / "index.sqlite", bytes(32), TABLES)
    try:
        settings = Settings()
        blobs, records, keys = FileBlobs(folder / "objects"), SqliteRecords(database, now), Keyring(os.urandom(32))
        shelf = FileShelf(folder / "kept", 1 << 30)
        images, models = ImageStore(blobs, records, keys, now, shelf), RecordModels(records, now)
        policy = RolePolicy(load_roles((CONTRACTS / "roles.json").read_text()))
        platform = Platform(
            blobs=blobs,
            buckets=FileBuckets(blobs),
            records=records,
            keys=keys,
            bus=SqliteBus(database, load_rules([(CONTRACTS / "events" / "rules.json").read_text()], settings)),
            jobs=SqliteJobs(database, max_tries=1),
            images=images,
            policy=policy,
            audit=SqliteAudit(database, records, now),
            models=models,
            pipelines=LocalPipelines(
                records,
                blobs,
                now,
                scratch=folder / "scratch",
                materialise=lambda line, path: None,
                models=models,
                definition=definition(),
            ),
            settings=settings,
            clock=now,
            recipe=dict,
            plans=FilePlans(folder),
            signer=PrivateKey(keys.derive("evidence")),
        )
        static = folder / "static"
        (static / "assets").mkdir(parents=True)
        (static / "index.html").write_text("<!doctype html><title>radloop</title>")
        (static / "assets" / "app-Ab12Cd34.js").write_text("export {};")
        (static / "assets" / "openjph-9f8e7d6c.wasm").write_bytes(b"\0asm\1\0\0\0")
        meter = Meter(load_metrics((CONTRACTS / "metrics.json").read_text()), operation_names())
        identities = Identities(records, keys, now, roles=policy.roles, hasher=PasswordHasher(1, 8, 1))
        doors = Doors(
            platform,
            images,
            Champion(models, blobs),
            SharedNotes(folder / "notes.sqlite"),
            meter,
            static,
            identities=identities,
            is_open=True,
            links=Links(keys.derive(PURPOSE)),
            monitoring=Monitoring(
                load_alarms((CONTRACTS / "alarms.json").read_text()),
                load_dashboards((CONTRACTS / "dashboards.json").read_text()),
            ),
        )
        yield Installation(doors, database)
    finally:
        database.close()
