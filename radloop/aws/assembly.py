"""Study assembly: files that arrive one by one are imported study by study.

HealthImaging takes one StartDICOMImportJob a second, and a study is two thousand objects. So arrivals are counted into
the open batch of their study. A look at the study is due once it may be quiet; where it is, the batch is closed and
becomes one import job, and what comes later opens the next.

    ARRIVALS     one row a file, named by its digest: what its header says, and its batch
    ASSEMBLIES   one row a study: its open batch, when the last file came, whether a look is due
    BATCHES      one row a closed batch: CLOSED, then STARTED with its job, then IMPORTED, or CLOSED again

A file joins a batch in the transaction that counts it, and closing a batch changes the same row: who comes second looks
again and joins the next one. So what a closed batch holds never changes, and each step after it can be repeated.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import translated
from radloop.aws.long_objects import copied
from radloop.core.errors import Conflict, NotFound, Unavailable
from radloop.core.identity import Principal, derived_id
from radloop.core.ports import AuditEntry, Change, Clock, Job, Put, Records, Row
from radloop.core.tables import ARRIVALS, ASSEMBLIES, BATCHES, study_key
from radloop.store.instances import StoredInstance, instance_of, put_instance

LANE: Final = "assembly"
KIND: Final = "assemble"

CLOSED, STARTED, IMPORTED, FAILED = "CLOSED", "STARTED", "IMPORTED", "FAILED"
"""What becomes of a batch; FAILED is given up on, its files are in the archive."""

MOST_FILES: Final = 5_000
"""Files of one import job that HealthImaging takes (quota "files in a DICOM import job"; it can be raised)."""

LARGEST_IMPORT: Final = 10 * 10**9
"""Bytes of all files of one import job, and so of one file, that HealthImaging takes (its quota, which stays)."""

_LONGEST_DELAY_S = 900.0  # of SQS
_TOGETHER = 25  # arrivals a transaction: DynamoDB takes 100 items, of which each is three
_LOOKS_TOGETHER = 20
_ATTEMPTS = 3
_WAIT_S = 300.0  # before a failed import is tried again
_TRIES = 30
_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.2
_COPIERS = 16
_FORGOTTEN_S = 3600.0
_DELETED_AT_ONCE = 1000
_STAGED = re.compile(r"/import/(?P<study>[0-9a-z]{32})/(?P<number>\d+)/?$")
_T = TypeVar("_T")
_Columns = dict[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that was taken in and waits for its import.

    Attributes:
        instance: What its header says; `image_set` is empty, because HealthImaging names it.
        patient_id, study_uid, series_uid: Whose it is.
    """

    instance: StoredInstance
    datastore: str
    patient_id: str
    study_uid: str
    series_uid: str

    @property
    def id(self) -> str:
        """The same bytes in the same data store are the same arrival."""
        return self.instance.id

    @property
    def study(self) -> str:
        """The study it belongs to, by the id that studies have everywhere."""
        return study_key(self.datastore, self.patient_id, self.study_uid)


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of one study that are imported together."""

    study: str
    number: int

    @property
    def id(self) -> str:
        """Its name."""
        return f"{self.study}-{self.number}"

    @property
    def staged(self) -> str:
        """Where its files lie while they are imported, as a key in the bucket of training data."""
        return f"import/{self.study}/{self.number}/"

    @property
    def report(self) -> str:
        """Where the import job leaves its report."""
        return f"imported/{self.study}/{self.number}/"


def arrival_id(datastore: str, digest: str) -> str:
    """The name of the arrival of a file with this SHA-256."""
    return derived_id("arrival", datastore, digest)


def original_of(arrival: str) -> str:
    """The blob key of the file as it arrived, which nobody changes or removes."""
    return f"archive/originals/{arrival}.dcm"


def batch_of(input_uri: str) -> Batch | None:
    """The batch whose staged files an import job reads; None for a job that is not ours."""
    found = _STAGED.search(input_uri)
    return None if found is None else Batch(found["study"], int(found["number"]))


class Assembly:
    """The studies of one data store on their way into HealthImaging.

    Args:
        records: What is known of them.
        clock: The present moment.
        s3: A boto3 client; `imaging`: one of `medical-imaging`.
        buckets: Bucket names by the first part of blob keys.
        datastore: Its id.
        role_arn: The role as which HealthImaging reads the staged files and writes its report.
        quiet_s: Seconds without a new file after which a study counts as complete.
    """

    def __init__(
        self,
        records: Records,
        clock: Clock,
        *,
        s3: Any,
        imaging: Any,
        buckets: Mapping[str, str],
        datastore: str,
        role_arn: str,
        quiet_s: float,
    ) -> None:
        self._records = records
        self._clock = clock
        self._s3 = s3
        self._imaging = imaging
        self._buckets = buckets
        self._datastore = datastore
        self._role_arn = role_arn
        self._quiet_s = quiet_s

    # arriving

    def is_known(self, arrival: str) -> bool:
        """Whether a file of this name has been counted."""
        return self._records.get(ARRIVALS, arrival, columns=()) is not None

    def count_in(self, arrivals: Sequence[Arrival], *, by: Principal) -> None:
        """Count files of one study into its open batch; those that are counted already are left.

        Raises:
            Unavailable: Others were faster every time.
        """
        for part in _parts(arrivals):
            retried(partial(self._counted, part, by))

    def _counted(self, arrivals: Sequence[Arrival], by: Principal) -> None:
        fresh = {one.id: one for one in arrivals if not self.is_known(one.id)}
        if not fresh:
            return
        first, now = arrivals[0], self._clock().timestamp()
        row = self._records.get(ASSEMBLIES, first.study)
        document = _opened(first) if row is None else dict(row.document)
        is_waiting = row is not None and bool(row.columns["is_waiting"])
        size_bytes = sum(one.instance.size_bytes for one in fresh.values())
        writes: list[Put] = []
        jobs: list[Job] = []
        if not _fits(document, len(fresh), size_bytes):
            full = Batch(first.study, document["batch"])
            writes.append(_put_closed(full, document, at=now))
            document |= {"batch": full.number + 1, "arrived": 0, "size_bytes": 0, "looks": document["looks"] + 1}
            jobs.append(_look(full, document["looks"], 0.0))
            is_waiting = False
        document |= {
            "arrived": document["arrived"] + len(fresh),
            "size_bytes": document.get("size_bytes", 0) + size_bytes,
            "looks": document["looks"] + (not is_waiting),
        }
        batch = Batch(first.study, document["batch"])
        if not is_waiting:
            jobs.append(_look(batch, document["looks"], self._quiet_s))
        self._records.commit(
            Change(
                writes=[
                    self._put(first.study, document, row, is_waiting=True, last=now),
                    *writes,
                    *(_put_arrival(one, batch) for one in fresh.values()),
                ],
                jobs=jobs,
                audit=[AuditEntry(by.id, "land", first.study)],
            )
        )

    def complete(self, study: str, *, by: Principal) -> None:
        """Say that a study is all here, so that it is not waited for; saying it twice is saying it once.

        Raises:
            NotFound: There is no such study.
        """

        def say() -> None:
            row = self._records.get(ASSEMBLIES, study)
            if row is None:
                raise NotFound(f"no study {study}")
            if not row.columns["is_waiting"]:
                return
            looks = row.document["looks"] + 1
            document = {**row.document, "looks": looks, "complete": row.document["batch"]}
            job = _look(Batch(study, document["batch"]), looks, 0.0)
            write = self._put(study, document, row, is_waiting=True, last=float(row.columns["last"]))
            audit = AuditEntry(by.id, "complete-study", study)
            self._records.commit(Change([write], jobs=[job], audit=[audit]))

        retried(say)

    # looking

    def look(self, study: str, number: int) -> None:
        """Close a batch if its study is quiet and import it, or look again later.

        A look at a batch that is closed already takes up what a crash left undone.

        Raises:
            Unavailable: AWS does not answer, or asks us to wait; worth another try.
        """
        batch = Batch(study, number)
        if retried(partial(self._is_closed, batch)):
            self._start(batch)

    def overdue(self) -> int:
        """Ask for a look at everything whose own was lost an hour ago; returns how many."""
        before = (self._clock() - timedelta(seconds=_FORGOTTEN_S)).timestamp()
        waiting = self._records.find(ASSEMBLIES, {"is_waiting": 1})
        closed = self._records.find(BATCHES, {"state": CLOSED})
        lost = [Batch(row.key, row.document["batch"]) for row in waiting if float(row.columns["last"]) < before]
        lost += [_batch(row) for row in closed if float(row.columns["at"]) < before]
        hour = int(self._clock().timestamp() // _FORGOTTEN_S)
        for first in range(0, len(lost), _LOOKS_TOGETHER):
            self._records.commit(
                Change(jobs=[_look(batch, -hour, 0.0) for batch in lost[first : first + _LOOKS_TOGETHER]])
            )
        return len(lost)

    def _is_closed(self, batch: Batch) -> bool:
        row = self._records.get(ASSEMBLIES, batch.study)
        if row is None:
            return False
        if row.document["batch"] > batch.number:
            return True
        now = self._clock().timestamp()
        rest_s = self._quiet_s - (now - float(row.columns["last"]))
        if row.document.get("complete") != batch.number and rest_s > 0:
            looks = row.document["looks"] + 1
            write = self._put(
                row.key, {**row.document, "looks": looks}, row, is_waiting=True, last=float(row.columns["last"])
            )
            self._records.commit(Change([write], jobs=[_look(batch, looks, rest_s)]))
            return False
        after = {**row.document, "batch": batch.number + 1, "arrived": 0, "size_bytes": 0}
        self._records.commit(
            Change(
                [
                    self._put(row.key, after, row, is_waiting=False, last=float(row.columns["last"])),
                    _put_closed(batch, row.document, at=now),
                ]
            )
        )
        return True

    # sending a batch off

    def _start(self, batch: Batch) -> None:
        """Stage the files of a closed batch and start its import; both are the same however often it is done."""
        row = self._records.get(BATCHES, batch.id)
        if row is None or row.columns["state"] != CLOSED:
            return
        arrivals = self._records.find(ARRIVALS, {"batch": batch.id})
        sizes = {each.key: int(each.document["instance"]["size_bytes"]) for each in arrivals}
        with ThreadPoolExecutor(_COPIERS) as pool:
            for _ in pool.map(partial(self._stage, batch), sizes, sizes.values()):
                pass
        job = self._started(batch, int(row.document.get("attempts", 1)))
        columns: _Columns = {"state": STARTED, "at": self._clock().timestamp()}
        document = {**row.document, "job": job, "files": len(arrivals)}
        try:
            self._records.commit(Change([Put(BATCHES, batch.id, document, columns, expected=row.revision)]))
        except Conflict:
            return  # the import ended before we came to note that it had begun

    def _stage(self, batch: Batch, arrival: str, size_bytes: int) -> None:
        bucket, _, key = original_of(arrival).partition("/")
        staged = (self._buckets["training-data"], f"{batch.staged}{arrival}.dcm")
        copied(self._s3, (self._buckets[bucket], key), staged, size_bytes)

    def _started(self, batch: Batch, attempt: int) -> str:
        bucket = self._buckets["training-data"]
        try:
            told = self._imaging.start_dicom_import_job(
                jobName=batch.id,
                dataAccessRoleArn=self._role_arn,
                clientToken=derived_id("import", self._datastore, batch.id, str(attempt)),
                datastoreId=self._datastore,
                inputS3Uri=f"s3://{bucket}/{batch.staged}",
                outputS3Uri=f"s3://{bucket}/{batch.report}",
            )
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "medical-imaging") from error
        return str(told["jobId"])

    # what became of it

    def arrivals(self, batch: Batch) -> dict[str, Arrival]:
        """The files of a batch, by name."""
        return {row.key: _arrival(row) for row in self._records.find(ARRIVALS, {"batch": batch.id})}

    def is_imported(self, batch: Batch) -> bool:
        """Whether what its import made has been taken up."""
        row = self._records.get(BATCHES, batch.id)
        return row is not None and row.columns["state"] == IMPORTED

    def imported(self, batch: Batch, job: str, arrivals: Sequence[str]) -> None:
        """What its import made has been taken up: the staged files go, the originals stay."""
        for first in range(0, len(arrivals), _DELETED_AT_ONCE):
            objects = [{"Key": f"{batch.staged}{name}.dcm"} for name in arrivals[first : first + _DELETED_AT_ONCE]]
            try:
                self._s3.delete_objects(Bucket=self._buckets["training-data"], Delete={"Objects": objects})
            except (BotoCoreError, ClientError) as error:
                raise translated(error, "s3") from error
        row = self._records.get(BATCHES, batch.id)
        document = {**({} if row is None else row.document), "study": batch.study, "number": batch.number, "job": job}
        columns: _Columns = {"state": IMPORTED, "at": self._clock().timestamp()}
        self._records.commit(Change([Put(BATCHES, batch.id, document, columns)]))

    def failed(self, batch: Batch, job: str) -> bool:
        """Its import failed as a whole: it is tried again after a while; True where that has been done often enough."""
        row = self._records.get(BATCHES, batch.id)
        if row is None or row.columns["state"] != STARTED or row.document["job"] != job:
            return False  # told of before
        attempts = int(row.document.get("attempts", 1))
        is_over = attempts >= _ATTEMPTS
        document = {**row.document, "attempts": attempts + 1}
        columns: _Columns = {"state": FAILED if is_over else CLOSED, "at": self._clock().timestamp()}
        jobs = () if is_over else (_look(batch, -attempts, _WAIT_S * attempts),)
        self._records.commit(Change([Put(BATCHES, batch.id, document, columns, expected=row.revision)], jobs=jobs))
        return is_over

    # within

    def _put(self, study: str, document: Mapping[str, Any], row: Row | None, *, is_waiting: bool, last: float) -> Put:
        columns = {"is_waiting": int(is_waiting), "last": last}
        return Put(ASSEMBLIES, study, document, columns, expected=0 if row is None else row.revision)


def retried(work: Callable[[], _T]) -> _T:
    """Do `work` until nobody else changes what it rests on in between.

    Raises:
        Unavailable: Others were faster every time.
    """
    for turn in range(_TRIES):
        try:
            return work()
        except Conflict:
            time.sleep(random.uniform(0.0, min(_PAUSE_S * (turn + 1), _LONGEST_PAUSE_S)))  # noqa: S311 — nothing secret
    raise Unavailable("what is known of the study kept changing")


def _opened(first: Arrival) -> dict[str, Any]:
    return {"datastore": first.datastore, "batch": 1, "arrived": 0, "size_bytes": 0, "looks": 0}


def _fits(document: Mapping[str, Any], files: int, size_bytes: int) -> bool:
    """Whether so many files more can be imported with those of the open batch; into an empty one everything fits."""
    is_within = document["arrived"] + files <= MOST_FILES
    return not document["arrived"] or (is_within and document.get("size_bytes", 0) + size_bytes <= LARGEST_IMPORT)


def _parts(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    """Arrivals by as many as one transaction and one import take."""
    part: list[Arrival] = []
    size_bytes = 0
    for one in arrivals:
        more = one.instance.size_bytes
        if part and (len(part) == min(_TOGETHER, MOST_FILES) or size_bytes + more > LARGEST_IMPORT):
            yield part
            part, size_bytes = [], 0
        part.append(one)
        size_bytes += more
    if part:
        yield part


def _put_closed(batch: Batch, document: Mapping[str, Any], *, at: float) -> Put:
    closed = {"study": batch.study, "number": batch.number, "arrived": document["arrived"]}
    return Put(BATCHES, batch.id, closed, {"state": CLOSED, "at": at}, expected=0)


def _look(batch: Batch, looks: int, after_s: float) -> Job:
    return Job(
        id=f"{KIND}-{batch.id}-{looks}",
        lane=LANE,
        kind=KIND,
        payload={"study": batch.study, "batch": batch.number},
        delay_s=min(max(after_s, 0.0), _LONGEST_DELAY_S),
        trace=batch.study,
    )


def _batch(row: Row) -> Batch:
    return Batch(row.document["study"], row.document["number"])


def _put_arrival(arrival: Arrival, batch: Batch) -> Put:
    document = {
        "instance": put_instance(arrival.instance, expected=None).document,
        "datastore": arrival.datastore,
        "patient_id": arrival.patient_id,
        "study_uid": arrival.study_uid,
        "series_uid": arrival.series_uid,
    }
    return Put(ARRIVALS, arrival.id, document, {"batch": batch.id}, expected=0)


def _arrival(row: Row) -> Arrival:
    document = dict(row.document)
    instance = instance_of(Row(row.key, row.revision, document.pop("instance"), row.order))
    return Arrival(instance, **document)
