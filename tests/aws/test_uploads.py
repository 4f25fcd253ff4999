"""Files that are too long for one call: long objects below upload/, and uploads in pieces through API Gateway."""

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from radloop import lambdas
from radloop.aws import images
from radloop.aws import served as served_images
from radloop.aws.assembly import Assembly, Batch
from radloop.aws.long_objects import LongObject, LongObjects
from radloop.aws.outbox import JOBS
from radloop.core.errors import Conflict, TooLarge, Unavailable
from radloop.core.identity import OWNER, SYSTEM, Principal
from radloop.core.ports import Row, Upload
from radloop.core.tables import ARRIVALS, DRAFT_PIECES, DRAFTS, IMAGE_SETS, QUARANTINE
from radloop.dicom.plain import plain_values
from radloop.dicom.ranges import Ranges
from radloop.doors_aws import LONGEST_BODY
from radloop.security.identities import Identities
from radloop.sending import Memory, Sender, parcels
from radloop.store.drafts import Draft
from radloop.store.quarantine import Quarantine
from radloop.wiring_aws import reader_of, store_of
from tests.aws.crash import KILLED
from tests.aws.environment import CONTEXT, Environment, batch, environment, import_ended
from tests.aws.test_doors import NAME, body_of, request
from tests.aws.test_lambdas import assemble, ended, served
from tests.store.house import phantom

LONGEST_EVENT = 6 << 20
"""Bytes of a request and of an answer that Lambda takes, in JSON."""


@pytest.fixture
def surroundings(healthimaging_url: str, ministack: str) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.2) as made:
        yield made


@pytest.fixture
def token(surroundings: Environment) -> str:
    return token_for(surroundings, "reader")


def token_for(surroundings: Environment, *roles: str) -> str:
    ports = surroundings.cloud.platform
    identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
    return identities.create_credential(roles=frozenset(roles), patients=None, by=OWNER).token


class Gateway(httpx.BaseTransport):
    """API Gateway before the function `api`: whole bodies, and none that Lambda would not take.

    Attributes:
        breaks: Before which requests with a body the line breaks, and behind which the answer is lost, by number.
        longest: Bytes of the longest body that was handed on.
    """

    def __init__(self, before: frozenset[int] = frozenset(), behind: frozenset[int] = frozenset()) -> None:
        self.before, self.behind = before, behind
        self.bodies = 0
        self.longest = 0

    def handle_request(self, asked: httpx.Request) -> httpx.Response:
        body = asked.read()
        self.bodies += bool(body)
        if body and self.bodies in self.before:
            raise httpx.WriteError("the line broke")
        told = request(asked.url.raw_path.decode(), method=asked.method, body=body, **dict(asked.headers.items()))
        told["headers"]["host"] = NAME
        if len(json.dumps(told)) > LONGEST_EVENT:
            return httpx.Response(413, json={"message": "Request Too Long"})
        self.longest = max(self.longest, len(body))
        answer = lambdas.api(told, CONTEXT)
        if body and self.bodies in self.behind:
            raise httpx.ReadError("the line broke")
        return httpx.Response(answer["statusCode"], headers=answer["headers"], content=body_of(answer))


def sender(gateway: Gateway, token: str, tmp_path: Path) -> Sender:
    http = httpx.Client(transport=gateway, base_url=f"https://{NAME}", headers={"Authorization": f"Bearer {token}"})
    return Sender(http, Memory(tmp_path / "uploads.json"), patience_s=20.0)


def landed(surroundings: Environment) -> None:
    """Wake bulk ingestion by its queue until nothing waits there."""
    while messages := surroundings.messages("land"):
        assert served(lambdas.bulk_ingestion({"Records": messages}, CONTEXT)) == []


def imported(surroundings: Environment) -> list[str]:
    assemble(surroundings)
    for job in ended(surroundings):
        lambdas.image_ingestion(import_ended(surroundings.datastore, job), CONTEXT)
    return [row.key for row in surroundings.cloud.platform.records.find(IMAGE_SETS)]


