"""Image sets on AWS: HealthImaging keeps them, our records tell what they are.

A file comes in, is validated, kept as it is in the archive, and counted into its study (`assembly`). When the study's
import job has ended, what it made is taken up: an image set becomes a record like one of our own store, with geometry,
version and the order of its frames, and the same events tell of it. Only the pixels stay in HealthImaging. Its one data
store is the default one of this installation, so that every door finds it without a name.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import orjson
from botocore.exceptions import BotoCoreError, ClientError
from numpy.typing import NDArray

from radloop.aws.assembly import Arrival, Assembly, Batch, arrival_id, batch_of, original_of, retried
from radloop.aws.clients import translated
from radloop.aws.erasing import Erasing
from radloop.aws.long_objects import LongObject, LongObjects
from radloop.core.errors import ImportRefused, InvalidInput, NotFound, OutOfScope, Unavailable, UnsupportedPixels
from radloop.core.events import AlarmStateChanged
from radloop.core.identity import Principal
from radloop.core.images import ImageSet, State, Storage
from radloop.core.ports import AuditEntry, Blobs, Change, Clock, Job, Keys, Landing, Records, Upload
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, INSTANCES, TOMBSTONES, image_set_of, put_image_set
from radloop.dicom.elements import Data
from radloop.dicom.parse import parse
from radloop.store.arranging import arranged, facts_of
from radloop.store.aside import Aside
from radloop.store.edits import read_edits
from radloop.store.greys import grey
from radloop.store.growing import grown, newest_shown, replaced_by
from radloop.store.instances import StoredInstance, put_instance, supersede
from radloop.store.opened import current_instances
from radloop.store.studies import Studies, Study
from radloop.store.versions import CREATED, IMPORTED, put_version, versions_of

FollowUp = Callable[[ImageSet], Sequence[Job]]
"""What is to be done besides once there is a new version of an image set."""

Pixels = Callable[[str], Mapping[str, Sequence[NDArray[Any]]]]
"""The decoded frames of an image set, proven by their checksums, by SOP instance UID."""

LONGEST_HELD: Final = 96 << 20
"""Bytes of the longest file that is held in memory; what is longer stays in S3 while it is looked at."""

COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"
_FORGOTTEN_TOGETHER = 10  # with its arrival eight items
_ROWS_TOGETHER = 15  # DynamoDB takes 100 items in a transaction, of which an instance is five


@dataclass(frozen=True, slots=True)
class _Job:
    """An import job that has ended, by what it says of itself.

    Attributes:
        report: Blob key of the folder its report lies in.
    """

    id: str
    batch: Batch
    report: str


class _File(Protocol):
    """A file on its way in, wherever its bytes are."""

    @property
    def data(self) -> Data:
        """Its bytes."""
        ...

    def digest(self) -> str:
        """Its SHA-256, hexadecimal."""
        ...

    def keep(self, key: str) -> None:
        """Bring it to a blob key that is made of its digest, as it is."""
        ...

    def put_aside(self, aside: Aside, digest: str, error: InvalidInput, *, by: Principal) -> Landing:
        """Put it into quarantine."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    """A file in memory."""

    data: bytes
    blobs: Blobs

    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def keep(self, key: str) -> None:
        self.blobs.put(key, self.data)

    def put_aside(self, aside: Aside, digest: str, error: InvalidInput, *, by: Principal) -> Landing:
        return aside.put(self.data, digest, error, by=by)


@dataclass(frozen=True, slots=True)
class _Lying:
    """A file that stays in S3."""

    found: LongObject
    objects: LongObjects

    @property
    def data(self) -> Data:
        return self.objects.data(self.found)

    def digest(self) -> str:
        return self.objects.digest(self.found)

    def keep(self, key: str) -> None:
        try:
            kept = self.objects.find(key).size
        except NotFound:
            kept = -1
        if kept != self.found.size:  # its name is of its digest: a try before this one may have kept it
            self.objects.copy(self.found, key)

    def put_aside(self, aside: Aside, digest: str, error: InvalidInput, *, by: Principal) -> Landing:
        copy = partial(self.objects.copy, self.found)
        return aside.keep(digest, self.found.size, copy, error, by=by)


class HealthImagingImages:
    """The image sets of one HealthImaging data store.

    Args:
        blobs: Where originals and reports lie.
        records: What is known.
        keys: Seal what is put aside.
        clock: The present moment.
        objects: What blobs are that are too long to be held.
        imaging: A boto3 client of `medical-imaging`.
        assembly: The studies on their way in.
        datastore: Its id.
        pixels: Reads frames.
        follow_up: Jobs that every new version asks for.
    """

    def __init__(
        self,
        blobs: Blobs,
        records: Records,
        keys: Keys,
        clock: Clock,
        *,
        objects: LongObjects,
        imaging: Any,
        assembly: Assembly,
        datastore: str,
        pixels: Pixels,
        follow_up: FollowUp = lambda _: (),
    ) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._objects = objects
        self._imaging = imaging
        self._datastore = datastore
        self._pixels = pixels
        self.follow_up = follow_up
        self._aside = Aside(blobs, records, keys, clock)
        self.erasing = Erasing(blobs, records, imaging=imaging, datastore=datastore)
        self.assembly = assembly
        self.studies = Studies(records, clock)

    # arriving

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        """See `Lander.land`; all go into the one data store there is, and no image set has a name yet.

        Raises:
            NotFound: Another data store is named.
        """
        if datastore not in {DEFAULT_DATASTORE, self._datastore}:
            raise NotFound(f"no data store {datastore}")
        landings: list[Landing] = []
        studies: dict[str, list[Arrival]] = defaultdict(list)
        for upload in uploads:
            landing, arrival = self._taken_in(_Held(upload.data, self._blobs), by)
            landings.append(landing)
            if arrival is not None:
                studies[arrival.study].append(arrival)
        for arrivals in studies.values():
            self.assembly.count_in(arrivals, by=by)
        return landings

    def look(self, key: str) -> tuple[int, str] | None:
        """How many bytes lie under a blob key now, and their mark (ETag); None where nothing does.

        Raises:
            Unavailable: S3 does not answer.
        """
        try:
            found = self._objects.find(key)
        except NotFound:
            return None
        return found.size, found.mark

    def land_object(self, key: str, *, by: Principal) -> Landing | None:
        """Land one file of any length that lies under a blob key, and take it from there; None where there is none.

        S3 copies it to where originals are kept, or into quarantine. What is held of it here is a few MiB. A file that
        came under the key meanwhile stays there.

        Raises:
            Unavailable: Another file came under the key meanwhile, or AWS does not answer; worth another try.
        """
        try:
            found = self._objects.find(key)
        except NotFound:
            return None
        landing, arrival = self._taken_in(_Lying(found, self._objects), by)
        if arrival is not None:
            self.assembly.count_in([arrival], by=by)
        self._objects.remove(found)
        return landing

    def land_pieces(self, key: str, pieces: Iterable[bytes], by: Principal) -> Landing:
        """Land one file of any length that comes in pieces; meanwhile it lies under a blob key of its own.

        Raises:
            Unavailable: AWS does not answer; worth another try.
        """
        self._objects.write(key, pieces)
        landing = self.land_object(key, by=by)
        if landing is None:
            raise Unavailable("the file was taken away while it was landing")
        return landing

    def _taken_in(self, file: _File, by: Principal) -> tuple[Landing, Arrival | None]:
        """What becomes of a file, and its arrival where it is new; the original is safe before it is counted."""
        data, digest = file.data, file.digest()
        try:
            parsed = parse(data)
            patient_id = str(parsed.attributes.get("PatientID") or "")
            if by.patients is not None and patient_id not in by.patients:
                raise OutOfScope("the patient is not one that the sender may know of")
        except InvalidInput as error:
            return file.put_aside(self._aside, digest, error, by=by), None
        identity = arrival_id(self._datastore, digest)
        landing = Landing(
            outcome="ingested",
            instance=parsed.sop_uid,
            sop_class=parsed.sop_class,
            study_uid=parsed.study_uid,
            series_uid=parsed.series_uid,
            notices=parsed.warnings,
        )
        if self.assembly.is_known(identity):
            self._require_staying(identity)
            return replace(landing, outcome="duplicate"), None
        file.keep(original_of(identity))
        instance = StoredInstance(
            id=identity,
            image_set="",
            sop_uid=parsed.sop_uid,
            sop_class=parsed.sop_class,
            transfer_syntax=parsed.transfer_syntax,
            digest=digest,
            size_bytes=len(data),
            number=0 if parsed.image is None else parsed.image.number or 0,
            storage=Storage.FOLDED,
            attributes=parsed.attributes,
            image=None if parsed.image is None else parsed.image.plain(),
            pixel_span=parsed.pixel_span,
            is_lossy=parsed.lossy,
            notices=parsed.warnings,
            original=None,
        )
        return landing, Arrival(instance, DEFAULT_DATASTORE, patient_id, parsed.study_uid, parsed.series_uid)

    def _require_staying(self, arrival: str) -> None:
        """What is being deleted is not held already: the same file is taken in once that is over.

        Raises:
            Unavailable: Its image set is being deleted.
        """
        row = self._records.get(INSTANCES, arrival, columns=("image_set",))
        if row is not None and self._is_deleted(str(row.columns["image_set"])):
            raise Unavailable("the image set that holds this file is being deleted; send it again")

    def _is_deleted(self, identity: str) -> bool:
        return self._records.get(TOMBSTONES, identity, columns=()) is not None

    def complete_study(self, key: str, *, by: Principal) -> None:
        """Say that a study is all here: it is imported now instead of after a quiet time.

        Raises:
            NotFound: There is no such study.
        """
        self.assembly.complete(key, by=by)

    # taking up what an import made

    def take_up(self, job: str, *, by: Principal) -> Study | None:
        """Make records of what an import job of ours made, and tell of each image set and of the study.

        Doing it twice is doing it once. A job that failed as a whole is tried again after a while, and in the end an
        alarm tells of it.

        Returns:
            The study; None for a job that is not ours, failed, or whose files were all refused or deleted.

        Raises:
            Unavailable: The job has not ended, or AWS does not answer.
            NotFound: There is no such job.
        """
        ended = self._ended(job)
        if ended is None:
            return None
        arrivals = self.assembly.arrivals(ended.batch)
        is_primary = self._summary(ended)
        found: dict[str, list[Arrival]] = defaultdict(list)
        for line in self._lines(ended, "SUCCESS/success.ndjson"):
            name = _name_of(line)
            if name in arrivals:
                found[str(line["importResponse"]["imageSetId"])].append(arrivals[name])
        for identity in sorted(found):
            found[identity].sort(
                key=lambda one: (one.instance.number, one.instance.sop_uid)
            )  # whatever the report's order
            retried(partial(self._taken_up, identity, found[identity], is_primary.get(identity, True), by))
        refused = {_name_of(line) for line in self._lines(ended, "FAILURE/failure.ndjson")} & arrivals.keys()
        for name in sorted(refused):
            self._put_aside(arrivals[name], by)
        study = self._received(ended.batch.study, by) if found else None
        if not self.assembly.is_imported(ended.batch):
            self.assembly.imported(ended.batch, job, sorted(arrivals))
        return study

    def _received(self, study: str, by: Principal) -> Study | None:
        try:
            return self.studies.received(study, by=by)
        except NotFound:  # all of it has been deleted
            return None

    def _ended(self, job: str) -> _Job | None:
        """The job, by what HealthImaging itself says of it: an event may be old, and only tells where to look."""
        try:
            told = self._imaging.get_dicom_import_job(datastoreId=self._datastore, jobId=job)["jobProperties"]
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "medical-imaging") from error
        batch = batch_of(told["inputS3Uri"])
        if batch is None:
            return None
        if told["jobStatus"] == FAILED:
            self._failed(batch, job)
            return None
        if told["jobStatus"] != COMPLETED:
            raise Unavailable(f"import job {job} is {told['jobStatus']}")
        folder = f"{self._datastore}-DicomImport-{job}"
        return _Job(job, batch, f"training-data/{batch.report}{folder}")

    def _failed(self, batch: Batch, job: str) -> None:
        if self.assembly.failed(batch, job):
            alarm = AlarmStateChanged(alarm="import-failed", state="ALARM", cause=batch.id)
            self._records.commit(Change(events=[alarm.told(at=self._clock(), trace=batch.study)]))

    def _summary(self, job: _Job) -> dict[str, bool]:
        """The image sets of a job, and whether each is the primary one of its series."""
        manifest = orjson.loads(self._blobs.get(f"{job.report}/job-output-manifest.json"))
        told = manifest["jobSummary"].get("imageSetsSummary", ())
        return {str(each["imageSetId"]): bool(each.get("isPrimary", True)) for each in told}

    def _lines(self, job: _Job, name: str) -> list[dict[str, Any]]:
        try:
            data = self._blobs.get(f"{job.report}/{name}")
        except NotFound:  # nothing had that outcome
            return []
        return [orjson.loads(line) for line in data.splitlines() if line]

    def _taken_up(self, identity: str, arrivals: Sequence[Arrival], is_primary: bool, by: Principal) -> None:
        """Record the instances that an import added to an image set, and what it becomes by them."""
        row = self._records.get(IMAGE_SETS, identity)
        if row is None and self._is_deleted(identity):  # what came into it meanwhile goes with it
            for first in range(0, len(arrivals), _FORGOTTEN_TOGETHER):
                self.erasing.forget([one.id for one in arrivals[first : first + _FORGOTTEN_TOGETHER]])
            return
        image_set = self._opened(identity, arrivals[0], is_primary) if row is None else image_set_of(row)
        new = newest_shown([replace(one.instance, image_set=identity) for one in arrivals])
        names = {one.id for one in new}
        if row is not None and names <= self._held(image_set):
            return
        older = [one for one in current_instances(self._records, identity) if one.id not in names]
        replaced = replaced_by(new, older)
        rows = [*(put_instance(one, expected=None) for one in new), *(supersede(old, by) for old, by in replaced)]
        for first in range(0, len(rows), _ROWS_TOGETHER):  # nobody sees them before the image set counts them
            self._records.commit(Change(rows[first : first + _ROWS_TOGETHER]))
        hidden = [old for old, _ in replaced] + [one for one in new if one.superseded_by is not None]
        now = self._clock()
        after = grown(image_set, new, hidden, replace_open=row is None, at=now)
        more = after.instances - image_set.instances
        geometry, order = arranged(current_instances(self._records, identity))
        notices = tuple(dict.fromkeys([*after.notices, *geometry.warnings]))
        closed, event = after.close(geometry=facts_of(geometry), notices=notices, at=now)
        edits = read_edits(self._records, identity)
        cause = CREATED if row is None else IMPORTED
        self._records.commit(
            Change(
                writes=[
                    put_image_set(closed, expected=0 if row is None else row.revision),
                    put_version(closed, order, cause=cause, edits=edits, at=now),
                    self.studies.grown(closed, new=row is None, instances=more),
                ],
                events=[event.told(at=now, trace=arrivals[0].study)],
                jobs=self.follow_up(closed),
                audit=[AuditEntry(by.id, "complete", identity)],
            )
        )

    def _held(self, image_set: ImageSet) -> frozenset[str]:
        """Every instance that any version of it has counted."""
        return frozenset(name for version in versions_of(self._records, image_set) for name in version.instances)

    def _opened(self, identity: str, first: Arrival, is_primary: bool) -> ImageSet:
        now = self._clock()
        return ImageSet(
            id=identity,
            version=1,
            state=State.INGESTED,
            is_closed=False,
            patient_id=first.patient_id,
            study_uid=first.study_uid,
            series_uid=first.series_uid,
            attributes=first.instance.attributes,
            instances=0,
            frames=0,
            landed=0,
            kept=0,
            original_bytes=0,
            stored_bytes=0,
            notices=(),
            geometry={},
            truth=None,
            prediction=None,
            wrapped_key=self._keys.create(),
            created_at=now,
            updated_at=now,
            datastore=DEFAULT_DATASTORE,
            is_primary=is_primary,
        )

    def _put_aside(self, arrival: Arrival, by: Principal) -> None:
        key, instance = original_of(arrival.id), arrival.instance
        is_long = instance.size_bytes > LONGEST_HELD
        file = _Lying(self._objects.find(key), self._objects) if is_long else _Held(self._blobs.get(key), self._blobs)
        error = ImportRefused("HealthImaging did not take the file in; the import job's report tells why")
        file.put_aside(self._aside, instance.digest, error, by=by)

    # reading

    def get(self, identity: str) -> ImageSet:
        """One image set.

        Raises:
            NotFound: There is no such image set.
        """
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        return image_set_of(row)

    def instances(self, identity: str) -> list[StoredInstance]:
        """Its current instances, by instance number."""
        return current_instances(self._records, identity)

    def export(self, instance: StoredInstance) -> bytes:
        """The Part 10 file exactly as it arrived.

        Raises:
            NotFound: It is not in the archive.
        """
        return self._blobs.get(original_of(instance.id))

    def volume(self, identity: str) -> NDArray[np.generic]:
        """All frames as training and prediction want them.

        Returns:
            CT: int16 (slices, rows, columns), HU. Else: uint16 (views, rows, columns), MONOCHROME2, full range.

        Raises:
            NotFound: There is no such image set.
            UnsupportedPixels: A frame is colour, undecodable, or differs in size from the others.
            Unavailable: HealthImaging tells of other frames than we know.
        """
        image_set = self.get(identity)
        versions = versions_of(self._records, image_set)
        if not versions:
            raise UnsupportedPixels("the frames of the image set do not form one volume")
        instances = {one.id: one for one in self.instances(identity)}
        pixels = self._pixels(identity)
        frames = []
        for place, number in versions[-1].frames:
            instance = instances[versions[-1].instances[place]]
            try:
                stored = pixels[instance.uid_as_received][number]
            except (KeyError, IndexError):
                raise Unavailable(f"HealthImaging has other frames of image set {identity} than we know") from None
            frames.append(grey(stored, instance.image or {}, image_set.modality))
        if not frames or any(frame.shape != frames[0].shape for frame in frames):
            raise UnsupportedPixels("the frames of the image set do not form one volume")
        return np.stack(frames)


def _name_of(line: Mapping[str, Any]) -> str:
    """The arrival that a line of an import's report tells of."""
    return str(line["inputFile"]).rpartition("/")[2].removesuffix(".dcm")
