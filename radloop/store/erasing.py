"""What hangs on an image set, and the job that deletes it where one change cannot.

One machine deletes an image set in one commit. Where a change holds no more than a hundred items, the commit takes the
image set away and asks for this job with it: from then on nobody finds the image set, and the job deletes what hangs on
it in many small changes. Who follows a record to its image set finds none meanwhile, as for one that never was.
"""

from typing import Final

from radloop.core.ports import Job
from radloop.core.tables import FRAME_FACTS, INSTANCES, LABELS, METADATA, PACKS, READS, SERIES, VERSIONS

HANGING: Final = (INSTANCES, SERIES, VERSIONS, PACKS, FRAME_FACTS, METADATA, READS, LABELS)
"""Tables whose records go with the image set that their column `image_set` names."""

LANE: Final = "assembly"
KIND: Final = "erase"


def asked_for(image_set: str, part: int = 0) -> Job:
    """The job that deletes what hangs on a deleted image set; `part` counts the calls that it took before."""
    payload = {"image_set": image_set, "part": part}
    return Job(f"{KIND}-{image_set}-{part}", LANE, KIND, payload, trace=image_set)
