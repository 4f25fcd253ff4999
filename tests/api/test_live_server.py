"""The doors as the network meets them: a real server process, a client that other people wrote."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from radloop.codec.htj2k import TRANSFER_SYNTAX, decode
from tests.api.installation import OTHER, PHANTOM
from tests.api.test_multipart import parsed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("live")
    command = [sys.executable, "-m", "tests.api.served", str(folder), str(port), str(os.getpid())]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended before it answered"
        try:
            assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not answer")


@pytest.fixture(scope="module")
def dicomweb(url: str) -> DICOMwebClient:
    client = DICOMwebClient(f"{url}/dicomweb")
    for study in (PHANTOM, OTHER):
        told = client.store_instances([pydicom.dcmread(io.BytesIO(data)) for data in study.files])
        assert len(told.ReferencedSOPSequence) == len(study.files)
        assert "FailedSOPSequence" not in told
    return client


def test_uploads_of_all_lengths_follow_each_other_on_one_connection(url: str) -> None:
    headers = {"Content-Type": "multipart/related; type=application/dicom; boundary=b"}
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
        connection.connect()
        line = connection.sock
        for length in (0, 1, 1 << 16, (1 << 20) - 1, 1 << 20, 3_000_001):
            body = b"--b\r\n\r\n%s\r\n--b--\r\n" % bytes(length)
            for sent in (body, iter([body[:100_000], body[100_000:]])):  # the second in chunks, without a length
                connection.request("POST", "/dicomweb/studies", sent, headers)
                answer = connection.getresponse()
                told = json.loads(answer.read())
                assert (answer.status, len(told["0008119A"]["Value"])) == (409, 1), length
                assert connection.sock is line


def test_the_client_finds_what_it_stored(dicomweb: DICOMwebClient) -> None:
    assert len(dicomweb.search_for_studies()) == 2
    (study,) = dicomweb.search_for_studies(search_filters={"PatientID": PHANTOM.patient_id})
    assert study["0020000D"]["Value"] == [PHANTOM.study_uid]
    (series,) = dicomweb.search_for_series(PHANTOM.study_uid)
    assert series["0020000E"]["Value"] == [PHANTOM.series_uid]
    assert len(dicomweb.search_for_instances(PHANTOM.study_uid, PHANTOM.series_uid)) == 4
    assert len(dicomweb.search_for_instances(limit=3, get_remaining=True)) == 7
    assert dicomweb.search_for_studies(search_filters={"PatientID": "NOBODY"}) == []


def test_the_client_reads_metadata(dicomweb: DICOMwebClient) -> None:
    told = dicomweb.retrieve_series_metadata(PHANTOM.study_uid, PHANTOM.series_uid)
    assert {each["00080018"]["Value"][0] for each in told} == {sop(data) for data in PHANTOM.files}
    one = dicomweb.retrieve_instance_metadata(PHANTOM.study_uid, PHANTOM.series_uid, sop(PHANTOM.files[0]))
    assert one["00280010"]["Value"] == [64]


def test_the_client_reads_frames_raw_and_as_htj2k(dicomweb: DICOMwebClient, url: str) -> None:
    for data in PHANTOM.files:
        original = pydicom.dcmread(io.BytesIO(data))
        where = (PHANTOM.study_uid, PHANTOM.series_uid, original.SOPInstanceUID)
        for media in (None, (("application/octet-stream", "1.2.840.10008.1.2.1"),)):
            (raw,) = dicomweb.retrieve_instance_frames(*where, frame_numbers=[1], media_types=media)
            assert raw == original.PixelData
    path = f"/dicomweb/studies/{where[0]}/series/{where[1]}/instances/{where[2]}/frames/1"
    asked = httpx.get(
        url + path, headers={"Accept": f'multipart/related; type="image/jph"; transfer-syntax={TRANSFER_SYNTAX}'}
    )
    boundary = asked.headers["content-type"].rpartition("boundary=")[2]
    ((_, codestream),) = parsed([asked.content], boundary)
    assert np.array_equal(decode(codestream), original.pixel_array)


def test_the_client_reads_instances_back(dicomweb: DICOMwebClient) -> None:
    original = pydicom.dcmread(io.BytesIO(PHANTOM.files[0]))
    found = dicomweb.retrieve_instance(PHANTOM.study_uid, PHANTOM.series_uid, original.SOPInstanceUID)
    assert found == original
    series = dicomweb.retrieve_series(OTHER.study_uid, OTHER.series_uid, media_types=(("application/dicom", "*"),))
    assert {each.SOPInstanceUID for each in series} == {sop(data) for data in OTHER.files}


def test_the_client_finds_by_wildcards_and_follows_our_addresses(dicomweb: DICOMwebClient) -> None:
    """It percent-encodes wildcards, and leaves the port out of Host; our addresses hold it all the same."""
    assert len(dicomweb.search_for_studies(search_filters={"PatientName": "PHANT*"})) == 2
    assert len(dicomweb.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "00007"})) == 1
    (study,) = dicomweb.search_for_studies(search_filters={"PatientID": PHANTOM.patient_id}, fields=["SliceThickness"])
    assert "00180050" in study
    for data in (PHANTOM.files[0], OTHER.files[0]):
        original = pydicom.dcmread(io.BytesIO(data))
        where = (original.StudyInstanceUID, original.SeriesInstanceUID, original.SOPInstanceUID)
        uri = dicomweb.retrieve_instance_metadata(*where)["7FE00010"]["BulkDataURI"]
        assert dicomweb.retrieve_bulkdata(uri) == [original.PixelData]


def test_the_client_reads_other_codecs_and_pictures(dicomweb: DICOMwebClient) -> None:
    original = pydicom.dcmread(io.BytesIO(PHANTOM.files[0]))
    where = (PHANTOM.study_uid, PHANTOM.series_uid, original.SOPInstanceUID)
    for media, syntax in (("image/jls", "1.2.840.10008.1.2.4.80"), ("image/jp2", "1.2.840.10008.1.2.4.90")):
        (stream,) = dicomweb.retrieve_instance_frames(*where, frame_numbers=[1], media_types=((media, syntax),))
        decoded = imagecodecs.jpegls_decode(stream) if media == "image/jls" else imagecodecs.jpeg2k_decode(stream)
        assert np.array_equal(decoded, original.pixel_array)
    png = dicomweb.retrieve_instance_rendered(*where, media_types=("image/png",))
    assert imagecodecs.png_decode(png).shape == (64, 64)
    options = {"viewport": "32,16", "window": "40,400,linear", "quality": 50}
    jpeg = dicomweb.retrieve_instance_frames_rendered(*where, [1], media_types=("image/jpeg",), params=options)
    assert imagecodecs.jpeg8_decode(jpeg).shape == (16, 16)


def test_a_large_form_streams_in_over_a_real_connection(url: str) -> None:
    files = [("files", (f"f{number}", data)) for number, data in enumerate([*PHANTOM.files * 40, b"junk" * 1_000_000])]
    told = httpx.post(f"{url}/api/v1/uploads", files=files, timeout=60).json()
    assert (told["ingested"] + told["duplicates"], told["quarantined"]) == (160, 1)


def test_an_upload_that_breaks_off_harms_nobody(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as connection:
            head = (
                "POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            )
            connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n--b\r\n".encode())
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/api/v1/worklist").status_code == 200


def test_a_body_shorter_than_it_said_is_400_for_who_still_listens(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = "POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
        connection.sendall(f"{head}Content-Length: 5000\r\n\r\nDICM".encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(64).startswith(b"HTTP/1.1 400 ")


def test_a_name_that_was_rebound_to_us_is_turned_away_on_the_wire(url: str) -> None:
    assert httpx.get(f"{url}/api/v1/worklist", headers={"Host": "evil.example"}).status_code == 403


def sop(data: bytes) -> str:
    return str(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).SOPInstanceUID)
