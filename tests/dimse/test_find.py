"""C-FIND by pynetdicom: matching, what comes back, and how it ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from radloop.dicom.identifiers import read_identifier, write_identifier
from radloop.dicom.parse import parse
from tests.dimse.door import (
    CT,
    EXPLICIT,
    IMPLICIT,
    PATIENT_FIND,
    STUDY_FIND,
    Door,
    associated,
    identifier,
    open_door,
    send,
)
from tests.store.house import of_patient, phantom


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Three patients with one study of four instances each."""
    with open_door(tmp_path_factory.mktemp("home")) as door:
        for number in (1, 2, 3):
            with associated(door.port, (CT, [EXPLICIT])) as association:
                for place, file in enumerate(of_patient(number)):
                    assert send(association, renamed(file, number)).Status == 0, place
        yield door


def renamed(file: bytes, number: int) -> bytes:
    """The file in a study of its own."""
    for uid in (parse(file).study_uid, parse(file).series_uid, parse(file).sop_uid):
        file = file.replace(uid.encode(), uid[:-1].encode() + str(number).encode())
    return file


def found(
    door: Door, query: Dataset, model: str = STUDY_FIND, syntax: str = EXPLICIT
) -> tuple[list[Dataset], list[int]]:
    """The identifiers and all statuses."""
    with associated(door.port, (model, [syntax])) as association:
        answers = list(association.send_c_find(query, model))
    return [each for _, each in answers if each is not None], [status.Status for status, _ in answers]


def names(door: Door, **keys: Any) -> list[str]:
    rows, _ = found(door, identifier("STUDY", **{"PatientID": "", "StudyInstanceUID": "", **keys}))
    return sorted(row.PatientID for row in rows)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_an_empty_key_matches_everything_and_only_what_was_asked_for_comes_back(filled: Door, syntax: str) -> None:
    rows, statuses = found(filled, identifier("STUDY", PatientName="", NumberOfStudyRelatedInstances=""), syntax=syntax)
    assert statuses == [0xFF00] * 3 + [0x0000]
    keywords = {element.keyword for element in rows[0]}
    assert keywords == {
        "SpecificCharacterSet",
        "QueryRetrieveLevel",
        "RetrieveAETitle",
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "NumberOfStudyRelatedInstances",
    }
    assert rows[0].SpecificCharacterSet == "ISO_IR 192"
    assert rows[0].RetrieveAETitle == "RADLOOP"
    assert rows[0].NumberOfStudyRelatedInstances == 4


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"PatientID": "PHANTOM-00002"}, ["PHANTOM-00002"]),
        ({"PatientID": "PHANTOM*3"}, ["PHANTOM-00003"]),
        ({"PatientID": "PHANTOM-0000?"}, ["PHANTOM-00001", "PHANTOM-00002", "PHANTOM-00003"]),
        ({"PatientID": "NOBODY"}, []),
        ({"PatientID": "PHANTOM-00002", "ModalitiesInStudy": "CT"}, ["PHANTOM-00002"]),
        ({"PatientID": "PHANTOM-00002", "ModalitiesInStudy": "MR"}, []),
        ({"PatientID": "PHANTOM-00002", "StudyDate": "19000101-"}, ["PHANTOM-00002"]),
        ({"PatientID": "PHANTOM-00002", "StudyDate": "-19000101"}, []),
    ],
    ids=str,
)
def test_matching_goes_by_the_standard(filled: Door, keys: dict[str, str], expected: list[str]) -> None:
    assert names(filled, **keys) == expected


def test_a_list_of_uids_matches_each(filled: Door) -> None:
    uids = [parse(renamed(of_patient(number)[0], number)).study_uid for number in (1, 3)]
    assert names(filled, StudyInstanceUID=uids) == ["PHANTOM-00001", "PHANTOM-00003"]


