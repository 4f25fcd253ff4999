"""QIDO-RS: studies, series and instances by their attributes (PS3.18 §10.6)."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from radloop.core.errors import InvalidInput
from radloop.core.images import ImageSet
from radloop.core.ports import Records
from radloop.core.tables import IMAGE_SETS, image_set_of
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance

MOST_RESULTS = 1000
DEFAULT_RESULTS = 100

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One that can be searched or shown: its tag, its VR, and the level it belongs to."""

    tag: str
    vr: str
    level: str


ATTRIBUTES: Mapping[str, Attribute] = {
    "StudyDate": Attribute("00080020", "DA", "study"),
    "StudyTime": Attribute("00080030", "TM", "study"),
    "AccessionNumber": Attribute("00080050", "SH", "study"),
    "ModalitiesInStudy": Attribute("00080061", "CS", "study"),
    "ReferringPhysicianName": Attribute("00080090", "PN", "study"),
    "StudyDescription": Attribute("00081030", "LO", "study"),
    "PatientName": Attribute("00100010", "PN", "study"),
    "PatientID": Attribute("00100020", "LO", "study"),
    "IssuerOfPatientID": Attribute("00100021", "LO", "study"),
    "PatientBirthDate": Attribute("00100030", "DA", "study"),
    "PatientSex": Attribute("00100040", "CS", "study"),
    "StudyInstanceUID": Attribute("0020000D", "UI", "study"),
    "StudyID": Attribute("00200010", "SH", "study"),
    "NumberOfStudyRelatedSeries": Attribute("00201206", "IS", "study"),
    "NumberOfStudyRelatedInstances": Attribute("00201208", "IS", "study"),
    "Modality": Attribute("00080060", "CS", "series"),
    "SeriesDescription": Attribute("0008103E", "LO", "series"),
    "BodyPartExamined": Attribute("00180015", "CS", "series"),
    "SeriesInstanceUID": Attribute("0020000E", "UI", "series"),
    "SeriesNumber": Attribute("00200011", "IS", "series"),
    "NumberOfSeriesRelatedInstances": Attribute("00201209", "IS", "series"),
    "SOPClassUID": Attribute("00080016", "UI", "instance"),
    "SOPInstanceUID": Attribute("00080018", "UI", "instance"),
    "InstanceNumber": Attribute("00200013", "IS", "instance"),
    "NumberOfFrames": Attribute("00280008", "IS", "instance"),
    "Rows": Attribute("00280010", "US", "instance"),
    "Columns": Attribute("00280011", "US", "instance"),
    "BitsAllocated": Attribute("00280100", "US", "instance"),
    "RetrieveURL": Attribute("00081190", "UR", ""),
}

_BY_TAG = {attribute.tag: keyword for keyword, attribute in ATTRIBUTES.items()}
_LEVELS = ("study", "series", "instance")
_CONTROLS = frozenset(
    {"limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"}
)
_COUNTED = frozenset({"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"})
_COLUMNS = {
    "PatientID": "patient_id",
    "StudyInstanceUID": "study_uid",
    "SeriesInstanceUID": "series_uid",
    "AccessionNumber": "accession_number",
    "Modality": "modality",
}
_DATE = re.compile(r"\d{8}")
_Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A page of results; `is_cut` where there are more than it shows."""

    documents: list[Document]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for.

    Attributes:
        level: study, series or instance.
        wanted: Value by keyword, of this level and those above.
    """

    level: str
    wanted: Mapping[str, str]
    limit: int
    offset: int


def search_of(level: str, query: QueryParams, within: Mapping[str, str]) -> Search:
    """The search a query asks for; `within` holds the UIDs that the address names.

    Raises:
        InvalidInput: An attribute we do not know or not at this level, or a control that makes no sense.
    """
    wanted: dict[str, str] = {}
    above = _LEVELS[: _LEVELS.index(level) + 1]
    for name, value in query.multi_items():
        if name == "includefield":
            _check_fields(value)
        if name in _CONTROLS:
            continue
        keyword = _BY_TAG.get(name.upper(), name)
        if keyword not in ATTRIBUTES or ATTRIBUTES[keyword].level not in above or keyword in _COUNTED:
            raise InvalidInput("the search names an attribute that cannot be searched at this level")
        if value:
            wanted[keyword] = value
    return Search(
        level=level,
        wanted={**wanted, **within},
        limit=_count(query, "limit", DEFAULT_RESULTS),
        offset=_count(query, "offset", 0),
    )


def find(search: Search, images: ImageStore, records: Records, base: str) -> Found:
    """Run a search.

    Args:
        search: What is asked for.
        images: Where instances are.
        records: Where image sets are.
        base: Address of the DICOMweb service, for RetrieveURL.
    """
    results = {"study": _studies, "series": _series, "instance": _instances}[search.level](search, images, records)
    shown: list[_Values] = []
    for place, values in enumerate(results):
        if place < search.offset:
            continue
        if len(shown) == search.limit:
            return Found([_document(each, base) for each in shown], is_cut=True)
        shown.append(values)
    return Found([_document(each, base) for each in shown], is_cut=False)


def element(vr: str, value: Any) -> Document:
    """One element of a DICOM JSON object; without a value it is empty."""
    if value in (None, "", []):
        return {"vr": vr}
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(value).split("="), strict=False)
        return {"vr": vr, "Value": [{name: group for name, group in groups if group}]}
    return {"vr": vr, "Value": value if isinstance(value, list) else [value]}


# The three levels


