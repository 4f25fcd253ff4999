"""Segments of the audit's chain on S3 under Object Lock, where nobody can change or remove them for years.

A segment holds some entries that follow each other. Its name is its number, and each is written on the condition that
there is none of that name, so two writers cannot continue the chain in two ways. Object Lock keeps what was written,
but neither a later version nor a delete marker above it; both are found when the segments are walked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import status_of, translated
from radloop.core.errors import Corrupt
from radloop.core.ports import Clock, Noted
from radloop.security.chain import GENESIS, link

FOLDER: Final = "chain/"
_TAKEN: Final = frozenset({412, 409})
_YEAR = timedelta(days=365.25)
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class End:
    """Where the sealed part of the chain ends.

    Attributes:
        number: Of the last segment; 0 for none.
        seq: Sequence number of its last entry.
        head: Hash of its last entry.
    """

    number: int = 0
    seq: int = 0
    head: str = GENESIS


class Seals:
    """The sealed segments of one installation.

    Args:
        s3: A boto3 client of S3.
        bucket: With Object Lock; S3 refuses to seal into another one.
        clock: The present moment.
        years: For how long nobody can remove a segment.
        key: ARN of the KMS key that seals it; empty for what the bucket says.
    """

    def __init__(self, s3: Any, bucket: str, clock: Clock, *, years: float = 7.0, key: str = "") -> None:
        self._s3 = s3
        self._bucket = bucket
        self._clock = clock
        self._kept = years * _YEAR
        self._sealing = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
        self._end = End()

    @property
    def known(self) -> End:
        """Where the sealed part ended when it was last looked at from here; nothing is asked of S3."""
        return self._end

    def end(self) -> End:
        """Where the sealed part ends now, whoever sealed it.

        Raises:
            Corrupt: The last segment is not one.
        """
        try:
            number = self._last_number(self._end.number)
            if number != self._end.number:
                entries = _entries(self._read(_name(number)))
                self._end = End(number, entries[-1].seq, entries[-1].hash)
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "s3") from error
        return self._end

    def add(self, end: End, entries: Sequence[Noted]) -> bool:
        """Seal entries that follow `end`; False where another writer has sealed something there.

        Raises:
            Corrupt: They do not follow it; nothing is sealed.
        """
        _demand_chain(end.seq, end.head, entries)
        lines = [orjson.dumps({"first": end.seq + 1, "last": entries[-1].seq, "before": end.head})]
        lines += [orjson.dumps(asdict(entry)) for entry in entries]
        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=_name(end.number + 1),
                Body=b"\n".join(lines),
                ContentType="application/x-ndjson",
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=self._clock() + self._kept,
                **self._sealing,
            )
        except ClientError as error:
            if status_of(error) in _TAKEN:
                return False
            raise translated(error, "s3") from error
        except BotoCoreError as error:
            raise translated(error, "s3") from error
        self._end = End(end.number + 1, entries[-1].seq, entries[-1].hash)
        return True

    def walk(self) -> Iterator[Noted | None]:
        """What was sealed up to now, in order; None in place of the first entry of a segment that cannot be trusted.

        That is one that is missing, hidden by a delete marker, written over, not of our making or torn from the chain;
        nothing is told after it.
        """
        return self._walked(self._versions())

    def _walked(self, versions: dict[str, list[str]]) -> Iterator[Noted | None]:
        seq, head = 0, GENESIS
        for number, name in enumerate(sorted(versions), start=1):
            if name != _name(number) or len(versions[name]) != 1:
                yield None
                return
            try:
                entries = _entries(self._read(name, VersionId=versions[name][0]))
                _demand_chain(seq, head, entries)
            except Corrupt:
                yield None
                return
            except (BotoCoreError, ClientError) as error:
                raise translated(error, "s3") from error
            yield from entries
            seq, head = entries[-1].seq, entries[-1].hash

    def _versions(self) -> dict[str, list[str]]:
        """By name, the versions that there are, delete markers among them."""
        found: dict[str, list[str]] = {}
        try:
            pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=FOLDER)
            for page in pages:
                for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    found.setdefault(str(each["Key"]), []).append(str(each["VersionId"]))
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "s3") from error
        return found

    def _last_number(self, known: int) -> int:
        """The number of the last segment, in some twenty questions however many there are."""
        low, step = known, 1
        while self._has_after(low + step - 1):
            low += step
            step *= 2
        high = low + step - 1  # the last one is not after this
        while low < high:
            middle = (low + high + 1) // 2
            if self._has_after(middle - 1):
                low = middle
            else:
                high = middle - 1
        return low

    def _has_after(self, number: int) -> bool:
        """Whether there is a segment of a higher number; one that is hidden does not hide those behind it."""
        found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=FOLDER, StartAfter=_name(number), MaxKeys=1)
        return bool(found.get("KeyCount"))

    def _read(self, name: str, **version: str) -> bytes:
        with self._s3.get_object(Bucket=self._bucket, Key=name, **version)["Body"] as body:
            return bytes(body.read())


def _name(number: int) -> str:
    return f"{FOLDER}{number:0{_DIGITS}d}.ndjson"


def _entries(data: bytes) -> list[Noted]:
    """The entries of a segment.

    Raises:
        Corrupt: It is not written like one.
    """
    try:
        head, *lines = [orjson.loads(line) for line in data.split(b"\n")]
        entries = [Noted(**line) for line in lines]
        if not entries or (head["first"], head["last"]) != (entries[0].seq, entries[-1].seq):
            raise Corrupt("a segment of the audit holds other entries than it says")
    except (ValueError, TypeError, KeyError):
        raise Corrupt("a segment of the audit is not written like one") from None
    return entries


def _demand_chain(seq: int, head: str, entries: Sequence[Noted]) -> None:
    """Go on only where entries follow the one of this number and hash, and each other.

    Raises:
        Corrupt: They do not.
    """
    hashes = [head, *(entry.hash for entry in entries)]
    for number, (entry, (before, after)) in enumerate(zip(entries, pairwise(hashes), strict=True), start=seq + 1):
        if entry.seq != number or link(before, astuple(entry)[:-1]) != after:
            raise Corrupt(f"entry {number} of the audit does not follow from the one before")
