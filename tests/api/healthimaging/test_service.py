"""The whole service model, operation by operation, with real boto3 against a real server."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from radloop.api.healthimaging.operations import OPERATIONS
from radloop.api.healthimaging.wire import service
from radloop.codec.htj2k import decode
from radloop.core.tables import DEFAULT_DATASTORE
from tests.api.healthimaging.conftest import ROLE, Imaging, connect
from tests.api.healthimaging.documents import as_bytes, frames_of, instances_of, metadata_of, series_of
from tests.store.house import of_patient, phantom

NOWHERE = "0" * 32


def arn(datastore: str) -> str:
    return f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{datastore}"


def refused(call: Any, **members: Any) -> str:
    """The name of the exception class that boto3 makes of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    assert type(caught.value).__name__ == caught.value.response["Error"]["Code"], "botocore knows the class"
    assert caught.value.response["Error"]["Message"]
    return type(caught.value).__name__


def test_every_operation_of_the_model_is_there() -> None:
    assert set(OPERATIONS) == set(service().operation_names)
    assert len(OPERATIONS) == 18


def test_a_data_store_lives_and_ends(imaging: Imaging) -> None:
    client = imaging.client
    made = client.create_datastore(datastoreName="chest.ct", tags={"site": "north"})
    assert made["datastoreStatus"] == "ACTIVE"
    identity = made["datastoreId"]
    told = client.get_datastore(datastoreId=identity)["datastoreProperties"]
    assert told["datastoreName"] == "chest.ct"
    assert told["datastoreArn"] == arn(identity)
    assert told["losslessStorageFormat"] == "HTJ2K"
    assert abs(told["createdAt"] - datetime.now(UTC)) < timedelta(minutes=5)
    assert client.list_tags_for_resource(resourceArn=arn(identity))["tags"] == {"site": "north"}
    assert client.delete_datastore(datastoreId=identity)["datastoreStatus"] == "DELETED"
    assert client.get_datastore(datastoreId=identity)["datastoreProperties"]["datastoreStatus"] == "DELETED"
    assert refused(client.start_dicom_import_job, **job(identity)) == "ResourceNotFoundException"


def test_every_home_has_a_data_store_from_the_start(imaging: Imaging) -> None:
    told = imaging.client.get_datastore(datastoreId=DEFAULT_DATASTORE)["datastoreProperties"]
    assert (told["datastoreName"], told["datastoreStatus"]) == ("radloop", "ACTIVE")
    assert refused(imaging.client.delete_datastore, datastoreId=DEFAULT_DATASTORE) == "ConflictException"


def test_the_same_token_makes_one_data_store(imaging: Imaging) -> None:
    token = uuid.uuid4().hex
    first = imaging.client.create_datastore(datastoreName="once", clientToken=token)
    assert (
        imaging.client.create_datastore(datastoreName="once", clientToken=token)["datastoreId"] == first["datastoreId"]
    )
    assert refused(imaging.client.create_datastore, datastoreName="twice", clientToken=token) == "ConflictException"


def test_tags_come_and_go(imaging: Imaging, datastore: str) -> None:
    client = imaging.client
    client.tag_resource(resourceArn=arn(datastore), tags={"a": "1", "b": "2", "c": "3"})
    client.untag_resource(resourceArn=arn(datastore), tagKeys=["a", "b", "not-there"])
    time.sleep(1)  # this operation is throttled, for another test
    assert client.list_tags_for_resource(resourceArn=arn(datastore))["tags"] == {"c": "3"}
    assert refused(client.tag_resource, resourceArn=arn(NOWHERE), tags={"a": "1"}) == "ResourceNotFoundException"
    assert refused(client.tag_resource, resourceArn=arn(datastore), tags={"aws:a": "1"}) == "ValidationException"


def job(datastore: str, **other: Any) -> dict[str, Any]:
    members = {
        "datastoreId": datastore,
        "dataAccessRoleArn": ROLE,
        "inputS3Uri": "s3://training-data/nothing/",
        "outputS3Uri": "s3://training-data/out/",
    }
    return {**members, **other}


