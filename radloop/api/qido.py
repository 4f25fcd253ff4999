"""QIDO-RS: what a query asks for, and the results as DICOM JSON (PS3.18 §10.6). `store.search` finds them."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import orjson
from starlette.datastructures import QueryParams

from radloop.api.dicom_json import Document, element
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.ports import Records
from radloop.dicom.document import tag_of
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore
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
_OF_DOOR = {"InstanceAvailability": ("00080056", "CS"), "RetrieveURL": ("00081190", "UR")}
_TOLD = tuple(
    sorted(
        (tag, vr, keyword)
        for keyword, (tag, vr) in {**{key: (each.tag, each.vr) for key, each in ATTRIBUTES.items()}, **_OF_DOOR}.items()
    )
)
"""Tag, VR and keyword of all that results may tell, in the order of the tags."""
_OWN = tuple(each for each in _TOLD if each[2] in {"SOPInstanceUID", "ContentTime", "InstanceNumber", "RetrieveURL"})
"""What seldom two instances of a series have in common."""
_SHARED = tuple(
    each for each in ATTRIBUTES if ATTRIBUTES[each].level == "instance" and each not in {k for *_, k in _OWN}
)
_SLOT = b"\0"  # which never stands in JSON
_ROOM_BYTES = 4 << 20
_SMALLEST_KEPT = 8192
_SEARCH_FIELDS = tuple(each.name for each in fields(Search) if each.name != "wanted")
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

    @property
    def shows_headers(self) -> bool:
        """Whether results hold more than the index knows."""
        return self.is_full or bool(self.fields)


@dataclass(frozen=True, slots=True)
class Page:
    """Results as they are told.

    Attributes:
        body: A JSON array; empty where nothing was found.
        is_cut: There are more.
        total: How many there are; None where counting would cost more than it tells.
    """

    body: bytes
    is_cut: bool
    total: int | None


class Answers:
    """Pages that were told lately, for as long as nobody has committed anything since; small ones are made faster.

    A page stands under everything it depends on: the whole search, with its data store and the patients the caller may
    know of, and the address that results are retrieved from. The stamp of the index is taken before the search, so
    that a page never counts as newer than what it was made of. What shows headers is never kept: reading those is
    audited.
    """

    def __init__(self, room_bytes: int = _ROOM_BYTES) -> None:
        self._room = room_bytes
        self._held = 0
        self._pages: OrderedDict[Hashable, tuple[int, Page]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, query: "Query", base: str, records: Records, make: Callable[[], Page]) -> Page:
        """The page of `query`; `make` makes it where it is not here or may have changed."""
        if query.shows_headers:
            return make()
        key, stamp = (_key(query.search), base), records.stamp()
        with self._guard:
            kept = self._pages.get(key)
            if kept is not None and kept[0] == stamp:
                self._pages.move_to_end(key)
                return kept[1]
        made = make()
        with self._guard:
            self._drop(key)
            if _SMALLEST_KEPT <= len(made.body) <= self._room:
                self._pages[key] = stamp, made
                self._held += len(made.body)
            while self._held > self._room:
                self._drop(next(iter(self._pages)))
        return made

    def _drop(self, key: Hashable) -> None:
        dropped = self._pages.pop(key, None)
        if dropped is not None:
            self._held -= len(dropped[1].body)


def _key(search: Search) -> Hashable:
    """Everything that a search depends on."""
    rest = tuple(getattr(search, each) for each in _SEARCH_FIELDS)
    return tuple(search.wanted.items()), rest


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
    shown: list[str] = []
    for name, value in query.multi_items():
        if name == "includefield":
            shown += [_field(field.strip()) for field in value.split(",") if field.strip()]
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
    known = tuple(dict.fromkeys(field for field in shown if field != ALL and field not in _BY_TAG))
    return Query(search, known, is_full=ALL in shown and level == "instance")


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
    documents.expect(found.matches)
    shown = [documents.of(match) for match in found.matches]
    body = b"[%s]" % b",".join(shown) if shown else b""
    return Page(body, found.is_cut, _total(query.search, len(shown), records, is_cut=found.is_cut))


class _Documents:
    """Writes one result after the other; what many of them share is written once."""

    def __init__(self, query: Query, images: GuardedImages, store: ImageStore, base: str) -> None:
        self._query = query
        self._images = images
        self._store = store
        self._base = base
        self._pieces: dict[tuple[str | None, bytes], list[bytes]] = {}
        self._headers: dict[str, Document] = {}

    def expect(self, matches: Iterable[Match]) -> None:
        """Read the headers of instances that are about to be told together, where the query asks for any."""
        wanted: dict[str, set[str]] = {}
        for match in matches if self._query.shows_headers else ():
            if match.image_set is not None and match.instance is not None:
                wanted.setdefault(match.image_set, set()).add(match.instance)
        for image_set, names in wanted.items():
            with suppress(NotFound):  # one that is being deleted; the other results are told
                self._headers |= self._images.headers(image_set, names)

    def of(self, match: Match) -> bytes:
        """One result as JSON, its tags ascending."""
        if self._query.shows_headers:
            return orjson.dumps(dict(sorted({**self._header(match), **self._document(match)}.items())))
        if match.instance is None:
            return orjson.dumps(self._document(match))
        return self._instance(match)

    def _document(self, match: Match) -> Document:
        values = self._told(match)
        return {tag: element(vr, values[key]) for tag, vr, key in _TOLD if key in values}

    def _told(self, match: Match) -> dict[str, Any]:
        """What the index knows and what only a door does."""
        return {**match.values, "InstanceAvailability": "ONLINE", "RetrieveURL": _address(match.values, self._base)}

    def _instance(self, match: Match) -> bytes:
        """One instance: what is its own between the pieces of text that others of its series have too."""
        values = match.values
        shared = match.image_set, orjson.dumps([values[key] for key in _SHARED])
        pieces = self._pieces.get(shared)
        if pieces is None:
            slots = {tag: orjson.Fragment(_SLOT) for tag, _, _ in _OWN}
            pieces = self._pieces[shared] = orjson.dumps({**self._document(match), **slots}).split(_SLOT)
        text = [pieces[0]]
        for (_, vr, key), piece in zip(_OWN, pieces[1:], strict=True):
            value = _address(values, self._base) if key == "RetrieveURL" else values[key]
            text += (orjson.dumps(element(vr, value)), piece)
        return b"".join(text)

    def _header(self, match: Match) -> Document:
        """What the header of the instance, or of one of the series or study, says of the fields asked for."""
        if match.instance is not None:
            return self._shown(self._headers.get(match.instance, {}))
        try:
            return self._shown(self._first(match))
        except NotFound:
            return {}

    def _first(self, match: Match) -> Document:
        """The header of one instance of a series or study.

        Raises:
            NotFound: It is being deleted.
        """
        image_set = match.image_set
        if image_set is None and match.study is not None:
            image_set = next(iter(self._store.studies.image_sets(self._store.studies.get(match.study))), None)
        if image_set is None:
            return {}
        chosen = next(iter(self._images.instances(image_set)), None)
        return {} if chosen is None else self._images.headers(image_set, [chosen.id]).get(chosen.id, {})

    def _shown(self, header: Document) -> Document:
        if self._query.is_full:
            return {tag: entry for tag, entry in header.items() if tag not in _BULK}
        return {tag: header[tag] for tag in self._query.fields if tag in header and tag not in _BULK}


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
