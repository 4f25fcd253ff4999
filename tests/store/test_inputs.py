"""Every kind of file there is: lands, closes, folds or is kept with its code, and comes back byte for byte.

What goes in is made by pydicom and imagecodecs; what comes out is held against what was encoded.
"""

import os
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence

from radloop.codec import isolated
from radloop.codec.htj2k import decode
from radloop.core.errors import DoesNotDecode, UnsupportedPixels
from radloop.core.identity import OWNER
from radloop.core.images import Storage
from radloop.core.tables import INSTANCES
from radloop.store.instances import instance_of
from tests.codec.test_isolated import ODD_CHILD
from tests.dicom.files import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    RLE,
    ct,
    encapsulated,
    quietly,
    swapped,
    written,
)
from tests.store.house import House

Frames = list[NDArray[Any]]
DATA = Path(os.environ.get("RADLOOP_TEST_DATA", "missing"))
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
MPEG_4 = "1.2.840.10008.1.2.4.102"
BASELINE, EXTENDED, LOSSLESS_57, LOSSLESS_70 = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
LS, NEAR_LS, J2K, LOSSY_J2K = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 81, 90, 91))
HTJ2K, HTJ2K_RPCL, LOSSY_HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
COMPRESSED, UNSUPPORTED, NO_REBUILD = "compressed-as-received", "unsupported-pixels", "does-not-rebuild"

dice = np.random.default_rng(11)


ORACLES = {
    LOSSLESS_57: imagecodecs.jpegsof3_decode,
    LOSSLESS_70: imagecodecs.jpegsof3_decode,
    LS: imagecodecs.jpegls_decode,
    NEAR_LS: imagecodecs.jpegls_decode,
    J2K: imagecodecs.jpeg2k_decode,
    LOSSY_J2K: imagecodecs.jpeg2k_decode,
    EXTENDED: imagecodecs.jpeg8_decode,
    BASELINE: imagecodecs.jpeg8_decode,
}


@dataclass(frozen=True)
class Case:
    """A file, the frames it should show (None: none can be shown), and why it is kept (None: it is folded)."""

    file: bytes
    frames: Frames | None
    why_kept: str | None = None
    off_by: float = 0.0


def smooth(dtype: str, top: int, rows: int = 24, columns: int = 31, low: int = 0) -> NDArray[Any]:
    """A picture with edges and noise, from `low` to `top`."""
    y, x = np.mgrid[:rows, :columns]
    base = (np.sin(x / 5) + np.cos(y / 3) + 2) / 4 * (top - low) * 0.9 + low
    base[5:9, 4:12] = top
    noisy = base + dice.integers(0, max(1, (top - low) // 64) + 1, base.shape)
    return np.clip(np.rint(noisy), low, top).astype(dtype)


def colour(rows: int = 24, columns: int = 30) -> NDArray[np.uint8]:
    return np.stack([smooth("uint8", 255, rows, columns) for _ in range(3)], axis=-1)


GREY_8, GREY_12, GREY_16 = smooth("uint8", 255), smooth("uint16", 4095), smooth("uint16", 65535)
SIGNED_16, SIGNED_12 = smooth("int16", 32767, low=-32768), smooth("int16", 2047, low=-2048)
GREY_32 = smooth("uint32", 4_000_000_000)
RGB = colour()
MOVING = [np.roll(GREY_12, shift, axis=1) for shift in range(5)]


def native(frames: Frames, syntax: str = EXPLICIT_LE, **attributes: Any) -> bytes:
    """Uncompressed frames as a file."""
    data_set = ct(frames[0], **attributes)
    if len(frames) > 1:
        data_set.NumberOfFrames = len(frames)
    if "PixelData" not in attributes:
        raw = b"".join(swapped(f) if syntax == EXPLICIT_BE else f.tobytes() for f in frames)
        data_set["PixelData"]._value = raw + b"\0" * (len(raw) % 2)
    return written(data_set, syntax)


def packed(frames: Frames, encode: Callable[[NDArray[Any]], bytes], syntax: str, **attributes: Any) -> bytes:
    return encapsulated(ct(frames[0], **attributes), [bytes(encode(frame)) for frame in frames], syntax)


def jpeg_8(frame: NDArray[Any]) -> bytes:
    return imagecodecs.jpeg8_encode(frame, level=98)


def jpeg_12(frame: NDArray[Any]) -> bytes:
    return imagecodecs.jpeg8_encode(frame, level=98, bitspersample=12)


def jpeg_lossless(predictor: int, bits: int) -> Callable[[NDArray[Any]], bytes]:
    return lambda frame: imagecodecs.jpeg8_encode(frame, lossless=True, predictor=predictor, bitspersample=bits)


def j2k(frame: NDArray[Any]) -> bytes:
    return imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="j2k")


def j2k_lossy(frame: NDArray[Any]) -> bytes:
    return imagecodecs.jpeg2k_encode(frame, level=60, reversible=False, codecformat="j2k")


def htj2k_lossy(frame: NDArray[Any]) -> bytes:
    return imagecodecs.htj2k_encode(frame, level=0.0005, reversible=False)


def rle(frame: NDArray[Any]) -> bytes:
    """One frame as PS3.5 Annex G has it."""
    planes = np.atleast_3d(frame)
    size = frame.itemsize
    segments = []
    for sample in range(planes.shape[2]):
        plane = np.ascontiguousarray(planes[..., sample]).view(np.uint8).reshape(-1, size)
        for byte in reversed(range(size)):
            rows = np.ascontiguousarray(plane[:, byte]).reshape(frame.shape[:2])
            segment = b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in rows)
            segments.append(segment + b"\0" * (len(segment) % 2))
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    header = [len(segments), *offsets, *[0] * (15 - len(offsets))]
    return np.array(header, "<u4").tobytes() + b"".join(segments)