def test_an_import_tells_what_became_of_every_file(imaging: Imaging, datastore: str) -> None:
    ended = imaging.imported(datastore, *phantom(), b"no dicom")
    assert ended["jobStatus"] == "COMPLETED"
    assert ended["endedAt"] >= ended["submittedAt"]
    folder = imaging.home / "objects/training-data/out" / f"{datastore}-DicomImport-{ended['jobId']}"
    summary = json.loads((folder / "job-output-manifest.json").read_text())["jobSummary"]
    assert (summary["numberOfScannedFiles"], summary["numberOfImportedFiles"]) == (5, 4)
    assert summary["numberOfFilesWithCustomerError"] == 1
    (found,) = imaging.found(datastore)
    assert summary["imageSetsSummary"] == [
        {"imageSetId": found["imageSetId"], "numberOfMatchedSOPInstances": 4, "isPrimary": True}
    ]
    lines = [json.loads(line) for line in (folder / "SUCCESS/success.ndjson").read_text().splitlines()]
    assert {line["importResponse"]["imageSetId"] for line in lines} == {found["imageSetId"]}
    (line,) = [json.loads(line) for line in (folder / "FAILURE/failure.ndjson").read_text().splitlines()]
    assert line["inputFile"].endswith("0004.dcm")
    assert line["exception"]["exceptionType"] == "ValidationException"
    assert (folder / "WARNING/warning.ndjson").read_text() == ""


def test_an_import_of_what_is_there_already_adds_nothing(imaging: Imaging, datastore: str) -> None:
    identity = imaging.one_set(datastore, *phantom())
    imaging.imported(datastore, *phantom())
    (found,) = imaging.found(datastore)
    assert (found["imageSetId"], found["version"]) == (identity, 1)


def test_jobs_are_listed_newest_first_and_by_status(imaging: Imaging, datastore: str) -> None:
    jobs = [imaging.imported(datastore, data)["jobId"] for data in phantom()[:3]]
    paginator = imaging.client.get_paginator("list_dicom_import_jobs")
    pages = list(paginator.paginate(datastoreId=datastore, PaginationConfig={"PageSize": 2}))
    assert [len(page["jobSummaries"]) for page in pages] == [2, 1]
    assert [each["jobId"] for page in pages for each in page["jobSummaries"]] == jobs[::-1]
    of_status = imaging.client.list_dicom_import_jobs(datastoreId=datastore, jobStatus="FAILED")
    assert of_status["jobSummaries"] == []


def test_the_same_token_starts_one_import(imaging: Imaging, datastore: str) -> None:
    token = uuid.uuid4().hex
    first = imaging.client.start_dicom_import_job(**job(datastore, clientToken=token))
    again = imaging.client.start_dicom_import_job(**job(datastore, clientToken=token))
    assert (again["jobId"], again["submittedAt"]) == (first["jobId"], first["submittedAt"])
    imaging.ended(datastore, first["jobId"])
    other = job(datastore, clientToken=token, jobName="other")
    assert refused(imaging.client.start_dicom_import_job, **other) == "ConflictException"


@pytest.mark.parametrize(
    "uri", ["s3://image-sets/a/", "s3://training-data/../image-sets/", "s3://training-data/quarantine/a"]
)
def test_an_import_never_reads_what_the_installation_keeps_for_itself(
    imaging: Imaging, datastore: str, uri: str
) -> None:
    assert refused(imaging.client.start_dicom_import_job, **job(datastore, inputS3Uri=uri)) == "ValidationException"


