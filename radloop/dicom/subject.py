"""Whose images something is about: patient, study and series as they are told on in what is made of them.

Scanners write what the standard does not allow. What is told on is cut and left out until it is allowed, but for the
PatientID, by which things belong together: that one is told on as it is. No value is ever part of a complaint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from radloop.dicom.values import is_uid

_SEXES: Final = frozenset({"M", "F", "O"})
_DATES, _TIMES, _NAMES = ("PatientBirthDate", "StudyDate"), ("StudyTime",), ("PatientName", "ReferringPhysicianName")
_LONGEST: Final = {"AccessionNumber": 16, "StudyID": 16, "StudyDescription": 64}
_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """An image instance that something is about; rows and columns where they are known."""

    sop_class: str
    sop_uid: str
    rows: int = 0
    columns: int = 0


@dataclass(frozen=True, slots=True)
class KeyPicture:
    """An image that something rests on; `frame` from 1 where the instance has several."""

    picture: Picture
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The series that something is about.

    Attributes:
        attributes: Its hot attributes by keyword, of which patient and study are told on. Patient data.
        patient_id: As the series is kept under; it may differ from the attribute where nothing is told.
        pictures: Its instances with images, in slice order.
    """

    attributes: Mapping[str, Any]
    patient_id: str
    study_uid: str
    series_uid: str
    pictures: tuple[Picture, ...]

    @property
    def frame_of_reference(self) -> str:
        """Its FrameOfReferenceUID; "" where there is none that is legal."""
        uid = str(self.attributes.get("FrameOfReferenceUID") or "")
        return uid if is_uid(uid) else ""

    def add_to(self, data_set: Dataset) -> None:
        """Write patient and study (type 1 and 2 attributes, and StudyDescription where it is told)."""
        told = {
            **{keyword: self._text(keyword, most) for keyword, most in _LONGEST.items()},
            **{keyword: _date(self.attributes.get(keyword)) for keyword in _DATES},
            **{keyword: _time(self.attributes.get(keyword)) for keyword in _TIMES},
            **{keyword: _name(self.attributes.get(keyword)) for keyword in _NAMES},
            "PatientSex": self._sex(),
            "PatientID": self.patient_id,
            "StudyInstanceUID": self.study_uid,
        }
        if not told["StudyDescription"]:
            del told["StudyDescription"]
        for keyword, value in told.items():
            _add(data_set, keyword, value)

    def _text(self, keyword: str, most: int) -> str:
        return str(self.attributes.get(keyword) or "").replace("\\", " ")[:most].strip()

    def _sex(self) -> str:
        sex = str(self.attributes.get("PatientSex") or "")
        return sex if sex in _SEXES else ""


def _add(data_set: Dataset, keyword: str, value: str) -> None:
    """Set a value without a look at it: what pydicom says of a wrong one would hold the value itself."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    data_set.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))


def _name(value: object) -> str:
    """A PN: up to three groups of 64 characters each (PS3.5 §6.2)."""
    return "=".join(group[:_LONGEST_NAME] for group in str(value or "").replace("\\", " ").split("=")[:3])


def _date(value: object) -> str:
    """A DA that is a day of the calendar, or ""."""
    text = str(value or "")
    return text if len(text) == len("YYYYMMDD") and _is(text, "%Y%m%d") else ""


def _time(value: object) -> str:
    """A TM to the second, or ""; other spellings of scanners are left out."""
    text = str(value or "").partition(".")[0]
    shapes = {2: "%H", 4: "%H%M", 6: "%H%M%S"}
    return text if len(text) in shapes and _is(text, shapes[len(text)]) else ""


def _is(text: str, shape: str) -> bool:
    if not (text.isascii() and text.isdigit()):
        return False
    try:
        datetime.strptime(text, shape).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
