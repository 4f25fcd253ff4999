"""What the leakage guards take for a copy, what they miss, and how long they look.

    python bench/guards.py

Pairs of different patients must never be taken for one picture; copies of a picture that somebody changed a little
should be. X-rays come from RADLOOP_TEST_DATA, at the 64 pixels of the small recipe; the others are phantoms.
"""

import csv
import os
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import dcmread
from report import Row, tell

from radloop.codec.pictures import grey_pixels
from radloop.core.datasets import Example, split_of
from radloop.dicom.phantom import phantom_study
from radloop.dicom.tiles import TileSpec, planes_of
from radloop.training.guards import Fingerprint, fingerprint, guards_of, near_duplicates

SPEC = TileSpec(64, 8, 16)
COPIED = 150
PHANTOMS = 60
MANY = 20_000
Picture = npt.NDArray[np.uint8]


def example(at: int, patient: str, split: str, *, label: int = 0, source: str = "", modality: str = "DX") -> Example:
    """An image set by itself, of a study by itself."""
    return Example(
        image_set=f"i{at}",
        version=1,
        patient=patient,
        split=split,
        label=label,
        modality=modality,
        file=f"i{at}.npy",
        study=f"s{at}",
        source=source,
    )


def print_of(picture: Picture) -> Fingerprint:
    """Of a radiograph, 8 bits."""
    volume = (picture.astype(np.float32) * np.float32(65535 / 255)).astype(np.uint16)[None]
    return fingerprint(planes_of(volume, "DX", SPEC), "DX")


def apart(prints: list[Fingerprint], patients: list[str]) -> tuple[int, float]:
    """How many pairs of different patients there are, and the highest correlation of any two of their planes."""
    best, pairs = 0.0, 0
    for at, one in enumerate(prints):
        others = [other for other in range(at) if patients[other] != patients[at]]
        pairs += len(others)
        if others:
            best = max(best, float((np.stack([prints[o].details for o in others]) @ one.details.T).max()))
    return pairs, best


def copies(picture: Picture) -> Iterator[tuple[str, Picture]]:
    """The same picture, changed a little."""
    rows, columns = picture.shape
    image, packed = Image.fromarray(picture), BytesIO()
    image.save(packed, "JPEG", quality=30)
    yield "JPEG, quality 30", np.asarray(Image.open(BytesIO(packed.getvalue())))
    yield "half the size", np.asarray(image.resize((columns // 2, rows // 2), Image.Resampling.LANCZOS))
    yield "gamma 0.67", (255 * (picture / 255.0) ** 0.67).astype(np.uint8)
    yield "gamma 1.5", (255 * (picture / 255.0) ** 1.5).astype(np.uint8)
    yield "another window", np.clip((picture - 30.0) * 1.3, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(1).normal(0, 6, picture.shape)
    yield "noise of 6 in 255", np.clip(picture + noise, 0, 255).astype(np.uint8)
    for percent in (1, 2):
        cut = max(1, round(percent / 100 * columns))
        yield f"cropped by {percent} % on each side", picture[cut : rows - cut, cut : columns - cut]


def of_x_rays(name: str, folder: Path) -> list[Row]:
    """What is taken for a copy among the X-rays of one source, and which copies are found."""
    with (folder / "labels.csv").open() as file:
        table = list(csv.DictReader(file))
    pictures = [np.asarray(grey_pixels((folder / row["file"]).read_bytes())[0]) for row in table]
    prints, patients = [print_of(each) for each in pictures], [row["patient_id"] for row in table]
    pairs, best = apart(prints, patients)
    dealt = [example(at, patient, str(split_of(patient))) for at, patient in enumerate(patients)]
    rows = [
        Row(f"{name}: highest correlation of {pairs:,} pairs of different patients", best, ""),
        Row(f"{name}: copies found where there are none", near_duplicates(dealt, prints).value, "pairs"),
    ]
    found: dict[str, int] = {}
    pair = [example(0, "a", "train"), example(1, "b", "test")]
    for picture, seen in list(zip(pictures, prints, strict=True))[:COPIED]:
        for change, copy in copies(picture):
            found[change] = found.get(change, 0) + (not near_duplicates(pair, [seen, print_of(copy)]).passed)
    return rows + [Row(f"{name}: {change}", 100 * count / COPIED, "% found") for change, count in found.items()]


def of_phantoms() -> list[Row]:
    """The same for phantom CTs, of which two planes must be alike."""
    prints = []
    for number in range(1, PHANTOMS + 1):
        files = phantom_study(number, consolidated=bool(number % 2)).files
        slices = sorted((dcmread(BytesIO(each)) for each in files), key=lambda one: float(one.ImagePositionPatient[2]))
        shades = [one.pixel_array.astype(np.float32) + float(one.RescaleIntercept) for one in slices]
        volume = np.clip(np.stack(shades), -2000, 3000).astype(np.int16)
        prints.append(fingerprint(planes_of(volume, "CT", SPEC), "CT"))
    pairs, best = apart(prints, [str(at) for at in range(PHANTOMS)])
    dealt = [example(at, str(at), "train" if at % 2 else "test", modality="CT") for at in range(PHANTOMS)]
    return [
        Row(f"phantom CTs: highest correlation of any planes of {pairs:,} pairs", best, ""),
        Row("phantom CTs: copies found where there are none", near_duplicates(dealt, prints).value, "pairs"),
    ]


def of_sources(data: Path) -> Row:
    """How far two honest hospitals together tell the label."""
    mixed = []
    for source in ("cxr-kermany", "cxr-nih"):
        with (data / source / "labels.csv").open() as file:
            for row in csv.DictReader(file):
                label, patient = int(row["label"] == "pneumonia"), row["patient_id"]
                mixed.append(example(len(mixed), patient, str(split_of(patient)), label=label, source=source))
    found = next(guard for guard in guards_of(mixed) if guard.name == "label-by-source")
    return Row("both hospitals together: AUC of the rule from source to label", found.value, "", found.limit, "limit")


def of_many() -> Row:
    """Processor time over very many pictures."""
    rng = np.random.default_rng(0)
    details = rng.standard_normal((MANY, 1, 1024), dtype=np.float32)
    details /= np.linalg.norm(details, axis=2, keepdims=True)
    prints = [Fingerprint(rng.integers(0, 2**63, 1, dtype=np.uint64), each) for each in details]
    dealt = [example(at, f"p{at}", str(split_of(f"p{at}"))) for at in range(MANY)]
    start = time.process_time()
    near_duplicates(dealt, prints)
    return Row(f"near-duplicates among {MANY:,} pictures", time.process_time() - start, "s of processor")


def main() -> None:
    """Measure and tell."""
    load = os.getloadavg()[0]
    data = Path(os.environ["RADLOOP_TEST_DATA"])
    rows = [row for name in ("cxr-kermany", "cxr-nih") for row in of_x_rays(name, data / name)]
    rows += [*of_phantoms(), of_sources(data), of_many()]
    tell("guards", f"X-rays of two sources, {COPIED} of each copied; {PHANTOMS} phantom CTs; 64 pixels", rows, load)


if __name__ == "__main__":
    main()