def test_a_search_pages_through_everything_once(imaging: Imaging, datastore: str) -> None:
    imaging.imported(datastore, *(file for number in range(2, 9) for file in of_patient(number)))
    paginator = imaging.client.get_paginator("search_image_sets")
    for order in ("ASC", "DESC"):
        for field in ("updatedAt", "createdAt", "DICOMStudyDateAndTime"):
            criteria = {"sort": {"sortField": field, "sortOrder": order}}
            pages = list(
                paginator.paginate(datastoreId=datastore, searchCriteria=criteria, PaginationConfig={"PageSize": 3})
            )
            found = [each["imageSetId"] for page in pages for each in page["imageSetsMetadataSummaries"]]
            assert (len(pages), len(found), len(set(found))) == (3, 7, 7)
            assert pages[0]["sort"] == criteria["sort"]


def test_every_filter_finds_its_own(imaging: Imaging, datastore: str) -> None:
    identity = imaging.one_set(datastore, *phantom())
    imaging.one_set(datastore, *phantom(2))
    (found,) = [each for each in imaging.found(datastore) if each["imageSetId"] == identity]
    tags = found["DICOMTags"]
    texts = {
        "DICOMPatientId": tags["DICOMPatientId"],
        "DICOMAccessionNumber": tags["DICOMAccessionNumber"],
        "DICOMStudyInstanceUID": tags["DICOMStudyInstanceUID"],
        "DICOMSeriesInstanceUID": tags["DICOMSeriesInstanceUID"],
        "updatedAt": found["updatedAt"],
    }
    for name, value in texts.items():
        assert ids(imaging.found(datastore, equal({name: value}))) == {identity}, name
        if isinstance(value, str):
            assert imaging.found(datastore, equal({name: "9"})) == []
    assert len(imaging.found(datastore, equal({"DICOMStudyId": tags["DICOMStudyId"]}))) == 2
    assert len(imaging.found(datastore, equal({"isPrimary": True}))) == 2
    assert imaging.found(datastore, equal({"isPrimary": False})) == []
    day = {"DICOMStudyDate": tags["DICOMStudyDate"]}
    assert ids(imaging.found(datastore, between({"DICOMStudyDateAndTime": day}, {"DICOMStudyDateAndTime": day}))) == {
        identity
    }
    late = {"DICOMStudyDateAndTime": {"DICOMStudyDate": "21000101", "DICOMStudyTime": "0815"}}
    assert imaging.found(datastore, between(late, late)) == []
    now = datetime.now(UTC)
    for name in ("createdAt", "updatedAt"):
        lately = between({name: now - timedelta(hours=1)}, {name: now + timedelta(hours=1)})
        assert len(imaging.found(datastore, lately)) == 2
        assert imaging.found(datastore, between({name: now - timedelta(days=2)}, {name: now - timedelta(days=1)})) == []
    both = imaging.found(datastore, equal({"DICOMPatientId": tags["DICOMPatientId"]}), equal({"isPrimary": True}))
    assert ids(both) == {identity}


def equal(value: dict[str, Any]) -> dict[str, Any]:
    return {"operator": "EQUAL", "values": [value]}


