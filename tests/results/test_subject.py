"""Scanners write what the standard does not allow; what is made of their images is allowed, and lands beside them."""

from datetime import UTC, datetime

import numpy as np
import pytest

from radloop.core.errors import InvalidInput
from radloop.dicom.capture import capture_file
from radloop.dicom.concepts import IMAGING, PNEUMONIA, PRESENT, READER
from radloop.dicom.parse import parse
from radloop.dicom.report import Group, Person, Report, report_file
from radloop.dicom.subject import KeyPicture, Picture, Subject

CT = "1.2.840.10008.5.1.4.1.1.2"
AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ODD = {
    "PatientName": "Müller^Änne=山田^太郎",
    "AccessionNumber": "x" * 40,
    "StudyID": "y\\" * 15,
    "ReferringPhysicianName": "a" * 80 + "^b",
    "PatientSex": "weiblich",
    "PatientBirthDate": "1940.01.01",
    "StudyDate": "20261340",
    "StudyTime": "99:99",
    "StudyDescription": "z" * 100,
    "FrameOfReferenceUID": "1.02.x",
    "InstitutionName": "i" * 90,
}


def subject(patient_id: str, sop_class: str = CT) -> Subject:
    return Subject(ODD, patient_id, "1.2", "1.2.3", (Picture(sop_class, "1.2.3.4", 5, 5),))


def report_of(about: Subject) -> bytes:
    person = Person("somebody", READER)
    group = Group("Read 1", "2.25.1", AT, person, evaluations=((PNEUMONIA, PRESENT),))
    return report_file(
        Report(
            about, "2.25.2", "2.25.3", 1, 1, "d", "m", AT, IMAGING, (person,), (group,), verified_by=(("somebody", AT),)
        )
    )


def capture_of(about: Subject) -> bytes:
    pixels = np.zeros((3, 5, 3), dtype=np.uint8)
    return capture_file(
        pixels, about, source=KeyPicture(about.pictures[0]), sop_uid="2.25.9", series_uid="2.25.8", series_number=1,
        instance_number=1, series_description="d", model_name="m", derivation="d", at=AT,
    )  # fmt: skip


@pytest.mark.parametrize("patient_id", ["P-1", "x" * 100, "a\\b", "ü" * 64])
def test_odd_values_are_cut_or_left_out_and_the_patient_id_is_kept(patient_id: str) -> None:
    for data in (report_of(subject(patient_id)), capture_of(subject(patient_id))):
        made = parse(data)
        assert made.warnings == ()
        assert made.attributes["PatientID"] == patient_id
        assert made.attributes["PatientName"] == ODD["PatientName"]
        assert len(str(made.attributes["AccessionNumber"])) == 16
        assert not made.attributes["StudyDate"]
        assert not made.attributes["PatientSex"]


def test_a_series_without_a_patient_id_gets_results_without_one() -> None:
    for data in (report_of(subject("")), capture_of(subject(""))):
        assert not parse(data).attributes["PatientID"]


@pytest.mark.parametrize("sop_class", ["1.2.3.4.5", "1.2.840.10008.5.1.4.1.1.88.11"])
def test_what_a_report_cannot_refer_to_is_refused_without_a_word_of_the_patient(sop_class: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        report_of(subject("P-1", sop_class))
    assert "Müller" not in str(refused.value)


def test_a_report_about_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one image"):
        report_of(Subject({}, "P-1", "1.2", "1.2.3", ()))
