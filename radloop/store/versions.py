"""The versions of an image set: what each held, when it came about, and why.

A version is written down when it is closed and whenever its instances or attributes change. A verification makes a
version too and changes neither: such a version has no record of its own and holds what the one before it held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from radloop.core.errors import NotFound
from radloop.core.images import ImageSet
from radloop.core.ports import Put, Records, Row
from radloop.core.tables import VERSIONS
from radloop.store.edits import Edits, edits_of

CREATED = "CREATED"
IMPORTED = "IMPORTED"
UPDATED = "UPDATED"
COPIED = "COPIED"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an image set.

    Attributes:
        cause: CREATED, IMPORTED, UPDATED or COPIED.
        forced: Whether a rule was overridden to make it.
        instances: Ids of its instances in slice order.
        frames: For each frame, in slice order, the place of its instance and its number there.
        edits: What lies over the files as they arrived.
    """

    number: int
    at: datetime
    cause: str
    forced: bool
    is_primary: bool
    instances: tuple[str, ...]
    frames: tuple[tuple[int, int], ...]
    edits: Edits


def put_version(
    image_set: ImageSet,
    order: Mapping[str, Any],
    *,
    cause: str,
    edits: Edits,
    at: datetime,
    forced: bool = False,
) -> Put:
    """The write that keeps the version `image_set` has just become; `order` holds its instances and frames."""
    document = {
        "instances": order["instances"],
        "frames": order["frames"],
        "at": at.isoformat(),
        "cause": cause,
        "forced": forced,
        "is_primary": image_set.is_primary,
        "edits": edits.plain(),
    }
    return Put(VERSIONS, f"{image_set.id}/{image_set.version:08d}", document, {"image_set": image_set.id})


def versions_of(records: Records, image_set: ImageSet) -> list[Version]:
    """Every version up to the present one, oldest first; none of them for one that was never closed."""
    written = {_number(row): _version(row) for row in records.find(VERSIONS, {"image_set": image_set.id})}
    versions: list[Version] = []
    for number in range(1, image_set.version + 1):
        if number in written:
            versions.append(written[number])
        elif versions:
            versions.append(_silent(versions[-1], number, image_set))
    return versions


def version_of(records: Records, image_set: ImageSet, number: int) -> Version:
    """One version of an image set.

    Raises:
        NotFound: There is no such version.
    """
    found = next((each for each in versions_of(records, image_set) if each.number == number), None)
    if found is None:
        raise NotFound(f"image set {image_set.id} has no version {number}")
    return found


def _silent(before: Version, number: int, image_set: ImageSet) -> Version:
    """A version that changed neither instances nor attributes."""
    truth = image_set.truth
    at = truth.at if truth is not None and truth.at >= before.at else before.at
    return Version(
        number=number,
        at=at,
        cause=UPDATED,
        forced=False,
        is_primary=before.is_primary,
        instances=before.instances,
        frames=before.frames,
        edits=before.edits,
    )


def _number(row: Row) -> int:
    return int(row.key.rpartition("/")[2])


def _version(row: Row) -> Version:
    document = row.document
    frames: Sequence[Sequence[int]] = document["frames"]
    return Version(
        number=_number(row),
        at=datetime.fromisoformat(document["at"]),
        cause=document["cause"],
        forced=document["forced"],
        is_primary=document["is_primary"],
        instances=tuple(document["instances"]),
        frames=tuple((place, number) for place, number in frames),
        edits=edits_of(document["edits"]),
    )
