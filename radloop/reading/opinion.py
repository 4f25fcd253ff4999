"""What a model said of an image set, kept beside it for its readers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from radloop.core.errors import Conflict, NotFound, Unavailable
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.core.ports import AuditEntry, Change, Job, Put, Records, Stands
from radloop.core.tables import IMAGE_SETS, image_set_of, put_image_set

_TRIES = 20


def keep_beside(records: Records, image_set: ImageSet, writes: Sequence[Put]) -> None:
    """Keep what a model says of an image set where no reader sees it.

    Raises:
        NotFound: It has been deleted meanwhile.
    """
    records.commit(Change([Stands(IMAGE_SETS, image_set.id), *writes]))


def keep_prediction(
    records: Records,
    identity: str,
    prediction: Mapping[str, Any],
    *,
    version: int,
    by: Principal,
    beside: Sequence[Put] = (),
    jobs: Sequence[Job] = (),
) -> ImageSet:
    """Keep a prediction with its image set; a later one takes its place.

    The version does not rise: the images are what they were, and a reader who has them open may go on.

    Args:
        records: Where image sets are kept.
        identity: Of the image set.
        prediction: Plain values: probability, finding, threshold, model_version, calibrated, refused, ood, frames.
        version: The version the model saw.
        by: Who asked for it.
        beside: Records that become true with it: what drift is measured on, where the network looked.
        jobs: What is to be done once it is kept.

    Raises:
        NotFound: There is no such image set.
        Conflict: Its images changed since the model saw them.
        Unavailable: It kept changing; worth another try.
    """
    for _ in range(_TRIES):
        row = records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        image_set = image_set_of(row)
        if image_set.version != version or not image_set.is_closed:
            raise Conflict(f"image set {identity} changed while the model looked at it")
        after = replace(image_set, prediction=dict(prediction))
        audit = AuditEntry(by.id, "predict", identity)
        writes = [put_image_set(after, expected=row.revision), *beside]
        try:
            records.commit(Change(writes=writes, jobs=jobs, audit=[audit]))
        except Conflict:
            continue  # folding got in between, which changes nothing a model sees
        return after
    raise Unavailable("the image set kept changing while a prediction was kept")
