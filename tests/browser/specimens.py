"""Images of every kind of pixel, made to be looked at: what `reference.picture` is held against."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import httpx
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import generate_uid

from tests.browser.reference import Window
from tests.dicom.files import EXPLICIT_LE, RLE, ct, written

ROWS, COLUMNS = 66, 72  # divisible by the device pixels of phones
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"

RESCALES = ((1.0, 0.0), (1.0, -1024.0), (0.37, -12.25), (2.5, 100.0), (-1.0, 50.0))
_NOWHERE = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"))


@dataclass(frozen=True, slots=True)
class Case:
    """An image to look at.

    Attributes:
        tolerance: Grey levels between two decoders of a lossy codec; 1 for all that is exact.
    """

    name: str
    header: Dataset
    syntax: str = EXPLICIT_LE
    tolerance: int = 1


@dataclass(frozen=True, slots=True)
class Series:
    """Cases in the order of their frames, with the Part 10 file of each and the image set they are."""

    image_set: str
    cases: Sequence[Case]
    files: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Bits:
    """How a sample lies in its word."""

    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def least(self) -> int:
        return -(1 << (self.stored - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        return self.least + (1 << self.stored) - 1

    def words(self, values: NDArray[np.int64]) -> bytes:
        """The values as pixel data, with rubbish in the bits that are not theirs."""
        shift, mask = self.high + 1 - self.stored, (1 << self.stored) - 1
        around = ~(mask << shift) & ((1 << self.allocated) - 1)
        words = ((values & mask) << shift) | (0xA5A5 & around)
        return words.astype(f"<u{self.allocated // 8}").tobytes()


LAYOUTS = [
    Bits(allocated, stored, high, signed)
    for allocated, stored, high in (
        (8, 8, 7),
        (8, 6, 5),
        (16, 8, 7),
        (16, 10, 9),
        (16, 12, 11),
        (16, 12, 15),
        (16, 16, 15),
    )
    for signed in (False, True)
]


def stored(server: str, cases: Sequence[Case], *, modality: str = "CT", description: str = "Pixels") -> Series:
    """The cases as one series on the server, sent as a browser sends them."""
    study, series = generate_uid(), generate_uid()
    files = []
    for number, case in enumerate(cases, start=1):
        header = case.header
        header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID = study, series, generate_uid()
        header.Modality, header.SeriesDescription, header.InstanceNumber = modality, description, number
        header.PatientID, header.PatientName = f"PIXELS-{study[-6:]}", "Pixels^Of nobody"
        files.append(written(header, case.syntax))
    parts = [("files", (f"{place}.dcm", data)) for place, data in enumerate(files)]
    answer = httpx.post(f"{server}/api/v1/uploads?complete=1", files=parts, timeout=60).raise_for_status().json()
    assert answer["ingested"] == len(cases), f"not everything was taken: {answer['reasons']}"
    (image_set,) = answer["image_sets"]
    return Series(image_set, cases, files)


def image(pixels: NDArray[Any], **attributes: Any) -> Dataset:
    """An image that lies nowhere, so that a series of them is in the order of its numbers."""
    colour: dict[str, Any] = {} if pixels.ndim == 2 else dict.fromkeys(("WindowCenter", "WindowWidth"))
    header = ct(pixels, SOPClassUID=SECONDARY_CAPTURE, **_NOWHERE, **{**colour, **attributes})
    del header.FrameOfReferenceUID
    return header


# --- grey ------------------------------------------------------------------------------------------------------


def windows_of(bits: Bits, slope: float, intercept: float) -> dict[str, Window | None]:
    """Windows that hurt: as narrow as can be, on an edge of the values, far away, below zero, of odd numbers."""
    low, high = sorted((bits.least * slope + intercept, bits.most * slope + intercept))
    middle, span = (low + high) / 2, high - low
    on = round((middle - intercept) / slope) * slope + intercept
    # Where slopes have no exact binary form, whether a value lies on an edge is a matter of rounding: keep off it.
    on_edge = on + 0.5 + (0 if slope * 2 == int(slope * 2) else slope / 2)
    return {
        "middle": Window(middle, max(span / 2, 1)),
        "width 1": Window(on + 0.5 + slope / 2, 1),
        "width 1 with a value on its edge": Window(on_edge, 1),
        "width 2": Window(on + slope / 4, 2),
        "wide": Window(middle, span * 40),
        "negative centre": Window(low - 100, span + 300),
        "odd numbers": Window(middle + 0.3, span / 3 + 1.7),
        "below all values": Window(low - 1000, 50),
        "none": None,
    }


def grey_cases() -> list[Case]:
    """Every layout in both interpretations, each with every window; rescales take turns."""
    rescales = cycle(RESCALES)
    return [
        grey_case(bits, photometric, window, next(rescales))
        for bits in LAYOUTS
        for photometric in ("MONOCHROME2", "MONOCHROME1")
        for window in windows_of(bits, 1, 0)
    ]


def grey_case(bits: Bits, photometric: str, name: str, rescale: tuple[float, float], **more: Any) -> Case:
    """An image of this layout with one of `windows_of`."""
    slope, intercept = rescale
    window = windows_of(bits, slope, intercept)[name]
    values = _values(bits, window, slope, intercept)
    header = image(
        np.zeros(values.shape, np.uint8 if bits.allocated == 8 else np.uint16),
        PhotometricInterpretation=photometric,
        BitsStored=bits.stored,
        HighBit=bits.high,
        PixelRepresentation=int(bits.signed),
        RescaleSlope=f"{slope:g}",
        RescaleIntercept=f"{intercept:g}",
        WindowCenter=None if window is None else f"{window.center:.10g}",
        WindowWidth=None if window is None else f"{window.width:.10g}",
        PixelData=bits.words(values),
        **more,
    )
    sign = "signed" if bits.signed else "unsigned"
    layout = f"{bits.stored} of {bits.allocated} bits up to {bits.high} {sign}"
    return Case(f"{photometric}, {layout}, x{slope:g}{intercept:+g}, window: {name}", header)


def _values(bits: Bits, window: Window | None, slope: float, intercept: float) -> NDArray[np.int64]:
    """Int (rows, columns): the whole range, and all near the middle and the edges of the window, shuffled."""
    values = np.rint(np.linspace(bits.least, bits.most, ROWS * COLUMNS)).astype(np.int64)
    if window is not None:
        center, half = window.center, window.width / 2
        places = (np.array([center, center - half, center + half]) - intercept) / slope
        near = (np.rint(places)[:, None] + np.arange(-200, 200)).astype(np.int64).ravel()
        values[100 : 100 + len(near)] = np.clip(near, bits.least, bits.most)
    np.random.default_rng(bits.stored).shuffle(values)
    return values.reshape(ROWS, COLUMNS)


# --- colour ----------------------------------------------------------------------------------------------------


def colour_cases() -> list[Case]:
    """Uncompressed colour of every kind, and the kinds that only a codec makes."""
    smooth = _smooth()
    noise = np.random.default_rng(3).integers(0, 256, smooth.shape, dtype=np.uint8)
    rct = bytes(imagecodecs.jpeg2k_encode(smooth, codecformat="J2K", reversible=True, mct=True))
    ict = bytes(imagecodecs.jpeg2k_encode(smooth, level=45, codecformat="J2K", reversible=False, mct=True))
    return [
        _coloured("RGB", noise, "RGB"),
        _coloured("RGB, planes apart", noise, "RGB", planar=1),
        _coloured("RGB of 16 bits", noise.astype(np.uint16) * 257, "RGB"),
        _coloured("YBR_FULL", noise, "YBR_FULL"),
        _coloured("YBR_FULL, planes apart", noise, "YBR_FULL", planar=1),
        _coloured("YBR_FULL_422", noise, "YBR_FULL_422"),
        _compressed("RGB in RLE", _rle(noise), "RGB", RLE),
        _compressed("YBR_FULL in RLE", _rle(noise), "YBR_FULL", RLE),
        _compressed("YBR_FULL_422 in JPEG", _jpeg(smooth), "YBR_FULL_422", JPEG_BASELINE, tolerance=2),
        _compressed("YBR_RCT in JPEG 2000", rct, "YBR_RCT", JPEG_2000_LOSSLESS),
        _compressed("YBR_ICT in JPEG 2000", ict, "YBR_ICT", JPEG_2000, tolerance=2),
    ]


def palette_cases() -> list[Case]:
    """Indices and tables of 8 and 16 bits; a table that begins above 0 and ends before the indices do."""
    rng = np.random.default_rng(5)
    cases = []
    for size, entries, first, bits in ((8, 256, 0, 16), (8, 256, 0, 8), (8, 100, 50, 16), (16, 4096, 0, 16)):
        pixels = rng.integers(0, 256 if size == 8 else 4096, (ROWS, COLUMNS), dtype=np.dtype(f"u{size // 8}"))
        header = image(pixels, PhotometricInterpretation="PALETTE COLOR", WindowCenter=None, WindowWidth=None)
        for colour in ("Red", "Green", "Blue"):
            table = rng.integers(0, 1 << bits, entries, dtype=np.dtype(f"u{bits // 8}"))
            header.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [entries, first, bits])
            header.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.tobytes())
        cases.append(Case(f"PALETTE COLOR of {size} bits, {entries} entries of {bits} bits from {first}", header))
    return cases


def _smooth() -> NDArray[np.uint8]:
    """Gradients with sharp squares in them, uint8 (rows, columns, 3): a codec that halves the colour stays near."""
    down, across = np.mgrid[0:ROWS, 0:COLUMNS]
    planes = np.stack((across * 3.5, down * 3.9, (across + down) * 1.8), axis=-1)
    for place, colour in enumerate(((250, 5, 5), (5, 250, 5), (5, 5, 250), (255, 255, 255))):
        top, left = 8 + 24 * (place // 2), 8 + 24 * (place % 2)
        planes[top : top + 16, left : left + 16] = colour
    smooth: NDArray[np.uint8] = np.clip(planes, 0, 255).astype(np.uint8)
    return smooth


def _coloured(name: str, pixels: NDArray[Any], photometric: str, *, planar: int = 0) -> Case:
    if photometric == "YBR_FULL_422":
        data = np.concatenate((pixels[..., 0].reshape(ROWS, -1, 2), pixels[:, ::2, 1:]), axis=-1)
    else:
        data = np.moveaxis(pixels, -1, 0) if planar else pixels
    raw = np.ascontiguousarray(data).tobytes()
    return Case(name, image(pixels, PhotometricInterpretation=photometric, PlanarConfiguration=planar, PixelData=raw))


def _compressed(name: str, stream: bytes, photometric: str, syntax: str, *, tolerance: int = 1) -> Case:
    header = image(np.zeros((ROWS, COLUMNS, 3), np.uint8), PhotometricInterpretation=photometric)
    if tolerance > 1:
        header.LossyImageCompression = "01"
    header.PixelData = encapsulate([stream])
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = True
    return Case(name, header, syntax, tolerance)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, subsampling=1)
    return buffer.getvalue()


def _rle(pixels: NDArray[np.uint8]) -> bytes:
    """Three segments, one a sample (PS3.5 §G): literal runs are as good as any."""
    segments = []
    for plane in np.moveaxis(pixels, -1, 0).reshape(3, -1):
        runs = (plane[start : start + 128].tobytes() for start in range(0, plane.size, 128))
        packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(packed + b"\0" * (len(packed) % 2))
    starts = [64 + sum(map(len, segments[:place])) for place in range(3)]
    return np.array([3, *starts, *[0] * 12], "<u4").tobytes() + b"".join(segments)
