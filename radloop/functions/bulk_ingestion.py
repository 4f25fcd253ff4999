"""What is too long to be taken in beside others: one object at a time, where there is memory for it."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from radloop.core.errors import TooLarge
from radloop.core.identity import SYSTEM
from radloop.core.platform import Platform
from radloop.core.ports import Change, Job
from radloop.functions.image_ingestion import take_in
from radloop.store.aside import Aside
from radloop.store.drafts import LANE

KIND: Final = "take_in"


def ask(key: str, size_bytes: int, mark: str, platform: Platform) -> None:
    """Have an object of the inbox taken in by a job of its own; asking twice is asking once.

    Args:
        key: Of the blob.
        size_bytes: How long it is.
        mark: Tells this object from one that lay under the same key before.
        platform: Where it lies and lands.
    """
    identity = hashlib.sha256(f"{key}\0{mark}".encode()).hexdigest()
    payload = {"key": key, "size_bytes": size_bytes, "mark": identity}
    platform.records.commit(Change(jobs=[Job(f"{KIND}-{identity}", LANE, KIND, payload)]))


def take_in_long(payload: Mapping[str, Any], platform: Platform, *, longest: int) -> None:
    """Do such a job: land the object, or enter it in quarantine where it is longer than `longest` bytes.

    A refused object is never read. It stays where it was put, until the bucket lets it go or somebody takes it.

    Raises:
        InvalidInput: The key points outside the inbox.
    """
    size_bytes = int(payload["size_bytes"])
    if size_bytes > longest:
        told = f"an object may be {longest} bytes long here; it lies where it was put, and another way in is by hand"
        aside = Aside(platform.blobs, platform.records, platform.keys, platform.clock)
        aside.tell_of(str(payload["mark"]), size_bytes, TooLarge(told), by=SYSTEM)
        return
    take_in([str(payload["key"])], platform)
