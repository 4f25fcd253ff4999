"""The way out of quarantine: a file lands after all, is looked at, or is given up for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from radloop.core.errors import Conflict, Corrupt, Denied, NotFound
from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry, Change, Delete, Landing, Put, Row, Upload
from radloop.core.tables import DEFAULT_DATASTORE, QUARANTINE, QUARANTINE_LEFT
from radloop.store.aside import SEALED, WHOLE

KEPT, RELEASED, DISCARDED = "kept", "released", "discarded"

_LEAVING = "leaving"
"""Stands where the reason does while bytes are being deleted, so that a start finds what a crash left."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that could not be accepted; nothing of it is a patient's.

    Attributes:
        code: Why, as in `core.errors`; `sentence` says it to people.
        sha256: Of the file as it arrived, hexadecimal; empty for one that was too long to be read.
        time: When it was put aside.
        state: `kept`, `released` or `discarded`. The bytes are there only while it is kept.
        left_by: Who released or discarded it, and `left_at` when.
        image_set: Where it went when it was released.
    """

    id: str
    code: str
    sentence: str
    size_bytes: int
    sha256: str
    time: str
    state: str = KEPT
    left_by: str | None = None
    left_at: str | None = None
    image_set: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """What became of a release.

    Attributes:
        landing: What the ordinary way made of the file; None where it had been released before.
        is_same: It was refused again, for the very reason it was put aside for.
    """

    entry: Entry
    landing: Landing | None
    is_same: bool = False


class Quarantine:
    """The files of one installation that could not be accepted.

    A file leaves in three steps: the record is marked, which is what counts; the bytes go; the record makes room for
    a tombstone. Until the last one, the same file sent again is the same entry, so that no step deletes what has just
    come. What a crash left between them, the next start finishes. The key goes with the record.
    """

    def __init__(self, platform: Platform) -> None:
        self._blobs = platform.blobs
        self._records = platform.records
        self._keys = platform.keys
        self._clock = platform.clock
        self._audit = platform.audit
        self._lander = platform.images

    def page(self, *, code: str | None = None, after: str | None = None, limit: int) -> list[Entry]:
        """What is kept, newest first.

        Args:
            code: Only what was put aside for this.
            after: Id of the last entry of the page before.
            limit: At most so many.

        Raises:
            NotFound: There is no entry `after`.
        """
        last = None if after is None else self._records.get(QUARANTINE, after)
        if after is not None and last is None:
            raise NotFound(f"no entry {after} in quarantine; begin again without it")
        where = None if code is None else {"reason": code}
        rows = self._records.find(
            QUARANTINE, where, after=0 if last is None else last.order, limit=limit, newest_first=True
        )
        return [_entry(row.document) for row in rows if "left" not in row.document]

    def get(self, identity: str) -> Entry:
        """One entry, also one that has left.

        Raises:
            NotFound: There never was one.
        """
        row = self._records.get(QUARANTINE, identity) or self._records.get(QUARANTINE_LEFT, identity)
        if row is None:
            raise NotFound(f"no entry {identity} in quarantine")
        return _entry(row.document)

    def file(self, identity: str, *, by: Principal) -> bytes:
        """The bytes as they arrived; audited before they are given.

        Raises:
            NotFound: There is no such entry.
            Conflict: It has left, its bytes were never taken in, or they are too long to be held.
            Denied: The caller is limited to some patients.
            Corrupt: The bytes fail their seal, or are gone.
        """
        _require_wide(by)
        data = self._opened(self._kept(identity))
        self._audit.record(AuditEntry(by.id, "quarantine.download", identity))
        return data

    def release(self, identity: str, *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> Release:
        """Land the file again, as if it came now; what is refused again stays, under the reason of now.

        Releasing twice is releasing once.

        Raises:
            NotFound: There is no such entry.
            Conflict: It has been discarded, its bytes were never taken in, or they are too long to be held.
            Denied: The caller is limited to some patients.
            Corrupt: The bytes fail their seal, or are gone.
        """
        _require_wide(by)
        entry = self.get(identity)
        if entry.state == RELEASED:
            return Release(entry, None)
        row = self._kept(identity)
        (landing,) = self._lander.land([Upload(self._opened(row))], by=by, datastore=datastore)
        if landing.outcome == "quarantined":
            return self._refused_again(row, landing, by)
        try:
            return Release(self._leave(row, RELEASED, by, landing.image_set), landing)
        except Conflict:  # somebody was faster; the file has landed all the same
            self._audit.record(AuditEntry(by.id, "quarantine.release", identity))
            return Release(self.get(identity), landing)

    def discard(self, identity: str, *, by: Principal) -> Entry:
        """Delete the bytes for good; what stays is that they were there, who discarded them and when.

        Discarding twice is discarding once.

        Raises:
            NotFound: There is no such entry.
            Conflict: It has been released, or is being released now.
            Denied: The caller is limited to some patients.
        """
        _require_wide(by)
        entry = self.get(identity)
        if entry.state == DISCARDED:
            return entry
        return self._leave(self._kept(identity), DISCARDED, by)

    def sweep(self) -> None:
        """Finish what a crash left half done. Only at a start."""
        for row in self._records.find(QUARANTINE, {"reason": _LEAVING}):
            self._finish(row.key, row.document)

    def _kept(self, identity: str) -> Row:
        row = self._records.get(QUARANTINE, identity)
        if row is None or "left" in row.document:
            raise Conflict(f"entry {identity} has been {self.get(identity).state}; its bytes are not here any more")
        return row

    def _opened(self, row: Row) -> bytes:
        if row.document.get("name") == WHOLE:
            place = f"quarantine/{row.key}/{WHOLE}"
            told = f"the file is too long to go through here: it lies as {place} in the bucket for training data"
            raise Conflict(f"{told}. To have it landed again copy it below upload/ and discard this entry")
        if not row.document["wrapped_key"]:
            raise Conflict("the file was too long to be held: its bytes lie where they were put, and not here")
        try:
            sealed = self._blobs.get(f"{folder_of(row.key)}/{SEALED}")
        except NotFound:
            raise Corrupt(f"the bytes of entry {row.key} are gone from quarantine") from None
        return self._keys.cipher(bytes.fromhex(row.document["wrapped_key"])).open(sealed, row.key.encode())

    def _refused_again(self, row: Row, landing: Landing, by: Principal) -> Release:
        """Keep the file; where the reason is another one than before, under that."""
        audit = AuditEntry(by.id, "quarantine.release", row.key, outcome="refused")
        told = {"code": landing.reason, "sentence": landing.sentence}
        if told == {name: row.document[name] for name in told}:
            self._audit.record(audit)
            return Release(_entry(row.document), landing, is_same=True)
        document = {**row.document, **told}
        columns = {"reason": landing.reason, "digest": row.document["sha256"]}
        self._records.commit(
            Change(writes=[Put(QUARANTINE, row.key, document, columns, expected=row.revision)], audit=[audit])
        )
        shown = {name: value for name, value in document.items() if name != "wrapped_key"}
        self._blobs.put(f"{folder_of(row.key)}/reason.json", orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return Release(_entry(document), landing)

    def _leave(self, row: Row, state: str, by: Principal, image_set: str | None = None) -> Entry:
        left = {"state": state, "left_by": by.id, "left_at": self._clock().isoformat(), "image_set": image_set}
        document = {**row.document, "left": left}
        columns = {"reason": _LEAVING, "digest": row.document["sha256"]}
        audit = AuditEntry(by.id, "quarantine.release" if state == RELEASED else "quarantine.discard", row.key)
        self._records.commit(
            Change(writes=[Put(QUARANTINE, row.key, document, columns, expected=row.revision)], audit=[audit])
        )
        self._finish(row.key, document)
        return _entry(document)

    def _finish(self, identity: str, document: Mapping[str, Any]) -> None:
        for name in (document.get("name", SEALED), "reason.json"):
            self._blobs.delete(f"{folder_of(identity)}/{name}")
        grave = {name: value for name, value in document.items() if name != "wrapped_key"}
        self._records.commit(
            Change(
                writes=[
                    Put(QUARANTINE_LEFT, identity, grave, {"state": document["left"]["state"]}),
                    Delete(QUARANTINE, identity),
                ]
            )
        )


def folder_of(identity: str) -> str:
    """Where the bytes and the reason of an entry lie."""
    return f"training-data/quarantine/{identity}"


def _entry(document: Mapping[str, Any]) -> Entry:
    return Entry(
        id=document["quarantine_id"],
        code=document["code"],
        sentence=document["sentence"],
        size_bytes=document["size_bytes"],
        sha256=document["sha256"],
        time=document["time"],
        **document.get("left", {}),
    )


def _require_wide(by: Principal) -> None:
    """A file that was not understood may be of any patient.

    Raises:
        Denied: The caller is limited to some.
    """
    if by.patients is not None:
        raise Denied("who is limited to some patients may not open, release or discard what is in quarantine")
