"""Phantom chest CT studies: made-up patients as real Part 10 files, for tests, benchmarks and the first run.

A study is drawn from a seed and a patient number and nothing else, so it is the same bytes on every machine. Half of
what makes lung CT hard is put in on purpose and in both classes: patients of every size and depth of breath, scanners
with their own noise, sharpness and calibration, nodules, scars, fluid, collapsed lung along the back, arms and table.
Statistics of the whole image therefore say little about the label; where the dense lung lies, and its texture, do.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from radloop.core.datasets import Split, split_of
from radloop.dicom.anatomy import (
    Chest,
    Consolidation,
    Grid,
    consolidated_share,
    draw_chest,
    draw_consolidation,
    lung_share,
    render,
)

_IMPLEMENTATION_UID: Final = UID("2.25.279408318404283415013407046134893251957")
_AIR_HU: Final = -1000.0


@dataclass(frozen=True, slots=True)
class PhantomStudy:
    """One made-up patient's one series.

    Attributes:
        patient_id: `PHANTOM-` and five digits.
        label: 1 where part of a lobe is consolidated, else 0.
        site: The lobe (RUL, RML, RLL, LUL, LLL), or None.
        files: Part 10 files, one a slice, in the order of their InstanceNumber.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
    """

    patient_id: str
    label: int
    site: str | None
    files: tuple[bytes, ...]
    study_uid: str
    series_uid: str


@dataclass(frozen=True, slots=True)
class Scanner:
    """A kind of scanner: what it writes and how its images look.

    Attributes:
        signed: Stored values are int16, else uint16.
        intercept: RescaleIntercept; HU = stored value + intercept.
        outside: Stored value outside the reconstruction circle, or None where air is measured there.
        head_first: Instance 1 is the slice nearest the head.
        noise_hu: Standard deviation of the noise in a patient of middle size.
        smooth: How often the kernel averages neighbours; 0 is a sharp kernel.
    """

    manufacturer: str
    model: str
    kernel: str
    signed: bool
    intercept: int
    outside: int | None
    head_first: bool
    noise_hu: float
    smooth: int


SCANNERS: Final = (
    Scanner("Northlight Imaging", "Aurora 64", "L50", False, -1024, None, True, 38.0, 0),
    Scanner("Halden Tomography", "HT-128", "STANDARD", True, 0, -2000, False, 30.0, 1),
    Scanner("Corvex Medical", "CX Lucid", "SOFT", False, -1024, None, True, 44.0, 2),
)


def phantom_study(number: int, *, consolidated: bool, seed: int = 7, slices: int = 16, size: int = 256) -> PhantomStudy:
    """One study; the same arguments always give the same bytes.

    Patient `number` with and without a consolidation is the same patient in the same scanner.

    Args:
        number: Of the patient, 0..99999.
        consolidated: Fill part of one lobe.
        seed: Of the whole cohort.
        slices: How many, evenly over the whole chest. At least 1.
        size: Rows and columns.

    Returns:
        The study, int16 or uint16 files in Explicit VR Little Endian.

    Raises:
        ValueError: `number`, `slices` or `size` is out of range.
    """
    if not 0 <= number <= 99_999 or slices < 1 or size < 16:  # noqa: PLR2004 — the limits are stated above
        raise ValueError("a phantom needs a number in 0..99999, at least 1 slice and at least 16 pixels")
    rng = np.random.default_rng([seed, number])
    female, chest, scanner, grid = _draw_patient(rng, slices, size)
    offset_hu = float(rng.normal(0, 9))
    noise_hu = scanner.noise_hu * float(rng.uniform(0.7, 1.3)) * (chest.half_width_mm / 165.0) ** 2
    header = _header(rng, number, seed, female=female, scanner=scanner, grid=grid, consolidated=consolidated)
    filled = _place_consolidation(chest, number=number, seed=seed, slices=slices) if consolidated else None
    files = []
    for instance, z in enumerate(_heights(chest, scanner, slices), start=1):
        grain = np.random.default_rng([seed, number, instance])
        hu = render(chest, grid, float(z), filled) + _noise(grain, size, noise_hu, scanner.smooth) + offset_hu
        files.append(_write(header, _stored(hu, scanner), instance=instance, z=float(z), grid=grid))
    return PhantomStudy(
        patient_id=str(header.PatientID),
        label=int(consolidated),
        site=filled.site if filled else None,
        files=tuple(files),
        study_uid=str(header.StudyInstanceUID),
        series_uid=str(header.SeriesInstanceUID),
    )


def phantom_cohort(
    *, per_class: Mapping[Split, int], seed: int = 7, slices: int = 16, size: int = 256
) -> Iterator[PhantomStudy]:
    """Studies until every part of the data set holds `per_class` patients of each class.

    Patients are visited by number; the part is the one `split_of` gives them, for ever, so a patient whose part is
    full is passed over. Which class a patient gets is drawn from the seed while both are still wanted.
    """
    wanted = {(split, label): per_class.get(split, 0) for split in Split for label in (0, 1)}
    coin = np.random.default_rng([seed, 0xC01])
    for number in count(1):
        if not any(wanted.values()):
            return
        split = split_of(_patient_id(number))
        open_labels = [label for label in (0, 1) if wanted[split, label] > 0]
        if open_labels:
            label = int(coin.choice(open_labels))
            wanted[split, label] -= 1
            yield phantom_study(number, consolidated=bool(label), seed=seed, slices=slices, size=size)


def lesion_mask(number: int, *, seed: int = 7, slices: int = 16, size: int = 256) -> npt.NDArray[np.bool_]:
    """Where the consolidation of `phantom_study(number, consolidated=True, ...)` lies.

    Args:
        number: Of the patient.
        seed: Of the cohort.
        slices: As the study was made with.
        size: The same.

    Returns:
        bool (slices, rows, columns), in the order of the study's files: pixels of which half or more is dense
        consolidated lung.
    """
    _, chest, scanner, grid = _draw_patient(np.random.default_rng([seed, number]), slices, size)
    filled = _place_consolidation(chest, number=number, seed=seed, slices=slices)
    shares = [consolidated_share(chest, grid, float(z), filled) for z in _heights(chest, scanner, slices)]
    return np.stack(shares) >= 0.5  # noqa: PLR2004 — stated above


def _draw_patient(rng: np.random.Generator, slices: int, size: int) -> tuple[bool, Chest, Scanner, Grid]:
    """Whether a woman, her or his chest, the scanner and the field of view; everything else is drawn after them."""
    female = bool(rng.random() < 0.5)  # noqa: PLR2004
    chest = draw_chest(rng, female=female, slices=slices)
    scanner = SCANNERS[int(rng.integers(len(SCANNERS)))]
    return female, chest, scanner, _draw_grid(rng, chest, slices, size)


def _heights(chest: Chest, scanner: Scanner, slices: int) -> npt.NDArray[np.float64]:
    """Heights of the slices' middles in millimetres, in the order of their instances: float64 (slices,)."""
    middles = (np.arange(slices) + 0.5) * (chest.length_mm / slices)
    return np.asarray(middles[::-1] if scanner.head_first else middles, dtype=np.float64)


