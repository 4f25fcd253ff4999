"""HTTP as the checks speak it: requests exactly as written, answers taken apart by rules of our own.

Nothing here is shared with our server: a checker that reads multipart with the server's parser would forgive it
every fault they have in common.
"""

import json
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from radloop.conform.model import Differs

JSON = "application/dicom+json"
BOUNDARY = "radloop-conform-7f3a"

_PARAMETER = re.compile(r';\s*([^\s=;,"]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)')
_MOST_RAW = 65536

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A media type: name and parameter names in lower case."""

    name: str
    parameters: Mapping[str, str]


def kind_of(header: str | None) -> Kind:
    """The media type of a header value; an absent one has no name.

    >>> kind_of('multipart/related; type="image/jls"; boundary=x').parameters["type"]
    'image/jls'
    """
    text = header or ""
    parameters = {
        found[1].lower(): re.sub(r"\\(.)", r"\1", found[2][1:-1]) if found[2].startswith('"') else found[2]
        for found in _PARAMETER.finditer(text)
    }
    return Kind(text.partition(";")[0].strip().lower(), parameters)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart answer."""

    headers: Mapping[str, str]
    data: bytes

    @property
    def kind(self) -> Kind:
        """What its Content-Type says."""
        return kind_of(self.headers.get("content-type"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def kind(self) -> Kind:
        """What its Content-Type says."""
        return kind_of(self.headers.get("content-type"))

    @property
    def seen(self) -> str:
        """The answer in a few words that hold no value of a patient's."""
        name = self.kind.name if re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,40}", self.kind.name) else ""
        return " ".join(each for each in (str(self.status), name, "" if self.body else "without a body") if each)

    def must_be(self, *statuses: int) -> "Answer":
        """Itself, where the status is one of these.

        Raises:
            Differs: It is another.
        """
        if self.status not in statuses:
            raise Differs(self.seen)
        return self

    def must_refuse(self) -> "Answer":
        """Itself, where the status is 400 to 499.

        Raises:
            Differs: It is another.
        """
        if not 400 <= self.status < 500:  # noqa: PLR2004 — client errors
            raise Differs(self.seen)
        return self

    def json(self) -> Any:
        """The body read as JSON.

        Raises:
            Differs: It is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise Differs(f"{self.seen}, which is not JSON") from None

    def rows(self) -> list[dict[str, Any]]:
        """The data sets of a list in the DICOM JSON model; none where the answer is 204.

        Raises:
            Differs: It holds something else.
        """
        if self.must_be(200, 204).status == 204:  # noqa: PLR2004 — No Content
            return []
        rows = self.json()
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Differs(f"{self.seen}, which is not a list of objects")
        return rows

    def parts(self) -> list[Part]:
        """The parts of a multipart/related answer.

        Raises:
            Differs: It is not one, or breaks the rules of multipart.
        """
        if self.must_be(200).kind.name != "multipart/related":
            raise Differs(self.seen)
        boundary = self.kind.parameters.get("boundary")
        if not boundary:
            raise Differs(f"{self.seen} without a boundary")
        return list(_cut(self.body, boundary.encode()))


def _cut(body: bytes, boundary: bytes) -> Iterator[Part]:
    pieces = re.split(rb"\r\n--" + re.escape(boundary) + rb"(?=--|[ \t]*\r\n)", b"\r\n" + body)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 — what stands before, what after
        raise Differs("multipart without its closing boundary")
    for piece in pieces[1:-1]:
        head, gap, data = piece.lstrip(b" \t").partition(b"\r\n\r\n")
        if not gap:
            raise Differs("a part without an empty line behind its headers")
        lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n") if ":" in line)
        yield Part({name.strip().lower(): value.strip() for name, _, value in lines}, data)


def multipart(
    parts: Iterable[bytes], *, kind: str | None = "application/dicom", boundary: str = BOUNDARY, extra: str = ""
) -> bytes:
    """A multipart body; with `kind` None the parts say nothing of their type, `extra` is a header line of each."""
    lines = ("" if kind is None else f"Content-Type: {kind}\r\n") + (f"{extra}\r\n" if extra else "")
    head = f"--{boundary}\r\n{lines}\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


class Server:
    """The DICOMweb service at one address.

    Args:
        url: Of the service: what stands before `/studies`.
        token: Sent as a bearer token with every request.
        verify: How TLS is checked.
        timeout_s: For each request.
    """

    def __init__(
        self, url: str, *, token: str | None = None, verify: ssl.SSLContext | bool = True, timeout_s: float = 30.0
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._verify = verify
        self._timeout_s = timeout_s
        self._http = httpx.Client(timeout=timeout_s, verify=verify, trust_env=False)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, path: str, accept: str | None = JSON, headers: Headers = ()) -> Answer:
        """GET of `path` below the service, or of a whole address; with `accept` None, without an Accept header."""
        return self.ask("GET", path, accept=accept, headers=headers)

    def post(
        self,
        path: str,
        body: bytes | Iterator[bytes],
        content_type: str | None = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
        accept: str | None = JSON,
    ) -> Answer:
        """POST of `body`; pieces go as chunks, without their length."""
        headers = [] if content_type is None else [("Content-Type", content_type)]
        return self.ask("POST", path, accept=accept, headers=headers, body=body)

    def ask(
        self,
        method: str,
        path: str,
        *,
        accept: str | None = JSON,
        headers: Headers = (),
        body: bytes | Iterator[bytes] | None = None,
    ) -> Answer:
        """Any request.

        Raises:
            httpx.HTTPError: There was no answer.
        """
        request = self._http.build_request(method, self.at(path), headers=list(headers), content=body)
        if accept is not None:
            request.headers["Accept"] = accept
        elif not any(name.lower() == "accept" for name, _ in headers):
            del request.headers["Accept"]
        if not any(name.lower() == "accept-encoding" for name, _ in headers):
            request.headers["Accept-Encoding"] = "identity"
        if self._token and self._is_ours(str(request.url)):
            request.headers["Authorization"] = f"Bearer {self._token}"
        response = self._http.send(request)
        return Answer(response.status_code, response.headers, response.content)

    def at(self, path: str) -> str:
        """The whole address of a path below the service; one that is whole already stays."""
        return path if "://" in path else self.url + path

    def resolved(self, uri: str, base: str) -> str:
        """Where a URI in the answer to `base` leads."""
        return urljoin(self.at(base), uri)

    def lives(self) -> int | None:
        """The status of the answer to a small question; None where there is none."""
        try:
            return self.ask("GET", "/studies?limit=1").status
        except httpx.HTTPError:
            return None

    def raw(self, method: str, path: str, headers: Headers, body: bytes, *, closes: bool) -> int | None:
        """Send a request as it is, lies and all, and hang up on the sending side if `closes`.

        Returns:
            The status, or None where the server hung up without one.
        """
        try:
            with self._asked(method, path, headers, body) as way:
                if closes and not isinstance(way, ssl.SSLSocket):
                    way.shutdown(socket.SHUT_WR)
                found = re.match(rb"HTTP/1\.[01] (\d{3})", way.recv(_MOST_RAW))
        except OSError:
            return None
        return int(found[1]) if found else None

    def behind_headers(self, path: str, headers: Headers) -> bytes:
        """What a GET is answered with behind the empty line, until the server hangs up, whatever its status allows."""
        answer = b""
        try:
            with self._asked("GET", path, headers, b"") as way:
                while len(answer) < _MOST_RAW and (piece := way.recv(_MOST_RAW)):
                    answer += piece
        except OSError:
            pass  # a server that does not hang up has sent what it had to send
        return answer.partition(b"\r\n\r\n")[2]

    def _asked(self, method: str, path: str, headers: Headers, body: bytes) -> socket.socket:
        target = urlsplit(self.at(path))
        lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        if self._token:
            lines.append(f"Authorization: Bearer {self._token}")
        way = self._connected(target.hostname or "", target.port or (443 if target.scheme == "https" else 80))
        way.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return way

    def _connected(self, host: str, port: int) -> socket.socket:
        way = socket.create_connection((host, port), timeout=min(self._timeout_s, 5.0))
        if urlsplit(self.url).scheme != "https":
            return way
        context = self._verify if isinstance(self._verify, ssl.SSLContext) else ssl.create_default_context()
        return context.wrap_socket(way, server_hostname=host)

    def _is_ours(self, url: str) -> bool:
        """Whether an address is the service's own host: nobody else gets the token."""
        ours, asked = urlsplit(self.url), urlsplit(url)
        return (ours.scheme, ours.hostname) == (asked.scheme, asked.hostname)
