"""Serves the pages of other viewers, and the DICOMweb door of a radloop under the same origin.

One origin for both, for otherwise a browser asks for leave before each of thousands of frames, which would cost those
viewers a round trip each. What is text goes out gzipped, made once, and is kept by the browser for ever where its name
is a hash: as whoever serves these viewers well would do. The headers that let a page share memory are set.
"""

import gzip
import http.server
import mimetypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FORWARDED = ("Accept", "Accept-Encoding", "Range", "If-None-Match", "Content-Type")
_RETURNED = ("Content-Type", "Content-Encoding", "Content-Range", "Accept-Ranges", "ETag", "Cache-Control", "Vary")
_LEAST_GZIPPED = 1024
_ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}

mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("application/wasm", ".wasm")


@lru_cache(maxsize=512)
def gzipped(file: Path) -> bytes | None:
    """The file as it travels, or None where it is not worth it."""
    if file.suffix in {".png", ".woff2", ".jpg", ".gif"} or file.stat().st_size < _LEAST_GZIPPED:
        return None
    return gzip.compress(file.read_bytes(), 9, mtime=0)


class Pages(http.server.BaseHTTPRequestHandler):
    """Files of `folder`, its index for any other address, and `/dicomweb` of the server at `door`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, *args: object, folder: Path, door: str, made: dict[str, bytes]) -> None:
        self._folder = folder
        self._door = door
        self._made = made
        super().__init__(*args)  # type: ignore[arg-type] — as the server calls it

    def do_GET(self) -> None:
        """A file, or what the door answers."""
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/dicomweb/"):
            self._forward()
        elif path in self._made:
            self._answer(self._made[path], "text/javascript", {})
        else:
            file = self._folder / path.lstrip("/")
            self._file(file if file.is_file() else self._folder / "index.html")

    def _file(self, file: Path) -> None:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        headers = {"Cache-Control": "no-cache" if file.suffix == ".html" else "max-age=31536000, immutable"}
        small = gzipped(file) if "gzip" in self.headers.get("Accept-Encoding", "") else None
        if small is not None:
            headers["Content-Encoding"] = "gzip"
        self._answer(file.read_bytes() if small is None else small, kind, headers)

    def _answer(self, body: bytes, kind: str, headers: dict[str, str], status: int = 200) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | headers | _ISOLATED).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _forward(self) -> None:
        """Ask the door on a connection that this browser connection keeps to it."""
        kept = _kept.get(self._door)
        asked = {name: self.headers[name] for name in _FORWARDED if name in self.headers}
        kept.request("GET", self.path, headers=asked)
        answer = kept.getresponse()
        body = answer.read()
        told = {name: answer.headers[name] for name in _RETURNED if name in answer.headers}
        self._answer(body, told.pop("Content-Type", "application/octet-stream"), told, answer.status)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class calls it so
        """Say nothing."""


class _Kept(threading.local):
    """The connection of each thread to the door: a browser connection has a thread, and so a connection, of its own."""

    def __init__(self) -> None:
        self.connection: HTTPConnection | None = None

    def get(self, door: str) -> HTTPConnection:
        if self.connection is None:
            self.connection = HTTPConnection(door, timeout=60)
        return self.connection


_kept = _Kept()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A browser that goes away in the middle is no error; anything else is told."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            print(f"a page could not be served: {error!r}", file=sys.stderr)


@contextmanager
def pages(folder: Path, door: str, made: dict[str, bytes] | None = None) -> Iterator[int]:
    """Serve while it is entered; yields the port.

    Args:
        folder: What the viewer's build made.
        door: HOST:PORT of a radloop without TLS and sign-in.
        made: Answers for addresses that are no files, as JavaScript.
    """
    with _Server(("127.0.0.1", 0), partial(Pages, folder=folder, door=door, made=made or {})) as server:
        thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
