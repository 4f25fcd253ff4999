"""Tokens of pages that are ordered by a number: the last number, and how many of its ties were shown already."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from math import isfinite

from radloop.core.errors import InvalidInput

_MOST_TIES = 1 << 40


def place_token(last: float, skipped: int) -> str:
    """The token of the page behind `last`.

    >>> place_of(place_token(1.5, 3))
    (1.5, 3)
    """
    return urlsafe_b64encode(f"behind:{last!r}:{skipped}".encode()).decode().rstrip("=")


def place_of(token: str) -> tuple[float, int]:
    """The number at which a page begins, and how many of those that have it to leave out.

    Raises:
        InvalidInput: The token is not one of ours.
    """
    try:
        word, last, skipped = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii").split(":")
        number, count = float(last), int(skipped)
    except ValueError:
        word, number, count = "", 0.0, 0
    if word != "behind" or not isfinite(number) or not 0 < count < _MOST_TIES:
        raise InvalidInput("after is not a token of this list")
    return number, count


def ties(shown: Sequence[float], begun: float | None, skipped: int) -> int:
    """How many of those that have the last number have been shown, on this page and on those before.

    >>> ties([3.0, 2.0, 2.0], 3.0, 1), ties([2.0, 2.0], 2.0, 1)
    (2, 3)
    """
    count = sum(each == shown[-1] for each in shown)
    return count + (skipped if shown[-1] == begun else 0)
