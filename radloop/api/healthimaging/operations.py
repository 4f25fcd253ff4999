"""The 18 operations of the HealthImaging API: what each does with the members of a request."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from radloop.api.doors import Doors
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.core.ports import Row, Term
from radloop.core.tables import IMAGE_SETS, STUDIES, image_set_of, study_key, study_moment
from radloop.store.datastores import ClientTokens, Datastore, Datastores, resource_of
from radloop.store.guarded import GuardedImages
from radloop.store.imports import Import, Imports
from radloop.store.metadata import LOSSLESS, Metadata
from radloop.store.revisions import Revisions, Tombstone
from radloop.store.versions import Version, versions_of

REGION, ACCOUNT = "us-east-1", "000000000000"
PAGE = 50

ACTIVE, LOCKED, DELETED = "ACTIVE", "LOCKED", "DELETED"
_TIER = "FREQUENT_ACCESS"
_RESOURCE = re.compile(r"datastore/(?P<datastore>[0-9a-z]{32})(?:/imageset/(?P<image_set>[0-9a-z]{32}))?")
_MILLISECOND = timedelta(milliseconds=1)

Members = Mapping[str, Any]


class NotAcceptable(InvalidInput):
    """A frame cannot be given in any form that the caller takes."""

    code = "not-acceptable"


@dataclass(frozen=True, slots=True)
class Service:
    """What the operations stand on; one for all calls, because it remembers where frames are.

    Attributes:
        doors: The installation.
    """

    doors: Doors
    datastores: Datastores
    tokens: ClientTokens
    imports: Imports
    metadata: Metadata
    revisions: Revisions

    @classmethod
    def on(cls, doors: Doors) -> "Service":
        """The service of one installation."""
        platform, images = doors.platform, doors.images
        metadata = Metadata(platform.blobs, platform.records, platform.keys, images)
        return cls(
            doors=doors,
            datastores=Datastores(platform.records, platform.clock),
            tokens=ClientTokens(platform.records, platform.clock),
            imports=Imports(platform.records, platform.clock),
            metadata=metadata,
            revisions=Revisions(platform.blobs, platform.records, platform.keys, platform.clock, images),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Attributes:
        accept: The media types the caller takes, as its Accept header says; empty for any.
    """

    service: Service
    principal: Principal
    members: Members
    accept: str = ""

    @property
    def images(self) -> GuardedImages:
        """The store, as this caller may see it."""
        return self.service.doors.images_of(self.principal)

    def demand(self, action: str) -> None:
        """Go on only where one of the caller's roles has `action`.

        Raises:
            Denied: None has.
        """
        self.service.doors.platform.policy.demand(self.principal, action)

    def image_set(self, action: str, name: str = "imageSetId") -> ImageSet:
        """The image set a request names, in the data store it names.

        Raises:
            NotFound: There is none there, or the caller may not know of it.
            Denied: None of the caller's roles has `action`.
        """
        identity = self.members[name]
        found = self.images.get(identity, action)
        if found.datastore != self.members["datastoreId"]:
            raise NotFound(f"no image set {identity}")
        return found


def arn_of(datastore: str, image_set: str | None = None) -> str:
    """The Amazon resource name of a data store or of an image set in it."""
    return f"arn:aws:medical-imaging:{REGION}:{ACCOUNT}:{resource_of(datastore, image_set)}"


# Data stores


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

    return call.service.tokens.once("CreateDatastore", members["clientToken"], plain, work)


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
    after, limit = _page(call)
    stores, more = call.service.datastores.page(status=call.members.get("datastoreStatus"), after=after, limit=limit)
    return {"datastoreSummaries": [_datastore(store) for store in stores], "nextToken": _token(more)}


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

    told = call.service.tokens.once("StartDICOMImportJob", members["clientToken"], plain, work)
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
    after, limit = _page(call)
    jobs, more = call.service.imports.page(datastore, status=call.members.get("jobStatus"), after=after, limit=limit)
    return {"jobSummaries": [_job(job) for job in jobs], "nextToken": _token(more)}


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


# Finding


