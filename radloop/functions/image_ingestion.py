"""Uploads become instances of image sets: from the inbox when a file has come to lie there, and from every door."""

from collections.abc import Iterable

from radloop.core.errors import InvalidInput, NotFound
from radloop.core.events import Event
from radloop.core.identity import SYSTEM, Principal
from radloop.core.platform import Platform
from radloop.core.ports import Landing, Upload
from radloop.core.tables import DEFAULT_DATASTORE

UPLOADED = "training-data/uploaded/"
"""Where files of the inbox wait to be landed, under opaque names. Nothing outside is ever taken away."""


def handle(event: Event, platform: Platform) -> None:
    """Land the file that a DicomUploaded event tells of, and take it out of the inbox.

    The file goes only after it is durable elsewhere: as an instance, as a known duplicate or in quarantine, where
    landing puts what it cannot accept. A repeat finds no file and is done.

    Raises:
        InvalidInput: The event points outside the inbox.
    """
    key = str(event.detail["key"])
    if not key.startswith(UPLOADED):
        raise InvalidInput("a file to land lies in the inbox")
    try:
        data = platform.blobs.get(key)
    except NotFound:
        return
    ingest([Upload(data)], platform, by=SYSTEM)
    platform.blobs.delete(key)


def ingest(
    uploads: Iterable[Upload], platform: Platform, *, by: Principal, datastore: str = DEFAULT_DATASTORE
) -> list[Landing]:
    """Land `uploads`, in order, on behalf of `by`; the one way in for the inbox, STOW, uploads and the command line.

    On return each is durable, a known duplicate, or quarantined with a reason.
    """
    return platform.images.land(list(uploads), by=by, datastore=datastore)
