"""Searching patients, studies, series and instances by their attributes (PS3.4 C.2.2.2), for every door that does.

A search becomes conditions that the index answers, and rules for what is left, which are tried on the rows the index
gave. Where nothing is left, limit and offset are the index's too.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

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

_SEARCHABLE = {
    level: frozenset(
        key for key, each in ATTRIBUTES.items() if each.level in LEVELS[: place + 1] and key not in COUNTED
    )
    for place, level in enumerate(LEVELS)
}
_OF_LEVEL = {
    level: tuple(key for key, each in ATTRIBUTES.items() if each.level == level and key not in COUNTED)
    for level in LEVELS
}
_KEYS = {"study": (*_OF_LEVEL["patient"], *_OF_LEVEL["study"])}
_KEYS["series"] = (*_KEYS["study"], *_OF_LEVEL["series"])
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
_ANYTHING = frozenset({"", "*"})
_RANGES = frozenset({"prefix", "glob", "between"})
_OF_STUDIES = frozenset({"patient", "study"})
_SHOWN = {STUDIES.name: ("modalities", "series", "instances"), IMAGE_SETS.name: ("study",)}
"""Columns that results are made of besides the document."""
_MODALITIES = ("modalities",)
_NOT_EMPTY = Term("series", "between", (1, None))  # a study without any has been deleted
_CURRENT = Term("storage", "in", ("landed", "folded", "kept"))


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


class Match(NamedTuple):
    """One result; a tuple, because searches make thousands of them.

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
    return _SEARCHABLE[level]


def find(search: Search, records: Records) -> Found:
    """Run a search: by name where names are asked for, else newest date first where dates are, else what changed last.

    Raises:
        InvalidInput: An attribute cannot be searched at this level, or a value is not written as its VR wants it.
    """
    plan = _plan(search)
    limit = search.limit
    wanted = None if limit is None else limit + 1
    if plan.is_exact and search.level in _READ:
        matches = list(_READ[search.level](_page(plan, records, wanted, search.offset), records))
    else:
        stop = None if wanted is None else search.offset + wanted
        matches = list(islice(_WALK[search.level](plan, search, records), search.offset, stop))
    is_cut = limit is not None and len(matches) > limit
    return Found(tuple(matches[:limit]), is_cut=is_cut)


def count(search: Search, records: Records) -> int:
    """How many a search would find, whatever its limit and offset.

    Raises:
        InvalidInput: As `find`.
    """
    plan = _plan(search)
    if plan.is_exact and search.level in _READ:
        return records.search_count(plan.table, plan.terms)
    if plan.is_exact and search.level == "instance" and plan.named is None:
        return sum(records.search_count(INSTANCES, _of_image_set(row.key)) for row in _rows(plan, records))
    everything = replace(search, limit=None, offset=0)
    return sum(1 for _ in _WALK[search.level](plan, everything, records))


# Planning


_Rule = Callable[[Values], bool]


class _Plan(NamedTuple):
    """Conditions for the index, and rules for what they let through.

    Attributes:
        named: The condition on instances that are asked for by their own UIDs; None where none are.
    """

    table: Table
    columns: tuple[str, ...]
    terms: tuple[Term, ...]
    order: str
    descending: bool
    named: Term | None
    above: tuple[_Rule, ...]
    below: tuple[_Rule, ...]

    @property
    def is_exact(self) -> bool:
        return not self.above and not self.below


def _plan(search: Search) -> _Plan:
    table = STUDIES if search.level in _OF_STUDIES else IMAGE_SETS
    if not search.wanted.keys() <= _SEARCHABLE[search.level]:
        raise InvalidInput("the search names an attribute that cannot be searched at this level")
    terms: list[Term] = []
    above: list[_Rule] = []
    below: list[_Rule] = []
    named: Term | None = None
    for keyword, text in search.wanted.items():
        if text in _ANYTHING:
            continue
        if keyword == "SOPInstanceUID" and not _WILD.search(text):
            named = _exact_term("sop_uid", "UI", text)
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
        terms.append(_NOT_EMPTY)
    order, descending = _order(terms)
    return _Plan(table, _SHOWN[table.name], tuple(terms), order, descending, named, tuple(above), tuple(below))


def _order(terms: Sequence[Term]) -> tuple[str, bool]:
    """The order that the index which narrows the search has anyway."""
    ranged = {term.column for term in terms if term.relation in _RANGES}
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
        uids = _uids(text)
        return Term(column, "is" if len(uids) == 1 else "in", tuple(uids))
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
    uids = [uid.strip(" \0") for uid in text.replace(",", "\\").split("\\")]
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
        given = 0
        for row in _page(plan, records, limit, offset):
            given += 1
            yield row
        if given < limit:
            return
        offset, limit = offset + limit, _PAGE


def _page(plan: _Plan, records: Records, limit: int | None, offset: int) -> Iterator[Row]:
    """A page of the rows the index gives, in order."""
    return records.each(
        plan.table,
        plan.terms,
        columns=plan.columns,
        order=plan.order,
        descending=plan.descending,
        limit=limit,
        offset=offset,
    )