def between(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    return {"operator": "BETWEEN", "values": [low, high]}


def ids(found: list[dict[str, Any]]) -> set[str]:
    return {each["imageSetId"] for each in found}


@pytest.mark.parametrize(
    "filter_",
    [
        {"operator": "BETWEEN", "values": [{"DICOMPatientId": "a"}, {"DICOMPatientId": "b"}]},
        {"operator": "EQUAL", "values": [{"DICOMPatientId": "a"}, {"DICOMPatientId": "b"}]},
        {"operator": "BETWEEN", "values": [{"createdAt": 1}]},
        {"operator": "EQUAL", "values": [{"DICOMStudyDateAndTime": {"DICOMStudyDate": "yesterday"}}]},
    ],
)
def test_a_filter_that_means_nothing_is_refused(imaging: Imaging, datastore: str, filter_: dict[str, Any]) -> None:
    told = refused(imaging.client.search_image_sets, datastoreId=datastore, searchCriteria={"filters": [filter_]})
    assert told == "ValidationException"


def test_metadata_and_frames_come_back_exactly(imaging: Imaging, datastore: str) -> None:
    identity = imaging.one_set(datastore, *phantom())
    document = metadata_of(imaging.client, datastore, identity)
    assert (document["SchemaVersion"], document["DatastoreID"], document["ImageSetID"]) == ("1.1", datastore, identity)
    assert document["Patient"]["DICOM"]["PatientName"] == "Phantom^00001"
    assert series_of(document)["DICOM"]["Modality"] == "CT"
    instances = instances_of(document)
    assert len(instances) == 4
    assert instances[0]["DICOM"]["KVP"] == "100 ", "DS keeps the blank that pads it"
    assert instances[0]["DICOM"]["Rows"] == 64
    assert instances[0]["StoredTransferSyntaxUID"] == "1.2.840.10008.1.2.4.202"
    for frame in frames_of(document):
        told = imaging.client.get_image_frame(
            datastoreId=datastore, imageSetId=identity, imageFrameInformation={"imageFrameId": frame["ID"]}
        )
        assert told["contentType"] == "image/jph"
        pixels = decode(told["imageFrameBlob"].read())
        assert (pixels.min(), pixels.max()) == (frame["MinPixelValue"], frame["MaxPixelValue"])
        assert pixels.nbytes == frame["FrameSizeInBytes"]


def test_versions_are_listed_and_told_apart(imaging: Imaging, datastore: str) -> None:
    identity = imaging.one_set(datastore, *phantom())
    where = {"datastoreId": datastore, "imageSetId": identity}
    for number in range(1, 5):
        told = imaging.client.update_image_set_metadata(
            **where,
            latestVersionId=str(number),
            updateImageSetMetadataUpdates={
                "DICOMUpdates": {"updatableAttributes": as_bytes(Study={"DICOM": {"StudyDescription": f"v{number}"}})}
            },
        )
        assert told["latestVersionId"] == str(number + 1)
    paginator = imaging.client.get_paginator("list_image_set_versions")
    pages = list(paginator.paginate(**where, PaginationConfig={"PageSize": 2}))
    versions = [each for page in pages for each in page["imageSetPropertiesList"]]
    assert [each["versionId"] for each in versions] == ["5", "4", "3", "2", "1"]
    assert [each["ImageSetWorkflowStatus"] for each in versions] == ["UPDATED"] * 4 + ["CREATED"]
    assert imaging.client.get_image_set(**where)["versionId"] == "5"
    assert imaging.client.get_image_set(**where, versionId="2")["imageSetWorkflowStatus"] == "UPDATED"
    third = metadata_of(imaging.client, datastore, identity, versionId="3")
    assert third["Study"]["DICOM"]["StudyDescription"] == "v2"
    assert refused(imaging.client.get_image_set, **where, versionId="6") == "ResourceNotFoundException"


def test_a_stale_version_is_a_conflict(imaging: Imaging, datastore: str) -> None:
    identity = imaging.one_set(datastore, *phantom())
    members = {
        "datastoreId": datastore,
        "imageSetId": identity,
        "updateImageSetMetadataUpdates": {
            "DICOMUpdates": {"updatableAttributes": as_bytes(Study={"DICOM": {"StudyDescription": "x"}})}
        },
    }
    imaging.client.update_image_set_metadata(**members, latestVersionId="1")
    assert refused(imaging.client.update_image_set_metadata, **members, latestVersionId="1") == "ConflictException"


def test_an_update_shows_everywhere_and_the_file_stays_as_it_came(imaging: Imaging, datastore: str) -> None:
    import httpx

    identity = imaging.one_set(datastore, *phantom())
    imaging.client.update_image_set_metadata(
        datastoreId=datastore,
        imageSetId=identity,
        latestVersionId="1",
        updateImageSetMetadataUpdates={
            "DICOMUpdates": {
                "updatableAttributes": as_bytes(Patient={"DICOM": {"PatientName": "Right^Name", "PatientID": "RIGHT"}}),
                "removableAttributes": as_bytes(Study={"DICOM": {"AccessionNumber": ""}}),
            }
        },
    )
    (found,) = imaging.found(datastore, equal({"DICOMPatientId": "RIGHT"}))
    assert found["DICOMTags"]["DICOMPatientName"] == "Right^Name"
    assert "DICOMAccessionNumber" not in found["DICOMTags"]
    root = f"{imaging.url}/datastore/{datastore}/studies"
    (study,) = httpx.get(root, params={"PatientName": "right*"}).json()
    assert study["00100020"]["Value"] == ["RIGHT"]
    uid = study["0020000D"]["Value"][0]
    told = httpx.get(f"{root}/{uid}/metadata").json()
    assert {each["00100010"]["Value"][0]["Alphabetic"] for each in told} == {"Right^Name"}
    assert all("00080050" not in each for each in told)
    series, sop = told[0]["0020000E"]["Value"][0], told[0]["00080018"]["Value"][0]
    file = httpx.get(
        f"{root}/{uid}/series/{series}/instances/{sop}",
        headers={"Accept": "application/dicom; transfer-syntax=*"},
    )
    assert file.content in phantom()


def test_a_copy_is_its_own_and_a_deletion_is_for_good(imaging: Imaging, datastore: str) -> None:
    client = imaging.client
    identity = imaging.one_set(datastore, *phantom())
    copy = client.copy_image_set(
        datastoreId=datastore,
        sourceImageSetId=identity,
        copyImageSetInformation={"sourceImageSet": {"latestVersionId": "1"}},
    )["destinationImageSetProperties"]
    other = {"datastoreId": datastore, "imageSetId": copy["imageSetId"]}
    (frame, *_) = frames_of(metadata_of(client, datastore, copy["imageSetId"]))
    deleted = client.delete_image_set(datastoreId=datastore, imageSetId=identity)
    assert deleted["imageSetState"] == "DELETED"
    assert client.get_image_set(datastoreId=datastore, imageSetId=identity)["imageSetState"] == "DELETED"
    assert refused(client.get_image_set_metadata, datastoreId=datastore, imageSetId=identity) == (
        "ResourceNotFoundException"
    )
    assert ids(imaging.found(datastore)) == {copy["imageSetId"]}
    told = client.get_image_frame(**other, imageFrameInformation={"imageFrameId": frame["ID"]})
    assert decode(told["imageFrameBlob"].read()).shape == (64, 64)
    assert refused(client.delete_datastore, datastoreId=datastore) == "ConflictException"
    client.delete_image_set(**other)
    assert client.delete_datastore(datastoreId=datastore)["datastoreStatus"] == "DELETED"


def test_data_stores_are_paged(imaging: Imaging) -> None:
    made = {imaging.datastore() for _ in range(3)}
    paginator = imaging.client.get_paginator("list_datastores")
    pages = list(paginator.paginate(datastoreStatus="ACTIVE", PaginationConfig={"PageSize": 2}))
    found = [each["datastoreId"] for page in pages for each in page["datastoreSummaries"]]
    assert made < set(found)
    assert len(found) == len(set(found))
    assert all(each["datastoreStatus"] == "ACTIVE" for page in pages for each in page["datastoreSummaries"])


# Errors: each class the model declares that can be caused


def test_what_is_not_there_is_not_found(imaging: Imaging, datastore: str) -> None:
    client, where = imaging.client, {"datastoreId": datastore, "imageSetId": NOWHERE}
    copy = {"sourceImageSet": {"latestVersionId": "1"}}
    update = {"revertToVersionId": "1"}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (client.get_datastore, {"datastoreId": NOWHERE}),
        (client.delete_datastore, {"datastoreId": NOWHERE}),
        (client.get_dicom_import_job, {"datastoreId": datastore, "jobId": NOWHERE}),
        (client.list_dicom_import_jobs, {"datastoreId": NOWHERE}),
        (client.start_dicom_import_job, job(NOWHERE)),
        (client.search_image_sets, {"datastoreId": NOWHERE}),
        (client.get_image_set, where),
        (client.get_image_set_metadata, where),
        (client.get_image_frame, {**where, "imageFrameInformation": {"imageFrameId": NOWHERE}}),
        (client.list_image_set_versions, where),
        (client.delete_image_set, where),
        (client.update_image_set_metadata, {**where, "latestVersionId": "1", "updateImageSetMetadataUpdates": update}),
        (
            client.copy_image_set,
            {"datastoreId": datastore, "sourceImageSetId": NOWHERE, "copyImageSetInformation": copy},
        ),
        (client.untag_resource, {"resourceArn": arn(NOWHERE), "tagKeys": ["a"]}),
    ]
    for call, members in calls:
        assert refused(call, **members) == "ResourceNotFoundException", call


