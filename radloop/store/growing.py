"""How an image set grows: what instances add to it, and what they hide."""

from dataclasses import replace
from datetime import datetime

from radloop.core.images import ImageSet, Notice, State, Storage
from radloop.store.instances import StoredInstance

_NOTICES_KEPT = 20


def newest_shown(stored: list[StoredInstance]) -> list[StoredInstance]:
    """Of objects that came together under one SOP instance UID, the last is shown and the others stand behind it."""
    last = {instance.sop_uid: instance.id for instance in stored}
    return [
        instance if last[instance.sop_uid] == instance.id else replace(instance, superseded_by=last[instance.sop_uid])
        for instance in stored
    ]


def replaced_by(stored: list[StoredInstance], older: list[StoredInstance]) -> list[tuple[StoredInstance, str]]:
    """Instances that came earlier under a SOP instance UID that now comes with other bytes, and what hides them."""
    shown = {new.sop_uid: new.id for new in stored if new.superseded_by is None}
    return [(old, shown[old.sop_uid]) for old in older if old.sop_uid in shown]


def grown(
    image_set: ImageSet, new: list[StoredInstance], old: list[StoredInstance], *, replace_open: bool, at: datetime
) -> ImageSet:
    """The image set with instances added; one that was closed opens again under its next version.

    Args:
        image_set: As it stands.
        new: What is added, also what stands behind another of them.
        old: What is hidden by it, wherever it came from.
        replace_open: It is being opened by these instances.
        at: When.
    """
    notices = list(image_set.notices)
    for instance in new:
        notices += [notice for notice in instance.notices if notice not in notices]
    if old:
        notice = Notice(
            "sop-uid-reused", "An instance came again with other content; both are kept, the newer one is shown"
        )
        notices += [] if notice in notices else [notice]
    reopened = image_set.is_closed and not replace_open
    if reopened and image_set.state is State.VERIFIED:
        notice = Notice("changed-since-verified", "Instances arrived after the image set was verified")
        notices += [] if notice in notices else [notice]
    return replace(
        image_set,
        version=image_set.version + (1 if reopened else 0),
        is_closed=False,
        instances=image_set.instances + len(new) - len(old),
        frames=image_set.frames + sum(i.frame_count for i in new) - sum(i.frame_count for i in old),
        landed=image_set.landed + _how_many(new, Storage.LANDED) - _how_many(old, Storage.LANDED),
        kept=image_set.kept + _how_many(new, Storage.KEPT) - _how_many(old, Storage.KEPT),
        original_bytes=image_set.original_bytes + sum(i.size_bytes for i in new),
        stored_bytes=image_set.stored_bytes + sum(i.stored_bytes for i in new),
        notices=tuple(notices[:_NOTICES_KEPT]),
        updated_at=at,
    )


def _how_many(instances: list[StoredInstance], storage: Storage) -> int:
    return sum(instance.storage is storage for instance in instances)
