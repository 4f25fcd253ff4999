# ruff: noqa: INP001 — part of programs that are run by themselves
"""The studies that are put in, so that what comes out can be held against them."""

import hashlib
import io
import zipfile
from typing import Any

import numpy as np
import pydicom

from radloop.dicom.phantom import PhantomStudy


def headers_of(study: PhantomStudy) -> list[Any]:
    """The files of a study, read."""
    return [pydicom.dcmread(io.BytesIO(data)) for data in study.files]


def drawn(study: PhantomStudy) -> list[Any]:
    """The slices of a study in Hounsfield units, as its files hold them."""
    return [one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in headers_of(study)]


def slices_of(volume: Any) -> list[str]:
    """SHA-256 of every slice, in no order: how slices are sorted is not what is asked here."""
    return sorted(hashlib.sha256(np.ascontiguousarray(each, dtype=np.int16).tobytes()).hexdigest() for each in volume)


def digest(frame: Any) -> str:
    """SHA-256 of the values of a slice, whatever type holds them."""
    return hashlib.sha256(np.ascontiguousarray(frame, dtype=np.int32).tobytes()).hexdigest()


def zipped(study: PhantomStudy) -> bytes:
    """A study as a program sends it: one archive, nothing packed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for number, data in enumerate(study.files):
            archive.writestr(f"{number:04d}.dcm", data)
    return out.getvalue()