def test_what_breaks_a_constraint_is_told_without_the_value(imaging: Imaging, datastore: str) -> None:
    loose = connect(imaging.url, parameter_validation=False)
    for members in ({"datastoreId": "UPPER"}, {"datastoreId": datastore, "maxResults": 51}):
        assert refused(loose.search_image_sets, **members) == "ValidationException"
    with pytest.raises(loose.exceptions.ValidationException) as caught:
        loose.create_datastore(datastoreName="Müller Anna")
    assert "Anna" not in str(caught.value)
    assert "/datastoreName" in str(caught.value)
    assert refused(loose.start_dicom_import_job, datastoreId=datastore) == "ValidationException"
    assert refused(loose.list_datastores, nextToken="AAAA") == "ValidationException"


def test_a_body_that_is_no_json_is_a_bad_request(imaging: Imaging, datastore: str) -> None:
    client = connect(imaging.url)

    def garble(request: Any, **_: Any) -> None:
        request.data = b"{"

    client.meta.events.register("before-sign.medical-imaging", garble)
    where = {"datastoreId": datastore, "imageSetId": NOWHERE}
    frame = {"imageFrameInformation": {"imageFrameId": NOWHERE}}
    assert refused(client.get_image_frame, **where, **frame) == "BadRequestException"
    assert refused(client.search_image_sets, datastoreId=datastore) == "ValidationException"


