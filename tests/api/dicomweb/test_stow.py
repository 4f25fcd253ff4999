import numpy as np
import pytest

from radloop.core.identity import Principal, derived_id
from radloop.dicom.parse import parse
from tests.api.dicomweb.asking import (
    BASE,
    IMPLICIT,
    MULTIPART,
    OTHER,
    PHANTOM,
    ROOT,
    SERIES,
    STUDY,
    UIDS,
    acting_as,
    address_of,
    file_of,
    reasons,
    rewritten,
    sops,
    stow,
    values,
)
from tests.api.installation import TestClient
from tests.dicom.files import SECRET, ct, written

STORED, FAILED, OTHERS = "00081199", "00081198", "0008119A"
WARNING = "00081196"


def held(client: TestClient) -> int:
    answer = client.get(f"{ROOT}/instances")
    return len(answer.json()) if answer.status_code == 200 else 0


def test_stored_instances_are_told_one_by_one(client: TestClient) -> None:
    answer = stow(client, list(PHANTOM.files))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert sops(answer, STORED) == UIDS
    assert FAILED not in answer.json()
    address = values(answer.json()[STORED]["Value"][0], "00081190")[0]
    assert address == f"{BASE}{SERIES}/instances/{UIDS[0]}"
    assert client.get(address.removeprefix(BASE)).content


def test_storing_twice_is_storing_once(client: TestClient) -> None:
    first = stow(client, list(PHANTOM.files))
    again = stow(client, list(PHANTOM.files))
    assert (again.status_code, again.json()) == (200, first.json())
    assert held(client) == len(UIDS)
    (one,) = client.get("/api/v1/worklist").json()["items"]
    assert one["version"] == 1


def test_another_object_under_the_same_uid_is_kept_beside_the_first_and_told_with_a_warning(client: TestClient) -> None:
    first, second = (file_of(np.full((8, 8), value, np.uint16)) for value in (1, 2))
    assert stow(client, [first]).status_code == 200
    answer = stow(client, [second])
    assert (answer.status_code, reasons(answer, STORED, WARNING)) == (202, [0xB000])
    assert held(client) == 1
    assert client.get(address_of(first), headers={"Accept": "application/dicom"}).content == second
    assert stow(client, [second]).status_code == 200, "the same again is a plain repeat"
    assert [item["warnings"][-1]["code"] for item in client.get("/api/v1/worklist").json()["items"]] == [
        "sop-uid-reused"
    ]


def test_some_stored_is_202_and_none_is_409(client: TestClient) -> None:
    some = stow(client, [PHANTOM.files[0], b"junk"])
    assert (some.status_code, sops(some, STORED)) == (202, UIDS[:1])
    none = stow(client, [b"junk", b"more"])
    assert (none.status_code, STORED in none.json()) == (409, False)


def test_what_names_no_instance_is_among_the_other_failures(client: TestClient) -> None:
    answer = stow(client, [b"junk", bytes(128) + b"DICM", b""])
    assert (answer.status_code, FAILED in answer.json()) == (409, False)
    assert reasons(answer, OTHERS) == [0xC000, 0xC000, 0xC000]


def test_what_only_the_file_meta_information_names_is_told_by_that(client: TestClient) -> None:
    answer = stow(client, [written(ct(SOPInstanceUID=None))])
    assert (answer.status_code, len(sops(answer, FAILED)), reasons(answer, FAILED)) == (409, 1, [0xA900])


def test_what_is_refused_is_told_by_its_own_uids(client: TestClient) -> None:
    cut = PHANTOM.files[0][:-100]
    answer = stow(client, [cut, rewritten(PHANTOM.files[1], Rows=63), PHANTOM.files[2]])
    assert (answer.status_code, sops(answer, FAILED)) == (202, UIDS[:2])
    assert reasons(answer, FAILED) == [0xC000, 0xA900]
    assert sops(answer, STORED) == UIDS[2:3]


def test_no_value_of_a_refused_file_comes_back(client: TestClient) -> None:
    answer = stow(client, [written(ct(PatientName=SECRET, PatientID=SECRET, StudyInstanceUID=None))])
    assert answer.status_code == 409
    assert SECRET not in answer.text


