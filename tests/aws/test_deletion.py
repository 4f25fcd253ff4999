"""Deleting an image set on AWS: it is gone with one small change, and a job takes away what hung on it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from radloop import lambdas
from radloop.aws import erasing
from radloop.aws.assembly import arrival_id
from radloop.core.errors import Conflict, NotFound, Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.core.images import ImageSet
from radloop.core.ports import Change, Put, Upload
from radloop.core.predictions import CHAMPION, SHADOW, Observation, put_observation
from radloop.core.tables import EXECUTIONS, IMAGE_SETS, PREDICTIONS, SALIENCY, TOMBSTONES, image_set_of
from radloop.dicom.parse import parse
from radloop.pipeline.journal import opening
from radloop.reading.opinion import keep_beside, keep_prediction
from radloop.security.identities import Identities
from radloop.store.datastores import resource_of
from radloop.store.erasing import KIND, TABLES, By, Goes, Stays, fate_of
from radloop.store.layers import asked_for as layers_asked_for
from radloop.store.learning import discard_deleted
from radloop.store.revisions import Revisions
from radloop.streaming.layers import Written
from radloop.wiring_aws import Cloud, reader_of, store_of
from tests.aws.emulators import client
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.faults import client_with, refuse
from tests.aws.test_doors import body_of, request
from tests.aws.test_lambdas import assemble, ended, served
from tests.aws.test_layers import worked
from tests.store.house import slices

FEW, MANY, VERY_MANY = 14, 70, 300
"""Slices: all more than one change of DynamoDB can delete; many have two pieces of static layers."""

PATIENTS = count(11)
"""Each test has a patient of its own in the one environment."""

PREDICTOR = Principal("radloop", frozenset())
SHOWN = 12
"""Addresses and lists where an image set is to be seen."""


@dataclass(frozen=True)
class Laid:
    """An environment with one image set, whose static layers stand."""

    surroundings: Environment
    identity: str
    study: str
    series: str
    files: tuple[bytes, ...]
    job: str
    token: str

    @property
    def cloud(self) -> Cloud:
        return self.surroundings.cloud

    def ask(self, path: str, method: str = "GET", accept: str = "*/*") -> Any:
        return lambdas.api(request(path, token=self.token, method=method, accept=accept), CONTEXT)

    def delete(self) -> int:
        """Delete the series by DICOMweb; the status."""
        return int(self.ask(f"/dicomweb/studies/{self.study}/series/{self.series}", "DELETE")["statusCode"])

    def shown(self) -> list[str]:
        """Where something of the image set is still to be seen."""
        own, pixels = f"/api/v1/image-sets/{self.identity}", f"/dicomweb/studies/{self.study}/series/{self.series}"
        addresses = [own, f"{own}/frames/0", f"{own}/thumbnail", f"/stream/v1/{self.identity}/index"]
        addresses += [f"{pixels}/metadata", f"{pixels}/thumbnail"]
        found = [each for each in addresses if self.ask(each)["statusCode"] not in {404, 410}]
        for search in ("studies", "series", f"studies/{self.study}/series", f"{pixels[10:]}/instances", "instances"):
            answer = self.ask(f"/dicomweb/{search}?StudyInstanceUID={self.study}", accept="application/dicom+json")
            found += [search] if answer["statusCode"] not in {204, 404} and json.loads(body_of(answer)) else []
        worklist = json.loads(body_of(self.ask("/api/v1/worklist")))
        return found + (["worklist"] if self.identity in json.dumps(worklist) else [])

    def messages(self) -> list[dict[str, Any]]:
        """Messages that ask for its deletion, taken out of their lane."""
        self.cloud.jobs.relay()
        found: list[dict[str, Any]] = []
        while some := self.surroundings.messages("assembly"):
            found += some
        return [each for each in found if self.identity in each["body"] and json.loads(each["body"])["kind"] == KIND]

    def jobs(self) -> list[dict[str, Any]]:
        """Jobs that delete it, as they wait in their lane."""
        return [json.loads(each["body"]) for each in self.messages()]

    @property
    def of_patient(self) -> list[str]:
        """What the patient and the images are called outside."""
        parsed = [parse(each) for each in self.files]
        told = parsed[0].attributes
        return [
            self.study,
            self.series,
            *(each.sop_uid for each in parsed),
            *map(str, (told["PatientID"], told["PatientName"])),
        ]

    def left(self) -> list[str]:
        """Records and objects that are still there of it, but for what is declared to stay."""
        names = self.of_patient
        files = [arrival_id(self.surroundings.datastore, hashlib.sha256(each).hexdigest()) for each in self.files]
        records, blobs = self.cloud.platform.records, self.cloud.platform.blobs
        table = client(self.surroundings.address, "dynamodb").get_paginator("scan")
        pages = table.paginate(TableName=self.surroundings.variables["DYNAMODB_TRACKING_TABLE"], ConsistentRead=True)
        items = [json.dumps(item, default=str) for page in pages for item in page["Items"]]
        stays = [table.name for table, fate in TABLES.items() if isinstance(fate, Stays) and fate.names_it]
        stays += ["audit", "events", "jobs"]
        found = [item for item in items if any(name in item for name in [*names, *files])]
        found += [item for item in items if self.identity in item and not any(f"{each}" in item for each in stays)]
        for table, fate in TABLES.items():
            for row in records.find(table):
                text = json.dumps([row.key, row.columns, row.document], default=str)
                is_named = self.identity in text and not (isinstance(fate, Stays) and fate.names_it)
                found += [f"{table.name} {row.key}"] if is_named or any(name in text for name in names) else []
        for key in blobs.keys(""):
            fate_of_key = fate_of(key)
            is_named = self.identity in key and not (isinstance(fate_of_key, Stays) and fate_of_key.names_it)
            found += [key] if is_named or any(name in key for name in [*names, *files]) else []
        return found

    @property
    def image_set(self) -> ImageSet:
        row = self.cloud.platform.records.get(IMAGE_SETS, self.identity)
        assert row is not None
        return image_set_of(row)

    def state(self) -> str:
        """The state of HealthImaging's own image set."""
        where = {"datastoreId": self.surroundings.datastore, "imageSetId": self.identity}
        return str(self.surroundings.imaging.get_image_set(**where)["imageSetState"])

    def deletions(self) -> int:
        entries = self.cloud.audit.entries(limit=100_000)
        return sum(each.action == "delete" and each.subject == self.identity for each in entries)


