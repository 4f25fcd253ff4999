"""Drafts: uploads that outlive their connection, as sealed pieces on the disk and an offset in the index.

A piece is a blob of its own, sealed under the draft's data key; its context names the draft and the bytes it stands
for. A piece counts from the commit that names it and moves the offset, in one transaction: what was acknowledged is
durable, and of two senders at the same place one wins and the other is told. The commit that moves the offset to the
end asks for the landing too, so that a crash between the two cannot happen.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from radloop.core.errors import Conflict, Corrupt, NotFound, TooLarge
from radloop.core.identity import Principal, new_id
from radloop.core.ports import AuditEntry, Blobs, Change, Clock, Delete, Job, Keys, Put, Records, Row, Term
from radloop.core.settings import Settings
from radloop.core.tables import DRAFT_PIECES, DRAFTS

RECEIVING: Final = "receiving"
LANDING: Final = "landing"
DONE: Final = "done"
FAILED: Final = "failed"

PIECE_BYTES = 1 << 20
"""A piece at most: what a crash of ours costs the sender."""

MOST_PIECES = 1_000_000
"""More than this many pieces are refused: somebody sends a few bytes at a time."""

_TOGETHER = 25
"""Records of pieces that one change takes away: each is several items where a hundred items are a transaction."""

LANE = "land"
KIND = "land_draft"
FOLDER = "drafts/"

_GIGABYTE = 10**9


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the files of a draft.

    Attributes:
        seen: Members of the archive that are dealt with, whatever became of them.
        refused: Files that could not be taken out of the archive; they are nowhere.
        skipped: Folders' own files and the like that nobody wants landed.
        reasons: Code, sentence, count and the first places (from 1) of what was quarantined or refused.
    """

    seen: int = 0
    ingested: int = 0
    duplicates: int = 0
    quarantined: int = 0
    refused: int = 0
    skipped: int = 0
    image_sets: tuple[str, ...] = ()
    reasons: tuple[Mapping[str, Any], ...] = ()

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "seen": self.seen,
            "ingested": self.ingested,
            "duplicates": self.duplicates,
            "quarantined": self.quarantined,
            "refused": self.refused,
            "skipped": self.skipped,
            "image_sets": list(self.image_sets),
            "reasons": [dict(reason) for reason in self.reasons],
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """An upload on its way in.

    Attributes:
        owner: Whose it is; nobody else may know of it, and it lands in this name.
        state: receiving, landing, done or failed.
        length: Bytes it will have.
        offset: Bytes that are durable.
        pieces: How many pieces hold them.
        metadata: What the sender said of it, as sent; kept for the sender alone.
        expires_at: When it is removed; None while it lands.
        revision: Of its record.
    """

    id: str
    owner: Principal
    state: str
    length: int
    offset: int
    pieces: int
    metadata: str
    wrapped_key: bytes
    created_at: datetime
    expires_at: datetime | None
    report: Report = field(default_factory=Report)
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes from `start` up to and without `end`, sealed in the blob `name` of the draft."""

    name: str
    start: int
    end: int


class Drafts:
    """Keeps drafts: begins them, takes their bytes, gives them to the landing, and forgets them in time."""

    def __init__(self, blobs: Blobs, records: Records, keys: Keys, clock: Clock, settings: Settings) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._settings = settings

    @property
    def longest(self) -> int:
        """Bytes that one draft may have."""
        return int(self._settings.upload_gigabytes * _GIGABYTE)

    def begin(self, owner: Principal, length: int, metadata: str = "") -> Draft:
        """A new draft of `length` bytes, with none of them here yet.

        Raises:
            TooLarge: It would be longer than one may be, or the caller has too many unfinished ones.
        """
        if length > self.longest:
            raise TooLarge(f"an upload may have at most {self.longest} bytes")
        unfinished = self._records.count(DRAFTS, {"principal": owner.id, "state": RECEIVING})
        if unfinished >= self._settings.uploads_at_once:
            raise TooLarge(f"{unfinished} uploads are unfinished: finish or delete some before another")
        now = self._clock()
        draft = Draft(
            id=new_id(),
            owner=owner,
            state=RECEIVING,
            length=length,
            offset=0,
            pieces=0,
            metadata=metadata,
            wrapped_key=self._keys.create(),
            created_at=now,
            expires_at=self._end_of(now),
        )
        return self._commit(draft, audit="begin-upload", moved=True)

    def get(self, identity: str, owner: Principal | None = None) -> Draft:
        """One draft; with `owner`, only if it is theirs.

        Raises:
            NotFound: There is none, it has expired, or it is somebody else's, which reads the same.
        """
        row = self._records.get(DRAFTS, identity)
        draft = None if row is None else _draft_of(row)
        is_theirs = draft is not None and (owner is None or owner.id == draft.owner.id)
        if draft is None or not is_theirs or self._has_expired(draft):
            raise NotFound("no such upload: it was never begun, has ended long ago, or was removed")
        return draft

    def appending(self, draft: Draft, offset: int) -> "Appending":
        """What takes bytes behind the `offset` that the sender believes in.

        Raises:
            Conflict: The draft is at another offset.
        """
        if offset != draft.offset:
            raise Conflict(f"the upload is at offset {draft.offset}, not at {offset}")
        return Appending(self, self._blobs, self._keys, draft)

    def settle(self, draft: Draft, pieces: Sequence[Piece]) -> Draft:
        """Make pieces that lie on the disk part of the draft; the last one asks for its landing.

        Raises:
            Conflict: Somebody else has moved the draft on, or removed it.
        """
        for piece, start in zip(pieces, [draft.offset, *(piece.end for piece in pieces)], strict=False):
            assert piece.start == start, "pieces lie end to end"
        offset = pieces[-1].end if pieces else draft.offset
        after = replace(draft, offset=offset, pieces=draft.pieces + len(pieces), expires_at=self._end_of(self._clock()))
        writes = [
            Put(
                DRAFT_PIECES,
                f"{draft.id}/{piece.name}",
                {"name": piece.name, "start": piece.start, "end": piece.end},
                {"draft": draft.id},
                expected=0,
            )
            for piece in pieces
        ]
        return self._commit(after, writes=writes, moved=True)

    def remove(self, draft: Draft, *, by: Principal) -> None:
        """Forget a draft and its bytes; what has landed of it stays.

        Raises:
            Conflict: It is being landed.
        """
        if draft.state == LANDING:
            raise Conflict("the upload is complete and being landed")
        self._drop(draft, AuditEntry(by.id, "remove-upload", draft.id))

    def source(self, draft: Draft) -> "DraftSource":
        """The bytes of a draft, to be read from anywhere.

        Raises:
            Corrupt: They are not all there.
        """
        rows = self._records.find(DRAFT_PIECES, {"draft": draft.id})
        pieces = sorted((_piece_of(row) for row in rows), key=lambda piece: piece.start)
        return DraftSource(self._blobs, self._keys, draft, pieces)

    def report(self, draft: Draft, report: Report) -> Draft:
        """Note how far the landing is."""
        return self._commit(replace(draft, report=report))

    def go_on(self, draft: Draft) -> None:
        """Ask for another job that lands what is left, behind what was reported."""
        job = Job(f"{KIND}-{draft.id}-{draft.report.seen}", LANE, KIND, {"draft": draft.id})
        self._records.commit(Change(jobs=[job]))

    def end(self, draft: Draft, report: Report, *, state: str, keep: bool = False) -> Draft:
        """The landing is over, well (`done`) or not (`failed`); the bytes go unless they are to be kept for a while."""
        after = replace(draft, state=state, report=report, metadata="", expires_at=self._end_of(self._clock()))
        ended = self._commit(after, audit=f"upload-{state}")
        if not keep:  # what a crash leaves of it goes when the draft expires
            self._commit_in_groups(self._pieces_gone(draft), [])
            self._delete_blobs(draft.id)
        return ended

    def sweep_expired(self) -> int:
        """Remove drafts whose time is over; returns how many."""
        now = self._clock().timestamp()
        rows = self._records.search(DRAFTS, [Term("expires", "between", (None, now))])
        for row in rows:
            draft = _draft_of(row)
            self._drop(draft, AuditEntry("radloop", "expire-upload", draft.id))
        return len(rows)

    def sweep(self) -> int:
        """Remove blobs that a crash left and no draft names; only while nobody sends. Returns how many."""
        named = {f"{FOLDER}{row.key}" for row in self._records.find(DRAFT_PIECES)}
        lost = [key for key in self._blobs.keys(FOLDER) if key not in named]
        for key in lost:
            self._blobs.delete(key)
        return len(lost)

    def _drop(self, draft: Draft, audit: AuditEntry) -> None:
        """The draft's own record goes with the last of its pieces, so that who is cut off here can do it again."""
        self._commit_in_groups([*self._pieces_gone(draft), Delete(DRAFTS, draft.id)], [audit])
        self._delete_blobs(draft.id)

    def _pieces_gone(self, draft: Draft) -> list[Delete]:
        return [Delete(DRAFT_PIECES, row.key) for row in self._records.find(DRAFT_PIECES, {"draft": draft.id})]

    def _commit_in_groups(self, writes: Sequence[Delete], audit: Sequence[AuditEntry]) -> None:
        """Several changes of a size that every substrate takes; the audit is noted with the last."""
        for first in range(0, len(writes), _TOGETHER):
            is_last = first + _TOGETHER >= len(writes)
            self._records.commit(Change(writes=writes[first : first + _TOGETHER], audit=audit if is_last else ()))

    def _delete_blobs(self, identity: str) -> None:
        for key in list(self._blobs.keys(f"{FOLDER}{identity}/")):
            self._blobs.delete(key)

    def _commit(
        self, draft: Draft, *, writes: Sequence[Put | Delete] = (), audit: str | None = None, moved: bool = False
    ) -> Draft:
        """Write a draft; one that has moved to its end is handed to the landing in the same transaction."""
        jobs = []
        if moved and draft.offset == draft.length and draft.state == RECEIVING:
            draft = replace(draft, state=LANDING, expires_at=None)
            jobs.append(Job(f"{KIND}-{draft.id}", LANE, KIND, {"draft": draft.id}))
        entries = [] if audit is None else [AuditEntry(draft.owner.id, audit, draft.id)]
        self._records.commit(Change(writes=[_put(draft), *writes], jobs=jobs, audit=entries))
        return replace(draft, revision=draft.revision + 1)

    def _has_expired(self, draft: Draft) -> bool:
        return draft.expires_at is not None and draft.expires_at <= self._clock()

    def _end_of(self, now: datetime) -> datetime:
        return now + timedelta(hours=self._settings.upload_hours)


