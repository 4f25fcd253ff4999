"""The second half of a deletion: what hung on an image set goes, piece by piece, after the image set itself is gone.

The first half is one small change (`store.revisions`): it takes the record of the image set away, writes its tombstone
and the audit, and asks for the job that works here. The job goes by what it still finds, and deletes last whatever
names something else: an original before the record that names it. So it may die anywhere and come again, and each time
finds less:

1. the static layers, which CloudFront gives out without asking us, and what training laid out of its pixels,
2. of every instance the original in the archive, then its record and that of its arrival,
3. the other records, with the packs that some of them name,
4. HealthImaging's own image set.

What goes and what stays stands in `store.erasing`, for both substrates.

The archive is versioned and under Object Lock in governance mode: deleting an original hides it behind a delete marker.
The bytes stay sealed until the lock ends, or until somebody who may bypass it removes the version.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.assembly import original_of
from radloop.aws.clients import translated
from radloop.core.errors import Conflict, NotFound, TooLarge
from radloop.core.ports import Blobs, Change, Delete, Records
from radloop.core.tables import ARRIVALS, IMAGE_SETS, INSTANCES, PACKS
from radloop.store.erasing import HANGING, asked_for, hanging
from radloop.store.layers import discard
from radloop.store.learning import discard_copies
from radloop.store.packs import pack_key

_TOGETHER: Final = 10  # an instance is five items and its arrival three, of the 99 of a change
_MOST_A_CALL: Final = 2_000  # instances; more is for the next call, long before Lambda ends this one
_AT_ONCE: Final = 8


class Erasing:
    """Deletes what hung on deleted image sets.

    Args:
        blobs, records: The ports.
        imaging: A boto3 client of `medical-imaging`.
        datastore: Id of the data store.
    """

    def __init__(self, blobs: Blobs, records: Records, *, imaging: Any, datastore: str) -> None:
        self._blobs = blobs
        self._records = records
        self._imaging = imaging
        self._datastore = datastore

    def run(self, image_set: str, part: int = 0) -> None:
        """Delete what is left, or much of it and ask for another call; doing it again finds less.

        Args:
            image_set: Id of an image set that has been deleted.
            part: How many calls it took before.

        Raises:
            Conflict: The image set has not been deleted.
            Unavailable: AWS does not answer, or HealthImaging has the image set locked; worth another try.
        """
        if self._records.get(IMAGE_SETS, image_set, columns=()) is not None:
            raise Conflict(f"image set {image_set} has not been deleted")
        discard(self._blobs, image_set)
        discard_copies(self._blobs, self._records, image_set)
        for _ in range(0, _MOST_A_CALL, _TOGETHER):
            some = hanging(self._records, INSTANCES, image_set, limit=_TOGETHER)
            if not some:
                break
            self.forget([each.key for each in some])
        else:
            self._records.commit(Change(jobs=[asked_for(image_set, part + 1)]))
            return
        for table in HANGING:
            while some := hanging(self._records, table, image_set, limit=_TOGETHER):
                if table is PACKS:
                    self._delete_blobs([pack_key(image_set, each.key.partition("/")[2]) for each in some])
                self._delete(some)
        self._delete_from_healthimaging(image_set)

    def forget(self, arrivals: Sequence[str]) -> None:
        """Delete originals and everything that is recorded of them; the same files may come again then.

        Args:
            arrivals: Their names, few enough for one change.

        Raises:
            Unavailable: AWS does not answer.
        """
        self._delete_blobs([original_of(name) for name in arrivals])
        self._delete([Delete(table, name) for name in arrivals for table in (ARRIVALS, INSTANCES)])

    def _delete_blobs(self, keys: Sequence[str]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(self._blobs.delete, keys):
                pass

    def _delete(self, writes: Sequence[Delete]) -> None:
        """Delete records, in more changes than one where they are long ones in many items."""
        try:
            self._records.commit(Change(writes))
        except TooLarge:
            if len(writes) == 1:
                raise
            half = len(writes) // 2
            self._delete(writes[:half])
            self._delete(writes[half:])

    def _delete_from_healthimaging(self, image_set: str) -> None:
        """Delete HealthImaging's image set, which tells of itself for a while after it is deleted."""
        where = {"datastoreId": self._datastore, "imageSetId": image_set}
        try:
            if self._imaging.get_image_set(**where)["imageSetState"] != "DELETED":
                self._imaging.delete_image_set(**where)
        except (BotoCoreError, ClientError) as error:
            told = translated(error, "medical-imaging")
            if not isinstance(told, NotFound):
                raise told from error
