from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from radloop.api.qido import MOST_RESULTS
from tests.api.dicomweb.asking import (
    BASE,
    JSON,
    OTHER,
    PHANTOM,
    ROOT,
    SERIES,
    STUDY,
    UIDS,
    client_of,
    file_of,
    stow,
    values,
)
from tests.api.installation import Installation, TestClient


def studies(client: TestClient, query: str) -> set[str]:
    answer = client.get(f"{ROOT}/studies?{query}", headers=JSON)
    assert answer.status_code in {200, 204}, query
    assert (answer.status_code == 204) == (not answer.content)
    return {values(each, "0020000D")[0] for each in (answer.json() if answer.content else [])}


def test_studies_are_found_by_each_attribute(stored: TestClient) -> None:
    date = values(stored.get(f"{ROOT}/studies?StudyInstanceUID={PHANTOM.study_uid}").json()[0], "00080020")[0]
    both = [PHANTOM.study_uid, OTHER.study_uid]
    for query, expected in {
        "": both,
        f"PatientID={PHANTOM.patient_id}": both[:1],
        f"00100020={PHANTOM.patient_id}": both[:1],
        f"StudyInstanceUID={PHANTOM.study_uid}": both[:1],
        f"StudyInstanceUID={PHANTOM.study_uid},{OTHER.study_uid}": both,
        f"StudyInstanceUID={PHANTOM.study_uid}%5C{OTHER.study_uid}": both,
        "PatientName=phantom*": both,
        "PatientName=PHANTOM^00007": both[:1],
        "PatientName=Phantom^0000%3F": both,
        "PatientName=Phantom": [],
        "PatientName=Phantom&fuzzymatching=true": both,
        "PatientName=00007&fuzzymatching=true": both[:1],
        f"PatientID={PHANTOM.patient_id.lower()}": [],
        "ModalitiesInStudy=CT": both,
        "ModalitiesInStudy=MR": [],
        f"StudyDate={date}&PatientName=*7": both[:1],
        f"StudyDate={date}-{date}&PatientName=*7": both[:1],
        f"StudyDate={date}-&PatientName=*7": both[:1],
        f"StudyDate=-{date}&PatientName=*7": both[:1],
        "StudyDate=-19991231": [],
        "StudyDate=20991231-": [],
        "PatientName=": both,
    }.items():
        assert studies(stored, query) == set(expected), query


@pytest.mark.parametrize("text", ["PHANT*", "phant*7", "*antom^0000?", "?hantom^00007", "*"])
def test_wildcards_find_the_same_percent_encoded_or_not(stored: TestClient, text: str) -> None:
    plain = studies(stored, f"PatientName={text.replace('?', '%3F')}")
    assert PHANTOM.study_uid in plain
    assert studies(stored, f"PatientName={quote(text, safe='')}") == plain


