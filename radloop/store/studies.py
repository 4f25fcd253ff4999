"""Studies: what the image sets of one patient's study add up to, and when all of it is here.

A study's record is counted along in the transaction that lands an instance, so that a list of studies costs no
walk over their instances. It is open while instances arrive and complete once they have stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from radloop.core.errors import Conflict, NotFound, Unavailable
from radloop.core.events import StudyReceived
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.core.ports import Adjust, AuditEntry, Change, Clock, Put, Records, Row, Term
from radloop.core.tables import IMAGE_SETS, STUDIES, searchable, study_key

ATTRIBUTES = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "PatientName",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
)
_TRIES = 20
_Columns = dict[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Study:
    """A study as its image sets make it up.

    Attributes:
        id: 32 characters, derived from data store, patient and study UID.
        version: How often it has been received whole; 0 before the first time.
        attributes: Those of patient and study, by keyword; patient data.
        modalities: Each once, in the order they came.
        series: Image sets in it; `instances`: instances in all of them.
    """

    id: str
    datastore: str
    patient_id: str
    study_uid: str
    version: int
    attributes: Mapping[str, Any]
    modalities: tuple[str, ...]
    series: int
    instances: int
    is_open: bool


def study_of(row: Row) -> Study:
    """The study a record holds."""
    return Study(
        id=row.key,
        datastore=row.document["datastore"],
        patient_id=row.document["patient_id"],
        study_uid=row.document["study_uid"],
        version=row.document["version"],
        attributes=row.document["attributes"],
        modalities=tuple(word for word in str(row.columns["modalities"]).split("\\") if word),
        series=int(row.columns["series"]),
        instances=int(row.columns["instances"]),
        is_open=bool(row.columns["is_open"]),
    )


class Studies:
    """The studies of one installation."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def grown(self, image_set: ImageSet, *, new: bool, instances: int) -> Put | Adjust:
        """The write that counts `instances` more in `image_set`, which is `new` to its study or not."""
        key = study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)
        now = self._clock().timestamp()
        row = self._records.get(STUDIES, key) if new else None
        if not new:
            return Adjust(STUDIES, key, {"instances": instances}, {"updated": now, "is_open": 1})
        if row is None:
            return _opened(key, image_set, instances, now)
        return _widened(row, image_set, instances, now)

    def shrunk(self, image_set: ImageSet) -> Adjust:
        """The write that counts `image_set` out of its study."""
        key = study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)
        return Adjust(
            STUDIES,
            key,
            {"instances": -image_set.instances, "series": -1},
            {"updated": self._clock().timestamp()},
        )

    def get(self, key: str) -> Study:
        """One study.

        Raises:
            NotFound: There is no such study.
        """
        row = self._records.get(STUDIES, key)
        if row is None or not row.columns["series"]:
            raise NotFound(f"no study {key}")
        return study_of(row)

    def image_sets(self, study: Study) -> list[str]:
        """Ids of its image sets, in the order they were opened."""
        terms = [Term("study_uid", "is", (study.study_uid,)), Term("study", "is", (study.id,))]
        return [row.key for row in self._records.search(IMAGE_SETS, terms)]

    def quiet(self, quiet_s: float) -> list[str]:
        """Ids of open studies whose last instance came more than `quiet_s` seconds ago."""
        before = (self._clock() - timedelta(seconds=quiet_s)).timestamp()
        terms = [Term("is_open", "is", (1,)), Term("updated", "between", (None, before))]
        return [row.key for row in self._records.search(STUDIES, terms)]

    def received(self, key: str, *, by: Principal) -> Study:
        """Say that a study is all here; saying it twice without a new instance between is saying it once.

        Raises:
            NotFound: There is no such study.
            Unavailable: It kept growing.
        """
        for _ in range(_TRIES):
            row = self._records.get(STUDIES, key)
            if row is None or not row.columns["series"]:
                raise NotFound(f"no study {key}")
            study = study_of(row)
            if not study.is_open:
                return study
            version = study.version + 1
            event = StudyReceived(study=key, version=version, image_sets=study.series, instances=study.instances)
            columns = {**row.columns, "is_open": 0}
            write = Put(STUDIES, key, {**row.document, "version": version}, columns, expected=row.revision)
            audit = AuditEntry(by.id, "complete-study", key)
            try:
                self._records.commit(Change([write], [event.told(at=self._clock(), trace=key)], audit=[audit]))
            except Conflict:
                continue  # an instance landed meanwhile: look again
            return self.get(key)
        raise Unavailable("the study kept growing while it was completed")


def _opened(key: str, image_set: ImageSet, instances: int, now: float) -> Put:
    """The first write of a study."""
    document = {
        "datastore": image_set.datastore,
        "patient_id": image_set.patient_id,
        "study_uid": image_set.study_uid,
        "version": 0,
        "attributes": {keyword: image_set.attributes.get(keyword) for keyword in ATTRIBUTES},
    }
    counts: _Columns = {"modalities": f"\\{image_set.modality}\\", "series": 1, "instances": instances}
    return Put(STUDIES, key, document, {**columns_of(document), **counts, "is_open": 1, "updated": now}, expected=0)


def _widened(row: Row, image_set: ImageSet, instances: int, now: float) -> Put:
    """The write that adds an image set; what the study did not know of itself so far, it learns."""
    before = row.document["attributes"]
    attributes = {
        keyword: image_set.attributes.get(keyword) if before[keyword] is None else before[keyword]
        for keyword in ATTRIBUTES
    }
    document = {**row.document, "attributes": attributes}
    modalities = str(row.columns["modalities"])
    if f"\\{image_set.modality}\\" not in modalities:
        modalities += f"{image_set.modality}\\"
    counts: _Columns = {
        "modalities": modalities,
        "series": int(row.columns["series"]) + 1,
        "instances": int(row.columns["instances"]) + instances,
    }
    columns = {**columns_of(document), **counts, "is_open": 1, "updated": now}
    return Put(STUDIES, row.key, document, columns, expected=row.revision)


def columns_of(document: Mapping[str, Any]) -> _Columns:
    """The columns of a study that follow from its document."""
    attributes = document["attributes"]
    return {
        "patient_id": document["patient_id"],
        "study_uid": document["study_uid"],
        "datastore": document["datastore"],
        "patient_name": searchable(attributes["PatientName"]),
        "referring_physician_name": searchable(attributes["ReferringPhysicianName"]),
        "accession_number": _text(attributes["AccessionNumber"]),
        "study_date": _text(attributes["StudyDate"]),
        "study_time": _text(attributes["StudyTime"]),
        "study_id": _text(attributes["StudyID"]),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
