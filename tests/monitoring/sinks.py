"""Servers on the loopback that take messages: one that speaks SMTP, one that speaks HTTP."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Mail:
    """What an SMTP server took in."""

    port: int
    messages: list[EmailMessage] = field(default_factory=list)

    @property
    def address(self) -> str:
        """As Apprise writes it."""
        query = "smtp=127.0.0.1&from=radloop@example.org&to=oncall@example.org&mode=insecure"
        return f"mailto://user:secret-of-the-mailbox@localhost:{self.port}?{query}"


@dataclass
class Hook:
    """What an HTTP server took in; `status` is what it answers with."""

    port: int
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """As Apprise writes it."""
        return f"json://user:secret-of-the-hook@127.0.0.1:{self.port}/hook"


@contextmanager
def mail_server() -> Iterator[Mail]:
    class Session(socketserver.StreamRequestHandler):
        """Enough of RFC 5321 to take a message in, and of RFC 4954 to let anybody sign in."""

        def handle(self) -> None:
            self.say("220 sink")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    self.say("250-sink\r\n250 AUTH PLAIN LOGIN")
                elif verb == b"AUTH":
                    self.say("235 in")
                elif verb == b"DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    whole = b"".join(each.removeprefix(b".") if each[:2] == b".." else each for each in lines)
                    taken.messages.append(message_from_bytes(whole, policy=policy.default))  # type: ignore[arg-type]
                    self.say("250 taken")
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        taken = Mail(server.server_address[1])
        with _running(server):
            yield taken


@contextmanager
def hook_server() -> Iterator[Hook]:
    class Post(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(taken.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — the base class's name
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Post) as server:
        server.daemon_threads = True
        taken = Hook(server.server_address[1])
        with _running(server):
            yield taken


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
