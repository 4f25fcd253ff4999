"""Frames in other codecs: right values, right sign, right colours, and no trust in headers."""

import time
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from radloop.codec.decoders import DECODED, decode_frame, ybr_to_rgb
from radloop.codec.htj2k import encode_lossless
from radloop.core.errors import InvalidInput, PixelDataMismatch, UnsupportedPixels

JPEG, JPEG_12, LOSSLESS, LS, J2K = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 70, 80, 90))
HTJ2K = "1.2.840.10008.1.2.4.202"
quiet_openjph = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def encoded(frame: NDArray[Any], syntax: str) -> bytes:
    if syntax == LS:
        return bytes(imagecodecs.jpegls_encode(frame))
    if syntax == J2K:
        return bytes(imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="j2k"))
    if syntax == LOSSLESS:
        return bytes(imagecodecs.ljpeg_encode(frame))
    return encode_lossless(frame)


def read(raw: bytes, syntax: str, frame: NDArray[Any], **changes: Any) -> NDArray[Any]:
    """Decode by the description of `frame`."""
    description = {
        "rows": frame.shape[0],
        "columns": frame.shape[1],
        "samples": frame.shape[2] if frame.ndim == 3 else 1,
        "bits_allocated": frame.itemsize * 8,
        "bits_stored": frame.itemsize * 8,
        "signed": frame.dtype.kind == "i",
        "photometric": "RGB" if frame.ndim == 3 else "MONOCHROME2",
    }
    return decode_frame(raw, syntax, **(description | changes))


@pytest.mark.parametrize("syntax", [LOSSLESS, LS, J2K, HTJ2K])
@settings(max_examples=40)
@given(frame=arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=30)))
def test_lossless_codecs_give_back_what_went_in(syntax: str, frame: NDArray[np.uint16]) -> None:
    found = read(encoded(frame, syntax), syntax, frame)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, frame)


@pytest.mark.parametrize("syntax", [LOSSLESS, LS, J2K, HTJ2K])
def test_the_sign_is_the_files_where_the_codec_knows_none(syntax: str) -> None:
    frame = np.linspace(-32768, 32767, 200).astype(np.int16).reshape(10, 20)
    np.testing.assert_array_equal(read(encoded(frame.view(np.uint16), syntax), syntax, frame), frame)


@pytest.mark.parametrize("syntax", [LOSSLESS, LS, J2K])
def test_the_sign_of_twelve_stored_bits_spreads(syntax: str) -> None:
    frame = np.linspace(-2048, 2047, 200).astype(np.int16).reshape(10, 20)
    raw = encoded(frame.view(np.uint16) & 0x0FFF, syntax)
    np.testing.assert_array_equal(read(raw, syntax, frame, bits_stored=12), frame)


def test_a_signed_codestream_stays_signed() -> None:
    frame = np.linspace(-32768, 32767, 200).astype(np.int16).reshape(10, 20)
    np.testing.assert_array_equal(read(encoded(frame, J2K), J2K, frame), frame)
    np.testing.assert_array_equal(read(encoded(frame, HTJ2K), HTJ2K, frame), frame)


@pytest.mark.parametrize("syntax", [LS, J2K, HTJ2K])
def test_lossless_colour_comes_back_as_rgb(syntax: str) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    photometric = {J2K: "YBR_RCT", HTJ2K: "YBR_RCT", LS: "RGB"}[syntax]
    np.testing.assert_array_equal(read(encoded(frame, syntax), syntax, frame, photometric=photometric), frame)


def smooth(rgb: bool) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:64, 0:80]
    planes = [2 * x + y, 255 - 3 * y, 90 + 0 * x]
    return np.stack(planes, axis=-1).astype(np.uint8) if rgb else planes[0].astype(np.uint8)


def test_baseline_jpeg_is_close() -> None:
    frame = smooth(rgb=False)
    found = read(imagecodecs.jpeg8_encode(frame, level=95), JPEG, frame)
    assert np.abs(found.astype(int) - frame).max() < 8


def test_jpeg_colour_comes_out_as_rgb_whatever_it_was_coded_as() -> None:
    frame = smooth(rgb=True)
    ybr = imagecodecs.jpeg8_encode(frame, level=98, subsampling="444")
    rgb = imagecodecs.jpeg8_encode(frame, level=98, colorspace="RGB", outcolorspace="RGB")
    for raw, photometric in ((ybr, "YBR_FULL_422"), (ybr, "RGB"), (rgb, "RGB")):
        found = read(raw, JPEG, frame, photometric=photometric)
        assert np.abs(found.astype(int) - frame).mean() < 4, photometric


