"""Searching patients, studies, series and instances by their attributes (PS3.4 C.2.2.2), for every door that does.

A search becomes conditions that the index answers, and rules for what is left, which are tried on the rows the index
gave. Where nothing is left, limit and offset are the index's too.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from radloop.core.errors import InvalidInput
from radloop.core.ports import Records, Row, Table, Term
from radloop.core.tables import IMAGE_SETS, INSTANCES, STUDIES, searchable

LEVELS = ("patient", "study", "series", "instance")
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One that can be searched or shown: its tag, its VR, and the level it belongs to."""

    tag: str
    vr: str
    level: str


ATTRIBUTES: Mapping[str, Attribute] = {
    "PatientName": Attribute("00100010", "PN", "patient"),
    "PatientID": Attribute("00100020", "LO", "patient"),
    "IssuerOfPatientID": Attribute("00100021", "LO", "patient"),
    "PatientBirthDate": Attribute("00100030", "DA", "patient"),
    "PatientSex": Attribute("00100040", "CS", "patient"),
    "StudyDate": Attribute("00080020", "DA", "study"),
    "StudyTime": Attribute("00080030", "TM", "study"),
    "AccessionNumber": Attribute("00080050", "SH", "study"),
    "ModalitiesInStudy": Attribute("00080061", "CS", "study"),
    "ReferringPhysicianName": Attribute("00080090", "PN", "study"),
    "StudyDescription": Attribute("00081030", "LO", "study"),
    "StudyInstanceUID": Attribute("0020000D", "UI", "study"),
    "StudyID": Attribute("00200010", "SH", "study"),
    "NumberOfStudyRelatedSeries": Attribute("00201206", "IS", "study"),
    "NumberOfStudyRelatedInstances": Attribute("00201208", "IS", "study"),
    "Modality": Attribute("00080060", "CS", "series"),
    "SeriesDate": Attribute("00080021", "DA", "series"),
    "SeriesTime": Attribute("00080031", "TM", "series"),
    "Manufacturer": Attribute("00080070", "LO", "series"),
    "InstitutionName": Attribute("00080080", "LO", "series"),
    "SeriesDescription": Attribute("0008103E", "LO", "series"),
    "ManufacturerModelName": Attribute("00081090", "LO", "series"),
    "BodyPartExamined": Attribute("00180015", "CS", "series"),
    "ProtocolName": Attribute("00181030", "LO", "series"),
    "SeriesInstanceUID": Attribute("0020000E", "UI", "series"),
    "SeriesNumber": Attribute("00200011", "IS", "series"),
    "Laterality": Attribute("00200060", "CS", "series"),
    "NumberOfSeriesRelatedInstances": Attribute("00201209", "IS", "series"),
    "SOPClassUID": Attribute("00080016", "UI", "instance"),
    "SOPInstanceUID": Attribute("00080018", "UI", "instance"),
    "ImageType": Attribute("00080008", "CS", "instance"),
    "ContentDate": Attribute("00080023", "DA", "instance"),
    "ContentTime": Attribute("00080033", "TM", "instance"),
    "InstanceNumber": Attribute("00200013", "IS", "instance"),
    "NumberOfFrames": Attribute("00280008", "IS", "instance"),
    "Rows": Attribute("00280010", "US", "instance"),
    "Columns": Attribute("00280011", "US", "instance"),
    "BitsAllocated": Attribute("00280100", "US", "instance"),
}

COUNTED = frozenset({"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"})
"""Attributes that are worked out from the index, shown and never searched by."""