class Appending:
    """Takes bytes behind the offset of a draft. What was added counts once it is settled."""

    def __init__(self, drafts: Drafts, blobs: Blobs, keys: Keys, draft: Draft) -> None:
        self._drafts = drafts
        self._blobs = blobs
        self._cipher = keys.cipher(draft.wrapped_key)
        self._staged: list[Piece] = []
        self._end = draft.offset
        self.draft = draft

    @property
    def room(self) -> int:
        """Bytes the draft can still take."""
        return self.draft.length - self._end

    def add(self, data: bytes) -> None:
        """Bring one piece to the disk, sealed; it is not part of the draft yet.

        Raises:
            TooLarge: The draft would be longer than was said, or have too many pieces.
        """
        if len(data) > self.room:
            raise TooLarge("the body goes on behind the length that the upload was begun with")
        if self.draft.pieces + len(self._staged) >= MOST_PIECES:
            raise TooLarge("the upload came in too many small pieces: begin anew and send more bytes at a time")
        piece = Piece(new_id(), self._end, self._end + len(data))
        self._blobs.put(_key(self.draft.id, piece), self._cipher.seal(data, _context(self.draft.id, piece)))
        self._staged.append(piece)
        self._end = piece.end

    def settle(self) -> Draft:
        """Make what was added part of the draft.

        Raises:
            Conflict: Somebody else has moved the draft on meanwhile; what was added is gone.
        """
        if self._staged:
            try:
                self.draft = self._drafts.settle(self.draft, self._staged)
            except Conflict:
                self.discard()
                raise Conflict("the upload is being sent by two at once: ask for its offset and go on") from None
            self._staged = []
        return self.draft

    def discard(self) -> None:
        """Take back what was added and not settled."""
        for piece in self._staged:
            self._blobs.delete(_key(self.draft.id, piece))
        self._staged = []
        self._end = self.draft.offset


