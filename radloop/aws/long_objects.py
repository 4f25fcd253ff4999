"""Objects that are too long to be held: read in ranges, and copied by S3 itself, so that no memory grows with them.

An object is found once. What is read and copied after that is the object as it was then (its ETag), or nothing at all:
whoever puts another one under the same name meanwhile is told of apart.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.blobs import S3Blobs
from radloop.aws.clients import status_of, translated
from radloop.core.ports import Span
from radloop.dicom.ranges import Ranges

PART_BYTES: Final = 256 << 20
"""What S3 copies in one request, which takes some seconds; of more it copies several parts at a time."""

_READ_BYTES = 8 << 20
_WRITTEN_BYTES = 16 << 20  # S3 joins 10,000 parts at most
_AT_ONCE = 4
_GONE: Final = frozenset({404, 412})
"""What S3 answers where the object has gone, or is another one."""

_CHECKSUM: Final = "ChecksumCRC32"
_CHECKED: Final = {"ChecksumAlgorithm": "CRC32"}
"""What boto3 says of every part that is sent, said of the object too: S3 wants the same of both."""

Address = tuple[str, str]
"""A bucket and a name in it."""


@dataclass(frozen=True, slots=True)
class LongObject:
    """An object as it was when it was found.

    Attributes:
        key: Of the blob.
        size: Bytes.
        mark: Its ETag, with which S3 tells it from another of the same name.
    """

    key: str
    size: int
    mark: str


class LongObjects:
    """Reads, keeps and writes objects of any length.

    Args:
        s3: A boto3 client of S3.
        blobs: Knows where blobs lie.
    """

    def __init__(self, s3: Any, blobs: S3Blobs) -> None:
        self._s3 = s3
        self._blobs = blobs

    def find(self, key: str) -> LongObject:
        """The object that lies under a key now.

        Raises:
            NotFound: There is none.
        """
        size, mark = self._blobs.look(key)
        return LongObject(key, size, mark)

    def data(self, found: LongObject) -> Ranges:
        """Its bytes, fetched as they are looked at; a look raises what `read` does."""
        return Ranges(partial(self.read, found), found.size)

    def read(self, found: LongObject, start: int, end: int) -> bytes:
        """Some of its bytes.

        Raises:
            Unavailable: Another object lies there by now, or S3 does not answer.
            NotFound: It has gone.
        """
        return self._blobs.get_of(found.key, Span(start, end), found.mark)

    def digest(self, found: LongObject) -> str:
        """Its SHA-256, hexadecimal, in about 40 MiB of memory; raises what `read` does."""
        digest = hashlib.sha256()
        for piece in self._pieces(found):
            digest.update(piece)
        return digest.hexdigest()

    def copy(self, found: LongObject, key: str) -> None:
        """Have S3 copy it to another key; its bytes come nowhere else.

        Raises:
            Unavailable: Another object lies there by now, or S3 does not answer.
            NotFound: It has gone.
        """
        copied(self._s3, self._blobs.where(found.key), self._blobs.where(key), found.size, mark=found.mark)

    def remove(self, found: LongObject) -> None:
        """Take it away; another object that lies there by now stays, and what has gone is no error.

        Raises:
            Unavailable: S3 does not answer.
        """
        bucket, name = self._blobs.where(found.key)
        try:
            self._s3.delete_object(Bucket=bucket, Key=name, IfMatch=found.mark)
        except ClientError as error:
            if status_of(error) not in _GONE:
                raise translated(error, "s3") from error
        except BotoCoreError as error:
            raise translated(error, "s3") from error

    def write(self, key: str, pieces: Iterable[bytes]) -> None:
        """Write what comes in pieces; an error of theirs leaves nothing behind.

        Raises:
            Unavailable: S3 does not answer.
        """
        bucket, name = self._blobs.where(key)
        with _in_parts(self._s3, bucket, name, **_CHECKED) as add:
            for part in _gathered(pieces):
                add(partial(self._s3.upload_part, Body=part, **_CHECKED))

    def _pieces(self, found: LongObject) -> Iterator[bytes]:
        """All of it in order, some pieces ahead."""
        waiting: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, found.size, _READ_BYTES):
                waiting.append(pool.submit(self.read, found, start, min(start + _READ_BYTES, found.size)))
                if len(waiting) > _AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def copied(s3: Any, source: Address, target: Address, size_bytes: int, *, mark: str | None = None) -> None:
    """Have S3 copy an object, of which nothing but its bytes goes along: no metadata, no tags.

    One request copies 5 GB at most and takes as long as they take; so a long object goes in parts, which S3 joins.

    Args:
        s3: A boto3 client of S3.
        source: Where it lies.
        target: Where the copy is to lie.
        size_bytes: How long it is.
        mark: Its ETag, where it must be this one.

    Raises:
        Unavailable: Another object lies there by now, or S3 does not answer.
        NotFound: There is no such object.
    """
    given: dict[str, Any] = {"CopySource": dict(zip(("Bucket", "Key"), source, strict=True))}
    if mark is not None:
        given["CopySourceIfMatch"] = mark
    bucket, name = target
    if size_bytes <= PART_BYTES:
        plain = {"MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE"}
        with _told():
            s3.copy_object(Bucket=bucket, Key=name, **plain, **given)
        return
    with _in_parts(s3, bucket, name) as add, ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, size_bytes, PART_BYTES):
            last = min(start + PART_BYTES, size_bytes) - 1
            add(partial(s3.upload_part_copy, CopySourceRange=f"bytes={start}-{last}", **given), pool)


_Add = Callable[..., None]


@contextmanager
def _in_parts(s3: Any, bucket: str, name: str, **begun: str) -> Iterator[_Add]:
    """An object of several parts, which appears when the block ends; an error in it takes the parts away again.

    What is given back takes the request that makes the next part, and a pool where it may be made beside others.
    `begun` is said of the object where it begins.
    """
    made: list[Callable[[], dict[str, Any]]] = []
    where = {"Bucket": bucket, "Key": name}
    with _told():
        where["UploadId"] = s3.create_multipart_upload(**where, **begun)["UploadId"]

    def add(request: Callable[..., dict[str, Any]], pool: ThreadPoolExecutor | None = None) -> None:
        asked = partial(request, **where, PartNumber=len(made) + 1)
        if pool is not None:
            made.append(pool.submit(asked).result)
        else:
            told = asked()
            made.append(lambda: told)

    try:
        with _told():
            yield add
            parts = [{"PartNumber": number, **_marks_of(each())} for number, each in enumerate(made, start=1)]
            s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    except BaseException:
        with suppress(BotoCoreError, ClientError):  # what stays is taken away by the bucket after a week
            s3.abort_multipart_upload(**where)
        raise


def _marks_of(told: dict[str, Any]) -> dict[str, str]:
    """The ETag of a part that was sent or copied, and of one that was sent the checksum."""
    if "CopyPartResult" in told:
        return {"ETag": str(told["CopyPartResult"]["ETag"])}
    return {name: str(told[name]) for name in ("ETag", _CHECKSUM) if name in told}


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces joined to parts as S3 wants them: 5 MiB at least, all but the last; nothing is one empty part."""
    part, is_first = bytearray(), True
    for piece in pieces:
        part += piece
        if len(part) >= _WRITTEN_BYTES:
            yield bytes(part)
            part, is_first = bytearray(), False
    if part or is_first:
        yield bytes(part)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translated(error, "s3") from error