def test_every_level_of_both_roots_is_answered(filled: Door) -> None:
    patient, _ = found(filled, identifier("PATIENT", PatientID="PHANTOM-00001", PatientName=""), PATIENT_FIND)
    assert [row.PatientID for row in patient] == ["PHANTOM-00001"]
    study, _ = found(filled, identifier("STUDY", PatientID="PHANTOM-00001", StudyInstanceUID=""), PATIENT_FIND)
    series, _ = found(
        filled, identifier("SERIES", StudyInstanceUID=study[0].StudyInstanceUID, Modality=""), PATIENT_FIND
    )
    assert [row.Modality for row in series] == ["CT"]
    keys = {"StudyInstanceUID": series[0].StudyInstanceUID, "SeriesInstanceUID": series[0].SeriesInstanceUID}
    images, _ = found(filled, identifier("IMAGE", **keys, SOPInstanceUID="", InstanceNumber="", Rows=None))
    assert sorted(int(row.InstanceNumber) for row in images) == [1, 2, 3, 4]
    assert {row.Rows for row in images} == {64}
    assert {row.SOPInstanceUID for row in images} == {parse(renamed(file, 1)).sop_uid for file in phantom()}


def test_keys_we_do_not_know_are_ignored_and_told_of(filled: Door) -> None:
    query = identifier("STUDY", PatientID="PHANTOM-00001", PatientComments="x", PregnancyStatus=4)
    query.ReferencedStudySequence = [Dataset()]
    rows, statuses = found(filled, query)
    assert statuses == [0xFF01, 0x0000]
    assert rows[0].PatientComments == ""
    assert list(rows[0].ReferencedStudySequence) == []


@pytest.mark.parametrize(
    ("query", "model"),
    [
        (identifier("PATIENT", PatientID=""), STUDY_FIND),
        (identifier("SLICE", PatientID=""), STUDY_FIND),
        (identifier("", PatientID=""), PATIENT_FIND),
        (identifier("STUDY", StudyDate="2020-01"), STUDY_FIND),
    ],
    ids=["level of another root", "unknown level", "no level", "no date"],
)
def test_what_does_not_fit_the_model_is_refused(filled: Door, query: Dataset, model: str) -> None:
    assert found(filled, query, model) == ([], [0xA900])


def test_searches_are_audited(filled: Door) -> None:
    names(filled)
    assert filled.audited("search") > 0


def test_a_cancelled_query_ends_with_fe00(tmp_path: Path) -> None:
    with open_door(tmp_path) as door:
        with associated(door.port, (CT, [EXPLICIT])) as association:
            for number in range(1, 81):
                assert send(association, renamed_study(of_patient(number)[0], number)).Status == 0
        with associated(door.port, (STUDY_FIND, [EXPLICIT])) as association:
            statuses = []
            for status, _ in association.send_c_find(identifier("STUDY", PatientID=""), STUDY_FIND, msg_id=5):
                if not statuses:
                    association.send_c_cancel(5, query_model=STUDY_FIND)
                statuses.append(status.Status)
    assert set(statuses[:-1]) == {0xFF00}
    assert statuses[-1] in {0xFE00, 0x0000}  # it may have been through before the word came


def renamed_study(file: bytes, number: int) -> bytes:
    uid = parse(file).study_uid
    return file.replace(uid.encode(), f"{uid[:-3]}{number + 100}".encode())


def test_an_identifier_is_read_back_as_it_was_written() -> None:
    values = {
        0x00100010: "Müller^Jörg",
        0x0020000D: ["1.2.3", "1.2.4"],
        0x00280010: 512,
        0x00080052: "STUDY",
        0x00081110: None,
    }
    for syntax in (EXPLICIT, IMPLICIT):
        assert read_identifier(write_identifier(values, syntax), syntax) == {
            0x00100010: "Müller^Jörg",
            0x0020000D: "1.2.3\\1.2.4",
            0x00280010: "512",
            0x00080052: "STUDY",
            0x00081110: "",
        }