def test_names_are_found_without_their_case_and_accents(client: TestClient) -> None:
    data = file_of(np.zeros((4, 4), np.uint16), SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen")
    stow(client, [data])
    for query in ("PatientName=muller*", "PatientName=M%C3%9CLLER^J*", "PatientName=jurg&fuzzymatching=true"):
        assert studies(client, query) == {"1.2.3"}, query
    (found,) = client.get(f"{ROOT}/studies").json()
    assert values(found, "00100010") == [{"Alphabetic": "Müller^Jürgen"}]


def test_a_study_tells_what_is_in_it(stored: TestClient) -> None:
    (study,) = stored.get(f"{ROOT}/studies?PatientID={PHANTOM.patient_id}").json()
    assert values(study, "00100010") == [{"Alphabetic": "Phantom^00007"}]
    assert values(study, "00080061") == ["CT"]
    assert (values(study, "00201206"), values(study, "00201208")) == ([1], [4])
    assert values(study, "00081190") == [f"{BASE}{STUDY}"]
    assert values(study, "00080056") == ["ONLINE"]
    assert "0020000E" not in study


def test_series_and_instances_are_found_below_and_across(stored: TestClient) -> None:
    for path in (
        f"{STUDY}/series",
        f"{ROOT}/series?StudyInstanceUID={PHANTOM.study_uid}",
        f"{ROOT}/series?PatientName=*7",
    ):
        (series,) = stored.get(path).json()
        assert values(series, "0020000E") == [PHANTOM.series_uid]
        assert values(series, "00201209") == [4]
        assert values(series, "00100020") == [PHANTOM.patient_id], "what belongs to the study stands at the series too"
    for path in (
        f"{SERIES}/instances",
        f"{STUDY}/instances",
        f"{ROOT}/instances?SeriesInstanceUID={PHANTOM.series_uid}",
        f"{ROOT}/instances?Modality=CT&PatientName=*7",
    ):
        found = stored.get(path).json()
        assert {values(instance, "00080018")[0] for instance in found} == set(UIDS)
        assert {(values(one, "00280010")[0], values(one, "00280011")[0]) for one in found} == {(64, 64)}
    (one,) = stored.get(f"{SERIES}/instances?SOPInstanceUID={UIDS[2]}").json()
    assert values(one, "00081190") == [f"{BASE}{SERIES}/instances/{UIDS[2]}"]
    assert stored.get(f"{STUDY}/series?Modality=MR").status_code == 204


def test_results_come_in_pages_and_say_how_many_there_are(stored: TestClient) -> None:
    seen = []
    for offset in range(0, 6, 2):
        answer = stored.get(f"{STUDY}/instances?limit=2&offset={offset}")
        seen += [values(one, "00080018")[0] for one in answer.json()] if answer.content else []
        assert answer.headers["x-total-count"] == "4"
        assert ("warning" in answer.headers) == (offset == 0)
    assert sorted(seen) == sorted(UIDS)
    assert stored.get(f"{STUDY}/instances?limit=2").headers["warning"].startswith("299 ")
    across = stored.get(f"{ROOT}/instances?limit=3")
    assert (len(across.json()), "x-total-count" in across.headers) == (3, False), "no walk over all instances"
    assert stored.get(f"{ROOT}/studies?limit=1").headers["x-total-count"] == "2"
    assert stored.get(f"{ROOT}/studies?PatientName=*7").headers["x-total-count"] == "1"
    assert "x-total-count" not in stored.get(f"{ROOT}/studies?PatientName=phantom*&limit=1").headers
    assert stored.get(f"{ROOT}/studies?limit={MOST_RESULTS + 5}").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "Smith=1",
        "00091001=Smith",
        "SOPInstanceUID=1.2",
        "StudyDate=May",
        "StudyDate=-",
        "limit=x",
        "limit=-1",
        "offset=1.5",
        "includefield=Smith",
        "fuzzymatching=perhaps",
        "NumberOfStudyRelatedSeries=1",
        "PatientID=a&PatientID=b",
    ],
)
def test_what_cannot_be_searched_is_told_without_the_value(stored: TestClient, query: str) -> None:
    answer = stored.get(f"{ROOT}/studies?{query}")
    assert answer.status_code == 400
    assert "Smith" not in answer.text


def test_a_query_that_contradicts_its_address_is_refused(stored: TestClient) -> None:
    assert stored.get(f"{STUDY}/series?StudyInstanceUID={OTHER.study_uid}").status_code == 400
    assert stored.get(f"{STUDY}/series?StudyInstanceUID={PHANTOM.study_uid}").status_code == 200


@pytest.mark.parametrize("field", ["SliceThickness", "00180050", "00080018,SliceThickness", "all"])
def test_fields_that_the_index_has_not_come_from_the_header(stored: TestClient, field: str) -> None:
    found: list[dict[str, Any]] = stored.get(f"{SERIES}/instances?includefield={field}").json()
    assert len(found) == 4
    for each in found:
        (document,) = stored.get(f"{SERIES}/instances/{values(each, '00080018')[0]}/metadata").json()
        assert each["00180050"] == document["00180050"]
        assert ("00281053" in each) == (field == "all")
        assert "7FE00010" not in each


def test_several_fields_may_be_asked_for_one_by_one_and_at_every_level(stored: TestClient) -> None:
    for path in (f"{ROOT}/studies", f"{STUDY}/series"):
        found = stored.get(f"{path}?includefield=SliceThickness&includefield=00180060&limit=1").json()
        assert {"00180050", "00180060"} <= set(found[0]), path


def test_the_query_that_ohif_begins_with_is_answered(stored: TestClient) -> None:
    query = "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060"
    assert studies(stored, query) == {PHANTOM.study_uid, OTHER.study_uid}
    assert studies(stored, f"PatientName=*phantom*&00080061=CT&{query}") == {PHANTOM.study_uid, OTHER.study_uid}
    assert studies(stored, f"PatientName=*nobody*&{query}") == set()


def test_an_answer_in_another_form_is_not_to_be_had(stored: TestClient) -> None:
    for accept in ("text/html", "application/dicom+xml", 'multipart/related; type="application/dicom+xml"'):
        assert stored.get(f"{ROOT}/studies", headers={"Accept": accept}).status_code == 406
    assert stored.get(f"{ROOT}/studies", headers={"Accept": "application/json"}).status_code == 200


def test_addresses_are_those_that_others_reach_us_by(installation: Installation, stored: TestClient) -> None:
    (study,) = stored.get(f"{ROOT}/studies?PatientName=*7", headers={"Host": "127.0.0.1"}).json()
    assert values(study, "00081190") == [f"{BASE}{STUDY}"], "the port comes back where a client leaves it out"
    with client_of(installation, public_url="https://pacs.example.org/radloop/") as client:
        (study,) = client.get(f"{ROOT}/studies?PatientName=*7").json()
    assert values(study, "00081190") == [f"https://pacs.example.org/radloop{STUDY}"]
