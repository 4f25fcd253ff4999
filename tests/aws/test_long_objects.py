"""Objects that are too long to be held: read by ranges, copied by S3, and the one that was found or none."""

import base64
import hashlib
import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from radloop.aws import long_objects
from radloop.aws.blobs import S3Blobs
from radloop.aws.long_objects import LongObjects
from radloop.core.errors import BrokenMember, NotFound, Unavailable
from tests.aws.emulators import client, make_bucket, unique

PART = 5 << 20
"""Bytes of the least part that S3 takes."""

KEY, COPY = "training-data/upload/long.dcm", "archive/originals/long.dcm"


@pytest.fixture(params=["ministack", "moto_server"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def blobs(address: str) -> S3Blobs:
    buckets = {name: make_bucket(address, unique(name)) for name in ("training-data", "archive")}
    return S3Blobs(client(address, "s3"), buckets)


@pytest.fixture
def objects(address: str, blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> LongObjects:
    monkeypatch.setattr(long_objects, "PART_BYTES", PART)
    monkeypatch.setattr(long_objects, "_READ_BYTES", 1 << 20)
    monkeypatch.setattr(long_objects, "_WRITTEN_BYTES", PART)
    return LongObjects(client(address, "s3"), blobs)


def unfinished(address: str, blobs: S3Blobs) -> list[str]:
    """Names of objects whose parts lie about in the two buckets."""
    found = []
    for key in (KEY, COPY):
        told = client(address, "s3").list_multipart_uploads(Bucket=blobs.where(key)[0])
        found += [str(each["Key"]) for each in told.get("Uploads", ())]
    return found


@pytest.mark.parametrize("length", [1, PART, 2 * PART, 3 * PART + 17])
def test_a_copy_is_the_same_bytes_and_nothing_else_of_the_object(
    address: str, blobs: S3Blobs, objects: LongObjects, length: int
) -> None:
    data = random.Random(length).randbytes(length)
    bucket, name = blobs.where(KEY)
    client(address, "s3").put_object(Bucket=bucket, Key=name, Body=data, Metadata={"patient": "DOE"}, Tagging="a=DOE")
    found = objects.find(KEY)
    assert (found.size, objects.digest(found)) == (length, hashlib.sha256(data).hexdigest())
    objects.copy(found, COPY)
    assert blobs.get(COPY) == data
    bucket, name = blobs.where(COPY)
    assert client(address, "s3").head_object(Bucket=bucket, Key=name)["Metadata"] == {}
    assert client(address, "s3").get_object_tagging(Bucket=bucket, Key=name)["TagSet"] == []


def test_bytes_are_looked_at_where_they_lie(blobs: S3Blobs, objects: LongObjects) -> None:
    data = random.Random(2).randbytes(3 << 20)
    blobs.put(KEY, data)
    lying = objects.data(objects.find(KEY))
    assert len(lying) == len(data)
    assert lying[(1 << 20) - 5 : (2 << 20) + 5] == data[(1 << 20) - 5 : (2 << 20) + 5]


@pytest.mark.parametrize("length", [100, 2 * PART])
@pytest.mark.parametrize("address", ["ministack"], indirect=True)  # moto copies what there is, whatever its mark
def test_another_object_that_came_meanwhile_is_neither_read_nor_kept(
    address: str, blobs: S3Blobs, objects: LongObjects, length: int
) -> None:
    blobs.put(KEY, b"1" * length)
    found = objects.find(KEY)
    blobs.put(KEY, b"2" * length)
    with pytest.raises(Unavailable):
        objects.digest(found)
    with pytest.raises(Unavailable):
        objects.copy(found, COPY)
    assert list(blobs.keys("archive/")) == []
    assert unfinished(address, blobs) == []


@pytest.mark.parametrize("address", ["ministack"], indirect=True)  # moto deletes what there is
def test_what_was_found_is_taken_away_and_what_came_meanwhile_is_not(blobs: S3Blobs, objects: LongObjects) -> None:
    blobs.put(KEY, b"1")
    found = objects.find(KEY)
    blobs.put(KEY, b"2")
    objects.remove(found)
    assert blobs.get(KEY) == b"2"
    objects.remove(objects.find(KEY))
    assert list(blobs.keys("training-data/")) == []
    objects.remove(found)


def test_what_is_gone_is_not_found(blobs: S3Blobs, objects: LongObjects) -> None:
    with pytest.raises(NotFound):
        objects.find(KEY)
    blobs.put(KEY, b"1")
    found = objects.find(KEY)
    blobs.delete(KEY)
    with pytest.raises(NotFound):
        objects.digest(found)
    with pytest.raises(NotFound):
        objects.copy(found, COPY)


@pytest.mark.parametrize("lengths", [[], [10], [1 << 20] * 12, [PART, PART], [PART - 1, 2, PART]])
def test_what_comes_in_pieces_is_written_whole(blobs: S3Blobs, objects: LongObjects, lengths: list[int]) -> None:
    pieces = [random.Random(number).randbytes(length) for number, length in enumerate(lengths)]
    objects.write(KEY, pieces)
    assert blobs.get(KEY) == b"".join(pieces)


def test_s3_is_told_of_the_object_and_of_each_part_the_checksum_that_goes_with_what_is_sent(
    address: str, blobs: S3Blobs, objects: LongObjects
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    s3 = client(address, "s3")
    for name in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        s3.meta.events.register(
            f"provide-client-params.s3.{name}", lambda params, model, **_: asked.append((model.name, params))
        )
    parts = [random.Random(number).randbytes(PART) for number in range(2)]
    LongObjects(s3, blobs).write(KEY, parts)
    begun, *sent, ended = asked
    assert [name for name, _ in asked] == ["CreateMultipartUpload", *["UploadPart"] * 2, "CompleteMultipartUpload"]
    assert {params["ChecksumAlgorithm"] for _, params in (begun, *sent)} == {"CRC32"}
    told = [each["ChecksumCRC32"] for each in ended[1]["MultipartUpload"]["Parts"]]
    assert told == [base64.b64encode(zlib.crc32(part).to_bytes(4, "big")).decode() for part in parts]


def test_pieces_that_break_off_leave_nothing_behind(address: str, blobs: S3Blobs, objects: LongObjects) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(2 * PART)
        raise BrokenMember("the file is not what its checksum in the archive says")

    with pytest.raises(BrokenMember):
        objects.write(KEY, pieces())
    assert list(blobs.keys("training-data/")) == []
    assert unfinished(address, blobs) == []