def _studies(search: Search, images: ImageStore, records: Records) -> Iterator[_Values]:  # noqa: ARG001 — one signature
    """A study is what one patient's image sets say it is: the same UID under two patients is two studies."""
    groups: dict[tuple[str, str], list[ImageSet]] = {}
    for image_set in _image_sets(search, records, "study"):
        groups.setdefault((image_set.study_uid, image_set.patient_id), []).append(image_set)
    for image_sets in groups.values():
        values = _study_values(image_sets)
        if _matches(values, search.wanted, {"study"}):
            yield values


def _series(search: Search, images: ImageStore, records: Records) -> Iterator[_Values]:  # noqa: ARG001 — one signature
    for image_set in _image_sets(search, records, "series"):
        values = _series_values(image_set)
        if _matches(values, search.wanted, {"study", "series"}):
            yield values


def _instances(search: Search, images: ImageStore, records: Records) -> Iterator[_Values]:
    for image_set in _image_sets(search, records, "series"):
        above = _series_values(image_set)
        if not _matches(above, search.wanted, {"study", "series"}):
            continue
        for instance in images.instances(image_set.id):
            values = {**above, **_instance_values(instance)}
            if _matches(values, search.wanted, {"instance"}):
                yield values


def _image_sets(search: Search, records: Records, lowest: str) -> list[ImageSet]:
    """Image sets that the index finds by what is asked for exactly; the rest is looked at one by one."""
    where: dict[str, str | int | None] = {
        column: search.wanted[keyword]
        for keyword, column in _COLUMNS.items()
        if keyword in search.wanted
        and not set(search.wanted[keyword]) & set("*?,\\")
        and not (lowest == "study" and ATTRIBUTES[keyword].level != "study")
    }
    return [image_set_of(row) for row in records.find(IMAGE_SETS, where, newest_first=True)]


def _study_values(image_sets: list[ImageSet]) -> _Values:
    newest = image_sets[0]
    return {
        **{key: newest.attributes.get(key) for key, each in ATTRIBUTES.items() if each.level == "study"},
        "PatientID": newest.patient_id,
        "StudyInstanceUID": newest.study_uid,
        "ModalitiesInStudy": sorted({image_set.modality for image_set in image_sets}),
        "NumberOfStudyRelatedSeries": len(image_sets),
        "NumberOfStudyRelatedInstances": sum(image_set.instances for image_set in image_sets),
    }


def _series_values(image_set: ImageSet) -> _Values:
    study = {key: value for key, value in _study_values([image_set]).items() if key not in _COUNTED}
    return {
        **study,
        **{key: image_set.attributes.get(key) for key, each in ATTRIBUTES.items() if each.level == "series"},
        "Modality": image_set.modality,
        "SeriesInstanceUID": image_set.series_uid,
        "NumberOfSeriesRelatedInstances": image_set.instances,
    }


def _instance_values(instance: StoredInstance) -> _Values:
    image = instance.image or {}
    return {
        "SOPClassUID": instance.sop_class,
        "SOPInstanceUID": instance.sop_uid,
        "InstanceNumber": instance.attributes.get("InstanceNumber"),
        "NumberOfFrames": image.get("frames"),
        "Rows": image.get("rows"),
        "Columns": image.get("columns"),
        "BitsAllocated": image.get("bits_allocated"),
    }


def _document(values: _Values, base: str) -> Document:
    document = {
        ATTRIBUTES[keyword].tag: element(ATTRIBUTES[keyword].vr, value)
        for keyword, value in values.items()
        if keyword in ATTRIBUTES
    }
    document["00081190"] = element("UR", _address(values, base))
    return dict(sorted(document.items()))


def _address(values: _Values, base: str) -> str:
    address = f"{base}/studies/{values['StudyInstanceUID']}"
    if "SeriesInstanceUID" in values:
        address += f"/series/{values['SeriesInstanceUID']}"
    if "SOPInstanceUID" in values:
        address += f"/instances/{values['SOPInstanceUID']}"
    return address


# Matching (PS3.4 C.2.2.2)


def _matches(values: _Values, wanted: Mapping[str, str], levels: set[str]) -> bool:
    return all(
        _rule(ATTRIBUTES[keyword].vr, text)(values.get(keyword))
        for keyword, text in wanted.items()
        if ATTRIBUTES[keyword].level in levels
    )


def _rule(vr: str, text: str) -> Callable[[Any], bool]:
    if vr == "DA":
        return _within(text)
    if vr == "UI":
        uids = {uid.strip() for uid in re.split(r"[,\\]", text)}
        return lambda value: str(value) in uids
    if vr in {"IS", "US", "TM"}:
        return lambda value: value is not None and str(value) == text
    pattern = re.compile(_as_pattern(text), re.IGNORECASE if vr == "PN" else 0)
    return lambda value: any(pattern.fullmatch(each) for each in _texts(value, vr))


def _texts(value: Any, vr: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [str(each) for each in value]
    return str(value).split("=") if vr == "PN" else str(value).split("\\")


def _as_pattern(text: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in text)


def _within(text: str) -> Callable[[Any], bool]:
    """A date, or a range with one end open or none."""
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    if not text.strip("-") or any(each and not _DATE.fullmatch(each) for each in (first, last)):
        raise InvalidInput("a date is written YYYYMMDD, a range with a hyphen between two of them")
    return lambda value: value is not None and (not first or str(value) >= first) and (not last or str(value) <= last)


def _check_fields(value: str) -> None:
    """What may be included is included anyway; what we do not know is told."""
    for name in value.split(","):
        if (
            name != "all"
            and _BY_TAG.get(name.upper(), name) not in ATTRIBUTES
            and not re.fullmatch(r"[0-9A-Fa-f]{8}", name)
        ):
            raise InvalidInput("includefield names an attribute that is not known")


def _count(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 — a billion is enough
        raise InvalidInput(f"{name} must be a whole number")
    return min(int(text), MOST_RESULTS) if name == "limit" else int(text)