_OF_LEVEL = {
    level: tuple(key for key, each in ATTRIBUTES.items() if each.level == level and key not in COUNTED)
    for level in LEVELS
}
_EXACT = {
    "PatientID": "patient_id",
    "StudyInstanceUID": "study_uid",
    "AccessionNumber": "accession_number",
    "StudyID": "study_id",
    "SeriesInstanceUID": "series_uid",
    "Modality": "modality",
    "SOPInstanceUID": "sop_uid",
}
_NAMES = {"PatientName": "patient_name", "ReferringPhysicianName": "referring_physician_name"}
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?")
_PARTS = re.compile(r"[\^=\s,\-.]+")
_WILD = re.compile(r"[*?]")
_FIRST_PAGE, _PAGE = 64, 500
_WIDEST_LIST = 500


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for.

    Attributes:
        level: patient, study, series or instance.
        wanted: Matching value by keyword, as DICOM writes it: one value, text with `*` and `?`, a range of dates or
            times, a list of UIDs with backslashes or commas. An empty one matches everything.
        limit: At most so many; None for all.
        offset: Leave out so many first.
        fuzzy: Names match where every word asked for begins a part of the name.
        datastore: Only what is in it; None for all.
        patients: Only these patients, by PatientID; None for all.
    """

    level: str
    wanted: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False
    datastore: str | None = None
    patients: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One result.

    Attributes:
        values: What the index knows of it and the levels above, by keyword.
        study: Id of the study's record; None at the patient level.
        image_set: Id of its image set, from the series level down.
        instance: Id of the instance, at the instance level.
    """

    values: Values
    study: str | None = None
    image_set: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of results; `is_cut` where there are more than it shows."""

    matches: tuple[Match, ...]
    is_cut: bool

    @property
    def rows(self) -> list[Values]:
        """The values of each match."""
        return [match.values for match in self.matches]


def searchable_at(level: str) -> frozenset[str]:
    """Keywords that a search at `level` may name: those of the level and of all above."""
    above = LEVELS[: LEVELS.index(level) + 1]
    return frozenset(key for key, each in ATTRIBUTES.items() if each.level in above and key not in COUNTED)


def find(search: Search, records: Records) -> Found:
    """Run a search: by name where names are asked for, else newest date first where dates are, else what changed last.

    Raises:
        InvalidInput: An attribute cannot be searched at this level, or a value is not written as its VR wants it.
    """
    plan = _plan(search)
    wanted = None if search.limit is None else search.limit + 1
    if plan.is_exact and search.level in {"study", "series"}:
        rows = records.search(
            plan.table, plan.terms, order=plan.order, descending=plan.descending, limit=wanted, offset=search.offset
        )
        matches = [_READ[search.level](row, records) for row in rows]
    else:
        stop = None if wanted is None else search.offset + wanted
        matches = list(islice(_WALK[search.level](plan, search, records), search.offset, stop))
    is_cut = search.limit is not None and len(matches) > search.limit
    return Found(tuple(matches[: search.limit]), is_cut=is_cut)


def count(search: Search, records: Records) -> int:
    """How many a search would find, whatever its limit and offset.

    Raises:
        InvalidInput: As `find`.
    """
    plan = _plan(search)
    if plan.is_exact and search.level in {"study", "series"}:
        return records.search_count(plan.table, plan.terms)
    return sum(1 for _ in _WALK[search.level](plan, search, records))


# Planning


_Rule = Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Conditions for the index, and rules for what they let through."""

    table: Table
    terms: tuple[Term, ...]
    order: str
    descending: bool
    above: tuple[_Rule, ...]
    below: tuple[_Rule, ...]

    @property
    def is_exact(self) -> bool:
        return not self.above and not self.below


def _plan(search: Search) -> _Plan:
    table = STUDIES if search.level in {"patient", "study"} else IMAGE_SETS
    unknown = set(search.wanted) - searchable_at(search.level)
    if unknown:
        raise InvalidInput("the search names an attribute that cannot be searched at this level")
    terms: list[Term] = []
    above: list[_Rule] = []
    below: list[_Rule] = []
    for keyword, text in search.wanted.items():
        if text in {"", "*"}:
            continue
        of_instance = ATTRIBUTES[keyword].level == "instance"
        more, is_enough = ([], False) if of_instance else _terms(keyword, text, table, fuzzy=search.fuzzy)
        terms += more
        if not is_enough:
            (below if of_instance else above).append(_rule(keyword, text, fuzzy=search.fuzzy))
    if search.datastore is not None:
        terms.append(Term("datastore", "is", (search.datastore,)))
    if search.patients is not None:
        terms.append(Term("patient_id", "in", tuple(sorted(search.patients))))
    if table is STUDIES:
        terms.append(Term("series", "between", (1, None)))  # one without any has been deleted
    order, descending = _order(terms)
    return _Plan(table, tuple(terms), order, descending, tuple(above), tuple(below))


def _order(terms: Sequence[Term]) -> tuple[str, bool]:
    """The order that the index which narrows the search has anyway."""
    ranged = {term.column for term in terms if term.relation in {"prefix", "glob", "between"}}
    if "patient_name" in ranged:
        return "patient_name", False
    return ("study_date", True) if "study_date" in ranged else ("updated", True)


def _terms(keyword: str, text: str, table: Table, *, fuzzy: bool) -> tuple[list[Term], bool]:
    """Conditions that every match of `text` meets, and whether they let nothing else through."""
    if keyword == "ModalitiesInStudy" and table is STUDIES and not _WILD.search(text) and "\\" not in text:
        return [Term("modalities", "has", (text,))], True
    if keyword == "StudyDate":
        first, last = _range(text, _DATE, "a date is written YYYYMMDD")
        return [Term("study_date", "between", (first or None, last or None))], True
    if _NAMES.get(keyword) in table.columns:
        return _name_terms(_NAMES[keyword], text, fuzzy=fuzzy)
    column = _EXACT.get(keyword)
    if column is None or column not in table.columns:
        return [], False
    return [_exact_term(column, ATTRIBUTES[keyword].vr, text)], True


