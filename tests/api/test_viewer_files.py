"""The viewer's files, sent as the build has packed them."""

import gzip
import sys
from pathlib import Path

import pytest

from tests.api.installation import Installation

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import web_size

WASM = "/app/assets/openjph-9f8e7d6c.wasm"


@pytest.fixture
def folder(installation: Installation) -> Path:
    assert installation.doors.static is not None
    web_size.packed(installation.doors.static)
    return installation.doors.static


def test_a_file_is_sent_gzipped_to_who_takes_that_and_is_what_it_was(installation: Installation, folder: Path) -> None:
    with installation.client() as client:
        packed = client.get(WASM, headers={"Accept-Encoding": "gzip, br"})
        plain = client.get(WASM, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == plain.headers["content-type"] == "application/wasm"
    assert packed.headers["cache-control"] == plain.headers["cache-control"]
    assert "immutable" in packed.headers["cache-control"]
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == (folder / "assets/openjph-9f8e7d6c.wasm").read_bytes()
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/app/", "/app/index.html"])
def test_the_page_itself_is_packed_too_and_asked_about_each_time(
    installation: Installation, folder: Path, path: str
) -> None:
    with installation.client() as client:
        page = client.get(path, headers={"Accept-Encoding": "gzip"})
        again = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": page.headers["etag"]})
    assert page.headers["content-encoding"] == "gzip"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert page.text == (folder / "index.html").read_text()
    assert again.status_code == 304


def test_files_that_were_not_packed_are_sent_as_they_are(installation: Installation) -> None:
    with installation.client() as client:
        answer = client.get(WASM, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.content.startswith(b"\0asm")


def page_of(folder: Path, script: bytes) -> Path:
    (folder / "assets").mkdir()
    (folder / "index.html").write_text('<script type="module" src="/app/assets/a-1.js"></script>')
    (folder / "assets" / "a-1.js").write_bytes(script)
    (folder / "assets" / "later-2.js").write_bytes(b"x" * 10)
    return folder


def test_the_build_ends_where_the_first_image_takes_too_much(tmp_path: Path) -> None:
    noise = b"".join(bytes([(k * k * 31 + (k >> 3) * 7) % 251]) for k in range(40_000))
    large = b"".join(bytes(byte ^ (17 * turn) % 256 for byte in noise) for turn in range(16))
    folder = page_of(tmp_path, gzip.compress(large, 1) * 40)
    told = web_size.main(folder)
    assert told is not None
    assert "at most" in told


def test_the_build_tells_what_the_first_image_and_all_pages_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = page_of(tmp_path, b"export {};")
    assert web_size.main(folder) is None
    assert "0.0 KB" in capsys.readouterr().out
    assert gzip.decompress((folder / "assets" / "later-2.js.gz").read_bytes()) == b"x" * 10
    assert web_size.first((folder / "index.html").read_text()) == {"assets/a-1.js"}
