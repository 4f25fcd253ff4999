"""Secondary captures: a drawn picture as one frame of RGB, in the study it was drawn from (PS3.3 A.8)."""

from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from radloop import __version__
from radloop.core.errors import UnsupportedPixels
from radloop.dicom.make import SECONDARY_CAPTURE, part10
from radloop.dicom.report import MANUFACTURER
from radloop.dicom.subject import KeyPicture, Subject

MODALITY: Final = "OT"
_SOURCE: Final = ("121322", "DCM", "Source image for image processing operation")


def capture_file(
    pixels: npt.NDArray[np.uint8],
    subject: Subject,
    *,
    source: KeyPicture,
    sop_uid: str,
    series_uid: str,
    series_number: int,
    instance_number: int,
    series_description: str,
    model_name: str,
    derivation: str,
    at: datetime,
    was_lossy: bool = False,
) -> bytes:
    """A picture with words in it as a Part 10 file, Explicit VR Little Endian; the same arguments are the same bytes.

    Args:
        pixels: uint8 (rows, columns, 3), RGB, with everything that must be read burned in.
        subject: Whose picture it is: patient, study and the series it was drawn from.
        source: The image it was drawn from.
        sop_uid: Of the capture.
        series_uid: Of the series it goes to.
        series_number: Of that series.
        instance_number: Of the capture in it.
        series_description: Of that series.
        model_name: ManufacturerModelName.
        derivation: How it was made, in words.
        at: When; written in UTC.
        was_lossy: The source had lost something to compression, which stays true of what is drawn from it.

    Raises:
        UnsupportedPixels: Other than 8-bit RGB, or of no or more than 65,535 rows or columns.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:  # noqa: PLR2004 — rows, columns, RGB
        raise UnsupportedPixels(f"a capture is uint8 (rows, columns, 3), not {pixels.dtype.name} {pixels.ndim} axes")
    if not pixels.size or max(pixels.shape[:2]) > 0xFFFF:  # noqa: PLR2004 — Rows and Columns are 16 bits
        raise UnsupportedPixels("a capture has 1 to 65,535 rows and columns")
    moment = at.astimezone(UTC)
    date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    capture = Dataset()
    capture.SpecificCharacterSet = "ISO_IR 192"
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    capture.SOPClassUID, capture.SOPInstanceUID = SECONDARY_CAPTURE, sop_uid
    subject.add_to(capture)
    capture.SeriesInstanceUID = series_uid
    capture.InstanceCreationDate = capture.ContentDate = capture.DateOfSecondaryCapture = date
    capture.InstanceCreationTime = capture.ContentTime = capture.TimeOfSecondaryCapture = time
    capture.Modality = MODALITY
    capture.ConversionType = "WSD"
    capture.Manufacturer, capture.ManufacturerModelName = MANUFACTURER, model_name
    capture.SoftwareVersions = __version__
    capture.SeriesNumber, capture.InstanceNumber = series_number, instance_number
    capture.SeriesDescription = series_description
    capture.Laterality = capture.PatientOrientation = None
    capture.BurnedInAnnotation = "YES"
    capture.DerivationDescription = derivation
    capture.SourceImageSequence = [_source(source)]
    capture.LossyImageCompression = "01" if was_lossy else "00"
    _add_pixels(capture, pixels)
    return part10(capture)


def _source(key: KeyPicture) -> Dataset:
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = _SOURCE
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = key.picture.sop_class, key.picture.sop_uid
    if key.frame is not None:
        source.ReferencedFrameNumber = key.frame
    source.PurposeOfReferenceCodeSequence = [purpose]
    return source


def _add_pixels(capture: Dataset, pixels: npt.NDArray[np.uint8]) -> None:
    capture.SamplesPerPixel, capture.PlanarConfiguration = 3, 0
    capture.PhotometricInterpretation = "RGB"
    capture.Rows, capture.Columns = pixels.shape[:2]
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit, capture.PixelRepresentation = 7, 0
    raw = np.ascontiguousarray(pixels).tobytes()
    capture.add_new("PixelData", "OB", raw + b"\0" * (len(raw) % 2))
