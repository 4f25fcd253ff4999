from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from radloop.core.errors import ExpiredLink, InvalidInput, InvalidLink
from radloop.core.identity import Principal
from radloop.security.links import LONGEST_LIFE_S, Links, is_link

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
LINKS = Links(bytes(range(32)))
ids = st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=32)
lives = st.integers(1, LONGEST_LIFE_S)


def made(image_set: str, principal: str, seconds: int, links: Links = LINKS) -> list[tuple[str, str]]:
    """A link as the other side reads it."""
    link = links.make(image_set, Principal(principal, frozenset()), seconds=seconds, now=NOW)
    return parse_qsl(link.query, strict_parsing=True)


@given(image_set=ids, principal=ids, seconds=lives)
def test_a_link_names_its_maker_until_it_ends(image_set: str, principal: str, seconds: int) -> None:
    query = made(image_set, principal, seconds)
    assert is_link(query)
    ends = NOW + timedelta(seconds=seconds)
    assert LINKS.check(image_set, query, ends - timedelta(milliseconds=1)) == principal
    assert LINKS.check(image_set, [*query, ("v", "1")], NOW) == principal
    with pytest.raises(ExpiredLink):
        LINKS.check(image_set, query, ends + timedelta(seconds=1))


@given(
    image_set=ids, seconds=lives, field=st.sampled_from(["expires", "principal", "signature"]), value=st.text(), at=ids
)
def test_a_link_with_anything_changed_is_invalid(image_set: str, seconds: int, field: str, value: str, at: str) -> None:
    query = made(image_set, "maker", seconds)
    assume(dict(query)[field] != value)
    assume(at != image_set)
    changed = [(name, value if name == field else told) for name, told in query]
    for where, wrong in ((image_set, changed), (at, query), (image_set, [*query, (field, value)])):
        with pytest.raises(InvalidLink):
            LINKS.check(where, wrong, NOW)
    for gone in range(3):
        with pytest.raises(InvalidLink):
            LINKS.check(image_set, query[:gone] + query[gone + 1 :], NOW)


def test_a_link_under_another_key_is_invalid() -> None:
    with pytest.raises(InvalidLink):
        LINKS.check("a", made("a", "maker", 60, Links(bytes(32))), NOW)


def test_an_expired_link_that_was_tampered_with_does_not_tell_that_it_is_expired() -> None:
    query = made("a", "maker", 1)
    with pytest.raises(InvalidLink):
        LINKS.check("b", query, NOW + timedelta(hours=2))


@pytest.mark.parametrize("seconds", [0, -1, LONGEST_LIFE_S + 1])
def test_a_link_lives_from_a_second_to_an_hour(seconds: int) -> None:
    with pytest.raises(InvalidInput):
        made("a", "maker", seconds)
