import numpy as np
import pytest

from radloop.dicom.parse import parse
from tests.api.dicomweb.asking import (
    BASE,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    PHANTOM,
    RPCL,
    SERIES,
    STUDY,
    UIDS,
    address_of,
    dataset,
    file_of,
    parts,
    rewritten,
    signed_slice,
    stow,
    whole_parts,
)
from tests.api.dicomweb.test_frames import jpeg_files
from tests.api.installation import TestClient
from tests.dicom.files import written

ONE = f"{SERIES}/instances/{UIDS[0]}"


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        'multipart/related; type="application/dicom"',
        "multipart/related; type=application/dicom; transfer-syntax=*",
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1',
        "multipart/related",
    ],
)
def test_instances_come_back_byte_for_byte(stored: TestClient, accept: str) -> None:
    for path, expected in ((ONE, {PHANTOM.files[0]}), (SERIES, set(PHANTOM.files)), (STUDY, set(PHANTOM.files))):
        found = parts(stored.get(path, headers={"Accept": accept}))
        assert {body for _, body in found} == expected
        assert {kind for kind, _ in found} == {f"application/dicom; transfer-syntax={EXPLICIT}"}


def test_one_instance_comes_without_multipart(stored: TestClient) -> None:
    one = stored.get(ONE, headers={"Accept": "application/dicom"})
    assert (one.content, one.headers["content-location"]) == (PHANTOM.files[0], f"{BASE}{ONE}")
    assert stored.get(SERIES, headers={"Accept": "application/dicom"}).status_code == 406, "four are not one"


def test_every_part_says_where_it_is(stored: TestClient) -> None:
    found = whole_parts(stored.get(SERIES))
    assert {headers["content-location"] for headers, _ in found} == {f"{BASE}{SERIES}/instances/{uid}" for uid in UIDS}


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, JPEG_LS, JPEG_2000, HTJ2K, RPCL])
def test_a_file_comes_in_the_transfer_syntax_asked_for_with_the_same_pixels(client: TestClient, syntax: str) -> None:
    from radloop.store.folding import pixels_of

    pixels = signed_slice()
    data = file_of(pixels, syntax=IMPLICIT, PixelRepresentation=1, PatientName="Someone^Else")
    stow(client, [data])
    answer = client.get(address_of(data), headers={"Accept": f"application/dicom; transfer-syntax={syntax}"})
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
    found = parse(answer.content)
    assert found.transfer_syntax == syntax
    assert found.attributes == parse(data).attributes
    assert np.array_equal(pixels_of(answer.content, found, 0), pixels)
    assert str(dataset(answer.content).PatientName) == "Someone^Else"


def test_who_names_a_type_and_no_transfer_syntax_gets_explicit_little_endian(client: TestClient) -> None:
    """PS3.18 §8.7.3.5.2; who names nothing gets the file as it came."""
    data = file_of(np.arange(16, dtype=np.uint16).reshape(4, 4), syntax=IMPLICIT)
    stow(client, [data])
    told, body = parts(client.get(address_of(data), headers={"Accept": 'multipart/related; type="application/dicom"'}))[
        0
    ]
    assert (told, parse(body).transfer_syntax) == (f"application/dicom; transfer-syntax={EXPLICIT}", EXPLICIT)
    told, body = parts(client.get(address_of(data)))[0]
    assert (told, body) == (f"application/dicom; transfer-syntax={IMPLICIT}", data)


def test_a_lossy_file_passes_through_or_is_decoded_and_says_so(client: TestClient) -> None:
    data, _ = jpeg_files()
    stow(client, [data])
    for accept in ("*/*", 'multipart/related; type="application/dicom"; transfer-syntax=*'):
        assert parts(client.get(address_of(data), headers={"Accept": accept})) == [
            (f"application/dicom; transfer-syntax={JPEG}", data)
        ]
    answer = client.get(address_of(data), headers={"Accept": f"application/dicom; transfer-syntax={EXPLICIT}"})
    decoded = dataset(answer.content)
    assert (decoded.LossyImageCompression, len(decoded.PixelData)) == ("01", 2 * 16 * 16)
    assert (
        client.get(address_of(data), headers={"Accept": f"application/dicom; transfer-syntax={JPEG}"}).content == data
    )


def test_a_series_of_mixed_transfer_syntaxes_comes_as_it_is_or_in_one_that_all_can_have(client: TestClient) -> None:
    lossy, _ = jpeg_files()
    native = file_of(np.zeros((16, 16), np.uint8), 2)
    stow(client, [lossy, native])
    series = address_of(native).rpartition("/instances/")[0]
    as_they_are = parts(
        client.get(series, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'})
    )
    assert {body for _, body in as_they_are} == {lossy, native}
    one = f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}'
    assert {kind.partition("=")[2] for kind, _ in parts(client.get(series, headers={"Accept": one}))} == {EXPLICIT}
    jpeg = f'multipart/related; type="application/dicom"; transfer-syntax={JPEG}'
    assert client.get(series, headers={"Accept": jpeg}).status_code == 406


def test_an_instance_without_pixels_comes_in_any_transfer_syntax(client: TestClient) -> None:
    from tests.dicom.files import ct

    report = ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", Rows=None, Columns=None)
    del report.PixelData
    data = written(report)
    assert stow(client, [data]).status_code == 200
    for syntax in (IMPLICIT, RPCL):
        answer = client.get(address_of(data), headers={"Accept": f"application/dicom; transfer-syntax={syntax}"})
        assert parse(answer.content).transfer_syntax == syntax
        assert parse(answer.content).sop_uid == parse(data).sop_uid


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/octet-stream",
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50',
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.2',
        'multipart/related; type="application/dicom+xml"',
        "*/*;q=0",
    ],
)
def test_other_types_and_transfer_syntaxes_are_not_acceptable(stored: TestClient, accept: str) -> None:
    for path in (ONE, SERIES, STUDY):
        assert stored.get(path, headers={"Accept": accept}).status_code == 406


def test_what_was_replaced_is_no_longer_shown(client: TestClient) -> None:
    first = file_of(np.zeros((4, 4), np.uint16))
    second = rewritten(first, InstanceNumber="9")
    stow(client, [first])
    stow(client, [second])
    assert [body for _, body in parts(client.get(address_of(first)))] == [second]
