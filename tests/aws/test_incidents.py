"""Whoever reads of too many patients is noticed and kept out: on the table, and at the user pool."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radloop.aws.audit import DynamoAudit
from radloop.aws.outbox import EVENTS
from radloop.aws.records import DynamoRecords
from radloop.aws.rights import rights_of
from radloop.aws.seals import Seals
from radloop.core.contracts import contracts
from radloop.core.errors import Denied
from radloop.core.images import ImageSet
from radloop.core.ports import Change, Put
from radloop.core.tables import SESSIONS, USERS
from radloop.functions.incidents import IncidentWatch
from radloop.registry.signatures import PrivateKey
from radloop.security.accounts import User, put_user, user_document
from radloop.security.isolation import is_isolated
from tests.aws.emulators import client, make_bucket, unique
from tests.aws.table import make_table
from tests.contracts.incidents import LIMITS, READER, IncidentsContract, only, opened
from tests.functions.house import House

CONTRACT = (contracts() / "functions.json").read_text()


class CloudPlace:
    """The platform of one machine with records and audit on a table, held to the rights of a function."""

    def __init__(self, address: str, folder: Path, function: str | None = None) -> None:
        self._house = House.build(folder, LIMITS)
        dynamo, s3 = client(address, "dynamodb"), client(address, "s3")
        bucket = make_bucket(address, unique("audit"), ObjectLockEnabledForBucket=True)
        table, clock = make_table(address), self._house.clock
        self._whole = DynamoRecords(dynamo, table, clock)
        told = {} if function is None else {"rights": rights_of(CONTRACT, function)}
        records = DynamoRecords(dynamo, table, clock, **told)
        audit = DynamoAudit(records, Seals(s3, bucket, clock))
        self.platform = replace(self._house.platform, records=records, audit=audit, signer=PrivateKey(bytes(32)))
        self.audit = audit
        self.stored = replace(self._house, platform=replace(self.platform, records=self._whole))

    def store(self, patient: str, number: int = 0) -> ImageSet:
        return self.stored.store(patient, number)

    def sign_in(self, identity: str) -> None:
        """A user of ours with a session."""
        user = User(identity, "ann", frozenset({"reader"}), None, False, self.platform.clock())
        put = put_user(user, user_document(user, "hash"), expected=0)
        self._whole.commit(Change(writes=[put, Put(SESSIONS, "s", {}, {"user": put.key})]))

    def wait(self, seconds: float) -> None:
        self._house.clock.wait(seconds)

    def alarms(self) -> list[Mapping[str, Any]]:
        told = [row.document for row in self._whole.find(EVENTS)]
        return [each["detail"] for each in told if each["detail_type"] == "AlarmStateChanged"]

    def close(self) -> None:
        self.audit.close()
        self._house.database.close()


@pytest.fixture
def place(ministack: str, tmp_path: Path) -> Iterator[CloudPlace]:
    made = CloudPlace(ministack, tmp_path)
    yield made
    made.close()


class TestIncidentsOnMiniStack(IncidentsContract):
    pass


def test_the_outbox_may_keep_somebody_out_and_change_no_account(ministack: str, tmp_path: Path) -> None:
    made = CloudPlace(ministack, tmp_path, "outbox")
    opened(made, 8)
    made.sign_in(READER.id)
    assert IncidentWatch(made.platform).look() == [only(made).id]
    assert is_isolated(made.platform.records, READER.id)
    for table in (USERS, SESSIONS):
        with pytest.raises(Denied):
            made.platform.records.commit(Change(writes=[Put(table, "x", {})]))
    made.close()


def test_a_function_that_takes_files_in_lets_nobody_in_again(ministack: str, tmp_path: Path) -> None:
    made = CloudPlace(ministack, tmp_path, "image-ingestion")
    opened(made, 8)
    with pytest.raises(Denied, match="incidents"):
        IncidentWatch(made.platform).look()
    made.close()
