"""The specimens that checks share, each stored when the first of them asks for it."""

from collections.abc import Callable

import numpy as np

from radloop.conform.session import Held, Session
from radloop.dicom.elements import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE, RLE
from radloop.dicom.specimens import (
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LS,
    MULTI_FRAME_BYTES,
    SECONDARY_CAPTURE,
    Specimen,
    Study,
    bytes_of,
    slice_of,
)

Make = Callable[[Study], list[Specimen]]


def ct(session: Session) -> Held:
    """Three signed 16-bit slices in Explicit VR Little Endian; the study most checks look at."""
    return session.held("ct", lambda study: [study.image([slice_of(number)]) for number in range(3)])


def image(session: Session) -> Held:
    """`ct`, or what is found there where nothing may be stored."""
    return session.found_there() if session.only_reads else ct(session)


def frames(session: Session) -> Held:
    """Three 8-bit frames in one instance."""
    return session.held(
        "frames",
        lambda study: [study.image([bytes_of(number) for number in range(3)], sop_class=MULTI_FRAME_BYTES)],
        modality="OT",
    )


def report(session: Session) -> Held:
    """A structured report."""
    return session.held("report", lambda study: [study.report()], modality="SR")


def other(session: Session) -> Held:
    """One slice of another patient."""
    return session.held("other", lambda study: [study.image([slice_of(9)])])


def _twelve_bits(number: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]":
    return np.clip(slice_of(number).astype(np.int32) + 1024, 0, 4095).astype(np.uint16)


KINDS: dict[str, Make] = {
    "unsigned-12-bits": lambda study: [study.image([_twelve_bits(1)], bits_stored=12)],
    "rgb": lambda study: [study.image([bytes_of(2, samples=3)], sop_class=SECONDARY_CAPTURE)],
    "odd-frames": lambda study: [
        study.image([bytes_of(number, rows=5, columns=7) for number in range(3)], sop_class=MULTI_FRAME_BYTES)
    ],
    "implicit": lambda study: [study.image([slice_of(3)], syntax=IMPLICIT_LE)],
    "big-endian": lambda study: [study.image([slice_of(4)], syntax=EXPLICIT_BE)],
    "deflated": lambda study: [study.image([slice_of(5)], syntax=DEFLATED_LE)],
    "rle": lambda study: [study.image([slice_of(6)], syntax=RLE)],
    "jpeg-2000": lambda study: [study.image([_twelve_bits(7)], bits_stored=12, syntax=JPEG_2000)],
    "jpeg-ls": lambda study: [study.image([_twelve_bits(8)], bits_stored=12, syntax=JPEG_LS)],
    "jpeg": lambda study: [study.image([bytes_of(3)], sop_class=SECONDARY_CAPTURE, syntax=JPEG_BASELINE)],
}
"""Other kinds of pixels, by name."""


def kind(session: Session, name: str) -> Held:
    """One instance of a kind of pixels; see `KINDS`."""
    return session.held(name, KINDS[name])
