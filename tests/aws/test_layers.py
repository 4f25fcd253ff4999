"""Static layers on AWS: from an import to files in the bucket `stream`, and the address that opens them."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pytest

from radloop import lambdas, layers_aws
from radloop.codec.htj2k import decode
from radloop.core.errors import ChecksumMismatch
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Delete, Upload
from radloop.core.tables import IMAGE_SETS, image_set_of
from radloop.dicom.parse import parse
from radloop.security.identities import Identities
from radloop.store.folding import fold_file, pixels_of
from radloop.store.layers import LayersPlace, asked_for
from radloop.store.opened import current_instances
from radloop.streaming.layers import Layers
from radloop.wiring_aws import Cloud, frames_of, reader_of
from tests.api.test_stream import MANY, Index, records
from tests.aws.emulators import client, unique
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.test_doors import body_of, request
from tests.aws.test_lambdas import assemble, ended
from tests.security.test_edge import URL, opens, pem_of, rsa_key


@dataclass(frozen=True)
class Imported:
    """An environment with one image set of two pieces, whose layers stand."""

    surroundings: Environment
    identity: str
    token: str
    runs: int

    @property
    def place(self) -> LayersPlace:
        return LayersPlace(self.identity, 1)

    @property
    def cloud(self) -> Cloud:
        return self.surroundings.cloud

    def files(self) -> dict[str, bytes]:
        return {key: self.cloud.platform.blobs.get(key) for key in self.cloud.platform.blobs.keys("stream/")}

    def get(self, path: str, **headers: str) -> Any:
        return lambdas.api(request(path, token=self.token, **headers), CONTEXT)

    def originals(self) -> list[bytes]:
        """The files as they were put in, in the order of the frames."""
        by_uid = {parse(data).sop_uid: data for data in MANY.files}
        return [by_uid[one.sop_uid] for one in current_instances(self.cloud.platform.records, self.identity)]


def worked(surroundings: Environment) -> int:
    """Wake stream-layers by its queue until nothing waits; how often."""
    runs = 0
    while messages := surroundings.messages("stream", most=1):
        assert lambdas.stream_layers({"Records": messages}, CONTEXT) == {"batchItemFailures": []}
        runs += 1
    return runs


@pytest.fixture(scope="module")
def imported(healthimaging_url: str, ministack: str) -> Iterator[Imported]:
    with (
        environment(ministack, healthimaging_url, study_quiet_s=0.1) as surroundings,
        pytest.MonkeyPatch.context() as v,
    ):
        secret = client(ministack, "secretsmanager").create_secret(
            Name=unique("stream-signing"), SecretString=pem_of(rsa_key()).decode()
        )
        v.setenv("RADLOOP_STREAM_URL", URL)
        v.setenv("RADLOOP_STREAM_KEY_ID", "K2EXAMPLE")
        v.setenv("RADLOOP_STREAM_SECRET", secret["ARN"])
        cloud = surroundings.cloud
        cloud.images.land([Upload(data) for data in MANY.files], by=OWNER)
        cloud.platform.bus.route()
        cloud.jobs.relay()
        assemble(surroundings)
        (job,) = ended(surroundings)
        cloud.images.take_up(job, by=OWNER)
        cloud.jobs.relay()
        (row,) = cloud.platform.records.find(IMAGE_SETS)
        ports = cloud.platform
        identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
        token = identities.create_credential(roles=frozenset({"reader"}), patients=None, by=OWNER).token
        yield Imported(surroundings, row.key, token, worked(surroundings))


@pytest.fixture(autouse=True)
def at_the_emulator(imported: Imported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", imported.surroundings.address)


def test_an_import_becomes_files_piece_by_piece(imported: Imported) -> None:
    assert imported.runs == 4, "one that asks for the pieces, two pieces, and the end"
    place = imported.place
    packs = {place.frames(0), place.frames(1), place.previews(0), place.previews(1)}
    assert imported.files().keys() == {place.index, *packs}


def test_every_frame_is_the_slice_that_was_put_in_and_the_bytes_that_the_api_gives(imported: Imported) -> None:
    files, place = imported.files(), imported.place
    index = Index.read(gzip.decompress(files[place.index]))
    assert index.told["static"]["frames"] == 64
    previews = {each.frame: each.data for pack in (0, 1) for each in records(files[place.previews(pack)])}
    originals = imported.originals()
    for pack in (0, 1):
        lengths = [int(each) for each in index.full[64 * pack : 64 * (pack + 1)]]
        for number, end in enumerate(accumulate(lengths), start=64 * pack):
            full = files[place.frames(pack)][end - int(index.full[number]) : end]
            original = originals[number]
            assert (decode(full) == pixels_of(original, parse(original), 0)).all(), number
            assert previews[number] == fold_file(original, "").frames[0].preview, "as the embedded store makes it"
            assert index.preview[number] == len(previews[number])
    for number in (0, 63, 64, 69):
        answer = imported.get(f"/api/v1/image-sets/{imported.identity}/frames/{number}")
        start = int(index.full[64 * (number // 64) : number].sum())
        assert body_of(answer) == files[place.frames(number // 64)][start : start + int(index.full[number])]


def test_s3_tells_cloudfront_that_packs_never_change(imported: Imported) -> None:
    s3 = client(imported.surroundings.address, "s3")
    for key in imported.files():
        told = s3.head_object(Bucket=imported.surroundings.buckets["stream"], Key=key.removeprefix("stream/"))
        assert told["CacheControl"] == "public, max-age=31536000, immutable"
        assert told["ContentType"] == "application/octet-stream"
        assert told.get("ContentEncoding", "") == ("gzip" if key.endswith("/index") else "")
    blob = "stream/other"
    imported.cloud.platform.blobs.put(blob, b"x")
    told = s3.head_object(Bucket=imported.surroundings.buckets["stream"], Key="other")
    assert "CacheControl" not in told
    imported.cloud.platform.blobs.delete(blob)


def test_the_api_answers_the_stored_index_and_an_address_that_is_signed(imported: Imported) -> None:
    answer = imported.get(f"/stream/v1/{imported.identity}/index")
    assert answer["statusCode"] == 200, body_of(answer)
    index = Index.read(gzip.decompress(body_of(answer)))
    stored = Index.read(gzip.decompress(imported.files()[imported.place.index]))
    assert index.full.all()
    assert index.preview.all()
    assert (index.ends == stored.ends).all()
    assert index.told["static"] == stored.told["static"]
    address = answer["headers"]["x-radloop-packs"]
    now = imported.cloud.platform.clock()
    assert address.startswith(f"{URL}/{imported.identity}/1/?")
    assert opens(address, "frames/0", now)
    assert not opens(address, f"{URL}/{imported.identity}/2/frames/0", now)
    assert not opens(address, f"{URL}/{'0' * 32}/1/frames/0", now)
    assert not opens(address, "frames/0", now.replace(year=now.year + 1))
    audit = imported.cloud.platform.audit.entries(where={"action": "link.create", "subject": imported.identity})
    assert len(audit) == 1


def test_the_index_takes_one_read_and_no_row_of_an_instance(
    imported: Imported, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported.get(f"/stream/v1/{imported.identity}/index")
    lambdas._application.cache_clear()
    from radloop.store import opened

    def forbidden(*_: Any) -> None:
        raise AssertionError("the instances were read")

    monkeypatch.setattr(opened, "current_instances", forbidden)
    assert imported.get(f"/stream/v1/{imported.identity}/index")["statusCode"] == 200
    assert imported.get(f"/stream/v1/{imported.identity}/packs/1?v=1")["statusCode"] == 200
    lambdas._application.cache_clear()


def test_packs_of_previews_come_through_the_api_too(imported: Imported) -> None:
    files = imported.files()
    for pack in (0, 1):
        answer = imported.get(f"/stream/v1/{imported.identity}/packs/{pack}?v=1")
        assert body_of(answer) == files[imported.place.previews(pack)]
    assert imported.get(f"/stream/v1/{imported.identity}/packs/2?v=1")["statusCode"] == 404


def test_who_may_not_see_the_patient_gets_no_address(imported: Imported) -> None:
    ports = imported.cloud.platform
    identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
    stranger = identities.create_credential(roles=frozenset({"reader"}), patients=frozenset({"X"}), by=OWNER).token
    answer = replace(imported, token=stranger).get(f"/stream/v1/{imported.identity}/index")
    assert answer["statusCode"] == 404
    assert "x-radloop-packs" not in answer["headers"]


def test_frames_come_out_of_healthimaging_and_not_out_of_the_archive(imported: Imported) -> None:
    """What it keeps losslessly is image/jph; to make it of the original again costs a second a megabyte."""
    found = frames_of(reader_of(imported.surroundings.variables))(imported.identity, *first_of(imported))
    answer = imported.get(f"/api/v1/image-sets/{imported.identity}/frames/0")
    assert found == body_of(answer)


def first_of(imported: Imported) -> tuple[str, int]:
    return current_instances(imported.cloud.platform.records, imported.identity)[0].sop_uid, 0


def test_a_message_that_comes_again_changes_nothing(imported: Imported) -> None:
    before = imported.files()
    work = lambdas._layers()
    image_set = image_set_of(imported.cloud.platform.records.get(IMAGE_SETS, imported.identity))  # type: ignore[arg-type]
    for piece in (None, "0", "1", "end"):
        payload = dict(asked_for(image_set).payload)
        work.run(payload if piece is None else {**payload, "piece": piece})
    assert worked(imported.surroundings) == 0
    assert imported.files() == before


def test_frames_that_are_not_what_healthimaging_says_are_never_laid_down(imported: Imported) -> None:
    reader = reader_of(imported.surroundings.variables)
    metadata = reader.metadata(imported.identity)

    class Lying:
        def metadata(self, _: str) -> Any:
            def lie(frame: Any) -> Any:
                (width, height, crc) = frame.checksums[-1]
                return replace(frame, checksums=((width, height, crc ^ 1),))

            return replace(
                metadata,
                instances=tuple(replace(one, frames=tuple(map(lie, one.frames))) for one in metadata.instances),
            )

        def frames(self, *asked: Any) -> Any:
            return reader.frames(*asked)

    work = layers_aws.work_of(imported.cloud, imported.surroundings.variables, reader=Lying())
    row = imported.cloud.platform.records.get(IMAGE_SETS, imported.identity)
    assert row is not None
    blobs = imported.cloud.platform.blobs
    with pytest.raises(ChecksumMismatch):
        Layers(blobs, "stream/lies/").write(work.opened(image_set_of(row)))
    assert list(blobs.keys("stream/lies/")) == []


def test_frames_that_cannot_be_decoded_stand_empty_and_keep_nothing_else_out(imported: Imported) -> None:
    reader = reader_of(imported.surroundings.variables)

    class Damaged:
        def metadata(self, identity: str) -> Any:
            return reader.metadata(identity)

        def frames(self, *asked: Any) -> Iterator[Any]:
            for place, frame in enumerate(reader.frames(*asked)):
                yield replace(frame, data=frame.data[:40]) if place == 1 else frame

    work = layers_aws.work_of(imported.cloud, imported.surroundings.variables, reader=Damaged())
    row = imported.cloud.platform.records.get(IMAGE_SETS, imported.identity)
    assert row is not None
    blobs, root = imported.cloud.platform.blobs, "stream/damaged/"
    Layers(blobs, root).write(work.opened(image_set_of(row)))
    index = Index.read(gzip.decompress(blobs.get(LayersPlace(imported.identity, 1, root).index)))
    assert [int(each) for each in (index.full == 0).nonzero()[0]] == [1, 65]
    assert [int(each) for each in (index.preview == 0).nonzero()[0]] == [1, 65]
    for key in list(blobs.keys(root)):
        blobs.delete(key)


def test_without_layers_the_api_answers_as_it_did_and_asks_for_them(imported: Imported) -> None:
    blobs = imported.cloud.platform.blobs
    before = imported.files()
    for key in before:
        blobs.delete(key)
    lambdas._application.cache_clear()
    answer = imported.get(f"/stream/v1/{imported.identity}/index")
    index = Index.read(gzip.decompress(body_of(answer)))
    assert "x-radloop-packs" not in answer["headers"]
    assert "static" not in index.told
    assert not index.full.any()
    body = request(
        f"/stream/v1/{imported.identity}/frames",
        token=imported.token,
        method="POST",
        body=b"0:0:0",
        **{"content-type": "text/plain"},
    )
    (record,) = records(body_of(lambdas.api(body, CONTEXT)))
    assert decode(record.data).shape == (32, 32)
    for key, data in before.items():
        blobs.put(key, data)
    lambdas._application.cache_clear()


def test_layers_of_an_image_set_that_is_gone_go_with_the_next_message(imported: Imported) -> None:
    imported.cloud.platform.records.commit(Change([Delete(IMAGE_SETS, imported.identity)]))
    lambdas._layers().run({"image_set": imported.identity, "version": 1, "piece": "0"})
    assert imported.files() == {}
