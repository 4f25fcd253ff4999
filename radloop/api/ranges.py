"""Parts of an answer by byte range (RFC 9110 §14)."""

import re
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


def part_of(length: int, header: str | None) -> tuple[int, int] | None:
    """First byte and the one behind the last that a Range header asks for; None to send all.

    What cannot be read and what asks for several ranges is passed over, as RFC 9110 §14.2 allows.

    Raises:
        HTTPException: 416, the range begins behind the end.

    >>> part_of(10, "bytes=2-4"), part_of(10, "bytes=7-"), part_of(10, "bytes=-3"), part_of(10, "bytes=1-2,4-5")
    ((2, 5), (7, 10), (7, 10), None)
    """
    found = _RANGE.fullmatch((header or "").strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, length - int(found[2])), length
    else:
        start, end = int(found[1]), length
        if found[2]:
            if int(found[2]) < start:
                return None
            end = min(length, int(found[2]) + 1)
    if start >= end:
        raise HTTPException(416, "The range begins behind the end.", {"Content-Range": f"bytes */{length}"})
    return start, end


def ranged(data: bytes, request: Headers, headers: Mapping[str, str]) -> Response:
    """All of `data`, or the part that the request asks for.

    Raises:
        HTTPException: 416, there is no such part.
    """
    told = {"Accept-Ranges": "bytes", **headers}
    condition = request.get("if-range")
    is_current = condition is None or condition == headers.get("ETag")
    found = part_of(len(data), request.get("range")) if is_current else None
    if found is None:
        return Response(data, headers=told)
    start, end = found
    return Response(data[start:end], 206, {**told, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})
