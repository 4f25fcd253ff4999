"""What a browser was sent, read from the bytes that came out of the link: the records of streams, and when each came.

Nothing is taken from what the page says about itself. Only connections without TLS can be read.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from link import Piece

STREAM = b"application/vnd.radloop.stream"
PREVIEW = 0x80000000
_REFUSED = 0xFFFFFFFF
_RECORD = 12


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes of one layer of one frame.

    Attributes:
        frame: Its index, with the highest bit set for the preview layer.
        begin: First byte within the layer.
        length: Bytes that came.
        stated: Bytes that the record's head announces; more than came where the connection broke.
        at: Moment when the last of them came.
    """

    frame: int
    begin: int
    length: int
    stated: int
    at: float

    @property
    def is_whole(self) -> bool:
        """Whether all of it came."""
        return self.length == self.stated


def records(pieces: Sequence[Piece]) -> list[Record]:
    """All records of all streams, in the order of their ends."""
    connections: dict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.is_down:
            connections[piece.connection].append(piece)
    found = [record for each in connections.values() for record in _of_connection(each)]
    return sorted(found, key=lambda record: record.at)


def twice(found: Sequence[Record]) -> int:
    """Bytes that came more than once, without those of records that were cut."""
    by_frame: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for record in found:
        if record.is_whole and record.length:
            by_frame[record.frame].append((record.begin, record.begin + record.length))
    return sum(sum(end - begin for begin, end in spans) - _covered(spans) for spans in by_frame.values())


def _covered(spans: list[tuple[int, int]]) -> int:
    covered = reached = 0
    for begin, end in sorted(spans):
        covered += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return covered


def _of_connection(pieces: Sequence[Piece]) -> Iterator[Record]:
    data = b"".join(piece.data for piece in pieces)
    ends = list(accumulate(len(piece.data) for piece in pieces))

    def moment(offset: int) -> float:
        return pieces[min(bisect_left(ends, offset), len(pieces) - 1)].at

    at = 0
    while (head_end := data.find(b"\r\n\r\n", at)) >= 0:
        head = data[at:head_end].lower()
        at = head_end + 4
        status = int(head.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" in head:
            spans, at = _chunks(data, at)
        elif length := re.search(rb"content-length: (\d+)", head):
            end = at if status in {204, 304} else min(at + int(length[1]), len(data))
            spans, at = [(at, end)], end
        else:
            spans = []
        if status == 200 and STREAM + b"-index" not in head and STREAM in head:
            body = b"".join(data[begin:end] for begin, end in spans)
            places = list(accumulate(end - begin for begin, end in spans))
            for record, end in _in_body(body):
                span = min(bisect_left(places, end), len(spans) - 1)
                yield Record(*record, at=moment(spans[span][1] - (places[span] - end)))


def _chunks(data: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """Where the chunks of a body lie (RFC 9112 §7.1), and where it ends; a cut body ends with the data."""
    spans = []
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end].split(b";")[0], 16)
        begin = line_end + 2
        if size == 0:
            return spans, min(begin + 2, len(data))
        spans.append((begin, min(begin + size, len(data))))
        at = begin + size + 2
        if at > len(data):
            break
    return spans, len(data)


def _in_body(body: bytes) -> Iterator[tuple[tuple[int, int, int, int], int]]:
    """Frame, begin, length that came and length stated of each record, and where it ends in the body."""
    at = 0
    while at + _RECORD <= len(body):
        frame, begin, stated = (int.from_bytes(body[at + place : at + place + 4], "little") for place in (0, 4, 8))
        at += _RECORD
        length = min(stated, len(body) - at)
        at += length
        if begin != _REFUSED:
            yield (frame, begin, length, stated), at
