"""QIDO-RS: what a query asks for, and the results as DICOM JSON (PS3.18 §10.6). `store.search` finds them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from radloop.api.dicom_json import Document, element
from radloop.core.errors import InvalidInput
from radloop.core.ports import Records
from radloop.dicom.document import tag_of
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance
from radloop.store.search import ATTRIBUTES, Match, Search, count, find, searchable_at

MOST_RESULTS = 1000
DEFAULT_RESULTS = 100
ALL = "all"

_BY_TAG = {attribute.tag: keyword for keyword, attribute in ATTRIBUTES.items()}
_CONTROLS = frozenset(
    {
        "limit",
        "offset",
        "includefield",
        "fuzzymatching",
        "emptyvaluematching",
        "multiplevaluematching",
        "imageSetId",
        "accept",
    }
)
_COUNTED_FAST = frozenset(
    {
        "PatientID",
        "StudyInstanceUID",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
        "ModalitiesInStudy",
        "SeriesInstanceUID",
        "Modality",
    }
)
_NARROW = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_RETRIEVE_URL, _AVAILABILITY = "00081190", "00080056"
_BULK = ("00080005", "7FE00010", "7FE00008", "7FE00009")


@dataclass(frozen=True, slots=True)
class Query:
    """A query read.

    Attributes:
        search: What is looked for.
        fields: Tags that results show besides those of the index.
        is_full: Everything an instance's header holds is shown.
    """

    search: Search
    fields: tuple[str, ...]
    is_full: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Results as they are told; `total` is None where counting would cost more than it tells."""

    documents: list[Document]
    is_cut: bool
    total: int | None


def query_of(
    level: str,
    query: QueryParams,
    within: Mapping[str, str],
    *,
    datastore: str,
    patients: frozenset[str] | None,
) -> Query:
    """What a query asks for.

    Args:
        level: study, series or instance.
        query: Attributes by keyword or tag, and the controls of PS3.18 §8.3.4.
        within: The UIDs that the address names.
        datastore: Where to look.
        patients: Whom the caller may know of; None for all.

    Raises:
        InvalidInput: An attribute we do not know or not at this level, or a control that makes no sense.
    """
    wanted: dict[str, str] = {}
    fields: list[str] = []
    for name, value in query.multi_items():
        if name == "includefield":
            fields += [_field(field.strip()) for field in value.split(",") if field.strip()]
        if name in _CONTROLS:
            continue
        keyword = _BY_TAG.get(name.upper(), name)
        if keyword not in searchable_at(level):
            raise InvalidInput("the search names an attribute that cannot be searched at this level")
        if keyword in wanted and wanted[keyword] != value:
            raise InvalidInput("the search names an attribute twice")
        wanted[keyword] = value
    if any(within[keyword] != wanted.get(keyword, within[keyword]) for keyword in within):
        raise InvalidInput("the search contradicts its address")
    search = Search(
        level,
        {**wanted, **within},
        limit=_count(query, "limit", DEFAULT_RESULTS),
        offset=_count(query, "offset", 0),
        fuzzy=_flag(query, "fuzzymatching"),
        datastore=datastore,
        patients=patients,
    )
    known = tuple(dict.fromkeys(field for field in fields if field != ALL and field not in _BY_TAG))
    return Query(search, known, is_full=ALL in fields and level == "instance")


def page(query: Query, images: GuardedImages, store: ImageStore, records: Records, base: str) -> Page:
    """Run a search and tell what it found.

    Args:
        query: What is asked for.
        images: Where headers are read, if the query asks for attributes that the index has not.
        store: Where the image sets of a study are known.
        records: The index.
        base: Address of the DICOMweb service, for RetrieveURL.
    """
    found = find(query.search, records)
    documents = _Documents(query, images, store, base)
    shown = [documents.of(match) for match in found.matches]
    return Page(shown, found.is_cut, _total(query.search, len(shown), records, is_cut=found.is_cut))


class _Documents:
    """Writes one result after the other; what many of them share is written once."""

    def __init__(self, query: Query, images: GuardedImages, store: ImageStore, base: str) -> None:
        self._query = query
        self._images = images
        self._store = store
        self._base = base
        self._above: dict[str, Document] = {}
        self._instances: dict[str, dict[str, StoredInstance]] = {}

    def of(self, match: Match) -> Document:
        """One result, its tags ascending."""
        values = match.values
        if match.instance is None:
            document = _elements(values, ATTRIBUTES)
        else:
            shared = self._above.get(str(match.image_set))
            if shared is None:
                above = {key: value for key, value in values.items() if ATTRIBUTES[key].level != "instance"}
                shared = self._above[str(match.image_set)] = _elements(above, ATTRIBUTES)
            own = {key: value for key, value in values.items() if ATTRIBUTES[key].level == "instance"}
            document = {**shared, **_elements(own, ATTRIBUTES)}
        document[_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
        document[_RETRIEVE_URL] = {"vr": "UR", "Value": [_address(values, self._base)]}
        if self._query.fields or self._query.is_full:
            document = {**self._header(match), **document}
        return dict(sorted(document.items()))

    def _header(self, match: Match) -> Document:
        """What the header of the instance, or of one of the series or study, says of the fields asked for."""
        image_set = match.image_set
        if image_set is None and match.study is not None:
            image_set = next(iter(self._store.studies.image_sets(self._store.studies.get(match.study))), None)
        if image_set is None:
            return {}
        if image_set not in self._instances:
            self._instances[image_set] = {one.id: one for one in self._images.instances(image_set)}
        instances = self._instances[image_set]
        chosen = next(iter(instances.values()), None) if match.instance is None else instances.get(match.instance)
        if chosen is None:
            return {}
        header = self._images.document(chosen)
        if self._query.is_full:
            return {tag: entry for tag, entry in header.items() if tag not in _BULK}
        return {tag: header[tag] for tag in self._query.fields if tag in header and tag not in _BULK}


def _elements(values: Mapping[str, Any], attributes: Mapping[str, Any]) -> Document:
    return {attributes[key].tag: element(attributes[key].vr, value) for key, value in values.items()}


def _total(search: Search, shown: int, records: Records, *, is_cut: bool) -> int | None:
    """How many there are in all; not told where the index does not know and every row would have to be looked at."""
    if not is_cut and (shown or not search.offset):
        return search.offset + shown
    is_known = search.level != "instance" and search.wanted.keys() <= _COUNTED_FAST
    return count(search, records) if is_known or not _NARROW.isdisjoint(search.wanted) else None


def _address(values: Mapping[str, Any], base: str) -> str:
    address = f"{base}/studies/{values['StudyInstanceUID']}"
    if "SeriesInstanceUID" in values:
        address += f"/series/{values['SeriesInstanceUID']}"
    if "SOPInstanceUID" in values:
        address += f"/instances/{values['SOPInstanceUID']}"
    return address


def _field(name: str) -> str:
    """The tag an includefield names, or `all`; of a path into sequences, where it begins.

    Raises:
        InvalidInput: It is neither a tag nor a keyword of the dictionary.
    """
    name = name.partition(".")[0]
    if name == ALL:
        return ALL
    tag = name.upper() if _TAG.fullmatch(name) else tag_of(name)
    if tag is None:
        raise InvalidInput("includefield names an attribute that is not known")
    return tag


def _flag(query: QueryParams, name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise InvalidInput(f"{name} is true or false")
    return text == "true"


def _count(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 — a billion is enough
        raise InvalidInput(f"{name} must be a whole number")
    return min(int(text), MOST_RESULTS) if name == "limit" else int(text)
