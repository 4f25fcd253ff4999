import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from radloop.api import multipart
from radloop.api.multipart import (
    LONGEST_HEADERS,
    LONGEST_PADDING,
    MOST_GATHERED,
    MultipartParser,
    Part,
    gathered,
    parts_of,
)
from radloop.core.errors import InvalidInput

BOUNDARY = "frontier"


def written(bodies: list[bytes], boundary: str = BOUNDARY) -> bytes:
    parts = [
        b"--%s\r\nContent-Disposition: form-data; name=f; filename=n%d\r\n\r\n%s\r\n" % (boundary.encode(), at, body)
        for at, body in enumerate(bodies)
    ]
    return b"preamble\r\n" + b"".join(parts) + b"--%s--\r\nepilogue" % boundary.encode()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def parsed(stream: list[bytes], boundary: str = BOUNDARY) -> list[tuple[Mapping[str, str], bytes]]:
    parser, found, body = MultipartParser(boundary), [], bytearray()
    headers: Mapping[str, str] = {}
    for piece in stream:
        for token in parser.feed(piece):
            if isinstance(token, bytes):
                body += token
            elif token is None:
                found.append((headers, bytes(body)))
                body.clear()
            else:
                headers = token
    parser.finish()
    return found


awkward = st.lists(
    st.sampled_from([b"\r\n", b"--", b"-", b"\r", b"\n", b"front", b"\r\n--fron", b"\r\n--frontierX", b"\0\xff", b" "])
).map(b"".join)


@given(bodies=st.lists(awkward | st.binary(max_size=300), max_size=5), cuts=st.lists(st.integers(0, 5000), max_size=40))
def test_parts_come_out_as_they_went_in_whatever_pieces_they_arrive_in(bodies: list[bytes], cuts: list[int]) -> None:
    found = parsed(pieces(written(bodies), cuts))
    assert [body for _, body in found] == bodies
    assert [headers["content-disposition"][-2:] for headers, _ in found] == [f"n{at}" for at in range(len(bodies))]


@given(data=st.binary(max_size=400) | awkward, cuts=st.lists(st.integers(0, 500), max_size=10))
def test_any_bytes_are_parts_or_invalid_input_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    outcomes = []
    for stream in ([data], pieces(data, cuts)):
        try:
            outcomes.append(parsed(stream))
        except InvalidInput as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1], "cutting the stream changed what it says"


@given(
    body=(st.lists(awkward | st.binary(max_size=300), max_size=5).map(written)) | st.binary(max_size=400) | awkward,
    cuts=st.lists(st.integers(0, 5000), max_size=40),
    at_once=st.integers(1, 600),
)
def test_a_body_says_the_same_however_much_of_it_is_gathered(body: bytes, cuts: list[int], at_once: int) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces(body, cuts):
            yield piece

    async def read() -> list[tuple[Mapping[str, str], bytes]]:
        limits = {"longest_part": len(body), "most_parts": 1000}
        return [(part.headers, part.data) async for part in parts_of(stream(), BOUNDARY, **limits)]

    def outcome(say: Callable[[], list[tuple[Mapping[str, str], bytes]]]) -> object:
        try:
            return say()
        except InvalidInput as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(multipart, "GATHERED_BYTES", at_once)
        assert outcome(lambda: asyncio.run(read())) == outcome(lambda: parsed([body]))


@given(
    ends=st.tuples(awkward, awkward, awkward),
    filling=st.sampled_from([b"\r\n--", b"-", b"\0", b"\r\n--frontie", b"ab"]),
    length=st.integers(0, 3 * multipart._WORTH_A_CALL),
    start=st.integers(0, 2 * multipart._WORTH_A_CALL),
)
def test_a_delimiter_is_found_where_it_first_stands(
    ends: tuple[bytes, bytes, bytes], filling: bytes, length: int, start: int
) -> None:
    filled = (filling * (length // len(filling) + 1))[:length]
    for wanted in (b"\r\n--frontier", b"\r\n--fron"):
        for data in (
            b"".join([ends[0], filled, ends[1]]),
            b"".join([ends[0], filled, wanted, ends[2], filled, wanted]),
        ):
            assert multipart._find(data, wanted, min(start, len(data))) == data.find(wanted, min(start, len(data)))


def test_every_byte_alone_and_all_at_once_say_the_same() -> None:
    body = written([b"\r\n--frontie\r\n--frontierr\r\n", b"", b"\r\n"])
    assert parsed([bytes([byte]) for byte in body]) == parsed([body])


def test_a_mutated_body_never_raises_anything_but_invalid_input() -> None:
    rng = random.Random(5)
    good = written([b"abc", b"\r\n--front", bytes(100)])
    survived = 0
    for _ in range(2000):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        try:
            parsed([bytes(bad[: rng.randint(0, len(bad))])])
            survived += 1
        except InvalidInput:
            pass
    assert 0 < survived < 2000


def test_what_is_held_does_not_grow_with_the_body() -> None:
    parser = MultipartParser(BOUNDARY)
    list(parser.feed(b"--frontier\r\n\r\n"))
    for _ in range(100):
        list(parser.feed(bytes(10_000)))
        assert len(parser._held) < 100


def test_a_body_in_single_bytes_is_held_in_few_pieces() -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b"x"

    async def read() -> list[int]:
        return [len(pieces) async for pieces in gathered(stream())]

    lengths = asyncio.run(read())
    assert sum(lengths) == 10_000
    assert max(lengths) == MOST_GATHERED


def test_a_delimiter_may_be_followed_by_blanks_but_not_by_anything_else() -> None:
    assert parsed([b"--frontier \t \r\n\r\nx\r\n--frontier--"]) == [({}, b"x")]
    assert parsed([b"--frontier\r\n\r\nx\r\n--frontierY\r\nz\r\n--frontier--"]) == [({}, b"x\r\n--frontierY\r\nz")]
    padded = b"--frontier\r\n\r\nx\r\n--frontier" + b" " * (LONGEST_PADDING + 10) + b"\r\n\r\n\r\n--frontier--"
    assert len(parsed([padded])) == 1, "a line of blanks without end is no delimiter"


def test_a_body_that_ends_early_and_headers_without_end_are_refused() -> None:
    with pytest.raises(InvalidInput, match="closing boundary"):
        parsed([b"--frontier\r\n\r\nx"])
    with pytest.raises(InvalidInput, match="headers"):
        parsed([b"--frontier\r\n" + b"a: b\r\n" * LONGEST_HEADERS])
    with pytest.raises(InvalidInput, match="boundary"):
        MultipartParser("")


def test_a_part_that_is_too_long_and_one_part_too_many_are_told_as_413() -> None:
    async def read(body: bytes, **limits: int) -> list[Part]:
        async def stream() -> AsyncIterator[bytes]:
            yield body

        return [part async for part in parts_of(stream(), BOUNDARY, **limits)]

    body = written([b"x" * 100, b"y"])
    found = asyncio.run(read(body, longest_part=100, most_parts=2))
    assert [part.file_name for part in found] == ["n0", "n1"]
    for limits in ({"longest_part": 99, "most_parts": 2}, {"longest_part": 100, "most_parts": 1}):
        with pytest.raises(HTTPException) as told:
            asyncio.run(read(body, **limits))
        assert told.value.status_code == 413
