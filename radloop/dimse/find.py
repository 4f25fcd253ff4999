"""C-FIND: what is asked for in an identifier, and one pending response for each match (PS3.4 §C.4.1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from radloop.core.errors import Denied, InvalidInput, RadloopError
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.dicom.identifiers import read_identifier, write_identifier
from radloop.dimse.association import Gone
from radloop.dimse.exchange import Exchange
from radloop.store.search import ATTRIBUTES, COUNTED, LEVELS, Match, Search, find, searchable_at

SUCCESS, PENDING, PENDING_KEYS_LEFT_OUT, CANCELLED = 0x0000, 0xFF00, 0xFF01, 0xFE00
NOT_AUTHORIZED, DOES_NOT_MATCH, UNABLE = 0x0124, 0xA900, 0xC001

LEVEL = 0x00080052
RETRIEVE_TITLE = 0x00080054
AVAILABILITY = 0x00080056
UNIQUE = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
"""The unique key of each level (PS3.4 §C.6.1.1)."""

_LEVELS = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "instance"}
_KEYWORDS = {int(attribute.tag, 16): keyword for keyword, attribute in ATTRIBUTES.items()}
_ANSWERED = frozenset({LEVEL, RETRIEVE_TITLE, AVAILABILITY})
_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Query:
    """An identifier, understood.

    Attributes:
        level: patient, study, series or instance; `name` as DICOM calls it.
        wanted: Matching value by keyword; what matches everything is left out.
        shown: Every tag that was asked for.
        left_out: Whether some key is neither matched nor known at this level.
    """

    level: str
    name: str
    wanted: Mapping[str, str]
    shown: frozenset[int]
    left_out: bool


def query_of(identifier: Mapping[int, str], root: str) -> Query:
    """What an identifier asks for.

    A query need not name the unique keys above its level: it is answered as a relational one, whatever was negotiated.

    Raises:
        InvalidInput: The level is not one of the information model.
    """
    name = identifier.get(LEVEL, "").strip()
    level = _LEVELS.get(name)
    if level is None or (level == "patient" and root == "study"):
        raise InvalidInput("the query level is not one of the information model")
    possible = searchable_at(level)
    visible = {int(ATTRIBUTES[key].tag, 16) for key in possible | _counted_at(level)}
    wanted = {
        _KEYWORDS[tag]: value
        for tag, value in identifier.items()
        if value and tag in _KEYWORDS and _KEYWORDS[tag] in possible
    }
    left_out = bool(set(identifier) - visible - _ANSWERED)
    return Query(level, name, wanted, frozenset(identifier), left_out)


def answer_find(exchange: Exchange, root: str, title: str) -> None:
    """Answer a C-FIND request.

    Args:
        exchange: The request.
        root: Of the information model: patient or study.
        title: Our AE title, from which what is found can be retrieved.

    Raises:
        Gone: The peer went away meanwhile.
    """
    try:
        exchange.images.may_search()
        query = query_of(read_identifier(exchange.data("Identifier").getvalue(), exchange.syntax), root)
        pending = PENDING_KEYS_LEFT_OUT if query.left_out else PENDING
        for match in _matches(query, exchange):
            if exchange.is_cancelled:
                exchange.respond(CANCELLED)
                return
            exchange.respond(pending, write_identifier(_row(query, match, title), exchange.syntax))
    except Gone:
        raise
    except Denied as error:
        exchange.respond(NOT_AUTHORIZED, comment=error.code)
    except InvalidInput as error:
        exchange.respond(DOES_NOT_MATCH, comment=error.code)
    except RadloopError as error:
        exchange.respond(UNABLE, comment=error.code)
    else:
        exchange.respond(SUCCESS)


def _matches(query: Query, exchange: Exchange) -> Iterator[Match]:
    """Every match, once: what arrives meanwhile moves the pages, so one may come round again."""
    seen: set[object] = set()
    offset = 0
    while True:
        search = Search(
            level=query.level,
            wanted=query.wanted,
            limit=_PAGE,
            offset=offset,
            datastore=DEFAULT_DATASTORE,
            patients=exchange.principal.patients,
        )
        found = find(search, exchange.platform.records)
        for match in found.matches:
            key = match.instance or match.image_set or match.study or match.values["PatientID"]
            if key not in seen:
                seen.add(key)
                yield match
        if not found.is_cut:
            return
        offset += _PAGE


def _row(query: Query, match: Match, title: str) -> dict[int, object]:
    """What is returned of a match: the level, the unique keys down to it, and what was asked for."""
    row: dict[int, object] = {tag: None for tag in query.shown}  # noqa: C420 — of another type than fromkeys makes
    row |= {LEVEL: query.name, RETRIEVE_TITLE: title}
    if AVAILABILITY in query.shown:
        row[AVAILABILITY] = "ONLINE"
    unique = {UNIQUE[level] for level in LEVELS[: LEVELS.index(query.level) + 1]}
    for keyword, value in match.values.items():
        tag = int(ATTRIBUTES[keyword].tag, 16)
        if tag in query.shown or keyword in unique:
            row[tag] = value
    return row


def _counted_at(level: str) -> frozenset[str]:
    above = LEVELS[: LEVELS.index(level) + 1]
    return frozenset(key for key in COUNTED if ATTRIBUTES[key].level in above)
