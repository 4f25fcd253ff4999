"""Whole files in other transfer syntaxes: the pixels are those of pydicom and dcmtk, not only our own."""

import io
import shutil
import subprocess
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

from radloop.core.errors import InvalidInput, UnsupportedPixels
from radloop.dicom.parse import parse
from radloop.store.folding import pixels_of
from radloop.store.transcoding import MADE, transcoded
from tests.dicom.files import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG,
    ct,
    encapsulated,
    real_files,
    swapped,
    written,
)

JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
NATIVE = [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE]
SIGNED = np.linspace(-32768, 32767, 30 * 20).astype(np.int16).reshape(30, 20)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 10, 3)).astype(np.uint8)
BUNDLED = [
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_small_odd.dcm",
    "ExplVR_BigEnd.dcm", "image_dfl.dcm", "examples_palette.dcm", "examples_overlay.dcm", "rtplan.dcm", "test-SR.dcm",
    "JPEG-lossy.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "GDCMJ2K_TextGBR.dcm", "rtdose_expb_1frame.dcm",
]  # fmt: skip


def native(pixels: NDArray[Any], syntax: str, **attributes: Any) -> bytes:
    data_set = ct(pixels, PixelRepresentation=int(pixels.dtype.kind == "i"), **attributes)
    if syntax == EXPLICIT_BE and pixels.itemsize > 1:
        data_set["PixelData"]._value = swapped(pixels)
    return written(data_set, syntax)


def frames(data: bytes) -> list[NDArray[Any]]:
    instance = parse(data)
    return [] if instance.image is None else [pixels_of(data, instance, i) for i in range(instance.image.frames)]


@pytest.mark.parametrize(("before", "after"), [*product(NATIVE, sorted(MADE))])
@pytest.mark.parametrize("pixels", [SIGNED, SIGNED.view(np.uint16), COLOUR], ids=["signed", "unsigned", "colour"])
def test_pixels_are_the_same_in_every_transfer_syntax(before: str, after: str, pixels: NDArray[Any]) -> None:
    if before == EXPLICIT_BE and pixels.ndim == 3:
        pixels = pixels[:, :10]
    result = transcoded(native(pixels, before), after)
    assert parse(result).transfer_syntax == after
    assert np.array_equal(frames(result)[0], pixels)


@pytest.mark.parametrize("name", BUNDLED)
def test_files_of_other_makers_keep_their_pixels_and_who_they_are(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom has no {name}")
    data = Path(str(path)).read_bytes()
    before, expected = parse(data), frames(data)
    for syntax in sorted(MADE):
        try:
            result = transcoded(data, syntax)
        except UnsupportedPixels:
            assert before.image is not None
            assert before.image.bits_allocated == 32, "only dose grids of 32 bits are refused here"
            continue
        after = parse(result)
        assert (after.sop_uid, after.series_uid, after.attributes) == (
            before.sop_uid,
            before.series_uid,
            before.attributes,
        )
        assert all(np.array_equal(one, two) for one, two in zip(frames(result), expected, strict=True)), syntax


def test_a_file_in_the_transfer_syntax_asked_for_is_itself() -> None:
    data = native(SIGNED, EXPLICIT_LE)
    assert transcoded(data, EXPLICIT_LE) is data
    lossy = encapsulated(ct(np.zeros((8, 8), np.uint8)), [b"\xff\xd8\xff\xd9"])
    assert transcoded(lossy, JPEG) is lossy


def test_there_and_back_is_the_same_file_but_for_who_wrote_it() -> None:
    data = native(SIGNED, EXPLICIT_LE)
    for syntax in sorted(MADE - {EXPLICIT_LE}):
        again = transcoded(transcoded(data, syntax), EXPLICIT_LE)
        one, two = (pydicom.dcmread(io.BytesIO(each)) for each in (data, again))
        assert one == two, syntax


def test_ybr_that_is_not_compressed_stays_ybr() -> None:
    data = native(COLOUR, EXPLICIT_LE, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=0)
    result = transcoded(data, JPEG_2000)
    assert parse(result).image.photometric == "YBR_FULL"  # type: ignore[union-attr]
    assert pydicom.dcmread(io.BytesIO(transcoded(result, JPEG_LS))).PhotometricInterpretation == "RGB"
    assert np.array_equal(frames(result)[0], frames(data)[0])


def test_planes_apart_are_put_together() -> None:
    planes = np.ascontiguousarray(COLOUR.transpose(2, 0, 1))
    data_set = ct(COLOUR, PlanarConfiguration=1)
    data_set.PixelData = planes.tobytes()
    result = transcoded(written(data_set), JPEG_LS)
    found = pydicom.dcmread(io.BytesIO(result))
    assert found.PlanarConfiguration == 0
    assert np.array_equal(frames(result)[0], COLOUR)


def test_lossy_pixels_say_so_for_ever() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (16, 16)).astype(np.uint8)
    stream = bytes(imagecodecs.jpeg8_encode(pixels, level=60))
    data = encapsulated(ct(pixels), [stream + b"\0" * (len(stream) % 2)])
    for syntax in sorted(MADE):
        result = transcoded(data, syntax)
        assert pydicom.dcmread(io.BytesIO(result)).LossyImageCompression == "01"
        assert parse(result).lossy


