"""A frame of an image set as a viewer opens it: how to show it, where it lies, how long it is."""

import math
from operator import mul
from typing import Any, NamedTuple

from radloop.dicom.image import FrameDescription, ImageDescription
from radloop.security.sealing import OVERHEAD_BYTES
from radloop.store.instances import StoredInstance
from radloop.store.opened import FrameAddress

_SHORTEST, _SHEAR = 1e-3, 0.01


class Laid(NamedTuple):
    """Bytes of a frame and of its preview as they are sent, None where that is not known or there is none.

    Attributes:
        ends: Byte end of every resolution inside the frame, smallest picture first; empty where that is not known.
    """

    full: int | None
    preview: int | None
    ends: tuple[int, ...]


def laid_of(address: FrameAddress) -> Laid:
    """What our own packs hold of a frame."""
    frames = address.instance.frames
    return Laid(*sizes_of(address), frames[address.number].ends if frames else ())


def frame_of(index: int, address: FrameAddress) -> dict[str, Any]:
    """A frame as the viewer opens it."""
    instance, number = address.instance, address.number
    image = ImageDescription.from_plain(instance.image or {})
    group = image.per_frame[number] if number < len(image.per_frame) else None
    window = (group.window if group else None) or (image.window_center, image.window_width)
    full, preview = sizes_of(address)
    return {
        "index": index,
        "rows": image.rows,
        "columns": image.columns,
        "bits_stored": image.bits_stored,
        "signed": image.signed,
        "samples": image.samples,
        "photometric": image.photometric,
        "slope": _first(group.slope if group else None, image.slope, 1.0),
        "intercept": _first(group.intercept if group else None, image.intercept, 0.0),
        "window_center": window[0],
        "window_width": window[1],
        "voi_function": image.voi_function,
        "lossless_bytes": full,
        "preview_bytes": preview,
        "quality": "lossy-as-received" if instance.is_lossy else "lossless",
        "decodable": is_decodable(instance),
        "position_mm": _position(image, number),
        "orientation": _orientation(image, group),
        "spacing_mm": _spacing(image, group),
        "spacing_at_detector": image.spacing_at_detector,
        "sides": None if image.sides is None else list(image.sides),
        "palette": None if image.palette is None else dict(zip(("first", "colours"), image.palette, strict=True)),
    }


def is_decodable(instance: StoredInstance) -> bool:
    """Whether frames can be shown: a codec takes them, and indices of a palette have one."""
    image = instance.image or {}
    is_painted = image.get("photometric") == "PALETTE COLOR"
    return (bool(instance.frames) or instance.why_kept is None) and not (is_painted and image.get("palette") is None)


def _position(image: ImageDescription, number: int) -> list[float] | None:
    place = image.per_frame[number].position_mm if number < len(image.per_frame) else image.position_mm
    return None if place is None else list(place)


def _orientation(image: ImageDescription, group: FrameDescription | None) -> list[float] | None:
    """Unit vectors along a row and along a column; None where they are no two perpendicular directions."""
    told = (group.orientation if group else None) or image.orientation
    if told is None:
        return None
    row, column = told[:3], told[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    if not all(_SHORTEST < length < math.inf for length in lengths):
        return None
    units = [part / lengths[place // 3] for place, part in enumerate(told)]
    return units if abs(sum(map(mul, units[:3], units[3:]))) <= _SHEAR else None


def _spacing(image: ImageDescription, group: FrameDescription | None) -> list[float] | None:
    told = (group.spacing_mm if group else None) or image.spacing_mm
    return None if told is None else list(told)


def sizes_of(address: FrameAddress) -> tuple[int | None, int | None]:
    """Bytes of the full frame and of its preview as they are sent, None before folding.

    A palette has no preview: what is near a colour's index is any other colour.
    """
    if not address.instance.frames:
        return None, None
    frame = address.instance.frames[address.number]
    is_painted = (address.instance.image or {}).get("photometric") == "PALETTE COLOR"
    preview = None if frame.preview is None or is_painted else frame.preview.length - OVERHEAD_BYTES
    return frame.full.length - OVERHEAD_BYTES, preview


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
