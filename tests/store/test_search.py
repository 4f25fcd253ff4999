"""Searching: what DICOM calls matching, on a real index."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import InvalidInput
from radloop.store.search import ATTRIBUTES, COUNTED, Search, count, find, searchable_at
from tests.dicom.files import ct, written
from tests.store.house import House, open_house

PEOPLE = (
    # name, patient id, date, time, accession, modality, series, instances in each
    ("MÜLLER^Anna", "P1", "20200102", "101500", "A1", "CT", 2, 3),
    ("MUELLER^Bernd", "P2", "20200315", "235959.5", "A2", "DX", 1, 1),
    ("Doe^John^Q", "P3", "20210101", "0700", "A3", "CT", 1, 2),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "P4", "20210630", "120000", "A4", "MR", 1, 1),
    ("O'Brien^[Jr]", "P5", "", "", "", "CT", 1, 1),
)


def person(number: int, *, series: int = 0, instance: int = 0, **more: Any) -> bytes:
    name, patient, date, time, accession, modality, _, _ = PEOPLE[number]
    attributes: dict[str, Any] = {
        "PatientName": name,
        "PatientID": patient,
        "StudyDate": date,
        "StudyTime": time,
        "AccessionNumber": accession,
        "Modality": modality,
        "StudyInstanceUID": f"1.2.{number + 1}",
        "SeriesInstanceUID": f"1.2.{number + 1}.{series + 1}",
        "SOPInstanceUID": f"1.2.{number + 1}.{series + 1}.{instance + 1}",
        "SeriesNumber": series + 1,
        "InstanceNumber": instance + 1,
        "SpecificCharacterSet": "ISO_IR 192",
    }
    return written(ct(**{**attributes, **more}))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        for number, (*_, series, instances) in enumerate(PEOPLE):
            files = [person(number, series=s, instance=i) for s in range(series) for i in range(instances)]
            assert {landing.outcome for landing in opened.land(*files)} == {"ingested"}
        yield opened


def patients(house: House, level: str = "study", **options: Any) -> set[str]:
    wanted = {key: value for key, value in options.items() if key in ATTRIBUTES}
    rest = {key: value for key, value in options.items() if key not in ATTRIBUTES}
    return {row["PatientID"] for row in find(Search(level, wanted, **rest), house.records).rows}


@pytest.mark.parametrize("level", ["study", "series", "instance"])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, {"P1", "P2", "P3", "P4", "P5"}),
        ({"PatientID": "P3"}, {"P3"}),
        ({"PatientID": "P?"}, {"P1", "P2", "P3", "P4", "P5"}),
        ({"PatientID": "p3"}, set()),
        ({"PatientName": "müller^anna"}, {"P1"}),
        ({"PatientName": "muller*"}, {"P1"}),
        ({"PatientName": "MU*"}, {"P1", "P2"}),
        ({"PatientName": "*john*"}, {"P3"}),
        ({"PatientName": "Doe^John^Q^^"}, {"P3"}),
        ({"PatientName": "Doe"}, set()),
        ({"PatientName": "yamada^tarou"}, {"P4"}),
        ({"PatientName": "山田*"}, {"P4"}),
        ({"PatientName": "o'brien^[jr]"}, {"P5"}),
        ({"PatientName": "*[jr]"}, {"P5"}),
        ({"StudyDate": "20200102"}, {"P1"}),
        ({"StudyDate": "20200102-20200331"}, {"P1", "P2"}),
        ({"StudyDate": "20210101-"}, {"P3", "P4"}),
        ({"StudyDate": "-20200314"}, {"P1"}),
        ({"StudyTime": "07"}, {"P3"}),
        ({"StudyTime": "0701"}, set()),
        ({"StudyTime": "0700"}, {"P3"}),
        ({"StudyTime": "10-1015"}, {"P1"}),
        ({"StudyTime": "235959-"}, {"P2"}),
        ({"AccessionNumber": "A[12]"}, set()),
        ({"AccessionNumber": "A*"}, {"P1", "P2", "P3", "P4"}),
        ({"ModalitiesInStudy": "CT"}, {"P1", "P3", "P5"}),
        ({"ModalitiesInStudy": "C*"}, {"P1", "P3", "P5"}),
        ({"ModalitiesInStudy": "MR\\DX"}, {"P2", "P4"}),
        ({"StudyInstanceUID": "1.2.1\\1.2.4"}, {"P1", "P4"}),
        ({"StudyInstanceUID": "1.2.1,1.2.2"}, {"P1", "P2"}),
        ({"ModalitiesInStudy": "CT", "StudyDate": "20200101-20201231"}, {"P1"}),
        ({"PatientName": "", "PatientID": "*"}, {"P1", "P2", "P3", "P4", "P5"}),
    ],
)
def test_matching_is_the_same_at_every_level(house: House, level: str, wanted: dict[str, str], found: set[str]) -> None:
    assert patients(house, level, **wanted) == found


@pytest.mark.parametrize(
    ("text", "found"), [("ann", {"P1"}), ("john do", {"P3"}), ("mul", {"P1"}), ("oe", set()), ("taro", {"P4"})]
)
def test_fuzzy_names_match_where_each_word_begins_a_part(house: House, text: str, found: set[str]) -> None:
    assert patients(house, PatientName=text, fuzzy=True) == found


def test_series_and_instances_are_found_by_what_is_theirs(house: House) -> None:
    (row,) = find(Search("instance", {"SOPInstanceUID": "1.2.1.2.3"}), house.records).rows
    assert (row["SeriesInstanceUID"], row["Rows"], row["NumberOfFrames"]) == ("1.2.1.2", 4, 1)
    assert find(Search("instance", {"SOPInstanceUID": "1.2.1.2.3", "PatientID": "P2"}), house.records).rows == []
    numbers = find(Search("instance", {"InstanceNumber": "2"}), house.records).rows
    assert {row["SOPInstanceUID"] for row in numbers} == {"1.2.1.1.2", "1.2.1.2.2", "1.2.3.1.2"}
    series = find(Search("series", {"SeriesNumber": "2"}), house.records).rows
    assert [row["SeriesInstanceUID"] for row in series] == ["1.2.1.2"]


def test_studies_and_series_are_counted(house: House) -> None:
    (study,) = find(Search("study", {"PatientID": "P1"}), house.records).rows
    assert (study["NumberOfStudyRelatedSeries"], study["NumberOfStudyRelatedInstances"]) == (2, 6)
    assert study["ModalitiesInStudy"] == ["CT"]
    series = find(Search("series", {"PatientID": "P1"}), house.records).rows
    assert [row["NumberOfSeriesRelatedInstances"] for row in series] == [3, 3]


def test_patients_are_told_once_each(house: House) -> None:
    found = find(Search("patient", {"PatientName": "m*"}), house.records).rows
    assert [row["PatientID"] for row in found] == ["P2", "P1"]


@pytest.mark.parametrize("level", ["study", "series", "instance"])
@pytest.mark.parametrize("wanted", [{}, {"PatientSex": ""}, {"StudyTime": "0000-2359"}])
def test_pages_follow_each_other_without_gap_or_overlap(house: House, level: str, wanted: dict[str, str]) -> None:
    everything = find(Search(level, wanted), house.records)
    assert not everything.is_cut
    pages = [find(Search(level, wanted, limit=2, offset=offset), house.records) for offset in range(0, 20, 2)]
    assert [row for page in pages for row in page.rows] == everything.rows
    assert [page.is_cut for page in pages] == [offset + 2 < len(everything.rows) for offset in range(0, 20, 2)]
    assert count(Search(level, wanted, limit=1, offset=3), house.records) == len(everything.rows)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({"StudyInstanceUID": "1.2.1"}, 6),
        ({"StudyInstanceUID": "1.2.1", "InstanceNumber": "2"}, 2),
        ({"Modality": "CT"}, 9),
        ({"SOPInstanceUID": "1.2.1.2.3\\1.2.2.1.1,1.2.9"}, 2),
        ({"SOPInstanceUID": "1.2.1.2.*"}, 0),
        ({"StudyInstanceUID": "1.2.1", "SOPInstanceUID": "1.2.2.1.1"}, 0),
    ],
)
def test_instances_are_counted_whatever_the_page(house: House, wanted: dict[str, str], number: int) -> None:
    for limit, offset in ((None, 0), (1, 0), (2, 1), (0, 0), (5, 20)):
        search = Search("instance", wanted, limit=limit, offset=offset)
        assert count(search, house.records) == number
        shown = find(search, house.records)
        assert len(shown.matches) == max(0, min(number - offset, number if limit is None else limit))
        assert shown.is_cut == (limit is not None and number > offset + limit)


def test_instances_come_by_their_number_whatever_order_they_landed_in(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        for instance in (4, 0, 3, 1, 2):
            house.land(person(0, instance=instance))
        everything = find(Search("instance", {}), house.records).rows
        assert [row["InstanceNumber"] for row in everything] == [1, 2, 3, 4, 5]
        pages = [find(Search("instance", {}, limit=2, offset=n), house.records).rows for n in (0, 2, 4)]
        assert [row for page in pages for row in page] == everything


@pytest.mark.parametrize("level", ["patient", "study", "series", "instance"])
def test_patients_out_of_scope_are_neither_found_nor_counted(house: House, level: str) -> None:
    scope = frozenset({"P2", "P9"})
    assert patients(house, level, patients=scope) == {"P2"}
    assert count(Search(level, {}, patients=scope), house.records) == 1
    assert patients(house, level, PatientID="P1", patients=scope) == set()
    assert count(Search(level, {}, patients=frozenset()), house.records) == 0
    if level == "instance":
        assert patients(house, level, SOPInstanceUID="1.2.1.1.1", patients=scope) == set()


def test_another_data_store_holds_none_of_it(house: House) -> None:
    for level in ("patient", "study", "series", "instance"):
        assert patients(house, level, datastore="0" * 32) == set()
    assert patients(house, "instance", SOPInstanceUID="1.2.1.1.1", datastore="0" * 32) == set()


def test_what_cannot_be_searched_at_a_level_is_refused(house: House) -> None:
    for level, keyword in [
        ("study", "Modality"),
        ("series", "SOPInstanceUID"),
        ("study", "NumberOfStudyRelatedSeries"),
    ]:
        with pytest.raises(InvalidInput):
            find(Search(level, {keyword: "1"}), house.records)
    assert not searchable_at("instance") & COUNTED


@pytest.mark.parametrize(
    ("keyword", "text"),
    [("StudyDate", "2020"), ("StudyDate", "-"), ("StudyTime", "25:00"), ("PatientBirthDate", "1970-01-01")],
)
def test_a_badly_written_date_or_time_is_told(house: House, keyword: str, text: str) -> None:
    with pytest.raises(InvalidInput, match="written"):
        find(Search("study", {keyword: text}), house.records)


@given(text=st.text(max_size=12))
def test_no_text_breaks_a_search_or_finds_more_than_there_is(house: House, text: str) -> None:
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "ModalitiesInStudy"):
        for fuzzy in (False, True):
            rows = find(Search("study", {keyword: text}, fuzzy=fuzzy), house.records).rows
            assert len(rows) <= len(PEOPLE)


def test_a_late_instance_and_a_second_series_count_at_once(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        house.land(person(0))
        house.land(person(0, instance=1), person(0, series=1, Modality="SR"))
        house.land(person(0, instance=1))  # again
        (study,) = find(Search("study", {}), house.records).rows
        assert (study["NumberOfStudyRelatedSeries"], study["NumberOfStudyRelatedInstances"]) == (2, 3)
        assert study["ModalitiesInStudy"] == ["CT", "SR"]
