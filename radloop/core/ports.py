"""Every port on one page: what the parts of radloop ask of the substrate they stand on.

A port is a promise. Its adapters (`local/`, later `aws/`) add nothing to it, and each passes the port's contract in
`tests/contracts/`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from radloop.core.errors import NotFound
from radloop.core.events import Event
from radloop.core.identity import Principal
from radloop.core.images import Notice

Clock = Callable[[], datetime]
"""The present moment, always in UTC."""


# Blobs


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to and without `end`."""

    start: int
    end: int


class BlobWriter(Protocol):
    """A value being written; it appears under its name when the block that opened it ends without an error."""

    def write(self, data: bytes) -> int:
        """Append `data` and return the offset it begins at."""
        ...


class GrowingBlob(Protocol):
    """A value that its maker adds to for a while.

    Nobody is told its key before `settle` has returned for the first time, and whoever chose the key sweeps away what
    a crash left under keys that became known to nobody. Unlike another unfinished value, it can be listed.
    """

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be added, so that another value must be begun."""
        ...

    def write(self, data: bytes) -> int:
        """Append `data`, which sets off for the disk, and return the offset it begins at.

        Raises:
            Unavailable: It cannot be written; the value is full from here on.
        """
        ...

    def settle(self) -> None:
        """Return once everything written so far is durable and can be read; where it is already, that is at once.

        Raises:
            Unavailable: It cannot become durable; the value is full from here on.
        """
        ...

    def close(self) -> None:
        """Add nothing more."""
        ...


class Blobs(Protocol):
    """Byte strings under a name. A reader sees a whole value or none: writes are atomic and durable."""

    def put(self, key: str, data: bytes) -> None:
        """Store `data`, replacing what was there."""
        ...

    def writer(self, key: str, *, is_unnamed: bool = False) -> AbstractContextManager[BlobWriter]:
        """Write a large value piece by piece; an error inside the block leaves nothing behind.

        Args:
            key: Its name.
            is_unnamed: Nobody knows the key before the block ends, and whoever chose it sweeps away what a crash
                left under keys that became known to nobody. Then a power cut inside the block may leave a part of the
                value, which saves a wait for the disk.
        """
        ...

    def growing(self, key: str) -> GrowingBlob:
        """Begin a value that is added to, settled, and added to again."""
        ...

    def get(self, key: str, span: Span | None = None) -> bytes:
        """Bytes under `key`, or the part inside `span` (cut at the end of the value).

        Raises:
            NotFound: Nothing is stored under `key`.
        """
        ...

    def at_once(self, key: str, span: Span) -> bytes | bytearray | memoryview | None:
        """What `get` gives, if that needs no waiting for a disk or a network; else None, which is always allowed.

        The next call from the same thread may write over it.
        """
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Names that begin with `prefix`, in ascending order; unfinished writes are not among them."""
        ...

    def delete(self, key: str) -> None:
        """Forget `key`; forgetting what is not there is not an error."""
        ...


class Shelf(Protocol):
    """Byte strings that can be made again, kept while there is room; any of them may be gone at any time.

    What was put under a key is what is got, or nothing. All processes of an installation see the same shelf.
    """

    def get(self, key: str, *, waits: bool) -> bytes | bytearray | memoryview | None:
        """What lies under `key`; None where nothing does, or where it must be waited for and nobody `waits`.

        The next call from the same thread may write over it.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep `data`, and let go of what was not asked for longest where there is no room; never fails."""
        ...

    def clear(self) -> None:
        """Let go of everything; only for who is alone with the installation."""
        ...


# Buckets


