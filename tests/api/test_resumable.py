"""The tus doors, asked within the process; what needs a real connection stands in test_resumable_live.py."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radloop.api import resumable
from radloop.core.errors import Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.core.settings import Settings
from radloop.core.tables import DRAFTS
from radloop.functions import draft_landing
from radloop.local.worker import Worker
from radloop.store.drafts import KIND, LANE, PIECE_BYTES
from tests.api.installation import OTHER, PHANTOM, Installation, TestClient

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}
PLACE = "/api/v1/resumable"


def begin(client: TestClient, length: int, **headers: str) -> str:
    answer = client.post(PLACE, headers={**TUS, "Upload-Length": str(length), **headers})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


def send(client: TestClient, place: str, offset: int, data: bytes, **headers: str) -> int:
    answer = client.patch(place, content=data, headers={**CHUNK, "Upload-Offset": str(offset), **headers})
    assert answer.headers["tus-resumable"] == "1.0.0"
    return int(answer.status_code)


def offset_of(client: TestClient, place: str) -> int:
    answer = client.head(place, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def land(installation: Installation) -> None:
    """Do the landing jobs, as the worker would."""
    while (claim := installation.platform.jobs.claim(LANE)) is not None:
        assert claim.job.kind == KIND
        draft_landing.land_draft(claim.job.payload["draft"], installation.platform)
        installation.platform.jobs.done(claim)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return held.getvalue()


def landed(installation: Installation, client: TestClient, data: bytes) -> dict:
    place = begin(client, len(data))
    assert send(client, place, 0, data) == 204
    land(installation)
    told: dict = client.get(place).json()
    return told


def test_the_server_tells_what_it_can(client: TestClient) -> None:
    for place in (PLACE, f"{PLACE}/any"):
        answer = client.options(place)
        assert answer.status_code == 204
        assert answer.headers["tus-version"] == "1.0.0"
        assert answer.headers["tus-max-size"] == str(64 * 10**9)
        assert set(answer.headers["tus-extension"].split(",")) == {
            "creation", "creation-with-upload", "checksum", "expiration", "termination"
        }  # fmt: skip
        assert "sha1" in answer.headers["tus-checksum-algorithm"].split(",")


def test_a_file_goes_in_piece_by_piece_and_lands(installation: Installation, client: TestClient) -> None:
    data = PHANTOM.files[0]
    metadata = "filename " + base64.b64encode(b"DOE_JANE.dcm").decode()
    place = begin(client, len(data), **{"Upload-Metadata": metadata})
    assert offset_of(client, place) == 0
    assert client.head(place, headers=TUS).headers["upload-metadata"] == metadata
    assert client.get(place).json()["state"] == "receiving"
    half = len(data) // 2
    answer = client.patch(place, content=data[:half], headers={**CHUNK, "Upload-Offset": "0"})
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(half))
    assert answer.headers["upload-expires"].endswith("GMT")
    assert offset_of(client, place) == half
    assert send(client, place, half, data[half:]) == 204
    assert client.get(place).json()["state"] == "landing"
    assert client.delete(place, headers=TUS).status_code == 409
    land(installation)
    told = client.get(place).json()
    assert (told["state"], told["ingested"], told["files"]) == ("done", 1, 1)
    (name,) = told["image_sets"]
    assert installation.images.export(installation.images.instances(name)[0]) == data
    assert not list(installation.platform.blobs.keys("drafts/"))
    assert "upload-metadata" not in client.head(place, headers=TUS).headers  # a file name is kept no longer than needed


def test_bytes_may_come_with_the_beginning(installation: Installation, client: TestClient) -> None:
    data = PHANTOM.files[0]
    answer = client.post(PLACE, content=data[:100], headers={**CHUNK, "Upload-Length": str(len(data))})
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "100")
    assert send(client, answer.headers["location"], 100, data[100:]) == 204
    wrong = {"Upload-Checksum": "sha1 " + base64.b64encode(bytes(20)).decode()}
    refused = client.post(PLACE, content=b"abc", headers={**CHUNK, "Upload-Length": "5", **wrong})
    assert refused.status_code == 460
    assert installation.platform.records.count(DRAFTS) == 1


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_wrong_checksum_leaves_the_offset_where_it_was(client: TestClient, algorithm: str) -> None:
    data = bytes(range(256)) * 10_000
    assert len(data) > 2 * PIECE_BYTES
    place = begin(client, len(data) + 1)
    right = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    wrong = base64.b64encode(hashlib.new(algorithm, b"other").digest()).decode()
    assert send(client, place, 0, data, **{"Upload-Checksum": f"{algorithm} {wrong}"}) == 460
    assert offset_of(client, place) == 0
    assert send(client, place, 0, data, **{"Upload-Checksum": f"{algorithm} {right}"}) == 204
    assert offset_of(client, place) == len(data)
    for odd in ("md5 xx", "sha1 !!", "sha1", ""):
        assert send(client, place, len(data), b"x", **{"Upload-Checksum": odd}) in {400, 460}
    assert offset_of(client, place) == len(data)


def test_bytes_at_another_offset_change_nothing(client: TestClient) -> None:
    place = begin(client, 10)
    assert send(client, place, 0, b"abc") == 204
    for offset in (0, 2, 4, 10):
        assert send(client, place, offset, b"xyz") == 409
    assert offset_of(client, place) == 3
    assert send(client, place, 3, b"12345678") == 413
    assert offset_of(client, place) == 3


def test_a_body_of_unknown_length_that_goes_too_far_is_refused(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        yield b"abc"
        yield b"defghi"

    place = begin(client, 5)
    answer = client.patch(place, content=parts(), headers={**CHUNK, "Upload-Offset": "0"})
    assert answer.status_code == 413
    assert offset_of(client, place) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "5"}, 412),
        ({"Tus-Resumable": "0.2.2", "Upload-Length": "5"}, 412),
        (TUS, 400),
        ({**TUS, "Upload-Length": "-1"}, 400),
        ({**TUS, "Upload-Length": "5x"}, 400),
        ({**TUS, "Upload-Length": "9" * 30}, 400),
        ({**TUS, "Upload-Defer-Length": "1"}, 400),
        ({**TUS, "Upload-Length": "5", "Upload-Metadata": "a !!"}, 400),
        ({**TUS, "Upload-Length": "5", "Upload-Metadata": "a,a"}, 400),
        ({**TUS, "Upload-Length": "5", "Upload-Metadata": "a " + "A" * 5000}, 400),
        ({**TUS, "Upload-Length": str(64 * 10**9 + 1)}, 413),
    ],
)
def test_what_cannot_begin_is_told_why(client: TestClient, headers: dict[str, str], status: int) -> None:
    answer = client.post(PLACE, headers=headers)
    assert answer.status_code == status
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.json()["error"]["message"]
    assert ("tus-version" in answer.headers) is (status == 412)


def test_too_many_unfinished_uploads_are_refused_until_one_ends(installation: Installation, client: TestClient) -> None:
    places = [begin(client, 5) for _ in range(Settings().uploads_at_once)]
    refused = client.post(PLACE, headers={**TUS, "Upload-Length": "5"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too-large")
    assert client.delete(places[0], headers=TUS).status_code == 204
    assert client.head(places[0], headers=TUS).status_code == 404
    begin(client, 5)


def test_another_type_of_body_is_refused(client: TestClient) -> None:
    place = begin(client, 5)
    answer = client.patch(place, content=b"abc", headers={**TUS, "Upload-Offset": "0", "Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_patch_and_delete_may_travel_as_post(client: TestClient) -> None:
    place = begin(client, 5)
    patch = {**CHUNK, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.post(place, content=b"abc", headers=patch).status_code == 204
    assert offset_of(client, place) == 3
    assert client.post(place, headers={**TUS, "X-HTTP-Method-Override": "GET"}).status_code == 400
    assert client.post(place, headers={**TUS, "X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert client.get(place).status_code == 404


def test_nobody_else_may_know_of_an_upload(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    place = begin(client, 5)
    become(monkeypatch, Principal("other", frozenset({"admin"})))
    assert client.head(place, headers=TUS).status_code == 404
    assert client.get(place).status_code == 404
    assert send(client, place, 0, b"abc") == 404
    assert client.delete(place, headers=TUS).status_code == 404
    become(monkeypatch, OWNER)
    assert offset_of(client, place) == 0


def test_who_may_not_write_may_not_upload(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, Principal("auditor", frozenset({"auditor"})))
    assert client.post(PLACE, headers={**TUS, "Upload-Length": "5"}).status_code == 403


def become(monkeypatch: pytest.MonkeyPatch, principal: Principal) -> None:
    monkeypatch.setattr("radloop.api.principal.principal_of", lambda request: principal)


def test_a_zip_lands_file_by_file_with_every_reason(installation: Installation, client: TestClient) -> None:
    files = {
        "DICOMDIR": b"junk",
        "study/.DS_Store": b"junk",
        "__MACOSX/study/._1.dcm": b"junk",
        "study/series 1/": b"",
        **{f"study/series 1/{number}.dcm": data for number, data in enumerate(PHANTOM.files)},
        "../../../escape.dcm": OTHER.files[0],
        "study/again.dcm": PHANTOM.files[0],
        "readme.txt": b"hello",
        "report.pdf": b"%PDF",
    }
    told = landed(installation, client, zipped(files, zipfile.ZIP_DEFLATED))
    assert told["state"] == "done"
    counts = {name: told[name] for name in ("files", "ingested", "duplicates", "quarantined", "refused", "skipped")}
    assert counts == {"files": 12, "ingested": 5, "duplicates": 1, "quarantined": 2, "refused": 0, "skipped": 4}
    assert len(told["image_sets"]) == 2
    (reason,) = told["reasons"]
    assert (reason["code"], reason["count"], reason["places"]) == ("not-dicom", 2, [11, 12])
    rows = installation.database.read().execute("SELECT document FROM drafts UNION SELECT document FROM quarantine")
    assert not any("readme" in text or "escape" in text for (text,) in rows)


def test_members_that_cannot_be_taken_out_are_told_and_the_others_land(
    installation: Installation, client: TestClient
) -> None:
    data = bytearray(zipped({"a.dcm": PHANTOM.files[0], "b.dcm": PHANTOM.files[1], "c.dcm": PHANTOM.files[2]}))
    data[data.find(b"PK\x01\x02") + 8] |= 1  # the first says it is encrypted
    middle = data.find(PHANTOM.files[1])
    data[middle + 5000] ^= 1  # the second is damaged
    told = landed(installation, client, bytes(data))
    assert (told["state"], told["ingested"], told["refused"]) == ("done", 1, 2)
    assert {reason["code"] for reason in told["reasons"]} == {"broken-member"}
    assert sorted(place for reason in told["reasons"] for place in reason["places"]) == [1, 2]


@pytest.mark.parametrize("cut", [1, 30, 3000])
def test_an_archive_that_cannot_be_read_fails_with_its_reason(
    installation: Installation, client: TestClient, cut: int
) -> None:
    told = landed(installation, client, zipped({"a.dcm": PHANTOM.files[0]})[:-cut])
    assert (told["state"], told["reasons"][0]["code"]) == ("failed", "broken-archive")
    assert installation.platform.jobs.pending(LANE) == 0
    assert not list(installation.platform.blobs.keys("drafts/"))


def test_what_is_neither_is_quarantined(installation: Installation, client: TestClient) -> None:
    for junk in (b"no image", b""):
        told = landed_whole(installation, client, junk)
        assert (told["state"], told["quarantined"], told["reasons"][0]["code"]) == ("done", 1, "not-dicom")


def landed_whole(installation: Installation, client: TestClient, data: bytes) -> dict:
    answer = client.post(PLACE, content=data, headers={**CHUNK, "Upload-Length": str(len(data))})
    land(installation)
    told: dict = client.get(answer.headers["location"]).json()
    return told


def test_a_landing_that_broke_off_goes_on_behind_its_last_batch(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zipped({f"{number}.dcm": file for number, file in enumerate([*PHANTOM.files, *OTHER.files])})
    place = begin(client, len(data))
    assert send(client, place, 0, data) == 204
    monkeypatch.setattr(draft_landing, "BATCH_FILES", 2)
    calls: list[int] = []
    ingest = draft_landing.ingest

    def failing(files, platform, *, by):
        calls.append(len(files))
        if len(calls) == 3:
            raise Unavailable("the disk refuses to write: ENOSPC")
        return ingest(files, platform, by=by)

    monkeypatch.setattr(draft_landing, "ingest", failing)
    identity = place.rpartition("/")[2]
    with pytest.raises(Unavailable):
        draft_landing.land_draft(identity, installation.platform)
    told = client.get(place).json()
    assert (told["state"], told["files"], told["ingested"]) == ("landing", 4, 4)
    draft_landing.land_draft(identity, installation.platform)
    told = client.get(place).json()
    assert (told["state"], told["files"], told["ingested"], told["duplicates"]) == ("done", 7, 7, 0)
    draft_landing.land_draft(identity, installation.platform)
    assert client.get(place).json() == told


def test_a_landing_that_was_given_up_on_can_be_replayed(installation: Installation, client: TestClient) -> None:
    data = zipped({"a.dcm": PHANTOM.files[0]})
    place = begin(client, len(data))
    send(client, place, 0, data)
    identity = place.rpartition("/")[2]
    draft_landing.give_up(identity, installation.platform)
    told = client.get(place).json()
    assert (told["state"], told["reasons"][0]["code"]) == ("failed", "gave-up")
    draft_landing.land_draft(identity, installation.platform)
    told = client.get(place).json()
    assert (told["state"], told["ingested"], told["reasons"]) == ("done", 1, [])


def test_it_lands_in_the_name_of_who_sent_it(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, Principal("dr-7", frozenset({"reader"}), frozenset({"P1"})))
    whose: list[Principal] = []
    ingest = draft_landing.ingest
    monkeypatch.setattr(
        draft_landing, "ingest", lambda files, platform, *, by: whose.append(by) or ingest(files, platform, by=by)
    )
    landed(installation, client, PHANTOM.files[0])
    assert whose == [Principal("dr-7", frozenset({"reader"}), frozenset({"P1"}))]


def test_a_connection_that_pauses_is_flushed_and_one_that_stays_away_is_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "_FLUSH_IDLE_S", 0.01)
    monkeypatch.setattr(resumable, "_GIVE_UP_S", -1.0)
    place = begin(client, 5)

    class Slow:
        """A request whose bytes stop coming."""

        def __init__(self) -> None:
            self.calls = 0

        async def receive(self) -> dict:
            import asyncio

            self.calls += 1
            if self.calls == 1:
                return {"type": "http.request", "body": b"abc", "more_body": True}
            await asyncio.sleep(60)
            raise AssertionError

    import asyncio

    async def read() -> list[bytes | None]:
        return [part async for part in resumable._body(Slow())]  # type: ignore[arg-type]

    with pytest.raises(resumable.HTTPException) as told:
        asyncio.run(read())
    assert told.value.status_code == 408
    assert offset_of(client, place) == 0


def test_the_worker_removes_what_has_expired(installation: Installation, client: TestClient) -> None:
    place = begin(client, 5)
    later = replace(installation.platform, settings=replace(installation.platform.settings, upload_hours=-1.0))
    drafts = draft_landing.drafts_of(later)
    draft = drafts.get(place.rpartition("/")[2])
    appending = drafts.appending(draft, 0)
    appending.add(b"abc")
    appending.settle()
    assert client.head(place, headers=TUS).status_code == 404
    worker = Worker(installation.platform, installation.images, installation.platform.pipelines, Path("nowhere"))
    worker.tick()
    assert not list(installation.platform.blobs.keys("drafts/"))
