import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop import bundles
from radloop.bundles import Bundle, Listed
from radloop.core.errors import InvalidInput
from radloop.store.archives import members, unpack
from tests.store.test_archives import Bytes


def written(folder: Path, contents: list[bytes]) -> list[Listed]:
    listed = []
    for number, content in enumerate(contents):
        path = folder / str(number)
        path.write_bytes(content)
        listed.append(Listed(path, len(content)))
    return listed


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.binary(max_size=400), max_size=5), start=st.integers(0, 3000))
def test_any_rest_of_a_bundle_is_the_rest_of_the_whole(tmp_path: Path, contents: list[bytes], start: int) -> None:
    files = written(tmp_path, contents)
    whole = b"".join(Bundle(files).read(0))
    assert len(whole) == Bundle(files).length
    start %= len(whole)
    assert b"".join(Bundle(files).read(start)) == whole[start:]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == contents
    source = Bytes(whole)
    assert [unpack(source, member) for member in members(source)] == contents


def test_long_bundles_say_their_sizes_in_the_long_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [b"a" * 300, b"b" * 10, b"c" * 500]
    files = written(tmp_path, contents)
    monkeypatch.setattr(bundles, "_MOST_32", 255)
    bundle = Bundle(files)
    whole = b"".join(bundle.read(0))
    assert len(whole) == bundle.length
    # the marks for "look further on" are 255 now; with the true ones in their place it is an honest archive
    honest = bytearray(whole)
    mark, true = (255).to_bytes(4, "little"), b"\xff" * 4
    for begin, places in ((b"PK\x03\x04", (18, 22)), (b"PK\x01\x02", (20, 24, 42)), (b"PK\x05\x06", (12, 16))):
        found = honest.find(begin)
        while found >= 0:
            for place in places:
                if honest[found + place : found + place + 4] == mark:
                    honest[found + place : found + place + 4] = true
            found = honest.find(begin, found + 1)
    source = Bytes(bytes(honest))
    assert [unpack(source, member) for member in members(source)] == contents
    with zipfile.ZipFile(io.BytesIO(bytes(honest))) as archive:
        assert [archive.read(name) for name in archive.namelist()] == contents


def test_more_files_than_sixteen_bits_count(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"")
    whole = b"".join(Bundle([Listed(tmp_path / "one", 0)] * 70_000).read(0))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert len(archive.namelist()) == 70_000
    assert len(members(Bytes(whole))) == 70_000


def test_a_file_that_shrank_or_went_is_told(tmp_path: Path) -> None:
    files = written(tmp_path, [b"a" * 100, b"b" * 100])
    bundle = Bundle(files)
    files[1].path.write_bytes(b"b")
    with pytest.raises(InvalidInput, match="shorter"):
        b"".join(bundle.read(0))
    files[1].path.unlink()
    with pytest.raises(InvalidInput, match="cannot be read"):
        b"".join(bundle.read(0))
