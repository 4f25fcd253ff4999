"""Frames cut out of files, by every way a file can hold them."""

import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate_extended
from pydicom.uid import RLELossless

from radloop.codec.decoders import decode_frame
from radloop.core.errors import InvalidInput, NotFound, PixelDataMismatch, UnsupportedPixels
from radloop.dicom.parse import Instance, parse
from radloop.dicom.pixels import described, frame_bytes, frames_encapsulated, native_array, stored_frame
from tests.dicom.files import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG,
    RLE,
    ct,
    encapsulated,
    real_files,
    swapped,
    written,
)

DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"


def pixels_of(data: bytes, index: int = 0) -> NDArray[Any]:
    """A frame by the glue that the store uses."""
    instance = parse(data)
    raw, syntax = stored_frame(data, instance, index)
    return native_array(raw, instance) if syntax == EXPLICIT_LE else decode_frame(raw, syntax, **described(instance))


def ramp(dtype: str, shape: tuple[int, ...] = (4, 6)) -> NDArray[Any]:
    """Values from the lowest to the highest of the type."""
    limits = np.iinfo(dtype)
    return np.linspace(limits.min, limits.max, int(np.prod(shape))).astype(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE])
def test_uncompressed_pixels_come_back_in_their_own_type(dtype: str, syntax: str) -> None:
    pixels = ramp(dtype)
    data_set = ct(pixels)
    if syntax == EXPLICIT_BE:
        data_set["PixelData"]._value = swapped(pixels)
    data = written(data_set, syntax)
    found = pixels_of(data)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, pixels)
    assert frame_bytes(data, parse(data), 0) == pixels.tobytes()


@given(
    pixels=st.sampled_from(["uint8", "int16"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=7))
    )
)
def test_every_frame_of_a_multi_frame_is_its_own(pixels: NDArray[Any]) -> None:
    data_set = ct(pixels[0], NumberOfFrames=len(pixels))
    raw = pixels.tobytes()
    data_set["PixelData"]._value = raw + b"\0" * (len(raw) % 2)
    data = written(data_set)
    for index, frame in enumerate(pixels):
        np.testing.assert_array_equal(pixels_of(data, index), frame)


def test_words_of_big_endian_bytes_are_swapped_over_an_odd_end() -> None:
    pixels = ramp("uint8", (3, 3, 3))
    data_set = ct(pixels)
    words = np.frombuffer(pixels.tobytes() + b"\0", ">u2").astype("<u2").tobytes()
    data_set["PixelData"].VR = "OW"
    data_set["PixelData"]._value = words
    np.testing.assert_array_equal(pixels_of(written(data_set, EXPLICIT_BE)), pixels)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_comes_back_with_samples_last(planar: int) -> None:
    pixels = ramp("uint8", (4, 6, 3))
    raw = (pixels.transpose(2, 0, 1) if planar else pixels).tobytes()
    data = written(ct(pixels, PlanarConfiguration=planar, PixelData=raw))
    np.testing.assert_array_equal(pixels_of(data), pixels)


def test_bits_of_a_frame_need_not_begin_at_a_byte() -> None:
    pixels = np.random.default_rng(1).integers(0, 2, (3, 5, 3), dtype=np.uint8)
    raw = np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
    data_set = ct(pixels[0, :, :], BitsAllocated=1, BitsStored=1, HighBit=0, SamplesPerPixel=1, NumberOfFrames=3)
    data_set["PixelData"]._value = raw + b"\0" * (len(raw) % 2)
    data = written(data_set)
    for index in range(3):
        np.testing.assert_array_equal(pixels_of(data, index), pixels[index])


@given(values=arrays(np.int16, (4, 6), elements=st.integers(-2048, 2047)), rubbish=st.integers(0, 15))
def test_the_sign_spreads_over_bits_that_are_not_stored(values: NDArray[np.int16], rubbish: int) -> None:
    stored = (values.view(np.uint16) & 0x0FFF) | (rubbish << 12)
    data = written(ct(stored, BitsStored=12, HighBit=11, PixelRepresentation=1))
    np.testing.assert_array_equal(pixels_of(data), values)


