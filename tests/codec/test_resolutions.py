from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radloop.codec.htj2k import decode, encode_lossless
from radloop.codec.resolutions import resolutions
from radloop.core.errors import Corrupt

TYPES = ("uint8", "int8", "uint16", "int16")


@settings(max_examples=30)
@given(
    kind=st.sampled_from(TYPES),
    rows=st.integers(2, 150),
    columns=st.integers(2, 150),
    colour=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_last_resolution_is_the_frame_itself(kind: str, rows: int, columns: int, colour: bool, seed: int) -> None:
    limits = np.iinfo(kind)
    shape = (rows, columns, 3) if colour else (rows, columns)
    frame = np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    codestream = encode_lossless(frame)
    pictures = resolutions(codestream)
    assert pictures[-1].dtype == frame.dtype
    assert np.array_equal(pictures[-1], decode(codestream))
    for small, large in pairwise(pictures):
        assert small.shape[:2] == (-(-large.shape[0] // 2), -(-large.shape[1] // 2))


def test_black_beside_white_stays_black_at_every_resolution() -> None:
    frame = np.zeros((128, 128), np.uint16)
    frame[:, 61:] = 65535
    for picture in resolutions(encode_lossless(frame)):
        assert picture[0, 0] < 9000
        assert picture[0, -1] > 56000


@pytest.mark.parametrize("codestream", [b"", b"\xff\x4f\xff\x51", b"no codestream at all, and longer than a header is"])
def test_what_is_no_codestream_is_told(codestream: bytes) -> None:
    with pytest.raises(Corrupt):
        resolutions(codestream)