class Bucket(Protocol):
    """Files of one bucket, ours or somebody else's, for what comes in and for reports on it.

    A reader sees a whole file or none: writes are atomic, and durable on return. Each method may raise `NotFound`
    where the bucket does not exist, `Denied` where we may not do this in it, and `Unavailable` where it is worth
    another try; what is worth one at once has been tried again already.
    """

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Names that begin with `prefix`, in ascending order; what comes or goes meanwhile may be told or not."""
        ...

    def get(self, key: str, most_bytes: int) -> bytes:
        """The whole file.

        Raises:
            NotFound: There is none under `key`.
            TooLarge: It is longer than `most_bytes`, of which little more is ever in memory.
            InvalidInput: It cannot be read as it lies there, such as one that is archived.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Store a file, replacing what was there."""
        ...


class Buckets(Protocol):
    """Buckets by name."""

    def open(self, name: str) -> Bucket:
        """One bucket; whether it exists and lets us in may show only when it is used.

        Raises:
            InvalidInput: A bucket of that name cannot be reached from here, and why.
        """
        ...


# Records


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of record.

    Attributes:
        indexed: Columns that narrow a search down.
        facts: Columns that a search may look at besides, too uniform or too seldom asked for to be worth an index.
    """

    name: str
    indexed: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What one can search by; the rest lives in the document."""
        return (*self.indexed, *self.facts)


class Row(NamedTuple):
    """A record as stored; `revision` counts its writes from 1, `order` tells when it was first written.

    A tuple, because searches make thousands of them.
    """

    key: str
    revision: int
    document: Mapping[str, Any]
    order: int
    columns: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Put:
    """Write a record.

    Attributes:
        expected: The revision that must stand now: 0 for none, None for whatever there is.
    """

    table: Table
    key: str
    document: Mapping[str, Any]
    columns: Mapping[str, str | int | float | None] = field(default_factory=dict)
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Adjust:
    """Change columns of a record that is there, whoever else changes them too; its revision rises.

    Attributes:
        add: What to add to columns that hold numbers.
        assign: What to put into columns.
    """

    table: Table
    key: str
    add: Mapping[str, int] = field(default_factory=dict)
    assign: Mapping[str, str | int | float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a record; removing what is not there is not an error."""

    table: Table
    key: str


@dataclass(frozen=True, slots=True)
class Stands:
    """Change nothing; what is written with it is written only while there is a record under the key.

    This is how what hangs on a record never comes to outlive it: whoever removes that has removed it before, and this
    change fails, or removes it after, and finds what this change has written.
    """

    table: Table
    key: str


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be done later, at least once.

    Attributes:
        id: Asking for the same id twice asks once.
        lane: Who works on it: `events`, `land`, `fold` or `pipeline`.
        kind: What is to be done; for events, the name of the function to wake.
        payload: Plain values.
        delay_s: Seconds to wait before the first try, at least.
    """

    id: str
    lane: str
    kind: str
    payload: Mapping[str, Any]
    delay_s: float = 0.0
    trace: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which thing. `subject` is an id of ours, never a patient's."""

    principal: str
    action: str
    subject: str
    outcome: str = "success"


@dataclass(frozen=True, slots=True)
class Noted:
    """One audit entry as it stands in the chain.

    Attributes:
        count: How many times the same was done; above 1 only for what is counted in batches.
        hash: SHA-256 of the entry before and of this one, hexadecimal.
    """

    seq: int
    time: str
    principal: str
    action: str
    subject: str
    outcome: str
    count: int
    hash: str


