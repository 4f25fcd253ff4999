"""Operations on data stores, their tags, and import jobs."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from radloop.api.healthimaging.call import ACCOUNT, REGION, Call, Members, arn_of, page_of, token_of
from radloop.core.errors import InvalidInput, NotFound
from radloop.store.datastores import Datastore, resource_of
from radloop.store.imports import Import, key_of

_RESOURCE = re.compile(r"datastore/(?P<datastore>[0-9a-z]{32})(?:/imageset/(?P<image_set>[0-9a-z]{32}))?")


def create_datastore(call: Call) -> Members:
    """A new data store, at once active."""
    call.demand("datastore.manage")
    members = call.members
    plain = {name: value for name, value in members.items() if name != "clientToken"}

    def work(kept: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        store = call.service.datastores.create(
            name=members.get("datastoreName"),
            storage_format=members.get("losslessStorageFormat", "HTJ2K"),
            key_arn=members.get("kmsKeyArn"),
            authorizer_arn=members.get("lambdaAuthorizerArn"),
            tags=members.get("tags", {}),
            by=call.principal,
            also=lambda made: kept({"datastoreId": made.id, "datastoreStatus": made.status}),
        )
        return {"datastoreId": store.id, "datastoreStatus": store.status}

    return call.service.tokens.once(f"CreateDatastore/{call.principal.id}", members["clientToken"], plain, work)


def get_datastore(call: Call) -> Members:
    """What is known of a data store."""
    call.demand("image.search")
    store = call.service.datastores.get(call.members["datastoreId"])
    return {
        "datastoreProperties": {
            **_datastore(store),
            "kmsKeyArn": store.key_arn,
            "lambdaAuthorizerArn": store.authorizer_arn,
            "losslessStorageFormat": store.storage_format,
        }
    }


def list_datastores(call: Call) -> Members:
    """A page of data stores."""
    call.demand("image.search")
    after, limit = page_of(call)
    stores, more = call.service.datastores.page(status=call.members.get("datastoreStatus"), after=after, limit=limit)
    return {"datastoreSummaries": [_datastore(store) for store in stores], "nextToken": token_of(more)}


def delete_datastore(call: Call) -> Members:
    """Give up an empty data store."""
    call.demand("datastore.manage")
    store = call.service.datastores.delete(call.members["datastoreId"], by=call.principal)
    return {"datastoreId": store.id, "datastoreStatus": store.status}


def tag_resource(call: Call) -> Members:
    """Add tags to a data store or an image set."""
    call.service.datastores.tag(_resource(call, "datastore.manage"), call.members["tags"], by=call.principal)
    return {}


def untag_resource(call: Call) -> Members:
    """Take tags away."""
    call.service.datastores.untag(_resource(call, "datastore.manage"), call.members["tagKeys"], by=call.principal)
    return {}


def list_tags_for_resource(call: Call) -> Members:
    """The tags of a data store or an image set."""
    return {"tags": call.service.datastores.tags(_resource(call, "image.search"))}


def _resource(call: Call, action: str) -> str:
    """What an ARN names, once it is known to be there."""
    call.demand(action)
    arn = call.members["resourceArn"]
    found = _RESOURCE.fullmatch(arn.rpartition(":")[2])
    if found is None or arn.split(":")[3:5] != [REGION, ACCOUNT]:
        raise NotFound("nothing has that resource name")
    datastore, image_set = found["datastore"], found["image_set"]
    call.service.datastores.active(datastore)
    if image_set is not None and call.images.get(image_set, action).datastore != datastore:
        raise NotFound("nothing has that resource name")
    return resource_of(datastore, image_set)


def _datastore(store: Datastore) -> dict[str, Any]:
    return {
        "datastoreId": store.id,
        "datastoreName": store.name,
        "datastoreStatus": store.status,
        "datastoreArn": arn_of(store.id),
        "createdAt": store.created_at,
        "updatedAt": store.updated_at,
    }


# Import jobs


def start_dicom_import_job(call: Call) -> Members:
    """Ask for the import of what lies below a prefix."""
    call.demand("image.write")
    members = call.members
    call.service.datastores.active(members["datastoreId"])
    if "importConfiguration" in members:
        raise InvalidInput(
            "importConfiguration is not supported here: put the metadata right with UpdateImageSetMetadata"
        )
    for name in ("inputS3Uri", "outputS3Uri"):
        call.service.doors.platform.buckets.open(key_of(members[name], name).partition("/")[0])
    plain = {name: value for name, value in members.items() if name != "clientToken"}

    def answer(job: Import) -> dict[str, Any]:
        return {
            "datastoreId": job.datastore,
            "jobId": job.id,
            "jobStatus": job.status,
            "submittedAt": job.submitted_at.isoformat(),
        }

    def work(kept: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        job = call.service.imports.start(
            datastore=members["datastoreId"],
            name=members.get("jobName"),
            role_arn=members["dataAccessRoleArn"],
            input_uri=members["inputS3Uri"],
            output_uri=members["outputS3Uri"],
            configuration=None,
            by=call.principal,
            also=lambda made: kept(answer(made)),
        )
        return answer(job)

    told = call.service.tokens.once(f"StartDICOMImportJob/{call.principal.id}", members["clientToken"], plain, work)
    return {**told, "submittedAt": datetime.fromisoformat(told["submittedAt"])}


def get_dicom_import_job(call: Call) -> Members:
    """How far an import job is."""
    call.demand("image.search")
    call.service.datastores.get(call.members["datastoreId"])
    job = call.service.imports.get(call.members["jobId"], call.members["datastoreId"])
    return {
        "jobProperties": {
            **_job(job),
            "inputS3Uri": job.input_uri,
            "outputS3Uri": job.output_uri,
            "importConfiguration": job.configuration,
        }
    }


def list_dicom_import_jobs(call: Call) -> Members:
    """A page of a data store's import jobs, newest first."""
    call.demand("image.search")
    datastore = call.members["datastoreId"]
    call.service.datastores.get(datastore)
    after, limit = page_of(call)
    jobs, more = call.service.imports.page(datastore, status=call.members.get("jobStatus"), after=after, limit=limit)
    return {"jobSummaries": [_job(job) for job in jobs], "nextToken": token_of(more)}


def _job(job: Import) -> dict[str, Any]:
    return {
        "jobId": job.id,
        "jobName": job.name,
        "jobStatus": job.status,
        "datastoreId": job.datastore,
        "dataAccessRoleArn": job.role_arn,
        "endedAt": job.ended_at,
        "submittedAt": job.submitted_at,
        "message": job.message,
    }