class DraftSource:
    """The bytes of a draft: opened piece by piece, the last one kept at hand."""

    def __init__(self, blobs: Blobs, keys: Keys, draft: Draft, pieces: Sequence[Piece]) -> None:
        ends = [0, *(piece.end for piece in pieces)]
        if any(piece.start != end for piece, end in zip(pieces, ends, strict=False)) or ends[-1] != draft.offset:
            raise Corrupt(f"pieces of upload {draft.id} are missing")
        self._blobs = blobs
        self._cipher = keys.cipher(draft.wrapped_key)
        self._draft = draft.id
        self._pieces = pieces
        self._starts = [piece.start for piece in pieces]
        self._held: tuple[int, bytes] = (-1, b"")
        self.size = ends[-1]

    def read(self, start: int, end: int) -> bytes:
        """Bytes from `start` up to and without `end`, cut at the end of all.

        Raises:
            Corrupt: A piece fails its seal.
        """
        end = min(end, self.size)
        parts: list[bytes] = []
        while start < end:
            place = bisect_right(self._starts, start) - 1
            piece, data = self._pieces[place], self._open(place)
            parts.append(data[start - piece.start : end - piece.start])
            start = piece.end
        return b"".join(parts)

    def _open(self, place: int) -> bytes:
        if self._held[0] != place:
            piece = self._pieces[place]
            try:
                sealed = self._blobs.get(_key(self._draft, piece))
            except NotFound:
                raise Corrupt(f"a piece of upload {self._draft} is gone") from None
            self._held = (place, self._cipher.open(sealed, _context(self._draft, piece)))
        return self._held[1]


