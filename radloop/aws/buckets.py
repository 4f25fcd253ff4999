"""The Buckets port on S3, and on servers that speak it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from radloop.aws.clients import code_of, made, translated
from radloop.core.errors import InvalidInput, NotFound, RadloopError, TooLarge, Unavailable
from radloop.core.ports import Bucket

_READS = 5
_PIECE = 1 << 20
_CUT_OFF = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)


class S3Buckets:
    """The Buckets port on S3, with the credentials and the region that boto3 finds.

    Requests that fail for a reason that may pass are tried again with growing waits (botocore's standard mode), and a
    download that is cut off goes on where it was cut, provided that the object is still the same.

    Args:
        endpoint: Address of another server than AWS's; empty for AWS.

    Raises:
        InvalidInput: `endpoint` is no address.
        Unavailable: The configuration of boto3 on this machine is not usable.
    """

    def __init__(self, endpoint: str = "") -> None:
        try:
            self._client = made("s3", endpoint)
        except InvalidInput:
            raise InvalidInput("the setting s3_endpoint is no address, such as https://s3.example.org") from None

    def open(self, name: str) -> Bucket:
        """See `Buckets.open`."""
        return _S3Bucket(self._client, name)


@dataclass(frozen=True, slots=True)
class _S3Bucket:
    """One bucket; S3 itself makes single objects atomic and durable."""

    client: Any
    name: str

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Bucket.keys`; S3 lists in the order of UTF-8, which is that of code points."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        try:
            for page in pages:
                for each in page.get("Contents", ()):
                    yield each["Key"]
        except (BotoCoreError, ClientError) as error:
            raise _translate(error) from error

    def get(self, key: str, most_bytes: int) -> bytes:
        """See `Bucket.get`; in memory is what has come so far, once."""
        try:
            return self._read(key, most_bytes)
        except (BotoCoreError, ClientError) as error:
            raise _translate(error) from error

    def put(self, key: str, data: bytes) -> None:
        """See `Bucket.put`."""
        try:
            self.client.put_object(Bucket=self.name, Key=key, Body=data)
        except (BotoCoreError, ClientError) as error:
            raise _translate(error) from error

    def _read(self, key: str, most_bytes: int) -> bytes:
        data = BytesIO()
        rest: dict[str, str] = {}
        for _ in range(_READS):
            answer = self.client.get_object(Bucket=self.name, Key=key, **rest)
            with closing(answer["Body"]) as body:
                size = data.tell() + int(answer["ContentLength"])
                if size > most_bytes:
                    raise TooLarge(f"a file may be {most_bytes} bytes long")
                try:
                    for piece in body.iter_chunks(_PIECE):
                        data.write(piece)
                except _CUT_OFF:
                    if data.tell() < size:
                        rest = {"Range": f"bytes={data.tell()}-", "IfMatch": answer["ETag"]}
                        continue
            return data.getvalue()
        raise Unavailable("S3 cut its answer off again and again")


def _translate(error: BotoCoreError | ClientError) -> RadloopError:
    """Our error for one of botocore's, with what only S3 answers."""
    if isinstance(error, ClientError):
        code = code_of(error)
        if code == "InvalidObjectState":
            return InvalidInput("the object is archived and must be restored first")
        if code in {"InvalidBucketName", "KeyTooLongError"}:
            return InvalidInput("S3 knows no bucket or key of that form")
        if code == "NoSuchBucket":
            return NotFound("there is no such bucket")
    return translated(error, "s3")