def deflated(frame: NDArray[Any]) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = squeeze.compress(frame.tobytes()) + squeeze.flush()
    return raw + b"\0" * (len(raw) % 2)


def ybr(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """YBR_FULL of RGB (PS3.3 C.7.6.3.1.2)."""
    red, green, blue = (frame[..., i].astype(float) for i in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = (
        -0.168736 * red - 0.331264 * green + 0.5 * blue + 128,
        0.5 * red - 0.418688 * green - 0.081312 * blue + 128,
    )
    return np.clip(np.rint(np.stack([luma, *chroma], axis=-1)), 0, 255).astype(np.uint8)


def shared(full: NDArray[np.uint8]) -> bytes:
    """YBR_FULL_422 of YBR_FULL whose colour is the same in neighbours."""
    luma = full[..., 0]
    return np.stack([luma[:, ::2], luma[:, 1::2], full[:, ::2, 1], full[:, ::2, 2]], axis=-1).tobytes()


def rgb_of(full: NDArray[np.uint8]) -> NDArray[np.uint8]:
    luma, blue, red = full[..., 0].astype(float), full[..., 1].astype(float) - 128, full[..., 2].astype(float) - 128
    planes = [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def palette() -> bytes:
    data_set = ct(GREY_8, PhotometricInterpretation="PALETTE COLOR")
    for place, keyword in enumerate(("Red", "Green", "Blue")):
        setattr(data_set, f"{keyword}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = (np.arange(256, dtype=np.uint16) * (place + 1) % 256) << 8
        setattr(data_set, f"{keyword}PaletteColorLookupTableData", table.tobytes())
    return written(data_set)


def enhanced(syntax: str) -> bytes:
    """An enhanced CT: place, spacing and rescale of each frame in functional groups."""
    data_set = ct(MOVING[0], ImagePositionPatient=None, PixelSpacing=None, ImageOrientationPatient=None)
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    common, measures, plane, transformation = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 2
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    transformation.RescaleSlope, transformation.RescaleIntercept, transformation.RescaleType = 1, -1024, "HU"
    common.PixelMeasuresSequence, common.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    common.PixelValueTransformationSequence = Sequence([transformation])
    data_set.SharedFunctionalGroupsSequence = Sequence([common])
    groups = []
    for number in range(len(MOVING)):
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 2 * number]
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    data_set.PerFrameFunctionalGroupsSequence = Sequence(groups)
    if syntax == J2K:
        return encapsulated(data_set, [bytes(j2k(frame)) for frame in MOVING], syntax)
    data_set.NumberOfFrames = len(MOVING)
    data_set["PixelData"]._value = b"".join(frame.tobytes() for frame in MOVING)
    return written(data_set, syntax)


def bits() -> tuple[bytes, Frames]:
    frames = [dice.integers(0, 2, (9, 13), dtype=np.uint8) for _ in range(3)]
    raw = np.packbits(np.concatenate([frame.reshape(-1) for frame in frames]), bitorder="little").tobytes()
    file = native(frames, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=raw + b"\0" * (len(raw) % 2))
    return file, frames


def without_pixels(sop_class: str, modality: str, **attributes: Any) -> bytes:
    keywords = "Rows Columns BitsAllocated BitsStored HighBit SamplesPerPixel PixelRepresentation PixelData"
    gone = dict.fromkeys([*keywords.split(), "PhotometricInterpretation"])
    return written(ct(SOPClassUID=sop_class, Modality=modality, **gone, **attributes))


def report() -> bytes:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "A finding"
    return without_pixels(
        "1.2.840.10008.5.1.4.1.1.88.11", "SR", ValueType="CONTAINER", ContentSequence=Sequence([item])
    )


def float_pixels() -> bytes:
    data_set = ct(PixelData=None, BitsAllocated=32)
    data_set.add_new("FloatPixelData", "OF", np.linspace(-1, 1, 24, dtype="<f4").tobytes())
    return written(data_set)


EVEN_COLOUR = np.repeat(colour()[:, ::2], 2, axis=1)
TWELVE = {"BitsStored": 12, "HighBit": 11}
BIT_FILE, BIT_FRAMES = bits()

CASES: dict[str, Case] = {
    # uncompressed
    "implicit": Case(native([GREY_12], IMPLICIT_LE, **TWELVE), [GREY_12]),
    "explicit": Case(native([GREY_12], **TWELVE), [GREY_12]),
    "big endian": Case(native([GREY_12], EXPLICIT_BE, **TWELVE), [GREY_12], COMPRESSED),
    "deflated": Case(native([GREY_12], DEFLATED_LE, **TWELVE), [GREY_12], COMPRESSED),
    "8 bits": Case(native([GREY_8]), [GREY_8]),
    "16 bits": Case(native([GREY_16]), [GREY_16]),
    "16 bits signed": Case(native([SIGNED_16]), [SIGNED_16]),
    "8 bits signed": Case(native([smooth("int8", 127, low=-128)]), None),
    "12 bits signed": Case(
        native([(SIGNED_12.view(np.uint16) & 0x0FFF)], PixelRepresentation=1, **TWELVE), [SIGNED_12], NO_REBUILD
    ),
    "12 bits signed, sign written through": Case(native([SIGNED_12], **TWELVE), [SIGNED_12]),
    "12 bits with an overlay above": Case(native([GREY_12 | 0x8000], **TWELVE), [GREY_12], NO_REBUILD),
    "32 bits": Case(native([GREY_32]), [GREY_32], UNSUPPORTED),
    "32 bits signed": Case(native([GREY_32.view(np.int32)]), [GREY_32.view(np.int32)], UNSUPPORTED),
    "1 bit": Case(BIT_FILE, BIT_FRAMES, NO_REBUILD),
    "float": Case(float_pixels(), [np.linspace(-1, 1, 24, dtype="<f4").reshape(4, 6)], UNSUPPORTED),
    "monochrome 1": Case(native([GREY_12], PhotometricInterpretation="MONOCHROME1", **TWELVE), [GREY_12]),
    "palette": Case(palette(), [GREY_8]),
    "rgb": Case(native([RGB]), [RGB]),
    "rgb, plane by plane": Case(
        native([RGB], PlanarConfiguration=1, PixelData=RGB.transpose(2, 0, 1).tobytes()), [RGB]
    ),
    "ybr full": Case(
        native([ybr(RGB)], PhotometricInterpretation="YBR_FULL"), [rgb_of(ybr(RGB))], NO_REBUILD, off_by=1
    ),
    "ybr full 422": Case(
        native([EVEN_COLOUR], PhotometricInterpretation="YBR_FULL_422", PixelData=shared(ybr(EVEN_COLOUR))),
        [rgb_of(ybr(EVEN_COLOUR))],
        NO_REBUILD,
        off_by=1,
    ),
    "multi-frame": Case(native(MOVING, **TWELVE), MOVING),
    "multi-frame, big endian": Case(native(MOVING, EXPLICIT_BE, **TWELVE), MOVING, COMPRESSED),
    "multi-frame, deflated": Case(native(MOVING, DEFLATED_LE, **TWELVE), MOVING, COMPRESSED),
    "multi-frame rgb": Case(native([RGB, RGB[::-1].copy()]), [RGB, RGB[::-1]]),
    "enhanced": Case(enhanced(EXPLICIT_LE), MOVING),
    "one pixel": Case(native([GREY_12[:1, :1]]), [GREY_12[:1, :1]]),
    "one column": Case(native([GREY_12[:, :1].copy()]), [GREY_12[:, :1]], UNSUPPORTED),
    "odd number of bytes": Case(native([GREY_8[:3, :3].copy()]), [GREY_8[:3, :3]]),
    # compressed without loss
    "rle 8": Case(packed([GREY_8], rle, RLE), [GREY_8], COMPRESSED),
    "rle 16": Case(packed([SIGNED_16], rle, RLE), [SIGNED_16], COMPRESSED),
    "rle 32": Case(packed([GREY_32], rle, RLE), [GREY_32], UNSUPPORTED),
    "rle rgb": Case(packed([RGB], rle, RLE), [RGB], COMPRESSED),
    "rle multi-frame": Case(packed(MOVING, rle, RLE, **TWELVE), MOVING, COMPRESSED),
    "deflated frames": Case(packed(MOVING, deflated, DEFLATED_FRAME, **TWELVE), MOVING, COMPRESSED),
    "jpeg lossless .57": Case(packed([GREY_16], jpeg_lossless(6, 16), LOSSLESS_57), [GREY_16], COMPRESSED),
    "jpeg lossless .70": Case(packed([GREY_12], jpeg_lossless(1, 12), LOSSLESS_70, **TWELVE), [GREY_12], COMPRESSED),
    "jpeg lossless rgb": Case(packed([RGB], jpeg_lossless(1, 8), LOSSLESS_70), [RGB], COMPRESSED),
    "jpeg-ls": Case(packed([GREY_12], imagecodecs.jpegls_encode, LS, **TWELVE), [GREY_12], COMPRESSED),
    "jpeg-ls rgb": Case(packed([RGB], imagecodecs.jpegls_encode, LS), [RGB], COMPRESSED),
    "jpeg 2000": Case(packed([GREY_16], j2k, J2K), [GREY_16], COMPRESSED),
    "jpeg 2000 signed": Case(packed([SIGNED_16], j2k, J2K), [SIGNED_16], COMPRESSED),
    "jpeg 2000 rgb": Case(packed([RGB], j2k, J2K, PhotometricInterpretation="YBR_RCT"), [RGB], COMPRESSED),
    "jpeg 2000 multi-frame": Case(packed(MOVING, j2k, J2K, **TWELVE), MOVING, COMPRESSED),
    "jpeg 2000 palette": Case(
        packed([GREY_8], j2k, J2K, PhotometricInterpretation="PALETTE COLOR"), [GREY_8], COMPRESSED
    ),
    "enhanced jpeg 2000": Case(enhanced(J2K), MOVING, COMPRESSED),
    "htj2k .201": Case(packed([GREY_16], imagecodecs.htj2k_encode, HTJ2K), [GREY_16], COMPRESSED),
    "htj2k .202": Case(packed(MOVING, imagecodecs.htj2k_encode, HTJ2K_RPCL, **TWELVE), MOVING, COMPRESSED),
    # compressed with loss
    "jpeg baseline": Case(packed([GREY_8], jpeg_8, BASELINE), [GREY_8], COMPRESSED, off_by=8),
    "jpeg baseline ybr": Case(
        packed([RGB], jpeg_8, BASELINE, PhotometricInterpretation="YBR_FULL_422"), [RGB], COMPRESSED, off_by=60
    ),
    "jpeg extended, 12 bits": Case(packed([GREY_12], jpeg_12, EXTENDED, **TWELVE), [GREY_12], COMPRESSED, off_by=20),
    "jpeg-ls near": Case(
        packed([GREY_12], lambda f: imagecodecs.jpegls_encode(f, level=3), NEAR_LS, **TWELVE), [GREY_12], COMPRESSED, 3
    ),
    "jpeg 2000 lossy": Case(packed([GREY_8], j2k_lossy, LOSSY_J2K), [GREY_8], COMPRESSED, off_by=6),
    "htj2k lossy": Case(packed([GREY_16], htj2k_lossy, LOSSY_HTJ2K), [GREY_16], COMPRESSED, off_by=900),
    # what cannot be shown
    "video": Case(encapsulated(ct(RGB), [b"\0\0\1\xb3" + bytes(200)], MPEG_4), None, UNSUPPORTED),
    "unknown syntax": Case(encapsulated(ct(), [b"whatever"], "1.2.3.4.5.6"), None, UNSUPPORTED),
    "a damaged codestream": Case(encapsulated(ct(GREY_16), [bytes(j2k(GREY_16))[:100]], J2K), None, "does-not-decode"),
    "a report": Case(report(), [], "no-pixel-data"),
    "a pdf": Case(
        without_pixels("1.2.840.10008.5.1.4.1.1.104.1", "DOC", EncapsulatedDocument=b"%PDF-1.4 "), [], "no-pixel-data"
    ),
    "a presentation state": Case(without_pixels("1.2.840.10008.5.1.4.1.1.11.1", "PR"), [], "no-pixel-data"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_file_is_taken_in_shown_and_given_back(house: House, name: str) -> None:
    case = CASES[name]
    (landing,) = house.land(case.file)
    assert (landing.outcome, landing.reason) == ("ingested", None)
    identity = str(landing.image_set)
    for stage in ("landed", "folded"):
        (instance,) = house.images.instances(identity)
        assert house.images.export(instance) == case.file, stage
        shows(house, identity, case, stage)
        assert house.images.document(instance)["00080018"]["Value"] == ["1.2.3.4"]
        if stage == "landed":
            house.images.complete(identity, by=OWNER)
            house.images.fold(identity)
    assert instance.storage is (Storage.FOLDED if case.why_kept is None else Storage.KEPT)
    assert instance.why_kept == case.why_kept
    assert instance.is_lossy == (name == "video" or bool(case.off_by and case.why_kept == COMPRESSED))


def shows(house: House, identity: str, case: Case, stage: str) -> None:
    addresses = house.images.frames(identity)
    if case.frames is None and case.why_kept is not None:
        with pytest.raises(UnsupportedPixels):
            house.images.pixels(identity, 0)
        with pytest.raises(UnsupportedPixels):
            house.images.frame(identity, 0)
        return
    assert case.frames is None or len(addresses) == len(case.frames)
    for index in range(len(addresses)):
        found = house.images.pixels(identity, index)
        wanted = found if case.frames is None else case.frames[addresses[index].number]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), stage
        assert np.abs(found.astype(float) - wanted).max() <= case.off_by, stage
        if case.why_kept == UNSUPPORTED:
            with pytest.raises(UnsupportedPixels):
                house.images.frame(identity, index)
            continue
        codestream, quality = house.images.frame(identity, index)
        np.testing.assert_array_equal(decode(codestream), found)
        assert quality == ("lossy-as-received" if case.off_by and case.why_kept == COMPRESSED else "lossless")


def test_a_codec_that_dies_of_one_frame_costs_that_frame(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    isolated._pool().close()
    monkeypatch.setattr(isolated, "COMMAND", (sys.executable, "-c", ODD_CHILD))
    sound = bytes(imagecodecs.jpegls_encode(GREY_12))
    file = encapsulated(ct(GREY_12, **TWELVE), [sound, b"crash", sound], LS, has_bot=False)
    name = house.land_one_set(file)
    house.images.complete(name, by=OWNER)
    image_set = house.images.fold(name)
    (instance,) = house.images.instances(name)
    assert (image_set.kept, instance.why_kept, instance.frames) == (1, "does-not-decode", ())
    for index in (0, 2):
        np.testing.assert_array_equal(house.images.pixels(name, index), GREY_12)
    with pytest.raises(DoesNotDecode):
        house.images.frame(name, 1)
    assert house.images.export(instance) == file
    isolated._pool().close()


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="RADLOOP_TEST_DATA names no folder of real scans")
def test_real_files_of_many_syntaxes_show_what_other_readers_see(house: House) -> None:
    files = [path.read_bytes() for path in sorted((DATA / "transfer-syntaxes").iterdir())]
    assert len(files) == 28
    names, exported, compared = set[str](), [], 0
    for file in files:  # one by one, for many are one object in different syntaxes, and the newest is shown
        (landing,) = house.land(file)
        name = str(landing.image_set)
        names.add(name)
        for index, address in enumerate(house.images.frames(name)):
            wanted = elsewhere(file, address.number) if house.images.export(address.instance) == file else None
            if wanted is not None:
                np.testing.assert_array_equal(house.images.pixels(name, index), wanted)
                compared += 1
    for name in names:
        house.images.complete(name, by=OWNER)
        house.images.fold(name)
        rows = house.records.find(INSTANCES, {"image_set": name})
        exported += [house.images.export(instance_of(row)) for row in rows]
    assert sorted(exported) == sorted(files)
    assert compared >= 20


def elsewhere(file: bytes, number: int) -> NDArray[Any] | None:
    """Stored values as pydicom cuts them and imagecodecs or pydicom decodes them; None where neither says them so."""
    with quietly():
        data_set = pydicom.dcmread(BytesIO(file))
        if "PixelData" not in data_set or str(data_set.PhotometricInterpretation).startswith("YBR_FULL"):
            return None
        syntax = data_set.file_meta.TransferSyntaxUID
        frames = int(data_set.get("NumberOfFrames") or 1)
        if syntax in ORACLES:
            raw = list(generate_frames(data_set.PixelData, number_of_frames=frames))[number]
            found = np.asarray(ORACLES[syntax](raw))
            return found.view(f"i{found.itemsize}") if data_set.PixelRepresentation else found
        if syntax.is_encapsulated and syntax != RLE:
            return None
        pixels = data_set.pixel_array
        return pixels[number] if frames > 1 else pixels
