"""The Blobs port on S3: the bytes by obstore, the names by boto3.

A key's first part names its bucket; what has no bucket of its own lies below `other/` in the one for training data.
S3 itself makes an object appear whole or not at all, and keeps it once it has answered.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from heapq import merge
from threading import Lock
from types import MappingProxyType
from typing import IO, Any, Final
from urllib.parse import urlsplit

import obstore
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from radloop.aws import clients
from radloop.aws.clients import code_of, translated
from radloop.core.errors import Denied, InvalidInput, NotFound, RadloopError, Unavailable
from radloop.core.ports import Span

DEFAULT_HOME: Final = "training-data"
OTHER: Final = "other"
_LONGEST_KEY_BYTES = 1024  # S3's own limit
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IN_MEMORY_BYTES = 16 << 20  # longer values wait on the disk for the end of their block
_PART_BYTES = 8 << 20
_LONGEST_GROWN_BYTES = 64 << 20
_WHOLE_S = 600  # a request with its body

Headers = Callable[[str], dict[str, str] | None]
"""Headers by key, such as Cache-Control; None for none."""


class _Draft:
    """A value on its way, beside the bucket; only `send` shows it to anybody."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 — closed by its owner
        self.length = 0

    def write(self, data: bytes) -> int:
        """See `BlobWriter.write`."""
        start = self.length
        with _told():
            self.file.write(data)
        self.length += len(data)
        return start

    def send(self, into: S3Store, name: str, told: dict[str, str] | None = None) -> None:
        """Make it an object; a long one goes in several parts at the same time, which S3 joins.

        Args:
            into: The bucket.
            name: Of the object.
            told: Headers that S3 gives with it.
        """
        self.file.seek(0)
        if self.length <= _PART_BYTES:
            obstore.put(into, name, self.file.read(), use_multipart=False, attributes=told)
        else:
            obstore.put(into, name, self.file, use_multipart=True, chunk_size=_PART_BYTES, attributes=told)


class _GrowingObject:
    """See `GrowingBlob`. S3 cannot add to an object, so the first `settle` makes it and nothing more goes in."""

    def __init__(self, into: S3Store, name: str) -> None:
        self._into = into
        self._name = name
        self._draft: _Draft | None = _Draft()
        self._is_settled = False

    @property
    def is_full(self) -> bool:
        """See `GrowingBlob.is_full`."""
        return self._draft is None or self._draft.length >= _LONGEST_GROWN_BYTES

    def write(self, data: bytes) -> int:
        """See `GrowingBlob.write`."""
        if self._draft is None:
            raise Unavailable("nothing can be added to a blob that is closed")
        return self._draft.write(data)

    def settle(self) -> None:
        """See `GrowingBlob.settle`."""
        if self._is_settled:
            return
        if self._draft is None:
            raise Unavailable("a blob that was closed before it settled cannot be kept")
        try:
            with _told():
                self._draft.send(self._into, self._name)
            self._is_settled = True
        finally:
            self.close()

    def close(self) -> None:
        """See `GrowingBlob.close`."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.file.close()


class S3Blobs:
    """The Blobs port on buckets of S3.

    What is written piece by piece waits beside the bucket, in memory or in a nameless file, until its block ends, so
    that an error inside the block leaves nothing behind, not even parts that nobody sees and somebody pays for.

    Args:
        s3: A boto3 client of S3; it tells names, and where and in which region the buckets are.
        buckets: Bucket by the first part of the keys that it holds; `training-data` must be among them.
        keys: ARN of the KMS key that seals what is written, by the same first parts; the bucket decides for others.
        headers: What S3 is to say with what is written under a key, to those who read it past us.

    Raises:
        InvalidInput: There is no bucket for `training-data`.
    """

    def __init__(
        self,
        s3: Any,
        buckets: Mapping[str, str],
        keys: Mapping[str, str] = MappingProxyType({}),
        *,
        headers: Headers = lambda _: None,
    ) -> None:
        if DEFAULT_HOME not in buckets:
            raise InvalidInput(f"there is no bucket for {DEFAULT_HOME}")
        self._s3 = s3
        self._buckets = dict(buckets)
        self._keys = dict(keys)
        self._headers = headers
        self._stores: dict[str, S3Store] = {}
        self._guard = Lock()

    def put(self, key: str, data: bytes) -> None:
        """See `Blobs.put`."""
        home, name = self._place(key)
        with _told():
            obstore.put(self._store(home), name, data, chunk_size=_PART_BYTES, attributes=self._headers(key))

    @contextmanager
    def writer(self, key: str, *, is_unnamed: bool = False) -> Iterator[_Draft]:  # noqa: ARG002 — nothing to gain by it
        """See `Blobs.writer`."""
        home, name = self._place(key)
        draft = _Draft()
        with draft.file:
            yield draft
            with _told():
                draft.send(self._store(home), name, self._headers(key))

    def growing(self, key: str) -> _GrowingObject:
        """See `Blobs.growing`."""
        home, name = self._place(key)
        return _GrowingObject(self._store(home), name)

    def get(self, key: str, span: Span | None = None) -> bytes:
        """See `Blobs.get`."""
        home, name = self._place(key)
        bucket = self._store(home)
        with _told():
            if span is None:
                return bytes(obstore.get(bucket, name).bytes())
            if span.start < span.end:
                try:
                    return bytes(obstore.get_range(bucket, name, start=span.start, end=span.end))
                except BaseError as error:
                    self._demand_beyond(bucket, name, span, error)
            else:
                obstore.head(bucket, name)
            return b""

    def where(self, key: str) -> tuple[str, str]:
        """The bucket that a key lies in and its name there.

        Raises:
            InvalidInput: No key is written like that.
        """
        home, name = self._place(key)
        return self._buckets[home], name

    def look(self, key: str) -> tuple[int, str]:
        """How many bytes lie under a key, and the mark (ETag) that tells them from others that come there.

        Raises:
            NotFound: Nothing lies there.
        """
        home, name = self._place(key)
        with _told():
            found = obstore.head(self._store(home), name)
        return found["size"], str(found["e_tag"])

    def get_of(self, key: str, span: Span, mark: str) -> bytes:
        """The part inside `span` of what had this mark.

        Raises:
            NotFound: Nothing lies there any more.
            Unavailable: Something else lies there by now.
        """
        home, name = self._place(key)
        with _told():
            found = obstore.get(self._store(home), name, options={"if_match": mark, "range": (span.start, span.end)})
            return bytes(found.bytes())

    def at_once(self, key: str, span: Span) -> None:
        """See `Blobs.at_once`: there is always a network to wait for."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.keys`; names that somebody else gave and no key can be are left out."""
        first, slash, _ = prefix.partition("/")
        if slash and first in self._buckets and first != DEFAULT_HOME:
            return self._listed(first, prefix)
        return merge(*(self._listed(home, prefix) for home in self._buckets), self._listed(None, prefix))

    def delete(self, key: str) -> None:
        """See `Blobs.delete`."""
        home, name = self._place(key)
        try:
            with _told():
                obstore.delete(self._store(home), name)
        except NotFound:
            return

    def _place(self, key: str) -> tuple[str, str]:
        """The home of a key and its name there.

        Raises:
            InvalidInput: No key is written like that.
        """
        if not is_key(key):
            raise InvalidInput("a blob key is a relative path without empty, '.' or '..' parts and control characters")
        first, _, rest = key.partition("/")
        if first in self._buckets and rest and not (first == DEFAULT_HOME and rest.split("/")[0] == OTHER):
            return first, rest
        return DEFAULT_HOME, f"{OTHER}/{key}"

    def _store(self, home: str) -> S3Store:
        with self._guard:
            if home not in self._stores:
                self._stores[home] = _opened(self._buckets[home], self._s3, self._keys.get(home, ""))
            return self._stores[home]

    def _demand_beyond(self, bucket: S3Store, name: str, span: Span, error: BaseError) -> None:
        """Go on where a range was refused because the value ends before it, which obstore does not tell apart."""
        if obstore.head(bucket, name)["size"] > span.start:
            raise error

    def _listed(self, home: str | None, prefix: str) -> Iterator[str]:
        """Keys of one bucket, or with None those without a bucket of their own, in ascending order."""
        front = f"{home}/" if home is not None else ""
        inner = "" if home is not None else f"{OTHER}/"
        if not (prefix.startswith(front) or front.startswith(prefix)):
            return
        wanted = inner + prefix[len(front) :]
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._buckets[home or DEFAULT_HOME], Prefix=wanted
        )
        with _asked():
            for page in pages:
                for each in page.get("Contents", ()):
                    key = front + str(each["Key"])[len(inner) :]
                    if is_key(key) and self._place(key) == (home or DEFAULT_HOME, each["Key"]):
                        yield key


