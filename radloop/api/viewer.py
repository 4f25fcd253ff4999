"""The viewer's built files under `/app/`."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from radloop.api.metadata import takes_gzip

_HASHED = re.compile(r"[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES: Mapping[str, str] = {
    ".wasm": "application/wasm",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
"""Stated here, because what the operating system thinks of a suffix differs from machine to machine."""


def headers_of(path: str) -> dict[str, str]:
    """What a built file is sent with: how long it is kept, and its type where we state one.

    >>> headers_of("assets/index-Cn09-UBY.js")["Cache-Control"]
    'public, max-age=31536000, immutable'
    >>> headers_of("index.html")
    {'Cache-Control': 'no-cache', 'Content-Type': 'text/html; charset=utf-8'}
    """
    name = PurePosixPath(path)
    is_hashed = name.parent.name == "assets" and _HASHED.search(name.name) is not None
    told = {"Cache-Control": _FOR_EVER if is_hashed else "no-cache"}
    return {**told, "Content-Type": _TYPES[name.suffix]} if name.suffix in _TYPES else told


class ViewerFiles(StaticFiles):
    """Files whose name carries a hash of their content are kept for ever, all others are asked about each time.

    The build has gzipped each file beside it; that is what is sent to whoever takes it.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """See `StaticFiles.get_response`."""
        packed = f"{'index.html' if path in {'', '.'} else path}.gz"
        is_packed = takes_gzip(Headers(scope=scope).get("accept-encoding")) and bool(self.lookup_path(packed)[0])
        response = await super().get_response(packed if is_packed else path, scope)
        if response.status_code not in {200, 206, 304}:
            raise HTTPException(404)
        response.headers["Vary"] = "Accept-Encoding"
        if is_packed:
            response.headers["Content-Encoding"] = "gzip"
        told = headers_of("index.html" if path in {"", "."} else path)
        if response.status_code == 304:  # noqa: PLR2004 — nothing is sent that has a type
            told.pop("Content-Type", None)
        response.headers.update(told)
        return response
