"""Codecs in processes of their own: right answers, and deaths that nobody else notices."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from radloop.codec import isolated
from radloop.codec.decoders import decode_frame
from radloop.codec.isolated import decode_isolated, unpack_isolated
from radloop.core.errors import DoesNotDecode, PixelDataMismatch, UnsupportedPixels
from tests.processes import is_alive

BASELINE, LS, J2K, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 80, 90, 201))
GREY = np.random.default_rng(0).integers(0, 4096, (40, 60), dtype=np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 256, (24, 31, 3), dtype=np.uint8)

ODD_CHILD = """
import ctypes, os, sys, time
import numpy as np
from radloop.codec import isolated
honest = isolated.decode_frame
def decode_frame(raw, **described):
    raw = raw.rstrip(b"\\0")
    if raw == b"crash":
        ctypes.string_at(0)
    if raw == b"abort":
        os.abort()
    if raw == b"spin":
        while True:
            pass
    if raw == b"sleep":
        time.sleep(1000)
    if raw == b"fill":
        return np.ones(1 << 34, np.uint8)
    if raw == b"lie":
        return np.zeros(7, np.uint8)
    return honest(raw, **described)
isolated.decode_frame = decode_frame
isolated._CPU_S = 2.0
isolated._serve(int(sys.argv[1]))
"""


def description(frame: NDArray[Any], **changes: Any) -> dict[str, Any]:
    return {
        "rows": frame.shape[0],
        "columns": frame.shape[1],
        "samples": frame.shape[2] if frame.ndim == 3 else 1,
        "bits_allocated": frame.itemsize * 8,
        "bits_stored": frame.itemsize * 8,
        "signed": frame.dtype.kind == "i",
        "photometric": "RGB" if frame.ndim == 3 else "MONOCHROME2",
    } | changes


LS_GREY = bytes(imagecodecs.jpegls_encode(GREY))


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Children that misbehave on request."""
    isolated._pool().close()
    monkeypatch.setattr(isolated, "COMMAND", (sys.executable, "-c", ODD_CHILD))
    monkeypatch.setattr(isolated, "_CPU_S", 2.0)
    yield
    isolated._pool().close()


def children() -> set[int]:
    return {child._process.pid for child in isolated._pool()._free}


@pytest.mark.parametrize(
    ("frame", "syntax", "raw"),
    [
        (GREY, LS, LS_GREY),
        (GREY, J2K, bytes(imagecodecs.jpeg2k_encode(GREY, level=0, reversible=True, codecformat="j2k"))),
        (GREY, HTJ2K, bytes(imagecodecs.htj2k_encode(GREY))),
        (COLOUR, LS, bytes(imagecodecs.jpegls_encode(COLOUR))),
        (COLOUR, BASELINE, bytes(imagecodecs.jpeg8_encode(COLOUR))),
    ],
)
def test_it_gives_what_the_decoder_itself_gives(frame: NDArray[Any], syntax: str, raw: bytes) -> None:
    found, wanted = decode_isolated(raw, syntax, **description(frame)), decode_frame(raw, syntax, **description(frame))
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(found, wanted)


def test_a_segment_of_rle_is_unpacked() -> None:
    packed = bytes(imagecodecs.packbits_encode(bytes(1000)))
    assert unpack_isolated(packed, 1000) == bytes(1000)
    with pytest.raises(PixelDataMismatch):
        unpack_isolated(packed, 5000)


@pytest.mark.parametrize(
    ("raw", "syntax", "changes", "error"),
    [
        (LS_GREY, "1.2.840.10008.1.2.4.100", {}, UnsupportedPixels),
        (LS_GREY, LS, {"rows": 41}, PixelDataMismatch),
        (LS_GREY[:40], LS, {}, DoesNotDecode),
        (b"", J2K, {}, DoesNotDecode),
        (LS_GREY, LS, {"bits_allocated": 32}, UnsupportedPixels),
        (LS_GREY, LS, {"rows": 65535, "columns": 65535}, UnsupportedPixels),
        (LS_GREY, LS, {"rows": 20000, "columns": 20000}, DoesNotDecode),
    ],
)
def test_what_is_refused_is_refused_by_the_same_names(
    raw: bytes, syntax: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        decode_isolated(raw, syntax, **description(GREY, **changes))
    assert type(refused.value) is error


def test_one_child_serves_frame_after_frame() -> None:
    decode_isolated(LS_GREY, LS, **description(GREY))
    before = children()
    for _ in range(5):
        decode_isolated(LS_GREY, LS, **description(GREY))
        with pytest.raises(DoesNotDecode):
            decode_isolated(LS_GREY[:40], LS, **description(GREY))
    assert children() == before


def test_a_child_that_somebody_killed_is_replaced_and_the_frame_comes() -> None:
    decode_isolated(LS_GREY, LS, **description(GREY))
    before = children()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    np.testing.assert_array_equal(decode_isolated(LS_GREY, LS, **description(GREY)), GREY)
    assert not children() & before


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("fault", [b"crash", b"abort", b"spin", b"sleep", b"fill", b"lie"])
def test_a_codec_that_dies_hangs_or_lies_costs_its_frame_only(fault: bytes) -> None:
    begin = time.monotonic()
    with pytest.raises(DoesNotDecode):
        decode_isolated(fault, LS, **description(GREY))
    assert time.monotonic() - begin < 12
    np.testing.assert_array_equal(decode_isolated(LS_GREY, LS, **description(GREY)), GREY)


@pytest.mark.usefixtures("odd")
def test_frames_of_many_threads_are_not_mixed_up_while_children_die() -> None:
    frames = [np.full((30, 20 + n), n * 7, np.uint16) for n in range(12)]
    packed = [bytes(imagecodecs.jpegls_encode(frame)) for frame in frames]

    def one(number: int) -> bool:
        if number % 5 == 0:
            with pytest.raises(DoesNotDecode):
                decode_isolated(b"crash", LS, **description(GREY))
        frame = frames[number % 12]
        return np.array_equal(decode_isolated(packed[number % 12], LS, **description(frame)), frame)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(60)))
    assert len(children()) <= isolated.CHILDREN


def test_a_frame_larger_than_the_pipes_goes_both_ways() -> None:
    frame = np.random.default_rng(2).integers(0, 65536, (1500, 1700), dtype=np.uint16)
    raw = bytes(imagecodecs.htj2k_encode(frame))
    assert len(raw) > 4 << 20
    np.testing.assert_array_equal(decode_isolated(raw, HTJ2K, **description(frame)), frame)


def test_children_end_with_their_parent_and_leave_no_open_files() -> None:
    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    isolated._pool().close()
    before = held()
    decode_isolated(LS_GREY, LS, **description(GREY))
    assert held() == before + 2
    isolated._pool().close()
    assert held() == before
    program = (
        "import time\nfrom radloop.codec import isolated\n"
        "isolated.unpack_isolated(b'\\x81\\0', 128)\n"
        "print(*(c._process.pid for c in isolated._pool()._free), flush=True)\ntime.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    (child,) = map(int, parent.stdout.readline().split())
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_children_listen_nowhere_and_hold_nothing_but_their_pipes() -> None:
    decode_isolated(LS_GREY, LS, **description(GREY))
    for pid in children():
        targets = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [target for target in targets if target.startswith("socket:")]
        assert len([target for target in targets if target.startswith("pipe:")]) == 2
