"""What it costs to decode a frame of a stranger in a process that may die of it.

    python bench/isolated.py

The same frame is decoded here and in a child, in turns.
"""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import imagecodecs
import numpy as np
from report import Row, tell

from radloop.codec.decoders import decode_frame
from radloop.codec.isolated import _pool, decode_isolated

TURNS = 60
SIZE = 512
LS, LOSSLESS, J2K, HTJ2K = (f"1.2.840.10008.1.2.4.{number}" for number in (80, 70, 90, 201))


def frame() -> "np.ndarray[Any, np.dtype[np.uint16]]":
    """A slice as noisy as a CT's, 12 bits."""
    noise = np.random.default_rng(0).normal(0, 25, (SIZE, SIZE))
    y, x = np.mgrid[:SIZE, :SIZE]
    body = np.where((x - 256) ** 2 + (y - 256) ** 2 < 220**2, 1040, 40)
    return np.clip(body + noise, 0, 4095).astype(np.uint16)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    load, pixels = os.getloadavg()[0], frame()
    described = {"rows": SIZE, "columns": SIZE, "samples": 1, "bits_allocated": 16, "bits_stored": 16, "signed": False}
    codestreams = {
        "JPEG-LS": (LS, imagecodecs.jpegls_encode(pixels)),
        "JPEG lossless": (LOSSLESS, imagecodecs.ljpeg_encode(pixels)),
        "JPEG 2000": (J2K, imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k")),
        "HTJ2K": (HTJ2K, imagecodecs.htj2k_encode(pixels)),
    }
    rows = []
    for name, (syntax, codestream) in codestreams.items():
        raw = bytes(codestream)
        if not rows:
            first = seconds(lambda raw=raw, syntax=syntax: decode_isolated(raw, syntax, **described))  # type: ignore[misc]
            rows.append(Row("first frame, child started for it", first * 1e3, "ms"))
        here, there = [], []
        for _ in range(TURNS):
            here.append(seconds(lambda raw=raw, syntax=syntax: decode_frame(raw, syntax, **described)))  # type: ignore[misc]
            there.append(seconds(lambda raw=raw, syntax=syntax: decode_isolated(raw, syntax, **described)))  # type: ignore[misc]
        assert np.array_equal(decode_isolated(raw, syntax, **described), pixels)
        rows.append(Row(f"{name}, in a child", median(there) * 1e3, "ms", median(here) * 1e3, "in this process"))
    _pool().close()
    tell("isolated", f"one frame of {SIZE} x {SIZE}, 12 bits with noise; median of {TURNS}", rows, load)


if __name__ == "__main__":
    main()