def test_a_frame_that_nobody_takes_is_not_acceptable(imaging: Imaging, datastore: str) -> None:
    identity = imaging.one_set(datastore, *phantom())
    (frame, *_) = frames_of(metadata_of(imaging.client, datastore, identity))
    client = connect(imaging.url)
    client.meta.events.register(
        "before-sign.medical-imaging", lambda request, **_: request.headers.__setitem__("Accept", "image/png")
    )
    where = {"datastoreId": datastore, "imageSetId": identity, "imageFrameInformation": {"imageFrameId": frame["ID"]}}
    assert refused(client.get_image_frame, **where) == "NotAcceptableException"


def test_too_many_calls_are_throttled(imaging: Imaging, datastore: str) -> None:
    names = []
    for _ in range(10):
        try:
            imaging.client.list_tags_for_resource(resourceArn=arn(datastore))
        except imaging.client.exceptions.ThrottlingException as error:
            names.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
    assert 4 <= len(names) <= 8
    assert set(names) == {429}


def test_an_unmodified_client_reaches_us_by_the_name_and_its_runtime_twin(
    imaging: Imaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    import boto3

    resolve = socket.getaddrinfo

    def known(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("ahi.test") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    client = boto3.client(
        "medical-imaging",
        endpoint_url=imaging.url.replace("127.0.0.1", "ahi.test"),
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    found = client.search_image_sets(datastoreId=DEFAULT_DATASTORE)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.get_datastore(datastoreId=DEFAULT_DATASTORE)["datastoreProperties"]["datastoreName"] == "radloop"


def test_the_host_prefix_is_switched_off_by_environment(imaging: Imaging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    client = botocore.session.get_session().create_client(
        "medical-imaging",
        endpoint_url=imaging.url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    assert client.search_image_sets(datastoreId=DEFAULT_DATASTORE)["ResponseMetadata"]["HTTPStatusCode"] == 200
