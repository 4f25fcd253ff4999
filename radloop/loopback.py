"""The one answer of a sign-in page, awaited on the loopback (RFC 8252 §7.3): one code, for one state, within a time."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from queue import Empty, SimpleQueue
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from radloop.core.errors import Denied, InvalidInput, Unavailable
from radloop.native_app import Begun, code_of

HOST: Final = "127.0.0.1"
SIGNED_IN: Final = "You are signed in. This page may be closed; the command goes on where it was begun."
NOT_SIGNED_IN: Final = "You are not signed in. The command says why; this page may be closed."

_NOTHING: Final = "There is nothing here."
_NOT_OURS: Final = "This is no answer to the sign-in that is awaited here."
_ANSWERED: Final = "This sign-in has been answered already. This page may be closed."
_SILENT_S: Final = 10.0
_TOLD_S: Final = 40.0
_WRITTEN_S: Final = 3.0


class Loopback:
    """Listens at the first of these addresses whose port is free, and at nothing but 127.0.0.1.

    Args:
        redirects: `http://127.0.0.1:PORT/` each.

    Raises:
        Unavailable: All ports are taken.
    """

    def __init__(self, redirects: Sequence[str]) -> None:
        for redirect in redirects:
            try:
                self._server = _Server(int(urlsplit(redirect).port or 0))
            except OSError:
                continue
            self.redirect = redirect
            return
        ports = ", ".join(str(urlsplit(each).port) for each in redirects)
        raise Unavailable(f"the ports {ports} are all taken, and the page leads back to no other; end one, or --paste")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._server.said.done():
            self._server.said.set_result(NOT_SIGNED_IN)
        if self._server.begun is not None:
            if self._server.is_taken:
                self._server.written.wait(_WRITTEN_S)
            self._server.shutdown()
        self._server.server_close()

    def code(self, begun: Begun, within_s: float) -> str:
        """The code that the page gives; the browser waits for `tell`.

        Raises:
            Denied: The page let nobody in.
            Unavailable: Nobody came within that many seconds.
        """
        self._server.begun = begun
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            found = self._server.found.get(timeout=within_s)
        except Empty:
            raise Unavailable(f"nobody signed in within {within_s:g} seconds; run the command again") from None
        if isinstance(found, Denied):
            raise found
        return found

    def tell(self, words: str) -> None:
        """What the browser shows in the end; without it, that it did not go well."""
        self._server.said.set_result(words)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True  # the sockets of a sign-in a moment ago still wait for their end

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.host = f"{HOST}:{port}"
        self.begun: Begun | None = None
        self.found: SimpleQueue[str | Denied] = SimpleQueue()
        self.said: Future[str] = Future()
        self.written = threading.Event()
        self.is_taken = False
        self._guard = threading.Lock()

    def take(self, answer: str | Denied) -> bool:
        """Whether this is the first answer; only that one counts."""
        with self._guard:
            is_first, self.is_taken = not self.is_taken, True
        if is_first:
            self.found.put(answer)
        return is_first


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SILENT_S
    server_version = "radloop"
    sys_version = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — as the base has it
        """Nothing: an address holds a code."""

    def do_GET(self) -> None:
        """The page's answer, or what else a browser asks for."""
        parts = urlsplit(self.path)
        if self.headers.get("Host") != self.server.host or parts.path != "/" or self.server.begun is None:
            self._page(404, _NOTHING)
            return
        answer: str | Denied
        try:
            answer = code_of(parts.query, self.server.begun)
        except InvalidInput:
            self._page(400, _NOT_OURS)  # whoever sent it does not end the sign-in
            return
        except Denied as error:
            answer = error
        if not self.server.take(answer):
            self._page(409, _ANSWERED)
            return
        try:
            self._page(200, self.server.said.result(_TOLD_S))
        finally:
            self.server.written.set()

    def _page(self, status: int, words: str) -> None:
        body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>radloop</title><p>{words}</p>'.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
