"""A reader's finding, and where one read is enough, ground truth."""

from radloop.core.identity import Principal
from radloop.core.images import Finding, ImageSet
from radloop.core.ports import Clock, Records
from radloop.reading.reads import attempt, fit_again


def verify(records: Records, clock: Clock, identity: str, finding: Finding, *, version: int, by: Principal) -> ImageSet:
    """Record `finding`; the read, the ground truth it may make, the event of that and the audit are one commit.

    In a project that asks for one read it is ground truth. In others it is one of the reads; see `reading.reads`.

    Args:
        records: Where image sets are kept.
        clock: The present moment.
        identity: Of the image set.
        finding: What was found, and on which frame.
        version: The version the reader looked at.
        by: The reader.

    Returns:
        The image set as it is now, one version on where the read made it ground truth.

    Raises:
        NotFound: There is no such image set.
        InvalidInput: The finding names a frame that does not exist.
        Conflict: It changed since, also while this was written; it is still arriving; or it has been decided on.
    """
    with records.alone():
        outcome = attempt(records, clock, identity, finding, version=version, by=by, is_first=True)
    fit_again(records, outcome.image_set.datastore)
    return outcome.image_set
