"""Rendered images and thumbnails (PS3.18 §8.3.5, §10.4.1.1.3): pictures for people, made anew for each request.

They are lossy previews and say so. A study or a series is shown by its middle frame.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import QueryParams
from starlette.responses import Response

from radloop.api.media import accepted_by
from radloop.api.negotiation import picture_choice
from radloop.api.operations import is_unchanged, validator
from radloop.api.wado import PRIVATE, READ, Held, Visit, frame_numbers, places
from radloop.codec.rendering import (
    FUNCTIONS,
    Picture,
    Viewport,
    Window,
    as_jpeg,
    as_png,
    colour,
    fitted,
    grey,
    painted,
)
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.identity import derived_id
from radloop.dicom.image import FrameDescription, ImageDescription
from radloop.dicom.palette import palette_of
from radloop.store.guarded import GuardedImages
from radloop.store.instances import StoredInstance

JPEG, PNG = "image/jpeg", "image/png"
QUALITY = "rendered, lossy"
"""What the header X-Radloop-Quality says of every picture."""

_DEFAULT_QUALITY = 90
_THUMBNAIL = 128
_LONGEST_SIDE = 8192
_MOST_PIXELS = 1 << 25
_COLOUR = 3
_NOT_MADE = ("annotation", "iccprofile", "charset")


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a frame is to look."""

    media: str
    quality: int
    window: Window | None
    viewport: Viewport | None


def rendered(visit: Visit, query: QueryParams, numbers: str | None, *, is_thumbnail: bool = False) -> Response:
    """A frame as a picture.

    Args:
        visit: What is to be shown.
        query: `viewport`, `window` and `quality` of PS3.18 §8.3.5.
        numbers: One frame, counted from 1; None for the first of an instance, the middle one of a series or study.
        is_thumbnail: Small, where no viewport says how large.

    Raises:
        InvalidInput: A parameter makes no sense.
        NotFound: There is nothing with pixels at the place, or no such frame.
        UnsupportedPixels: No codec of ours decodes it.
        HTTPException: 406, neither JPEG nor PNG is accepted.
    """
    media = picture_choice(accepted_by(visit.headers), (JPEG, PNG))
    rendering = rendering_of(query, media, is_thumbnail=is_thumbnail)
    held, instance, number = _shown(visit, numbers, is_middle=is_thumbnail)
    tag = validator("rendered", derived_id(instance.id, str(number), repr(rendering)))
    shared = {"ETag": tag, "Cache-Control": PRIVATE, "Vary": "Accept", "X-Radloop-Quality": QUALITY}
    if is_unchanged(visit.headers, tag):
        return Response(status_code=304, headers=shared)
    place = places(instance, visit.images).get(number)
    if place is None:
        raise NotFound("the frame is not among those of its series")
    pixels = visit.images.pixels(instance.image_set, place)
    picture = _picture(pixels, instance, number, rendering.window, visit.images)
    if rendering.viewport is not None:
        picture = fitted(picture, rendering.viewport)
    data = as_png(picture) if rendering.media == PNG else as_jpeg(picture, rendering.quality)
    address = f"{held.address(visit.base)}/instances/{instance.sop_uid}/frames/{number + 1}/rendered"
    return Response(data, headers={**shared, "Content-Type": rendering.media, "Content-Location": address})


def rendering_of(query: QueryParams, media: str, *, is_thumbnail: bool = False) -> Rendering:
    """What a query asks for.

    Raises:
        InvalidInput: A parameter makes no sense, or asks for what we do not do.
    """
    if any(name in query for name in _NOT_MADE):
        raise InvalidInput(f"{', '.join(_NOT_MADE)} are not among what is rendered")
    quality = query.get("quality", str(_DEFAULT_QUALITY))
    if not (quality.isascii() and quality.isdigit() and len(quality) <= len("100") and 1 <= int(quality) <= 100):  # noqa: PLR2004
        raise InvalidInput("quality is a whole number from 1 to 100")
    viewport = _viewport(query["viewport"]) if "viewport" in query else None
    if viewport is None and is_thumbnail:
        viewport = Viewport(_THUMBNAIL, _THUMBNAIL)
    window = _window(query["window"]) if "window" in query else None
    return Rendering(media, int(quality), window, viewport)


