"""What model versions said of image sets, one row an image set and version.

The row keeps all that drift, comparisons and figures are made of, so that no image is needed again: no pixel, no
patient but a pseudonym.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from radloop.core.images import ImageSet
from radloop.core.ports import Put, Row
from radloop.core.tables import PREDICTIONS

CHAMPION, SHADOW = "champion", "shadow"
"""In which role a version was asked. What a shadow says no reader ever sees."""

OUT_OF_DISTRIBUTION = "out-of-distribution"
"""Why a model refuses to judge an image set: it is nothing like what the model was made from."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer of one model version.

    Attributes:
        image_set: Which.
        version: Of the image set, as the model saw it.
        images: What its images were then, see `images_of`.
        model_version: Who said it.
        role: `CHAMPION` or `SHADOW`.
        patient: Pseudonym.
        probability: Calibrated, also where the model refused to judge.
        threshold: Of the model version.
        refused: `OUT_OF_DISTRIBUTION`, or None.
        seconds: From pixels to answer.
        tags: Facts of the header that the reference is compared by: modality, scanner, view.
        embedding: Bytes of a float16 array, the embedding in the principal components of the reference; empty where
            the version has no reference.
        statistics: Bytes of a float32 array, `radloop.dicom.intensity.STATISTICS`.
        at: RFC 3339.
    """

    image_set: str
    version: int
    images: str
    model_version: int
    role: str
    patient: str
    probability: float
    threshold: float
    refused: str | None
    seconds: float
    tags: Mapping[str, str]
    embedding: bytes
    statistics: bytes
    at: str

    @property
    def says_present(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.probability >= self.threshold


def images_of(image_set: ImageSet) -> str:
    """What changes when the images of an image set do, and not when somebody reads it, which raises its version too.

    Instances, frames and bytes: a late, replaced or removed instance changes one of them.
    """
    return f"{image_set.instances}-{image_set.frames}-{image_set.original_bytes}"


def key_of(model_version: int, image_set: str) -> str:
    """The key of what `model_version` says of `image_set`: asked again, it takes the place of what it said before."""
    return f"v{model_version}-{image_set}"


def put_observation(value: Observation) -> Put:
    """The write that stores `value`."""
    document = {name: getattr(value, name) for name in value.__slots__}
    document["tags"] = dict(value.tags)
    document["embedding"] = b64encode(value.embedding).decode()
    document["statistics"] = b64encode(value.statistics).decode()
    return Put(
        table=PREDICTIONS,
        key=key_of(value.model_version, value.image_set),
        document=document,
        columns={
            "image_set": value.image_set,
            "model_version": value.model_version,
            "refused": value.refused,
            "milliseconds": max(1, round(value.seconds * 1000)),
        },
    )


def observation_of(row: Row) -> Observation:
    """The observation a record holds."""
    document: dict[str, Any] = dict(row.document)
    document["embedding"] = b64decode(document["embedding"])
    document["statistics"] = b64decode(document["statistics"])
    return Observation(**document)