def _exact_term(column: str, vr: str, text: str) -> Term:
    if vr == "UI":
        return Term(column, "in", tuple(_uids(text)))
    return Term(column, "glob" if _WILD.search(text) else "is", (text,))


def _name_terms(column: str, text: str, *, fuzzy: bool) -> tuple[list[Term], bool]:
    """A name may have three groups with = between; the index begins with the first, the alphabetic one."""
    plain = searchable(text) or ""
    if fuzzy:
        return [Term(column, "glob", (f"*{word}*",)) for word in _words(plain)], False
    begins = _WILD.split(plain, maxsplit=1)[0]
    if not begins.isascii() or not begins.rstrip("^ "):
        return [], False
    if plain == f"{begins}*" and "=" not in begins:
        return [Term(column, "prefix", (begins,))], True
    return [Term(column, "prefix", (begins.rstrip("^ "),))], False


def _uids(text: str) -> list[str]:
    uids = [uid.strip(" \0") for uid in re.split(r"[,\\]", text)]
    if len(uids) > _WIDEST_LIST:
        raise InvalidInput(f"a list of UIDs may hold at most {_WIDEST_LIST}")
    return uids


# Rules for what the index does not answer


def _rule(keyword: str, text: str, *, fuzzy: bool) -> _Rule:
    test = _test(ATTRIBUTES[keyword].vr, text, fuzzy=fuzzy)
    return lambda values: test(values.get(keyword))


def _test(vr: str, text: str, *, fuzzy: bool) -> Callable[[Any], bool]:
    if vr == "DA":
        return _within(*_range(text, _DATE, "a date is written YYYYMMDD"))
    if vr == "TM":
        first, last = _range(text, _TIME, "a time is written HHMMSS.FFFFFF, or less of it from the right")
        return _within(_padded(first, "0"), _padded(last, "9"), lambda value: _padded(value, "0"))
    if vr == "UI":
        uids = frozenset(_uids(text))
        return lambda value: str(value) in uids
    if vr in {"IS", "US"}:
        return lambda value: value is not None and str(value) == text.strip()
    if vr == "PN":
        return _named_like(searchable(text) or "", fuzzy=fuzzy)
    patterns = [re.compile(_as_pattern(each)) for each in text.split("\\")]
    return lambda value: any(pattern.fullmatch(each) for pattern in patterns for each in _texts(value))


def _named_like(text: str, *, fuzzy: bool) -> Callable[[Any], bool]:
    if fuzzy:
        words = _words(text)

        def begins(value: Any) -> bool:
            parts = _words(searchable(value) or "")
            return all(any(part.startswith(word) for part in parts) for word in words)

        return begins
    pattern = re.compile(_as_pattern(text.rstrip("^ ")))

    def fits(value: Any) -> bool:
        groups = (searchable(value) or "").split("=")
        return any(pattern.fullmatch(group.rstrip("^ ")) or pattern.fullmatch(group) for group in groups if group)

    return fits


def _words(name: str) -> list[str]:
    return [part for part in _PARTS.split(name.replace("*", "").replace("?", "")) if part]


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else str(value).split("\\")


def _as_pattern(text: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in text)


