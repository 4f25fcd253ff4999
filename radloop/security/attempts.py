"""Sign-ins one at a time, and later and later under a name that fails."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from radloop.core.errors import Throttled

LONGEST_DELAY_S = 30.0

_FREE_FAILURES = 3
_MOST_WAITING = 4
_MOST_NAMES = 10_000


def delay_s(failures: int) -> float:
    """Seconds that the next try must wait after so many failures in a row.

    >>> [delay_s(count) for count in (1, 2, 3, 4, 5, 9)]
    [0.0, 0.0, 1.0, 2.0, 4.0, 30.0]
    """
    return 0.0 if failures < _FREE_FAILURES else min(2.0 ** min(failures - _FREE_FAILURES, 10), LONGEST_DELAY_S)


class Failures(Protocol):
    """Who failed to sign in how often. Processes that answer together share one."""

    def begin(self, name: str, now: float) -> float:
        """Count an attempt under `name` as failed before it is made, unless it must wait; atomic.

        Args:
            name: Of the user, as it was typed.
            now: Seconds of `time.monotonic`, which all processes of a machine share.

        Returns:
            Seconds to wait; nothing was counted where there are any.
        """
        ...

    def forgive(self, name: str) -> None:
        """Forget the failures under `name`."""
        ...


class OwnFailures:
    """Failures that this process alone knows of."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, name: str, now: float) -> float:
        """See `Failures.begin`."""
        with self._guard:
            count, until = self._failures.get(name, (0, 0.0))
            if until > now:
                return until - now
            self._failures[name] = (count + 1, now + delay_s(count + 1))
            self._failures.move_to_end(name)
            if len(self._failures) > _MOST_NAMES:
                self._failures.popitem(last=False)
        return 0.0

    def forgive(self, name: str) -> None:
        """See `Failures.forgive`."""
        with self._guard:
            self._failures.pop(name, None)


class Attempts:
    """Turns at the door.

    An attempt counts as a failure from its beginning and is forgiven once the password proves right, so that nobody
    tries many at the same time in several processes.

    Args:
        failures: Where failures are counted.
    """

    def __init__(self, failures: Failures) -> None:
        self.failures = failures
        self._turn = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """The turn of one attempt.

        Raises:
            Throttled: Too many wait, or the name must.
        """
        if not self._waiting.acquire(blocking=False):
            raise Throttled("too many sign in at the same time; try again")
        try:
            with self._turn:
                left = self.failures.begin(name, time.monotonic())
                if left > 0:
                    raise Throttled("too many wrong passwords; wait before the next try", retry_after_s=math.ceil(left))
                yield
        finally:
            self._waiting.release()
