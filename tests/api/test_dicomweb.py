import io
from typing import Any

import numpy as np
import pydicom
import pytest

from radloop.api.media import accepted, media_type
from radloop.codec.htj2k import TRANSFER_SYNTAX, decode
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.dicom.parse import parse
from tests.api.installation import BASE, OTHER, PHANTOM, Installation, TestClient
from tests.api.test_multipart import parsed

JSON = {"Accept": "application/dicom+json"}
STUDY = f"/dicomweb/studies/{PHANTOM.study_uid}"
SERIES = f"{STUDY}/series/{PHANTOM.series_uid}"
UIDS = [parse(data).sop_uid for data in PHANTOM.files]


def stow(client: TestClient, files: list[bytes], path: str = "/dicomweb/studies", **headers: str) -> Any:
    body = b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % data for data in files) + b"--cut--"
    kind = 'multipart/related; type="application/dicom"; boundary=cut'
    return client.post(path, content=body, headers={"Content-Type": kind, **headers})


def sops(answer: Any, tag: str) -> list[str]:
    return [item["00081155"].get("Value", [""])[0] for item in answer.json().get(tag, {}).get("Value", [])]


def parts(answer: Any) -> list[tuple[str, bytes]]:
    kind = media_type(answer.headers["content-type"])
    assert kind.name == "multipart/related"
    found = parsed([answer.content], kind.parameters["boundary"])
    return [(headers["content-type"], body) for headers, body in found]


def values(document: dict[str, Any], tag: str) -> list[Any]:
    return document[tag].get("Value", [])


# STOW


def test_stored_instances_are_told_one_by_one(installation: Installation, client: TestClient) -> None:
    answer = stow(client, list(PHANTOM.files))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert sops(answer, "00081199") == UIDS
    assert "00081198" not in answer.json()
    address = values(answer.json()["00081199"]["Value"][0], "00081190")[0]
    assert address == f"{BASE}{SERIES}/instances/{UIDS[0]}"
    assert client.get(address.removeprefix(BASE)).status_code == 200
    assert stow(client, list(PHANTOM.files)).status_code == 200, "storing twice is storing once"
    assert len(client.get("/api/v1/worklist").json()["items"]) == 1


def test_some_stored_is_202_and_none_is_409(client: TestClient) -> None:
    some = stow(client, [PHANTOM.files[0], b"junk"])
    assert (some.status_code, sops(some, "00081199"), sops(some, "00081198")) == (202, UIDS[:1], [""])
    assert values(some.json()["00081198"]["Value"][0], "00081197") == [0xC000]
    none = stow(client, [b"junk", b"more"])
    assert (none.status_code, len(sops(none, "00081198")), "00081199" in none.json()) == (409, 2, False)


def test_an_address_that_names_a_study_takes_only_that_study(installation: Installation, client: TestClient) -> None:
    mixed = stow(client, [PHANTOM.files[0], OTHER.files[0]], STUDY)
    assert (mixed.status_code, sops(mixed, "00081199")) == (202, UIDS[:1])
    assert sops(mixed, "00081198") == [parse(OTHER.files[0]).sop_uid]
    assert values(mixed.json()["00081198"]["Value"][0], "00081197") == [0xA901]
    assert len(client.get("/api/v1/worklist").json()["items"]) == 1, "what belongs elsewhere was not stored"
    assert stow(client, [OTHER.files[0]], STUDY).status_code == 409
    assert stow(client, [PHANTOM.files[1]], STUDY).status_code == 200
    assert stow(client, [PHANTOM.files[1]], "/dicomweb/studies/1.2.x").status_code == 400


def test_one_instance_may_come_without_multipart(client: TestClient) -> None:
    answer = client.post("/dicomweb/studies", content=PHANTOM.files[0], headers={"Content-Type": "application/dicom"})
    assert (answer.status_code, sops(answer, "00081199")) == (200, UIDS[:1])


def test_what_stow_cannot_take_it_says(client: TestClient) -> None:
    def post(kind: str, body: bytes = b"") -> int:
        return client.post("/dicomweb/studies", content=body, headers={"Content-Type": kind}).status_code

    assert post("application/json", b"{}") == 415
    assert post("multipart/form-data; boundary=cut") == 415
    assert post('multipart/related; type="application/dicom+xml"; boundary=cut') == 415
    assert post("multipart/related; boundary=cut", b"--cut\r\nContent-Type: image/png\r\n\r\nx\r\n--cut--") == 415
    assert post('multipart/related; type="application/dicom"', b"x") == 400
    assert post("application/dicom") == 204
    assert stow(client, [PHANTOM.files[0]], Accept="text/html").status_code == 406


# QIDO


@pytest.fixture
def stored(installation: Installation, client: TestClient) -> TestClient:
    installation.land(folded=True)
    installation.land(OTHER)
    return client


