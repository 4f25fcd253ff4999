"""The Records port on DynamoDB keeps its contract, on two servers that others have written, and stands faults."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from radloop.aws.changes import AUDIT
from radloop.aws.records import DynamoRecords
from radloop.core.errors import Conflict, TooLarge, Unavailable
from radloop.core.events import ImageQuarantined
from radloop.core.ports import Adjust, AuditEntry, Change, Delete, Job, Put, Term
from radloop.core.tables import IMAGE_SETS, QUARANTINE, STUDIES, TABLES
from radloop.security.chain import GENESIS, link
from tests.aws.emulators import client
from tests.aws.faults import Fault, answer, client_with, let_through, lose_the_answer, refuse
from tests.aws.substrate import Substrate
from tests.contracts.records import RecordsContract, put

AT = datetime(2026, 1, 2, tzinfo=UTC)


class TestDynamoRecords(RecordsContract):
    pass


@pytest.mark.slow
class TestDynamoRecordsOnMoto(RecordsContract):
    @pytest.fixture
    def substrate(self, moto_server: str) -> Substrate:
        return Substrate(moto_server)


def faulty(substrate: Substrate, *faults: Fault) -> DynamoRecords:
    client = client_with(substrate.address, "dynamodb", "TransactWriteItems", list(faults))
    return DynamoRecords(client, substrate.table, substrate.watch)


@pytest.mark.parametrize(
    "fault",
    [
        refuse("TransactionCanceledException", reasons=["None", "TransactionConflict"]),
        refuse("TransactionCanceledException", reasons=["ThrottlingError"]),
        refuse("TransactionCanceledException", reasons=["ConditionalCheckFailed"]),
        refuse("ProvisionedThroughputExceededException"),
        refuse("ThrottlingException"),
        refuse("TransactionInProgressException"),
        refuse("InternalServerError", status=500),
        lose_the_answer,
    ],
)
def test_what_does_not_work_for_a_moment_is_tried_again_and_made_once(substrate: Substrate, fault: Fault) -> None:
    substrate.records.commit(Change(writes=[Put(STUDIES, "s", {}, {"instances": 0})]))
    records = faulty(substrate, fault, let_through)
    for _ in range(3):
        records.commit(Change(writes=[Adjust(STUDIES, "s", {"instances": 1})]))
    row = records.get(STUDIES, "s")
    assert (row.columns["instances"], row.revision) == (3, 4)


def test_an_answer_lost_even_by_the_client_does_not_make_a_change_twice(substrate: Substrate) -> None:
    records = faulty(substrate, *[lose_the_answer] * 7)  # the client itself gives up after five
    records.commit(Change(writes=[put("a"), Adjust(QUARANTINE, "a", {}, {"reason": "x"})]))
    records.commit(Change(writes=[put("b", expected=0)]))
    assert [(row.key, row.revision) for row in records.find(QUARANTINE)] == [("a", 2), ("b", 1)]


def test_what_does_not_get_better_is_unavailable_and_tells_no_value(substrate: Substrate) -> None:
    secret = put("a", reason="Doe^Jane")
    for fault in (
        refuse("TransactionCanceledException", reasons=["ItemCollectionSizeLimitExceeded", "None"]),
        refuse("ResourceNotFoundException"),
    ):
        with pytest.raises(Unavailable) as caught:
            faulty(substrate, fault).commit(Change(writes=[secret]))
        assert "Doe" not in str(caught.value)
    assert substrate.records.get(QUARANTINE, "a") is None
    nowhere = DynamoRecords(client(substrate.address, "dynamodb"), "nowhere", substrate.watch)
    with pytest.raises(Unavailable):
        nowhere.get(QUARANTINE, "a")


def test_processes_that_adjust_one_counter_lose_nothing(substrate: Substrate) -> None:
    substrate.records.commit(Change(writes=[Put(STUDIES, "s", {}, {"instances": 0})]))

    def add(_: int) -> None:
        records = substrate.other_records()
        for _ in range(5):
            records.commit(Change(writes=[Adjust(STUDIES, "s", {"instances": 1}, {"updated": 1.0})]))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    assert substrate.records.get(STUDIES, "s").columns["instances"] == 30


def test_processes_that_write_at_once_share_no_place_and_leave_one_chain(substrate: Substrate) -> None:
    event = ImageQuarantined(quarantine_id="q", reason="r").told(at=AT)

    def write(name: str) -> None:
        records = substrate.other_records()
        for n in range(4):
            entry = AuditEntry("ada", "put", f"{name}{n}")
            records.commit(Change(writes=[put(f"{name}{n}")], audit=[entry, entry], events=[event]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    records = substrate.records
    assert [row.order for row in records.find(QUARANTINE)] == list(range(1, 17))
    assert len(substrate.bus.events()) == 1
    entries = records.find(AUDIT)
    assert [row.order for row in entries] == list(range(1, 33))
    head = GENESIS
    for row in entries:
        *fields, noted = (row.document[name] for name in NOTED)
        head = link(head, (row.order, *fields))
        assert noted == head
    assert len(records.find(AUDIT, {"subject": "a0"})) == 2


NOTED = ("time", "principal", "action", "subject", "outcome", "count", "hash")


def test_counted_entries_are_links_of_the_same_chain(substrate: Substrate) -> None:
    substrate.records.note([(AuditEntry("ada", "read", "i"), 7)])
    substrate.records.commit(Change(audit=[AuditEntry("bob", "verify", "i")]))
    first, second = substrate.records.find(AUDIT)
    assert (first.document["count"], second.document["count"]) == (7, 1)
    fields = [second.document[name] for name in NOTED[:-1]]
    assert second.document["hash"] == link(first.document["hash"], (2, *fields))


def test_what_is_removed_leaves_nothing_behind_but_counts(substrate: Substrate) -> None:
    records = substrate.records
    text = "".join(chr(33 + (n * n) % 90) for n in range(1000)) + "".join(map(str, range(400_000)))
    columns = {"patient_name": "x", "study_date": "20260102", "instances": 3, "is_open": 1, "updated": 1.5}
    records.commit(Change(writes=[Put(STUDIES, "s", {"text": text}, columns)]))
    assert len(items(substrate)) > 8
    records.commit(Change(writes=[Adjust(STUDIES, "s", {"instances": 1}, {"is_open": None, "patient_name": "y"})]))
    assert records.get(STUDIES, "s").document == {"text": text}
    records.commit(Change(writes=[Delete(STUDIES, "s")]))
    assert {item["pk"]["S"] for item in items(substrate)} == {":stamp", ":sequence"}


def items(substrate: Substrate) -> list[dict[str, Any]]:
    return client(substrate.address, "dynamodb").scan(TableName=substrate.table, ConsistentRead=True)["Items"]


@pytest.mark.parametrize(
    "change",
    [
        Change(writes=[put(f"{n}") for n in range(50)]),
        Change(writes=[Put(QUARANTINE, "a", {"text": list(range(5_000_000))})]),
        Change(writes=[put("a", reason="r" * 400_000)]),
        Change(writes=[put("a")], jobs=[Job(id="j", lane="fold", kind="k", payload={"long": "x" * 300_000})]),
        Change(writes=[put("a")], events=[ImageQuarantined(quarantine_id="q", reason="r" * 300_000).told(at=AT)]),
    ],
    ids=["items", "bytes", "columns", "job", "event"],
)
def test_more_than_a_transaction_holds_is_too_large_and_nothing_is_made(substrate: Substrate, change: Change) -> None:
    before = substrate.records.stamp()
    with pytest.raises(TooLarge):
        substrate.records.commit(change)
    assert (items(substrate), substrate.records.stamp()) == ([], before)


def test_as_much_as_is_promised_goes_into_one_change(substrate: Substrate) -> None:
    columns = dict.fromkeys(IMAGE_SETS.indexed, "x")
    writes = [Put(IMAGE_SETS, f"{n}", {}, columns) for n in range(6)]
    substrate.records.commit(Change(writes=writes))
    assert substrate.records.count(IMAGE_SETS) == 6


def test_a_change_that_is_overtaken_between_reading_and_writing_sees_what_the_other_did(substrate: Substrate) -> None:
    substrate.records.commit(Change(writes=[Put(STUDIES, "s", {}, {"instances": 0, "patient_name": "a"})]))

    def overtake(_: Any) -> None:
        write = Adjust(STUDIES, "s", {"instances": 10}, {"patient_name": "b"})
        substrate.records.commit(Change(writes=[write]))

    records = faulty(substrate, overtake)
    records.commit(Change(writes=[Adjust(STUDIES, "s", {"instances": 1})]))
    assert records.get(STUDIES, "s").columns["instances"] == 11
    assert [records.count(STUDIES, {"patient_name": name}) for name in ("a", "b")] == [0, 1]
    with pytest.raises(Conflict):
        faulty(substrate, overtake).commit(Change(writes=[Put(STUDIES, "s", {}, {}, expected=3)]))


def test_a_removal_that_is_overtaken_by_an_insertion_removes_it(substrate: Substrate) -> None:
    def overtake(_: Any) -> None:
        substrate.records.commit(Change(writes=[put("a")]))

    faulty(substrate, overtake).commit(Change(writes=[Delete(QUARANTINE, "a")]))
    assert substrate.records.get(QUARANTINE, "a") is None
    assert substrate.records.find(QUARANTINE) == []


@pytest.mark.slow
def test_readers_see_a_long_document_whole_while_it_is_rewritten(substrate: Substrate) -> None:
    records, stop = substrate.records, threading.Event()
    texts = [f"{n}" + "".join(f"{(i * (n + 7)) % 9973:x}" for i in range(250_000)) for n in range(3)]
    records.commit(Change(writes=[Put(QUARANTINE, "a", {"text": texts[0]})]))

    def rewrite() -> None:
        mine = substrate.other_records()
        while not stop.is_set():
            for text in texts:
                mine.commit(Change(writes=[Put(QUARANTINE, "a", {"text": text})]))

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(15):
            assert records.get(QUARANTINE, "a").document["text"] in texts
    finally:
        stop.set()
        writer.join()


def test_many_records_are_found_page_by_page(substrate: Substrate) -> None:
    for start in range(0, 120, 24):
        some = range(start, start + 24)
        columns = [{"reason": "r", "digest": f"{n}"} for n in some]
        writes = [Put(QUARANTINE, f"{n}", {"value": n}, each) for n, each in zip(some, columns, strict=True)]
        substrate.records.commit(Change(writes=writes))
    rows = substrate.records.search(QUARANTINE, [Term("reason", "prefix", ("r",))], order="reason")
    assert [row.document["value"] for row in rows] == list(range(120))
    assert substrate.records.count(QUARANTINE) == 120
    cut = substrate.records.find(QUARANTINE, {"reason": "r"}, after=100, limit=30, newest_first=True)
    assert [row.order for row in cut] == list(range(99, 69, -1))
    rare = [Term("reason", "prefix", ("r",)), Term("digest", "glob", ("*7",))]
    found = substrate.records.search(QUARANTINE, rare, order="reason", limit=7, offset=2)
    assert [row.document["value"] for row in found] == [27, 37, 47, 57, 67, 77, 87]


def read_with(substrate: Substrate, *faults: Fault) -> DynamoRecords:
    client = client_with(substrate.address, "dynamodb", "BatchGetItem", list(faults))
    return DynamoRecords(client, substrate.table, substrate.watch)


def test_what_dynamodb_had_no_time_to_read_is_asked_for_again(substrate: Substrate) -> None:
    substrate.records.commit(Change(writes=[put("a", 1), put("b", 2)]))

    def none_of_it(request: Any) -> AWSResponse:
        asked = json.loads(request.body)["RequestItems"]
        return answer(request.url, 200, {"Responses": {}, "UnprocessedKeys": asked})

    records = read_with(substrate, none_of_it, none_of_it)
    assert [row.document["value"] for row in records.find(QUARANTINE)] == [1, 2]
    assert read_with(substrate, none_of_it).get(QUARANTINE, "b").document == {"value": 2}


def test_a_record_that_is_named_shortly_before_it_can_be_read_is_waited_for(substrate: Substrate) -> None:
    substrate.records.commit(Change(writes=[put("a", 1)]))

    def not_yet(request: Any) -> AWSResponse:
        return answer(request.url, 200, {"Responses": {}, "UnprocessedKeys": {}})

    assert [row.key for row in read_with(substrate, not_yet, not_yet).find(QUARANTINE)] == ["a"]


def test_no_table_of_ours_has_the_name_of_one_that_the_outbox_or_the_audit_keeps() -> None:
    assert {table.name for table in TABLES} & {"events", "jobs", "audit"} == set()