def imported(surroundings: Environment, files: tuple[bytes, ...]) -> tuple[ImageSet, str]:
    """The image set that an import makes of the files of one series, and the import job."""
    cloud = surroundings.cloud
    for first in range(0, len(files), 50):
        cloud.images.land([Upload(data) for data in files[first : first + 50]], by=OWNER)
    before = {str(job["jobId"]) for job in _imports(surroundings)}
    cloud.platform.bus.route()
    cloud.jobs.relay()
    while not (new := {str(job["jobId"]) for job in _imports(surroundings)} - before):
        assemble(surroundings)
    ended(surroundings)
    (job,) = new
    cloud.images.take_up(job, by=OWNER)
    cloud.jobs.relay()
    (row,) = cloud.platform.records.find(IMAGE_SETS, {"study_uid": parse(files[0]).study_uid})
    return image_set_of(row), job


def laid(surroundings: Environment, files: tuple[bytes, ...]) -> Laid:
    cloud = surroundings.cloud
    image_set, job = imported(surroundings, files)
    worked(surroundings)
    identities = Identities(cloud.platform.records, cloud.platform.keys, cloud.platform.clock, roles=OWNER.roles)
    token = identities.create_credential(roles=frozenset({"reader", "admin"}), patients=None, by=OWNER).token
    return Laid(surroundings, image_set.id, image_set.study_uid, image_set.series_uid, files, job, token)