def test_an_overlay_in_unused_bits_is_no_pixel() -> None:
    values = ramp("uint16") >> 4
    data = written(ct(values | 0x8000, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(pixels_of(data), values)


def test_stored_bits_at_the_top_are_moved_down() -> None:
    values = ramp("uint16") >> 4
    data = written(ct(values << 4, BitsStored=12, HighBit=15))
    np.testing.assert_array_equal(pixels_of(data), values)


def test_ybr_becomes_rgb_and_shared_colour_is_spread() -> None:
    luma = np.full((2, 4), 100, np.uint8)
    shared = np.stack([luma[:, ::2], luma[:, 1::2], np.full((2, 2), 128), np.full((2, 2), 228)], axis=-1).astype("u1")
    full = np.stack([luma, np.full((2, 4), 128), np.full((2, 4), 228)], axis=-1).astype("u1")
    red = np.clip(np.rint(100 + 1.402 * 100), 0, 255)
    for raw, photometric in ((shared, "YBR_FULL_422"), (full, "YBR_FULL")):
        data = written(ct(full, PhotometricInterpretation=photometric, PixelData=raw.tobytes()))
        found = pixels_of(data)
        assert found.shape == (2, 4, 3)
        assert set(found[..., 0].ravel()) == {red}
        assert set(found[..., 2].ravel()) == {100}


def test_float_pixels_come_back() -> None:
    values = np.linspace(-1, 1, 24, dtype="<f4").reshape(4, 6)
    data_set = ct(PixelData=None, BitsAllocated=32)
    data_set.add_new("FloatPixelData", "OF", values.tobytes())
    np.testing.assert_array_equal(pixels_of(written(data_set)), values)


# RLE and deflated frames


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("frames", [1, 3])
def test_rle_comes_back_uncompressed(dtype: str, frames: int) -> None:
    pixels = np.stack([np.roll(ramp(dtype, (5, 7)), frame) for frame in range(frames)])
    pixels[:, 2] = 7
    data = rle(pixels)
    for index in range(frames):
        np.testing.assert_array_equal(pixels_of(data, index), pixels[index])


@pytest.mark.parametrize("planar", [0, 1])
def test_rle_of_colour_comes_back_as_it_says_it_is_laid_out(planar: int) -> None:
    pixels = ramp("uint8", (5, 7, 3))
    data = rle(pixels[None], PlanarConfiguration=planar)
    np.testing.assert_array_equal(pixels_of(data), pixels)
    wanted = pixels.transpose(2, 0, 1) if planar else pixels
    assert frame_bytes(data, parse(data), 0) == wanted.tobytes()


def rle(frames: NDArray[Any], **attributes: Any) -> bytes:
    """A file of these frames, compressed by pydicom."""
    data_set = ct(frames[0], NumberOfFrames=len(frames))
    raw = frames.tobytes()
    data_set["PixelData"]._value = raw + b"\0" * (len(raw) % 2)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT_LE
    data_set.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return written(data_set, RLE)


@pytest.mark.parametrize(
    "frame",
    [
        b"ab",
        b"\0" * 64,
        struct.pack("<16L", 2, 64, 0xFFFFFF00, *[0] * 13) + b"x" * 50,
        struct.pack("<16L", 2, 900, 64, *[0] * 13) + b"x" * 50,
        struct.pack("<16L", 200, 64, 70, *[0] * 13) + b"x" * 50,
        struct.pack("<16L", 2, 64, 66, *[0] * 13) + b"\xff\0\xff\0",
        struct.pack("<16L", 2, 64, 66, *[0] * 13) + b"\x7f\0\x7f\0",
    ],
)
def test_a_damaged_rle_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(InvalidInput):
        pixels_of(encapsulated(ct(), [frame], RLE))


def test_a_deflated_frame_comes_back_and_a_bomb_does_not() -> None:
    pixels = ramp("uint16")

    def deflated(raw: bytes) -> bytes:
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        return squeeze.compress(raw) + squeeze.flush()

    np.testing.assert_array_equal(
        pixels_of(encapsulated(ct(pixels), [deflated(pixels.tobytes())], DEFLATED_FRAME)), pixels
    )
    with pytest.raises(PixelDataMismatch, match="a deflated frame gives 3 bytes"):
        pixels_of(encapsulated(ct(pixels), [deflated(b"abc")], DEFLATED_FRAME))
    with pytest.raises(UnsupportedPixels):
        pixels_of(encapsulated(ct(pixels), [b"\xff\xff\xff\xff"], DEFLATED_FRAME))


# Fragments


FRAMES = [b"\xff\xd8\xff" + bytes([number]) * (40 + 10 * number) + b"\xff\xd9" for number in range(3)]


def even(frames: list[bytes]) -> list[bytes]:
    return [frame + b"\0" * (len(frame) % 2) for frame in frames]


@pytest.mark.parametrize("has_bot", [True, False])
@pytest.mark.parametrize("fragments", [1, 2])
def test_frames_are_joined_from_their_fragments(has_bot: bool, fragments: int) -> None:
    data = encapsulated(ct(), FRAMES, fragments_per_frame=fragments, has_bot=has_bot)
    assert frames_encapsulated(data) == even(FRAMES)
    instance = parse(data)
    for index in range(3):
        assert stored_frame(data, instance, index) == (even(FRAMES)[index], JPEG)


def test_an_extended_offset_table_tells_where_frames_begin() -> None:
    pixels, offsets, lengths = encapsulate_extended(FRAMES)
    data_set = ct(NumberOfFrames=3)
    data_set.ExtendedOffsetTable, data_set.ExtendedOffsetTableLengths = offsets, lengths
    data_set.PixelData = pixels
    data_set["PixelData"].VR, data_set["PixelData"].is_undefined_length = "OB", True
    assert frames_encapsulated(written(data_set, JPEG)) == even(FRAMES)


def test_an_offset_table_that_lies_is_not_believed() -> None:
    data = encapsulated(ct(), FRAMES, fragments_per_frame=2, has_bot=True)
    place = data.index(b"\xfe\xff\x00\xe0\x0c\x00\x00\x00") + 8
    data = data[:place] + struct.pack("<3L", 0, 5, 7) + data[place + 12 :]
    assert frames_encapsulated(data) == even(FRAMES)


def test_fragments_nobody_can_assign_are_refused() -> None:
    frames = [b"abcd" * 20, b"efgh" * 20]
    data = encapsulated(ct(), frames, fragments_per_frame=2, has_bot=False)
    with pytest.raises(PixelDataMismatch, match="nothing tells where 2 frames begin in 4 fragments"):
        frames_encapsulated(data)


def test_native_pixels_have_no_fragments() -> None:
    with pytest.raises(PixelDataMismatch, match="not encapsulated"):
        frames_encapsulated(written(ct()))


# What is not there


@pytest.mark.parametrize("index", [-1, 1, 99])
def test_a_frame_that_is_not_there_is_not_found(index: int) -> None:
    data = written(ct())
    with pytest.raises(NotFound):
        stored_frame(data, parse(data), index)


def test_what_has_no_pixels_has_no_frames() -> None:
    data = written(ct(PixelData=None, PixelDataProviderURL="https://example.org/frames"))
    with pytest.raises(UnsupportedPixels):
        stored_frame(data, parse(data), 0)


def test_a_frame_of_another_length_is_refused() -> None:
    with pytest.raises(PixelDataMismatch):
        native_array(b"abc", parse(written(ct())))


def test_pixels_of_twelve_bits_are_not_read() -> None:
    data = written(ct(BitsAllocated=12, BitsStored=12, HighBit=11, PixelData=bytes(36)))
    with pytest.raises(UnsupportedPixels):
        pixels_of(data)


# Real files

LOSSLESS = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
]
NEARLY = {
    "1.2.840.10008.1.2.4.50": 65,
    "1.2.840.10008.1.2.4.51": 40,
    "1.2.840.10008.1.2.4.81": 1,
    "1.2.840.10008.1.2.4.91": 8,
}
"""Greatest distance in HU. The 8-bit one has steps of 32."""

UNDECODED = {"1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"}


def values_of(data: bytes) -> tuple[Instance, NDArray[np.float64]]:
    """A frame in rescaled values, so that files of another offset can be compared."""
    instance = parse(data)
    image = instance.image
    assert image is not None
    return instance, pixels_of(data) * (image.slope or 1.0) + (image.intercept or 0.0)


@pytest.mark.data
def test_one_real_slice_is_the_same_in_every_lossless_syntax_and_close_in_the_lossy_ones() -> None:
    files = {path.name: path.read_bytes() for path in real_files("transfer-syntaxes")}
    _, wanted = values_of(files["CTImage.dcm"])
    seen = set()
    for name, data in files.items():
        if not name.startswith("CTImage.dcm"):
            continue
        syntax = parse(data).transfer_syntax
        seen.add(syntax)
        if syntax in UNDECODED:
            with pytest.raises(UnsupportedPixels):
                values_of(data)
        elif syntax in LOSSLESS:
            np.testing.assert_array_equal(values_of(data)[1], wanted, err_msg=name)
        else:
            assert np.abs(values_of(data)[1] - wanted).max() <= NEARLY[syntax], name
    assert seen >= {*LOSSLESS, *NEARLY, *UNDECODED}


@pytest.mark.data
def test_real_colour_pictures_of_one_pattern_look_alike_however_they_were_coded() -> None:
    files = {path.name: path.read_bytes() for path in real_files("transfer-syntaxes")}
    wanted = pixels_of(files["TestPattern_RGB.dcm"]).astype(float)
    names = [name for name in files if name.startswith("TestPattern_JPEG")]
    assert len(names) >= 4
    for name in names:
        found = pixels_of(files[name])
        assert found.shape == wanted.shape, name
        assert np.abs(found - wanted).mean() < 6, name
        if "-Lossless" in name:
            np.testing.assert_array_equal(found, wanted, err_msg=name)


@pytest.mark.data
@pytest.mark.parametrize("folder", ["transfer-syntaxes", "ct-ge-signed", "ct-chest-siemens"])
def test_real_uncompressed_pixels_are_what_pydicom_reads(folder: str) -> None:
    import pydicom

    compared = 0
    for path in real_files(folder):
        data = path.read_bytes()
        instance = parse(data)
        if instance.pixel_span is None or (instance.image and instance.image.photometric.startswith("YBR")):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = pydicom.dcmread(path).pixel_array
        np.testing.assert_array_equal(pixels_of(data), wanted, err_msg=path.name)
        compared += 1
    assert compared