def _key(draft: str, piece: Piece) -> str:
    return f"{FOLDER}{draft}/{piece.name}"


def _context(draft: str, piece: Piece) -> bytes:
    return f"{draft}|draft|{piece.start}|{piece.end}".encode()


def _piece_of(row: Row) -> Piece:
    return Piece(**row.document)


def _put(draft: Draft) -> Put:
    patients = draft.owner.patients
    document = {
        "id": draft.id,
        "owner": {
            "id": draft.owner.id,
            "roles": sorted(draft.owner.roles),
            "patients": None if patients is None else sorted(patients),
        },
        "state": draft.state,
        "length": draft.length,
        "offset": draft.offset,
        "pieces": draft.pieces,
        "metadata": draft.metadata,
        "wrapped_key": draft.wrapped_key.hex(),
        "created_at": draft.created_at.isoformat(),
        "expires_at": None if draft.expires_at is None else draft.expires_at.isoformat(),
        "report": draft.report.plain(),
    }
    columns = {
        "principal": draft.owner.id,
        "state": draft.state,
        "expires": None if draft.expires_at is None else draft.expires_at.timestamp(),
    }
    return Put(DRAFTS, draft.id, document, columns, expected=draft.revision)


def _draft_of(row: Row) -> Draft:
    document = dict(row.document)
    owner, report = document.pop("owner"), document.pop("report")
    patients = owner["patients"]
    expires_at = document.pop("expires_at")
    return Draft(
        **{
            **document,
            "wrapped_key": bytes.fromhex(document["wrapped_key"]),
            "created_at": datetime.fromisoformat(document["created_at"]),
        },
        owner=Principal(owner["id"], frozenset(owner["roles"]), None if patients is None else frozenset(patients)),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        report=Report(**{**report, "image_sets": tuple(report["image_sets"]), "reasons": tuple(report["reasons"])}),
        revision=row.revision,
    )