def _walk_patients(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:
    seen: set[str] = set()
    for match in _walk_studies(plan, search, records):
        patient = str(match.values["PatientID"])
        if patient not in seen:
            seen.add(patient)
            yield Match({key: match.values[key] for key in _OF_LEVEL["patient"]})


def _walk_studies(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:  # noqa: ARG001 — one signature
    return _kept(plan, _studies(_rows(plan, records), records))


def _walk_series(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:  # noqa: ARG001 — one signature
    return _kept(plan, _series(_rows(plan, records), records))


def _kept(plan: _Plan, matches: Iterator[Match]) -> Iterator[Match]:
    """Those that meet every rule above the instance."""
    rules = plan.above
    return (match for match in matches if all(rule(match.values) for rule in rules)) if rules else matches


def _walk_instances(plan: _Plan, search: Search, records: Records) -> Iterator[Match]:
    rules = plan.below
    for above, row in _instance_rows(plan, search, records):
        values = {**above.values, **_instance_values(row.document)}
        if not rules or all(rule(values) for rule in rules):
            yield Match(values, above.study, above.image_set, row.key)


def _instance_rows(plan: _Plan, search: Search, records: Records) -> Iterator[tuple[Match, Row]]:
    """Instances that may match, each with its series; by their own UID where that is asked for."""
    if plan.named is not None:
        yield from _named_instances(plan, plan.named, records)
        return
    most = None if search.limit is None or plan.below else search.offset + search.limit + 1
    for above in _walk_series(plan, search, records):
        for row in records.each(INSTANCES, _of_image_set(above.image_set), columns=(), order="number", limit=most):
            yield above, row
            if most is not None:
                most -= 1  # who needs no more than that asks for no more


def _of_image_set(identity: str | None) -> tuple[Term, ...]:
    return (Term("image_set", "is", (identity,)), _CURRENT)


def _named_instances(plan: _Plan, named: Term, records: Records) -> Iterator[tuple[Match, Row]]:
    known: dict[str, Match | None] = {}
    for row in records.each(INSTANCES, (named, _CURRENT), columns=()):
        name = str(row.document["image_set"])
        if name not in known:
            known[name] = _series_if_meant(name, plan, records)
        found = known[name]
        if found is not None:
            yield found, row


def _series_if_meant(name: str, plan: _Plan, records: Records) -> Match | None:
    """The series of an image set, where it meets everything that was asked for above the instance."""
    row = records.get(IMAGE_SETS, name, columns=(*plan.columns, *(term.column for term in plan.terms)))
    if row is None or not all(_meets(row.columns, term) for term in plan.terms):
        return None
    (match,) = _series((row,), records)
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


def _studies(rows: Iterable[Row], records: Records) -> Iterator[Match]:  # noqa: ARG001 — one signature
    keys = _KEYS["study"]
    for row in rows:
        document, columns = row.document, row.columns
        values = dict(zip(keys, map(document["attributes"].get, keys), strict=True))
        values["PatientID"] = document["patient_id"]
        values["StudyInstanceUID"] = document["study_uid"]
        values["ModalitiesInStudy"] = _modalities(columns)
        values["NumberOfStudyRelatedSeries"] = columns["series"]
        values["NumberOfStudyRelatedInstances"] = columns["instances"]
        yield Match(values, row.key)


def _series(rows: Iterable[Row], records: Records) -> Iterator[Match]:
    keys = _KEYS["series"]
    known: dict[str, list[str] | None] = {}
    for row in rows:
        document, identity = row.document, str(row.columns["study"])
        attributes = document["attributes"]
        if identity not in known:
            study = records.get(STUDIES, identity, columns=_MODALITIES)
            known[identity] = None if study is None else _modalities(study.columns)
        modalities = known[identity]
        modality = attributes.get("Modality") or "OT"
        values = dict(zip(keys, map(attributes.get, keys), strict=True))
        values["PatientID"] = document["patient_id"]
        values["StudyInstanceUID"] = document["study_uid"]
        values["SeriesInstanceUID"] = document["series_uid"]
        values["Modality"] = modality
        values["ModalitiesInStudy"] = [modality] if modalities is None else modalities
        values["NumberOfSeriesRelatedInstances"] = document["instances"]
        yield Match(values, identity, row.key)


def _modalities(columns: Mapping[str, Any]) -> list[str]:
    return [word for word in str(columns["modalities"]).split("\\") if word]


def _instance_values(document: Mapping[str, Any]) -> dict[str, Any]:
    image, attribute = document["image"] or {}, document["attributes"].get
    return {
        "ImageType": attribute("ImageType"),
        "ContentDate": attribute("ContentDate"),
        "ContentTime": attribute("ContentTime"),
        "InstanceNumber": attribute("InstanceNumber"),
        "SOPClassUID": document["sop_class"],
        "SOPInstanceUID": document["sop_uid"],
        "NumberOfFrames": image.get("frames"),
        "Rows": image.get("rows"),
        "Columns": image.get("columns"),
        "BitsAllocated": image.get("bits_allocated"),
    }


_READ: Mapping[str, Callable[[Iterable[Row], Records], Iterator[Match]]] = {"study": _studies, "series": _series}
_WALK: Mapping[str, Callable[[_Plan, Search, Records], Iterator[Match]]] = {
    "patient": _walk_patients,
    "study": _walk_studies,
    "series": _walk_series,
    "instance": _walk_instances,
}
