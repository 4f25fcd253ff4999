"""Packs that a killed process left behind, removed while others go on working.

Whoever lands, folds or copies writes a pack first, and then commits records that refer to it together with the record
that names it (`put_pack`). Who is killed in between leaves a pack that nobody names. At a start the store has one
owner and may remove all of them (`ImageStore.sweep`). While doors are landing, a pack without a name may be one that
will be named in the next moment, and to look and then to delete is a race, however long one waits between the two: a
process may be stopped for hours and go on.

So nothing is deleted on the strength of having looked. The sweep takes the pack's name: it commits a record under the
very key that naming it would write, on the condition that there is none, which is the condition of naming it too.
Commits are one after the other, and of these two one fails:

- The pack was named first: taking its name fails, and it stays.
- Its name was taken first: the commit that would have named it fails, with everything that refers to the pack in it.
  Whoever made it has acknowledged nothing yet, and tries again with another pack, or says that it could not.

Only then is the file deleted. A name stays taken, because whoever was stopped may go on at any time after; a crash
before the deletion leaves a taken name, by which the next sweep finds the file. Names are given free at the next
start, when nobody who was at work before is left. Packs whose name is younger than the sweep has watched them for
`AGE_S` are left alone, so that none that is merely slow has to be written again.

What was named once is not touched, even where its name is gone since: who takes a name away deletes the pack, and
where that was cut off the file is like any other that nobody names.
"""

import time
from collections.abc import Callable, Iterator

from radloop.core.errors import Conflict
from radloop.core.ports import Blobs, Change, Delete, Put, Records
from radloop.core.tables import INSTANCES, PACKS
from radloop.store.instances import instance_of

AGE_S = 3600.0
"""Seconds for which a pack must have been seen without a name before its name is taken."""

SWEPT = "swept"
"""Stands where the id of an image set does, in the record of a name that was taken."""


class Leftovers:
    """Finds and removes packs that nobody names. One in an installation, in whichever process.

    Args:
        blobs: Where packs lie.
        records: What names them.
        monotonic: Seconds that never go back.
    """

    def __init__(self, blobs: Blobs, records: Records, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._blobs = blobs
        self._records = records
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    def sweep(self) -> int:
        """Look once, and remove what was nobody's at every look of the last `AGE_S` seconds; returns how many."""
        for row in self._records.find(PACKS, {"image_set": SWEPT}):
            self._blobs.delete(_blob(row.key))
        now = self._monotonic()
        self._since = {name: self._since.get(name, now) for name in self._unnamed()}
        old = [name for name, since in self._since.items() if now - since >= AGE_S]
        return sum(self._removed(name) for name in old)

    def start_over(self) -> None:
        """Give names free that were taken; only the sole owner of the store may call this, before it works."""
        taken = list(self._records.find(PACKS, {"image_set": SWEPT}))
        for row in taken:
            self._blobs.delete(_blob(row.key))
        if taken:
            self._records.commit(Change(writes=[Delete(PACKS, row.key) for row in taken]))

    def _unnamed(self) -> Iterator[str]:
        """Names, `image set/pack`, of packs that lie there and have no record."""
        for key in list(self._blobs.keys("image-sets/")):
            name = key.removeprefix("image-sets/").removesuffix(".pack")
            if self._records.get(PACKS, name) is None:
                yield name

    def _removed(self, name: str) -> bool:
        """Take the name of a pack and delete it; False where somebody names it after all."""
        image_set, _, pack = name.partition("/")
        rows = self._records.find(INSTANCES, {"image_set": image_set})
        if any(ref.pack == pack for row in rows for ref in instance_of(row).refs):
            return False  # damage that a restored copy of the records may heal, and no leftover
        try:
            self._records.commit(Change(writes=[Put(PACKS, name, {}, {"image_set": SWEPT}, expected=0)]))
        except Conflict:
            return False
        self._blobs.delete(_blob(name))
        return True


def _blob(name: str) -> str:
    return f"image-sets/{name}.pack"
