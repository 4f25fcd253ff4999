"""What the DIMSE door counts: associations, what was asked on them, and bytes.

Counted in the process that serves them, in the folder that all processes of a server count in (`COUNTED_IN`), from
which any HTTP door tells it. Titles and addresses of peers are no labels.
"""

import os
import re
from collections.abc import Mapping

import prometheus_client as prometheus
from prometheus_client import values

from radloop.monitoring.metrics import COUNTED_IN, OTHER, Metric

ASSOCIATIONS = "radloop_dimse_associations_total"
REFUSED = "radloop_dimse_refused_total"
OPERATIONS = "radloop_dimse_operations_total"
BYTES = "radloop_dimse_bytes_total"


class AssociationMeter:
    """Counts what goes on at the DIMSE door. Safe to use from several threads.

    Args:
        catalogue: Of `load_metrics`.
    """

    def __init__(self, catalogue: Mapping[str, Metric]) -> None:
        self._catalogue = catalogue
        # the library looks at COUNTED_IN when it is imported, which is too early; a process that comes and goes with
        # its callers counts on in the files of the one before
        in_files = values.MultiProcessValue(lambda: "dimse")  # type: ignore[no-untyped-call]
        values.ValueClass = in_files if COUNTED_IN in os.environ else values.MutexValue
        self.registry = prometheus.CollectorRegistry()
        self._counters = {name: self._counter(name) for name in (ASSOCIATIONS, REFUSED, OPERATIONS, BYTES)}
        self._received = self._counters[BYTES].labels("received")
        self._sent = self._counters[BYTES].labels("sent")

    def association(self, became: str) -> None:
        """An association was `accepted`, `released` by the peer, or `cut-off`."""
        self._count(ASSOCIATIONS, became)

    def refused(self, reason: str) -> None:
        """An association was refused; `reason` is a code."""
        self._count(REFUSED, reason)

    def operation(self, operation: str, outcome: str) -> None:
        """A request of a peer, or one of our own sub-operations, has ended."""
        self._count(OPERATIONS, operation, outcome)

    def received(self, count: int) -> None:
        """Bytes came from a peer."""
        self._received.inc(count)

    def sent(self, count: int) -> None:
        """Bytes went to a peer."""
        self._sent.inc(count)

    def _counter(self, name: str) -> prometheus.Counter:
        metric = self._catalogue[name]
        return prometheus.Counter(name, metric.help, list(metric.labels), registry=self.registry)

    def _count(self, name: str, *labels: str) -> None:
        admitted = self._catalogue[name].labels.values()
        told = [
            label if re.fullmatch(pattern, label) else OTHER for pattern, label in zip(admitted, labels, strict=True)
        ]
        self._counters[name].labels(*told).inc()
