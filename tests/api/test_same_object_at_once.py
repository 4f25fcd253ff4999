"""One SOP instance from two clients at the same moment, over the network: nothing lost, counts the same every time."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import numpy as np
import pytest

from tests.api.test_live_server import url  # noqa: F401 — the fixture: a server process of its own
from tests.dicom.files import ct, written

STUDY = "1.2.840.99"
HEADERS = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
CLIENTS = 4


def object_of(value: int, round_: int, series: int) -> bytes:
    pixels = np.full((8, 9), value, np.uint16)
    identity = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{STUDY}.{series}", "PatientID": f"TWICE-{series}"}
    return written(ct(pixels, SOPInstanceUID=f"{STUDY}.7.{round_}", **identity))


def send_at_once(address: str, files: list[bytes]) -> list[int]:
    """STOW each by a client of its own at the same moment; the statuses."""
    start = Barrier(len(files))

    def one(file: bytes) -> int:
        with httpx.Client(timeout=30) as http:
            start.wait()
            return http.post(f"{address}/dicomweb/studies", content=file, headers=HEADERS).status_code

    with ThreadPoolExecutor(len(files)) as pool:
        return list(pool.map(one, files))


def image_set(address: str, series: int) -> dict:
    page = httpx.get(f"{address}/api/v1/worklist", params={"limit": 200}, timeout=30).json()
    (found,) = [item for item in page["items"] if item["series_uid"] == f"{STUDY}.{series}"]
    return httpx.get(f"{address}/api/v1/image-sets/{found['id']}", timeout=30).json()


def shown(address: str, series: int, round_: int) -> bytes:
    path = f"{address}/dicomweb/studies/{STUDY}/series/{STUDY}.{series}/instances/{STUDY}.7.{round_}"
    return httpx.get(path, headers={"Accept": "application/dicom"}, timeout=30).content


@pytest.mark.parametrize("round_", range(4))
def test_equal_bytes_are_one_instance(url: str, round_: int) -> None:  # noqa: F811 — the fixture
    file = object_of(round_, round_, 1)
    assert send_at_once(url, [file] * CLIENTS) == [200] * CLIENTS
    assert shown(url, 1, round_) == file
    assert image_set(url, 1)["instances"] == round_ + 1


@pytest.mark.parametrize("round_", range(4))
def test_other_bytes_are_all_taken_and_one_is_shown(url: str, round_: int) -> None:  # noqa: F811 — the fixture
    files = [object_of(100 * round_ + value, round_, 2) for value in range(CLIENTS)]
    statuses = send_at_once(url, files)
    assert set(statuses) <= {200, 202}
    assert shown(url, 2, round_) in files
    told = image_set(url, 2)
    assert (told["instances"], told["frames"]) == (round_ + 1, round_ + 1)
    assert "sop-uid-reused" in {each["code"] for each in told["warnings"]}
    again = send_at_once(url, files)
    assert set(again) <= {200, 202}
    assert image_set(url, 2)["instances"] == round_ + 1, "all of them are known"


def test_one_object_in_two_series_is_in_both(url: str) -> None:  # noqa: F811 — the fixture
    files = [object_of(7, 99, series) for series in (3, 4)]
    assert set(send_at_once(url, files)) <= {200, 202}
    for series, file in zip((3, 4), files, strict=True):
        assert shown(url, series, 99) == file
        told = image_set(url, series)
        assert told["instances"] == 1
        httpx.post(f"{url}/api/v1/image-sets/{told['id']}/complete", timeout=30).raise_for_status()
        assert "sop-uid-elsewhere" in {each["code"] for each in image_set(url, series)["warnings"]}