def _range(text: str, form: re.Pattern[str], word: str) -> tuple[str, str]:
    """Both ends of a value or a range; an empty end is open."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not dash:
        last = first
    if not (first or last) or any(each and not form.fullmatch(each) for each in (first, last)):
        raise InvalidInput(f"{word}, a range with a hyphen between two of them")
    return first, last


def _padded(time: str, digit: str) -> str:
    """A time with all its digits, for comparison as text."""
    digits = str(time).replace(":", "").replace(".", "")
    return digits.ljust(12, digit) if digits else ""


def _within(first: str, last: str, read: Callable[[str], str] = str) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        if value in {None, ""}:
            return False
        text = read(str(value))
        return (not first or text >= first) and (not last or text <= last)

    return test


# Walking


def _rows(plan: _Plan, records: Records) -> Iterator[Row]:
    """The rows the index gives, in pages that grow, because most searches need few."""
    offset, limit = 0, _FIRST_PAGE
    while True:
        page = records.search(
            plan.table, plan.terms, order=plan.order, descending=plan.descending, limit=limit, offset=offset
        )
        yield from page
        if len(page) < limit:
            return
        offset, limit = offset + limit, _PAGE


def _walk_patients(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:
    seen: set[str] = set()
    for match in _walk_studies(plan, search, records):
        patient = str(match.values["PatientID"])
        if patient not in seen:
            seen.add(patient)
            yield Match({key: match.values[key] for key in _OF_LEVEL["patient"]})


def _walk_studies(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:  # noqa: ARG001 — one signature
    for row in _rows(plan, records):
        match = _study(row, records)
        if all(rule(match.values) for rule in plan.above):
            yield match


def _walk_series(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:  # noqa: ARG001 — one signature
    for row in _rows(plan, records):
        match = _series(row, records)
        if all(rule(match.values) for rule in plan.above):
            yield match


def _walk_instances(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:
    for above, row in _instance_rows(plan, search, records):
        values = {**above.values, **_instance_values(row.document)}
        if all(rule(values) for rule in plan.below):
            yield Match(values, above.study, above.image_set, row.key)


def _instance_rows(plan: _Plan, search: Search, records: Records) -> Iterator[tuple[Match, Row]]:
    """Instances that may match, each with its series; by their own UID where that is asked for."""
    current = Term("storage", "in", ("landed", "folded", "kept"))
    uids = search.wanted.get("SOPInstanceUID")
    if not uids or _WILD.search(uids):
        for above in _walk_series(plan, search, records):
            terms = [Term("image_set", "is", (above.image_set,)), current]
            for row in records.search(INSTANCES, terms, order="number"):
                yield above, row
        return
    known: dict[str, Match | None] = {}
    for row in records.search(INSTANCES, [Term("sop_uid", "in", tuple(_uids(uids))), current]):
        name = str(row.document["image_set"])
        if name not in known:
            known[name] = _series_if_meant(name, plan, records)
        found = known[name]
        if found is not None:
            yield found, row


def _series_if_meant(name: str, plan: _Plan, records: Records) -> Match | None:
    """The series of an image set, where it meets everything that was asked for above the instance."""
    row = records.get(IMAGE_SETS, name)
    if row is None or not all(_meets(row.columns, term) for term in plan.terms):
        return None
    match = _series(row, records)
    return match if all(rule(match.values) for rule in plan.above) else None


def _meets(columns: Mapping[str, Any], term: Term) -> bool:
    """What the index would have said of one row."""
    value, wanted = columns[term.column], term.values
    match term.relation:
        case "is":
            return bool(value == wanted[0])
        case "in":
            return value in wanted
        case "between":
            low, high = wanted
            return value is not None and (low is None or value >= low) and (high is None or value <= high)
        case "prefix":
            return str(value).startswith(str(wanted[0]))
        case "glob":
            return value is not None and bool(re.fullmatch(_as_pattern(str(wanted[0])), str(value)))
        case _:
            return f"\\{wanted[0]}\\" in str(value)


# What the index knows


def _study(row: Row, records: Records) -> Match:  # noqa: ARG001 — one signature
    document, columns = row.document, row.columns
    attributes = document["attributes"]
    values = {
        **{key: attributes.get(key) for key in (*_OF_LEVEL["patient"], *_OF_LEVEL["study"])},
        "PatientID": document["patient_id"],
        "StudyInstanceUID": document["study_uid"],
        "ModalitiesInStudy": [word for word in str(columns["modalities"]).split("\\") if word],
        "NumberOfStudyRelatedSeries": columns["series"],
        "NumberOfStudyRelatedInstances": columns["instances"],
    }
    return Match(values, study=row.key)


def _series(row: Row, records: Records) -> Match:
    document = row.document
    attributes = document["attributes"]
    study = records.get(STUDIES, str(row.columns["study"]))
    modality = attributes.get("Modality") or "OT"
    values = {
        **{key: attributes.get(key) for level in LEVELS[:3] for key in _OF_LEVEL[level]},
        "PatientID": document["patient_id"],
        "StudyInstanceUID": document["study_uid"],
        "SeriesInstanceUID": document["series_uid"],
        "Modality": modality,
        "ModalitiesInStudy": [modality] if study is None else _study(study, records).values["ModalitiesInStudy"],
        "NumberOfSeriesRelatedInstances": document["instances"],
    }
    return Match(values, study=str(row.columns["study"]), image_set=row.key)


def _instance_values(document: Mapping[str, Any]) -> dict[str, Any]:
    image, attributes = document["image"] or {}, document["attributes"]
    return {
        **{key: attributes.get(key) for key in ("ImageType", "ContentDate", "ContentTime", "InstanceNumber")},
        "SOPClassUID": document["sop_class"],
        "SOPInstanceUID": document["sop_uid"],
        "NumberOfFrames": image.get("frames"),
        "Rows": image.get("rows"),
        "Columns": image.get("columns"),
        "BitsAllocated": image.get("bits_allocated"),
    }


_READ: Mapping[str, Callable[[Row, Records], Match]] = {"study": _study, "series": _series}
_WALK: Mapping[str, Callable[[_Plan, Search, Records], Iterator[Match]]] = {
    "patient": _walk_patients,
    "study": _walk_studies,
    "series": _walk_series,
    "instance": _walk_instances,
}
