"""HTJ2K frames: exact, cut by resolution, and honest about what they cannot hold."""

import itertools
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from radloop.codec.htj2k import (
    decode,
    decompositions,
    encode_lossless,
    encode_preview,
    frame_header,
    resolution_ends,
    verify,
)
from radloop.core.errors import Corrupt, UnsupportedPixels
from radloop.dicom.parse import parse
from radloop.dicom.pixels import native_array, stored_frame
from tests.dicom.files import real_files

DTYPES = ["uint8", "int8", "uint16", "int16"]
quiet_openjph = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def noise(dtype: str, shape: tuple[int, ...] = (70, 130), seed: int = 0) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def chest(dtype: str = "int16", size: int = 512) -> NDArray[Any]:
    """Two lungs in a body in air, with noise: -1024 to about 1000."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = np.where((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1, 40.0, -1000.0)
    for side in (-0.4, 0.4):
        body[((x - side) / 0.3) ** 2 + (y / 0.5) ** 2 < 1] = -850
    body[(x / 0.1) ** 2 + ((y - 0.5) / 0.1) ** 2 < 1] = 900
    body += np.random.default_rng(3).normal(0, 12, body.shape)
    if dtype == "uint8":
        return np.clip((body + 1024) / 8, 0, 255).astype(np.uint8)
    if dtype == "uint16":
        body = np.clip(body + 1024, 0, None)
    return body.astype(dtype)


# Lossless


@settings(max_examples=300)
@given(
    frame=st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays(
            dtype,
            array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=64)
            | array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=40).map(lambda shape: (*shape, 3)),
        )
    )
)
def test_every_frame_comes_back_exactly(frame: NDArray[Any]) -> None:
    codestream = encode_lossless(frame)
    verify(frame, codestream)
    found = decode(codestream)
    assert found.dtype == frame.dtype
    np.testing.assert_array_equal(found, frame)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(2, 2), (2, 500), (500, 2), (3, 65), (63, 64), (65, 65), (127, 129), (1, 1), (700, 3)]
)
def test_frames_of_every_odd_size_hold_extremes(dtype: str, shape: tuple[int, int]) -> None:
    limits = np.iinfo(dtype)
    board = np.where(np.indices(shape).sum(0) % 2, limits.max, limits.min).astype(dtype)
    for frame in (board, noise(dtype, shape), np.full(shape, limits.min, dtype)):
        verify(frame, encode_lossless(frame))


def test_frames_that_do_not_lie_straight_in_memory_are_the_same_frames() -> None:
    frame = noise("uint16")
    assert encode_lossless(frame[::-1, ::2]) == encode_lossless(frame[::-1, ::2].copy())
    assert encode_lossless(frame.astype(">u2")) == encode_lossless(frame)
    verify(frame.astype(">u2"), encode_lossless(frame))


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((8, 8), np.float32),
        np.zeros((8, 8), np.bool_),
        np.zeros((8, 8), np.int32),
        np.zeros((8, 8), np.uint64),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((0, 8), np.uint8),
        np.zeros((1, 2), np.uint16),
        np.zeros((400, 1), np.uint16),
    ],
    ids=lambda frame: f"{frame.shape} {frame.dtype}",
)
def test_what_htj2k_cannot_hold_is_refused(frame: NDArray[Any]) -> None:
    with pytest.raises(UnsupportedPixels):
        encode_lossless(frame)
    with pytest.raises(UnsupportedPixels):
        encode_preview(frame)


@pytest.mark.parametrize("change", ["value", "dtype", "shape"])
def test_a_codestream_of_other_pixels_does_not_verify(change: str) -> None:
    frame = noise("uint16")
    other = frame.copy()
    if change == "value":
        other[-1, -1] ^= 1
    codestream = encode_lossless(frame)
    other = {"value": other, "dtype": frame.view(np.int16), "shape": frame.reshape(130, 70)}[change]
    with pytest.raises(Corrupt):
        verify(other, codestream)


# The form of 1.2.840.10008.1.2.4.202


def markers(codestream: bytes) -> dict[int, bytes]:
    """Segments of the main header."""
    found, offset = {}, 2
    while True:
        marker, length = struct.unpack_from(">HH", codestream, offset)
        if marker == 0xFF90:
            return found
        found[marker] = codestream[offset + 4 : offset + 2 + length]
        offset += 2 + length


@pytest.mark.parametrize(
    "shape", [(512, 512), (1024, 700), (4096, 3000), (100, 100), (33, 20), (8, 8), (2, 500), (1, 1)]
)
def test_the_form_is_the_one_the_transfer_syntax_asks_for(shape: tuple[int, int]) -> None:
    codestream = encode_lossless(np.zeros(shape, np.uint16))
    segments = markers(codestream)
    progression, halvings = segments[0xFF52][1], segments[0xFF52][5]
    assert progression == 2, "RPCL"
    assert segments[0xFF52][6] < 5, "code blocks of at most 64"
    assert segments[0xFF52][9] == 1, "the reversible wavelet"
    assert 0xFF55 in segments, "tile-part lengths"
    assert 0xFF50 in segments, "a Part 15 codestream says so"
    assert -(-max(shape) >> halvings) <= 64, "the base is at most 64 pixels"
    assert halvings == decompositions(*shape)
    ends = resolution_ends(codestream)
    assert len(ends) == halvings + 1
    assert ends[-1] == len(codestream)
    assert list(ends) == sorted(set(ends))


@given(rows=st.integers(1, 70_000), columns=st.integers(1, 70_000))
def test_the_base_is_never_over_64_and_small_frames_are_halved_less(rows: int, columns: int) -> None:
    count = decompositions(rows, columns)
    assert -(-max(rows, columns) // 2**count) <= 64
    assert count <= 11
    if 1 < min(rows, columns) <= max(rows, columns) <= 64:
        assert min(rows, columns) >= 2**count


@pytest.mark.parametrize(
    "frame", [chest(), noise("int16", (300, 200)), noise("int8", (129, 257))], ids=["ct", "16", "8"]
)
def test_a_prefix_up_to_an_end_is_the_whole_frame_at_that_resolution(frame: NDArray[Any]) -> None:
    codestream = encode_lossless(frame)
    ends = resolution_ends(codestream)
    for skipped, end in enumerate(reversed(ends)):
        prefix = imagecodecs.htj2k_decode(codestream[:end], skipres=skipped, resilient=True)
        whole = imagecodecs.htj2k_decode(codestream, skipres=skipped)
        assert prefix.shape == tuple(-(-side >> skipped) for side in frame.shape)
        np.testing.assert_array_equal(prefix, whole)


def test_a_codestream_in_one_piece_has_one_end() -> None:
    codestream = imagecodecs.htj2k_encode(noise("uint16"), resolutions=3, reversible=True)
    assert resolution_ends(codestream) == (len(codestream),)


# Damage


@quiet_openjph
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_codestream_cut_anywhere_is_corrupt(dtype: str) -> None:
    codestream = encode_lossless(noise(dtype, (33, 40)))
    for length in itertools.chain(range(250), range(250, len(codestream), 7)):
        with pytest.raises(Corrupt):
            decode(codestream[:length])
        with pytest.raises(Corrupt):
            resolution_ends(codestream[:length])


@quiet_openjph
@settings(max_examples=400)
@given(
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    data=st.binary(max_size=60),
)
def test_a_damaged_codestream_is_corrupt_or_another_frame_and_nothing_else(
    edits: list[tuple[int, int]], data: bytes
) -> None:
    codestream = bytearray(encode_lossless(noise("uint16", (20, 24))))
    for place, value in edits:
        codestream[place] = value
    for damaged in (bytes(codestream), data, bytes(codestream[:42]) + data):
        try:
            decode(damaged)
        except Corrupt:
            continue


@pytest.mark.parametrize("offset", [24, 28])
def test_a_tile_of_no_size_does_not_take_the_process_with_it(offset: int) -> None:
    codestream = bytearray(encode_lossless(noise("uint8")))
    codestream[offset : offset + 4] = bytes(4)
    assert frame_header(bytes(codestream)) is None
    with pytest.raises(Corrupt):
        decode(bytes(codestream))


# Previews


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_a_preview_is_small_and_close(dtype: str) -> None:
    frame = chest(dtype)
    preview = encode_preview(frame)
    assert len(preview) < 8_000
    found = decode(preview)
    assert (found.shape, found.dtype) == (frame.shape, frame.dtype)
    error = np.abs(found.astype(int) - frame)
    assert np.median(error) < 0.02 * np.ptp(frame.astype(int))


def test_a_preview_of_colour_keeps_its_colours() -> None:
    grey = chest("uint8", 256)
    frame = np.stack([grey, 255 - grey, np.full_like(grey, 90)], axis=-1)
    preview = encode_preview(frame)
    assert len(preview) < frame.size * 0.06
    assert np.median(np.abs(decode(preview).astype(int) - frame)) < 12


@pytest.mark.parametrize("dtype", ["int16", "int8"])
@pytest.mark.parametrize("block", [1, 3, 16, 100])
def test_a_preview_of_signed_extremes_does_not_wrap(dtype: str, block: int) -> None:
    limits = np.iinfo(dtype)
    board = np.indices((200, 200)) // block
    frame = np.where(board.sum(0) % 2, limits.max, limits.min).astype(dtype)
    if block == 1:
        frame = np.where(noise("uint8", (200, 200)) > 127, limits.max, limits.min).astype(dtype)
    found = decode(encode_preview(frame)).astype(int)
    far = np.abs(found - frame) > (limits.max - limits.min) * 0.9
    assert not far.any(), f"{far.mean():.2%} of the pixels went to the other end"


def test_a_preview_of_few_grey_values_is_finer() -> None:
    frame = (chest("uint8") // 4).astype(np.uint16)
    found = decode(encode_preview(frame))
    assert np.abs(found.astype(int) - frame).mean() < 4, "64 grey values of 16 bits still are told apart"


@settings(max_examples=60)
@given(
    frame=st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays(
            dtype, array_shapes(min_dims=2, max_dims=2, max_side=40).map(lambda s: (s[0] + 1, s[1] + 1))
        )
    )
)
def test_every_frame_has_a_preview_of_its_size(frame: NDArray[Any]) -> None:
    found = decode(encode_preview(frame))
    assert (found.shape, found.dtype) == (frame.shape, frame.dtype)


def test_a_preview_that_fills_its_sixteen_bits_is_no_larger() -> None:
    frame = chest("uint16") * 20
    assert len(encode_preview(frame)) < 8_000


# Real frames


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "ratio"), [("ct-chest-philips", 2.0), ("ct-chest-siemens", 2.0), ("ct-ge-signed", 2.2)]
)
def test_real_ct_is_held_exactly_in_half_the_space_with_previews_of_a_few_kilobytes(folder: str, ratio: float) -> None:
    raw = lossless = previews = pixels = 0
    for path in real_files(folder):
        data = path.read_bytes()
        instance = parse(data)
        frame = native_array(stored_frame(data, instance, 0)[0], instance)
        codestream = encode_lossless(frame)
        verify(frame, codestream)
        raw, pixels = raw + frame.nbytes, pixels + frame.size
        lossless, previews = lossless + len(codestream), previews + len(encode_preview(frame))
    assert raw / lossless > ratio
    assert previews * 8 / pixels < 0.24, "6 KB for 512 x 512 is 0.19 bits a pixel"
