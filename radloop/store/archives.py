"""Zip archives of strangers: what is in them, and how it is taken out without believing a word of it.

Only what APPNOTE.TXT calls the central directory is read, in portions, and nothing in it is believed before it is
checked: sizes are held against the bytes there are before anything is made of them, members that share bytes are how
archives unpack to a million times their size, and no name in an archive ever becomes the name of a file. A stored or
deflated member comes out whole and with the checksum it promises, or not at all.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from radloop.core.errors import BrokenArchive, BrokenMember, TooLarge

MOST_MEMBERS: Final = 200_000
LONGEST_MEMBER: Final = 2 << 30
"""Bytes of one file at most; a file is landed in one piece and lies in the memory meanwhile."""

_END = struct.Struct("<4s4H2LH")
_END_64_PLACE = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_LONGEST_ENTRY = _ENTRY.size + 3 * 0xFFFF
_MOST_RATIO = 1032
"""Deflate makes no more than this of a byte; who promises more lies."""
_WHOLE_RATIO = 100
_WHOLE_ALLOWANCE = 256 << 20
_PORTION = 1 << 20
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_NOT_HERE_16, _NOT_HERE_32 = 0xFFFF, 0xFFFFFFFF
_ZIP64 = 1
_JUNK = frozenset({"thumbs.db", "desktop.ini", "dicomdir", "lockfile", "__macosx"})


class Source(Protocol):
    """Bytes that can be read from anywhere."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def read(self, start: int, end: int) -> bytes:
        """Bytes from `start` up to and without `end`, cut at the end of all."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory.

    Attributes:
        name: As written, for telling junk from files; never used as a path.
        place: Its number in the archive, from 1.
        begin: Where its local header lies.
        packed: Bytes in the archive.
        size: Bytes it says it has unpacked.
    """

    place: int
    name: str
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    begin: int

    @property
    def is_junk(self) -> bool:
        """Whether nobody wants it landed: folders, DICOMDIR, and what operating systems leave in folders."""
        parts = [part for part in self.name.replace("\\", "/").lower().split("/") if part]
        return (
            not parts
            or self.name.endswith(("/", "\\"))
            or parts[0] in _JUNK
            or parts[-1] in _JUNK
            or parts[-1].startswith(".")
        )


def is_archive(beginning: bytes) -> bool:
    """Whether bytes begin as a zip does; an empty one has nothing but its end."""
    return beginning[:4] in {b"PK\x03\x04", b"PK\x05\x06"}


def members(source: Source) -> list[Member]:
    """What is in an archive, in the order of its directory.

    Raises:
        BrokenArchive: It is no zip, in several parts, or contradicts itself.
        TooLarge: It has too many members, or unpacks to far more than a study would.
    """
    count, begin, end = _directory(source)
    found = list(_entries(source, count, begin, end))
    _check_apart(found, begin)
    unpacked = sum(member.size for member in found)
    if unpacked > _WHOLE_RATIO * source.size + _WHOLE_ALLOWANCE:
        raise TooLarge(f"the archive says it unpacks to {unpacked} bytes, more than {_WHOLE_RATIO} times its size")
    return found


def unpack(source: Source, member: Member) -> bytes:
    """The file that a member is.

    Raises:
        TooLarge: It is longer than a file may be.
        BrokenMember: It is encrypted, packed in a way we do not know, or not what the directory says.
    """
    if member.size > LONGEST_MEMBER:
        raise TooLarge(f"a file may have at most {LONGEST_MEMBER} bytes")
    return b"".join(unpacked(source, member))


def unpacked(source: Source, member: Member) -> Iterator[bytes]:
    """The file that a member is, in pieces of up to 1 MiB; it is what it should be once they have ended.

    Raises:
        BrokenMember: It is encrypted, packed in a way we do not know, or not what the directory says.
    """
    if member.flags & _ENCRYPTED:
        raise BrokenMember("the file is encrypted in the archive")
    if member.method not in {_STORED, _DEFLATED}:
        raise BrokenMember("the file is packed by another method than deflate")
    if member.size > _MOST_RATIO * member.packed + 64 or (member.method == _STORED and member.size != member.packed):
        raise BrokenMember("the file's size in the archive cannot be true")
    begin = _data_begin(source, member)
    end = begin + member.packed
    if end > source.size:
        raise BrokenMember("the file reaches beyond the archive's end")
    pieces = portions(source, begin, end) if member.method == _STORED else _inflated(source, begin, end)
    size = checksum = 0
    for piece in pieces:
        size, checksum = size + len(piece), zlib.crc32(piece, checksum)
        if size > member.size:
            break
        yield piece
    if size != member.size or checksum != member.checksum:
        raise BrokenMember("the file is not what its checksum in the archive says")


def portions(source: Source, begin: int, end: int) -> Iterator[bytes]:
    """Bytes from `begin` up to and without `end`, 1 MiB at a time."""
    for start in range(begin, end, _PORTION):
        yield source.read(start, min(end, start + _PORTION))


