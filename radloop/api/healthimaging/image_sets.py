"""Operations on one image set: reading it, changing it, copying it, deleting it."""

from typing import Any

from radloop.api.healthimaging.call import Call, Members, arn_of, number_of, page_of, token_of, version_number
from radloop.codec.htj2k import TRANSFER_SYNTAX
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.images import ImageSet
from radloop.store.metadata import CONTENT_TYPES, LOSSLESS, frame_id, given_syntax
from radloop.store.revisions import Tombstone
from radloop.store.versions import Version, versions_of

ACTIVE, LOCKED, DELETED = "ACTIVE", "LOCKED", "DELETED"
_TIER = "FREQUENT_ACCESS"


class NotAcceptable(InvalidInput):
    """A frame cannot be given in any form that the caller takes."""

    code = "not-acceptable"


# Reading


def get_image_set(call: Call) -> Members:
    """The properties of a version."""
    found = _living(call)
    if isinstance(found, Tombstone):
        return {"imageSetArn": arn_of(found.datastore, found.id), **_buried(found, version_number(call))}
    versions = _versions(call, found)
    number = version_number(call) or found.version
    version = next((each for each in versions if each["versionId"] == str(number)), None)
    if version is None:
        raise NotFound(f"image set {found.id} has no version {number}")
    return {
        **version,
        "datastoreId": found.datastore,
        "imageSetArn": arn_of(found.datastore, found.id),
        "lastAccessedAt": found.updated_at,
        "storageTier": _TIER,
    }


def get_image_set_metadata(call: Call) -> Members:
    """The metadata document of a version, gzipped."""
    image_set = call.shown()
    return {
        "imageSetMetadataBlob": call.service.metadata.document(
            image_set, version_number(call), lossless=_lossless(call, image_set)
        ),
        "contentType": "application/json",
        "contentEncoding": "gzip",
    }


def get_image_frame(call: Call) -> Members:
    """The bytes of a frame."""
    name = call.members["imageFrameInformation"]["imageFrameId"]
    at_hand = frame_at_hand(call, name)
    if at_hand is not None:
        return {"imageFrameBlob": at_hand, "contentType": CONTENT_TYPES[TRANSFER_SYNTAX]}
    image_set = call.shown()
    frame = call.service.metadata.frame(image_set, name, lossless=_lossless(call, image_set))
    if not _is_accepted(call.accept, frame.content_type):
        raise NotAcceptable(f"the frame is stored as {frame.content_type}")
    call.service.remember(image_set.id, call.images.frames(image_set.id))
    return {"imageFrameBlob": frame.data, "contentType": frame.content_type}


def frame_at_hand(call: Call, name: str) -> bytes | bytearray | None:
    """A frame of an image set that was read lately, if it is stored as it is to be given and lies in memory.

    None for everything else, refusals included: the long way comes to the same and tells it.
    """
    identity = call.members["imageSetId"]
    index = call.service.place(identity, name)
    glance = None if index is None else call.images.glance(identity, index)
    if glance is None or frame_id(glance.address.instance.id, glance.address.number) != name:
        return None
    datastore = glance.image_set.datastore
    is_htj2k = LOSSLESS.get(call.service.formats.get(datastore, "")) == TRANSFER_SYNTAX
    if datastore != call.members["datastoreId"] or not is_htj2k:
        return None
    if given_syntax(glance.address.instance) != TRANSFER_SYNTAX:
        return None
    if not _is_accepted(call.accept, CONTENT_TYPES[TRANSFER_SYNTAX]):
        return None
    data = glance.full()
    return data if data is not None and call.images.looks_again(identity) else None


def list_image_set_versions(call: Call) -> Members:
    """A page of versions, newest first."""
    found = _living(call)
    if isinstance(found, Tombstone):
        versions = [_buried(found, number) for number in range(found.version, 0, -1)]
    else:
        versions = list(reversed(_versions(call, found)))
    after, limit = page_of(call)
    page = []
    for version in versions[after : after + limit]:
        told = {name: value for name, value in version.items() if name not in {"imageSetWorkflowStatus", "datastoreId"}}
        page.append({**told, "ImageSetWorkflowStatus": version["imageSetWorkflowStatus"]})
    more = after + limit if len(versions) > after + limit else None
    return {"imageSetPropertiesList": page, "nextToken": token_of(more)}


def _living(call: Call) -> ImageSet | Tombstone:
    """The image set a request names, or what is left to tell of it."""
    try:
        return call.image_set("image.read")
    except NotFound:
        grave = call.service.revisions.tombstone(call.members["imageSetId"])
        if grave is None or grave.datastore != call.members["datastoreId"] or call.principal.patients is not None:
            raise
        return grave