def test_an_address_that_names_a_study_takes_only_that_study(client: TestClient) -> None:
    mixed = stow(client, [PHANTOM.files[0], OTHER.files[0]], STUDY)
    assert (mixed.status_code, sops(mixed, STORED)) == (202, UIDS[:1])
    assert (sops(mixed, FAILED), reasons(mixed, FAILED)) == ([parse(OTHER.files[0]).sop_uid], [0xA901])
    assert values(mixed.json(), "00081190") == [f"{BASE}{STUDY}"]
    assert held(client) == 1, "what belongs elsewhere was not stored"
    assert stow(client, [OTHER.files[0]], STUDY).status_code == 409
    assert stow(client, [PHANTOM.files[1]], STUDY).status_code == 200
    assert stow(client, [PHANTOM.files[1]], f"{ROOT}/studies/1.2.x").status_code == 400


def test_one_instance_may_come_without_multipart(client: TestClient) -> None:
    answer = client.post(
        f"{ROOT}/studies", content=PHANTOM.files[0], headers={"Content-Type": "application/dicom; transfer-syntax=*"}
    )
    assert (answer.status_code, sops(answer, STORED)) == (200, UIDS[:1])
    back = client.get(f"{SERIES}/instances/{UIDS[0]}", headers={"Accept": "application/dicom"})
    assert back.content == PHANTOM.files[0]


def test_a_part_without_a_type_takes_that_of_the_whole(client: TestClient) -> None:
    body = b"--cut\r\n\r\n%s\r\n--cut--" % PHANTOM.files[0]
    answer = client.post(f"{ROOT}/studies", content=body, headers={"Content-Type": MULTIPART})
    assert (answer.status_code, sops(answer, STORED)) == (200, UIDS[:1])


def test_a_body_as_dcm4che_sends_it_is_taken(client: TestClient) -> None:
    head = b"\r\n--myboundary\r\nContent-Type: application/dicom\r\nContent-Length: %d\r\n\r\n" % len(PHANTOM.files[0])
    kind = "multipart/related; type=application/dicom; boundary=myboundary"
    body = head + PHANTOM.files[0] + b"\r\n--myboundary--\r\n"
    answer = client.post(f"{ROOT}/studies", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, sops(answer, STORED)) == (200, UIDS[:1])


def test_uids_padded_with_a_null_are_the_same_uids(client: TestClient) -> None:
    plain = written(ct(StudyInstanceUID="1.2.3456"))
    padded = plain.replace(b"1.2.3456", b"1.2.34\0\0")
    answer = stow(client, [padded], f"{ROOT}/studies/1.2.34")
    assert (answer.status_code, len(sops(answer, STORED))) == (200, 1)
    assert client.get(f"{ROOT}/studies?StudyInstanceUID=1.2.34").status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("", b"x", 415),
        ("multipart/form-data; boundary=cut", b"", 415),
        ('multipart/related; type="application/dicom+xml"; boundary=cut', b"", 415),
        ("multipart/related; boundary=cut", b"--cut\r\nContent-Type: image/png\r\n\r\nx\r\n--cut--", 415),
        ('multipart/related; type="application/dicom"', b"x", 400),
        ('multipart/related; type="application/dicom"; boundary=cut', b"--cut\r\n\r\nDICM", 400),
        ("application/dicom", b"", 204),
        ('multipart/related; type="application/dicom"; boundary=cut', b"--cut--", 204),
    ],
)
def test_what_stow_cannot_take_it_says(client: TestClient, kind: str, body: bytes, status: int) -> None:
    assert client.post(f"{ROOT}/studies", content=body, headers={"Content-Type": kind}).status_code == status


def test_an_answer_that_nobody_wants_is_refused_before_anything_is_stored(client: TestClient) -> None:
    assert stow(client, [PHANTOM.files[0]], Accept="text/html").status_code == 406
    assert stow(client, [PHANTOM.files[0]], Accept="application/dicom+xml").status_code == 406
    assert held(client) == 0


def test_every_uncompressed_transfer_syntax_is_kept_as_it_came(client: TestClient) -> None:
    data = file_of(np.arange(64, dtype=np.uint16).reshape(8, 8), syntax=IMPLICIT)
    assert stow(client, [data]).status_code == 200
    assert client.get(address_of(data), headers={"Accept": "application/dicom; transfer-syntax=*"}).content == data


def test_patients_out_of_scope_are_not_stored(client: TestClient) -> None:
    scoped = Principal(derived_id("someone"), frozenset({"reader"}), frozenset({PHANTOM.patient_id}))
    with acting_as(scoped):
        answer = stow(client, [PHANTOM.files[0], OTHER.files[0]])
    assert (answer.status_code, sops(answer, STORED)) == (202, UIDS[:1])
    assert reasons(answer, FAILED) == [0x0124]
