import asyncio
from collections.abc import Mapping

import pytest
from starlette.requests import ClientDisconnect, Request

from radloop.api import uploads
from radloop.core.ports import Landing, Upload
from tests.api.installation import OTHER, PHANTOM, Installation, TestClient


def form(files: list[bytes], names: str = "file-{}") -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (names.format(number), data)) for number, data in enumerate(files, start=1)]


def test_a_form_lands_and_reports_file_by_file(installation: Installation, client: TestClient) -> None:
    files = [*PHANTOM.files, PHANTOM.files[0], b"not an image", b"nor this", OTHER.files[0]]
    told = client.post("/api/v1/uploads", files=form(files)).json()
    assert (told["ingested"], told["duplicates"], told["quarantined"]) == (5, 1, 2)
    assert len(told["image_sets"]) == 2
    assert [(reason["code"], reason["count"]) for reason in told["reasons"]] == [("not-dicom", 2)]
    assert [file["outcome"] for file in told["files"]] == [
        *["ingested"] * 4, "duplicate", "quarantined", "quarantined", "ingested"
    ]  # fmt: skip
    assert [file["name"] for file in told["files"]] == [f"file-{number}" for number in range(1, 9)]
    assert not installation.images.get(told["image_sets"][0]).is_closed
    quarantine = client.get("/api/v1/quarantine").json()
    assert {entry["code"] for entry in quarantine} == {"not-dicom"}
    assert {entry["size_bytes"] for entry in quarantine} == {12, 8}


def test_complete_closes_what_was_touched(installation: Installation, client: TestClient) -> None:
    told = client.post("/api/v1/uploads?complete=1", files=form([*PHANTOM.files])).json()
    assert installation.images.get(told["image_sets"][0]).is_closed
    again = client.post("/api/v1/uploads?complete=1", files=form([*PHANTOM.files])).json()
    assert (again["ingested"], again["duplicates"]) == (0, 4)
    assert installation.images.get(told["image_sets"][0]).version == 1
    assert client.post("/api/v1/uploads?complete=yes", files=form([b"x"])).status_code == 400


def test_one_file_may_come_alone(client: TestClient) -> None:
    told = client.post("/api/v1/uploads", content=PHANTOM.files[0], headers={"Content-Type": "application/dicom"})
    assert told.json()["ingested"] == 1


def test_what_is_no_file_is_not_landed(client: TestClient) -> None:
    told = client.post("/api/v1/uploads", files=form([PHANTOM.files[0]]), data={"comment": "hello"}).json()
    assert (told["ingested"], told["quarantined"]) == (1, 0)
    nothing = client.post("/api/v1/uploads", files={"files": ("", b"")})
    assert nothing.status_code == 400


def test_other_types_and_broken_bodies_are_refused(client: TestClient) -> None:
    def post(body: bytes, kind: str) -> int:
        return client.post("/api/v1/uploads", content=body, headers={"Content-Type": kind}).status_code

    assert post(b"{}", "application/json") == 415
    assert post(b"", "multipart/form-data") == 400
    assert post(b"--b\r\n\r\nx", "multipart/form-data; boundary=b") == 400
    assert client.get("/api/v1/uploads").status_code == 405


def test_files_land_in_batches_that_memory_can_hold(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []

    def landed(batch: list[Upload], platform: object, **options: object) -> list[Landing]:
        sizes.append((len(batch), sum(len(upload.data) for upload in batch)))
        return [Landing(outcome="duplicate") for _ in batch]

    monkeypatch.setattr(uploads, "ingest", landed)
    monkeypatch.setattr(uploads, "BATCH_BYTES", 1000)
    told = client.post("/api/v1/uploads", files=form([b"x"] * 150 + [b"y" * 600] * 3 + [b"z" * 5000])).json()
    assert told["duplicates"] == 154
    assert sum(count for count, _ in sizes) == 154
    assert max(count for count, _ in sizes) <= uploads.BATCH_FILES
    assert all(size <= 1000 or count == 1 for count, size in sizes)


def test_a_file_name_is_for_the_sender_alone(installation: Installation, client: TestClient) -> None:
    name = "DOE_JANE-{}.dcm"
    told = client.post("/api/v1/uploads?complete=1", files=form([PHANTOM.files[0], b"junk"], name)).json()
    assert [file["name"] for file in told["files"]] == ["DOE_JANE-1.dcm", "DOE_JANE-2.dcm"]
    rows = installation.database.read().execute("SELECT detail FROM events UNION SELECT document FROM quarantine")
    assert not any("DOE_JANE" in text for (text,) in rows)


def heard(
    messages: list[dict[str, object]], headers: Mapping[str, str], version: str = "1.1"
) -> tuple[list[bytes], list[dict[str, object]]]:
    """The pieces of a body, and the messages that nobody waited for."""
    left = list(messages)

    async def receive() -> dict[str, object]:
        assert left, "waited for something that does not come"
        return left.pop(0)

    async def read() -> list[bytes]:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "http_version": version, "method": "POST", "path": "/", "headers": raw}
        return [piece async for piece in uploads.body_of(Request(scope, receive))]

    return asyncio.run(read()), left


def piece(body: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_of_known_length_is_over_with_its_last_byte() -> None:
    end = piece(b"", more=False)
    sent = [piece(b"abc"), piece(b"de"), end]
    assert heard(sent, {"content-length": "5"}) == ([b"abc", b"de"], [end])
    assert heard([end], {"content-length": "0"}) == ([], [end])
    for headers, version in (
        ({}, "1.1"),
        ({"content-length": "5", "transfer-encoding": "chunked"}, "1.1"),
        ({"content-length": "5"}, "2"),
        ({"content-length": "five"}, "1.1"),
        ({"content-length": "9"}, "1.1"),
    ):
        assert heard(sent, headers, version) == ([b"abc", b"de"], []), headers


def test_a_body_that_breaks_off_is_told() -> None:
    with pytest.raises(ClientDisconnect):
        heard([piece(b"abc"), {"type": "http.disconnect"}], {"content-length": "5"})
