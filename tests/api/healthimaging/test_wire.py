"""Requests and answers by the model, without a server."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from radloop.api.healthimaging.routes import Throttle
from radloop.api.healthimaging.wire import Sent, Unreadable, path_of, read_request, service, write_answer, write_error
from radloop.core.errors import InvalidInput, Throttled
from radloop.local.shared import SharedNotes

ID = "a" * 32


def read(operation: str, *, labels: Any = None, query: Any = None, body: Any = None) -> dict[str, Any]:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = Sent(labels or {"datastoreId": ID, "imageSetId": ID}, query or {}, {}, data)
    return read_request(service().operation_model(operation), sent)


def test_the_addresses_are_those_of_the_model() -> None:
    paths = {name: path_of(service().operation_model(name)) for name in service().operation_names}
    assert paths["GetImageFrame"] == "/datastore/{datastoreId}/imageSet/{imageSetId}/getImageFrame"
    assert paths["TagResource"] == "/tags/{resourceArn:path}", "a resource name holds slashes"
    assert len(set(paths.values())) == 14


def test_members_come_from_address_query_and_body() -> None:
    update = {"DICOMUpdates": {"updatableAttributes": base64.b64encode(b"{}").decode()}}
    found = read("UpdateImageSetMetadata", query={"latestVersion": ["3"], "force": ["true"]}, body=update)
    assert found == {
        "datastoreId": ID,
        "imageSetId": ID,
        "latestVersionId": "3",
        "force": True,
        "updateImageSetMetadataUpdates": {"DICOMUpdates": {"updatableAttributes": b"{}"}},
    }
    tags = read(
        "UntagResource",
        labels={"resourceArn": f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{ID}"},
        query={"tagKeys": ["a", "b"]},
    )
    assert tags["tagKeys"] == ["a", "b"]


@pytest.mark.parametrize("moment", [1700000000, 1700000000.0, "2023-11-14T22:13:20Z"])
def test_moments_are_seconds_or_text(moment: Any) -> None:
    body = {"filters": [{"operator": "EQUAL", "values": [{"createdAt": moment}]}]}
    (found,) = read("SearchImageSets", body=body)["searchCriteria"]["filters"]
    assert found["values"] == [{"createdAt": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}]


@pytest.mark.parametrize(
    ("operation", "sent", "place"),
    [
        ("GetDatastore", {"labels": {"datastoreId": "UPPER"}}, "/datastoreId"),
        ("ListDatastores", {"query": {"maxResults": ["0"]}}, "/maxResults"),
        ("ListDatastores", {"query": {"maxResults": ["many"]}}, "/maxResults"),
        ("ListDatastores", {"query": {"datastoreStatus": ["GONE"]}}, "/datastoreStatus"),
        ("ListDatastores", {"query": {"nextToken": ["\u00e4"]}}, "/nextToken"),
        ("CreateDatastore", {"body": {"datastoreName": "a" * 257, "clientToken": "t"}}, "/datastoreName"),
        ("CreateDatastore", {"body": {"datastoreName": "a"}}, "/clientToken"),
        ("CreateDatastore", {"body": {"clientToken": "t", "tags": {"k": 1}}}, "/tags"),
        ("CreateDatastore", {"body": {"clientToken": "t", "tags": []}}, "/tags"),
        ("GetImageFrame", {"body": {"imageFrameId": 3}}, "/imageFrameInformation/imageFrameId"),
        ("GetImageFrame", {}, "/imageFrameInformation"),
        ("SearchImageSets", {"body": {"filters": []}}, "/searchCriteria/filters"),
        ("SearchImageSets", {"body": {"filters": [{"operator": "EQUAL", "values": [{}]}]}}, "/values/0"),
        (
            "SearchImageSets",
            {"body": {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": "a", "DICOMStudyId": "b"}]}]}},
            "/values/0",
        ),
        (
            "SearchImageSets",
            {"body": {"filters": [{"operator": "EQUAL", "values": [{"createdAt": 1e300}]}]}},
            "/createdAt",
        ),
        (
            "SearchImageSets",
            {"body": {"filters": [{"operator": "EQUAL", "values": [{"isPrimary": "yes"}]}]}},
            "/isPrimary",
        ),
        (
            "UpdateImageSetMetadata",
            {
                "query": {"latestVersion": ["1"]},
                "body": {"DICOMUpdates": {"updatableAttributes": "not base64!"}},
            },
            "/updatableAttributes",
        ),
        (
            "UpdateImageSetMetadata",
            {
                "query": {"latestVersion": ["1"]},
                "body": {"DICOMUpdates": {"updatableAttributes": base64.b64encode(b"a" * 30001).decode()}},
            },
            "/updatableAttributes",
        ),
    ],
)
def test_a_broken_constraint_names_its_place(operation: str, sent: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput, match="validation error") as caught:
        read(operation, **sent)
    assert place in str(caught.value)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"3"])
def test_what_is_no_json_object_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read("SearchImageSets", body=body)


def test_members_nobody_knows_are_passed_over() -> None:
    assert read("CreateDatastore", labels={}, body={"clientToken": "t", "other": 1}) == {"clientToken": "t"}


def test_an_answer_is_written_by_the_model() -> None:
    operation = service().operation_model("GetImageFrame")
    told = write_answer(operation, {"imageFrameBlob": b"bytes", "contentType": "image/jph"})
    assert (told.status, told.headers, told.body) == (200, {"Content-Type": "image/jph"}, b"bytes")
    operation = service().operation_model("StartDICOMImportJob")
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    values = {"datastoreId": ID, "jobId": ID, "jobStatus": "SUBMITTED", "submittedAt": at}
    assert json.loads(write_answer(operation, values).body)["submittedAt"] == pytest.approx(at.timestamp(), abs=1e-3)


def test_an_answer_the_model_does_not_know_is_our_fault() -> None:
    operation = service().operation_model("DeleteDatastore")
    with pytest.raises(KeyError):
        write_answer(operation, {"datastoreId": ID})
    with pytest.raises(KeyError):
        write_answer(operation, {"datastoreId": ID, "datastoreStatus": "DELETED", "more": 1})


def test_an_error_has_its_name_and_status() -> None:
    told = write_error("ServiceQuotaExceededException", "too many")
    assert (told.status, told.headers["x-amzn-ErrorType"]) == (402, "ServiceQuotaExceededException")
    assert json.loads(told.body) == {"message": "too many"}


def test_a_throttle_takes_calls_from_a_bucket_that_all_doors_share(tmp_path: Path) -> None:
    mine, theirs = SharedNotes(tmp_path / "notes.sqlite"), SharedNotes(tmp_path / "notes.sqlite")
    for notes in (mine, theirs):
        Throttle({"GetImageFrame": 2.0}, notes).admit("GetImageFrame")
    with pytest.raises(Throttled):
        Throttle({"GetImageFrame": 0.001}, mine).admit("GetImageFrame")
    Throttle({"GetImageFrame": 2.0}, mine).admit("SearchImageSets")
    mine.close()
    theirs.close()