def _imports(surroundings: Environment) -> list[dict[str, Any]]:
    return list(surroundings.imaging.list_dicom_import_jobs(datastoreId=surroundings.datastore)["jobSummaries"])


@pytest.fixture(scope="module")
def laid_out(healthimaging_url: str, ministack: str) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.1, backoff_s=0.01) as made:
        yield made


@pytest.fixture
def surroundings(laid_out: Environment, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("AWS_ENDPOINT_URL", laid_out.address)
    return laid_out


@pytest.fixture
def kept(surroundings: Environment) -> Laid:
    return laid(surroundings, slices(FEW, next(PATIENTS))[:FEW])


@pytest.fixture
def refusing(kept: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    """HealthImaging is at work on the image set and refuses its deletion once."""
    url = kept.surroundings.variables["AWS_ENDPOINT_URL_MEDICAL_IMAGING"]
    faults = [refuse("ConflictException", status=409)]
    imaging = client_with(url, "medical-imaging", "DeleteImageSet", faults)
    monkeypatch.setattr(kept.cloud.images.erasing, "_imaging", imaging)


def revisions(kept: Laid) -> Revisions:
    """What the API deletes by."""
    ports, images = kept.cloud.platform, store_of(kept.cloud, reader_of(kept.surroundings.variables))
    return Revisions(ports.blobs, ports.records, ports.clock, images)


class Killed(BaseException):
    """The process ends here; nothing catches it, as nothing catches the end of a process."""


@pytest.fixture
def kill(kept: Laid, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], None]:
    """Let the process end at the nth thing it does to the outside from now on, before or after it is done."""
    at: dict[str, Any] = {"turn": 0, "is_after": False, "count": count(1)}
    outside = (
        (kept.cloud.platform.records, "commit"),
        (kept.cloud.platform.blobs, "delete"),
        (kept.cloud.images.erasing._imaging, "delete_image_set"),
    )

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            is_now = next(at["count"]) == at["turn"]
            if is_now and not at["is_after"]:
                raise Killed
            answer = work(*args, **kwargs)
            if is_now:
                raise Killed
            return answer

        return call

    for owner, name in outside:
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))

    def arm(turn: int, is_after: bool) -> None:
        at.update(turn=turn, is_after=is_after, count=count(1))

    return arm


@pytest.mark.parametrize("number", [MANY, pytest.param(VERY_MANY, marks=pytest.mark.slow)])
def test_a_long_series_is_gone_at_once_and_nothing_of_it_is_left_after_its_job(
    surroundings: Environment, number: int
) -> None:
    kept = laid(surroundings, slices(number, next(PATIENTS)))
    with pytest.raises(Conflict):
        kept.cloud.images.erasing.run(kept.identity)  # it has not been deleted
    assert len(kept.shown()) == SHOWN
    surroundings.announced()
    assert kept.delete() == 204
    assert kept.shown() == []
    assert kept.left()
    assert kept.delete() == 404
    messages = kept.messages()
    for _ in range(2):  # a message may come twice
        assert served(lambdas.study_assembly({"Records": messages}, CONTEXT)) == []
    assert kept.left() == []
    assert kept.state() == "DELETED"
    assert kept.deletions() == 1
    assert kept.cloud.platform.records.get(TOMBSTONES, kept.identity) is not None
    kept.cloud.platform.bus.route()
    assert surroundings.announced() == []
    assert kept.shown() == []


