"""What is too long to be taken in beside others: one object at a time, by whoever need not hold it."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from radloop.core.errors import InvalidInput, TooLarge
from radloop.core.identity import SYSTEM
from radloop.core.platform import Platform
from radloop.core.ports import Change, Job
from radloop.functions.image_ingestion import UPLOADS
from radloop.store.aside import Aside
from radloop.store.drafts import LANE

KIND: Final = "take_in"


def ask(key: str, mark: str, platform: Platform) -> None:
    """Have an object of the inbox taken in by a job of its own; asking twice is asking once.

    Args:
        key: Of the blob.
        mark: Tells this object from one that lay under the same key before.
        platform: Where it lies and lands.
    """
    identity = marked(key, mark)
    platform.records.commit(Change(jobs=[Job(f"{KIND}-{identity}", LANE, KIND, {"key": key})]))


def marked(key: str, mark: str) -> str:
    """What an object of the inbox is called where its own name, which may be a patient's, must not stand."""
    return hashlib.sha256(f"{key}\0{mark}".encode()).hexdigest()


def take_in_long(
    payload: Mapping[str, Any],
    platform: Platform,
    *,
    longest: int,
    look: Callable[[str], tuple[int, str] | None],
    land: Callable[[str], object],
) -> None:
    """Do such a job: land the object, or enter it in quarantine where it is longer than `longest` bytes.

    A refused object is never read. It stays where it was put, until the bucket lets it go or somebody takes it.

    Args:
        payload: Of the job.
        platform: Where it lies and lands.
        longest: Bytes of the longest that is taken in.
        look: Tells how many bytes lie under a blob key now, and their mark; None where nothing does.
        land: Lands what lies under a blob key without holding it, and takes it from there; done where there is nothing.

    Raises:
        InvalidInput: The key points outside the inbox.
    """
    key = str(payload["key"])
    if not key.startswith(UPLOADS):
        raise InvalidInput("a file to land lies in the inbox")
    found = look(key)  # an event may be of an object that another one has replaced
    if found is None:
        return
    size_bytes, mark = found
    if size_bytes > longest:
        told = f"an object may be {longest} bytes long here; it lies where it was put, and another way in is by hand"
        refuse(marked(key, mark), size_bytes, TooLarge(told), platform)
        return
    land(key)


def refuse(mark: str, size_bytes: int, error: InvalidInput, platform: Platform) -> None:
    """Enter an object in quarantine that is not read; it stays where it was put.

    Args:
        mark: The same for the same object, and nothing of a patient.
        size_bytes: How long it is.
        error: Why it is not taken in.
        platform: Where it lies.
    """
    aside = Aside(platform.blobs, platform.records, platform.keys, platform.clock)
    aside.tell_of(mark, size_bytes, error, by=SYSTEM)