def _window(text: str) -> Window:
    parts = [part.strip() for part in text.split(",")]
    center, width = (_number(part) for part in parts[:2]) if len(parts) in {2, 3} else (None, None)
    function = parts[2].lower() if len(parts) == 3 else "linear"  # noqa: PLR2004 — center, width, function
    if center is None or width is None or function not in FUNCTIONS or width <= 0:
        raise InvalidInput(f"window is center,width and one of {', '.join(sorted(FUNCTIONS))}")
    if function == "linear" and width < 1:
        raise InvalidInput("a linear window is at least 1 wide")
    return Window(center, width, function)


def _viewport(text: str) -> Viewport:
    """Width and height, then perhaps left, top, width and height of the part shown; an empty one has its default."""
    parts = [part.strip() for part in text.split(",")]
    sizes = parts[:2]
    if len(parts) not in {2, 6} or not all(size.isascii() and size.isdigit() and len(size) < 6 for size in sizes):  # noqa: PLR2004
        raise InvalidInput("viewport is width,height and perhaps left,top,width,height of the part shown")
    width, height = (int(size) for size in sizes)
    if not 0 < width <= _LONGEST_SIDE or not 0 < height <= _LONGEST_SIDE or width * height > _MOST_PIXELS:
        raise InvalidInput(f"a viewport has 1 to {_LONGEST_SIDE} columns and rows, {_MOST_PIXELS} pixels at most")
    numbers = [_number(part) if part else None for part in parts[2:]] or [None] * 4
    if any(part and number is None for part, number in zip(parts[2:], numbers, strict=False)):
        raise InvalidInput("the part shown is given by numbers")
    left, top, across, down = numbers
    if 0 in {across, down} or (left or 0) < 0 or (top or 0) < 0:
        raise InvalidInput("the part shown begins inside the picture and is not empty")
    return Viewport(width, height, left or 0.0, top or 0.0, across, down)


def _number(text: str) -> float | None:
    if not text.replace(".", "", 1).lstrip("+-").isdigit() or not text.isascii() or len(text) > 20:  # noqa: PLR2004
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _shown(visit: Visit, numbers: str | None, *, is_middle: bool) -> tuple[Held, StoredInstance, int]:
    """The frame that is shown: its instance, and its number in it from 0."""
    if visit.place.instance is not None:
        held, instance = visit.instance()
        if not instance.frame_count:
            raise NotFound("the instance has no pixels")
        if numbers is None:
            return held, instance, instance.frame_count // 2 if is_middle else 0
        wanted = frame_numbers(numbers, instance.frame_count)
        if len(wanted) > 1:
            raise InvalidInput("one frame is rendered at a time")
        return held, instance, wanted[0] - 1
    for held in visit.image_sets():
        frames = visit.images.frames(held.image_set.id)
        if frames:
            middle = frames[len(frames) // 2]
            return held, middle.instance, middle.number
    raise NotFound("nothing at this address has pixels")


def _picture(
    pixels: NDArray[np.generic],
    instance: StoredInstance,
    number: int,
    window: Window | None,
    images: GuardedImages,
) -> Picture:
    plain: Mapping[str, object] = instance.image or {}
    image = ImageDescription.from_plain(plain)
    if pixels.ndim == _COLOUR:
        return colour(pixels, image.bits_stored)
    if image.photometric == "PALETTE COLOR":
        palette = palette_of(images.export(instance, READ))
        return painted(pixels, palette.colours, palette.first)
    group = image.per_frame[number] if number < len(image.per_frame) else None
    return grey(
        pixels,
        window or _own_window(image, group),
        slope=_first(group.slope if group else None, image.slope, 1.0),
        intercept=_first(group.intercept if group else None, image.intercept, 0.0),
        is_inverted=image.photometric == "MONOCHROME1",
    )


def _own_window(image: ImageDescription, group: FrameDescription | None) -> Window | None:
    """The window that the file names for a frame."""
    if group is not None and group.window is not None:
        return Window(*group.window)
    if image.window_center is None or not image.window_width:
        return None
    return Window(image.window_center, image.window_width)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