def _directory(source: Source) -> tuple[int, int, int]:
    """Number of entries, and begin and end of the central directory."""
    tail_begin = max(0, source.size - _END.size - _LONGEST_COMMENT)
    tail = source.read(tail_begin, source.size)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        raise BrokenArchive("the archive has no end: it is cut, or it is none")
    _, disk, first_disk, here, count, length, begin, _ = _END.unpack_from(tail, place)
    end = tail_begin + place
    if _NOT_HERE_16 in {here, count} or _NOT_HERE_32 in {length, begin}:
        disk, first_disk, here, count, length, begin, end = _directory_64(source, end)
    if disk or first_disk or here != count:
        raise BrokenArchive("the archive is one part of several")
    if count > MOST_MEMBERS:
        raise TooLarge(f"an archive may hold at most {MOST_MEMBERS} files")
    if begin + length != end or length < count * _ENTRY.size:
        raise BrokenArchive("the archive's directory is not where the archive says")
    return count, begin, end


def _directory_64(source: Source, end: int) -> tuple[int, int, int, int, int, int, int]:
    """The same from the records for archives that are longer or have more members."""
    place = source.read(max(0, end - _END_64_PLACE.size), end)
    if len(place) != _END_64_PLACE.size or place[:4] != b"PK\x06\x07":
        raise BrokenArchive("the archive has no long end where it needs one")
    where = _END_64_PLACE.unpack(place)[2]
    record = source.read(where, where + _END_64.size) if where <= source.size else b""
    if len(record) != _END_64.size or record[:4] != b"PK\x06\x06":
        raise BrokenArchive("the archive's long end is not where the archive says")
    _, _, _, _, disk, first_disk, here, count, length, begin = _END_64.unpack(record)
    return disk, first_disk, here, count, length, begin, where


def _entries(source: Source, count: int, begin: int, end: int) -> Iterator[Member]:
    held, at, offset = b"", 0, begin
    for place in range(1, count + 1):
        if len(held) - at < _LONGEST_ENTRY and offset < end:
            more = source.read(offset, min(end, offset + _PORTION))
            held, at, offset = held[at:] + more, 0, offset + len(more)
        member, length = _entry(held, at, place)
        at += length
        yield member


def _entry(held: bytes, at: int, place: int) -> tuple[Member, int]:
    """The entry that begins `at`, and its length."""
    if len(held) - at < _ENTRY.size or held[at : at + 4] != b"PK\x01\x02":
        raise BrokenArchive("the archive's directory is damaged")
    fields = _ENTRY.unpack_from(held, at)
    flags, method = fields[3], fields[4]
    checksum, packed, size, name_length, extra_length, comment_length = fields[7:13]
    begin = fields[16]
    name_end = at + _ENTRY.size + name_length
    length = _ENTRY.size + name_length + extra_length + comment_length
    if at + length > len(held):
        raise BrokenArchive("the archive's directory is damaged")
    extra = held[name_end : name_end + extra_length]
    size, packed, begin = _long_values(extra, size, packed, begin)
    name = held[at + _ENTRY.size : name_end].decode("utf-8", "replace")
    return Member(place, name, flags, method, checksum, packed, size, begin), length


def _long_values(extra: bytes, size: int, packed: int, begin: int) -> tuple[int, int, int]:
    """Size, packed size and begin; those that do not fit stand in the extra field, in this order."""
    values = [size, packed, begin]
    missing = [place for place, value in enumerate(values) if value == _NOT_HERE_32]
    if not missing:
        return size, packed, begin
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == _ZIP64 and place + 4 + 8 * len(missing) <= len(extra) and length >= 8 * len(missing):
            for number, which in enumerate(missing):
                (values[which],) = struct.unpack_from("<Q", extra, place + 4 + 8 * number)
            return values[0], values[1], values[2]
        place += 4 + length
    return size, packed, begin  # four gigabytes to the byte, or a lie that the checks will find


def _check_apart(found: list[Member], directory: int) -> None:
    """No two members share bytes, and none reaches into the directory."""
    spans = sorted((member.begin, member.begin + _LOCAL.size + member.packed) for member in found)
    for (_, end), (begin, _) in pairwise([*spans, (directory, directory)]):
        if end > begin:
            raise BrokenArchive("files in the archive share bytes, as no honest archive's do")


def _data_begin(source: Source, member: Member) -> int:
    head = source.read(member.begin, member.begin + _LOCAL.size)
    if len(head) != _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise BrokenMember("the file is not where the archive says")
    fields = _LOCAL.unpack(head)
    return member.begin + _LOCAL.size + int(fields[9]) + int(fields[10])


def _inflated(source: Source, begin: int, end: int) -> Iterator[bytes]:
    """What comes out of deflated bytes, up to 1 MiB at a time."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for portion in portions(source, begin, end):
            rest = portion
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _PORTION)
                rest = inflater.unconsumed_tail
            if inflater.eof:
                return
        while piece := inflater.decompress(b"", _PORTION):
            yield piece
    except zlib.error:
        raise BrokenMember("the file does not inflate") from None