def search_image_sets(call: Call) -> Members:
    """A page of the image sets that meet every filter."""
    call.images.may_search()
    datastore = call.members["datastoreId"]
    call.service.datastores.get(datastore)
    criteria = call.members.get("searchCriteria", {})
    sort = criteria.get("sort", {"sortOrder": "DESC", "sortField": "updatedAt"})
    column, descending = _SORTED_BY[sort["sortField"]], sort["sortOrder"] == "DESC"
    terms = [Term("datastore", "is", (datastore,))]
    if call.images.patients is not None:
        terms.append(Term("patient_id", "in", tuple(sorted(call.images.patients))))
    terms += [_term(each) for each in criteria.get("filters", ())]
    last, skipped = _place(call.members.get("nextToken"))
    if last is not None:
        terms.append(Term(column, "between", (None, last) if descending else (last, None)))
    limit = call.members.get("maxResults", PAGE)
    records = call.service.doors.platform.records
    rows = records.search(IMAGE_SETS, terms, order=column, descending=descending, limit=limit + 1, offset=skipped)
    token = None
    if len(rows) > limit:
        token = _place_token([row.columns[column] for row in rows[:limit]], last, skipped)
    return {
        "imageSetsMetadataSummaries": [_summary(call, row) for row in rows[:limit]],
        "sort": sort,
        "nextToken": token,
    }


_SORTED_BY = {"updatedAt": "updated", "createdAt": "created", "DICOMStudyDateAndTime": "study_moment"}
_TEXTS = {
    "DICOMPatientId": "patient_id",
    "DICOMAccessionNumber": "accession_number",
    "DICOMStudyId": "study_id",
    "DICOMStudyInstanceUID": "study_uid",
    "DICOMSeriesInstanceUID": "series_uid",
}
_MOMENTS = {"createdAt": "created", "updatedAt": "updated"}


def _term(filter_: Members) -> Term:
    """A filter as a condition on a column.

    Raises:
        InvalidInput: Its values do not fit its operator.
    """
    values, is_range = filter_["values"], filter_["operator"] == "BETWEEN"
    names = {name for value in values for name in value}
    if len(names) != 1 or len(values) != (2 if is_range else 1):
        raise InvalidInput("EQUAL takes one value, BETWEEN two of the same attribute")
    name = names.pop()
    found = [value[name] for value in values]
    if name in _MOMENTS:
        low, high = found[0], found[-1] + (timedelta(0) if is_range else _MILLISECOND)
        return Term(_MOMENTS[name], "between", (low.timestamp() - 1e-6, high.timestamp()))
    if name == "DICOMStudyDateAndTime":
        return Term("study_moment", "between", (_moment(found[0], earliest=True), _moment(found[-1], earliest=False)))
    if is_range:
        raise InvalidInput(f"BETWEEN is for moments, {name} takes EQUAL")
    if name == "isPrimary":
        return Term("is_primary", "is", (int(found[0]),))
    return Term(_TEXTS[name], "is", (found[0],))


def _moment(value: Members, *, earliest: bool) -> str:
    """The first or the last moment that a date, perhaps with a time, stands for.

    Raises:
        InvalidInput: It is no date or no time.
    """
    date = value["DICOMStudyDate"].replace(".", "").replace("-", "")
    time = value.get("DICOMStudyTime", "").replace(":", "")
    if not re.fullmatch(r"\d{8}", date, re.ASCII) or not re.fullmatch(r"(\d{2,6}(\.\d{1,6})?)?", time, re.ASCII):
        raise InvalidInput("DICOMStudyDate is YYYYMMDD, DICOMStudyTime HHMMSS.FFFFFF or the beginning of it")
    if earliest:
        return study_moment(date, time)
    whole, _, fraction = time.partition(".")
    return f"{date}{whole}{'235959'[len(whole) :]}.{fraction:9<6}"


def _place(token: str | None) -> tuple[Any, int]:
    """Where a page of a search begins: the last value seen, and how many that have it were shown already."""
    if token is None:
        return None, 0
    last, skipped = _untoken(token, list)
    if not isinstance(skipped, int) or isinstance(skipped, bool) or skipped < 0 or not isinstance(last, str | float):
        raise InvalidInput("nextToken is not one of ours")
    return last, skipped


