"""Radiographs out of pictures: what `import-images` wraps, so that a PNG goes the way every scan goes."""

import hashlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from radloop.core.errors import InvalidInput, UnsupportedPixels
from radloop.dicom.elements import EXPLICIT_LE

DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
IMPLEMENTATION = "2.25.139526018274650137528467215840913175302"

AI_REPORT, AI_CAPTURE, PROVENANCE = RESULTS = "ai-report", "ai-capture", "provenance"
"""Kinds of results that are written into a study, each into a series of its own for every image set."""

_DATE_DIGITS = 8


def uid_of(*parts: str) -> str:
    """A UID that is the same for the same parts, for ever (PS3.5 §B.2).

    >>> uid_of("study", "P-1") == uid_of("study", "P-1") != uid_of("study", "P-2")
    True
    """
    digest = hashlib.sha256("\0".join(("radloop", *parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def result_series(kind: str, image_set: str) -> str:
    """The UID of the series that results of a kind, one of `RESULTS`, are written to for an image set.

    >>> result_series("ai-report", "a") == uid_of("ai-report", "a")
    True
    """
    return uid_of(kind, image_set)


def xray_instance(
    pixels: NDArray[Any],
    *,
    patient_id: str,
    study_date: str = "",
    study_time: str = "",
    patient_name: str = "",
    patient_birth_date: str = "",
    patient_sex: str = "",
    view: str = "",
    study_key: str | None = None,
    spacing_mm: tuple[float, float] | None = None,
    was_lossy: bool = False,
    bits_stored: int | None = None,
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_uid: str | None = None,
) -> bytes:
    """Wrap the grey pixels of a picture as a Part 10 file, Explicit VR Little Endian.

    With a detector spacing it is a Digital X-Ray Image for Presentation; without one, which that class requires, a
    Secondary Capture, whose modality still is DX. UIDs follow from the patient, the date and the pixels: the same
    picture of the same patient is the same instance, so a second import is a duplicate.

    Args:
        pixels: uint8 or uint16 (rows, columns), brighter is denser.
        patient_id: PatientID.
        study_date: YYYYMMDD or empty.
        study_time: HHMMSS or empty.
        patient_name: PatientName, empty where unknown.
        patient_birth_date: YYYYMMDD or empty.
        patient_sex: M, F, O or empty.
        view: ViewPosition, such as PA or AP.
        study_key: What else tells studies of one patient and date apart; by default each picture is its own study.
        spacing_mm: Distance of neighbouring rows, then columns, at the detector.
        was_lossy: The picture was a JPEG: the instance says LossyImageCompression 01, whatever happens to it later.
        bits_stored: Bits in use; by default those of the type.
        study_uid: Instead of the UID that follows.
        series_uid: The same for the series.
        sop_uid: The same for the instance.

    Raises:
        UnsupportedPixels: Other than grey 8 or 16 bit pixels, or of no or more than 65,535 rows or columns.
        InvalidInput: A date, a patient id or a number of bits that DICOM cannot hold.
    """
    _check(pixels, patient_id, study_date, patient_birth_date, bits_stored)
    digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype.name}".encode() + pixels.tobytes()).hexdigest()
    study = ("study", patient_id, study_date, digest if study_key is None else study_key)
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.ImageType = ["DERIVED" if was_lossy else "ORIGINAL", "PRIMARY"]
    data_set.SOPClassUID = DIGITAL_X_RAY if spacing_mm else SECONDARY_CAPTURE
    data_set.SOPInstanceUID = sop_uid or uid_of("instance", *study, digest)
    data_set.StudyInstanceUID = study_uid or uid_of(*study)
    data_set.SeriesInstanceUID = series_uid or uid_of("series", *study)
    data_set.StudyDate, data_set.StudyTime = study_date, study_time
    data_set.ContentDate, data_set.ContentTime = study_date, study_time
    data_set.Modality = "DX"
    data_set.AccessionNumber = data_set.ReferringPhysicianName = data_set.StudyID = data_set.Manufacturer = ""
    data_set.PatientID, data_set.PatientName = patient_id, patient_name
    data_set.PatientBirthDate, data_set.PatientSex = patient_birth_date, patient_sex
    data_set.BodyPartExamined = "CHEST"
    data_set.ViewPosition = view
    data_set.SeriesNumber = data_set.InstanceNumber = 1
    data_set.BurnedInAnnotation = "NO"
    data_set.LossyImageCompression = "01" if was_lossy else "00"
    if was_lossy:
        data_set.LossyImageCompressionMethod = "ISO_10918_1"
    if spacing_mm:
        _add_detector(data_set, spacing_mm)
    else:
        data_set.ConversionType = "WSD"
    _add_pixels(data_set, pixels, bits_stored)
    return part10(data_set)


def _check(
    pixels: NDArray[Any], patient_id: str, study_date: str, patient_birth_date: str, bits_stored: int | None
) -> None:
    if pixels.ndim != 2 or pixels.dtype.name not in {"uint8", "uint16"}:  # noqa: PLR2004 — rows, columns
        raise UnsupportedPixels(f"a radiograph is uint8 or uint16 (rows, columns), not {pixels.dtype.name}")
    if not pixels.size or max(pixels.shape) > 0xFFFF:  # noqa: PLR2004 — Rows and Columns are 16 bits
        raise UnsupportedPixels("a radiograph has 1 to 65,535 rows and columns")
    if not patient_id.strip() or len(patient_id) > 64 or "\\" in patient_id:  # noqa: PLR2004 — a LO
        raise InvalidInput("PatientID must be 1 to 64 characters without a backslash")
    for keyword, date in (("StudyDate", study_date), ("PatientBirthDate", patient_birth_date)):
        if date and (len(date) != _DATE_DIGITS or not (date.isascii() and date.isdigit())):
            raise InvalidInput(f"{keyword} must be eight digits")
    if bits_stored is not None and (not 1 <= bits_stored <= pixels.itemsize * 8 or int(pixels.max()) >> bits_stored):
        raise InvalidInput(f"{bits_stored} bits do not hold these pixels")


def _add_detector(data_set: Dataset, spacing_mm: tuple[float, float]) -> None:
    """What the Digital X-Ray module asks for and a picture can tell (PS3.3 A.26)."""
    data_set.PresentationIntentType = "FOR PRESENTATION"
    data_set.ImagerPixelSpacing = [f"{value:.10g}" for value in spacing_mm]
    data_set.PixelIntensityRelationship = "LOG"
    data_set.PixelIntensityRelationshipSign = -1
    data_set.RescaleIntercept, data_set.RescaleSlope, data_set.RescaleType = "0", "1", "US"
    data_set.PresentationLUTShape = "IDENTITY"
    data_set.ImageLaterality = "U"
    data_set.PatientOrientation = ["L", "F"]


def _add_pixels(data_set: Dataset, pixels: NDArray[Any], bits_stored: int | None) -> None:
    bits = pixels.itemsize * 8
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.Rows, data_set.Columns = pixels.shape
    data_set.BitsAllocated = bits
    data_set.BitsStored = bits_stored or bits
    data_set.HighBit = data_set.BitsStored - 1
    data_set.PixelRepresentation = 0
    low, high = (float(value) for value in np.percentile(pixels, (0.5, 99.5)))
    data_set.WindowCenter, data_set.WindowWidth = f"{(low + high) / 2:.8g}", f"{max(high - low, 1.0):.8g}"
    raw = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    data_set.add_new("PixelData", "OB" if bits == 8 else "OW", raw + b"\0" * (len(raw) % 2))  # noqa: PLR2004


def part10(data_set: Dataset) -> bytes:
    """A data set that names its class and instance as a file of ours, Explicit VR Little Endian (PS3.10 §7)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.TransferSyntaxUID = UID(EXPLICIT_LE)
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "RADLOOP"
    data_set.file_meta = meta
    file = BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()
