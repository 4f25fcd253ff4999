"""A reader's finding becomes ground truth."""

from radloop.core.errors import NotFound
from radloop.core.identity import Principal
from radloop.core.images import Finding, ImageSet
from radloop.core.ports import AuditEntry, Change, Clock, Records
from radloop.core.tables import IMAGE_SETS, image_set_of, put_image_set


def verify(records: Records, clock: Clock, identity: str, finding: Finding, *, version: int, by: Principal) -> ImageSet:
    """Record `finding` as ground truth; the image set, the event that tells of it and the audit are one commit.

    Args:
        records: Where image sets are kept.
        clock: The present moment.
        identity: Of the image set.
        finding: What was found, and on which frame.
        version: The version the reader looked at.
        by: The reader.

    Returns:
        The image set as it is now, one version on.

    Raises:
        NotFound: There is no such image set.
        InvalidInput: The finding names a frame that does not exist.
        Conflict: It changed since, also while this was written; it is still arriving; or it has been decided on.
    """
    row = records.get(IMAGE_SETS, identity)
    if row is None:
        raise NotFound(f"no image set {identity}")
    now = clock()
    verified, happening = image_set_of(row).verify(finding, version=version, by=by.id, at=now)
    records.commit(
        Change(
            writes=[put_image_set(verified, expected=row.revision)],
            events=[happening.told(at=now, trace=identity)],
            audit=[AuditEntry(by.id, "verify", identity)],
        )
    )
    return verified