@pytest.mark.parametrize("syntax", sorted(MADE))
def test_a_damaged_frame_is_an_error_of_ours_and_nothing_worse(syntax: str) -> None:
    data = encapsulated(ct(np.zeros((8, 8), np.uint8)), [b"\xff\xd8" + bytes(30)])
    with pytest.raises(UnsupportedPixels):
        transcoded(data, syntax)


def test_transfer_syntaxes_that_are_not_written_are_refused() -> None:
    for syntax in (JPEG, EXPLICIT_BE, DEFLATED_LE, "1.2.3", ""):
        with pytest.raises(UnsupportedPixels):
            transcoded(native(SIGNED, EXPLICIT_LE), syntax)


def test_single_bits_and_shared_colour_are_not_compressed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = ("liver_1frame.dcm", "SC_ybr_full_422_uncompressed.dcm")
        files = [Path(str(get_testdata_file(name, download=False))) for name in names]
    for path in files:
        with pytest.raises(UnsupportedPixels):
            transcoded(path.read_bytes(), JPEG_LS)
        assert parse(transcoded(path.read_bytes(), IMPLICIT_LE)).transfer_syntax == IMPLICIT_LE


@pytest.mark.skipif(shutil.which("dcmdjpls") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize("bits", [12, 16])
def test_dcmtk_reads_the_same_pixels_from_our_jpeg_ls(tmp_path: Path, bits: int) -> None:
    pixels = SIGNED if bits == 16 else SIGNED >> 4
    data = transcoded(native(pixels, EXPLICIT_LE, BitsStored=bits, HighBit=bits - 1), JPEG_LS)
    (tmp_path / "in.dcm").write_bytes(data)
    subprocess.run(["dcmdjpls", "-q", tmp_path / "in.dcm", tmp_path / "out.dcm"], check=True)
    mask = (1 << bits) - 1
    found = pydicom.dcmread(tmp_path / "out.dcm").pixel_array
    assert np.array_equal(found.astype(np.int32) & mask, pixels.astype(np.int32) & mask)


@pytest.mark.data
@pytest.mark.parametrize("folder", ["transfer-syntaxes", "ct-ge-signed", "cxr-nih"])
def test_real_scans_are_the_same_in_every_transfer_syntax(folder: str) -> None:
    for path in [*real_files(folder)][:12]:
        data = path.read_bytes()
        try:
            expected = frames(data)
        except InvalidInput:
            continue  # no codec of ours takes it, and nothing can be made of it
        for syntax in sorted(MADE):
            try:
                result = transcoded(data, syntax)
            except UnsupportedPixels:
                assert any(each.itemsize > 2 for each in expected) or parse(data).image.bits_allocated == 1  # type: ignore[union-attr]
                continue
            assert all(np.array_equal(*pair) for pair in zip(frames(result), expected, strict=True)), syntax