def _versions(call: Call, image_set: ImageSet) -> list[dict[str, Any]]:
    """The properties of every version, oldest first; one that still arrives is locked."""
    known = versions_of(call.service.doors.platform.records, image_set)
    told = [_version(image_set, each) for each in known if image_set.is_closed or each.number < image_set.version]
    if not image_set.is_closed:
        told.append(
            {
                "imageSetId": image_set.id,
                "versionId": str(image_set.version),
                "imageSetState": LOCKED,
                "imageSetWorkflowStatus": "IMPORTING",
                "createdAt": image_set.created_at,
                "updatedAt": image_set.updated_at,
                "isPrimary": image_set.is_primary,
            }
        )
    return told


def _version(image_set: ImageSet, version: Version) -> dict[str, Any]:
    return {
        "imageSetId": image_set.id,
        "versionId": str(version.number),
        "imageSetState": ACTIVE,
        "imageSetWorkflowStatus": version.cause,
        "createdAt": image_set.created_at,
        "updatedAt": version.at,
        "overrides": {"forced": True} if version.forced else None,
        "isPrimary": version.is_primary,
    }


def _buried(grave: Tombstone, number: int | None) -> dict[str, Any]:
    number = number or grave.version
    if not 1 <= number <= grave.version:
        raise NotFound(f"image set {grave.id} has no version {number}")
    return {
        "datastoreId": grave.datastore,
        "imageSetId": grave.id,
        "versionId": str(number),
        "imageSetState": DELETED,
        "imageSetWorkflowStatus": DELETED,
        "createdAt": grave.created_at,
        "updatedAt": grave.deleted_at,
        "deletedAt": grave.deleted_at,
        "isPrimary": grave.is_primary,
    }


def _lossless(call: Call, image_set: ImageSet) -> str:
    """The transfer syntax that lossless frames of an image set's data store are given out in."""
    return LOSSLESS[call.service.storage_format(image_set.datastore)]


def _is_accepted(accept: str, kind: str) -> bool:
    """Whether an Accept header takes a media type (RFC 9110 §12.5.1)."""
    if not accept.strip():
        return True
    ranges = [each.split(";")[0].strip().lower() for each in accept.split(",")]
    return bool({"*/*", kind.lower(), f"{kind.partition('/')[0].lower()}/*"} & set(ranges))


# Changing


def update_image_set_metadata(call: Call) -> Members:
    """Change attributes, or go back to what a former version held."""
    before = call.image_set("image.update")
    members = call.members
    asked = members["updateImageSetMetadataUpdates"]
    expected, force = number_of(members["latestVersionId"]), members.get("force", False)
    if "revertToVersionId" in asked:
        target = number_of(asked["revertToVersionId"])
        after = call.service.revisions.revert(before.id, to=target, expected=expected, by=call.principal)
    else:
        after = call.service.revisions.update(
            before.id,
            updating=asked["DICOMUpdates"].get("updatableAttributes"),
            removing=asked["DICOMUpdates"].get("removableAttributes"),
            expected=expected,
            force=force,
            whole_study=members.get("includeStudyImageSets", False),
            by=call.principal,
        )
    return {
        "datastoreId": after.datastore,
        "imageSetId": after.id,
        "latestVersionId": str(after.version),
        "imageSetState": ACTIVE,
        "imageSetWorkflowStatus": "UPDATED",
        "createdAt": after.created_at,
        "updatedAt": after.updated_at,
    }


def copy_image_set(call: Call) -> Members:
    """Copy instances into a new image set or into one that is there."""
    source = call.image_set("image.update", "sourceImageSetId")
    told = call.members["copyImageSetInformation"]
    target = told.get("destinationImageSet")
    if target is not None and call.images.get(target["imageSetId"], "image.update").datastore != source.datastore:
        raise NotFound(f"no image set {target['imageSetId']}")
    copy = call.service.copies.copy(
        source.id,
        expected=number_of(told["sourceImageSet"]["latestVersionId"]),
        copies=told["sourceImageSet"].get("DICOMCopies", {}).get("copiableAttributes"),
        into=None if target is None else (target["imageSetId"], number_of(target["latestVersionId"])),
        promote=call.members.get("promoteToPrimary", False),
        force=call.members.get("force", False),
        by=call.principal,
    )
    return {
        "datastoreId": source.datastore,
        "sourceImageSetProperties": _copied(source),
        "destinationImageSetProperties": _copied(copy),
    }


def _copied(image_set: ImageSet) -> dict[str, Any]:
    return {
        "imageSetId": image_set.id,
        "latestVersionId": str(image_set.version),
        "imageSetState": ACTIVE,
        "imageSetWorkflowStatus": "COPIED",
        "createdAt": image_set.created_at,
        "updatedAt": image_set.updated_at,
        "imageSetArn": arn_of(image_set.datastore, image_set.id),
    }


def delete_image_set(call: Call) -> Members:
    """Delete an image set for good."""
    image_set = call.image_set("image.delete")
    call.service.revisions.delete(image_set.id, by=call.principal)
    return {
        "datastoreId": image_set.datastore,
        "imageSetId": image_set.id,
        "imageSetState": DELETED,
        "imageSetWorkflowStatus": DELETED,
    }
