"""What every audit does alike: it notes the first reading of a thing durably, and counts the others for a moment."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

from radloop.core.errors import RadloopError, Unavailable
from radloop.core.identity import Principal
from radloop.core.ports import AuditEntry, Change, Records

PATIENCE_S = 30.0
"""Seconds after which nothing more may be read where counts cannot be written."""

_HOUR_S = 3600.0
_FLUSH_S = 0.5
_REMEMBERED = 100_000


class CountedAudit:
    """The part of an Audit that writes; whoever extends it reads the chain.

    The first reading of an image set by a principal in an hour is durable before it is answered. Further ones and
    queries are counted in memory and written every half second; a crash loses the counts of less than a second, never
    that somebody looked.

    Args:
        records: Take single entries.
        note: Adds entries to the chain, each with how many times the same was done; all of them or none.
        most_at_once: How many entries `note` takes.
    """

    def __init__(
        self,
        records: Records,
        note: Callable[[Sequence[tuple[AuditEntry, int]]], None],
        *,
        most_at_once: int = 1 << 30,
    ) -> None:
        self._records = records
        self._note = note
        self._most_at_once = most_at_once
        self._guard = threading.Lock()
        self._seen: dict[tuple[str, str], float] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._flusher: threading.Thread | None = None
        self._closed = threading.Event()
        self._waiting_since: float | None = None
        self._told_waiting: Callable[[float | None], None] | None = None

    def tell_waiting(self, told: Callable[[float | None], None]) -> None:
        """Call `told` with the moment (seconds since 1970) since when counts have waited to be written, or None."""
        self._told_waiting = told

    def record(self, entry: AuditEntry) -> None:
        """See `Audit.record`."""
        self._records.commit(Change(audit=[entry]))

    def read(self, principal: Principal, image_set: str) -> None:
        """See `Audit.read`."""
        if self.read_again(principal, image_set):
            return
        key, now = (principal.id, image_set), time.monotonic()
        self.record(AuditEntry(principal.id, "read", image_set))
        with self._guard:
            if len(self._seen) >= _REMEMBERED:
                self._seen = {each: when for each, when in self._seen.items() if now - when < _HOUR_S}
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()  # forgetting only means to note a first reading once more
            self._seen[key] = now

    def read_again(self, principal: Principal, image_set: str) -> bool:
        """See `Audit.read_again`.

        Raises:
            Unavailable: See `count`.
        """
        first = self._seen.get((principal.id, image_set))
        if first is None or time.monotonic() - first >= _HOUR_S:
            return False
        self.count(principal, "read", image_set)
        return True

    def count(self, principal: Principal, action: str, subject: str = "") -> None:
        """See `Audit.count`.

        Raises:
            Unavailable: Counts could not be written for a while, so nothing more may be read unseen.
        """
        waiting = self._waiting_since
        if waiting is not None and time.monotonic() - waiting > PATIENCE_S:
            raise Unavailable("the audit cannot be written, so nothing may be read")
        with self._guard:
            self._counts[principal.id, action, subject] += 1
            self._wait_from(self._waiting_since or time.monotonic())
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_often, name="audit-flusher", daemon=True)
                self._flusher.start()

    def flush(self) -> None:
        """Write down what has been counted."""
        with self._guard:
            counts, self._counts = self._counts, Counter()
            waiting = self._waiting_since
        if not counts:
            return
        try:
            while counts:
                some = list(islice(counts.items(), self._most_at_once))
                self._note([(AuditEntry(who, action, subject), count) for (who, action, subject), count in some])
                for key, _ in some:
                    del counts[key]
        except BaseException:
            with self._guard:
                self._counts.update(counts)
                self._wait_from(waiting)
            raise
        with self._guard:
            self._wait_from(time.monotonic() if self._counts else None)

    def close(self) -> None:
        """Write down the rest; nothing is counted afterwards."""
        self._closed.set()
        if self._flusher is not None:
            self._flusher.join()
        self.flush()

    def _wait_from(self, since: float | None) -> None:
        """Remember since when the oldest count has waited, and tell it where that changed."""
        if since == self._waiting_since:
            return
        self._waiting_since = since
        if self._told_waiting is not None:
            self._told_waiting(None if since is None else time.time() - (time.monotonic() - since))

    def _flush_often(self) -> None:
        while not self._closed.wait(_FLUSH_S):
            with contextlib.suppress(RadloopError):  # what was counted waits, and from some time on nothing may be read
                self.flush()
