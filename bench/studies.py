"""Studies that benchmarks run on: real ones where they are at hand, phantoms of the same size elsewhere."""

import os
from dataclasses import dataclass
from pathlib import Path

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
