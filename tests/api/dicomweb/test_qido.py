from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pytest

from radloop.api import qido
from radloop.api.qido import MOST_RESULTS, Answers, Page, Query
from radloop.core.identity import OWNER, Principal, derived_id
from radloop.core.ports import Change, Delete, Put, Records
from radloop.core.tables import IMAGE_SETS, INSTANCES, TABLES
from radloop.local.audit import SqliteAudit
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from radloop.store.search import Found, Search, find
from tests.api.dicomweb.asking import (
    BASE,
    JSON,
    OTHER,
    PHANTOM,
    ROOT,
    SERIES,
    STUDY,
    UIDS,
    acting_as,
    client_of,
    file_of,
    stow,
    values,
)
from tests.api.installation import Installation, TestClient, now


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


# Answers that are kept


class Stamped:
    """As much of the index as `Answers` asks: its stamp."""

    def __init__(self) -> None:
        self.now = 1

    def stamp(self) -> int:
        return self.now


def told(answers: Answers, records: Any, query: Query, *, base: str = BASE, size: int = 10_000) -> bool:
    """Whether the page of `query` had to be made."""
    made: list[Page] = []

    def make() -> Page:
        made.append(Page(repr(query).encode().ljust(size), is_cut=False, total=None))
        return made[0]

    page = answers.get(query, base, records, make)
    assert page.body.rstrip() == repr(query).encode(), "the page of another query"
    return bool(made)


def asked(level: str = "instance", fields: tuple[str, ...] = (), *, is_full: bool = False, **more: Any) -> Query:
    return Query(Search(level, more.pop("wanted", {}), **more), fields, is_full)


def test_a_page_is_made_once_until_somebody_commits() -> None:
    answers, records = Answers(), Stamped()
    assert [told(answers, records, asked()) for _ in range(3)] == [True, False, False]
    records.now = 2
    assert [told(answers, records, asked()) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    "other",
    [
        {"patients": frozenset({"P1"})},
        {"patients": frozenset()},
        {"datastore": "d" * 32},
        {"wanted": {"PatientID": "P1"}},
        {"limit": 5},
        {"offset": 5},
        {"fuzzy": True},
        {"level": "series"},
    ],
)
def test_a_page_answers_no_other_query(other: dict[str, Any]) -> None:
    answers, records = Answers(), Stamped()
    assert told(answers, records, asked())
    assert told(answers, records, asked(**other))
    assert told(answers, records, asked(), base="https://elsewhere/dicomweb")
    assert not told(answers, records, asked())
    assert not told(answers, records, asked(**other))


def test_pages_that_show_headers_are_never_kept_because_reading_those_is_audited() -> None:
    answers, records = Answers(), Stamped()
    for query in (asked(fields=("00080090",)), asked(is_full=True)):
        assert [told(answers, records, query) for _ in range(2)] == [True, True]


def test_a_commit_while_a_page_is_made_leaves_it_stale() -> None:
    answers, records = Answers(), Stamped()

    def make() -> Page:
        records.now += 1
        return Page(b"before".ljust(10_000), is_cut=False, total=None)

    answers.get(asked(), BASE, cast(Records, records), make)
    assert told(answers, records, asked())


def test_what_is_kept_never_outgrows_its_room() -> None:
    answers, records = Answers(room_bytes=25_000), Stamped()
    first, second, third = (asked(offset=n) for n in range(3))
    assert [told(answers, records, each) for each in (first, second, first, third)] == [True, True, False, True]
    assert [told(answers, records, each) for each in (first, third, second)] == [False, False, True]
    assert [told(answers, records, asked(offset=9), size=25_001) for _ in range(2)] == [True, True]
    assert [told(answers, records, asked(offset=8), size=500) for _ in range(2)] == [True, True], (
        "faster made than kept"
    )
    for offset in range(100):
        told(answers, records, asked(offset=offset), size=8192 + offset * 100)
        assert sum(len(page.body) for _, page in answers._pages.values()) == answers._held <= 25_000


@pytest.fixture
def everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qido, "_SMALLEST_KEPT", 0)


@pytest.mark.usefixtures("everything_is_kept")
def test_a_kept_answer_is_not_given_after_a_commit_of_another_process(
    installation: Installation, stored: TestClient
) -> None:
    before = stored.get(f"{STUDY}/instances")
    assert stored.get(f"{STUDY}/instances").content == before.content
    other = Database(Path(installation.database._path), bytes(32), TABLES)  # as another process has one
    records = SqliteRecords(other, now)
    try:
        row = records.find(INSTANCES, {"sop_uid": UIDS[2]})[0]
        document = {**row.document, "attributes": {**row.document["attributes"], "InstanceNumber": 77}}
        records.commit(Change(writes=[Put(INSTANCES, row.key, document, row.columns)]))
        changed = stored.get(f"{STUDY}/instances").json()
        assert [77] in [values(each, "00200013") for each in changed]
        records.commit(Change(writes=[Delete(INSTANCES, row.key)]))
        assert UIDS[2] not in [values(each, "00080018")[0] for each in stored.get(f"{STUDY}/instances").json()]
    finally:
        other.close()