class Term(NamedTuple):
    r"""One condition of a search on a column.

    Attributes:
        relation: `is` (value), `in` (values), `between` (low, high; both belong to it, None leaves a side open),
            `prefix` (text), `glob` (text with `*` for any characters and `?` for one), `has` (a word of a column that
            holds words between backslashes, such as `\\CT\\SR\\`).
        values: What the relation takes.
    """

    column: str
    relation: str
    values: tuple[str | int | float | None, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """Everything that becomes true together: records, the events that announce them, jobs, audit.

    Attributes:
        needs: What must be true before; each returns once it is, or raises, and then nothing of the change is made.
    """

    writes: Sequence[Put | Adjust | Delete | Stands] = ()
    events: Sequence[Event] = ()
    jobs: Sequence[Job] = ()
    audit: Sequence[AuditEntry] = ()
    needs: Sequence[Callable[[], None]] = ()


class Records(Protocol):
    """Documents with searchable columns, committed together with the events they announce."""

    def get(self, table: Table, key: str, *, columns: tuple[str, ...] | None = None) -> Row | None:
        """The record under `key`, or None; `columns` are those it is wanted with, None for all."""
        ...

    def find(
        self,
        table: Table,
        where: Mapping[str, str | int | None] | None = None,
        *,
        after: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Row]:
        """Records whose columns equal `where`, in the order they were first written.

        Args:
            table: Which kind.
            where: Column and value; all must hold.
            after: Leave out what stands up to this `order` (from it on, when newest first); 0 for none.
            limit: At most so many.
            newest_first: Turn the order round.
        """
        ...

    def count(self, table: Table, where: Mapping[str, str | int | None] | None = None) -> int:
        """How many records match."""
        ...

    def search(
        self,
        table: Table,
        terms: Sequence[Term] = (),
        *,
        columns: tuple[str, ...] | None = None,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        after: int = 0,
    ) -> list[Row]:
        """Records that meet all `terms`, among them all that were committed before the call.

        Each is whole. What others commit meanwhile may be among them or not, and where they are many, one may be of
        before a change and another of after it; who must rely on several at once names their revisions in a change.

        Args:
            table: Which kind.
            terms: Conditions on its columns.
            columns: Those that the rows are wanted with; None for all.
            order: Column to order by, ties as first written; None for the order they were first written in.
            descending: Turn the order round.
            limit: At most so many.
            offset: Leave out so many first.
            after: Without `order`: leave out what stands up to this `Row.order` (from it on, when descending).
        """
        ...

    def each(
        self,
        table: Table,
        terms: Sequence[Term] = (),
        *,
        columns: tuple[str, ...] | None = None,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        after: int = 0,
    ) -> Iterator[Row]:
        """The rows of `search` as they stand at the call; each document is read when its turn comes."""
        ...

    def search_count(self, table: Table, terms: Sequence[Term] = ()) -> int:
        """How many records meet all `terms`."""
        ...

    def stamp(self) -> int:
        """A number that is another one whenever anybody has committed anything since it was last asked for."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Ask others to wait with what they commit while the block runs, so that what is read in it stays true.

        It saves trying again where many change the same record; a change still names the revisions it expects, for a
        store need not be able to make others wait.
        """
        ...

    def commit(self, change: Change) -> None:
        """Make `change` true, whole or not at all; on return it survives a crash.

        Raises:
            Conflict: An `expected` revision does not stand.
            NotFound: There is no record to adjust, or none that is to stand.
            TooLarge: It is more than this store makes true at once.
        """
        ...


# Events and jobs


@dataclass(frozen=True, slots=True)
class Told:
    """An event as kept in the outbox; `seq` rises by one."""

    seq: int
    event: Event


class Bus(Protocol):
    """The outbox and the way from it to the functions that wait for events."""

    def events(self, *, after: int = 0, limit: int = 100, newest_first: bool = False) -> list[Told]:
        """Events by sequence."""
        ...

    def route(self) -> int:
        """Set every event not yet routed on its way to become a job per rule it matches; returns how many events.

        Raises:
            Unavailable: Some cannot leave now, and stay until the next time.
        """
        ...

    def replay(self, event_id: str) -> int:
        """Deliver an event again to every rule it matches; returns how many deliveries.

        Raises:
            NotFound: There is no such event.
        """
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A job someone works on now; `tries` counts this one."""

    job: Job
    tries: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that was given up on, with the last error's code."""

    job: Job
    tries: int
    error: str


class Jobs(Protocol):
    """Jobs in lanes: claimed, done, tried again with backoff, given up on in the end."""

    def claim(self, lane: str) -> Claim | None:
        """The next due job, now ours, or None. A job out of tries becomes a dead letter instead."""
        ...

    def done(self, claim: Claim) -> None:
        """The job succeeded."""
        ...

    def failed(self, claim: Claim, error: str) -> bool:
        """The job failed: it waits for its next try, or is given up on, which True tells."""
        ...

    def release_abandoned(self) -> int:
        """Free the jobs whose worker died; how many.

        Where all workers are one process, that is every job claimed, and only that process may ask, before it works.
        Where they are many, it is every job whose worker has said nothing for too long.
        """
        ...

    def pending(self, lane: str | None = None) -> int:
        """How many jobs are waiting or being worked on; a delivery of an event is one once it has arrived."""
        ...

    def dead_letters(self) -> list[DeadLetter]:
        """What was given up on."""
        ...

    def replay(self, job_id: str) -> None:
        """Try a dead letter again from the start.

        Raises:
            NotFound: There is no such dead letter.
        """
        ...

    def discard(self, job_id: str) -> None:
        """Forget a dead letter: it is never done, also when it is asked for again. Doing it twice is doing it once.

        Raises:
            NotFound: There is no such dead letter.
        """
        ...


# Keys


class Cipher(Protocol):
    """Seals bytes under one data key; what was sealed under other `context` does not open."""

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Encrypted and authenticated bytes."""
        ...

    def open(self, sealed: bytes | bytearray | memoryview, context: bytes) -> bytes:
        """The bytes that were sealed.

        Raises:
            Corrupt: The bytes or the context are not the ones that were sealed.
        """
        ...

    def open_between(
        self, sealed: bytes | bytearray | memoryview, context: bytes, head: bytes, tail: bytes
    ) -> bytes | bytearray:
        """`head`, the bytes that were sealed and `tail`, in one piece without another copy; raises as `open`."""
        ...


class Keys(Protocol):
    """Data keys, kept only in wrapped form."""

    def create(self) -> bytes:
        """A fresh data key, wrapped."""
        ...

    def cipher(self, wrapped: bytes) -> Cipher:
        """The cipher of a wrapped data key.

        Raises:
            Corrupt: It was not wrapped by our key-encryption key.
        """
        ...

    def pseudonym(self, patient_id: str) -> str:
        """A keyed, one-way name for a patient: 32 hexadecimal digits, the same within this installation."""
        ...


# Access and audit


class Policy(Protocol):
    """Who may do what: the roles of `contracts/roles.json` and a principal's patients."""

    def allows(self, principal: Principal, action: str, patient_id: str | None = None) -> bool:
        """Whether one of the roles has `action`, and the patient, if one is named, is in scope."""
        ...

    def actions(self, principal: Principal) -> frozenset[str]:
        """Everything the roles of `principal` allow, whoever the patient."""
        ...

    def demand(self, principal: Principal, action: str, patient_id: str | None = None) -> None:
        """Go on only where this is allowed.

        Raises:
            Denied: No role of the principal has the action.
            NotFound: The patient is out of scope, which tells no more than that nothing is there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chain of the audit holds.

    Attributes:
        head: Hash of the last entry.
        broken_at: Sequence number of the first entry that does not follow from the one before; None if all do.
        holds_head: Whether the head asked about is in the chain; True where none was asked about.
    """

    entries: int
    head: str
    broken_at: int | None
    holds_head: bool


class Audit(Protocol):
    """The memory of who did what. Writes are audited in their own `Change`; this is for everything else."""

    def record(self, entry: AuditEntry) -> None:
        """Note one entry; durable on return."""
        ...

    def read(self, principal: Principal, image_set: str) -> None:
        """Note a reading of an image set: durable on return the first time in an hour, else counted with others."""
        ...

    def read_again(self, principal: Principal, image_set: str) -> bool:
        """Count a further reading and tell True, or do nothing and tell False where the first must be noted durably."""
        ...

    def count(self, principal: Principal, action: str, subject: str = "") -> None:
        """Count something done; the count is durable within a second."""
        ...

    def entries(self, *, before: int = 0, limit: int = 100, where: Mapping[str, str] | None = None) -> list[Noted]:
        """Entries, newest first.

        Args:
            before: Only those with a smaller sequence number; 0 for the newest.
            limit: At most so many.
            where: Values that `principal`, `action` or `subject` must have.
        """
        ...

    def verify(self, head: str | None = None) -> Verdict:
        """Walk the whole chain, and look for a `head` that was kept elsewhere."""
        ...


# Models and pipelines


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable code and the sentence that tells people what it means here."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered model.

    Attributes:
        status: PendingManualApproval, Approved or Rejected, as SageMaker spells them.
        artifact: Blob key of model.tar.gz.
        metrics: Plain values from evaluation.json.
        lineage: Dataset snapshot hash, code version, configuration, execution.
        aliases: `champion` for the version in use, `shadow` for the one that may follow it.
        reason: Code of the decision's reason, where a person gave one.
        held: Why it was not approved by itself; empty once it is decided.
        approvals: Who has spoken for it.
        free_approvals: Those of them whom no other duty stands in the way.
        evidence: Hashes of what the decision rests on, and the plan it was made under.
        rolled_back_at: When it was taken back; None again once it serves again.
    """

    version: int
    status: str
    artifact: str
    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    aliases: tuple[str, ...]
    created_at: str
    decided_at: str | None = None
    decided_by: str | None = None
    reason: str | None = None
    held: tuple[Reason, ...] = ()
    approvals: tuple[str, ...] = ()
    free_approvals: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    rolled_back_at: str | None = None
    rolled_back_by: str | None = None

    @property
    def reports(self) -> str:
        """Where its evaluation lies, as the beginning of blob keys.

        The lineage says it where the package lies apart, as SageMaker puts it into a folder of the training job's own.
        """
        return str(self.lineage.get("reports") or self.artifact.rpartition("/")[0])

    def beside(self, name: str) -> str:
        """The key of a file that its evaluation left, such as `evaluation.json`."""
        return f"{self.reports}/{name}".lstrip("/")


@dataclass(frozen=True, slots=True)
class Serving:
    """A stretch of time in which one version was the champion.

    Attributes:
        until: When it ended; None where it has not.
        moved_by: Who put the version to work: an approver, or who rolled back.
        rollback_reason: Code of why the version before was taken back; None where this one was approved.
        approved_by: Everybody who spoke for it; `plan` and `policy` stand for no person.
        evidence: Hashes of what the approval rests on.
    """

    version: int
    since: datetime
    until: datetime | None
    moved_by: str
    rollback_reason: str | None
    approved_by: tuple[str, ...]
    approved_at: datetime | None
    reason: str | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """Whether the chain of the model ledger holds.

    Attributes:
        head: Hash of the last entry.
        broken_at: Number of the first entry that does not follow from the one before; None if all do.
    """

    entries: int
    head: str
    broken_at: int | None


class Models(Protocol):
    """The registry: an append-only ledger of what was registered, decided and put to work.

    Whatever two callers do at the same time has an order, and the second finds what the first wrote.
    """

    def register(
        self, *, execution: str, artifact: str, metrics: Mapping[str, Any], lineage: Mapping[str, Any]
    ) -> ModelVersion:
        """A new version, pending approval; the same execution registered twice is one version."""
        ...

    def hold(self, version: int, reasons: Sequence[Reason]) -> ModelVersion:
        """Leave a version to a person, and tell why; a decided one is left as it is, and the same again is once.

        Raises:
            NotFound: There is no such version.
        """
        ...

    def decide(
        self,
        version: int,
        *,
        approved: bool,
        by: str,
        reason: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        needed: int = 1,
        is_free: bool = True,
    ) -> ModelVersion:
        """Approve (which moves the alias `champion` to it) or reject a version; deciding twice the same is once.

        Args:
            version: Which.
            approved: Rejecting takes one voice, approving as many as are `needed`.
            by: Who.
            reason: A stable code.
            evidence: Hashes of what the decision rests on.
            needed: How many different approvers it takes. A version that has fewer stays pending.
            is_free: Whether no other duty stands in the way of this approver; at least one must be free.

        Raises:
            NotFound: There is no such version.
            Conflict: It has been decided the other way.
            SeparationOfDuties: The approver is not free, and nobody who is has approved it yet.
        """
        ...

    def roll_back(self, *, by: str, reason: str, to: int | None = None, expected: int | None = None) -> ModelVersion:
        """Take the champion back, and let an approved version that served before serve again.

        Args:
            by: Who.
            reason: A stable code.
            to: Which version shall serve; None for the last one that served before and was not taken back.
            expected: The version that is to be taken back, for callers who looked before.

        Returns:
            The version that serves now. Asking again for what is already so changes nothing.

        Raises:
            NotFound: There is no such version, or none serves.
            Conflict: Another version serves than expected, there is none to go back to, or `to` was never approved.
        """
        ...

    def get(self, version: int) -> ModelVersion:
        """One version.

        Raises:
            NotFound: There is no such version.
        """
        ...

    def of_execution(self, execution: str) -> ModelVersion | None:
        """The version an execution registered, if it did."""
        ...

    def champion(self) -> ModelVersion | None:
        """The version in use, if any."""
        ...

    def shadow(self) -> ModelVersion | None:
        """The newest version that passed the gate, is newer than the champion and waits for its decision, if any."""
        ...

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first."""
        ...

    def serving_on(self, at: datetime) -> Serving | None:
        """What served at a moment, by whose approval and on what evidence; None where nothing did."""
        ...

    def servings(self) -> list[Serving]:
        """Every stretch of time in which a version served, oldest first."""
        ...

    def ledger(self) -> list[Mapping[str, Any]]:
        """All entries as they stand in the chain, oldest first."""
        ...

    def verify(self) -> LedgerVerdict:
        """Walk the whole chain."""
        ...


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of an execution: Waiting, Executing, Succeeded, Failed or Skipped."""

    name: str
    type: str
    state: str
    started_at: str | None = None
    ended_at: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of the pipeline: Executing, Succeeded, Failed or Stopped."""

    id: str
    state: str
    parameters: Mapping[str, Any]
    steps: tuple[StepRun, ...]
    started_at: str
    ended_at: str | None = None
    reason: str | None = None
    progress: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None


class Pipelines(Protocol):
    """Runs a pipeline definition written in SageMaker's pipeline JSON."""

    def start(self, execution: str, parameters: Mapping[str, Any], *, events: Sequence[Event] = ()) -> bool:
        """Start an execution under this id; False when it was started before. `events` commit with the start."""
        ...

    def get(self, execution: str) -> Execution:
        """One execution.

        Raises:
            NotFound: There is no such execution.
        """
        ...

    def executions(self, *, limit: int = 50) -> list[Execution]:
        """Newest first."""
        ...


# The change control plan


@dataclass(frozen=True, slots=True)
class PlanSigner:
    """Somebody whose signature under a plan counts.

    Attributes:
        id: Opaque; never a name or an e-mail address.
        role: In which the signer signs, such as `release-approver`.
        public_key: Ed25519, 32 bytes, hexadecimal.
    """

    id: str
    role: str
    public_key: str


@dataclass(frozen=True, slots=True)
class PlanSignature:
    """A detached signature over the exact bytes of a plan.

    Attributes:
        plan_sha256: Of those bytes.
        signature: Ed25519, 64 bytes, hexadecimal.
        at: When it was handed in, RFC 3339.
    """

    plan_sha256: str
    signer: str
    role: str
    signature: str
    at: str


class Plans(Protocol):
    """The change control plan of an installation, who may sign it, and the signatures there are."""

    def text(self) -> bytes | None:
        """The plan as it lies there; None where there is none."""
        ...

    def signers(self) -> tuple[PlanSigner, ...]:
        """Whose signatures count."""
        ...

    def signatures(self) -> tuple[PlanSignature, ...]:
        """All signatures that were handed in, whether they hold or not."""
        ...

    def add(self, signature: PlanSignature) -> None:
        """Keep a signature in place of the same signer's earlier one; durable on return."""
        ...


class NoPlans:
    """The Plans port where there is no plan and nobody to sign one."""

    def text(self) -> bytes | None:
        """See `Plans.text`."""
        return None

    def signers(self) -> tuple[PlanSigner, ...]:
        """See `Plans.signers`."""
        return ()

    def signatures(self) -> tuple[PlanSignature, ...]:
        """See `Plans.signatures`."""
        return ()

    def add(self, signature: PlanSignature) -> None:
        """See `Plans.add`; there is no plan to sign."""
        raise NotFound(f"there is no plan with the SHA-256 {signature.plan_sha256}")


class Signer(Protocol):
    """The key by which an installation vouches for what leaves it."""

    @property
    def public_key(self) -> str:
        """Ed25519, 32 bytes, hexadecimal."""
        ...

    def sign(self, data: bytes) -> bytes:
        """A detached Ed25519 signature of 64 bytes; the same data give the same signature."""
        ...


# What the parts offer each other


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in.

    Attributes:
        data: The whole file.
        name: Where it came from, for the sender's own report only; never logged or stored.
    """

    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Landing:
    """What became of one upload: `ingested`, `duplicate` or `quarantined`.

    Attributes:
        is_replacement: It came under the SOP instance UID of another one, which is kept behind it.
        notices: What is worth knowing about the file although it was taken.
    """

    outcome: str
    image_set: str | None = None
    instance: str | None = None
    reason: str | None = None
    sentence: str | None = None
    sop_class: str | None = None
    quarantine_id: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    is_replacement: bool = False
    notices: tuple[Notice, ...] = ()


Materialise = Callable[[Mapping[str, Any], Path], None]
"""Writes the pixels of one manifest line below a folder; how the runner stages a data set."""
