"""Deleting an image set on AWS: it is gone with one small change, and a job takes away what hung on it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest

from radloop import lambdas
from radloop.aws import erasing
from radloop.aws.served import HealthImagingStore
from radloop.core.errors import Conflict, Unavailable
from radloop.core.identity import OWNER
from radloop.core.images import ImageSet
from radloop.core.ports import Upload
from radloop.core.tables import ARRIVALS, IMAGE_SETS, INSTANCES, STUDIES, TOMBSTONES, image_set_of
from radloop.dicom.parse import parse
from radloop.dicom.phantom import phantom_study
from radloop.security.identities import Identities
from radloop.store.erasing import KIND
from radloop.store.layers import asked_for as layers_asked_for
from radloop.store.revisions import Revisions
from radloop.streaming.layers import Written
from radloop.wiring_aws import Cloud, frames_of, reader_of
from tests.aws.emulators import client
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.faults import client_with, refuse
from tests.aws.test_doors import body_of, request
from tests.aws.test_lambdas import assemble, ended, served
from tests.aws.test_layers import worked

FEW, MANY = 20, 70
"""Slices: both more than one change of DynamoDB can delete; many have two pieces of static layers."""

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

    def jobs(self) -> list[dict[str, Any]]:
        """Jobs that delete, as they wait in their lane."""
        self.cloud.jobs.relay()
        found = [json.loads(each["body"]) for each in self.surroundings.messages("assembly")]
        return [each for each in found if each["kind"] == KIND]

    def left(self) -> list[str]:
        """Records and objects that are still there of it, but for what tells that it was."""
        names = [self.identity, self.study, self.series, *(parse(each).sop_uid for each in self.files)]
        table = client(self.surroundings.address, "dynamodb").get_paginator("scan")
        pages = table.paginate(TableName=self.surroundings.variables["DYNAMODB_TRACKING_TABLE"], ConsistentRead=True)
        keys = [f"{item['pk']['S']} {item['sk']['S']}" for page in pages for item in page["Items"]]
        told = ("tombstones", "audit", "events", "jobs", "deliveries")
        records = self.cloud.platform.records
        found = [key for key in keys if any(name in key for name in names) and not _is_of(key, told)]
        found += [table.name for table in (IMAGE_SETS, INSTANCES, ARRIVALS, STUDIES) if records.count(table)]
        blobs = self.cloud.platform.blobs
        found += [*blobs.keys("stream/"), *blobs.keys("archive/")]
        return found + [key for key in blobs.keys("training-data/") if any(name in key for name in names)]

    def state(self) -> str:
        """The state of HealthImaging's own image set."""
        where = {"datastoreId": self.surroundings.datastore, "imageSetId": self.identity}
        return str(self.surroundings.imaging.get_image_set(**where)["imageSetState"])

    def deletions(self) -> int:
        entries = self.cloud.audit.entries(limit=100_000)
        return sum(each.action == "delete" and each.subject == self.identity for each in entries)


def _is_of(key: str, tables: tuple[str, ...]) -> bool:
    return any(table in key.split(" ", maxsplit=1)[0] for table in tables)


def slices(number: int) -> tuple[bytes, ...]:
    """Small slices of one series; beyond a few of a phantom, copies of the first under UIDs of their own."""
    first = phantom_study(11, consolidated=False, slices=FEW, size=32).files
    template, uid = first[0], parse(first[0]).sop_uid.encode()
    more = range(10_000, 10_000 + number - FEW)
    return (*first, *(template.replace(uid, uid[:-5] + f"{each:05d}".encode()) for each in more))


def laid(surroundings: Environment, files: tuple[bytes, ...]) -> Laid:
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
    (row,) = cloud.platform.records.find(IMAGE_SETS)
    worked(surroundings)
    identities = Identities(cloud.platform.records, cloud.platform.keys, cloud.platform.clock, roles=OWNER.roles)
    token = identities.create_credential(roles=frozenset({"reader", "admin"}), patients=None, by=OWNER).token
    image_set = image_set_of(row)
    return Laid(surroundings, row.key, image_set.study_uid, image_set.series_uid, files, job, token)


def _imports(surroundings: Environment) -> list[dict[str, Any]]:
    return list(surroundings.imaging.list_dicom_import_jobs(datastoreId=surroundings.datastore)["jobSummaries"])


@pytest.fixture
def surroundings(healthimaging_url: str, ministack: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.1, backoff_s=0.01) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.address)
        yield made


@pytest.fixture
def kept(surroundings: Environment) -> Laid:
    return laid(surroundings, slices(FEW))


@pytest.fixture
def refusing(kept: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    """HealthImaging is at work on the image set and refuses its deletion once."""
    url = kept.surroundings.variables["AWS_ENDPOINT_URL_MEDICAL_IMAGING"]
    faults = [refuse("ConflictException", status=409)]
    imaging = client_with(url, "medical-imaging", "DeleteImageSet", faults)
    monkeypatch.setattr(kept.cloud.images.erasing, "_imaging", imaging)


def revisions(kept: Laid) -> Revisions:
    """What the API deletes by."""
    ports, frames = kept.cloud.platform, frames_of(reader_of(kept.surroundings.variables))
    images = HealthImagingStore(
        ports.blobs, ports.records, ports.keys, ports.clock, images=kept.cloud.images, frames=frames
    )
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


@pytest.mark.parametrize("number", [MANY, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_long_series_is_gone_at_once_and_nothing_of_it_is_left_after_its_job(
    surroundings: Environment, number: int
) -> None:
    kept = laid(surroundings, slices(number))
    with pytest.raises(Conflict):
        kept.cloud.images.erasing.run(kept.identity)  # it has not been deleted
    assert len(kept.shown()) == SHOWN
    surroundings.announced()
    assert kept.delete() == 204
    assert kept.shown() == []
    assert kept.left()
    assert kept.delete() == 404
    kept.cloud.jobs.relay()
    messages = surroundings.messages("assembly")
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
