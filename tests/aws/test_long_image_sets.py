"""An image set of many slices on AWS: a change holds 99 items there, and HealthImaging keeps what is shown."""

import gzip
import hashlib
import json
from collections.abc import Iterator

import pytest

from radloop import lambdas
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Delete
from radloop.core.tables import DEFAULT_DATASTORE, FRAME_FACTS, METADATA
from radloop.security.identities import Identities
from radloop.wiring_aws import reader_of, store_of
from tests.aws.environment import CONTEXT, environment
from tests.aws.test_deletion import imported
from tests.aws.test_doors import body_of, request
from tests.contracts.image_sets import SLICES, Killed, Long, LongImageSetContract, kill_at
from tests.store.house import slices


@pytest.fixture(scope="module")
def long(healthimaging_url: str, ministack: str) -> Iterator[Long]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.1, backoff_s=0.01) as made:
        files = slices(SLICES)
        image_set, _ = imported(made, files)
        ports, images = made.cloud.platform, store_of(made.cloud, reader_of(made.variables))
        yield Long(images, ports.blobs, ports.records, ports.keys, ports.clock, image_set.id, files)


def test_what_healthimaging_tells_is_what_the_originals_tell(long: Long, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is measured where HealthImaging did; where it does not say, facts are kept in several changes."""
    after = long.rename("Told^Twice")
    assert not long.records.count(FRAME_FACTS)
    with monkeypatch.context() as patch:
        patch.setattr(long.images, "described", lambda _: {})
        kill_at(patch, long.records, 4)  # 110 and 55 at once are too many, 27 are not
        with pytest.raises(Killed):
            long.metadata.document(after)
    assert 0 < long.records.count(FRAME_FACTS) < SLICES
    with monkeypatch.context() as patch:
        patch.setattr(long.images, "described", lambda _: {})
        by_originals = long.metadata.document(after)
    assert long.records.count(FRAME_FACTS) == SLICES
    long.records.commit(Change([Delete(METADATA, f"{after.id}/{after.version:08d}")]))
    assert gzip.decompress(long.metadata.document(after)) == gzip.decompress(by_originals)


def test_the_door_behind_api_gateway_tells_its_metadata_and_refuses_to_copy_it(long: Long) -> None:
    identities = Identities(long.records, long.keys, long.clock, roles=OWNER.roles)
    token = identities.create_credential(roles=frozenset({"reader", "admin"}), patients=None, by=OWNER).token
    place = f"/datastore/{DEFAULT_DATASTORE}/imageSet/{long.identity}"
    told = lambdas.api(request(f"{place}/getImageSetMetadata", token=token, method="POST"), CONTEXT)
    assert told["statusCode"] == 200
    assert gzip.decompress(body_of(told)) == gzip.decompress(long.metadata.document(long.now))
    wanted = json.dumps({"sourceImageSet": {"latestVersionId": str(long.now.version)}}).encode()
    told = lambdas.api(request(f"{place}/copyImageSet", token=token, method="POST", body=wanted), CONTEXT)
    assert (told["statusCode"], told["headers"]["x-amzn-errortype"]) == (400, "ValidationException")
    assert "kept by another store" in json.loads(body_of(told))["message"]


def test_a_header_is_the_file_but_for_its_pixels(long: Long) -> None:
    one, *_ = long.images.instances(long.identity)
    assert one.pixel_span is not None
    (file,) = (data for data in long.files if hashlib.sha256(data).hexdigest() == one.digest)
    start, length = one.pixel_span
    assert long.images.header(one) == file[:start] + bytes(length) + file[start + length :] != file


class TestLongImageSetsOnAws(LongImageSetContract):
    copies = False
    is_bounded = True