def _place_token(values: list[Any], last: Any, skipped: int) -> str:
    ties = sum(value == values[-1] for value in values)
    return _token([values[-1], ties + (skipped if values[-1] == last else 0)]) or ""


def _summary(call: Call, row: Row) -> dict[str, Any]:
    image_set = image_set_of(row)
    return {
        "imageSetId": image_set.id,
        "version": image_set.version,
        "createdAt": image_set.created_at,
        "updatedAt": image_set.updated_at,
        "lastAccessedAt": image_set.updated_at,
        "storageTier": _TIER,
        "isPrimary": image_set.is_primary,
        "DICOMTags": _tags(call, image_set),
    }


def _tags(call: Call, image_set: ImageSet) -> dict[str, Any]:
    attributes = image_set.attributes
    key = study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)
    study = call.service.doors.platform.records.get(STUDIES, key)
    return {
        "DICOMPatientId": image_set.patient_id or None,
        "DICOMPatientName": attributes.get("PatientName"),
        "DICOMPatientBirthDate": attributes.get("PatientBirthDate"),
        "DICOMPatientSex": attributes.get("PatientSex"),
        "DICOMStudyInstanceUID": image_set.study_uid,
        "DICOMStudyId": attributes.get("StudyID"),
        "DICOMStudyDescription": attributes.get("StudyDescription"),
        "DICOMNumberOfStudyRelatedSeries": None if study is None else int(study.columns["series"]),
        "DICOMNumberOfStudyRelatedInstances": None if study is None else int(study.columns["instances"]),
        "DICOMAccessionNumber": attributes.get("AccessionNumber"),
        "DICOMSeriesInstanceUID": image_set.series_uid,
        "DICOMSeriesModality": attributes.get("Modality"),
        "DICOMSeriesBodyPart": attributes.get("BodyPartExamined"),
        "DICOMSeriesNumber": attributes.get("SeriesNumber"),
        "DICOMStudyDate": attributes.get("StudyDate"),
        "DICOMStudyTime": attributes.get("StudyTime"),
    }


# Reading


def get_image_set(call: Call) -> Members:
    """The properties of a version."""
    found = _living(call)
    if isinstance(found, Tombstone):
        return {"imageSetArn": arn_of(found.datastore, found.id), **_buried(found, _version_number(call))}
    versions = _versions(call, found)
    number = _version_number(call) or found.version
    version = next((each for each in versions if each["versionId"] == str(number)), None)
    if version is None:
        raise NotFound(f"image set {found.id} has no version {number}")
    return {
        **version,
        "datastoreId": found.datastore,
        "imageSetArn": arn_of(found.datastore, found.id),
        "lastAccessedAt": found.updated_at,
        "storageTier": _TIER,
    }


def get_image_set_metadata(call: Call) -> Members:
    """The metadata document of a version, gzipped."""
    image_set = call.image_set("image.read")
    call.images.look(image_set.id)
    return {
        "imageSetMetadataBlob": call.service.metadata.document(
            image_set, _version_number(call), lossless=_lossless(call, image_set)
        ),
        "contentType": "application/json",
        "contentEncoding": "gzip",
    }


def get_image_frame(call: Call) -> Members:
    """The bytes of a frame."""
    image_set = call.image_set("image.read")
    call.images.look(image_set.id)
    name = call.members["imageFrameInformation"]["imageFrameId"]
    frame = call.service.metadata.frame(image_set, name, lossless=_lossless(call, image_set))
    if not _is_accepted(call.accept, frame.content_type):
        raise NotAcceptable(f"the frame is stored as {frame.content_type}")
    return {"imageFrameBlob": frame.data, "contentType": frame.content_type}


