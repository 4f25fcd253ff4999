"""The way into quarantine: a file that cannot be accepted is put aside, sealed, with its reason in clear beside it."""

from collections.abc import Callable

import orjson

from radloop.core.errors import InvalidInput
from radloop.core.events import ImageQuarantined
from radloop.core.identity import Principal, derived_id
from radloop.core.ports import AuditEntry, Blobs, Change, Clock, Keys, Landing, Put, Records
from radloop.core.tables import QUARANTINE

SEALED = "file.sealed"
"""The name of a file that is sealed under a key of its own."""

WHOLE = "file"
"""The name of a file that is too long to be held: it lies there as it came, sealed by the store as all it keeps is."""


class Aside:
    """Where the files of one installation go that cannot be accepted; `store.quarantine` is the way out."""

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock

    def put(self, data: bytes, digest: str, error: InvalidInput, *, by: Principal) -> Landing:
        """Put a file aside. The same file again is the same entry.

        Args:
            data: The whole file.
            digest: Its SHA-256, hexadecimal.
            error: Why it cannot be accepted.
            by: Who sent it.
        """
        identity = derived_id("quarantine", digest)
        landing = Landing(outcome="quarantined", reason=error.code, sentence=str(error), quarantine_id=identity)
        with self._records.alone():  # the same file may come twice at once, and its bytes and key belong together
            if self._records.get(QUARANTINE, identity) is None:
                self._put(identity, data, digest, error, by)
        return landing

    def keep(
        self, digest: str, size_bytes: int, copy: Callable[[str], None], error: InvalidInput, *, by: Principal
    ) -> Landing:
        """Put a file aside that is too long to be held. The same file again is the same entry.

        Args:
            digest: Its SHA-256, hexadecimal.
            size_bytes: How long it is.
            copy: Has the store copy it to a blob key.
            error: Why it cannot be accepted.
            by: Who sent it.
        """
        identity = derived_id("quarantine", digest)
        landing = Landing(outcome="quarantined", reason=error.code, sentence=str(error), quarantine_id=identity)
        with self._records.alone():
            if self._records.get(QUARANTINE, identity) is None:
                copy(f"training-data/quarantine/{identity}/{WHOLE}")
                self._enter(identity, size_bytes, digest, error, by, name=WHOLE)
        return landing

    def tell_of(self, mark: str, size_bytes: int, error: InvalidInput, *, by: Principal) -> Landing:
        """Enter a file that is too long to be held: only that it came and why it stays where it lies.

        Args:
            mark: The same for the same file, and nothing of a patient.
            size_bytes: How long it is.
            error: Why it cannot be accepted.
            by: Who sent it.
        """
        identity = derived_id("quarantine", mark)
        landing = Landing(outcome="quarantined", reason=error.code, sentence=str(error), quarantine_id=identity)
        with self._records.alone():
            if self._records.get(QUARANTINE, identity) is None:
                self._enter(identity, size_bytes, "", error, by)
        return landing

    def _put(self, identity: str, data: bytes, digest: str, error: InvalidInput, by: Principal) -> None:
        wrapped = self._keys.create()
        sealed = self._keys.cipher(wrapped).seal(data, identity.encode())
        self._blobs.put(f"training-data/quarantine/{identity}/{SEALED}", sealed)
        self._enter(identity, len(data), digest, error, by, wrapped=wrapped)

    def _enter(
        self,
        identity: str,
        size_bytes: int,
        digest: str,
        error: InvalidInput,
        by: Principal,
        *,
        wrapped: bytes = b"",
        name: str | None = None,
    ) -> None:
        now = self._clock()
        reason = {
            "code": error.code,
            "sentence": str(error),
            "quarantine_id": identity,
            "size_bytes": size_bytes,
            "sha256": digest,
            "time": now.isoformat(),
        }
        folder = f"training-data/quarantine/{identity}"
        self._blobs.put(f"{folder}/reason.json", orjson.dumps(reason, option=orjson.OPT_INDENT_2))
        document = {**reason, "wrapped_key": wrapped.hex(), **({} if name is None else {"name": name})}
        record = Put(QUARANTINE, identity, document, {"reason": error.code, "digest": digest})
        event = ImageQuarantined(quarantine_id=identity, reason=error.code).told(at=now)
        audit = AuditEntry(by.id, "quarantine", identity)
        self._records.commit(Change(writes=[record], events=[event], audit=[audit]))
