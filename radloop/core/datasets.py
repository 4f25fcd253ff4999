"""Which patient's images teach, which tune, and which only ever test."""

import hashlib
from enum import StrEnum


class Split(StrEnum):
    """The three parts of a data set; no patient is ever in two of them."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


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
