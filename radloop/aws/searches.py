"""Which items a search has to look at, and what its terms say of a record.

A search goes through one index: the narrowest of the columns it has terms for, or the table in the order of writing.
Every record found there is read and held against all terms once more, because it may have changed meanwhile and
because an index tells long texts apart by their beginnings only. (In the order of a column, texts that are alike in
their first 900 bytes come as they were first written.)
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radloop.aws.items import is_whole, placed, prefixed, sortable
from radloop.core.ports import Table, Term

Value = str | int | float | None

_LOWEST, _HIGHEST = "n", "u"  # numbers begin with n, texts with t
_MOST = 10**16 - 1
_WILD = re.compile(r"[*?]")


@dataclass(frozen=True, slots=True)
class Path:
    """Where to look: spans of sort keys in one partition, each with both its ends.

    Attributes:
        column: The records come in the order of this column; None for the order they were first written in, "" for
            none that can be told.
        is_exact: What lies in the spans meets the terms; nothing else has to be looked at to count.
    """

    partition: str
    spans: tuple[tuple[str, str], ...]
    column: str | None
    is_exact: bool


def path_of(table: Table, terms: Sequence[Term], *, after: int = 0, descending: bool = False) -> Path:
    """The narrowest way to all records that meet `terms`.

    Raises:
        KeyError: The table has no such column.
    """
    for term in terms:
        require(table, term.column)
    places = (1, after - 1) if after and descending else (after + 1, _MOST)
    ways = [way for term in terms if term.column in table.indexed for way in _ways(term, places)]
    if not ways:
        return Path(table.name, ((placed(places[0]), placed(places[1])),), None, not terms)
    _, path = min(ways, key=lambda way: way[0])
    is_exact = path.is_exact and len(terms) == 1 and not (after and path.column is not None)
    return Path(f"{table.name}.{path.partition}", path.spans, path.column, is_exact)


def require(table: Table, column: str) -> None:
    """Go on only with a column that the table has.

    Raises:
        KeyError: It has not.
    """
    if column not in table.columns:
        raise KeyError(column)


def meets(columns: Mapping[str, Any], terms: Sequence[Term]) -> bool:
    """Whether a record with these columns meets all terms; what is None meets no comparison."""
    return all(_RELATIONS[term.relation](columns.get(term.column), term.values) for term in terms)


def rank(value: Value) -> tuple[int, Any]:
    """A value as one that sorts: None first, then numbers, then texts."""
    if value is None:
        return (0, 0)
    return (2, value) if isinstance(value, str) else (1, value)


# Ways through an index, with how narrow they are; fewer is narrower


def _ways(term: Term, places: tuple[int, int]) -> list[tuple[int, Path]]:
    column, values = term.column, term.values
    match term.relation:
        case "is" if values[0] is not None:
            return [(0, Path(column, (_equal(values[0], places),), None, is_whole(values[0])))]
        case "in":
            spans = tuple(dict.fromkeys(_equal(value, places) for value in values if value is not None))
            return [(1, Path(column, spans, "", all(map(is_whole, values))))]
        case "prefix":
            return [(2, Path(column, (prefixed(str(values[0])),), column, False))]
        case "glob":
            begins = _WILD.split(str(values[0]), maxsplit=1)[0]
            return [(2, Path(column, (prefixed(begins),), column, False))] if begins else []
        case "between":
            low, high = values
            open_ends = (low is None) + (high is None)
            span = (_LOWEST if low is None else sortable(low), _HIGHEST if high is None else _upto(high))
            return [(2 + open_ends, Path(column, (span,), column, is_whole(low) and is_whole(high)))]
    return []


def _equal(value: str | float, places: tuple[int, int]) -> tuple[str, str]:
    return f"{sortable(value)}\0{placed(places[0])}", f"{sortable(value)}\0{placed(places[1])}"


def _upto(value: str | float) -> str:
    return f"{sortable(value)}\0{placed(_MOST)}"


# Relations


def _is(value: Value, values: tuple[Value, ...]) -> bool:
    return value == values[0]


def _in(value: Value, values: tuple[Value, ...]) -> bool:
    return value is not None and value in values


def _between(value: Value, values: tuple[Value, ...]) -> bool:
    low, high = values
    if value is None:
        return False
    return (low is None or rank(low) <= rank(value)) and (high is None or rank(value) <= rank(high))


def _prefix(value: Value, values: tuple[Value, ...]) -> bool:
    return isinstance(value, str) and value.startswith(str(values[0]))


def _glob(value: Value, values: tuple[Value, ...]) -> bool:
    wild = {"*": ".*", "?": "."}
    pattern = "".join(wild.get(letter) or re.escape(letter) for letter in str(values[0]))
    return isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def _has(value: Value, values: tuple[Value, ...]) -> bool:
    return isinstance(value, str) and f"\\{values[0]}\\" in value


_RELATIONS: Mapping[str, Callable[[Value, tuple[Value, ...]], bool]] = {
    "is": _is,
    "in": _in,
    "between": _between,
    "prefix": _prefix,
    "glob": _glob,
    "has": _has,
}
