"""The worklist: image sets, newest first or by what their next read is worth, a page at a time."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from radloop.core.errors import InvalidInput
from radloop.core.images import ImageSet, State, Storage
from radloop.core.ports import Records, Term
from radloop.core.tables import IMAGE_SETS, INSTANCES, WITHOUT_IMAGES, image_set_of
from radloop.reading.blinding import Eyes
from radloop.reading.tokens import place_of, place_token, ties

LONGEST_PAGE = 500
_LEAST_VALUE = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the worklist.

    Attributes:
        items: Image sets, in order. One that is still arriving says so by `is_closed`.
        next: Opaque; asks for what follows. None at the end.
        counts: How many image sets there are in each state, whatever this page shows.
        reports: How many of those that are INGESTED have no images, such as reports.
        landed: How many instances wait to be folded.
    """

    items: tuple[ImageSet, ...]
    next: str | None
    counts: Mapping[State, int]
    reports: int
    landed: int


def worklist(
    records: Records,
    *,
    state: State | None = None,
    limit: int = 50,
    after: str | None = None,
    patients: frozenset[str] | None = None,
    with_images: bool = False,
) -> Page:
    """One page of the worklist.

    Args:
        records: Where image sets are kept.
        state: Only those in this state; None for all.
        limit: At most so many, 1 to 500.
        after: `next` of the page before; None for the first.
        patients: Only image sets of these, by PatientID, shown and counted; None for all.
        with_images: Of those that are INGESTED, only such as have images, which can be verified.

    Raises:
        InvalidInput: `limit` is out of range, or `after` is not a token of ours.
    """
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(f"limit must be from 1 to {LONGEST_PAGE}")
    scope = _scope(patients)
    terms = [*scope, *([] if state is None else [_in_state(state, with_images=with_images)])]
    place = 0 if after is None else _place(after)
    rows = records.search(IMAGE_SETS, terms, descending=True, limit=limit + 1, after=place)
    shown = rows[:limit]
    following = _token(shown[-1].order) if len(rows) > limit else None
    return _page(records, tuple(image_set_of(row) for row in shown), following, patients)


def by_worth(
    records: Records,
    eyes: Eyes,
    *,
    limit: int = 50,
    after: str | None = None,
    patients: frozenset[str] | None = None,
) -> Page:
    """One page of what waits for a reader, that first whose next read is worth most; see `core.worth`.

    The order is kept with the image sets and moves with them, so that one which changes between two pages may come
    twice or not at all.

    Args:
        records: Where image sets are kept.
        eyes: The reader; what they have read is left out.
        limit: At most so many, 1 to 500.
        after: `next` of the page before; None for the first.
        patients: Only image sets of these, by PatientID, shown and counted; None for all.

    Raises:
        InvalidInput: `limit` is out of range, or `after` is not a token of ours.
    """
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(f"limit must be from 1 to {LONGEST_PAGE}")
    begun, skipped = (None, 0) if after is None else place_of(after)
    items: list[ImageSet] = []
    passed: list[float] = []
    shown = 0
    for value, image_set in _by_value(records, _scope(patients), begun, skipped, limit + 1):
        if eyes.has_read(image_set):
            passed.append(value)
            continue
        if len(items) == limit:
            values = passed[:shown]
            token = place_token(values[-1], ties(values, begun, skipped))
            return _page(records, tuple(items), token, patients)
        items.append(image_set)
        passed.append(value)
        shown = len(passed)
    return _page(records, tuple(items), None, patients)


def _by_value(
    records: Records, scope: list[Term], begun: float | None, skipped: int, piece: int
) -> Iterator[tuple[float, ImageSet]]:
    """What waits for a reader from a place on, the most worthy first, asked for in pieces."""
    while True:
        terms = [*scope, Term("value", "between", (_LEAST_VALUE, begun))]
        rows = records.search(
            IMAGE_SETS, terms, columns=("value",), order="value", descending=True, limit=piece, offset=skipped
        )
        values = [float(row.columns["value"]) for row in rows]
        yield from zip(values, map(image_set_of, rows), strict=True)
        if len(rows) < piece:
            return
        begun, skipped, piece = values[-1], ties(values, begun, skipped), LONGEST_PAGE


def _page(
    records: Records, items: tuple[ImageSet, ...], following: str | None, patients: frozenset[str] | None
) -> Page:
    scope = _scope(patients)
    return Page(
        items=items,
        next=following,
        counts={each: records.search_count(IMAGE_SETS, [*scope, _in_state(each)]) for each in State},
        reports=records.search_count(IMAGE_SETS, [*scope, Term("state", "is", (WITHOUT_IMAGES,))]),
        landed=_landed(records, patients),
    )


def _scope(patients: frozenset[str] | None) -> list[Term]:
    return [] if patients is None else [Term("patient_id", "in", tuple(sorted(patients)))]


def _in_state(state: State, *, with_images: bool = False) -> Term:
    if state is State.INGESTED and not with_images:
        return Term("state", "in", (str(state), WITHOUT_IMAGES))
    return Term("state", "is", (str(state),))


def _landed(records: Records, patients: frozenset[str] | None) -> int:
    """How many instances wait to be folded, of these patients only."""
    if patients is None:
        return records.count(INSTANCES, {"storage": str(Storage.LANDED)})
    rows = records.search(IMAGE_SETS, [Term("patient_id", "in", tuple(sorted(patients)))])
    return sum(int(row.document["landed"]) for row in rows)


def _token(place: int) -> str:
    return urlsafe_b64encode(f"after:{place}".encode()).decode().rstrip("=")


def _place(token: str) -> int:
    """The place a token stands for; a place is above 0, because 0 would mean the beginning."""
    try:
        word, _, number = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii").partition(":")
    except ValueError:
        word, number = "", ""
    if word != "after" or not number.isascii() or not number.isdigit() or not 0 < int(number) < 1 << 63:
        raise InvalidInput("after is not a token of the worklist")
    return int(number)
