"""A file that lies elsewhere, read as one in memory is: what is looked at is fetched, and little of it is kept."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from radloop.core.errors import TooLarge, Unavailable

LONGEST_LOOK: Final = 64 << 20
"""Bytes of the longest value that is read in one piece; pixels are never read."""

_BLOCK = 1 << 20
_KEPT = 16


class Ranges:
    """The bytes of a file, fetched in blocks of 1 MiB, of which the last 16 that were looked at are kept.

    It gives slices as `bytes` does, and nothing else.

    Args:
        read: Gives the bytes from a first offset up to and without a second one.
        length: How many there are.
    """

    def __init__(self, read: Callable[[int, int], bytes], length: int) -> None:
        self._read = read
        self._length = length
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, span: slice) -> bytes:
        """A slice, in steps of one.

        Raises:
            TooLarge: It is longer than `LONGEST_LOOK`.
            Unavailable: The file gave fewer bytes than it has.
        """
        start, end, step = span.indices(self._length)
        assert step == 1, "a file is read forwards"
        if end - start > LONGEST_LOOK:
            raise TooLarge(f"a value that is read may have {LONGEST_LOOK} bytes")
        parts = []
        while start < end:
            number, at = divmod(start, _BLOCK)
            part = self._block(number)[at : at + end - start]
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _block(self, number: int) -> bytes:
        block = self._kept.get(number)
        if block is None:
            start = number * _BLOCK
            end = min(start + _BLOCK, self._length)
            block = self._read(start, end)
            if len(block) != end - start:
                raise Unavailable("a part of a file came with fewer bytes than it has")
            self._kept[number] = block
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(number)
        return block
