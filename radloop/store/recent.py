"""What is remembered of image sets that files land into, so that the next file need not read it again."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from radloop.core.images import ImageSet
from radloop.core.ports import Records
from radloop.core.tables import IMAGE_SETS

_RECENT_KEPT = 32
_UIDS_KEPT = 20_000


@dataclass(slots=True)
class Standing:
    """An image set as the last landing into it left it.

    Attributes:
        revision: Of its record; 0 for one that is being opened.
        uids: SOP instance UIDs of all its instances, as far as they are known to be all.
        stamp: Of the records when it stood so; None where others could commit before that was asked.
    """

    image_set: ImageSet
    revision: int
    uids: set[str] | None = None
    stamp: int | None = None


class Recent:
    """Image sets that were landed into lately, by series: who goes on landing need not read them again.

    What is remembered is what the commit is made under, by its revision: were it wrong, the commit would fail.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._standing: OrderedDict[str, Standing] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: str) -> Standing | None:
        """What is remembered of a series, right or not."""
        with self._guard:
            return self._standing.get(key)

    def now(self, key: str) -> Standing | None:
        """What is remembered of a series if it still is so."""
        standing = self.get(key)
        if standing is None or standing.stamp == self._records.stamp():
            return standing
        row = self._records.get(IMAGE_SETS, standing.image_set.id)
        if row is not None and row.revision == standing.revision:
            return standing
        self.forget(key)
        return None

    def keep(self, key: str, standing: Standing) -> None:
        """Remember how a landing has left a series."""
        if standing.uids is not None and len(standing.uids) > _UIDS_KEPT:
            standing.uids = None
        with self._guard:
            self._standing[key] = standing
            self._standing.move_to_end(key)
            if len(self._standing) > _RECENT_KEPT:
                self._standing.popitem(last=False)

    def forget(self, key: str) -> None:
        """It is not so any more."""
        with self._guard:
            self._standing.pop(key, None)