def list_image_set_versions(call: Call) -> Members:
    """A page of versions, newest first."""
    found = _living(call)
    if isinstance(found, Tombstone):
        versions = [_buried(found, number) for number in range(found.version, 0, -1)]
    else:
        versions = list(reversed(_versions(call, found)))
    after, limit = _page(call)
    page = []
    for version in versions[after : after + limit]:
        told = {name: value for name, value in version.items() if name not in {"imageSetWorkflowStatus", "datastoreId"}}
        page.append({**told, "ImageSetWorkflowStatus": version["imageSetWorkflowStatus"]})
    more = after + limit if len(versions) > after + limit else None
    return {"imageSetPropertiesList": page, "nextToken": _token(more)}


def _living(call: Call) -> ImageSet | Tombstone:
    """The image set a request names, or what is left to tell of it."""
    try:
        return call.image_set("image.read")
    except NotFound:
        grave = call.service.revisions.tombstone(call.members["imageSetId"])
        if grave is None or grave.datastore != call.members["datastoreId"] or call.principal.patients is not None:
            raise
        return grave


def _versions(call: Call, image_set: ImageSet) -> list[dict[str, Any]]:
    """The properties of every version, oldest first; one that still arrives is locked."""
    known = versions_of(call.service.doors.platform.records, image_set)
    told = [_version(image_set, each) for each in known if image_set.is_closed or each.number < image_set.version]
    if not image_set.is_closed:
        told.append(
            {
                "imageSetId": image_set.id,
                "versionId": str(image_set.version),
                "imageSetState": LOCKED,
                "imageSetWorkflowStatus": "IMPORTING",
                "createdAt": image_set.created_at,
                "updatedAt": image_set.updated_at,
                "isPrimary": image_set.is_primary,
            }
        )
    return told


def _version(image_set: ImageSet, version: Version) -> dict[str, Any]:
    return {
        "imageSetId": image_set.id,
        "versionId": str(version.number),
        "imageSetState": ACTIVE,
        "imageSetWorkflowStatus": version.cause,
        "createdAt": image_set.created_at,
        "updatedAt": version.at,
        "overrides": {"forced": True} if version.forced else None,
        "isPrimary": version.is_primary,
    }


def _buried(grave: Tombstone, number: int | None) -> dict[str, Any]:
    number = number or grave.version
    if not 1 <= number <= grave.version:
        raise NotFound(f"image set {grave.id} has no version {number}")
    return {
        "datastoreId": grave.datastore,
        "imageSetId": grave.id,
        "versionId": str(number),
        "imageSetState": DELETED,
        "imageSetWorkflowStatus": DELETED,
        "createdAt": grave.created_at,
        "updatedAt": grave.deleted_at,
        "deletedAt": grave.deleted_at,
        "isPrimary": grave.is_primary,
    }


def _lossless(call: Call, image_set: ImageSet) -> str:
    """The transfer syntax that lossless frames of an image set's data store are given out in."""
    return LOSSLESS[call.service.datastores.get(image_set.datastore).storage_format]


def _is_accepted(accept: str, kind: str) -> bool:
    """Whether an Accept header takes a media type (RFC 9110 §12.5.1)."""
    if not accept.strip():
        return True
    ranges = [each.split(";")[0].strip().lower() for each in accept.split(",")]
    return bool({"*/*", kind.lower(), f"{kind.partition('/')[0].lower()}/*"} & set(ranges))


# Changing


def update_image_set_metadata(call: Call) -> Members:
    """Change attributes, or go back to what a former version held."""
    before = call.image_set("image.update")
    members = call.members
    asked = members["updateImageSetMetadataUpdates"]
    expected, force = _number(members["latestVersionId"]), members.get("force", False)
    if "revertToVersionId" in asked:
        target = _number(asked["revertToVersionId"])
        after = call.service.revisions.revert(before.id, to=target, expected=expected, by=call.principal)
    else:
        after = call.service.revisions.update(
            before.id,
            updating=asked["DICOMUpdates"].get("updatableAttributes"),
            removing=asked["DICOMUpdates"].get("removableAttributes"),
            expected=expected,
            force=force,
            whole_study=members.get("includeStudyImageSets", False),
            by=call.principal,
        )
    return {
        "datastoreId": after.datastore,
        "imageSetId": after.id,
        "latestVersionId": str(after.version),
        "imageSetState": ACTIVE,
        "imageSetWorkflowStatus": "UPDATED",
        "createdAt": after.created_at,
        "updatedAt": after.updated_at,
    }


