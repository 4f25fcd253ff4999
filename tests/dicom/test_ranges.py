"""A file that lies elsewhere is understood as one in memory is, and of its pixels nothing is fetched."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from radloop.core.errors import InvalidInput, TooLarge, Unavailable
from radloop.dicom import ranges
from radloop.dicom.parse import Instance, parse
from radloop.dicom.ranges import Ranges
from tests.dicom.files import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, ct, encapsulated, written
from tests.dicom.test_parse import enhanced

FILES = {
    "explicit": written(ct(), EXPLICIT_LE),
    "implicit": written(ct(), IMPLICIT_LE),
    "big endian": written(ct(), EXPLICIT_BE),
    "deflated": written(ct(), DEFLATED_LE),
    "encapsulated": encapsulated(ct(), [b"\xff\xd8\xff" + bytes(20), b"\xff\xd8\xff" + bytes(21)]),
    "many frames": written(enhanced(), EXPLICIT_LE),
    "many frames, implicit": written(enhanced(), IMPLICIT_LE),
    "zeros behind": written(ct(), EXPLICIT_LE) + bytes(100),
    "no preamble": written(ct(), EXPLICIT_LE)[132:],
    "empty": b"",
    "something else": b"junk" * 50,
}


class Elsewhere:
    """Where a file lies; `read` is how many of its bytes were fetched."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.fetched = 0

    def read(self, start: int, end: int) -> bytes:
        assert 0 <= start < end <= len(self._data)
        self.fetched += end - start
        return self._data[start:end]

    @property
    def ranges(self) -> Ranges:
        return Ranges(self.read, len(self._data))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ranges, "_BLOCK", 13)
    return None


def told(data: "bytes | Ranges") -> Instance | tuple[type, str]:
    try:
        return parse(data)
    except InvalidInput as error:
        return type(error), str(error)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", FILES)
def test_a_file_elsewhere_says_what_it_says_in_memory(name: str) -> None:
    assert told(Elsewhere(FILES[name]).ranges) == told(FILES[name])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", FILES)
def test_so_does_one_that_is_cut_or_damaged_anywhere(name: str) -> None:
    chance, data = random.Random(name), FILES[name]
    cut = [data[: chance.randrange(len(data) + 1)] for _ in range(60)]
    damaged = []
    for _ in range(60 if data else 0):
        changed = bytearray(data)
        for _ in range(3):
            changed[chance.randrange(len(data))] = chance.randrange(256)
        damaged.append(bytes(changed))
    for each in (*cut, *damaged):
        assert told(Elsewhere(each).ranges) == told(each)


def test_slices_are_those_of_bytes() -> None:
    data = random.Random(5).randbytes(5000)
    held = Ranges(lambda start, end: data[start:end], len(data))
    for span in (slice(0, 10), slice(None, 3), slice(4990, 9000), slice(7000, 8000), slice(30, 20), slice(None)):
        assert held[span] == data[span]


def test_pixels_are_not_fetched_and_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_BLOCK", 1000)
    place = Elsewhere(written(ct(np.zeros((1000, 1000), np.uint16))))
    assert parse(place.ranges).image is not None
    assert 0 < place.fetched <= 5000
    there = Elsewhere(bytes(100_000))
    walked = there.ranges
    for start in range(0, 100_000, 8):
        _ = walked[start : start + 8]
    assert there.fetched == 100_000
    assert sum(map(len, walked._kept.values())) <= 16_000


def test_a_part_that_comes_shorter_than_it_is_ends_the_reading_and_is_not_kept() -> None:
    short = [True]
    held = Ranges(lambda start, end: bytes(end - start - short[0]), 5000)
    with pytest.raises(Unavailable, match="fewer bytes than it has"):
        _ = held[4000:]
    short[0] = False
    assert held[4000:] == bytes(1000)


def test_nothing_of_a_gigabyte_is_read_in_one_piece() -> None:
    with pytest.raises(TooLarge, match="a value that is read"):
        _ = Ranges(lambda start, end: bytes(end - start), 1 << 30)[:]
