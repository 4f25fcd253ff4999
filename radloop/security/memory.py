"""What was looked up, remembered until anybody changes anything."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_REMEMBERED = 10_000


class Memory(Generic[T]):
    """Values that cost a look-up, until anybody commits anything, and never beyond their own end.

    Args:
        stamp: See `Records.stamp`: what another process revoked is no longer valid here either.
    """

    def __init__(self, stamp: Callable[[], int]) -> None:
        self._stamp = stamp
        self._values: OrderedDict[str, tuple[T, datetime | None, int]] = OrderedDict()
        self._guard = threading.Lock()
        self._age = 0

    def get(self, key: str, find: Callable[[], tuple[T, datetime | None]], now: datetime) -> T:
        """The value under `key`, looked up by `find` (value and its end) where it is not fresh."""
        with self._guard:
            held, age = self._values.get(key), self._age
        stamp = self._stamp()
        if held is not None and held[2] == stamp and (held[1] is None or held[1] > now):
            return held[0]
        value, ends = find()
        with self._guard:
            if age == self._age:  # else something changed while we looked, and what we found may be of before
                self._values[key] = (value, ends, stamp)
                self._values.move_to_end(key)
                if len(self._values) > _MOST_REMEMBERED:
                    self._values.popitem(last=False)
        return value

    def forget(self) -> None:
        """Look everything up anew."""
        with self._guard:
            self._values.clear()
            self._age += 1
