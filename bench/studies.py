"""Studies that benchmarks run on: real ones where they are at hand, phantoms of the same size elsewhere."""

import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom

from radloop.dicom.parse import parse
from radloop.dicom.phantom import phantom_study

_SLICES = 64
_SIZE = 512
_PHANTOM_SLICES = 8  # made once each, then repeated under other instance UIDs: making them is slow


@dataclass(frozen=True, slots=True)
class Study:
    """One series as files, and what to call it where figures stand."""

    name: str
    files: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files))


def real_study(folder: str, name: str) -> Study | None:
    """The study in a folder below RADLOOP_TEST_DATA, or None where there is none."""
    root = os.environ.get("RADLOOP_TEST_DATA")
    files = sorted(Path(root, folder).glob("*.dcm")) if root else []
    return Study(f"{name}, {len(files)} real files", tuple(file.read_bytes() for file in files)) if files else None


def chest_study() -> Study:
    """64 slices of a real chest CT, or a phantom of the same size, which its name says."""
    found = real_study("ct-chest-philips", "Philips chest CT 512x512")
    if found is not None:
        return found
    few = phantom_study(1, consolidated=True, slices=_PHANTOM_SLICES, size=_SIZE).files
    files = tuple(_renamed(few[number % len(few)], "sop", number) for number in range(_SLICES))
    return Study(f"PHANTOM CT {_SIZE}x{_SIZE}, {_SLICES} files, no real ones at hand", files)


def copy_of(study: Study, number: int) -> Study:
    """The same study as another series, so that it lands as new; file lengths do not change."""
    return Study(study.name, tuple(_renamed(file, "series", number) for file in study.files))


def _renamed(file: bytes, which: str, number: int) -> bytes:
    """`file` with the last four digits of one of its UIDs replaced by `number`."""
    found = parse(file)
    uid = found.series_uid if which == "series" else found.sop_uid
    return file.replace(uid.encode(), f"{uid[:-5]}1{number:04d}".encode())


def long_series(count: int, number: int) -> Iterator[bytes]:
    """One series of `count` slices, 0.5 mm apart, as files.

    Their pixels are those of `chest_study`, there and back again, so that neighbours look alike and every slice has the
    noise, and so the size, of a real one. `number` makes it another study.
    """
    templates = [_template(file, number) for file in chest_study().files]
    there_and_back = [*range(len(templates)), *range(len(templates) - 2, 0, -1)]
    for place in range(count):
        file = templates[there_and_back[place % len(there_and_back)]]
        for mark, value in _marks(place).items():
            file = file.replace(mark, value)
        yield file


def _marks(place: int) -> dict[bytes, bytes]:
    """What is different in each slice: as it stands in a template, and in the slice; lengths are the same."""
    return {
        b".4711.999999": f".4711.1{place:05d}".encode(),
        b"-9999.50": f"{-0.5 * place:08.2f}".encode(),
        b"99999 ": f"{place + 1:05d} ".encode(),
    }


def _template(file: bytes, number: int) -> bytes:
    """A slice with marks where its place stands."""
    dataset = pydicom.dcmread(io.BytesIO(file))
    x, y, _ = dataset.ImagePositionPatient
    uid = f"2.25.{number}{zlib.crc32(str(dataset.StudyInstanceUID).encode())}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{uid}.1", f"{uid}.2"
    dataset.FrameOfReferenceUID = f"{uid}.3"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.4711.999999"
    dataset.ImagePositionPatient = [str(x), str(y), "-9999.50"]
    dataset.InstanceNumber = "99999"
    for keyword in ("SliceLocation", "SpacingBetweenSlices"):
        if keyword in dataset:
            del dataset[keyword]
    written = io.BytesIO()
    dataset.save_as(written)
    marked = written.getvalue()
    for mark, times in zip(_marks(0), (2, 1, 1), strict=True):
        assert marked.count(mark) == times, f"{mark!r} stands {marked.count(mark)} times in a template"
    return marked
