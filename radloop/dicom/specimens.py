"""Specimens: small instances of every kind a store must take, with the pixels one must get back.

They are of nobody. Every UID is fresh, under 2.25; every PatientID begins with `RADLOOP-CONFORM-`, every
StudyDescription says that it is test data.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import config, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID

from radloop.dicom.elements import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, RLE

CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_BYTES = "1.2.840.10008.5.1.4.1.1.7.2"
TEXT_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
"""JPEG 2000, lossless only."""

STUDY_DATE = "19870615"
PRIVATE_BYTES = bytes(range(256)) * 24
"""Value of (0009,1010) in every specimen: 6,144 bytes."""

_IMPLEMENTATION = UID("2.25.101735512990147233716225913418570236449")
_RLE_HEADER = 64


def fresh_uid() -> str:
    """A UID nobody used before (PS3.5 §B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def _token() -> str:
    return uuid.uuid4().hex[:8].upper()


@dataclass(frozen=True, slots=True)
class Specimen:
    """One instance as it is sent, and what is known of it.

    Attributes:
        data: The Part 10 file.
        frames: Its frames as stored values, (rows, columns) or (rows, columns, 3); none where it holds no pixels.
        raw: The frames as they lie in the file; for compressed ones, each codestream whole.
        syntax: Transfer syntax.
    """

    data: bytes
    study: str
    series: str
    instance: str
    sop_class: str
    syntax: str
    frames: tuple[NDArray[Any], ...] = ()
    raw: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Study:
    """A study to make instances of: one patient, one series, fresh UIDs.

    Attributes:
        token: Stands in PatientID and AccessionNumber, so that this study can be searched for.
        name: PatientName, with groups where they are wanted.
        charset: SpecificCharacterSet, one term or several.
        modality: Of the series.
    """

    token: str = field(default_factory=_token)
    name: str = ""
    charset: str | Sequence[str] = "ISO_IR 192"
    modality: str = "CT"
    uid: str = field(default_factory=fresh_uid)
    series: str = field(default_factory=fresh_uid)
    made: int = 0

    @property
    def patient_id(self) -> str:
        """PatientID of every instance."""
        return f"RADLOOP-CONFORM-{self.token}"

    @property
    def patient_name(self) -> str:
        """PatientName of every instance."""
        return self.name or f"Conform{self.token}^Specimen"

    def image(
        self,
        frames: Sequence[NDArray[Any]],
        *,
        sop_class: str = CT,
        syntax: str = EXPLICIT_LE,
        bits_stored: int | None = None,
        change: Mapping[str, Any] | None = None,
    ) -> Specimen:
        """An image of these frames.

        Args:
            frames: uint8, uint16 or int16 (rows, columns), or uint8 (rows, columns, 3) for RGB.
            sop_class: SOPClassUID.
            syntax: One of those named in this module.
            bits_stored: By default those of the type.
            change: Values by keyword that replace those of the data set; None takes the attribute out.
        """
        header = self._header(sop_class)
        _describe(header, frames, bits_stored)
        streams = [_encoded(frame, syntax) for frame in frames]
        _put_pixels(header, frames, streams, syntax)
        for keyword, value in (change or {}).items():
            _change(header, keyword, value)
        return Specimen(
            data=written(header, syntax),
            study=self.uid,
            series=self.series,
            instance=str(header.SOPInstanceUID).strip(" \0"),
            sop_class=sop_class,
            syntax=syntax,
            frames=tuple(frames),
            raw=tuple(streams),
        )

    def report(self) -> Specimen:
        """A structured report: no pixels, sequences in sequences."""
        header = self._header(TEXT_REPORT)
        header.Modality = "SR"
        header.CompletionFlag, header.VerificationFlag = "COMPLETE", "UNVERIFIED"
        header.ValueType, header.ContinuityOfContent = "CONTAINER", "SEPARATE"
        header.ConceptNameCodeSequence = Items([_code("126000", "Imaging Measurement Report")])
        text = Dataset()
        text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
        text.ConceptNameCodeSequence = Items([_code("121071", "Finding")])
        text.TextValue = "Test data, no finding"
        header.ContentSequence = Items([text])
        return Specimen(
            data=written(header, EXPLICIT_LE),
            study=self.uid,
            series=self.series,
            instance=str(header.SOPInstanceUID),
            sop_class=TEXT_REPORT,
            syntax=EXPLICIT_LE,
        )

    def _header(self, sop_class: str) -> Dataset:
        self.made += 1
        header = Dataset()
        header.SpecificCharacterSet = self.charset if isinstance(self.charset, str) else list(self.charset)
        header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        header.SOPClassUID, header.SOPInstanceUID = sop_class, fresh_uid()
        header.StudyDate, header.StudyTime = STUDY_DATE, "101500"
        header.SeriesDate, header.SeriesTime = STUDY_DATE, "101501"
        header.AccessionNumber = f"RC{self.token}"
        header.Modality = self.modality
        header.Manufacturer = "radloop"
        header.ReferringPhysicianName = ""
        header.StudyDescription = "radloop conform test data"
        header.SeriesDescription = "Specimens"
        header.PatientName, header.PatientID = self.patient_name, self.patient_id
        header.PatientBirthDate, header.PatientSex = "19000101", "O"
        header.StudyInstanceUID, header.SeriesInstanceUID = self.uid, self.series
        header.FrameOfReferenceUID = f"{self.uid[:-2]}1"
        header.StudyID, header.SeriesNumber, header.InstanceNumber = "1", 1, self.made
        block = header.private_block(0x0009, "RADLOOP CONFORM", create=True)
        block.add_new(0x10, "OB", PRIVATE_BYTES)
        block.add_new(0x11, "LO", "kept")
        return header


def slice_of(number: int, *, rows: int = 48, columns: int = 64) -> NDArray[np.int16]:
    """A made-up CT slice, int16 (rows, columns), HU; -2000 outside a circle, as scanners pad."""
    grain = np.random.default_rng(number)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    body = np.where(x**2 + y**2 < 0.5, 40.0 + 30 * x, -1000.0) + grain.normal(0, 20, (rows, columns))  # noqa: PLR2004
    body[x**2 + y**2 > 1.2] = -2000  # noqa: PLR2004 — the corners
    return np.rint(body).astype(np.int16)


def bytes_of(number: int, *, rows: int = 32, columns: int = 40, samples: int = 1) -> NDArray[np.uint8]:
    """A smooth made-up picture with a little noise, uint8 (rows, columns[, samples])."""
    grain = np.random.default_rng(number)
    ramp = np.add.outer(np.linspace(10, 120, rows), np.linspace(0, 110, columns))
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    noise = grain.integers(0, 12, shape)
    return ((ramp if samples == 1 else ramp[..., None]) + noise).astype(np.uint8)


def native(frame: NDArray[Any]) -> bytes:
    """The bytes of a frame as an uncompressed part of a DICOMweb answer holds them: little endian, pixel by pixel."""
    return frame.astype(frame.dtype.newbyteorder("<")).tobytes()


def _big_endian(frame: NDArray[Any]) -> bytes:
    return frame.astype(frame.dtype.newbyteorder(">")).tobytes()


def written(header: Dataset, syntax: str) -> bytes:
    """A Part 10 file of this data set, in one of the transfer syntaxes of this module."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(header.SOPClassUID).strip(" \0"))
    meta.MediaStorageSOPInstanceUID = UID(str(header.SOPInstanceUID).strip(" \0"))
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "RADLOOP_CONFORM"
    header.file_meta = meta
    out = BytesIO()
    dcmwrite(
        out,
        header,
        implicit_vr=syntax == IMPLICIT_LE,
        little_endian=syntax != EXPLICIT_BE,
        enforce_file_format=True,
    )
    return out.getvalue()


def elements_of(data: bytes) -> dict[str, Any]:
    """What a Part 10 file says, for comparison: `syntax`, `pixels` and the value of each attribute by its tag.

    Raises:
        ValueError: It is no Part 10 file, or breaks off.
    """
    if data[128:132] != b"DICM":
        raise ValueError("no Part 10 file")
    try:
        found = dcmread(BytesIO(data))
        values = {f"{element.tag:08X}": _plain(element) for element in found if element.tag != 0x7FE00010}  # noqa: PLR2004
    except Exception as error:
        raise ValueError("a Part 10 file that cannot be read") from error
    return {"syntax": str(found.file_meta.TransferSyntaxUID), "pixels": found.get("PixelData"), **values}


def _plain(element: Any) -> Any:
    if element.VR == "SQ":
        return [{f"{each.tag:08X}": _plain(each) for each in item} for item in element.value]
    return str(element.value) if element.VR != "OB" else bytes(element.value)


def _change(header: Dataset, keyword: str, value: Any) -> None:
    """Replace a value by one that may be illegal, or take the attribute out."""
    if value is None:
        delattr(header, keyword)
        return
    tag = Tag(keyword)
    header[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _describe(header: Dataset, frames: Sequence[NDArray[Any]], bits_stored: int | None) -> None:
    """Image Pixel module (PS3.3 C.7.6.3) and what a CT or a secondary capture asks for besides."""
    first = frames[0]
    bits = first.itemsize * 8
    is_colour = first.ndim == 3  # noqa: PLR2004 — rows, columns, samples
    header.SamplesPerPixel = 3 if is_colour else 1
    header.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        header.PlanarConfiguration = 0
    if header.SOPClassUID == MULTI_FRAME_BYTES or len(frames) > 1:
        header.NumberOfFrames = len(frames)
    header.Rows, header.Columns = first.shape[:2]
    header.BitsAllocated, header.BitsStored = bits, bits_stored or bits
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(first.dtype.kind == "i")
    if header.SOPClassUID != CT:
        header.ConversionType = "WSD"
        return
    header.KVP, header.RescaleIntercept, header.RescaleSlope = "120", "0", "1"
    header.WindowCenter, header.WindowWidth = "40", "400"
    header.SliceThickness, header.PixelSpacing = "2.5", ["0.75", "0.75"]
    header.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    header.ImagePositionPatient = ["-24", "-18", f"{2.5 * header.InstanceNumber:g}"]


def _encoded(frame: NDArray[Any], syntax: str) -> bytes:
    if syntax == JPEG_2000:
        return bytes(imagecodecs.jpeg2k_encode(frame, reversible=True, codecformat="J2K", level=0))
    if syntax == JPEG_LS:
        return bytes(imagecodecs.jpegls_encode(frame))
    if syntax == JPEG_BASELINE:
        return bytes(imagecodecs.jpeg8_encode(frame, level=90))
    if syntax == RLE:
        return _run_lengths(frame)
    return native(frame)


def _run_lengths(frame: NDArray[Any]) -> bytes:
    """One frame as RLE (PS3.5 §G): literal runs only, which is legal, planes from the high byte down."""
    planes = frame.astype(frame.dtype.newbyteorder(">")).reshape(-1, 1).view(np.uint8).T
    segments = []
    for plane in planes:
        raw = plane.tobytes()
        runs = b"".join(bytes([len(run) - 1]) + run for run in (raw[at : at + 128] for at in range(0, len(raw), 128)))
        segments.append(runs + b"\0" * (len(runs) % 2))
    starts = np.cumsum([_RLE_HEADER, *(len(segment) for segment in segments[:-1])])
    head = np.zeros(16, "<u4")
    head[0] = len(segments)
    head[1 : 1 + len(segments)] = starts
    return head.tobytes() + b"".join(segments)


def _put_pixels(header: Dataset, frames: Sequence[NDArray[Any]], streams: Sequence[bytes], syntax: str) -> None:
    vr = "OB" if frames[0].itemsize == 1 else "OW"
    if syntax in {IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE}:
        lie = _big_endian if syntax == EXPLICIT_BE else native
        raw = b"".join(lie(frame) for frame in frames)
        header.add_new("PixelData", vr, raw + b"\0" * (len(raw) % 2))
        return
    per_frame = 2 if syntax == JPEG_BASELINE else 1  # a JPEG in two fragments, which one has to join
    header.add_new("PixelData", "OB", encapsulate(list(streams), fragments_per_frame=per_frame, has_bot=True))
    header["PixelData"].is_undefined_length = True
    if syntax == JPEG_BASELINE:
        header.LossyImageCompression, header.LossyImageCompressionMethod = "01", "ISO_10918_1"
