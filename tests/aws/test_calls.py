"""What a door asks of AWS does not grow with the slices of a series, and it says the same as a machine of one's own."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from radloop import doors_aws, lambdas
from radloop.core.identity import OWNER
from radloop.core.images import ImageSet
from radloop.security.identities import Identities
from radloop.store.images import ImageStore
from radloop.store.revisions import Revisions
from radloop.wiring_aws import reader_of, store_of
from tests.aws.calls import counted
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.test_deletion import imported
from tests.aws.test_doors import NAME, body_of, request
from tests.store.house import now, open_house, slices

MANY, MORE = 70, 240


@dataclass(frozen=True)
class Series:
    """A series of an environment, and who reads it."""

    surroundings: Environment
    image_set: ImageSet
    files: tuple[bytes, ...]
    token: str

    @property
    def path(self) -> str:
        return f"/dicomweb/studies/{self.image_set.study_uid}/series/{self.image_set.series_uid}"

    def ask(self, path: str, **headers: str) -> Any:
        told = request(path, token=self.token)
        told["headers"] |= headers
        return lambdas.api(told, CONTEXT)

    def metadata(self) -> bytes:
        """As a function tells it that has just started."""
        lambdas._application.cache_clear()
        answer = self.ask(f"{self.path}/metadata", **{"accept-encoding": "gzip"})
        assert (answer["statusCode"], answer["headers"]["content-encoding"]) == (200, "gzip")
        return gzip.decompress(body_of(answer))


@pytest.fixture(scope="module")
def laid_out(healthimaging_url: str, ministack: str) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.1, backoff_s=0.01) as made:
        yield made


@pytest.fixture(scope="module")
def series_of(laid_out: Environment) -> Callable[[int, int], Series]:
    def made(number: int, patient: int) -> Series:
        files = slices(number, patient)
        image_set, _ = imported(laid_out, files)
        ports = laid_out.cloud.platform
        identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
        token = identities.create_credential(roles=frozenset({"reader", "admin"}), patients=None, by=OWNER).token
        return Series(laid_out, image_set, files, token)

    return made


@pytest.fixture(scope="module")
def many(series_of: Callable[[int, int], Series]) -> Series:
    return series_of(MANY, 11)


@pytest.fixture(scope="module")
def more(series_of: Callable[[int, int], Series]) -> Series:
    return series_of(MORE, 13)


def unchanged(images: ImageStore, revisions: Revisions, identity: str) -> None:
    """As the files came."""


def changed(images: ImageStore, revisions: Revisions, identity: str) -> None:
    """Another name of the patient, a comment on one instance, and another one taken out."""
    _, seen, gone, *_ = (one.sop_uid for one in images.instances(identity))
    series = images.get(identity).series_uid
    for updating, removing in (
        ({"Patient": {"DICOM": {"PatientName": "Another^Name"}}}, None),
        ({"Study": {"Series": {series: {"Instances": {seen: {"DICOM": {"ImageComments": "seen"}}}}}}}, None),
        (None, {"Study": {"Series": {series: {"Instances": {gone: {}}}}}}),
    ):
        revisions.update(
            identity,
            updating=as_bytes(updating),
            removing=as_bytes(removing),
            expected=images.get(identity).version,
            by=OWNER,
        )


def as_bytes(told: Mapping[str, Any] | None) -> bytes | None:
    return None if told is None else json.dumps({"SchemaVersion": "1.1", **told}).encode()


def told_by_one_machine(
    root: Path, files: tuple[bytes, ...], change: Callable[[ImageStore, Revisions, str], None]
) -> bytes:
    """The same files with the same change at the same address, in a store of our own."""
    with open_house(root) as house:
        identity = house.land_one_set(*files)
        house.images.complete(identity, by=OWNER)
        change(house.images, Revisions(house.blobs, house.records, now, house.images), identity)
        image_set = house.images.get(identity)
        place = f"https://{NAME}/dicomweb/studies/{image_set.study_uid}/series/{image_set.series_uid}/instances"
        texts = house.images.documents(identity, lambda uid: f"{place}/{uid}/bulkdata")
        for one, text in zip(house.images.instances(identity), texts, strict=True):
            uri = partial("{}/{}/bulkdata/{}".format, place, one.sop_uid)
            assert json.loads(text) == house.images.document(one, uri)
        return b"[%s]" % b",".join(texts)


def test_metadata_of_many_slices_ask_aws_no_more_often_than_of_few(many: Series, more: Series) -> None:
    asked = []
    for series in (many, more):
        first = series.metadata()
        assert len(json.loads(first)) == len(series.files)
        with counted() as calls:
            assert series.metadata() == first
        asked.append(calls)
    few, lots = asked
    assert lots.keys() == few.keys()
    assert lots.total() <= few.total() + 2  # a page more of an audit that is long
    assert lots["S3 get_range"] == 1


def test_the_first_to_ask_for_metadata_reads_each_original_once_and_its_records_together(
    series_of: Callable[[int, int], Series],
) -> None:
    series = series_of(MANY, 17)
    with counted() as calls:
        series.metadata()
    assert calls["S3 get_range"] == MANY
    assert calls["BatchGetItem"] + calls["Query"] < MANY / 2


def test_both_substrates_tell_the_same_metadata(many: Series, tmp_path: Path) -> None:
    assert many.metadata() == told_by_one_machine(tmp_path / "as-it-came", many.files, unchanged)
    ports = many.surroundings.cloud.platform
    images = store_of(many.surroundings.cloud, reader_of(many.surroundings.variables))
    changed(images, Revisions(ports.blobs, ports.records, ports.clock, images), many.image_set.id)
    told = many.metadata()
    assert told == told_by_one_machine(tmp_path / "changed", many.files, changed)
    assert (told.count(b"Another^Name"), told.count(b'"seen"')) == (MANY - 1, 1)


def test_metadata_that_lambda_cannot_carry_are_refused_with_what_to_do(
    more: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    more.metadata()
    monkeypatch.setattr(doors_aws, "LONGEST_ANSWER", 100_000)
    plain = more.ask(f"{more.path}/metadata")
    assert plain["statusCode"] == 413
    assert "Accept-Encoding: gzip" in json.loads(body_of(plain))["error"]["message"]
    assert more.ask(f"{more.path}/metadata", **{"accept-encoding": "gzip"})["statusCode"] == 200
    monkeypatch.setattr(doors_aws, "LONGEST_ANSWER", 100)
    small = more.ask(f"{more.path}/metadata", **{"accept-encoding": "gzip"})
    assert small["statusCode"] == 413
    assert "one instance at a time" in json.loads(body_of(small))["error"]["message"]


def test_a_search_for_whole_headers_asks_aws_no_more_often_for_a_page_of_many(
    series_of: Callable[[int, int], Series], tmp_path: Path
) -> None:
    series = series_of(MANY, 19)
    search = f"{series.path}/instances?includefield=all"
    by_originals = series.ask(f"{search}&limit=5")
    assert len(json.loads(body_of(by_originals))) == 5
    series.metadata()
    totals = []
    for limit in (5, MANY):
        with counted() as calls:
            found = json.loads(body_of(series.ask(f"{search}&limit={limit}")))
        assert found[:5] == json.loads(body_of(by_originals))
        assert len(found) == limit
        totals.append(calls.total())
    assert totals[1] <= totals[0]
    with open_house(tmp_path) as house:
        identity = house.land_one_set(*series.files)
        for one in house.images.instances(identity):
            told = house.images.headers(identity, [one.id])[one.id]
            assert told == house.images.document(one)


def test_files_that_lambda_cannot_carry_are_refused_before_one_is_read(
    more: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(map(len, more.files))
    kind = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    for longest, status in ((size - 1, 413), (2 * size, 200)):
        monkeypatch.setattr(doors_aws, "LONGEST_ANSWER", longest)
        lambdas._application.cache_clear()
        with counted() as calls:
            answer = more.ask(more.path, accept=kind)
        assert (answer["statusCode"], calls["S3 get"]) == (status, 0 if status == 413 else MORE)
    lambdas._application.cache_clear()
