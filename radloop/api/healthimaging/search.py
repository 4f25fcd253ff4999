"""SearchImageSets: filters, orders and pages."""

import re
from datetime import timedelta
from typing import Any

from radloop.api.healthimaging.call import PAGE, Call, Members, read_token, token_of
from radloop.core.errors import InvalidInput
from radloop.core.images import ImageSet
from radloop.core.ports import Row, Term
from radloop.core.tables import IMAGE_SETS, STUDIES, image_set_of, study_key, study_moment

_TIER = "FREQUENT_ACCESS"
_MILLISECOND = timedelta(milliseconds=1)


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
    last, skipped = read_token(token, list)
    if not isinstance(skipped, int) or isinstance(skipped, bool) or skipped < 0 or not isinstance(last, str | float):
        raise InvalidInput("nextToken is not one of ours")
    return last, skipped


def _place_token(values: list[Any], last: Any, skipped: int) -> str:
    ties = sum(value == values[-1] for value in values)
    return token_of([values[-1], ties + (skipped if values[-1] == last else 0)]) or ""


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
