"""Priors: what else there is of a patient, to be compared with."""

from dataclasses import dataclass

from radloop.core.images import ImageSet, State
from radloop.core.ports import Records, Term
from radloop.core.tables import IMAGE_SETS, image_set_of

MOST_PRIORS = 200


@dataclass(frozen=True, slots=True)
class Prior:
    """An image set of the same patient.

    Attributes:
        image_set: As it is stored.
        same_frame_of_reference: Whether a place in millimetres is the same place in both; None where one of them
            does not tell.
    """

    image_set: ImageSet
    same_frame_of_reference: bool | None


def priors(records: Records, image_set: ImageSet, *, limit: int = MOST_PRIORS) -> tuple[Prior, ...]:
    """The other image sets of the patient that have images: newest study first, then as they were first written.

    Those of the same study count, for one phase is compared with another. A patient is known by PatientID within one
    data store. Image sets without a PatientID are nobody's, and have none.

    Args:
        records: Where image sets are kept.
        image_set: What is looked at.
        limit: At most so many.
    """
    if not image_set.patient_id.strip():
        return ()
    of_patient = (
        Term("patient_id", "is", (image_set.patient_id,)),
        Term("datastore", "is", (image_set.datastore,)),
        Term("state", "in", tuple(State)),  # not those without images, which are in no state
    )
    rows = records.search(IMAGE_SETS, of_patient, columns=(), order="study_moment", descending=True, limit=limit + 1)
    others = (other for other in map(image_set_of, rows) if other.id != image_set.id)
    found = [Prior(other, _is_same(_frame_of_reference(image_set), _frame_of_reference(other))) for other in others]
    return tuple(found[:limit])


def _frame_of_reference(image_set: ImageSet) -> str:
    return str(image_set.attributes.get("FrameOfReferenceUID") or "")


def _is_same(one: str, other: str) -> bool | None:
    return one == other if one and other else None
