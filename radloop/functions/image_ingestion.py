"""Uploads become instances of image sets: from the inbox when a file has come to lie there, and from every door."""

from collections.abc import Iterable, Iterator

from radloop.core.errors import InvalidInput, NotFound
from radloop.core.events import Event
from radloop.core.identity import SYSTEM, Principal
from radloop.core.platform import Platform
from radloop.core.ports import Landing, Upload
from radloop.core.tables import DEFAULT_DATASTORE

UPLOADED = "training-data/uploaded/"
"""Where files of the embedded inbox wait to be landed, under opaque names."""

UPLOADS = "training-data/upload/"
"""Where people and machines put files into the bucket. Nothing outside these two is ever taken away."""

_TOGETHER_BYTES = 32 << 20


def handle(event: Event, platform: Platform) -> None:
    """Land the file that a DicomUploaded event tells of, and take it out of the inbox; raises as `take_in`."""
    take_in([str(event.detail["key"])], platform)


def take_in(keys: Iterable[str], platform: Platform) -> None:
    """Land files of the inbox, and take them out of it.

    A file goes only after it is durable elsewhere: as an instance, as a known duplicate or in quarantine, where
    landing puts what it cannot accept. A repeat finds no file and is done.

    Raises:
        InvalidInput: A key points outside the inbox.
    """
    for files in _together(keys, platform):
        ingest([Upload(data) for data in files.values()], platform, by=SYSTEM)
        for key in files:
            platform.blobs.delete(key)


def _together(keys: Iterable[str], platform: Platform) -> Iterator[dict[str, bytes]]:
    """The files that are there, some at a time, so that memory stays small."""
    files: dict[str, bytes] = {}
    for key in keys:
        if not key.startswith((UPLOADED, UPLOADS)):
            raise InvalidInput("a file to land lies in the inbox")
        try:
            data = platform.blobs.get(key)
        except NotFound:
            continue
        files[key] = data
        if sum(map(len, files.values())) >= _TOGETHER_BYTES:
            del data  # what was landed is let go of before the next comes
            yield files
            files = {}
    if files:
        yield files


def ingest(
    uploads: Iterable[Upload], platform: Platform, *, by: Principal, datastore: str = DEFAULT_DATASTORE
) -> list[Landing]:
    """Land `uploads`, in order, on behalf of `by`; the one way in for the inbox, STOW, uploads and the command line.

    On return each is durable, a known duplicate, or quarantined with a reason.
    """
    return platform.images.land(list(uploads), by=by, datastore=datastore)