def _patient_id(number: int) -> str:
    return f"PHANTOM-{number:05d}"


def _uid(*parts: object) -> str:
    """A UID under 2.25 (PS3.5 B.2) that follows from its parts."""
    digest = hashlib.sha256(":".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _draw_grid(rng: np.random.Generator, chest: Chest, slices: int, size: int) -> Grid:
    """A field of view a little wider than the patient, and a patient who does not lie in its middle."""
    field_mm = 2 * chest.half_width_mm * float(rng.uniform(1.04, 1.40))
    at = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(field_mm / size)
    x, y = at + np.float32(rng.normal(0, 7)), at + np.float32(rng.normal(6, 9))
    return Grid(x=x[None, :], y=y[:, None], spacing_mm=field_mm / size, thickness_mm=chest.length_mm / slices)


def _place_consolidation(chest: Chest, *, number: int, seed: int, slices: int) -> Consolidation:
    """The first draw that lies mostly inside the lung, so that no positive study is positive in name only."""
    rng = np.random.default_rng([seed, number, 0xF111ED])
    while True:
        filled = draw_consolidation(rng, chest, slices=slices)
        if lung_share(chest, filled) > 0.6:  # noqa: PLR2004
            return filled


def _noise(rng: np.random.Generator, size: int, sigma_hu: float, smooth: int) -> npt.NDArray[np.float32]:
    """Noise of one slice as the reconstruction kernel leaves it, float32 (size, size)."""
    grain = rng.standard_normal((size + 2 * smooth, size + 2 * smooth), dtype=np.float32) * np.float32(sigma_hu)
    for _ in range(smooth):
        grain = 0.25 * grain[:-2] + 0.5 * grain[1:-1] + 0.25 * grain[2:]
        grain = 0.25 * grain[:, :-2] + 0.5 * grain[:, 1:-1] + 0.25 * grain[:, 2:]
    return grain


def _stored(hu: npt.NDArray[np.float32], scanner: Scanner) -> npt.NDArray[np.int16] | npt.NDArray[np.uint16]:
    """Stored values of one slice; 12 bits unless the scanner writes signed ones."""
    values: npt.NDArray[np.float32] = np.rint(np.maximum(hu, _AIR_HU - 24) - np.float32(scanner.intercept))
    if not scanner.signed:
        return np.clip(values, 0, 4095).astype(np.uint16)
    stored = values.astype(np.int16)
    if scanner.outside is not None:
        at = np.linspace(-1, 1, stored.shape[0])
        stored[at[:, None] ** 2 + at[None, :] ** 2 > 1.0] = scanner.outside
    return stored


def _header(
    rng: np.random.Generator,
    number: int,
    seed: int,
    *,
    female: bool,
    scanner: Scanner,
    grid: Grid,
    consolidated: bool,
) -> Dataset:
    """Everything the slices of one series have in common."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID = CTImageStorage
    header.StudyDate = f"{int(rng.integers(2021, 2026))}{int(rng.integers(1, 13)):02d}{int(rng.integers(1, 29)):02d}"
    header.StudyTime = f"{int(rng.integers(7, 20)):02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}"
    header.SeriesDate, header.SeriesTime = header.StudyDate, header.StudyTime
    header.AccessionNumber = f"PH{number:05d}"
    header.Modality = "CT"
    header.Manufacturer = scanner.manufacturer
    header.ManufacturerModelName = scanner.model
    header.ReferringPhysicianName = ""
    header.StudyDescription = "CT chest (phantom)"
    header.SeriesDescription = f"Phantom chest {scanner.kernel}"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.PatientName = f"Phantom^{number:05d}"
    header.PatientID = _patient_id(number)
    header.PatientSex = "F" if female else "M"
    age = int(rng.integers(22, 90))
    header.PatientAge = f"{age:03d}Y"
    header.PatientBirthDate = f"{int(header.StudyDate[:4]) - age}0101"
    header.BodyPartExamined = "CHEST"
    header.KVP = str(rng.choice((100, 120)))
    header.ConvolutionKernel = scanner.kernel
    header.PatientPosition = "HFS"
    header.StudyInstanceUID = _uid("study", seed, number, consolidated)
    header.SeriesInstanceUID = _uid("series", seed, number, consolidated, grid.thickness_mm, grid.spacing_mm)
    header.FrameOfReferenceUID = _uid("frame", seed, number, consolidated)
    header.PositionReferenceIndicator = ""
    header.StudyID = "1"
    header.SeriesNumber = 1
    header.SliceThickness = _decimal(grid.thickness_mm)
    header.SpacingBetweenSlices = _decimal(grid.thickness_mm)
    header.PixelSpacing = [_decimal(grid.spacing_mm)] * 2
    header.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    _describe_pixels(header, scanner)
    return header


def _describe_pixels(header: Dataset, scanner: Scanner) -> None:
    """Image Pixel and Modality LUT attributes (PS3.3 C.7.6.3, C.11.1) but for rows and columns."""
    bits = 16 if scanner.signed else 12
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, bits, bits - 1
    header.PixelRepresentation = int(scanner.signed)
    if scanner.outside is not None:
        header.add_new("PixelPaddingValue", "SS", scanner.outside)
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = str(scanner.intercept), "1", "HU"
    header.WindowCenter, header.WindowWidth = "-600", "1500"


def _decimal(value: float) -> str:
    """A number in at most 16 characters (PS3.5 §6.2, DS)."""
    return f"{value:.6f}"


def _write(
    header: Dataset,
    stored: npt.NDArray[np.int16] | npt.NDArray[np.uint16],
    *,
    instance: int,
    z: float,
    grid: Grid,
) -> bytes:
    """One slice as a Part 10 file."""
    slice_ = Dataset()
    slice_.update(header)
    slice_.SOPInstanceUID = _uid("slice", header.SeriesInstanceUID, instance, *stored.shape)
    slice_.InstanceNumber = instance
    slice_.ImagePositionPatient = [_decimal(float(grid.x[0, 0])), _decimal(float(grid.y[0, 0])), _decimal(z)]
    slice_.SliceLocation = _decimal(z)
    slice_.Rows, slice_.Columns = stored.shape
    slice_.add_new("PixelData", "OW", stored.astype(stored.dtype.newbyteorder("<")).tobytes())
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    meta.ImplementationVersionName = "RADLOOP_PHANTOM"
    slice_.file_meta = meta
    out = BytesIO()
    dcmwrite(out, slice_, enforce_file_format=True)
    return out.getvalue()
