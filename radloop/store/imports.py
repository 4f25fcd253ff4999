"""Import jobs: files of a bucket become image sets of a data store; what is known of each job."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from radloop.core.errors import Conflict, InvalidInput, NotFound
from radloop.core.identity import Principal, new_id
from radloop.core.ports import AuditEntry, Change, Clock, Job, Put, Records, Row, Term
from radloop.core.tables import IMPORTS
from radloop.store.datastores import QuotaExceeded, Writes

SUBMITTED = "SUBMITTED"
IN_PROGRESS = "IN_PROGRESS"
COMPLETED = "COMPLETED"
FAILED = "FAILED"

LANE = "import"
KIND = "dicom_import"
MOST_RUNNING = 100

_INTERNAL = frozenset({"image-sets", "drafts", "training-data/quarantine", "training-data/uploaded"})


@dataclass(frozen=True, slots=True)
class Import:
    """One job.

    Attributes:
        source: Blob keys that begin with it are read; a bucket is the first part.
        target: Folder of blob keys below which the job's report is written.
        input_uri, output_uri: The same, as the caller named them.
        by: Who asked, as the audit names them; `patients`: the only ones they may bring files of, None for all.
        counts: `scanned`, `imported`, `refused` and `failed` files so far.
        message: What went wrong with the job as a whole.
    """

    id: str
    name: str
    datastore: str
    status: str
    role_arn: str
    input_uri: str
    output_uri: str
    source: str
    target: str
    by: str
    patients: frozenset[str] | None
    submitted_at: datetime
    ended_at: datetime | None = None
    message: str | None = None
    configuration: Mapping[str, Any] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in {COMPLETED, FAILED}


class Imports:
    """The import jobs of one installation."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def start(
        self,
        *,
        datastore: str,
        name: str | None,
        role_arn: str,
        input_uri: str,
        output_uri: str,
        configuration: Mapping[str, Any] | None,
        by: Principal,
        also: Callable[[Import], Writes] = lambda _: (),
    ) -> Import:
        """Ask for an import; a worker does it. `also` gives writes that belong into the same commit.

        Raises:
            InvalidInput: One of the addresses names what is no bucket, or one of ours.
            QuotaExceeded: `MOST_RUNNING` jobs are waiting or running.
        """
        unfinished = Term("status", "in", (SUBMITTED, IN_PROGRESS))
        if self._records.search_count(IMPORTS, [unfinished]) >= MOST_RUNNING:
            raise QuotaExceeded(f"there may be {MOST_RUNNING} import jobs at the same time")
        identity = new_id()
        job = Import(
            id=identity,
            name=name or f"import-{identity[:8]}",
            datastore=datastore,
            status=SUBMITTED,
            role_arn=role_arn,
            input_uri=input_uri,
            output_uri=output_uri,
            source=key_of(input_uri, "inputS3Uri"),
            target=f"{key_of(output_uri, 'outputS3Uri').rstrip('/')}/{datastore}-DicomImport-{identity}",
            by=by.id,
            patients=by.patients,
            submitted_at=self._clock(),
            configuration=configuration,
        )
        work = Job(id=f"import-{identity}", lane=LANE, kind=KIND, payload={"import": identity}, trace=identity)
        audit = AuditEntry(by.id, "start-import", identity)
        self._records.commit(Change(writes=[_put(job, expected=0), *also(job)], jobs=[work], audit=[audit]))
        return job

    def get(self, identity: str, datastore: str | None = None) -> Import:
        """One job; with `datastore`, only if it imports into that.

        Raises:
            NotFound: There is no such job.
        """
        row = self._records.get(IMPORTS, identity)
        if row is None or (datastore is not None and row.document["datastore"] != datastore):
            raise NotFound(f"no import job {identity}")
        return _import(row)

    def page(self, datastore: str, *, status: str | None, after: int, limit: int) -> tuple[list[Import], int | None]:
        """Jobs of a data store, newest first, and where the next page begins."""
        where = {"datastore": datastore} | ({} if status is None else {"status": status})
        rows = self._records.find(IMPORTS, where, after=after, limit=limit + 1, newest_first=True)
        more = rows[limit - 1].order if len(rows) > limit else None
        return [_import(row) for row in rows[:limit]], more

    def begin(self, identity: str) -> Import:
        """A worker has taken the job up, perhaps once more; what is over stays over."""
        return self._change(identity, status=IN_PROGRESS, counts={})

    def progress(self, identity: str, counts: Mapping[str, int]) -> None:
        """How far the job is."""
        self._change(identity, counts=dict(counts))

    def complete(self, identity: str, counts: Mapping[str, int]) -> None:
        """Every file was looked at."""
        self._change(identity, status=COMPLETED, counts=dict(counts), ended_at=self._clock())

    def fail(self, identity: str, message: str) -> None:
        """The job as a whole cannot be done; `message` is plain words and codes, as the API allows them."""
        self._change(identity, status=FAILED, message=message, ended_at=self._clock())

    def _change(self, identity: str, **changes: Any) -> Import:
        while True:
            row = self._records.get(IMPORTS, identity)
            if row is None:
                raise NotFound(f"no import job {identity}")
            job = _import(row)
            if job.is_over:
                return job
            changed = replace(job, **changes)
            try:
                self._records.commit(Change(writes=[_put(changed, expected=row.revision)]))
            except Conflict:
                continue
            return changed


def key_of(uri: str, member: str) -> str:
    """The blob key prefix an s3:// address stands for.

    >>> key_of("s3://training-data/ct/", "inputS3Uri")
    'training-data/ct/'

    Raises:
        InvalidInput: It leaves its bucket, or names where we keep things ourselves.
    """
    key = uri.removeprefix("s3://")
    bucket, _, rest = key.partition("/")
    parts = rest.split("/")
    if any(part in {".", ".."} for part in parts) or any(not part for part in parts[:-1]) or "\0" in key:
        raise InvalidInput(f"{member} has empty or dot parts")
    if any(bucket == name or f"{bucket}/{rest}/".startswith(f"{name}/") for name in _INTERNAL):
        raise InvalidInput(f"{member} names a bucket that this installation keeps for itself")
    return key if rest else f"{bucket}/"


def is_internal(key: str) -> bool:
    """Whether a blob is one of those that this installation keeps for itself."""
    return any(key.startswith(f"{name}/") for name in _INTERNAL)


def _put(job: Import, *, expected: int) -> Put:
    document = {
        "id": job.id,
        "name": job.name,
        "datastore": job.datastore,
        "status": job.status,
        "role_arn": job.role_arn,
        "input_uri": job.input_uri,
        "output_uri": job.output_uri,
        "source": job.source,
        "target": job.target,
        "by": job.by,
        "patients": None if job.patients is None else sorted(job.patients),
        "submitted_at": job.submitted_at.isoformat(),
        "ended_at": None if job.ended_at is None else job.ended_at.isoformat(),
        "message": job.message,
        "configuration": None if job.configuration is None else dict(job.configuration),
        "counts": dict(job.counts),
    }
    return Put(IMPORTS, job.id, document, {"datastore": job.datastore, "status": job.status}, expected=expected)


def _import(row: Row) -> Import:
    document = dict(row.document)
    document["patients"] = None if document["patients"] is None else frozenset(document["patients"])
    document["submitted_at"] = datetime.fromisoformat(document["submitted_at"])
    document["ended_at"] = None if document["ended_at"] is None else datetime.fromisoformat(document["ended_at"])
    return Import(**document)
