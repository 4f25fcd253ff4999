"""Values of columns keep their order when they become parts of keys."""

from hypothesis import given
from hypothesis import strategies as st

from radloop.aws.items import is_whole, pack, place_in, placed, prefixed, sortable, unpack
from radloop.aws.searches import rank

TEXTS = st.text(alphabet=st.sampled_from("\0\x01\x02aAä\U0001f600\uffff"), max_size=6)
VALUES = TEXTS | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)


@given(one=VALUES, other=VALUES)
def test_keys_come_in_the_order_of_values(one: str | float, other: str | float) -> None:
    keys = [f"{sortable(each)}\0{placed(7)}" for each in (one, other)]
    assert (keys[0].encode() < keys[1].encode()) == (rank(one) < rank(other))
    assert (keys[0] == keys[1]) == (one == other)


@given(text=TEXTS, more=TEXTS, other=TEXTS)
def test_a_prefix_is_a_span_of_keys(text: str, more: str, other: str) -> None:
    first, last = prefixed(text)
    assert first <= f"{sortable(text + more)}\0{placed(1)}" <= last
    if not other.startswith(text):
        assert not first <= f"{sortable(other)}\0{placed(1)}" <= last


@given(text=st.text(alphabet="aä\U0001f600\0", min_size=900, max_size=1100))
def test_a_key_is_never_longer_than_dynamodb_takes(text: str) -> None:
    key = f"{sortable(text)}\0{placed(10**15)}"
    assert len(key.encode()) <= 1024
    assert place_in(key) == 10**15
    assert is_whole(text) == (len(text.replace("\0", "\0\0").encode()) <= 900)


def test_numbers_that_a_key_cannot_tell_apart_are_known() -> None:
    assert is_whole(2**53)
    assert not is_whole(2**53 + 1)


def test_a_document_comes_back() -> None:
    assert unpack(pack({"a": [1, 2.5, None, "ä"]})) == {"a": [1, 2.5, None, "ä"]}
