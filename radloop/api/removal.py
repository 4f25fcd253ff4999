"""Deleting by DICOMweb, as archives do it: DELETE of a study, a series or an instance. No part of PS3.18."""

import orjson

from radloop.api.wado import Visit
from radloop.core.errors import Conflict, NotFound
from radloop.core.identity import Principal
from radloop.core.ports import Audit, AuditEntry
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance
from radloop.store.revisions import Revisions

DELETE = "image.delete"
_TRIES = 5


def remove(visit: Visit, images: ImageStore, revisions: Revisions, audit: Audit) -> None:
    """Delete what lies at a place, as far as the caller may know of it.

    A study and a series go for good. An instance is taken out of its image set, which makes the next version of it;
    the last one takes the image set with it.

    Raises:
        NotFound: There is nothing, also where somebody else has just deleted it.
        HTTPException: 410, the one image set that is named has been deleted.
    """
    names = [held.image_set.id for held in visit.image_sets(DELETE, is_whole=True)]
    by = visit.images.principal
    if visit.place.instance is None:
        gone = [name for name in names if _is_deleted(name, revisions, by)]
        if not gone:
            raise NotFound("nothing is stored at this address")
        return
    found = [(name, one) for name in names for one in images.instances(name) if one.sop_uid == visit.place.instance]
    if not found:
        raise NotFound("nothing is stored at this address")
    for name, one in found:
        _take_out(name, one, images, revisions, by)
        audit.record(AuditEntry(by.id, "take-out", one.id))


def _is_deleted(name: str, revisions: Revisions, by: Principal) -> bool:
    """Delete one image set; False where somebody else was faster."""
    try:
        revisions.delete(name, by=by)
    except NotFound:
        return False
    return True


def _take_out(name: str, one: StoredInstance, images: ImageStore, revisions: Revisions, by: Principal) -> None:
    """Make the next version of an image set without this instance; a set that is still arriving is closed first.

    Raises:
        Conflict: The image set kept changing.
    """
    for is_last in (*(False,) * _TRIES, True):
        image_set = images.complete(name, by=by)
        left = {each.id for each in images.instances(name)}
        if one.id not in left:
            return  # somebody else was faster
        if left == {one.id}:
            revisions.delete(name, by=by)
            return
        removing = orjson.dumps({"Study": {"Series": {image_set.series_uid: {"Instances": {one.sop_uid: {}}}}}})
        try:
            revisions.update(name, updating=None, removing=removing, expected=image_set.version, by=by)
        except Conflict:
            if is_last:
                raise
            continue
        return
