import gzip
from collections.abc import Callable
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.api.metadata import Documents, takes_gzip
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from tests.api.dicomweb.asking import BASE, JSON, PHANTOM, SERIES, STUDY, UIDS, client_of, dataset, rewritten, values
from tests.api.installation import Installation, TestClient

PLACES = [STUDY, SERIES, f"{SERIES}/instances/{UIDS[0]}"]


def test_metadata_are_the_header_without_the_pixels(stored: TestClient) -> None:
    original = dataset(PHANTOM.files[1])
    (document,) = stored.get(f"{SERIES}/instances/{UIDS[1]}/metadata", headers=JSON).json()
    told = pydicom.Dataset.from_json(document, lambda tag, vr, uri: b"")
    for element in original:
        if element.keyword not in {"PixelData", "SpecificCharacterSet"}:
            assert told[element.tag].value == element.value, element.keyword
    uri = document["7FE00010"]["BulkDataURI"]
    assert stored.get(uri.removeprefix(BASE)).content == original.PixelData
    for path in (STUDY, SERIES):
        assert {values(each, "00080018")[0] for each in stored.get(f"{path}/metadata").json()} == set(UIDS)


@pytest.mark.parametrize("path", PLACES)
def test_metadata_are_not_sent_twice_and_change_with_what_they_tell(
    installation: Installation, stored: TestClient, path: str
) -> None:
    first = stored.get(f"{path}/metadata")
    tag = first.headers["etag"]
    for held in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        answer = stored.get(f"{path}/metadata", headers={"If-None-Match": held})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert stored.get(f"{path}/metadata", headers={"If-None-Match": '"other"'}).status_code == 200
    installation.images.land([Upload(rewritten(PHANTOM.files[0], SOPInstanceUID="1.2.3.4"))], by=OWNER)
    again = stored.get(f"{path}/metadata", headers={"If-None-Match": tag})
    assert again.status_code == 200
    assert again.headers["etag"] != tag
    assert len(again.json()) == len(first.json()) + ("instances" not in path)


@pytest.mark.parametrize("path", PLACES)
def test_metadata_come_gzipped_to_those_who_take_that_and_say_the_same(stored: TestClient, path: str) -> None:
    plain = stored.get(f"{path}/metadata", headers={"Accept-Encoding": "identity"})
    small = stored.get(f"{path}/metadata", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert ("content-encoding" in plain.headers, small.headers["content-encoding"]) == (False, "gzip")
    assert small.content == plain.content
    assert int(small.headers["content-length"]) < len(plain.content) / 2
    assert "Accept-Encoding" in small.headers["vary"]


def test_metadata_are_json_or_nothing(stored: TestClient) -> None:
    for accept in ("text/html", "application/dicom+xml", 'multipart/related; type="application/dicom+xml"'):
        assert stored.get(f"{SERIES}/metadata", headers={"Accept": accept}).status_code == 406
    for accept in ("application/json", "application/*", "*/*", "text/html, application/dicom+json;q=0.1"):
        answer = stored.get(f"{SERIES}/metadata", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")


def test_addresses_of_values_are_those_that_the_caller_reaches_us_by(
    installation: Installation, stored: TestClient
) -> None:
    def uri(client: TestClient, **headers: str) -> str:
        found: str = client.get(f"{SERIES}/metadata", headers=headers).json()[0]["7FE00010"]["BulkDataURI"]
        return found

    assert uri(stored).startswith(f"{BASE}{SERIES}/instances/")
    assert uri(stored, Host="127.0.0.1").startswith(f"{BASE}{SERIES}"), "dicomweb-client leaves the port out"
    assert uri(stored, Host="localhost:9999").startswith(f"http://localhost:9999{SERIES}")
    with client_of(installation, public_url="https://pacs.example.org") as client:
        assert uri(client).startswith(f"https://pacs.example.org{SERIES}")


def test_what_is_kept_gives_way_to_what_is_asked_for_later() -> None:
    made: list[str] = []

    def make(name: str) -> Callable[[], bytes]:
        return lambda: bytes(made.append(name) or f"{name}" * 50, "ascii")  # type: ignore[func-returns-value]

    documents = Documents(room_bytes=70)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert gzip.decompress(documents.get(name, make(name))) == (name * 50).encode()
    assert made == ["a", "b", "c", "b"]


def test_what_has_no_room_at_all_is_made_each_time() -> None:
    documents, made = Documents(room_bytes=10), []
    for _ in range(2):
        documents.get("a", lambda: bytes(made.append(1) or b"x" * 99))  # type: ignore[func-returns-value]
    assert len(made) == 2


@given(st.text(alphabet="gzip*;=q0.51, brx-\t", max_size=40))
def test_any_accept_encoding_is_read_without_an_error(header: str) -> None:
    found: Any = takes_gzip(header)
    assert found in {True, False}