def files_in(folder: Path) -> list[Path]:
    """A study of loose files, with one that is no image and long, so that it takes several pieces."""
    folder.mkdir()
    for number, data in enumerate(phantom()):
        (folder / f"{number}.dcm").write_bytes(data)
    (folder / "notes.bin").write_bytes(random.Random(3).randbytes(9 << 20))
    return sorted(folder.iterdir())


# Pieces


def test_a_study_of_loose_files_that_is_cut_and_resumed_becomes_an_image_set(
    surroundings: Environment, token: str, tmp_path: Path
) -> None:
    (parcel,) = parcels(files_in(tmp_path / "study"))
    gateway = Gateway(before=frozenset({2}), behind=frozenset({3}))
    sending = sender(gateway, token, tmp_path)
    place = sending.send(parcel)
    assert sending.tally.cuts >= 2
    assert gateway.longest <= LONGEST_BODY < parcel.content.length
    landed(surroundings)
    told = sending.finish(place, parcel)
    assert (told["state"], told["ingested"], told["quarantined"]) == ("done", 4, 1)
    (image_set,) = imported(surroundings)
    assert surroundings.cloud.images.volume(image_set).shape == (4, 64, 64)


def test_a_zip_goes_on_in_another_program_and_every_step_is_audited_once(
    surroundings: Environment, token: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files_in(tmp_path / "study"):
            archive.write(file, file.name)
    (parcel,) = parcels([path])
    first = sender(Gateway(before=frozenset(range(3, 100))), token, tmp_path)
    first._patience_s = 0.0
    with pytest.raises(Exception, match="run the command again"):
        first.send(parcel)
    second = sender(Gateway(), token, tmp_path)
    place = second.send(parcel)
    assert second.tally.fresh < parcel.content.length
    landed(surroundings)
    assert second.finish(place)["ingested"] == 4
    assert len(imported(surroundings)) == 1
    records = surroundings.cloud.platform.records
    actions = [entry.action for entry in surroundings.cloud.audit.entries(limit=1000)]
    assert [actions.count(action) for action in ("begin-upload", "upload-done")] == [1, 1]
    assert records.count(DRAFT_PIECES) == 0
    assert list(surroundings.cloud.platform.blobs.keys("drafts/")) == []


def test_an_upload_is_its_owners_alone_and_asks_for_the_right_to_write(surroundings: Environment, token: str) -> None:
    tus = {"tus-resumable": "1.0.0", "upload-length": "10"}
    asked = request("/api/v1/resumable", token=token, method="POST", **tus)
    begun = lambdas.api(asked, CONTEXT)
    assert begun["statusCode"] == 201
    assert begun["headers"]["upload-limit"] == f"max-append-size={LONGEST_BODY}"
    place = begun["headers"]["location"]
    other = token_for(surroundings, "reader")
    assert lambdas.api(request(place, token=other, method="HEAD", **tus), CONTEXT)["statusCode"] == 404
    auditor = token_for(surroundings, "auditor")
    refused = request("/api/v1/resumable", token=auditor, method="POST", **tus)
    assert lambdas.api(refused, CONTEXT)["statusCode"] == 403
    assert surroundings.cloud.platform.records.count(DRAFTS) == 1


def test_a_landing_that_takes_too_long_for_one_call_goes_on_in_another(
    surroundings: Environment, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from radloop.functions import draft_landing

    monkeypatch.setattr(draft_landing, "BATCH_FILES", 2)
    monkeypatch.setattr(lambdas, "LANDING_S", -1.0)
    (parcel,) = parcels(files_in(tmp_path / "study"))
    sending = sender(Gateway(), token, tmp_path)
    place = sending.send(parcel)
    landed(surroundings)
    told = sending.finish(place)
    assert (told["ingested"], told["quarantined"], told["duplicates"]) == (4, 1, 0)
    records = surroundings.cloud.platform.records
    kinds = [row.key for row in records.find(JOBS) if row.document["kind"] == "land_draft"]
    assert len(kinds) == 3


def test_a_draft_of_more_pieces_than_one_transaction_takes_is_landed_and_forgotten(surroundings: Environment) -> None:
    drafts = lambdas.drafts_of(surroundings.cloud.platform)
    draft = drafts.begin(OWNER, 120)
    for start in range(0, 120, 20):
        appending = drafts.appending(draft, start)
        for _ in range(20):
            appending.add(b"x")
        draft = appending.settle()
    surroundings.cloud.platform.bus.route()
    landed(surroundings)
    assert drafts.get(draft.id).state == "done"
    assert surroundings.cloud.platform.records.count(DRAFT_PIECES) == 0


def test_what_was_never_finished_goes_when_its_time_is_over(surroundings: Environment) -> None:
    cloud = surroundings.cloud
    drafts = lambdas.drafts_of(cloud.platform)
    appending = drafts.appending(drafts.begin(OWNER, 100), 0)
    appending.add(b"x")
    appending.settle()
    late = replace(cloud.platform, clock=lambda: cloud.platform.clock() + timedelta(days=365))
    lambdas._SCHEDULED["bulk_ingestion"](replace(cloud, platform=late))
    assert cloud.platform.records.count(DRAFTS) == 0
    assert list(cloud.platform.blobs.keys("drafts/")) == []


def test_killing_the_landing_lands_everything_once(surroundings: Environment, token: str, tmp_path: Path) -> None:
    (parcel,) = parcels(files_in(tmp_path / "study"))
    sending = sender(Gateway(), token, tmp_path)
    place = sending.send(parcel)
    draft = place.rpartition("/")[2]
    for allowed in (1, 2):  # changes that the process may still make, which end within and behind a batch
        command = [sys.executable, "-c", _DYING, draft, str(allowed)]
        died = subprocess.run(command, env={**os.environ, **surroundings.variables}, check=False, timeout=60)
        assert died.returncode == KILLED
    landed(surroundings)
    told = sending.finish(place)
    assert (told["state"], told["files"], told["ingested"] + told["duplicates"]) == ("done", 5, 4)
    (image_set,) = imported(surroundings)
    assert surroundings.cloud.images.volume(image_set).shape == (4, 64, 64)


_DYING = f"""
import os, sys
from radloop import lambdas
from radloop.aws.records import DynamoRecords
from radloop.functions import draft_landing
draft_landing.BATCH_FILES = 2
made, commit = [], DynamoRecords._commit
def counted(*given):
    if len(made) == int(sys.argv[2]):
        os._exit({KILLED})
    made.append(commit(*given))
DynamoRecords._commit = counted
draft_landing.land_draft(sys.argv[1], lambdas._cloud("bulk_ingestion").platform)
"""
"""A process that kills itself instead of making one change too many, in the middle of landing."""


# Long objects


def test_a_long_object_is_taken_in_by_itself_however_often_it_is_told_of(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 100)
    told = [surroundings.put(f"upload/{number}.dcm", data) for number, data in enumerate(phantom())]
    assert served(lambdas.image_ingestion(batch(*told, *told), CONTEXT)) == []
    assert surroundings.cloud.platform.jobs.pending("land") == 4
    landed(surroundings)
    assert len(imported(surroundings)) == 1
    assert list(surroundings.cloud.platform.blobs.keys("training-data/upload/")) == []


def test_an_old_event_of_a_short_object_has_a_longer_one_taken_in_by_itself_and_does_not_hold_it(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data,) = phantom(slices=1)
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", len(data) - 1)
    old = surroundings.put("upload/1.dcm", b"short")
    new = surroundings.put("upload/1.dcm", data)
    new["detail"]["object"]["sequencer"] = "617F08299330"
    with monkeypatch.context() as guarded:
        guarded.setattr(type(surroundings.cloud.platform.blobs), "get", held)
        assert served(lambdas.image_ingestion(batch(old, new), CONTEXT)) == []
        landed(surroundings)
    assert surroundings.cloud.platform.records.count(ARRIVALS) == 1
    assert list(surroundings.cloud.platform.blobs.keys("training-data/upload/")) == []


def test_an_old_event_does_not_get_an_object_past_the_limit_which_is_refused_once(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 10)
    monkeypatch.setattr(lambdas, "LONGEST_UPLOAD", 100)
    old = surroundings.put("upload/1.dcm", b"longer than ten")
    assert served(lambdas.image_ingestion(batch(old), CONTEXT)) == []
    new = surroundings.put("upload/1.dcm", bytes(101))
    new["detail"]["object"]["sequencer"] = "617F08299330"
    assert served(lambdas.image_ingestion(batch(new), CONTEXT)) == []
    landed(surroundings)
    (row,) = surroundings.cloud.platform.records.find(QUARANTINE)
    assert (row.document["code"], row.document["size_bytes"]) == ("too-large", 101)
    assert list(surroundings.cloud.platform.blobs.keys("training-data/upload/")) == ["training-data/upload/1.dcm"]
    assert surroundings.cloud.platform.jobs.dead_letters() == []


def test_a_long_file_that_is_tried_again_is_copied_into_the_archive_once(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud, (data,) = surroundings.cloud, phantom(slices=1)
    surroundings.put("upload/1.dcm", data)
    copied: list[str] = []
    copy = LongObjects.copy

    def noted(objects: LongObjects, found: LongObject, key: str) -> None:
        copied.append(key)
        copy(objects, found, key)

    def refused(*_: object, **__: object) -> None:
        raise Unavailable("the table does not answer")

    monkeypatch.setattr(LongObjects, "copy", noted)
    with monkeypatch.context() as broken:
        broken.setattr(Assembly, "count_in", refused)
        for _ in range(2):
            with pytest.raises(Unavailable):
                cloud.images.land_object("training-data/upload/1.dcm", by=SYSTEM)
    cloud.platform.blobs.put(copied[0], b"another length")
    landing = cloud.images.land_object("training-data/upload/1.dcm", by=SYSTEM)
    assert landing is not None
    assert landing.outcome == "ingested"
    assert len(copied) == 2, "once, and once more because what lay there was not it"
    assert cloud.platform.blobs.get(copied[0]) == data


def test_a_long_file_is_never_held_and_becomes_the_original_it_was(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 100)
    cloud, files = surroundings.cloud, phantom()
    told = [surroundings.put(f"upload/{number}.dcm", data) for number, data in enumerate(files)]
    assert served(lambdas.image_ingestion(batch(*told), CONTEXT)) == []
    with monkeypatch.context() as guarded:
        guarded.setattr(type(cloud.platform.blobs), "get", held)
        guarded.setattr(type(cloud.platform.blobs), "put", held)
        landed(surroundings)
    (image_set,) = imported(surroundings)
    kept = [cloud.images.export(instance) for instance in cloud.images.instances(image_set)]
    assert kept == list(files)


def held(*_: object) -> None:
    pytest.fail("a long file was held in memory")


def test_the_header_of_a_long_original_is_read_where_it_lies_and_the_whole_file_is_not(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud, (data,) = surroundings.cloud, phantom(slices=1, size=1024)
    cloud.images.land([Upload(data)], by=OWNER)
    cloud.platform.bus.route()
    (image_set,) = imported(surroundings)
    store = store_of(cloud, reader_of(surroundings.variables))
    (instance,) = store.instances(image_set)
    document, told = store.document(instance), plain_values(store.header(instance))
    monkeypatch.setattr(served_images, "LONGEST_WHOLE", 100)
    monkeypatch.setattr(served_images, "LONGEST_FILE", 100)
    assert isinstance(store.header(instance), Ranges)
    assert store.document(instance) == document
    assert plain_values(store.header(instance)) == told
    with pytest.raises(TooLarge, match="it lies in the archive"):
        store.export(instance)


def test_a_long_file_that_comes_under_the_name_of_one_that_is_landing_lands_too(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 100)
    cloud, (first, second) = surroundings.cloud, phantom(slices=2)
    count_in = Assembly.count_in

    def interrupted(*given: Any, **more: Any) -> None:
        told.append(surroundings.put("upload/1.dcm", second))
        count_in(*given, **more)

    told = [surroundings.put("upload/1.dcm", first)]
    lambdas.image_ingestion(batch(*told), CONTEXT)
    with monkeypatch.context() as interrupting:
        interrupting.setattr(Assembly, "count_in", interrupted)
        landed(surroundings)
    told[1]["detail"]["object"]["sequencer"] = "617F08299330"
    lambdas.image_ingestion(batch(told[1]), CONTEXT)
    landed(surroundings)
    assert cloud.platform.records.count(ARRIVALS) == 2
    assert list(cloud.platform.blobs.keys("training-data/upload/")) == []


@pytest.fixture
def refused(surroundings: Environment, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id in quarantine of a long file that was cut."""
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 100)
    told = surroundings.put("upload/DOE^JANE.dcm", phantom()[0][:-1000])
    for _ in range(2):
        assert served(lambdas.image_ingestion(batch(told), CONTEXT)) == []
        landed(surroundings)
    (row,) = surroundings.cloud.platform.records.find(QUARANTINE)
    assert row.document["code"] == "truncated-file"
    return row.key


def test_a_long_file_that_is_refused_lies_in_quarantine_as_it_came(surroundings: Environment, refused: str) -> None:
    blobs = surroundings.cloud.platform.blobs
    folder = f"training-data/quarantine/{refused}"
    assert list(blobs.keys(folder)) == [f"{folder}/file", f"{folder}/reason.json"]
    assert blobs.get(f"{folder}/file") == phantom()[0][:-1000]
    assert b"DOE" not in blobs.get(f"{folder}/reason.json")
    assert list(blobs.keys("training-data/upload/")) == []
    told = surroundings.announced()
    assert [event["detail-type"] for event in told].count("ImageQuarantined") == 1


def test_it_does_not_go_through_the_api_and_says_how_it_lands_again(surroundings: Environment, refused: str) -> None:
    quarantine = Quarantine(surroundings.cloud.platform)
    for way in (quarantine.file, quarantine.release):
        with pytest.raises(Conflict, match=f"quarantine/{refused}/file in the bucket .* copy it below upload/"):
            way(refused, by=OWNER)
    assert quarantine.discard(refused, by=OWNER).state == "discarded"
    assert list(surroundings.cloud.platform.blobs.keys("training-data/quarantine/")) == []


def test_a_long_file_that_healthimaging_refuses_is_put_aside_by_s3(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 100)
    monkeypatch.setattr(images, "LONGEST_HELD", 100)
    cloud = surroundings.cloud
    told = surroundings.put("upload/1.dcm", phantom()[0])
    lambdas.image_ingestion(batch(told), CONTEXT)
    landed(surroundings)
    (arrival,) = cloud.platform.records.find(ARRIVALS)
    (waiting,) = cloud.assembly.arrivals(Batch(_study(arrival), 1)).values()
    cloud.images._put_aside(waiting, SYSTEM)
    (row,) = cloud.platform.records.find(QUARANTINE)
    assert row.document["code"] == "import-refused"
    assert cloud.platform.blobs.get(f"training-data/quarantine/{row.key}/file") == phantom()[0]


def _study(arrival: Row) -> str:
    return str(arrival.columns["batch"]).rpartition("-")[0]


def test_what_is_released_from_quarantine_lands_and_leaves(surroundings: Environment) -> None:
    cloud = surroundings.cloud
    stranger = Principal("somebody", frozenset({"reader"}), patients=frozenset({"nobody"}))
    for data in phantom():
        (landing,) = cloud.images.land([Upload(data)], by=stranger)
        assert landing.reason == "out-of-scope"
        release = Quarantine(cloud.platform).release(str(landing.quarantine_id), by=OWNER)
        assert (release.entry.state, release.landing and release.landing.outcome) == ("released", "ingested")
    assert cloud.platform.records.count(QUARANTINE) == 0
    cloud.platform.bus.route()
    assert len(imported(surroundings)) == 1


def test_an_object_that_is_longer_than_healthimaging_takes_is_refused_once_with_its_reason(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_long = 24
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 10)
    monkeypatch.setattr(lambdas, "LONGEST_UPLOAD", too_long - 1)
    told = surroundings.put("upload/DOE^JANE.dcm", bytes(too_long))
    assert served(lambdas.image_ingestion(batch(told), CONTEXT)) == []
    landed(surroundings)
    cloud = surroundings.cloud
    (row,) = cloud.platform.records.find(QUARANTINE)
    assert (row.document["code"], row.document["size_bytes"]) == ("too-large", too_long)
    assert "DOE" not in json.dumps(row.document)
    assert cloud.platform.jobs.dead_letters() == []
    assert cloud.platform.jobs.pending("land") == 0
    with pytest.raises(Conflict, match="lie where they were put"):
        Quarantine(cloud.platform).release(row.key, by=OWNER)
    assert list(cloud.platform.blobs.keys("training-data/upload/")) == ["training-data/upload/DOE^JANE.dcm"]
    assert Quarantine(cloud.platform).discard(row.key, by=OWNER).state == "discarded"


# Long files in drafts


LONG_FILES = {
    "alone": lambda data: data,
    "stored": lambda data: archive({"a/1.dcm": data}, zipfile.ZIP_STORED),
    "deflated": lambda data: archive({"a/1.dcm": data}, zipfile.ZIP_DEFLATED),
}


def archive(files: dict[str, bytes], method: int) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return written.getvalue()


def drafted(surroundings: Environment, data: bytes) -> Draft:
    """A draft of these bytes that has been landed."""
    drafts = lambdas.drafts_of(surroundings.cloud.platform)
    draft = drafts.begin(OWNER, len(data))
    appending = drafts.appending(draft, 0)
    for start in range(0, len(data), 7000):
        appending.add(data[start : start + 7000])
        appending.settle()
    surroundings.cloud.platform.bus.route()
    landed(surroundings)
    assert list(surroundings.cloud.platform.blobs.keys("drafts/")) == []
    return drafts.get(draft.id)


@pytest.mark.parametrize("way", LONG_FILES)
def test_a_long_file_of_an_upload_in_pieces_is_never_held(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 10_000)
    (data,) = phantom(slices=1, size=128)
    with monkeypatch.context() as guarded:
        guarded.setattr(type(surroundings.cloud.images), "land", held)
        report = drafted(surroundings, LONG_FILES[way](data)).report
    assert (report.seen, report.ingested, report.reasons) == (1, 1, ())
    (image_set,) = imported(surroundings)
    (instance,) = surroundings.cloud.images.instances(image_set)
    assert surroundings.cloud.images.export(instance) == data


def test_long_and_short_files_of_an_archive_land_beside_each_other_and_each_tells_its_own(
    surroundings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "LONGEST_BESIDE", 10_000)
    monkeypatch.setattr(lambdas, "LONGEST_UPLOAD", 100_000)
    (long,), short = phantom(slices=1, size=128), phantom(2, slices=2, size=32)
    files = {
        "1": short[0],
        "2": long,
        "3": b"x" * 20_000,
        "4": random.Random(4).randbytes(20_000),
        "5": short[1],
        "6": b"y" * 100_001,
    }
    data = archive(files, zipfile.ZIP_STORED)
    place = data.index(files["4"])
    broken = data[:place] + b"?" + data[place + 1 :]
    report = drafted(surroundings, broken).report
    told = {place: reason["code"] for reason in report.reasons for place in reason["places"]}
    assert told == {3: "not-dicom", 4: "broken-member", 6: "too-large"}
    assert (report.ingested, report.quarantined, report.refused) == (3, 1, 2)
    assert surroundings.cloud.platform.records.count(ARRIVALS) == 3
