"""The worklist: image sets, newest first, a page at a time."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from radloop.core.errors import InvalidInput
from radloop.core.images import ImageSet, State, Storage
from radloop.core.ports import Records, Term
from radloop.core.tables import IMAGE_SETS, INSTANCES, WITHOUT_IMAGES, image_set_of

LONGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the worklist.

    Attributes:
        items: Image sets, newest first. One that is still arriving says so by `is_closed`.
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
    scope = [] if patients is None else [Term("patient_id", "in", tuple(sorted(patients)))]
    terms = [*scope, *([] if state is None else [_in_state(state, with_images=with_images)])]
    place = 0 if after is None else _place(after)
    rows = records.search(IMAGE_SETS, terms, descending=True, limit=limit + 1, after=place)
    shown = rows[:limit]
    return Page(
        items=tuple(image_set_of(row) for row in shown),
        next=_token(shown[-1].order) if len(rows) > limit else None,
        counts={each: records.search_count(IMAGE_SETS, [*scope, _in_state(each)]) for each in State},
        reports=records.search_count(IMAGE_SETS, [*scope, Term("state", "is", (WITHOUT_IMAGES,))]),
        landed=_landed(records, patients),
    )


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
