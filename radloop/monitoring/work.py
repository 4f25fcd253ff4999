"""What every process of an installation counts, doors and worker alike: errors of its own parts, and what waits.

Counted in the process, or where several answer together in the folder that they share (`COUNTED_IN`).
"""

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import prometheus_client as prometheus
from prometheus_client import values
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from radloop.monitoring.catalogue import COUNTED_IN, OTHER, Metric, Sample

WAITING_SINCE = "radloop_audit_waiting_since"
"""Since when the oldest access that a process counted has waited for the audit; told as `radloop_audit_lag_seconds`."""

_LIVE = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


class WorkMeter:
    """Counts in this process. Safe to use from several threads.

    Args:
        catalogue: Of `load_metrics`.
    """

    def __init__(self, catalogue: Mapping[str, Metric]) -> None:
        self.catalogue = catalogue
        # the library looks at COUNTED_IN when it is imported, which is too early
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        self.registry = prometheus.CollectorRegistry()
        self._runs = self._counter("radloop_function_runs_total")
        self._failed = self._counter("radloop_datastore_errors_total")
        self._busy = self._counter("radloop_database_busy_total")
        self._waiting = prometheus.Gauge(
            WAITING_SINCE, "Seconds since 1970; 0 for nothing.", registry=self.registry, multiprocess_mode="liveall"
        )

    def ran(self, function: str, *, is_ok: bool) -> None:
        """A function, or another job, has run."""
        admitted = re.fullmatch(self.catalogue["radloop_function_runs_total"].labels["function"], function)
        self._runs.labels(function if admitted else OTHER, "ok" if is_ok else "failed").inc()

    def store_failed(self) -> None:
        """Something could not be done because the store did not answer."""
        self._failed.inc()

    def database_busy(self) -> None:
        """A commit had to wait long, or was given up on."""
        self._busy.inc()

    def audit_waits(self, since: float | None) -> None:
        """What was accessed has waited for the audit since then, in seconds since 1970; None where nothing does."""
        self._waiting.set(since or 0.0)

    def _counter(self, name: str) -> prometheus.Counter:
        metric = self.catalogue[name]
        return prometheus.Counter(name, metric.help, list(metric.labels), registry=self.registry)


def counted(registries: Iterable[prometheus.CollectorRegistry]) -> tuple[list[Family], list[Sample]]:
    """What was counted by these registries, or where the environment names a folder for it, by all processes.

    Returns:
        Families to tell as they are, and samples that follow from others.
    """
    folder = os.environ.get(COUNTED_IN)
    if folder is None:
        found = [family for registry in registries for family in registry.collect()]
    else:
        _forget_the_dead(Path(folder))
        everything = prometheus.CollectorRegistry()
        MultiProcessCollector(everything, path=folder)  # type: ignore[no-untyped-call]
        found = list(everything.collect())
    waiting = [sample.value for family in found if family.name == WAITING_SINCE for sample in family.samples]
    oldest = min((since for since in waiting if since), default=None)
    lag = 0.0 if oldest is None else max(0.0, time.time() - oldest)
    return [family for family in found if family.name != WAITING_SINCE], [Sample("radloop_audit_lag_seconds", lag)]


def _forget_the_dead(folder: Path) -> None:
    """A process that is gone has nothing open and nothing waiting; what it counted stays."""
    for process in set(_processes(folder)):
        if not Path(f"/proc/{process}").exists():
            with contextlib.suppress(FileNotFoundError):  # another process does the same
                mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]


def _processes(folder: Path) -> Iterator[int]:
    for path in folder.glob("gauge_live*_*.db"):
        found = _LIVE.fullmatch(path.name)
        if found is not None:
            yield int(found[1])