def test_studies_are_found_by_each_attribute(stored: TestClient) -> None:
    date = values(stored.get(f"/dicomweb/studies?StudyInstanceUID={PHANTOM.study_uid}").json()[0], "00080020")[0]
    both = [PHANTOM.study_uid, OTHER.study_uid]
    for query, expected in {
        "": both,
        f"PatientID={PHANTOM.patient_id}": both[:1],
        f"00100020={PHANTOM.patient_id}": both[:1],
        f"StudyInstanceUID={PHANTOM.study_uid}": both[:1],
        f"StudyInstanceUID={PHANTOM.study_uid},{OTHER.study_uid}": both,
        "PatientName=phantom*": both,
        "PatientName=PHANTOM^00007": both[:1],
        "PatientName=Phantom^0000%3F": both,
        "PatientName=Phantom": [],
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
        answer = stored.get(f"/dicomweb/studies?{query}", headers=JSON)
        found = answer.json() if answer.status_code == 200 else []
        assert answer.status_code == (200 if expected else 204), query
        assert {values(document, "0020000D")[0] for document in found} == set(expected), query


def test_a_study_tells_what_is_in_it(stored: TestClient) -> None:
    (study,) = stored.get(f"/dicomweb/studies?PatientID={PHANTOM.patient_id}").json()
    assert values(study, "00100010") == [{"Alphabetic": "Phantom^00007"}]
    assert values(study, "00080061") == ["CT"]
    assert (values(study, "00201206"), values(study, "00201208")) == ([1], [4])
    assert values(study, "00081190") == [f"{BASE}{STUDY}"]
    assert "0020000E" not in study


def test_series_and_instances_are_found_below_and_across(stored: TestClient) -> None:
    for path in (
        f"{STUDY}/series",
        f"/dicomweb/series?StudyInstanceUID={PHANTOM.study_uid}",
        "/dicomweb/series?PatientName=*7",
    ):
        (series,) = stored.get(path).json()
        assert values(series, "0020000E") == [PHANTOM.series_uid]
        assert values(series, "00201209") == [4]
        assert values(series, "00100020") == [PHANTOM.patient_id]
    for path in (
        f"{SERIES}/instances",
        f"{STUDY}/instances",
        f"/dicomweb/instances?SeriesInstanceUID={PHANTOM.series_uid}",
        "/dicomweb/instances?Modality=CT&PatientName=*7",
    ):
        found = stored.get(path).json()
        assert {values(instance, "00080018")[0] for instance in found} == set(UIDS)
        assert {(values(one, "00280010")[0], values(one, "00280011")[0]) for one in found} == {(64, 64)}
    (one,) = stored.get(f"{SERIES}/instances?SOPInstanceUID={UIDS[2]}").json()
    assert values(one, "00081190") == [f"{BASE}{SERIES}/instances/{UIDS[2]}"]
    assert stored.get(f"{STUDY}/series?Modality=MR").status_code == 204


def test_results_come_in_pages_and_say_when_there_are_more(stored: TestClient) -> None:
    seen = []
    for offset in range(0, 8, 3):
        answer = stored.get(f"/dicomweb/instances?limit=3&offset={offset}")
        seen += [values(one, "00080018")[0] for one in answer.json()]
        assert ("warning" in answer.headers) == (offset < 6 - 2)
    assert len(seen) == len(set(seen)) == 7


def test_what_cannot_be_searched_is_told_without_the_value(stored: TestClient) -> None:
    for query in (
        "Smith=1",
        "SOPInstanceUID=1.2",
        "StudyDate=May",
        "StudyDate=-",
        "limit=x",
        "offset=-1",
        "includefield=Smith",
    ):
        answer = stored.get(f"/dicomweb/studies?{query}")
        assert answer.status_code == 400, query
        assert "Smith" not in answer.text
    assert stored.get("/dicomweb/studies?includefield=all&fuzzymatching=true&includefield=00081030").status_code == 200
    assert stored.get("/dicomweb/studies", headers={"Accept": "text/html"}).status_code == 406


# WADO


def test_metadata_are_the_header_without_the_pixels(stored: TestClient) -> None:
    original = pydicom.dcmread(io.BytesIO(PHANTOM.files[1]))
    (document,) = stored.get(f"{SERIES}/instances/{UIDS[1]}/metadata", headers=JSON).json()
    told = pydicom.Dataset.from_json(document, lambda tag, vr, uri: b"")
    for element in original:
        if element.keyword not in {"PixelData", "SpecificCharacterSet"}:
            assert told[element.tag].value == element.value, element.keyword
    uri = document["7FE00010"]["BulkDataURI"]
    assert stored.get(uri.removeprefix(BASE)).content == original.PixelData
    for path in (STUDY, SERIES):
        assert {values(each, "00080018")[0] for each in stored.get(f"{path}/metadata").json()} == set(UIDS)


def test_metadata_are_not_sent_twice_and_change_with_the_study(stored: TestClient, installation: Installation) -> None:
    tag = stored.get(f"{STUDY}/metadata").headers["etag"]
    assert stored.get(f"{STUDY}/metadata", headers={"If-None-Match": tag}).status_code == 304
    late = pydicom.dcmread(io.BytesIO(PHANTOM.files[0]))
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    out = io.BytesIO()
    late.save_as(out)
    installation.images.land([Upload(out.getvalue())], by=OWNER)
    again = stored.get(f"{STUDY}/metadata", headers={"If-None-Match": tag})
    assert (again.status_code, len(again.json())) == (200, 5)


@pytest.mark.parametrize("kind", ["image/jph", "image/jphc"])
@pytest.mark.parametrize("syntax", ["", "; transfer-syntax=*", f"; transfer-syntax={TRANSFER_SYNTAX}"])
def test_frames_come_as_htj2k(stored: TestClient, kind: str, syntax: str) -> None:
    accept = {"Accept": f'multipart/related; type="{kind}"{syntax}'}
    ((told, body),) = parts(stored.get(f"{SERIES}/instances/{UIDS[0]}/frames/1", headers=accept))
    assert told == f"{kind}; transfer-syntax={TRANSFER_SYNTAX}"
    original = pydicom.dcmread(io.BytesIO(PHANTOM.files[0]))
    assert np.array_equal(decode(body), original.pixel_array)


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "multipart/related",
        'multipart/related; type="application/octet-stream"',
        "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
        'multipart/related; type="video/mp4", multipart/related;type="application/octet-stream"; q=0.1',
    ],
)
def test_frames_come_raw_when_asked_or_when_anything_will_do(stored: TestClient, accept: str) -> None:
    for data in (PHANTOM.files[2], OTHER.files[0]):
        original = pydicom.dcmread(io.BytesIO(data))
        path = (
            f"/dicomweb/studies/{original.StudyInstanceUID}/series/{original.SeriesInstanceUID}"
            f"/instances/{original.SOPInstanceUID}/frames/1"
        )
        ((told, body),) = parts(stored.get(path, headers={"Accept": accept}))
        assert told == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        assert body == original.PixelData
        single = stored.get(path, headers={"Accept": "application/octet-stream"})
        assert single.content == original.PixelData
        assert single.headers["content-type"].startswith("application/octet-stream")


