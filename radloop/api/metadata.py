"""Headers of instances as DICOM JSON, made once and kept compressed as long as there is room."""

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

ROOM_BYTES = 64 << 20
_LEVEL = 5


class Documents:
    """Answers by what they were made of, compressed; those not asked for the longest give way.

    A key must name everything the answer depends on, revisions above all: what stands here is never looked at again.
    """

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self._room = room_bytes
        self._held = 0
        self._documents: OrderedDict[Hashable, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer under `key`, gzipped; `make` gives it where it is not here."""
        with self._guard:
            if key in self._documents:
                self._documents.move_to_end(key)
                return self._documents[key]
        made = gzip.compress(make(), _LEVEL, mtime=0)
        with self._guard:
            if key not in self._documents and len(made) <= self._room:
                self._documents[key] = made
                self._held += len(made)
                while self._held > self._room:
                    _, dropped = self._documents.popitem(last=False)
                    self._held -= len(dropped)
        return made


def takes_gzip(header: str | None) -> bool:
    """Whether an Accept-Encoding header takes gzip (RFC 9110 §12.5.3).

    >>> takes_gzip("br, gzip;q=0.5"), takes_gzip("gzip;q=0"), takes_gzip("*"), takes_gzip(None)
    (True, False, True, False)
    """
    weights: dict[str, bool] = {}
    for item in (header or "").lower().split(","):
        name, _, rest = item.partition(";")
        value = rest.replace(" ", "").removeprefix("q=") or "1"
        weights[name.strip()] = value.strip("0.") != ""
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))
