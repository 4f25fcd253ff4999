"""Test patients who may never be used again: the list grows and never shrinks.

A test is worth what nobody knows of it. Patients whose results were looked at too often, or whose truth became known
to who builds models, say nothing about patients to come; they leave the test part and come back into no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from radloop.core.datasets import Split, split_of
from radloop.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry, Change, Put
from radloop.core.tables import DATASTORES, DEFAULT_DATASTORE, IMAGE_SETS, RETIRED_PATIENTS, image_set_of
from radloop.store.datastores import DEFAULT_NAME

REASONS: Final = ("looked-at-too-often", "unblinded", "other")
"""Why a test patient may be retired."""
ACTION: Final = "test.retire"
"""What a principal must be allowed to do, for the patients concerned."""
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Retirement:
    """What became of a request: patients who are retired from now on, and those who were before."""

    retired: int
    already: int


def retired(platform: Platform) -> frozenset[str]:
    """Pseudonyms of all retired test patients."""
    return frozenset(row.key for row in platform.records.find(RETIRED_PATIENTS))


def retire(image_sets: Sequence[str], reason: str, platform: Platform, *, by: Principal) -> Retirement:
    """Retire the patients of these image sets, all of them or none; retiring twice is once.

    Args:
        image_sets: Ids; each must be of a patient of the test part or of an external data store.
        reason: One of `REASONS`.
        platform: The ports.
        by: Who asks.

    Raises:
        InvalidInput: The reason is none of ours, no image set is named, or one is of a patient who is not tested on.
        NotFound: There is no such image set, or its patient is out of the scope of `by`.
    """
    if reason not in REASONS:
        raise InvalidInput(f"reason must be one of {', '.join(REASONS)}")
    if not image_sets:
        raise InvalidInput("name at least one image set")
    chosen = {platform.keys.pseudonym(one.patient_id): one for one in _found(image_sets, platform, by)}
    for _ in range(_TRIES):
        new = [patient for patient in chosen if platform.records.get(RETIRED_PATIENTS, patient) is None]
        try:
            if new:
                platform.records.commit(_listing({patient: chosen[patient] for patient in new}, reason, platform, by))
        except Conflict:  # somebody else listed one of them meanwhile; what is on the list stays as it is
            continue
        return Retirement(retired=len(new), already=len(chosen) - len(new))
    raise Unavailable("the list of retired test patients is too busy")


def _found(image_sets: Sequence[str], platform: Platform, by: Principal) -> list[ImageSet]:
    found = []
    for identity in dict.fromkeys(image_sets):
        row = platform.records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        image_set = image_set_of(row)
        platform.policy.demand(by, ACTION, image_set.patient_id)
        if split_of(image_set.patient_id) is not Split.TEST and not is_external(image_set.datastore, platform):
            raise InvalidInput(f"image set {identity} is of a patient who is not tested on")
        found.append(image_set)
    return found


def _listing(patients: Mapping[str, ImageSet], reason: str, platform: Platform, by: Principal) -> Change:
    at = platform.clock().isoformat()
    return Change(
        writes=[
            Put(
                RETIRED_PATIENTS,
                patient,
                {"image_set": image_set.id, "reason": reason, "by": by.id, "at": at},
                expected=0,
            )
            for patient, image_set in patients.items()
        ],
        audit=[AuditEntry(by.id, "test-patient.retire", image_set.id) for image_set in patients.values()],
    )


def is_external(datastore: str, platform: Platform) -> bool:
    """Whether a data store is one that the setting `external_datastores` names, by id or by name."""
    return is_named(datastore, platform.settings.external_datastores, platform)


def is_named(datastore: str, names: Sequence[str], platform: Platform) -> bool:
    """Whether a data store is among `names`, which are ids or names of data stores."""
    if not names:
        return False
    return datastore in names or name_of(datastore, platform) in names


def name_of(datastore: str, platform: Platform) -> str:
    """The name of a data store; its id where nobody knows it."""
    row = platform.records.get(DATASTORES, datastore)
    if row is None:
        return DEFAULT_NAME if datastore == DEFAULT_DATASTORE else datastore
    return str(row.document.get("name") or datastore)
