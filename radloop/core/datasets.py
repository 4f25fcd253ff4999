"""What a data set is: which patient's images teach, tune, and only ever test, and what is written down of each."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final

from radloop.core.errors import InvalidInput

UNKNOWN: Final = "unknown"
"""Stands for every fact about an image set that nobody told."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_AGE: Final = re.compile(r"([0-9]{3})([DWMY])")
_DAY: Final = re.compile(r"[0-9]{8}")
_VIEWS: Final = frozenset({"AP", "PA", "LL", "RL", "LLD", "RLD", "LLO", "RLO"})
_DECIMALS: Final = 6
_LONGEST_SCANNER: Final = 64


class Split(StrEnum):
    """The three parts of a data set; no patient is ever in two of them."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


EXTERNAL: Final = "external"
"""The fourth part: other people's patients, never trained on and only evaluated. It may be empty."""

PARTS: Final = (*(str(split) for split in Split), EXTERNAL)


def split_of(patient_id: str) -> Split:
    """The part a patient belongs to, for ever and in every installation.

    The bucket is a hash of the patient's id alone: it needs no state, does not change when data are added, and
    tells nothing about the patient but one of ten numbers. Buckets 0-6 train, 7 validates, 8-9 are the locked test.

    >>> split_of("PHANTOM-0001")
    <Split.TEST: 'test'>
    """
    bucket = int.from_bytes(hashlib.sha256(f"radloop:{patient_id}".encode()).digest(), "big") % 10
    if bucket <= 6:  # noqa: PLR2004 — the buckets are the definition
        return Split.TRAIN
    return Split.VALIDATION if bucket == 7 else Split.TEST  # noqa: PLR2004 — as above


@dataclass(frozen=True, slots=True)
class Example:
    """One image set in a data set: one line of a snapshot's manifest. Nothing in it is a patient's own word.

    Attributes:
        patient: Keyed pseudonym; so is `study`.
        split: One of `PARTS`.
        label: 1 where the finding is present.
        posterior: Probability that it is, 0..1, as far as the readers' agreement tells.
        weight: What the example counts in training, above 0.
        file: Of its pixels, relative to the data set.
        source: Where it was made: a pseudonym of the institution, or the data store's id where none is told.
        scanner: Manufacturer and model, in small letters and hyphens.
        sex: M, F, O or unknown.
        age_band: 0-17, 18-39, 40-64, 65+ or unknown.
        view: ViewPosition of an X-ray, other, or unknown.
        licence: Under which its data store may be used.
        reads: How many readers gave their opinion.
    """

    image_set: str
    version: int
    patient: str
    split: str
    label: int
    modality: str
    file: str
    study: str = ""
    posterior: float = 0.0
    weight: float = 1.0
    source: str = UNKNOWN
    scanner: str = UNKNOWN
    sex: str = UNKNOWN
    age_band: str = UNKNOWN
    view: str = UNKNOWN
    licence: str = UNKNOWN
    reads: int = 1

    def line(self) -> bytes:
        """The line of the manifest, canonical: the same example is the same bytes."""
        return canonical({name: getattr(self, name) for name in self.__slots__}).encode() + b"\n"


def example_of(value: Mapping[str, Any]) -> Example:
    """The example a line tells of. Lines of before lack some fields: their label was certain, and their study unknown.

    Raises:
        ValueError: A value is of the wrong kind or out of its range; also KeyError and TypeError.
    """
    label = int(value["label"])
    example = Example(
        image_set=str(value["image_set"]),
        version=int(value["version"]),
        patient=str(value["patient"]),
        split=str(value["split"]),
        label=label,
        modality=str(value["modality"]),
        file=str(value["file"]),
        study=str(value.get("study", "")),
        posterior=float(value.get("posterior", label)),
        weight=float(value.get("weight", 1.0)),
        reads=int(value.get("reads", 1)),
        **{name: str(value.get(name, UNKNOWN)) for name in ("source", "scanner", "sex", "age_band", "view", "licence")},
    )
    if example.split not in PARTS or label not in (0, 1) or not example.patient:
        raise ValueError("no such part or label, or no patient")
    if not 0 <= example.posterior <= 1 or not 0 < example.weight < float("inf"):
        raise ValueError("the posterior or the weight is out of its range")
    return example


