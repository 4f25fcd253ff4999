import io
import struct
import zipfile
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import BrokenArchive, BrokenMember, InvalidInput, TooLarge
from radloop.store import archives
from radloop.store.archives import is_archive, members, unpack


class Bytes:
    """A source in memory that remembers how much was asked for at once."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.longest = 0

    def read(self, start: int, end: int) -> bytes:
        assert start >= 0
        self.longest = max(self.longest, min(end, self.size) - start)
        return self.data[start:end]


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return bytearray(held.getvalue())


def everything(data: bytes) -> dict[str, bytes]:
    source = Bytes(bytes(data))
    return {member.name: unpack(source, member) for member in members(source)}


def directory_at(data: bytearray) -> int:
    return int(struct.unpack_from("<L", data, data.rfind(b"PK\x05\x06") + 16)[0])


@given(
    files=st.dictionaries(st.text(st.characters(categories=["L", "N"]), min_size=1), st.binary(max_size=300)),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_what_was_packed_comes_out(files: dict[str, bytes], method: int) -> None:
    data = zipped(files, method)
    assert is_archive(bytes(data))
    assert everything(data) == files


def test_an_archive_written_into_a_pipe_is_read_too() -> None:
    class Pipe(io.RawIOBase):
        held = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:
            self.held += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("a", b"x" * 1000)
        with archive.open("b", "w", force_zip64=True) as file:
            file.write(b"y" * 10)
    assert everything(pipe.held) == {"a": b"x" * 1000, "b": b"y" * 10}


def test_more_members_than_sixteen_bits_count_are_read() -> None:
    files = {f"{number:06}": b"" for number in range(66_000)}
    data = zipped(files, zipfile.ZIP_STORED)
    assert len(members(Bytes(bytes(data)))) == 66_000


@given(data=st.binary(max_size=400))
def test_anything_is_read_or_refused(data: bytes) -> None:
    for bytes_ in (data, data + b"PK\x05\x06" + data):
        with suppress(BrokenArchive, BrokenMember, TooLarge):
            everything(bytes_)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 60))
def test_a_damaged_archive_gives_the_files_or_a_refusal_never_other_bytes(place: int, value: int, cut: int) -> None:
    files = {"a": b"some text " * 20, "b": bytes(range(256))}
    data = zipped(files)
    data[place % len(data)] = value
    try:
        found = everything(data[: len(data) - cut])
    except InvalidInput:
        return
    assert set(found.values()) <= set(files.values())


def test_an_encrypted_file_is_refused_for_itself_alone() -> None:
    data = zipped({"a": b"one", "b": b"two"})
    data[directory_at(data) + 8] |= 1
    source = Bytes(bytes(data))
    first, second = members(source)
    with pytest.raises(BrokenMember, match="encrypted"):
        unpack(source, first)
    assert unpack(source, second) == b"two"


def test_another_method_than_deflate_is_refused() -> None:
    source = Bytes(bytes(zipped({"a": b"x" * 100}, zipfile.ZIP_LZMA)))
    with pytest.raises(BrokenMember, match="deflate"):
        unpack(source, members(source)[0])


@pytest.mark.parametrize("lie", [0, 10, 1 << 20, 0xFFFFFFF0])
def test_a_size_that_is_a_lie_is_refused_before_anything_is_made_of_it(lie: int) -> None:
    data = zipped({"a": b"x" * 5000})
    struct.pack_into("<L", data, directory_at(data) + 24, lie)
    source = Bytes(bytes(data))
    with pytest.raises((BrokenMember, TooLarge)):
        unpack(source, members(source)[0])


def test_an_archive_that_unpacks_to_far_more_than_a_study_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_WHOLE_ALLOWANCE", 1 << 20)
    bomb = zipped({str(number): bytes(1 << 20) for number in range(8)})
    assert len(bomb) < 20_000
    with pytest.raises(TooLarge, match="times its size"):
        members(Bytes(bytes(bomb)))


def test_files_that_share_bytes_are_refused() -> None:
    data = zipped({"a": b"x" * 100, "b": b"x" * 100})
    directory = directory_at(data)
    second = data.find(b"PK\x01\x02", directory + 4)
    struct.pack_into("<L", data, second + 42, struct.unpack_from("<L", data, directory + 42)[0])
    with pytest.raises(BrokenArchive, match="share bytes"):
        members(Bytes(bytes(data)))


def test_a_member_that_says_nothing_of_its_true_bytes_is_not_believed() -> None:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = squeezer.compress(bytes(5_000_000)) + squeezer.flush()
    data = zipped({"a": packed}, zipfile.ZIP_STORED)
    for place in (data.find(b"PK\x03\x04") + 8, directory_at(data) + 10):
        struct.pack_into("<H", data, place, 8)
    with pytest.raises(BrokenMember, match="checksum"):
        everything(data)


def test_a_count_of_members_that_is_a_lie_costs_nothing() -> None:
    data = zipped({"a": b"x"})
    end = data.rfind(b"PK\x05\x06")
    struct.pack_into("<2H", data, end + 8, 60_000, 60_000)
    with pytest.raises(BrokenArchive):
        members(Bytes(bytes(data)))


@pytest.mark.parametrize(
    ("name", "is_junk"),
    [
        ("DICOMDIR", True),
        ("cd/dicomdir", True),
        ("a/.DS_Store", True),
        ("__MACOSX/a/._1.dcm", True),
        ("series/", True),
        ("Thumbs.db", True),
        ("a\\b\\desktop.ini", True),
        ("../../etc/passwd", False),
        ("/etc/passwd", False),
        ("a/b/IM000001", False),
        ("CR.1.2.3.dcm", False),
    ],
)
def test_junk_is_told_from_files_by_name(name: str, is_junk: bool) -> None:
    (member,) = members(Bytes(bytes(zipped({name: b"x"}))))
    assert member.is_junk is is_junk
