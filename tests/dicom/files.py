"""Small DICOM files made in code, written by pydicom: an encoder that is not ours."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"

CT = "1.2.840.10008.5.1.4.1.1.2"
SECRET = "ZZSECRET"


def ct(pixels: NDArray[Any] | None = None, **attributes: Any) -> Dataset:
    """A CT instance of 4 x 6 pixels, or of these; an attribute of None is left out."""
    if pixels is None:
        pixels = np.arange(24, dtype=np.uint16).reshape(4, 6)
    data_set = Dataset()
    data_set.SOPClassUID = CT
    data_set.SOPInstanceUID = "1.2.3.4"
    data_set.StudyInstanceUID = "1.2.3"
    data_set.SeriesInstanceUID = "1.2.3.1"
    data_set.FrameOfReferenceUID = "1.2.3.9"
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data_set.Modality = "CT"
    data_set.PatientID = SECRET
    data_set.PatientName = f"{SECRET}^{SECRET}"
    data_set.StudyDate = "20200102"
    data_set.InstanceNumber = 7
    data_set.SeriesNumber = 2
    data_set.PixelSpacing = [0.5, 0.75]
    data_set.SliceThickness = 2
    data_set.ImagePositionPatient = [-1.5, 2, 30]
    data_set.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data_set.RescaleSlope = 1
    data_set.RescaleIntercept = -1024
    data_set.WindowCenter = [40, 50]
    data_set.WindowWidth = [400, 500]
    describe(data_set, pixels)
    change(data_set, attributes)
    return data_set


def describe(data_set: Dataset, pixels: NDArray[Any]) -> None:
    """Image description and pixel data of (rows, columns), or (rows, columns, 3) for RGB."""
    bits = pixels.itemsize * 8
    data_set.Rows, data_set.Columns = pixels.shape[:2]
    data_set.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    data_set.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        data_set.PlanarConfiguration = 0
    data_set.BitsAllocated = data_set.BitsStored = bits
    data_set.HighBit = bits - 1
    data_set.PixelRepresentation = int(pixels.dtype.kind == "i")
    raw = pixels.tobytes()
    data_set.add_new("PixelData", "OB" if bits == 8 else "OW", raw + b"\0" * (len(raw) % 2))


def change(data_set: Dataset, attributes: dict[str, Any]) -> None:
    """Set attributes by keyword, and leave out those that are None."""
    with quietly():
        for keyword, value in attributes.items():
            if value is None:
                del data_set[keyword]
            elif keyword == "PixelData":
                data_set["PixelData"]._value = value
            else:
                setattr(data_set, keyword, value)


@contextmanager
def quietly() -> Iterator[None]:
    """Without pydicom's warnings that what we make is wrong: it is made so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encapsulated(data_set: Dataset, frames: list[bytes], syntax: str = JPEG, **options: Any) -> bytes:
    """The file with these codestreams for pixel data."""
    data_set.NumberOfFrames = len(frames)
    data_set.PixelData = encapsulate(frames, **options)
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return written(data_set, syntax)


def written(data_set: Dataset, syntax: str = EXPLICIT_LE) -> bytes:
    """The data set as a Part 10 file."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = data_set.get("SOPClassUID") or CT
    meta.MediaStorageSOPInstanceUID = data_set.get("SOPInstanceUID") or "1.2"
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID("1.2.3.99")
    data_set.file_meta = meta
    data_set.preamble = bytes(128)
    file = BytesIO()
    # In parts, for save_as itself refuses what we test that we refuse.
    with quietly():
        data_set.save_as(
            file,
            implicit_vr=syntax == IMPLICIT_LE,
            little_endian=syntax != EXPLICIT_BE,
            enforce_file_format=False,
            force_encoding=True,
        )
    return file.getvalue()


def swapped(pixels: NDArray[Any]) -> bytes:
    """Pixels as a big endian file has them."""
    return pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()


def real_files(folder: str) -> Iterator[Path]:
    """Real images, or a skip that says why there are none."""
    root = os.environ.get("RADLOOP_TEST_DATA")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"RADLOOP_TEST_DATA names no folder with {folder}")
    return iter(sorted(path for path in (Path(root) / folder).iterdir() if path.is_file()))
