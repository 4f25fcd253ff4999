"""What a DICOM image must look like, worked out a second time: numpy, pydicom's reader, Pillow's decoders, float64.

Nothing here is shared with the store or the viewer, so that a fault of theirs cannot hide in it. Pixels are cut out of
the file by PS3.5 §8, turned into values by PS3.3 C.11.1, into greys by C.11.2 and into colours by C.7.6.3.1.2.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.rle import _rle_decode_frame as rle_decode_frame
from pydicom.uid import RLELossless

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

_TOP = 255.0


@dataclass(frozen=True, slots=True)
class Window:
    """A window in modality units, and the function it is one of (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    center: float
    width: float
    function: str = "LINEAR"


def picture(data: bytes, frame: int = 0, *, window: Window | None = None, is_inverted: bool = False) -> Picture:
    """One frame as a screen must show it, one screen pixel an image pixel.

    Args:
        data: A Part 10 file.
        frame: From 0.
        window: For grey images; by default the first one of the file, and where it has none the whole range of the
            frame's values.
        is_inverted: The reader has inverted the picture.

    Returns:
        uint8 (rows, columns, 3), RGB.
    """
    header = dcmread(BytesIO(data))
    stored = stored_values(header, frame)
    if stored.ndim == 3:
        shown = _rgb(stored, header)
    elif header.PhotometricInterpretation == "PALETTE COLOR":
        shown = _painted(stored, header)
    else:
        values = modality_values(stored, header)
        share = _windowed(values, window or _own(header, values))
        if header.PhotometricInterpretation == "MONOCHROME1":
            share = 1 - share
        shown = np.repeat(share[..., None] * _TOP, 3, axis=2)
    if is_inverted:
        shown = _TOP - shown
    return np.floor(np.clip(shown, 0, _TOP) + 0.5).astype(np.uint8)


def stored_values(header: Dataset, frame: int) -> NDArray[Any]:
    """Stored values of one frame: (rows, columns) or (rows, columns, 3), sign and bits as the file describes them."""
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        streams = generate_frames(header.PixelData, number_of_frames=int(header.get("NumberOfFrames", 1)))
        return _decompressed(list(streams)[frame], header)
    rows, columns, samples = int(header.Rows), int(header.Columns), int(header.SamplesPerPixel)
    allocated, bits, high = int(header.BitsAllocated), int(header.BitsStored), int(header.HighBit)
    words = np.frombuffer(header.PixelData, dtype={8: "<u1", 16: "<u2"}[allocated]).astype(np.int64)
    halved = header.PhotometricInterpretation == "YBR_FULL_422"
    size = rows * columns * (2 if halved else samples)
    words = words[frame * size : (frame + 1) * size]
    words = (words >> (high + 1 - bits)) & ((1 << bits) - 1)
    if header.PixelRepresentation == 1:
        words = np.where(words >= 1 << (bits - 1), words - (1 << bits), words)
    if halved:
        pairs = words.reshape(rows, columns // 2, 4)
        blue, red = pairs[..., 2].repeat(2, axis=1), pairs[..., 3].repeat(2, axis=1)
        return np.stack((pairs[..., :2].reshape(rows, columns), blue, red), axis=-1)
    if samples == 1:
        return words.reshape(rows, columns)
    if header.PlanarConfiguration == 1:
        return np.moveaxis(words.reshape(samples, rows, columns), 0, -1)
    return words.reshape(rows, columns, samples)


def modality_values(stored: NDArray[Any], header: Dataset) -> Floats:
    """Stored values after slope and intercept (PS3.3 C.11.1)."""
    return stored * float(header.get("RescaleSlope") or 1) + float(header.get("RescaleIntercept") or 0)


def _windowed(x: Floats, window: Window) -> Floats:
    """From 0, black, to 1, white: the pseudo code of PS3.3 C.11.2.1.2 and the formulas of C.11.2.1.3, word for word."""
    c, w = window.center, window.width
    if window.function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (x - c) / w))
    if window.function == "LINEAR_EXACT":
        return np.where(x <= c - w / 2, 0.0, np.where(x > c + w / 2, 1.0, (x - c) / w + 0.5))
    inside = np.zeros_like(x) if w == 1 else (x - (c - 0.5)) / (w - 1) + 0.5
    return np.where(x <= c - 0.5 - (w - 1) / 2, 0.0, np.where(x > c - 0.5 + (w - 1) / 2, 1.0, inside))


def _own(header: Dataset, values: Floats) -> Window:
    """The first window of the file; without one, black is the least value there is and white the greatest."""
    if header.get("WindowCenter") is None:
        low, high = float(values.min()), float(values.max())
        return Window((low + high) / 2, max(high - low, 1e-9), "LINEAR_EXACT")
    center, width = (np.atleast_1d(header[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
    return Window(float(center), float(width), str(header.get("VOILUTFunction") or "LINEAR"))


def _rgb(stored: NDArray[Any], header: Dataset) -> Floats:
    """RGB from 0 to 255. JPEG and JPEG 2000 come out of their decoder as RGB, whatever they are described as."""
    bits = int(header.BitsStored)
    planes = stored.astype(np.float64)
    syntax = header.file_meta.TransferSyntaxUID
    is_plain = syntax == RLELossless or not syntax.is_encapsulated
    if header.PhotometricInterpretation.startswith("YBR_FULL") and is_plain:
        luma, blue, red = planes[..., 0], planes[..., 1] - 2 ** (bits - 1), planes[..., 2] - 2 ** (bits - 1)
        green = (luma - 0.299 * (luma + 1.402 * red) - 0.114 * (luma + 1.772 * blue)) / 0.587
        planes = np.stack((luma + 1.402 * red, green, luma + 1.772 * blue), axis=-1)
    scaled: Floats = planes * (_TOP / (2**bits - 1))
    return scaled


def _painted(stored: NDArray[Any], header: Dataset) -> Floats:
    """Colours of a palette (PS3.3 C.7.9): below its first index is its first colour, above its last one its last."""
    planes = []
    for name in ("Red", "Green", "Blue"):
        entries, first, bits = header[f"{name}PaletteColorLookupTableDescriptor"].value
        data = header[f"{name}PaletteColorLookupTableData"].value
        table = np.frombuffer(data, dtype="<u2" if bits > 8 else "u1")[: entries or 65536]
        planes.append(table[np.clip(stored - first, 0, len(table) - 1)] * (_TOP / (2**bits - 1)))
    return np.stack(planes, axis=-1)


def _decompressed(stream: bytes, header: Dataset) -> NDArray[Any]:
    """A JPEG or JPEG 2000 frame by Pillow, an RLE frame by pydicom."""
    if header.file_meta.TransferSyntaxUID == RLELossless:
        plain = rle_decode_frame(stream, header.Rows, header.Columns, header.SamplesPerPixel, header.BitsAllocated)
        planes = np.frombuffer(plain, np.uint8).reshape(header.SamplesPerPixel, header.Rows, header.Columns)
        return np.moveaxis(planes, 0, -1).astype(np.int64)
    with Image.open(BytesIO(stream)) as image:
        pixels = np.asarray(image.convert("RGB") if header.SamplesPerPixel == 3 else image)
    return pixels.astype(np.int64)
