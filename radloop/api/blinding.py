"""Blinding at the doors: whose eyes a request looks with, and what it may be told."""

from radloop.api.operations import Ask
from radloop.core.images import ImageSet
from radloop.reading.blinding import Eyes, require_open


def eyes_of(ask: Ask) -> Eyes:
    """The eyes that a request looks with."""
    return Eyes.of(ask.principal, ask.doors.platform.policy)


def require_open_eyes(ask: Ask, image_set: ImageSet) -> None:
    """Go on only where the caller may be told what others or a model say of an image set.

    Raises:
        Blinded: The caller must read it first.
    """
    require_open(eyes_of(ask), ask.doors.platform.records, image_set)