def test_rgb_without_a_marker_is_believed_to_be_rgb() -> None:
    frame = smooth(rgb=True)
    raw = imagecodecs.jpeg8_encode(frame, level=98, colorspace="RGB", outcolorspace="RGB")
    adobe = raw.index(b"\xff\xee")
    length = int.from_bytes(raw[adobe + 2 : adobe + 4], "big") + 2
    bare = raw[:adobe] + raw[adobe + length :]
    components = bare.index(b"\xff\xc0") + 10
    bare = bytearray(bare)
    scan = bytes(bare).index(b"\xff\xda") + 5
    for number in range(3):
        bare[components + 3 * number] = bare[scan + 2 * number] = number + 1
    found = read(bytes(bare), JPEG, frame)
    assert np.abs(found.astype(int) - frame).mean() < 4


def test_ybr_that_no_codec_undoes_is_undone_here() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    grey[..., 0] = 77
    found = read(encoded(grey, LS), LS, grey, photometric="YBR_FULL")
    assert set(found.ravel()) == {77}


def test_ybr_becomes_the_colours_of_the_standard() -> None:
    ybr = np.array([[[76, 85, 255], [149, 43, 21], [29, 255, 107]]], np.uint8)
    np.testing.assert_allclose(ybr_to_rgb(ybr).astype(int), [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], atol=2)


@pytest.mark.parametrize(
    "syntax", [f"1.2.840.10008.1.2.4.{n}" for n in (53, 55, 92, 100, 102, 107, 110)] + ["1.2.3", "1.2.840.10008.1.2.5"]
)
def test_what_no_codec_takes_is_said_to_be_unsupported(syntax: str) -> None:
    assert syntax not in DECODED
    with pytest.raises(UnsupportedPixels):
        read(b"\xff\xd8\xff", syntax, np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("changes", [{"bits_allocated": 32}, {"bits_allocated": 1}, {"samples": 4}])
def test_pixels_no_codec_gives_are_refused(changes: dict[str, Any]) -> None:
    frame = np.zeros((8, 8), np.uint8)
    with pytest.raises(UnsupportedPixels):
        read(encoded(frame, LS), LS, frame, **changes)


@pytest.mark.parametrize("syntax", [JPEG, LOSSLESS, LS, J2K, HTJ2K])
@pytest.mark.parametrize("changes", [{"rows": 9}, {"columns": 9}, {"samples": 3}, {"rows": 65535, "columns": 8}])
def test_a_codestream_of_another_size_is_a_mismatch(syntax: str, changes: dict[str, Any]) -> None:
    frame = np.zeros((8, 8), np.uint8)
    raw = imagecodecs.jpeg8_encode(frame) if syntax == JPEG else encoded(frame, syntax)
    with pytest.raises(PixelDataMismatch):
        read(raw, syntax, frame, **changes)


def test_a_header_that_asks_for_gigabytes_gets_none() -> None:
    raw = bytearray(encoded(np.zeros((8, 8), np.uint8), J2K))
    raw[8:16] = (65535).to_bytes(4, "big") * 2
    with pytest.raises(UnsupportedPixels):
        read(bytes(raw), J2K, np.zeros((8, 8), np.uint8), rows=65535, columns=65535)


def test_a_codestream_inside_a_jp2_file_is_found() -> None:
    frame = np.arange(64, dtype=np.uint8).reshape(8, 8)
    boxed = bytes(imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="jp2"))
    assert not boxed.startswith(b"\xff\x4f")
    np.testing.assert_array_equal(read(boxed, J2K, frame), frame)


@quiet_openjph
@pytest.mark.parametrize("syntax", [JPEG, LOSSLESS, LS, J2K, HTJ2K])
@settings(max_examples=120)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
    keep=st.floats(0, 1),
)
def test_damaged_frames_raise_invalid_input_or_are_frames(
    syntax: str, edits: list[tuple[float, int]], keep: float
) -> None:
    frame = np.arange(400, dtype=np.uint8).reshape(20, 20)
    raw = bytearray(imagecodecs.jpeg8_encode(frame) if syntax == JPEG else encoded(frame, syntax))
    for place, value in edits:
        raw[int(place * len(raw))] = value
    if keep > 0.6:
        del raw[int(keep * len(raw)) :]
    try:
        found = read(bytes(raw), syntax, frame)
    except InvalidInput:
        return
    assert found.shape == frame.shape
    assert found.dtype == frame.dtype


def test_a_jpeg_ls_frame_without_its_end_marker_is_read_at_once() -> None:
    frame = np.arange(400, dtype=np.uint8).reshape(20, 20)
    raw = encoded(frame, LS)
    assert raw.endswith(b"\xff\xd9")
    before = time.thread_time()
    np.testing.assert_array_equal(read(raw[:-2], LS, frame), frame)
    assert time.thread_time() - before < 1, "CharLS alone looks for the marker for four seconds"