@pytest.mark.parametrize("is_after", [False, True])
def test_killed_at_everything_it_does_it_shows_nothing_and_goes_on(
    kept: Laid, kill: Callable[[int, bool], None], is_after: bool
) -> None:
    assert kept.delete() == 204
    kills = 0
    for turn in range(200):
        kill(turn % 12 + 1, is_after)  # ten originals and their change are eleven
        try:
            kept.cloud.images.erasing.run(kept.identity)
        except Killed:
            kills += 1
            assert kept.ask(f"/api/v1/image-sets/{kept.identity}")["statusCode"] == 404
            continue
        break
    kill(0, False)
    kept.cloud.images.erasing.run(kept.identity)
    assert 10 < kills < 200
    assert kept.left() == []
    assert kept.state() == "DELETED"
    assert kept.deletions() == 1


@pytest.mark.parametrize("is_after", [False, True])
def test_killed_at_its_first_change_everything_or_nothing_is_seen(
    kept: Laid, kill: Callable[[int, bool], None], is_after: bool
) -> None:
    kill(1, is_after)
    with pytest.raises(Killed):
        revisions(kept).delete(kept.identity, by=OWNER)
    kill(0, False)
    assert (len(kept.shown()), kept.deletions(), len(kept.jobs())) == ((0, 1, 1) if is_after else (SHOWN, 0, 0))
    assert kept.delete() == (404 if is_after else 204)
    assert kept.deletions() == 1