def test_frames_that_are_not_there_or_not_to_be_had_so(stored: TestClient) -> None:
    path = f"{SERIES}/instances/{UIDS[0]}/frames"
    assert len(parts(stored.get(f"{path}/1,1"))) == 2
    for numbers, status in {"2": 404, "0": 400, "x": 400, "1,": 400, "-1": 400, "1,2": 404, "9" * 30: 400}.items():
        assert stored.get(f"{path}/{numbers}").status_code == status, numbers
    for accept in (
        "image/jpeg",
        'multipart/related; type="image/jpeg"',
        f'{"multipart/related"}; type="image/jph"; transfer-syntax=1.2.840.10008.1.2.4.70',
        "*/*;q=0",
    ):
        answer = stored.get(f"{path}/1", headers={"Accept": accept})
        assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not-acceptable"), accept
    assert stored.get(f"{SERIES}/instances/1.2.3/frames/1").status_code == 404


def test_instances_come_back_byte_for_byte(stored: TestClient) -> None:
    for path, expected in (
        (f"{SERIES}/instances/{UIDS[0]}", {PHANTOM.files[0]}),
        (SERIES, set(PHANTOM.files)),
        (STUDY, set(PHANTOM.files)),
    ):
        for accept in (
            "*/*",
            'multipart/related; type="application/dicom"',
            'multipart/related; type="application/dicom"; transfer-syntax=*',
        ):
            found = parts(stored.get(path, headers={"Accept": accept}))
            assert {body for _, body in found} == expected
            assert {kind for kind, _ in found} == {"application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
    one = stored.get(f"{SERIES}/instances/{UIDS[0]}", headers={"Accept": "application/dicom"})
    assert one.content == PHANTOM.files[0]


def test_other_types_and_transfer_syntaxes_are_not_acceptable(stored: TestClient) -> None:
    for accept in (
        "application/dicom",
        "text/html",
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50',
    ):
        assert stored.get(SERIES, headers={"Accept": accept}).status_code == 406, accept
    assert stored.get(f"{SERIES}/metadata", headers={"Accept": "application/dicom+xml"}).status_code == 406


def test_nothing_at_an_address_is_404_and_no_uid_is_400(stored: TestClient) -> None:
    for path in ("studies/1.2.3", f"studies/1.2.3/series/{PHANTOM.series_uid}", "studies/1.2/metadata"):
        assert stored.get(f"/dicomweb/{path}").status_code == 404
    assert stored.get("/dicomweb/studies/a.b/metadata").status_code == 400
    assert stored.get(f"{SERIES}/instances/{UIDS[0]}/bulkdata/00100010/x").status_code == 404
    assert stored.get(f"{SERIES}/instances/{UIDS[0]}/bulkdata/99999999").status_code == 404


# Media types


def test_accept_is_read_with_quotes_and_weights() -> None:
    found = accepted('multipart/related; type="image/jph, odd";q=0.3, */*;q=0.2 ,text/html;q=x, a/b ; c="\\"d"')
    assert [each.name for each in found] == ["a/b", "multipart/related", "*/*"]
    assert found[1].parameters["type"] == "image/jph, odd"
    assert found[0].parameters["c"] == '"d'
    assert [each.name for each in accepted(None)] == ["*/*"]
