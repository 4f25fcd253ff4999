"""Many files as one zip archive that is never written: any part of it can be made at any time, always the same.

Files are stored, not packed, under neutral names in the order they are given; so the archive's length is known before
a byte is read, and an upload that broke off goes on anywhere in it. Checksums let the other side find a file that was
damaged on its way, or changed meanwhile.
"""

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from radloop.core.errors import InvalidInput

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_END_64_PLACE: Final = struct.Struct("<4sLQL")
_END: Final = struct.Struct("<4s4H2LH")
_NAME_BYTES: Final = 8
_MOST_16: Final = 0xFFFF
_MOST_32: Final = 0xFFFFFFFF
_DATE: Final = 33  # the first of January 1980: the archive tells no dates
_PORTION: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Listed:
    """A file and how long it is."""

    path: Path
    size: int


class Bundle:
    """The archive of some files."""

    def __init__(self, files: Sequence[Listed]) -> None:
        self._files = files
        self._begins = list(accumulate((_head_length(file) + file.size for file in files), initial=0))
        self._checksums: dict[int, int] = {}
        self.length = self._begins[-1] + self._directory_length() + self._end_length()

    def read(self, start: int) -> Iterator[bytes]:
        """The archive from `start` on, in portions.

        Raises:
            InvalidInput: A file is not as long as it was, or is gone.
        """
        place = bisect_right(self._begins, start) - 1
        for number in range(place, len(self._files)):
            begin = self._begins[number]
            head = self._head(number)
            yield head[max(0, start - begin) :]
            yield from _portions(self._files[number], max(0, start - begin - len(head)))
            start = max(start, self._begins[number + 1])
        yield self._tail()[start - self._begins[-1] :]

    def _head(self, number: int) -> bytes:
        file = self._files[number]
        is_long = file.size >= _MOST_32
        size = _MOST_32 if is_long else file.size
        extra = struct.pack("<2H2Q", 1, 16, file.size, file.size) if is_long else b""
        fixed = _LOCAL.pack(
            b"PK\x03\x04", 45 if is_long else 20, 0, 0, 0, _DATE, self._checksum(number), size, size, _NAME_BYTES,
            len(extra),
        )  # fmt: skip
        return fixed + _name(number) + extra

    def _tail(self) -> bytes:
        """The central directory and the end."""
        entries = b"".join(self._entry(number) for number in range(len(self._files)))
        count, begin, length = len(self._files), self._begins[-1], len(entries)
        end = b""
        if self._end_length() > _END.size:
            end = _END_64.pack(b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, begin)
            end += _END_64_PLACE.pack(b"PK\x06\x07", 0, begin + length, 1)
        short = min(count, _MOST_16)
        end += _END.pack(b"PK\x05\x06", 0, 0, short, short, min(length, _MOST_32), min(begin, _MOST_32), 0)
        return entries + end

    def _entry(self, number: int) -> bytes:
        size, begin = self._files[number].size, self._begins[number]
        long = [*([size, size] if size >= _MOST_32 else []), *([begin] if begin >= _MOST_32 else [])]
        extra = struct.pack(f"<2H{len(long)}Q", 1, 8 * len(long), *long) if long else b""
        short = min(size, _MOST_32)
        fixed = _ENTRY.pack(
            b"PK\x01\x02", 45, 45 if long else 20, 0, 0, 0, _DATE, self._checksum(number), short, short, _NAME_BYTES,
            len(extra), 0, 0, 0, 0, min(begin, _MOST_32),
        )  # fmt: skip
        return fixed + _name(number) + extra

    def _directory_length(self) -> int:
        return sum(_entry_length(file.size, begin) for file, begin in zip(self._files, self._begins, strict=False))

    def _end_length(self) -> int:
        needs_long = (
            len(self._files) >= _MOST_16 or self._begins[-1] >= _MOST_32 or self._directory_length() >= _MOST_32
        )
        return _END.size + (_END_64.size + _END_64_PLACE.size if needs_long else 0)

    def _checksum(self, number: int) -> int:
        if number not in self._checksums:
            value = 0
            for portion in _portions(self._files[number], 0):
                value = zlib.crc32(portion, value)
            self._checksums[number] = value
        return self._checksums[number]


def _portions(file: Listed, start: int) -> Iterator[bytes]:
    """The bytes of a file from `start` on, exactly as many as were listed."""
    left = file.size - start
    if left <= 0:
        return
    try:
        with file.path.open("rb") as opened:
            opened.seek(start)
            while left and (data := opened.read(min(left, _PORTION))):
                left -= len(data)
                yield data
    except OSError as error:
        raise InvalidInput(f"a file cannot be read any more: {type(error).__name__}") from None
    if left:
        raise InvalidInput("a file has become shorter while it was sent; run the command again")


def _name(number: int) -> bytes:
    return b"%08d" % (number + 1)


def _head_length(file: Listed) -> int:
    return _LOCAL.size + _NAME_BYTES + (20 if file.size >= _MOST_32 else 0)


def _entry_length(size: int, begin: int) -> int:
    long = 2 * (size >= _MOST_32) + (begin >= _MOST_32)
    return _ENTRY.size + _NAME_BYTES + (4 + 8 * long if long else 0)
