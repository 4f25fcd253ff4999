"""Files that ask for more than they are: refused or kept in a process that may use 1 GiB, and measured."""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from radloop.dicom.elements import read_part10
from tests.dicom.files import DEFLATED_LE, IMPLICIT_LE, RLE, ct, encapsulated, written

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PEAK_MB = 420
"""What the process may have held at its fullest, libraries and the file included."""

BASELINE, LS, J2K, HTJ2K, DEFLATED_FRAME, MPEG_4 = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.4.102",
)

CHILD = """
import hashlib, json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
from radloop.codec import isolated
from radloop.core.errors import InvalidInput
from radloop.dicom.document import dicom_json
from radloop.dicom.parse import parse
from radloop.store.folding import fold_file, pixels_of

def result_of(path):
    data = open(path, "rb").read()
    try:
        instance = parse(data)
    except InvalidInput as error:
        return error.code
    folded = fold_file(data, hashlib.sha256(data).hexdigest())
    dicom_json(data, lambda path: path)
    try:
        pixels_of(data, instance, instance.image.frames - 1)
    except InvalidInput as error:
        return error.code if folded.frames == () else "shows no longer what was folded"
    return "folded" if folded.why_kept is None else folded.why_kept if folded.frames else "kept"

for path in sys.argv[1:]:
    result = result_of(path)
    isolated._pool().close()
    own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) >> 10
    codecs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(json.dumps({"result": result, "own_mb": own, "codecs_mb": codecs}), flush=True)
"""
"""For each file: what became of it, and the most memory held up to then."""


def zeros_deflated(size: int, *, level: int = 9, ends: bool = True) -> bytes:
    """`size` zeros as a raw deflate stream."""
    squeeze = zlib.compressobj(level, zlib.DEFLATED, -15)
    piece = bytes(1 << 20)
    parts = [squeeze.compress(piece) for _ in range(size >> 20)]
    return b"".join([*parts, squeeze.flush() if ends else b""])


