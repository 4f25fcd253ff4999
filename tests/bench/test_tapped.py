"""What was sent is read rightly from the bytes on the link, however they were cut into pieces."""

import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))  # the programs there import each other by name

from link import Piece
from tapped import PREVIEW, records, twice

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.radloop.stream\r\n"


def record(frame: int, begin: int, data: bytes) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in (frame, begin, len(data))) + data


def sized(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, size: int) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    told = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + told + b"0\r\n\r\n"


def pieces(data: bytes, connection: int = 0, seed: int = 1) -> list[Piece]:
    """`data` in pieces of many sizes; the nth comes at moment n."""
    dice, found, at = random.Random(seed), [], 0
    while at < len(data):
        size = dice.randint(1, 40)
        found.append(Piece(float(len(found)), connection, True, data[at : at + size]))
        at += size
    return found


def keys(data: list[Piece]) -> list[tuple[int, int, int]]:
    return [(each.frame, each.begin, each.length) for each in records(data)]


BODY = record(7 | PREVIEW, 0, b"p" * 30) + record(7, 0, b"f" * 100) + record(7, 100, b"f" * 50)
EXPECTED = [(7 | PREVIEW, 0, 30), (7, 0, 100), (7, 100, 50)]


@pytest.mark.parametrize("size", [1, 5, 12, 13, 64, 1000])
def test_records_are_found_across_chunks_and_pieces(size: int) -> None:
    assert keys(pieces(chunked(BODY, size))) == EXPECTED


def test_records_of_answers_behind_each_other_and_of_other_kinds() -> None:
    other = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    none = b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 99\r\n\r\n"
    index = HEAD.replace(b"stream", b"stream-index") + b"Content-Length: 4\r\n\r\nRLSI"
    assert keys(pieces(other + none + index + sized(BODY) + other + chunked(BODY, 9))) == EXPECTED * 2


def test_a_record_came_when_its_last_byte_came() -> None:
    data = pieces(sized(record(1, 0, b"a" * 200) + record(2, 0, b"b" * 200)))
    first, second = records(data)
    came = b""
    moments = {}
    for piece in data:
        came += piece.data
        for letter in (b"a", b"b"):
            if came.count(letter * 200) and letter not in moments:
                moments[letter] = piece.at
    assert (first.at, second.at) == (moments[b"a"], moments[b"b"])


def test_what_the_server_refuses_is_no_record() -> None:
    refused = record(3, 0xFFFFFFFF, b'{"code":"not-found"}')
    assert keys(pieces(sized(refused + record(4, 0, b"x")))) == [(4, 0, 1)]


@pytest.mark.parametrize("make", [sized, lambda body: chunked(body, 50)])
def test_a_record_that_was_cut_says_how_much_came(make) -> None:
    whole = make(record(1, 0, b"a" * 100) + record(2, 0, b"b" * 300))
    cut = whole[: whole.index(b"b" * 20) + 30]
    first, second = records(pieces(cut))
    assert first.is_whole
    assert not second.is_whole
    assert 0 < second.length <= 30
    assert second.stated == 300


def test_bytes_that_came_twice_are_counted_once_for_each_time_too_many() -> None:
    one = pieces(sized(record(1, 0, b"a" * 100) + record(1, 100, b"a" * 100)), connection=0)
    assert twice(records(one)) == 0
    again = pieces(sized(record(1, 50, b"a" * 100) + record(1 | PREVIEW, 0, b"p" * 100)), connection=1)
    assert twice(records(one + again)) == 100


def test_a_record_that_was_cut_does_not_count_as_fetched_twice() -> None:
    cut = sized(record(1, 0, b"a" * 100))[:-40]
    again = sized(record(1, 0, b"a" * 100))
    assert twice(records(pieces(cut, connection=0) + pieces(again, connection=1))) == 0