def test_a_call_of_the_job_ends_after_a_while_and_the_next_goes_on(kept: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_MOST_A_CALL", 10)
    kept.delete()
    parts = []
    while jobs := kept.jobs():
        for job in jobs:
            parts.append(job["payload"]["part"])
            kept.cloud.images.erasing.run(**job["payload"])
    assert parts == [0, 1, 2]
    assert kept.left() == []


def test_records_too_long_for_one_change_go_in_several(kept: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_TOGETHER", 64)
    kept.delete()
    kept.cloud.images.erasing.run(kept.identity)
    assert kept.left() == []


def test_the_same_files_wait_for_the_deletion_and_are_a_new_image_set_then(kept: Laid) -> None:
    kept.delete()
    with pytest.raises(Unavailable):
        kept.cloud.images.land([Upload(kept.files[0])], by=OWNER)
    kept.cloud.images.erasing.run(kept.identity)
    again = laid(kept.surroundings, kept.files)
    assert again.identity != kept.identity
    assert len(again.shown()) == SHOWN
    assert kept.ask(f"/api/v1/image-sets/{kept.identity}")["statusCode"] == 404


def test_an_import_that_is_told_of_again_brings_nothing_back(kept: Laid) -> None:
    kept.delete()
    for _ in range(2):
        assert kept.cloud.images.take_up(kept.job, by=OWNER) is None
        assert kept.shown() == []
        kept.cloud.images.erasing.run(kept.identity)
        assert kept.left() == []


def test_layers_that_are_being_written_meanwhile_go_too(kept: Laid, refusing: None) -> None:
    row = kept.cloud.platform.records.get(IMAGE_SETS, kept.identity)
    assert row is not None
    work, payload = lambdas._layers(), {**layers_asked_for(image_set_of(row)).payload, "piece": "0"}
    for key in list(kept.cloud.platform.blobs.keys("stream/")):
        kept.cloud.platform.blobs.delete(key)

    def opened(image_set: ImageSet) -> Written:
        written = work.opened(image_set)
        kept.delete()
        with pytest.raises(Unavailable):  # all but HealthImaging's own is gone, which still gives frames
            kept.cloud.images.erasing.run(kept.identity)
        return written

    replace(work, opened=opened).run(payload)
    assert kept.left() == []


def test_what_healthimaging_refuses_to_delete_is_tried_again(kept: Laid, refusing: None) -> None:
    kept.delete()
    with pytest.raises(Unavailable):
        kept.cloud.images.erasing.run(kept.identity)
    assert (kept.left(), kept.state()) == ([], "ACTIVE")
    kept.cloud.images.erasing.run(kept.identity)
    assert kept.state() == "DELETED"


# What else hangs on it


def hang(kept: Laid) -> list[str]:
    """A record in every table that goes, and copies of pixels as a run leaves them; the keys of these."""
    platform, identity = kept.cloud.platform, kept.identity
    for table, fate in TABLES.items():
        if fate == Goes(By.COLUMN) and not platform.records.find(table, {"image_set": identity}, limit=1):
            platform.records.commit(Change([Put(table, f"{identity}/1", {"a": identity}, {"image_set": identity})]))
        if fate == Goes(By.KEY):
            platform.records.commit(Change([Put(table, identity, {"maps": "m" * 900_000})]))
        if fate == Goes(By.RESOURCE):
            platform.records.commit(Change([Put(table, resource_of(kept.image_set.datastore, identity), {"tags": {}})]))
    run, dataset = f"run-{identity}", f"training-data/snapshots/{identity[::-1]}"
    line = json.dumps({"image_set": identity}).encode() + b"\n"
    writes = opening(
        run, parameters={"DatasetUri": f"s3://{dataset}"}, definition={}, steps=[], at=datetime.now(UTC), trace=""
    )
    platform.records.commit(Change(writes))
    report, manifest = f"model-artifacts/models/{run}/report.html", f"{dataset}/manifest.jsonl"
    copies = [f"{dataset}/images/{identity}.npy", f"preprocessed-data/{run}/train/images/{identity}.npy"]
    copies += [f"model-artifacts/models/{run}/pictures/{identity}.png", report]
    for key, data in ((manifest, line), *((key, b"pixels") for key in copies)):
        platform.blobs.put(key, data)
    return copies


def test_everything_that_hangs_on_it_goes_with_it(kept: Laid) -> None:
    copies, blobs = hang(kept), kept.cloud.platform.blobs
    gone = {table.name for table, fate in TABLES.items() if isinstance(fate, Goes)}
    assert {each.split(" ")[0] for each in kept.left()} >= gone
    assert kept.delete() == 204
    for job in kept.jobs():
        kept.cloud.images.erasing.run(**job["payload"])
    assert kept.left() == []
    assert not set(blobs.keys("")) & set(copies)


def test_what_a_run_copied_meanwhile_goes_when_it_ends(kept: Laid) -> None:
    copies, platform = hang(kept), kept.cloud.platform
    kept.delete()
    kept.cloud.images.erasing.run(kept.identity)
    for key in copies:
        platform.blobs.put(key, b"written by a step that had read it before")
    (run,) = [row.key for row in platform.records.find(EXECUTIONS) if kept.identity in row.key]
    assert discard_deleted(platform.blobs, platform.records, run) == 3
    assert kept.left() == []
    assert discard_deleted(platform.blobs, platform.records, run) == 0


def test_what_a_model_was_about_to_say_is_kept_nowhere(kept: Laid) -> None:
    records, image_set = kept.cloud.platform.records, kept.image_set
    beside = [put_observation(said(image_set, 1, CHAMPION)), Put(SALIENCY, image_set.id, {"maps": None})]
    hidden = put_observation(said(image_set, 2, SHADOW))
    keep_prediction(records, image_set.id, {}, version=image_set.version, by=PREDICTOR, beside=beside)
    keep_beside(records, image_set, [hidden])
    assert records.count(PREDICTIONS, {"image_set": image_set.id}) == 2
    kept.delete()
    for _ in range(2):  # before the job and after it
        with pytest.raises(NotFound):
            keep_prediction(records, image_set.id, {}, version=image_set.version, by=PREDICTOR, beside=beside)
        with pytest.raises(NotFound):
            keep_beside(records, image_set, [hidden])
        kept.cloud.images.erasing.run(kept.identity)
        assert kept.left() == []


def said(image_set: ImageSet, model_version: int, role: str) -> Observation:
    now = datetime.now(UTC).isoformat()
    return Observation(
        image_set.id, 1, "1-1-1", model_version, role, "p" * 32, 0.5, 0.5, None, 0.1, {}, bytes(64), bytes(60), now
    )
