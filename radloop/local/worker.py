"""The worker of a home: closes quiet image sets, empties the inbox, routes events, and does the jobs."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from radloop.core.errors import RadloopError, Unavailable
from radloop.core.events import AlarmStateChanged, DicomUploaded, Event, event_of
from radloop.core.identity import SYSTEM, new_id
from radloop.core.platform import Platform
from radloop.core.ports import Change, Claim
from radloop.core.predictions import SHADOW
from radloop.core.tables import TOMBSTONES
from radloop.functions import dicom_import, draft_landing, notification, prediction
from radloop.functions.catalogue import FUNCTIONS
from radloop.functions.consulting import Work, work_of
from radloop.functions.image_ingestion import UPLOADED
from radloop.functions.incidents import IncidentWatch
from radloop.local import mirror
from radloop.local.pipelines import LocalPipelines
from radloop.local.processes import trim_memory
from radloop.monitoring.logs import purge, tell
from radloop.monitoring.watch import EVERY_S as WATCHED_EVERY_S
from radloop.monitoring.watch import Watch
from radloop.monitoring.work import WorkMeter
from radloop.registry.models import MIRROR
from radloop.serving.champion import Champion
from radloop.store import imports
from radloop.store.drafts import KIND
from radloop.store.images import ImageStore
from radloop.store.leftovers import Leftovers
from radloop.store.metadata import Metadata
from radloop.store.quarantine import Quarantine

MIRROR_LANE = "mirror"
"""Worked on by a server only, as messages are: no command waits for MLflow or a mail server."""
LANES = ("events", "land", "import", "fold", "ask", "predict", "pipeline")

_WORTH_THREADS = 8
"""Landed instances from which on threads that fold save more than it costs to start them."""
_IDLE_S = 0.05
_TICK_S = 0.5
_SETTLED_S = 1.0
_EXPIRY_EVERY_S = 60.0
_SWEPT_EVERY_S = 3600.0
_LOG = logging.getLogger("radloop.worker")


class Worker:
    """Does what the platform has been asked to do.

    Only one worker may serve a home at a time; the caller holds the home's lock. Each lane has a thread of its own,
    so that a training that takes hours holds up neither folding nor events.

    Args:
        platform: The ports.
        images: The store.
        pipelines: What runs executions.
        inbox: The folder whose files are ingested.
        mirror: The folder of what MLflow shows; None where nothing is mirrored.
        work: Counts what functions and other jobs come to; None where nobody does.
        watch: Looks after the metrics while the worker runs; None where nobody does.
        logs: The folder of log files, from which old ones are removed; None where there are none.
    """

    def __init__(
        self,
        platform: Platform,
        images: ImageStore,
        pipelines: LocalPipelines,
        inbox: Path,
        *,
        mirror: Path | None = None,
        work: WorkMeter | None = None,
        watch: Watch | None = None,
        logs: Path | None = None,
    ) -> None:
        self._platform = platform
        self._images = images
        self._pipelines = pipelines
        self._inbox = inbox
        self._mirror = mirror
        self._work = work
        self._watch = watch
        self._logs = logs
        self._quarantine = Quarantine(platform)
        self._leftovers = Leftovers(platform.blobs, platform.records)
        self._metadata = Metadata(platform.blobs, platform.records, platform.keys, images)
        self._consultant = prediction.Consultant(
            platform,
            images,
            Champion(platform.models, platform.blobs, rested=trim_memory),
            Champion(platform.models, platform.blobs, alias=SHADOW, rested=trim_memory),
        )
        self._stop = threading.Event()
        self._expiry_due = 0.0
        self._sweep_due = time.monotonic() + _SWEPT_EVERY_S
        self._kinds: Mapping[str, Callable[[Claim], None]] = {
            "fold": self._fold,
            KIND: lambda claim: draft_landing.land_draft(str(claim.job.payload["draft"]), self._platform),
            imports.KIND: lambda claim: dicom_import.run(
                str(claim.job.payload["import"]), self._platform, self._images
            ),
            **{kind: partial(_paid, does) for kind, does in work_of(self._consultant).items()},
            "run_execution": lambda claim: self._pipelines.run(str(claim.job.payload["execution"])),
            notification.KIND: lambda claim: notification.deliver(claim.job.payload, self._platform),
            MIRROR: lambda _: self._tell_mirror(),
        }

    def start_over(self) -> None:
        """Take up what a predecessor left: free its jobs, remove its leftovers."""
        self._platform.jobs.release_abandoned()
        self._leftovers.start_over()
        self._images.sweep()
        self._quarantine.sweep()
        self._pipelines.sweep()
        draft_landing.drafts_of(self._platform).sweep()
        prediction.forget_answers(self._platform)

    def run(self) -> None:
        """Work until `stop` is called."""
        lanes = (*LANES, MIRROR_LANE, notification.LANE)
        threads = [threading.Thread(target=self._lane, args=(lane,), name=lane, daemon=True) for lane in lanes]
        threads.append(threading.Thread(target=self._look_after, name="watch", daemon=True))
        for thread in threads:
            thread.start()
        while not self._stop.wait(_IDLE_S):
            self._guarded(self.tick)
        for thread in threads:
            thread.join(timeout=1.0)

    def stop(self) -> None:
        """End `run` soon; what is being done is taken up again at the next start."""
        self._stop.set()

    def tick(self) -> None:
        """Look once at everything that comes by itself: inbox, quiet image sets, events."""
        self._empty_inbox()
        settings = self._platform.settings
        self._images.complete_quiet(settings.quiet_s, by=SYSTEM)
        self._images.complete_quiet_studies(max(settings.study_quiet_s, settings.quiet_s), by=SYSTEM)
        self._platform.bus.route()
        if time.monotonic() >= self._expiry_due:
            self._expiry_due = time.monotonic() + _EXPIRY_EVERY_S
            draft_landing.drafts_of(self._platform).sweep_expired()
        if time.monotonic() >= self._sweep_due:
            self._sweep_due = time.monotonic() + _SWEPT_EVERY_S
            if self._logs is not None:
                purge(self._logs, settings.log_days, self._platform.clock())
            removed = self._leftovers.sweep()
            if removed:
                _LOG.warning("removed %d packs that killed processes left behind", removed)

    def drain(self, lanes: tuple[str, ...] = LANES, *, told: Callable[[], None] | None = None) -> None:
        """Do everything that is due in these lanes, here and now; what is not due yet is left.

        Args:
            lanes: Which.
            told: Called after each job.
        """
        while True:
            self._platform.bus.route()
            worked = [lane for lane in lanes if self._once(lane)]
            if not worked:
                return
            for _ in worked:
                if told is not None:
                    told()

    def _lane(self, lane: str) -> None:
        while not self._stop.is_set():
            if not self._guarded(lambda: self._once(lane)):
                time.sleep(_IDLE_S)

    def _look_after(self) -> None:
        """Look at metrics and readers every few seconds, in a thread of its own: no job may hold up an alarm."""
        watch, incidents = self._watch, IncidentWatch(self._platform)
        while watch is not None and not self._stop.wait(WATCHED_EVERY_S):
            self._guarded(lambda: bool(watch.look()))
            self._guarded(lambda: bool(incidents.look()))

    def _guarded(self, work: Callable[[], bool | None]) -> bool:
        """Run one round; the outermost loop of the worker outlives whatever goes wrong in it."""
        try:
            return bool(work())
        except Exception as error:  # noqa: BLE001 — logged by type only, since foreign messages may hold patient data
            _LOG.error("worker round failed: %s", _cause(error))
            time.sleep(1.0)
            return False

    def _once(self, lane: str) -> bool:
        claim = self._platform.jobs.claim(lane)
        if claim is None:
            return False
        try:
            self._do(claim)
        except Exception as error:  # noqa: BLE001 — every failure becomes a retry and in the end a dead letter
            cause = _cause(error)
            _LOG.warning("job %s failed at try %d: %s", claim.job.kind, claim.tries, cause)
            self._count(claim.job.kind, error)
            if self._platform.jobs.failed(claim, cause):
                self._give_up(claim, cause)
            return True
        self._count(claim.job.kind)
        self._platform.jobs.done(claim)
        return True

    def _count(self, kind: str, error: Exception | None = None) -> None:
        if self._work is not None:
            self._work.ran(kind, is_ok=error is None)
            if isinstance(error, Unavailable):
                self._work.store_failed()

    def _do(self, claim: Claim) -> None:
        kind = claim.job.kind
        if kind in self._kinds:
            self._kinds[kind](claim)
        else:
            self._call(kind, event_of(claim.job.payload))

    def _call(self, name: str, event: Event) -> None:
        """Wake a function, and log that it began and how it ended."""
        begun, log = time.perf_counter(), logging.getLogger(f"radloop.functions.{name}")
        tell(log, "begun", trace=event.trace, event=event.id, type=event.detail_type)
        outcome = "failed"
        try:
            FUNCTIONS[name](event, self._platform)
            outcome = "done"
        finally:
            milliseconds = round((time.perf_counter() - begun) * 1000, 1)
            tell(log, outcome, trace=event.trace, event=event.id, milliseconds=milliseconds)

    def _tell_mirror(self) -> None:
        """Bring MLflow up to date; where that fails, the next change of the registry does it."""
        if self._mirror is None or mirror.is_current(self._platform, self._mirror):
            return  # of many changes at once the first brings all of them
        try:
            mirror.sync(self._platform, self._mirror)
        except Unavailable as error:
            _LOG.warning("the mirror in MLflow was not brought up to date: %s", error)

    def _fold(self, claim: Claim) -> None:
        identity = str(claim.job.payload["image_set"])
        if self._platform.records.get(TOMBSTONES, identity) is not None:
            return  # deleted meanwhile
        image_set = self._images.get(identity)
        if image_set.landed < _WORTH_THREADS:
            self._metadata.measure(self._images.fold(image_set.id))
            return
        with ThreadPoolExecutor(self._platform.settings.fold_threads or os.cpu_count(), "folder") as folders:
            self._metadata.measure(self._images.fold(image_set.id, executor=folders))

    def _give_up(self, claim: Claim, cause: str) -> None:
        """Raise the alarm; an execution nobody will run again ends as failed, so that the next one can start."""
        if claim.job.kind == "run_execution":
            self._pipelines.give_up(str(claim.job.payload["execution"]), "dead-letter")
        if claim.job.kind == KIND:
            draft_landing.give_up(str(claim.job.payload["draft"]), self._platform)
        if claim.job.kind == imports.KIND:
            dicom_import.give_up(str(claim.job.payload["import"]), self._platform, cause)
        alarm = AlarmStateChanged(
            alarm=f"dead-letter-{claim.job.kind}", state="ALARM", cause=f"{claim.job.id}: {cause}"
        )
        self._platform.records.commit(Change(events=[alarm.told(at=self._platform.clock())]))

    def _empty_inbox(self) -> None:
        """Give every settled file an opaque name, then announce it; after a crash the next look announces it."""
        if self._inbox.is_dir():
            for path in self._inbox.rglob("*"):
                if path.is_file() and not path.name.startswith(".") and time.time() - path.stat().st_mtime > _SETTLED_S:
                    target = self._inbox.parent / "uploaded" / new_id()
                    target.parent.mkdir(exist_ok=True, mode=0o700)
                    path.rename(target)
        waiting = list(self._platform.blobs.keys(UPLOADED))
        if waiting:
            now = self._platform.clock()
            events = [DicomUploaded(key=key).told(at=now) for key in waiting]
            self._platform.records.commit(Change(events=events))


def _paid(does: Work, claim: Claim) -> None:
    does(claim.job.payload)


def _cause(error: BaseException) -> str:
    """What may be written down of an error: our code, or the type of a foreign one."""
    return error.code if isinstance(error, RadloopError) else type(error).__name__