def deflated_bomb(size: int) -> bytes:
    """A deflated file whose data set is sound and goes on for `size` zeros."""
    file = written(ct(), DEFLATED_LE)
    start = max(element.start + element.length for element in read_part10(file).meta.values())
    inner = zlib.decompress(file[start:], -15)
    pixels = inner.index(b"\xe0\x7f\x10\x00")
    head = inner[:pixels] + struct.pack("<HH2sHL", 0x0043, 0x1029, b"OB", 0, min(size, 0xFFFFFFFE))
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -15)
    parts = [squeeze.compress(head)]
    parts += [squeeze.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    parts += [squeeze.compress(inner[pixels:]), squeeze.flush()]
    return file[:start] + b"".join(parts)


def claiming(syntax: str, codestream: bytes, rows: int, columns: int) -> bytes:
    return encapsulated(ct(np.zeros((4, 6), np.uint8), Rows=rows, Columns=columns), [codestream], syntax)


def j2k_claiming(rows: int, columns: int, encode: Callable[..., bytes], **options: object) -> bytes:
    """A codestream of 32 x 32 pixels whose header claims more."""
    raw = bytearray(encode(np.zeros((32, 32), np.uint8), **options))
    size = raw.index(b"\xff\x51")
    struct.pack_into(">LL", raw, size + 6, columns, rows)
    struct.pack_into(">LL", raw, size + 22, columns, rows)
    return bytes(raw)


def jpeg_claiming(rows: int, columns: int, encode: Callable[..., bytes], marker: bytes) -> bytes:
    raw = bytearray(encode(np.zeros((32, 32), np.uint8)))
    struct.pack_into(">HH", raw, raw.index(marker) + 5, rows, columns)
    return bytes(raw)


def with_elements(elements: bytes, syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    """A CT with these bytes before its pixel data."""
    file = written(ct(), syntax)
    place = file.index(b"\xe0\x7f\x10\x00")
    return file[:place] + elements + file[place:]


def nested(depth: int) -> bytes:
    opened = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closed = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return with_elements(opened * depth + closed * depth)


def rle_header(count: int, *offsets: int) -> bytes:
    return struct.pack("<16L", count, *offsets, *[0] * (15 - len(offsets)))


def with_frames(count: int, syntax: str, frames: list[bytes]) -> bytes:
    file = encapsulated(ct(np.zeros((4, 6), np.uint8)), frames, syntax)
    told, wanted = str(len(frames)).encode().ljust(2), str(count).encode()
    wanted += b" " * (len(wanted) % 2)
    place = file.index(b"\x28\x00\x08\x00IS")
    return file[: place + 6] + struct.pack("<H", len(wanted)) + wanted + file[place + 8 + len(told) :]


BOMBS: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "a data set of 2 GiB in 10 MB": (lambda: deflated_bomb(2 << 30), {"invalid-input"}),
    "a data set of 600 MiB": (lambda: deflated_bomb(600 << 20), {"invalid-input"}),
    "a deflated data set without end": (
        lambda: deflated_bomb(1 << 20)[:-600],
        {"truncated-file", "invalid-input"},
    ),
    "jpeg 2000 of 65535 x 65535": (
        lambda: claiming(
            J2K, j2k_claiming(65535, 65535, imagecodecs.jpeg2k_encode, level=0, codecformat="j2k"), 65535, 65535
        ),
        {"unsupported-pixels", "does-not-decode"},
    ),
    "jpeg 2000 of 30000 x 30000": (
        lambda: claiming(
            J2K, j2k_claiming(30000, 30000, imagecodecs.jpeg2k_encode, level=0, codecformat="j2k"), 30000, 30000
        ),
        {"does-not-decode"},
    ),
    "jpeg 2000 of 8000 x 8000": (
        lambda: claiming(
            J2K, j2k_claiming(8000, 8000, imagecodecs.jpeg2k_encode, level=0, codecformat="j2k"), 8000, 8000
        ),
        {"does-not-decode", "compressed-as-received"},
    ),
    "jpeg 2000 whose header alone lies": (
        lambda: claiming(
            J2K, j2k_claiming(65535, 65535, imagecodecs.jpeg2k_encode, level=0, codecformat="j2k"), 32, 32
        ),
        {"pixel-data-mismatch"},
    ),
    "htj2k of 65535 x 65535": (
        lambda: claiming(HTJ2K, j2k_claiming(65535, 65535, imagecodecs.htj2k_encode), 65535, 65535),
        {"unsupported-pixels", "does-not-decode"},
    ),
    "htj2k of 30000 x 30000": (
        lambda: claiming(HTJ2K, j2k_claiming(30000, 30000, imagecodecs.htj2k_encode), 30000, 30000),
        {"does-not-decode"},
    ),
    "jpeg of 65535 x 65535": (
        lambda: claiming(BASELINE, jpeg_claiming(65535, 65535, imagecodecs.jpeg8_encode, b"\xff\xc0"), 65535, 65535),
        {"unsupported-pixels", "does-not-decode"},
    ),
    "jpeg-ls of 65535 x 65535": (
        lambda: claiming(LS, jpeg_claiming(65535, 65535, imagecodecs.jpegls_encode, b"\xff\xf7"), 65535, 65535),
        {"unsupported-pixels", "does-not-decode"},
    ),
    "rle of 65535 x 65535": (
        lambda: claiming(RLE, rle_header(1, 64) + b"\x81\0" * 50, 65535, 65535),
        {"does-not-decode"},
    ),
    "rle whose segments overlap": (
        lambda: claiming(RLE, rle_header(1, 0xFFFFFFF0) + b"\x81\0" * 50, 4, 6),
        {"does-not-decode"},
    ),
    "rle of more segments than there are": (
        lambda: claiming(RLE, rle_header(15, *[64] * 15) + b"\x81\0" * 50, 4, 6),
        {"pixel-data-mismatch"},
    ),
    "a deflated frame of 65535 x 65535": (
        lambda: claiming(DEFLATED_FRAME, zeros_deflated(1 << 20), 65535, 65535),
        {"does-not-decode"},
    ),
    "a million frames of one pixel": (
        lambda: written(ct(np.zeros((1, 1), np.uint8), NumberOfFrames=1_000_000, PixelData=bytes(1_000_000))),
        {"kept"},
    ),
    "two thousand million frames of video": (
        lambda: with_frames(2_000_000_000, MPEG_4, [bytes(200)]),
        {"pixel-data-mismatch"},
    ),
    "two thousand million frames in one fragment": (
        lambda: with_frames(2_000_000_000, J2K, [bytes(200)]),
        {"pixel-data-mismatch"},
    ),
    "sequences nested a thousand deep": (lambda: nested(1000), {"not-dicom"}),
    "sequences nested a hundred thousand deep": (lambda: nested(100_000), {"not-dicom"}),
    "an element of 4 GiB": (
        lambda: with_elements(struct.pack("<HH2sHL", 0x0043, 0x1029, b"OB", 0, 0xFFFFFFFE)),
        {"truncated-file"},
    ),
    "a number of 4 GiB": (
        lambda: with_elements(struct.pack("<HHL", 0x0028, 0x0106, 0xFFFFFFF0), IMPLICIT_LE),
        {"truncated-file"},
    ),
    "twenty million numbers": (
        lambda: with_elements(struct.pack("<HHL", 0x0028, 0x0106, 40 << 20) + bytes(40 << 20), IMPLICIT_LE),
        {"folded"},
    ),
    "forty million values of a window": (
        lambda: with_elements(struct.pack("<HHL", 0x0028, 0x1055, 40 << 20) + b"\\" * (40 << 20), IMPLICIT_LE),
        {"folded"},
    ),
    "a window of forty million numbers": (
        lambda: written(ct(WindowCenter=None), IMPLICIT_LE).replace(
            b"\x28\x00\x51\x10",
            struct.pack("<HHL", 0x0028, 0x1050, 40 << 20) + b"1\\" * (20 << 20) + b"\x28\x00\x51\x10",
        ),
        {"folded"},
    ),
    "an offset table of ten million": (
        lambda: encapsulated(ct(np.zeros((4, 6), np.uint8)), [bytes(60)] * 3, J2K, has_bot=False).replace(
            b"\xfe\xff\x00\xe0\0\0\0\0", struct.pack("<HHL", 0xFFFE, 0xE000, 40 << 20) + bytes(40 << 20), 1
        ),
        {"does-not-decode"},
    ),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each bomb, all in one process."""
    folder = tmp_path_factory.mktemp("bombs")
    paths = [folder / f"{place}.dcm" for place in range(len(BOMBS))]
    for path, (make, _) in zip(paths, BOMBS.values(), strict=True):
        path.write_bytes(make())
    lines = met(*paths)
    return dict(zip(BOMBS, lines, strict=True))


def met(*paths: Path) -> list[dict[str, Any]]:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, paths)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return [json.loads(line) for line in child.stdout.splitlines()]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(told: dict[str, dict[str, Any]], name: str) -> None:
    print(name, told[name])
    assert told[name]["result"] in BOMBS[name][1]
    assert told[name]["own_mb"] < PEAK_MB
    assert told[name]["codecs_mb"] < PEAK_MB


def test_a_data_set_that_may_be_so_large_is_inflated_in_little_more_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    path.write_bytes(deflated_bomb(200 << 20))
    (line,) = met(path)
    assert line["result"] == "compressed-as-received"
    assert line["own_mb"] < 700
