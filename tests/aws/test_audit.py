"""The audit on the table and under Object Lock: nobody goes on in two ways, and what was sealed cannot be denied."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from radloop.aws.audit import DynamoAudit
from radloop.aws.changes import AUDIT
from radloop.aws.records import DynamoRecords
from radloop.aws.seals import End, Seals
from radloop.core.errors import Corrupt, NotFound, Unavailable
from radloop.core.ports import AuditEntry, Change, Delete, Noted, Put
from radloop.security.chain import GENESIS, link
from tests.aws.emulators import client, make_bucket, unique
from tests.aws.table import make_table
from tests.contracts.audit import AuditContract


def now() -> datetime:
    return datetime.now(UTC)


class House:
    """One table and one bucket, and as many audits on them as somebody opens."""

    def __init__(self, address: str, bucket: str | None = None) -> None:
        self.s3 = client(address, "s3")
        self.bucket = bucket or make_bucket(address, unique("audit"), ObjectLockEnabledForBucket=True)
        self.records = DynamoRecords(client(address, "dynamodb"), make_table(address), now)

    def seals(self) -> Seals:
        return Seals(self.s3, self.bucket, now)

    def audit(self) -> DynamoAudit:
        return DynamoAudit(self.records, self.seals())

    def note(self, count: int, subject: str = "a") -> None:
        for number in range(count):
            self.records.commit(Change(audit=[AuditEntry("x", "land", f"{subject}{number}")]))

    def names(self) -> list[str]:
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", ())]


@pytest.fixture
def house(ministack: str) -> House:
    return House(ministack)


class TestDynamoAuditOnMiniStack(AuditContract):
    @pytest.fixture
    def audit(self, ministack: str) -> Iterator[DynamoAudit]:
        opened = House(ministack).audit()
        yield opened
        opened.close()


class TestDynamoAuditOnMoto(AuditContract):
    @pytest.fixture
    def audit(self, moto_server: str) -> Iterator[DynamoAudit]:
        opened = House(moto_server).audit()
        yield opened
        opened.close()


def test_what_is_sealed_goes_on_where_the_last_seal_ended(house: House) -> None:
    audit = house.audit()
    assert audit.seal() == 0
    house.note(3)
    assert audit.seal() == 3
    assert audit.seal() == 0
    house.note(2)
    assert house.audit().seal() == 2, "another process finds the end"
    house.note(1)
    assert audit.seal() == 1, "and the first one what the other has sealed"
    assert house.names() == [f"chain/{number:012d}.ndjson" for number in (1, 2, 3)]
    assert [entry and entry.seq for entry in house.seals().walk()] == [1, 2, 3, 4, 5, 6]
    assert audit.verify().broken_at is None


def test_what_is_not_sealed_is_known_when_the_bucket_does_not_answer(house: House) -> None:
    audit = house.audit()
    assert audit.seal() == 0
    assert audit.unsealed_since() is None
    house.note(1)
    audit.seal()
    assert audit.unsealed_since() is None
    house.note(2)
    first = audit.entries()[1]
    audit._seals._bucket = unique("lost")
    with pytest.raises(NotFound):
        audit.seal()
    assert audit.unsealed_since() == datetime.fromisoformat(first.time).timestamp()


def test_where_the_bucket_never_answered_the_first_try_counts(ministack: str) -> None:
    audit = House(ministack, unique("lost")).audit()
    assert audit.unsealed_since() is None
    before = time.time()
    for _ in range(2):
        with pytest.raises(NotFound):
            audit.seal()
        since = audit.unsealed_since()
        assert since is not None
        assert before <= since <= before + 5
        time.sleep(0.01)
    assert since == audit.unsealed_since()


def test_a_segment_is_locked_for_years_and_refuses_to_go(house: House) -> None:
    house.note(1)
    house.audit().seal()
    (name,) = house.names()
    head = house.s3.head_object(Bucket=house.bucket, Key=name)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert timedelta(days=2556) < head["ObjectLockRetainUntilDate"] - now() < timedelta(days=2558)
    with pytest.raises(house.s3.exceptions.ClientError, match="AccessDenied"):
        house.s3.delete_object(Bucket=house.bucket, Key=name, VersionId=head["VersionId"])


def test_a_bucket_without_object_lock_takes_no_segment(ministack: str) -> None:
    house = House(ministack, make_bucket(ministack, unique("plain")))
    house.note(1)
    with pytest.raises(Unavailable, match="InvalidRequest"):
        house.audit().seal()
    assert house.names() == []


def test_a_bucket_that_is_not_there_is_told(ministack: str) -> None:
    house = House(ministack, unique("lost"))
    house.note(1)
    for act in (house.audit().seal, house.audit().verify):
        with pytest.raises(NotFound):
            act()


def test_two_writers_cannot_go_on_in_two_ways(house: House) -> None:
    house.note(4)
    entries = house.audit().entries()[::-1]
    assert house.seals().add(End(), entries[:3])
    assert not house.seals().add(End(), entries[:2]), "the place is taken"
    with pytest.raises(Corrupt):
        house.seals().add(End(), entries[1:])
    with pytest.raises(Corrupt):
        house.seals().add(End(1, 3, "f" * 64), entries[3:])
    assert [entry and entry.seq for entry in house.seals().walk()] == [1, 2, 3]


def test_many_who_seal_at_once_seal_each_entry_once(house: House) -> None:
    house.note(5)
    audits = [house.audit() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            sealed = sum(pool.map(lambda audit: audit.seal(), audits))
            house.note(2)
            assert sealed in (2, 5)
    assert [entry and entry.seq for entry in house.seals().walk()] == list(range(1, 10))
    assert house.audit().verify().broken_at is None


def test_the_end_is_found_among_any_number_of_segments(house: House) -> None:
    house.note(12)
    entries, end = house.audit().entries()[::-1], End()
    for number, entry in enumerate(entries, start=1):
        assert house.seals().add(end, [entry])
        end = house.seals().end()
        assert (end.number, end.seq, end.head) == (number, number, entry.hash)


def hidden(house: House, name: str) -> None:
    house.s3.delete_object(Bucket=house.bucket, Key=name)


def written_over(house: House, name: str) -> None:
    body = house.s3.get_object(Bucket=house.bucket, Key=name)["Body"].read()
    house.s3.put_object(Bucket=house.bucket, Key=name, Body=body.replace(b"land", b"read"))


def written_over_with_the_same(house: House, name: str) -> None:
    body = house.s3.get_object(Bucket=house.bucket, Key=name)["Body"].read()
    house.s3.put_object(Bucket=house.bucket, Key=name, Body=body)


@pytest.mark.parametrize("attack", [hidden, written_over, written_over_with_the_same])
@pytest.mark.parametrize("number", [1, 3])
def test_a_segment_that_was_hidden_or_written_over_is_found(house: House, attack: Any, number: int) -> None:
    for _ in range(3):
        house.note(2)
        house.audit().seal()
    assert house.audit().verify().broken_at is None
    attack(house, f"chain/{number:012d}.ndjson")
    assert house.audit().verify().broken_at == 2 * number - 1
    house.note(1)
    house.audit().seal()
    assert house.audit().verify().broken_at == 2 * number - 1, "it does not heal"


def test_a_segment_that_is_gone_altogether_is_found(ministack: str) -> None:
    house, other = House(ministack), make_bucket(ministack, unique("plain"))
    for _ in range(3):
        house.note(2)
        house.audit().seal()
    for name in (house.names()[0], house.names()[2]):
        house.s3.copy_object(Bucket=other, Key=name, CopySource={"Bucket": house.bucket, "Key": name})
    house.bucket = other
    assert house.audit().verify().broken_at == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"not json\n{}",
        b'{"first": 1, "last": 1, "before": "0"}',
        b'{"first": 1, "last": 2}\n{"seq": 1}',
        b"[1]\n[2]",
    ],
)
def test_what_is_no_segment_is_not_taken_for_one(house: House, body: bytes) -> None:
    house.note(1)
    house.s3.put_object(Bucket=house.bucket, Key="chain/000000000001.ndjson", Body=body)
    assert house.audit().verify().broken_at == 1
    with pytest.raises(Corrupt):
        house.audit().seal()


def forged(entries: Sequence[Noted], at: int, **changed: Any) -> list[Noted]:
    """The same history but for one entry, with a chain that holds again."""
    head, made = GENESIS, []
    for each in entries:
        entry = replace(each, **changed) if each.seq == at else each
        head = link(
            head, (entry.seq, entry.time, entry.principal, entry.action, entry.subject, entry.outcome, entry.count)
        )
        made.append(replace(entry, hash=head))
    return made


def rewrite(house: House, entries: Sequence[Noted]) -> None:
    """What somebody with every right on the table could do."""
    standing = {row.order: row for row in house.records.search(AUDIT)}
    for entry in entries:
        document = {name: value for name, value in asdict(entry).items() if name != "seq"}
        columns = {name: document[name] for name in AUDIT.columns}
        house.records.commit(Change(writes=[Put(AUDIT, standing[entry.seq].key, document, columns)]))


@pytest.mark.parametrize("changed", [{"subject": "other"}, {"count": 2}])
def test_a_history_that_was_written_anew_is_found_by_what_was_sealed(house: House, changed: dict[str, Any]) -> None:
    house.note(4)
    audit = house.audit()
    before = audit.entries()[::-1]
    rewrite(house, forged(before, 2, **changed))
    assert audit.verify().broken_at is None, "the chain alone does not show it"
    rewrite(house, before)
    audit.seal()
    assert audit.verify().broken_at is None
    rewrite(house, forged(before, 2, **changed))
    assert audit.verify().broken_at == 2


def test_a_sealed_end_that_was_cut_off_is_found(house: House) -> None:
    house.note(3)
    audit = house.audit()
    audit.seal()
    last = house.records.search(AUDIT, descending=True, limit=1)[0]
    house.records.commit(Change(writes=[Delete(AUDIT, last.key)]))
    verdict = audit.verify()
    assert (verdict.entries, verdict.broken_at) == (2, 3)


def test_an_entry_changed_in_the_table_breaks_the_chain_and_is_not_sealed(house: House) -> None:
    house.note(3)
    audit = house.audit()
    second = audit.entries()[1]
    rewrite(house, [replace(second, subject="other")])
    assert audit.verify().broken_at == 2
    with pytest.raises(Corrupt, match="entry 2"):
        audit.seal()
    assert house.names() == []


def test_a_segment_holds_what_was_noted_and_its_place(house: House) -> None:
    house.note(2)
    house.audit().seal()
    body = house.s3.get_object(Bucket=house.bucket, Key="chain/000000000001.ndjson")["Body"].read()
    head, *entries = [json.loads(line) for line in body.splitlines()]
    assert head == {"first": 1, "last": 2, "before": GENESIS}
    assert [Noted(**entry) for entry in entries] == house.audit().entries()[::-1]


def test_sealing_takes_the_key_it_is_told(ministack: str, house: House) -> None:
    key = client(ministack, "kms").create_key()["KeyMetadata"]["Arn"]
    house.note(1)
    DynamoAudit(house.records, Seals(house.s3, house.bucket, now, key=key)).seal()
    head = house.s3.head_object(Bucket=house.bucket, Key="chain/000000000001.ndjson")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_what_aws_refuses_is_told_without_what_was_sent(house: House) -> None:
    house.note(1, "DOE^JOHN")
    house.bucket = unique("lost")
    with pytest.raises(NotFound) as caught:
        house.audit().seal()
    assert "DOE" not in str(caught.value)
