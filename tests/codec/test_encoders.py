import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from radloop.codec import encoders
from radloop.codec.decoders import decode_frame
from radloop.codec.encoders import ENCODED, JPEG_LS_LOSSLESS, encode_frame
from radloop.core.errors import UnsupportedPixels

DTYPES = ["uint8", "int8", "uint16", "int16"]


def decoded(codestream: bytes, syntax: str, like: NDArray[np.generic], bits: int) -> NDArray[np.generic]:
    return decode_frame(
        codestream,
        syntax,
        rows=like.shape[0],
        columns=like.shape[1],
        samples=1 if like.ndim == 2 else 3,
        bits_allocated=like.itemsize * 8,
        bits_stored=bits,
        signed=like.dtype.kind == "i",
        photometric="MONOCHROME2" if like.ndim == 2 else "RGB",
    )


@pytest.mark.parametrize("syntax", sorted(ENCODED))
@given(data=st.data())
def test_what_is_encoded_comes_back_exactly_or_is_refused(syntax: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    bits = data.draw(st.integers(2, np.dtype(dtype).itemsize * 8))
    signed = dtype.startswith("int")
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=20))
    pixels = data.draw(arrays(dtype, shape, elements=st.integers(low, high)))
    try:
        codestream = encode_frame(pixels, syntax, bits_stored=bits)
    except UnsupportedPixels:
        assert min(shape) == 1 or bits < 8, "only frames of one row or column, or of few bits, are refused"
        return
    assert np.array_equal(decoded(codestream, syntax, pixels, bits), pixels)


@pytest.mark.parametrize("syntax", sorted(ENCODED))
def test_noise_and_colour_come_back_exactly(syntax: str) -> None:
    rng = np.random.default_rng(4)
    for pixels in (
        rng.integers(0, 65536, (97, 83)).astype(np.uint16),
        rng.integers(-32768, 32768, (64, 64)).astype(np.int16),
        rng.integers(0, 256, (50, 40, 3)).astype(np.uint8),
    ):
        codestream = encode_frame(pixels, syntax, bits_stored=pixels.itemsize * 8)
        assert np.array_equal(decoded(codestream, syntax, pixels, pixels.itemsize * 8), pixels)


def test_colour_is_encoded_without_a_transform_so_that_rgb_stays_true() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    for syntax in ENCODED - {JPEG_LS_LOSSLESS}:
        codestream = encode_frame(pixels, syntax, bits_stored=8)
        assert codestream[codestream.find(b"\xff\x52") + 8] == 0


def test_what_no_codec_here_takes_is_refused() -> None:
    for pixels in (
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ):
        with pytest.raises(UnsupportedPixels):
            encode_frame(pixels, JPEG_LS_LOSSLESS, bits_stored=8)
    with pytest.raises(UnsupportedPixels, match=r"1\.2\.840\.10008\.1\.2\.4\.50"):
        encode_frame(np.zeros((4, 4), np.uint8), "1.2.840.10008.1.2.4.50", bits_stored=8)


def test_a_codec_that_gives_other_pixels_back_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    wrong = encode_frame(pixels + 1, JPEG_LS_LOSSLESS, bits_stored=8)
    monkeypatch.setitem(encoders._ENCODERS, JPEG_LS_LOSSLESS, lambda frame, bits: wrong)
    with pytest.raises(UnsupportedPixels, match="other pixels"):
        encode_frame(pixels, JPEG_LS_LOSSLESS, bits_stored=8)


def test_values_that_need_more_bits_than_are_stored_are_refused() -> None:
    pixels = np.full((8, 8), -2000, np.int16)
    with pytest.raises(UnsupportedPixels):
        encode_frame(pixels, JPEG_LS_LOSSLESS, bits_stored=8)
