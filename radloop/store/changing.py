"""What all changes of image sets have in common: looking, writing, and looking again where something moved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from radloop.core.errors import Conflict, Denied, NotFound, Unavailable
from radloop.core.identity import Principal
from radloop.core.images import ImageSet, Notice, State, Storage
from radloop.core.ports import Adjust, Change, Clock, Delete, Job, Put, Records, Row
from radloop.core.tables import IMAGE_SETS, SERIES, image_set_of
from radloop.dicom.parse import parse
from radloop.store.arranging import arranged, facts_of
from radloop.store.edits import Edits, read_edits
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance

Write = Put | Adjust | Delete

_TRIES = 20
_T = TypeVar("_T")
_CHANGED = Notice("changed-since-verified", "Instances came or went after the image set was verified")


class Moved(Conflict):
    """A record changed between reading and writing, by folding perhaps: look again."""


@dataclass(frozen=True, slots=True)
class Held:
    """An image set as a change finds it: its record, its shown instances, and what lies over them."""

    row: Row
    image_set: ImageSet
    instances: tuple[StoredInstance, ...]
    edits: Edits


class Changing:
    """Finds image sets that may be changed, and commits changes of them."""

    def __init__(self, records: Records, clock: Clock, images: ImageStore) -> None:
        self._records = records
        self._clock = clock
        self._images = images

    def held(self, identity: str, expected: int | None = None) -> Held:
        """An image set that may be changed.

        Raises:
            NotFound: There is no such image set.
            Conflict: It is at another version than `expected`, or still arriving.
        """
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        image_set = image_set_of(row)
        if expected is not None and image_set.version != expected:
            raise Conflict(f"image set {identity} is at version {image_set.version}, not {expected}")
        if not image_set.is_closed:
            raise Conflict(f"image set {identity} is still arriving")
        return Held(row, image_set, tuple(self._images.instances(identity)), read_edits(self._records, identity))

    def following(
        self, edited: ImageSet, shown: Sequence[StoredInstance], before: ImageSet, *, is_changed: bool = False
    ) -> ImageSet:
        """The version after `before`, with these instances."""
        geometry, _ = arranged(shown)
        notices = before.notices
        if is_changed and before.state is State.VERIFIED and _CHANGED not in notices:
            notices = (*notices, _CHANGED)
        return replace(
            edited,
            version=before.version + 1,
            instances=len(shown),
            frames=sum(one.frame_count for one in shown),
            landed=sum(one.storage is Storage.LANDED for one in shown),
            kept=sum(one.storage is Storage.KEPT for one in shown),
            geometry=facts_of(geometry),
            notices=notices,
            updated_at=self._clock(),
        )

    def received(self, instance: StoredInstance) -> StoredInstance:
        """The instance with the attributes its file has."""
        parsed = parse(self._images.header(instance))
        return replace(instance, attributes=parsed.attributes, sop_uid=parsed.sop_uid, received_uid=None)

    def retried(self, attempt: Callable[[], _T]) -> _T:
        """What `attempt` returns, tried again where a record moved under it.

        Raises:
            Unavailable: It kept moving.
        """
        for _ in range(_TRIES):
            try:
                return attempt()
            except Moved:
                continue
        raise Unavailable("the image set kept changing")

    def commit(self, change: Change) -> None:
        """Make a change true.

        Raises:
            Moved: A record is not any more what the change was made of.
        """
        try:
            self._records.commit(change)
        except Conflict as error:
            raise Moved(str(error)) from None


def require_in_scope(after: ImageSet, by: Principal) -> None:
    """Whoever may not know of a patient can give that patient nothing.

    Raises:
        Denied: The image set would become one of such a patient.
    """
    if by.patients is not None and after.patient_id not in by.patients:
        raise Denied("the image set would become one of a patient out of the caller's scope")


def claim(key: str, image_set: str, *, expected: int | None) -> Put:
    """The write after which later instances find `image_set` under `key`."""
    return Put(SERIES, key, {"image_set": image_set}, {"image_set": image_set}, expected)


def folding(image_set: ImageSet) -> list[Job]:
    """The job that folds what is not folded yet."""
    if not image_set.landed:
        return []
    identity = f"fold-{image_set.id}-{image_set.version}"
    return [Job(identity, "fold", "fold", {"image_set": image_set.id}, trace=image_set.id)]
