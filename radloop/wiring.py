"""Where ports meet a substrate."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from radloop.api.app import operation_names
from radloop.api.doors import Doors, Monitoring
from radloop.core.contracts import contracts
from radloop.core.errors import InvalidInput
from radloop.core.platform import Platform
from radloop.core.ports import Buckets, Cipher
from radloop.core.settings import Settings
from radloop.core.tables import TABLES
from radloop.evaluation.policy import FILE as POLICY_FILE
from radloop.functions.rules import load_rules
from radloop.local import mirror
from radloop.local.audit import SqliteAudit
from radloop.local.blobs import FileBlobs
from radloop.local.buckets import FileBuckets
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.home import Home
from radloop.local.jobs import SqliteJobs
from radloop.local.keys import open_keyring
from radloop.local.pipelines import LocalPipelines
from radloop.local.plans import FilePlans
from radloop.local.records import SqliteRecords
from radloop.local.shared import SharedNotes
from radloop.local.shelf import FileShelf
from radloop.local.worker import Worker
from radloop.monitoring.alarms import load_alarms
from radloop.monitoring.dashboards import Dashboard, load_dashboards
from radloop.monitoring.logs import log_to_files
from radloop.monitoring.metrics import Meter, load_metrics
from radloop.monitoring.watch import Watch
from radloop.monitoring.work import WorkMeter, counted
from radloop.pipeline.pipeline_builder import definition_of
from radloop.registry.models import RecordModels
from radloop.registry.signatures import PrivateKey
from radloop.security.access import RolePolicy, load_roles
from radloop.security.identities import Identities
from radloop.security.links import PURPOSE, Links
from radloop.security.sealing import GcmCipher, Keyring
from radloop.serving.champion import Champion
from radloop.store.images import ImageStore
from radloop.training.recipes import recipe_for


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything of one home, wired."""

    home: Home
    database: Database
    platform: Platform
    images: ImageStore
    pipelines: LocalPipelines
    champion: Champion
    audit: SqliteAudit
    identities: Identities
    links: Links
    work: WorkMeter
    log_cipher: Cipher

    def keep_logs(self) -> None:
        """From now on keep the log lines of this process in the home, besides where they go already."""
        log_to_files(self.home.logs, self.log_cipher)

    def worker(self) -> Worker:
        """The worker of this home; the caller holds its lock."""
        return Worker(
            self.platform,
            self.images,
            self.pipelines,
            self.home.inbox,
            mirror=self.home.mlflow,
            work=self.work,
            watch=self.watch(),
            logs=self.home.logs,
        )

    def watch(self) -> Watch:
        """What looks after the metrics; the caller holds the home's lock."""
        alarms = load_alarms((contracts() / "alarms.json").read_text())
        return Watch(self.platform, alarms, dashboards(), lambda: counted((self.work.registry,)))

    def doors(
        self,
        static: Path | None = None,
        *,
        hosts: frozenset[str] = frozenset(),
        is_open: bool = False,
        has_worker: bool = False,
    ) -> Doors:
        """What the HTTP doors need.

        Args:
            static: The folder of the viewer's built files.
            hosts: Names the server answers to besides those of the loopback.
            is_open: Whether every caller is the owner; only for a loopback address, or within this process.
            has_worker: Whether a worker runs beside it, which then predicts.
        """
        notes = SharedNotes(self.home.shared / "notes.sqlite")
        self.identities.count_failures_in(notes)
        return Doors(
            platform=self.platform,
            images=self.images,
            champion=self.champion,
            notes=notes,
            meter=Meter(self.work.catalogue, operation_names(), self.work),
            monitoring=Monitoring(load_alarms((contracts() / "alarms.json").read_text()), dashboards()),
            static=static,
            hosts=hosts,
            identities=self.identities,
            is_open=is_open,
            links=self.links,
            has_worker=has_worker,
        )


def log_cipher_of(keyring: Keyring) -> Cipher:
    """What seals the log lines of a home: a key of their own."""
    return GcmCipher(keyring.derive("logs"))


def dashboards() -> tuple[Dashboard, ...]:
    """The three dashboards."""
    return load_dashboards((contracts() / "dashboards.json").read_text())


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def _text_of(path: Path) -> str:
    """What stands in a file of the home; nothing where it is not there.

    Raises:
        InvalidInput: It is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise InvalidInput(f"{path.name} is not UTF-8") from None


def _beyond(settings: Settings) -> Callable[[], Buckets] | None:
    """What gives the buckets of S3, at the first call; None where the extra `aws` is not installed."""
    if find_spec("boto3") is None:
        return None

    @cache
    def opened() -> Buckets:
        from radloop.aws.buckets import S3Buckets  # noqa: PLC0415 — boto3 is an extra, and takes its time to load

        return S3Buckets(settings.s3_endpoint)

    return opened


@contextmanager
def open_local(root: Path) -> Iterator[Installation]:
    """The embedded platform in the folder `root`."""
    home = Home(root)
    settings = home.settings()
    keyring = open_keyring(home.kek)
    database = Database(home.index, keyring.derive("index"), TABLES)
    with ExitStack() as held:
        held.callback(database.close)
        blobs = FileBlobs(home.objects)
        home.inbox.mkdir(parents=True, exist_ok=True)
        records = SqliteRecords(database, now)
        recipe = {**recipe_for(os.cpu_count() or 1, gpu=False), **settings.training}
        images = ImageStore(blobs, records, keyring, now, FileShelf(home.kept, int(settings.kept_gigabytes * 1e9)))
        models = RecordModels(records, now, is_mirrored=settings.mlflow and mirror.is_installed())
        policy = RolePolicy(load_roles((contracts() / "roles.json").read_text()))
        identities = Identities(
            records,
            keyring,
            now,
            roles=policy.roles,
            session_hours=settings.session_hours,
            idle_minutes=settings.idle_sign_out_minutes,
        )
        held.callback(identities.close)
        audit = SqliteAudit(database, records, now)
        work = WorkMeter(load_metrics((contracts() / "metrics.json").read_text()))
        database.tell_when_busy(work.database_busy)
        audit.tell_waiting(work.audit_waits)
        held.callback(audit.close)

        def materialise(line: Mapping[str, Any], folder: Path) -> None:
            path = folder / str(line["file"])
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, images.volume(str(line["image_set"])))

        pipelines = LocalPipelines(
            records=records,
            blobs=blobs,
            clock=now,
            scratch=home.scratch,
            materialise=materialise,
            models=models,
            definition=definition_of(recipe),
        )
        platform = Platform(
            blobs=blobs,
            buckets=FileBuckets(blobs, _beyond(settings)),
            records=records,
            keys=keyring,
            bus=SqliteBus(database, load_rules([(contracts() / "events" / "rules.json").read_text()], settings)),
            jobs=SqliteJobs(database, max_tries=settings.max_tries, backoff_s=settings.backoff_s),
            images=images,
            policy=policy,
            audit=audit,
            models=models,
            pipelines=pipelines,
            settings=settings,
            clock=now,
            recipe=lambda: dict(recipe),
            plans=FilePlans(home.root),
            signer=PrivateKey(keyring.derive("evidence")),
            gate_policy=lambda: _text_of(home.root / POLICY_FILE),
        )
        champion, links = Champion(models, blobs), Links(keyring.derive(PURPOSE))
        yield Installation(
            home,
            database,
            platform,
            images,
            pipelines,
            champion,
            audit,
            identities,
            links,
            work,
            log_cipher_of(keyring),
        )