@pytest.mark.usefixtures("everything_is_kept")
@pytest.mark.parametrize("path", ["studies", "series", "instances"])
def test_a_kept_answer_is_given_to_nobody_who_may_know_of_other_patients(stored: TestClient, path: str) -> None:
    def seen() -> set[str]:
        answer = stored.get(f"{ROOT}/{path}")
        return {values(each, "00100020")[0] for each in answer.json()} if answer.content else set()

    def limited(*patients: str) -> Principal:
        return Principal(derived_id("reader", *patients), frozenset({"reader"}), frozenset(patients))

    both = {PHANTOM.patient_id, OTHER.patient_id}
    for _ in range(2):
        assert seen() == both
        for patients in ({PHANTOM.patient_id}, {OTHER.patient_id}, set(), both):
            with acting_as(limited(*sorted(patients))):
                assert seen() == patients


@pytest.mark.usefixtures("everything_is_kept")
def test_a_kept_answer_is_counted_and_allowed_like_any_other(installation: Installation, stored: TestClient) -> None:
    for _ in range(5):
        assert stored.get(f"{STUDY}/instances").status_code == 200
    audit = installation.platform.audit
    assert isinstance(audit, SqliteAudit)
    audit.flush()
    counted = audit.entries(where={"action": "search", "principal": OWNER.id})
    assert sum(entry.count for entry in counted) == 5
    with acting_as(Principal(derived_id("nobody"), frozenset())):
        assert stored.get(f"{STUDY}/instances").status_code == 403


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances", "/instances?includefield=00080090"])
def test_tags_ascend_and_every_instance_tells_its_own(stored: TestClient, path: str) -> None:
    answer = stored.get(f"{ROOT}{path}")
    for each in answer.json():
        assert list(each) == sorted(each)
    if path == "/instances":
        uids = [values(each, "00080018")[0] for each in answer.json()]
        assert len(set(uids)) == len(uids) == 7
        for each, uid in zip(answer.json(), uids, strict=True):
            assert values(each, "00081190")[0].endswith(f"/instances/{uid}")
            assert values(each, "00080056") == ["ONLINE"]


def test_text_that_looks_like_the_place_of_something_else_stays_text(client: TestClient) -> None:
    odd = 'A"\\u0000{"vr"}'
    data = file_of(np.zeros((4, 4), np.uint16), StudyDescription=odd, ContentTime="", ImageType=["A", "B"])
    stow(client, [data])
    (one,) = client.get(f"{ROOT}/instances").json()
    assert values(one, "00081030") == [odd]
    assert one["00080033"] == {"vr": "TM"}
    assert values(one, "00080008") == ["A", "B"]


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances"])
def test_headers_that_a_search_tells_are_counted_as_searched_and_not_as_opened(
    installation: Installation, stored: TestClient, path: str
) -> None:
    seer = Principal(derived_id("searcher", path), frozenset({"reader"}))
    with acting_as(seer):
        assert stored.get(f"{ROOT}{path}?includefield=SliceThickness").status_code == 200
    audit = installation.platform.audit
    assert isinstance(audit, SqliteAudit)
    audit.flush()
    noted = audit.entries(where={"principal": seer.id})
    image_sets = {row.key for row in installation.platform.records.find(IMAGE_SETS)}
    assert {each.subject for each in noted if each.action == "search.header"} == image_sets
    assert {each.action for each in noted} == {"search", "search.header"}


@pytest.mark.parametrize("level", ["studies", "series", "instances"])
def test_one_image_set_that_is_deleted_meanwhile_takes_no_other_result_with_it(
    installation: Installation, stored: TestClient, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    records = installation.platform.records
    gone = records.find(IMAGE_SETS, {"study_uid": PHANTOM.study_uid})[0].key

    def found_before(search: Search, where: Records) -> Found:
        found = find(search, where)
        records.commit(Change(writes=[Delete(IMAGE_SETS, gone)]))
        return found

    monkeypatch.setattr(qido, "find", found_before)
    answer = stored.get(f"{ROOT}/{level}?includefield=SliceThickness")
    assert answer.status_code == 200
    both = (PHANTOM.study_uid, OTHER.study_uid)
    shown = {uid: {"00180050" in each for each in answer.json() if values(each, "0020000D")[0] == uid} for uid in both}
    assert shown == {PHANTOM.study_uid: {False}, OTHER.study_uid: {True}}
