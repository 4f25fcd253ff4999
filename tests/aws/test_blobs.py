"""S3 keeps the contract of Blobs; each kind of key has its bucket and its KMS key; nothing is told of what was sent."""

import hashlib
import io

import pytest

from radloop.aws.blobs import S3Blobs
from radloop.core.errors import Denied, InvalidInput, NotFound, Unavailable
from radloop.core.ports import Blobs, Span
from tests.aws.emulators import client, make_bucket, unique
from tests.contracts.blobs import BlobsContract

LONG = 20_000_000


def buckets_of(address: str) -> dict[str, str]:
    return {name: make_bucket(address, unique(name)) for name in ("training-data", "model-artifacts")}


@pytest.fixture
def buckets(ministack: str) -> dict[str, str]:
    return buckets_of(ministack)


@pytest.fixture
def blobs(ministack: str, buckets: dict[str, str]) -> S3Blobs:
    return S3Blobs(client(ministack, "s3"), buckets)


class TestS3BlobsOnMiniStack(BlobsContract):
    @pytest.fixture
    def blobs(self, ministack: str) -> Blobs:
        return S3Blobs(client(ministack, "s3"), buckets_of(ministack))


class TestS3BlobsOnMoto(BlobsContract):
    @pytest.fixture
    def blobs(self, moto_server: str) -> Blobs:
        return S3Blobs(client(moto_server, "s3"), buckets_of(moto_server))


def names(ministack: str, bucket: str) -> list[str]:
    return [each["Key"] for each in client(ministack, "s3").list_objects_v2(Bucket=bucket).get("Contents", ())]