def _opened(bucket: str, s3: Any, key: str) -> S3Store:
    """One bucket by obstore, at the address and in the region of a client of S3; several parts go at the same time.

    Raises:
        Denied: There are no credentials on this machine.
    """
    address = urlsplit(s3.meta.endpoint_url)
    is_aws = (address.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    try:
        credentials = Boto3CredentialProvider(clients.session())
    except ValueError:
        raise Denied("there are no credentials for s3 on this machine") from None
    rest: dict[str, Any] = {} if is_aws else {"endpoint": s3.meta.endpoint_url}
    if key:
        rest |= {"server_side_encryption": "aws:kms", "sse_kms_key_id": key, "sse_bucket_key_enabled": True}
    return S3Store(
        bucket,
        region=s3.meta.region_name,
        credential_provider=credentials,
        checksum_algorithm="SHA256",
        client_options={
            "allow_http": address.scheme == "http",
            "connect_timeout": timedelta(seconds=clients.CONNECT_S),
            "read_timeout": timedelta(seconds=clients.READ_S),
            "timeout": timedelta(seconds=_WHOLE_S),
        },
        retry_config={"max_retries": clients.TRIES - 1},
        virtual_hosted_style_request=is_aws,
        **rest,
    )


def is_key(key: str) -> bool:
    """Whether a blob may lie under `key`: S3 takes more names, such as those with empty parts."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return False
    has_parts = not any(part in {"", ".", ".."} for part in key.split("/"))
    return has_parts and length <= _LONGEST_KEY_BYTES and _CONTROL.search(key) is None


@contextmanager
def _told() -> Iterator[None]:
    """Put what obstore raises in our words, which name nothing that was sent."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise _translate(error) from error


@contextmanager
def _asked() -> Iterator[None]:
    """Put what boto3 raises in our words."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and code_of(error) == "NoSuchBucket":
            raise NotFound("there is no such bucket") from error
        raise translated(error, "s3") from error


def _translate(error: Exception) -> RadloopError:
    if isinstance(error, FileNotFoundError):
        return NotFound("there is no such blob")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return Denied("S3 does not let us do this")
    return Unavailable(f"S3 cannot be asked: {type(error).__name__}")
