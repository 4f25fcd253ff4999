"""The model is the checklist: every operation, every paginator, and what each operation says when it refuses."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from radloop.api.healthimaging.wire import service
from radloop.core.identity import OWNER
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.security.accounts import NewCredential
from radloop.wiring import open_local
from tests.api.healthimaging.conftest import ROLE, Imaging, connect, serving
from tests.api.healthimaging.documents import as_bytes, frames_of, metadata_of
from tests.store.house import phantom

NOWHERE = "0" * 32
IMAGE_SET = {"datastoreId": DEFAULT_DATASTORE, "imageSetId": NOWHERE}
ARN = f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{DEFAULT_DATASTORE}"
OPERATIONS = sorted(service().operation_names)

LEAST: dict[str, dict[str, Any]] = {
    "CopyImageSet": {
        "datastoreId": DEFAULT_DATASTORE,
        "sourceImageSetId": NOWHERE,
        "copyImageSetInformation": {"sourceImageSet": {"latestVersionId": "1"}},
    },
    "CreateDatastore": {},
    "DeleteDatastore": {"datastoreId": NOWHERE},
    "DeleteImageSet": IMAGE_SET,
    "GetDICOMImportJob": {"datastoreId": DEFAULT_DATASTORE, "jobId": NOWHERE},
    "GetDatastore": {"datastoreId": NOWHERE},
    "GetImageFrame": {**IMAGE_SET, "imageFrameInformation": {"imageFrameId": NOWHERE}},
    "GetImageSet": IMAGE_SET,
    "GetImageSetMetadata": IMAGE_SET,
    "ListDICOMImportJobs": {"datastoreId": DEFAULT_DATASTORE},
    "ListDatastores": {},
    "ListImageSetVersions": IMAGE_SET,
    "ListTagsForResource": {"resourceArn": ARN},
    "SearchImageSets": {"datastoreId": DEFAULT_DATASTORE},
    "StartDICOMImportJob": {
        "datastoreId": DEFAULT_DATASTORE,
        "dataAccessRoleArn": ROLE,
        "inputS3Uri": "s3://training-data/none/",
        "outputS3Uri": "s3://training-data/out/",
    },
    "TagResource": {"resourceArn": ARN, "tags": {}},
    "UntagResource": {"resourceArn": ARN, "tagKeys": ["a"]},
    "UpdateImageSetMetadata": {
        **IMAGE_SET,
        "latestVersionId": "1",
        "updateImageSetMetadataUpdates": {"revertToVersionId": "1"},
    },
}
"""A request of each operation that is well formed."""


@dataclass(frozen=True)
class Strict:
    """A server where one call a day of each operation is let through, and keys of someone who may do nothing."""

    url: str
    owner: NewCredential
    nobody: NewCredential

    def client(self, key: NewCredential) -> Any:
        return connect(self.url, key=key.credential.id, secret=key.secret_access_key)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    home: Path = tmp_path_factory.mktemp("strict")
    rates = "".join(f"{name} = 0.00001\n" for name in OPERATIONS)
    (home / "settings.toml").write_text(f"[throttle]\n{rates}")
    with open_local(home) as installation:
        make = installation.identities.create_credential
        keys = [make(roles=[role], patients=None, by=OWNER) for role in ("admin", "ml")]
    with serving(home, "closed") as url:
        yield Strict(url, *keys)


def refused(client: Any, operation: str, members: dict[str, Any]) -> str:
    with pytest.raises(ClientError) as caught:
        getattr(client, xform_name(operation))(**members)
    status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    error = next(
        each for each in service().operation_model(operation).error_shapes if each.name == name_of(caught.value)
    )
    assert status == error.metadata["error"]["httpStatusCode"]
    return name_of(caught.value)


def name_of(error: ClientError) -> str:
    return type(error).__name__


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_refuses_whoever_may_not_and_whoever_asks_too_often(strict: Strict, operation: str) -> None:
    client = strict.client(strict.nobody)
    assert refused(client, operation, LEAST[operation]) == "AccessDeniedException"
    assert refused(client, operation, LEAST[operation]) == "ThrottlingException"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_refuses_what_breaks_the_model(imaging: Imaging, operation: str) -> None:
    if operation == "ListTagsForResource":
        time.sleep(1)  # throttled in this home, for another test
    client = connect(imaging.url, parameter_validation=False)
    named = next((name for name in ("datastoreId", "resourceArn") if name in LEAST[operation]), None)
    wrong = {"CreateDatastore": {"datastoreName": "with blanks"}, "ListDatastores": {"maxResults": 0}}.get(
        operation, {**LEAST[operation], str(named): "NOT ONE"}
    )
    assert refused(client, operation, wrong) == "ValidationException"


def test_every_operation_answers_in_one_walk(imaging: Imaging) -> None:
    called: set[str] = set()
    client = connect(imaging.url)
    client.meta.events.register("after-call.medical-imaging", lambda model, **_: called.add(model.name))
    walking = Imaging(imaging.url, imaging.home)
    walking.client, walking._made = client, 1000
    datastore = client.create_datastore(datastoreName="walk")["datastoreId"]
    arn = client.get_datastore(datastoreId=datastore)["datastoreProperties"]["datastoreArn"]
    client.tag_resource(resourceArn=arn, tags={"a": "b"})
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}
    client.untag_resource(resourceArn=arn, tagKeys=["a"])
    identity = walking.one_set(datastore, *phantom())
    where = {"datastoreId": datastore, "imageSetId": identity}
    (frame, *_) = frames_of(metadata_of(client, datastore, identity))
    client.get_image_frame(**where, imageFrameInformation={"imageFrameId": frame["ID"]})
    update = {"updatableAttributes": as_bytes(Patient={"DICOM": {"PatientName": "A"}})}
    client.update_image_set_metadata(
        **where, latestVersionId="1", updateImageSetMetadataUpdates={"DICOMUpdates": update}
    )
    assert client.get_image_set(**where)["versionId"] == "2"
    copy = client.copy_image_set(
        datastoreId=datastore,
        sourceImageSetId=identity,
        copyImageSetInformation={"sourceImageSet": {"latestVersionId": "2"}},
    )
    other = copy["destinationImageSetProperties"]["imageSetId"]
    paginators = botocore.session.get_session().get_paginator_model("medical-imaging")._paginator_config
    paged = {
        "ListDatastores": {},
        "ListDICOMImportJobs": {"datastoreId": datastore},
        "ListImageSetVersions": where,
        "SearchImageSets": {"datastoreId": datastore},
    }
    assert paged.keys() == paginators.keys()
    for operation, members in paged.items():
        key = paginators[operation]["result_key"]
        pages = client.get_paginator(xform_name(operation)).paginate(**members, PaginationConfig={"PageSize": 1})
        found = [len(page[key]) for page in pages]
        assert set(found) == {1}, operation
        assert len(found) >= (1 if operation == "ListDICOMImportJobs" else 2)
    for each in (identity, other):
        client.delete_image_set(datastoreId=datastore, imageSetId=each)
    assert client.delete_datastore(datastoreId=datastore)["datastoreStatus"] == "DELETED"
    assert called == set(OPERATIONS)
