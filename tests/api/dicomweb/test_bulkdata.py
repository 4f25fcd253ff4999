import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.api.dicomweb.asking import BASE, PHANTOM, SERIES, UIDS, address_of, dataset, parts, stow
from tests.api.installation import TestClient
from tests.dicom.files import ct, written

PIXELS = f"{SERIES}/instances/{UIDS[0]}/bulkdata/7FE00010"


def test_a_value_comes_alone_or_in_multipart(stored: TestClient) -> None:
    value = dataset(PHANTOM.files[0]).PixelData
    for accept in ("*/*", "application/octet-stream", "application/*", "text/html, application/octet-stream;q=0.1"):
        answer = stored.get(PIXELS, headers={"Accept": accept})
        assert (answer.content, answer.headers["content-type"]) == (value, "application/octet-stream")
        assert answer.headers["content-location"] == f"{BASE}{PIXELS}"
    for accept in (
        "multipart/related",
        'multipart/related; type="*/*"',
        "multipart/related;type=application/octet-stream",
    ):
        assert parts(stored.get(PIXELS, headers={"Accept": accept})) == [("application/octet-stream", value)]
    assert stored.get(PIXELS, headers={"Accept": "image/jpeg"}).status_code == 406


def test_a_value_inside_a_sequence_is_found_by_its_uri(client: TestClient) -> None:
    item = Dataset()
    item.add_new(0x00091001, "OB", bytes(range(256)) * 8)
    data_set = ct(np.zeros((4, 4), np.uint16), ReferencedImageSequence=Sequence([item]))
    data = written(data_set)
    stow(client, [data])
    (document,) = client.get(f"{address_of(data)}/metadata").json()
    uri = document["00081140"]["Value"][0]["00091001"]["BulkDataURI"]
    assert client.get(uri.removeprefix(BASE)).content == bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=5-", 5, None),
        ("bytes=-4", -4, None),
        ("BYTES = 3 - 3", 3, 4),
        ("bytes=0-99999999", 0, None),
    ],
)
def test_a_range_of_a_value_is_206(stored: TestClient, header: str, start: int, end: int | None) -> None:
    value = dataset(PHANTOM.files[0]).PixelData
    answer = stored.get(PIXELS, headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, value[start:end])
    first = start % len(value)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(value)}"


def test_a_range_behind_the_end_is_416_and_one_that_makes_no_sense_is_passed_over(stored: TestClient) -> None:
    length = len(dataset(PHANTOM.files[0]).PixelData)
    for header in (f"bytes={length}-", "bytes=-0"):
        answer = stored.get(PIXELS, headers={"Range": header})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{length}")
    for header in ("bytes=", "bytes=a-b", "bytes=5-3", "items=0-1", "bytes=0-1,4-5", "bytes=-"):
        answer = stored.get(PIXELS, headers={"Range": header})
        assert (answer.status_code, len(answer.content)) == (200, length), header


def test_a_value_that_is_not_there_is_404(stored: TestClient) -> None:
    for path in ("00100010/x", "99999999", "7FE00010/0/00100010", "zz", "00081140/0"):
        assert stored.get(f"{SERIES}/instances/{UIDS[0]}/bulkdata/{path}").status_code == 404


def test_a_value_is_not_sent_twice(stored: TestClient) -> None:
    tag = stored.get(PIXELS).headers["etag"]
    assert stored.get(PIXELS, headers={"If-None-Match": tag}).status_code == 304
