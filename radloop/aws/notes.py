"""What all instances of the doors must know of each other from one request to the next."""

import threading
import time
from datetime import datetime

from radloop.core.errors import Conflict
from radloop.core.ports import Change, Put, Records
from radloop.core.tables import DELIVERIES
from radloop.security.sigv4 import REPEAT_S


class RecordNotes:
    """Signatures that were accepted, in the table that all instances share; calls that are left, in this one alone.

    Calls are few enough an instance that a limit of its own is of little use; the one over all is API Gateway's.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._guard = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def admit(self, signature: str, now: datetime, until: datetime) -> bool:  # noqa: ARG002 — swept by the day
        """See `security.sigv4.Replays.admit`."""
        key, day = f"signature/{signature}", now.date().isoformat()
        try:
            self._records.commit(Change([Put(DELIVERIES, key, {"at": now.timestamp()}, {"day": day}, expected=0)]))
        except Conflict:
            row = self._records.get(DELIVERIES, key)
            return row is not None and now.timestamp() - float(row.document["at"]) <= REPEAT_S
        return True

    def take(self, name: str, rate: float) -> bool:
        """Take one call out of a bucket that fills at `rate` a second and holds one second's worth, at least one."""
        most, now = max(1.0, rate), time.monotonic()
        with self._guard:
            tokens, at = self._left.get(name, (most, now))
            tokens = min(most, tokens + (now - at) * rate)
            allowed = tokens >= 1
            self._left[name] = (tokens - 1 if allowed else tokens, now)
        return allowed