def read_manifest(text: str) -> list[Example]:
    """The examples in the manifest of a data set, in the order of their image set ids.

    Raises:
        InvalidInput: A line cannot be read, names a file outside the data set, or an image set stands there twice. A
            line is named by its number alone, for it speaks of a patient.
    """
    examples = list(_examples(text))
    ids = {example.image_set for example in examples}
    if len(ids) < len(examples):
        raise InvalidInput(f"{len(examples) - len(ids)} image sets stand in the manifest more than once")
    return sorted(examples, key=lambda example: example.image_set)


def _examples(text: str) -> Iterator[Example]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            example = example_of(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(f"line {number} of the manifest lacks a field or holds one of the wrong kind") from None
        inside = PurePosixPath(example.file)
        if not _NAME.fullmatch(example.image_set) or inside.is_absolute() or ".." in inside.parts:
            raise InvalidInput(f"line {number} of the manifest names a file outside the dataset")
        yield example


def canonical(value: Mapping[str, Any]) -> str:
    """JSON of which the same value always gives the same text.

    >>> canonical({"b": 1, "a": [0.5]})
    '{"a":[0.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def rounded(probability: float) -> float:
    """A probability as a manifest holds it: what is nearer than a millionth is the same."""
    return round(float(probability), _DECIMALS)


# What may be told of a patient


def sex_of(attributes: Mapping[str, Any]) -> str:
    """M, F or O of PatientSex, else unknown."""
    found = str(attributes.get("PatientSex") or "").strip().upper()
    return found if found in {"M", "F", "O"} else UNKNOWN


def age_band_of(attributes: Mapping[str, Any]) -> str:
    """The band of the age at the study: by PatientAge, else by PatientBirthDate and StudyDate.

    >>> age_band_of({"PatientAge": "039Y"}), age_band_of({"PatientBirthDate": "19500301", "StudyDate": "20200229"})
    ('18-39', '65+')
    """
    years = _years_told(str(attributes.get("PatientAge") or "").strip().upper())
    if years is None:
        years = _years_between(attributes.get("PatientBirthDate"), attributes.get("StudyDate"))
    if years is None or years < 0:
        return UNKNOWN
    for below, band in ((18, "0-17"), (40, "18-39"), (65, "40-64")):
        if years < below:
            return band
    return "65+"


def _years_told(age: str) -> int | None:
    found = _AGE.fullmatch(age)
    if found is None:
        return None
    return int(found[1]) // {"D": 365, "W": 52, "M": 12, "Y": 1}[found[2]]


def _years_between(birth: object, study: object) -> int | None:
    born, seen = _day(birth), _day(study)
    if born is None or seen is None:
        return None
    return seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))


def _day(text: object) -> date | None:
    digits = str(text or "")
    if not _DAY.fullmatch(digits):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def view_of(attributes: Mapping[str, Any]) -> str:
    """ViewPosition where it is one of DICOM's terms (PS3.3 C.8.1.3), other where it is none, unknown without."""
    found = str(attributes.get("ViewPosition") or "").strip().upper()
    if not found:
        return UNKNOWN
    return found if found in _VIEWS else "other"


def scanner_of(attributes: Mapping[str, Any]) -> str:
    """Manufacturer and model in small letters, joined by hyphens; unknown where neither is told.

    >>> scanner_of({"Manufacturer": "Halden  Tomography", "ManufacturerModelName": "HT-128"})
    'halden-tomography-ht-128'
    """
    told = " ".join(str(attributes.get(name) or "") for name in ("Manufacturer", "ManufacturerModelName"))
    words = re.findall(r"[a-z0-9]+", told.lower())
    return "-".join(words)[:_LONGEST_SCANNER] or UNKNOWN