def begun(ministack: str, bucket: str) -> list[str]:
    """Uploads of several parts that were neither ended nor given up."""
    return [each["Key"] for each in client(ministack, "s3").list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


def test_the_first_part_of_a_key_names_its_bucket(ministack: str, blobs: S3Blobs, buckets: dict[str, str]) -> None:
    for key in ("training-data/upload/a", "model-artifacts/v1/model.tar.gz", "image-sets/x/y.pack", "training-data"):
        blobs.put(key, key.encode())
    assert names(ministack, buckets["training-data"]) == [
        "other/image-sets/x/y.pack",
        "other/training-data",
        "upload/a",
    ]
    assert names(ministack, buckets["model-artifacts"]) == ["v1/model.tar.gz"]
    listed = ["image-sets/x/y.pack", "model-artifacts/v1/model.tar.gz", "training-data", "training-data/upload/a"]
    assert list(blobs.keys()) == listed
    assert list(blobs.keys("training-data")) == listed[2:]
    assert list(blobs.keys("m")) == listed[1:2]
    assert [blobs.get(key).decode() for key in listed] == listed


def test_no_key_stands_for_what_another_one_does(blobs: S3Blobs) -> None:
    blobs.put("image-sets/a", b"homeless")
    blobs.put("training-data/other/image-sets/a", b"at home")
    assert blobs.get("image-sets/a") == b"homeless"
    assert list(blobs.keys()) == ["image-sets/a", "training-data/other/image-sets/a"]
    blobs.delete("image-sets/a")
    assert list(blobs.keys("training-data/")) == ["training-data/other/image-sets/a"]


def test_a_value_of_several_parts_is_whole_and_leaves_no_parts_behind(
    ministack: str, blobs: S3Blobs, buckets: dict[str, str]
) -> None:
    piece = bytes(range(250)) * 4000
    with blobs.writer("model-artifacts/long") as writer:
        for _ in range(LONG // len(piece)):
            writer.write(piece)
    assert hashlib.sha256(blobs.get("model-artifacts/long")).digest() == hashlib.sha256(piece * 20).digest()
    assert blobs.get("model-artifacts/long", Span(LONG - 5, LONG + 5)) == piece[-5:]
    head = client(ministack, "s3").head_object(Bucket=buckets["model-artifacts"], Key="long")
    assert head["ETag"].strip('"').endswith("-3"), "it went in three parts"
    with pytest.raises(ZeroDivisionError), blobs.writer("model-artifacts/lost") as writer:
        writer.write(bytes(LONG))
        raise ZeroDivisionError
    assert begun(ministack, buckets["model-artifacts"]) == []


def test_an_upload_that_fails_in_the_middle_leaves_no_parts_behind(
    ministack: str, blobs: S3Blobs, buckets: dict[str, str]
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > LONG // 2:
                raise OSError("the disk is gone")
            return super().read(size)

    bucket = buckets["model-artifacts"]
    with pytest.raises(Unavailable), blobs.writer("model-artifacts/lost") as writer:
        writer.file, writer.length = Failing(bytes(LONG)), LONG
    assert begun(ministack, bucket) == []
    assert list(blobs.keys()) == []
    client(ministack, "s3").create_multipart_upload(Bucket=bucket, Key="by hand")
    assert begun(ministack, bucket) == ["by hand"], "one that is left behind would be seen"


def test_what_is_written_is_sealed_under_the_key_of_its_kind(ministack: str, buckets: dict[str, str]) -> None:
    key = client(ministack, "kms").create_key()["KeyMetadata"]["Arn"]
    blobs = S3Blobs(client(ministack, "s3"), buckets, {"model-artifacts": key})
    blobs.put("model-artifacts/a", b"a")
    with blobs.writer("model-artifacts/b") as writer:
        writer.write(bytes(LONG))
    for name in ("a", "b"):
        head = client(ministack, "s3").head_object(Bucket=buckets["model-artifacts"], Key=name)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_a_growing_value_is_begun_anew_once_it_is_an_object(blobs: S3Blobs) -> None:
    growing = blobs.growing("image-sets/a/pack")
    growing.write(b"abc")
    assert list(blobs.keys()) == []
    assert not growing.is_full
    growing.settle()
    assert growing.is_full
    with pytest.raises(Unavailable):
        growing.write(b"more")
    assert blobs.get("image-sets/a/pack") == b"abc"


@pytest.mark.parametrize("name", ["upload//x", "upload/./x", "upload/a\tb"])
def test_a_name_that_a_sender_made_up_does_not_stop_the_list(
    ministack: str, blobs: S3Blobs, buckets: dict[str, str], name: str
) -> None:
    client(ministack, "s3").put_object(Bucket=buckets["training-data"], Key=name, Body=b"x")
    blobs.put("training-data/upload/z", b"")
    assert list(blobs.keys("training-data/upload/")) == ["training-data/upload/z"]
    with pytest.raises(InvalidInput):
        blobs.get(f"training-data/{name}")


@pytest.mark.parametrize("name", ["a b+c%20.dcm", "Ärger/ö", "DOE^JOHN|#1?", "x" * 1000])
def test_names_of_people_and_machines_are_kept_as_they_are(blobs: S3Blobs, name: str) -> None:
    blobs.put(f"training-data/{name}", b"x")
    assert list(blobs.keys()) == [f"training-data/{name}"]
    assert blobs.get(f"training-data/{name}") == b"x"


def test_a_list_longer_than_one_answer_is_whole(
    ministack: str, blobs: S3Blobs, buckets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [f"model-artifacts/{number:02d}" for number in range(12)]
    for key in wanted:
        blobs.put(key, b"")
    s3 = client(ministack, "s3")
    paginate = s3.get_paginator("list_objects_v2").paginate

    class Small:
        def paginate(self, **given: object) -> object:
            return paginate(PaginationConfig={"PageSize": 5}, **given)

    monkeypatch.setattr(s3, "get_paginator", lambda _: Small())
    assert list(blobs.keys()) == wanted


def test_a_key_that_is_too_long_is_refused_before_it_is_sent(blobs: S3Blobs) -> None:
    for key in ("training-data/" + "x" * 1025, "training-data/\udcff"):
        with pytest.raises(InvalidInput):
            blobs.put(key, b"")


def test_errors_tell_nothing_of_the_key(ministack: str, blobs: S3Blobs) -> None:
    lost = S3Blobs(client(ministack, "s3"), {"training-data": unique("lost")})
    for act in (lambda: blobs.get("training-data/DOE^JOHN"), lambda: lost.put("training-data/DOE^JOHN", b"")):
        with pytest.raises(NotFound) as caught:
            act()
        assert "DOE" not in str(caught.value)
    with pytest.raises(NotFound, match="bucket"):
        list(lost.keys())


def test_a_server_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radloop.aws.clients.TRIES", 1)
    lost = S3Blobs(client("http://127.0.0.1:9", "s3"), {"training-data": "scans"})
    with pytest.raises(Unavailable) as caught:
        lost.put("training-data/DOE^JOHN", b"")
    assert "DOE" not in str(caught.value)
    with pytest.raises(Unavailable):
        list(lost.keys())


def test_without_credentials_nothing_is_allowed(ministack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(each)
    with pytest.raises(Denied, match="credentials"):
        S3Blobs(client(ministack, "s3"), {"training-data": "scans"}).get("training-data/a")


def test_a_platform_without_a_bucket_for_what_comes_in_is_refused(ministack: str) -> None:
    with pytest.raises(InvalidInput, match="training-data"):
        S3Blobs(client(ministack, "s3"), {"model-artifacts": "a"})


def test_names_of_a_bucket_are_asked_of_that_bucket_alone(ministack: str, buckets: dict[str, str]) -> None:
    """A function may list what it reads, and needs no right to list the training data for it."""
    s3, asked = client(ministack, "s3"), []
    s3.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: asked.append(params["Bucket"])
    )
    blobs = S3Blobs(s3, buckets)
    blobs.put("model-artifacts/v1/a", b"a")
    assert list(blobs.keys("model-artifacts/v1/")) == ["model-artifacts/v1/a"]
    assert asked == [buckets["model-artifacts"]]


def test_s3_gives_the_headers_that_a_key_is_written_with(ministack: str, buckets: dict[str, str]) -> None:
    told = {"Cache-Control": "immutable", "Content-Type": "text/x-layer", "Content-Encoding": "gzip"}
    s3 = client(ministack, "s3")
    blobs = S3Blobs(s3, buckets, headers=lambda key: told if key.startswith("model-artifacts/kept/") else None)
    blobs.put("model-artifacts/kept/put", b"a")
    for key, length in (("model-artifacts/kept/short", 9), ("model-artifacts/kept/long", 9 << 20)):
        with blobs.writer(key) as blob:
            blob.write(bytes(length))
    blobs.put("model-artifacts/other", b"a")
    for name in ("kept/put", "kept/short", "kept/long"):
        head = s3.head_object(Bucket=buckets["model-artifacts"], Key=name)
        assert (head["CacheControl"], head["ContentType"], head["ContentEncoding"]) == tuple(told.values()), name
    assert "CacheControl" not in s3.head_object(Bucket=buckets["model-artifacts"], Key="other")