def copy_image_set(call: Call) -> Members:
    """Copy instances into a new image set or into one that is there."""
    source = call.image_set("image.update", "sourceImageSetId")
    told = call.members["copyImageSetInformation"]
    target = told.get("destinationImageSet")
    if target is not None and call.images.get(target["imageSetId"], "image.update").datastore != source.datastore:
        raise NotFound(f"no image set {target['imageSetId']}")
    copy = call.service.revisions.copy(
        source.id,
        expected=_number(told["sourceImageSet"]["latestVersionId"]),
        copies=told["sourceImageSet"].get("DICOMCopies", {}).get("copiableAttributes"),
        into=None if target is None else (target["imageSetId"], _number(target["latestVersionId"])),
        promote=call.members.get("promoteToPrimary", False),
        force=call.members.get("force", False),
        by=call.principal,
    )
    return {
        "datastoreId": source.datastore,
        "sourceImageSetProperties": _copied(source),
        "destinationImageSetProperties": _copied(copy),
    }


def _copied(image_set: ImageSet) -> dict[str, Any]:
    return {
        "imageSetId": image_set.id,
        "latestVersionId": str(image_set.version),
        "imageSetState": ACTIVE,
        "imageSetWorkflowStatus": "COPIED",
        "createdAt": image_set.created_at,
        "updatedAt": image_set.updated_at,
        "imageSetArn": arn_of(image_set.datastore, image_set.id),
    }


def delete_image_set(call: Call) -> Members:
    """Delete an image set for good."""
    image_set = call.image_set("image.delete")
    call.service.revisions.delete(image_set.id, by=call.principal)
    return {
        "datastoreId": image_set.datastore,
        "imageSetId": image_set.id,
        "imageSetState": DELETED,
        "imageSetWorkflowStatus": DELETED,
    }


# Numbers and tokens


def _version_number(call: Call) -> int | None:
    text = call.members.get("versionId")
    return None if text is None else _number(text)


def _number(text: str) -> int:
    """A version number; one longer than any there can be is just one that is not there."""
    return int(text[-9:]) if len(text) <= 9 else 0  # noqa: PLR2004 — digits of a number that SQLite takes


def _page(call: Call) -> tuple[int, int]:
    """Behind which place a page begins, and how long it may be."""
    token = call.members.get("nextToken")
    after = 0 if token is None else _untoken(token, int)
    if after < 0:
        raise InvalidInput("nextToken is not one of ours")
    return after, call.members.get("maxResults", PAGE)


def _token(value: Any) -> str | None:
    return None if value is None else base64.urlsafe_b64encode(orjson.dumps(value)).decode()


def _untoken(token: str, kind: type[Any]) -> Any:
    try:
        value = orjson.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError):
        raise InvalidInput("nextToken is not one of ours") from None
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, list) and len(value) != 2):  # noqa: PLR2004
        raise InvalidInput("nextToken is not one of ours")
    return value


OPERATIONS: Mapping[str, Callable[[Call], Members]] = {
    "CopyImageSet": copy_image_set,
    "CreateDatastore": create_datastore,
    "DeleteDatastore": delete_datastore,
    "DeleteImageSet": delete_image_set,
    "GetDICOMImportJob": get_dicom_import_job,
    "GetDatastore": get_datastore,
    "GetImageFrame": get_image_frame,
    "GetImageSet": get_image_set,
    "GetImageSetMetadata": get_image_set_metadata,
    "ListDICOMImportJobs": list_dicom_import_jobs,
    "ListDatastores": list_datastores,
    "ListImageSetVersions": list_image_set_versions,
    "ListTagsForResource": list_tags_for_resource,
    "SearchImageSets": search_image_sets,
    "StartDICOMImportJob": start_dicom_import_job,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "UpdateImageSetMetadata": update_image_set_metadata,
}
