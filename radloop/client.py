"""How commands reach an installation: the server that holds the home, or the home itself where nobody holds it.

The server of a home is reached with the owner's token, which lies in the home and is readable by the owner alone, and
by trusting the home's own certificate authority. Another server takes the token in `RADLOOP_TOKEN` or the file of
`--token-file`, or else whoever signed in there by `radloop login`, and the authority in `RADLOOP_CA` or `--ca`; without
one, those that the system trusts.
"""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from radloop.core.errors import Denied, InvalidInput, RadloopError, Unauthenticated
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.local.home import Home
from radloop.options import stated
from radloop.sign_ins import kept_for

if TYPE_CHECKING:
    from radloop.wiring import Installation  # a home that is opened here loads it, a server's client need not

_BATCH_FILES = 64
_BATCH_BYTES = 64 << 20
_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
SOCKET_OPTIONS = [(socket.IPPROTO_TCP, 25, 1 << 17)] if sys.platform.startswith("linux") else []
"""TCP_NOTSENT_LOWAT: the kernel takes little more than the link does, so a cut costs little and progress is true."""


class Refused(RadloopError):
    """The installation answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """The platform API, over the network or within this process; both go through the same doors.

    Attributes:
        url: The server's address; None when the home is open in this process.
        installation: The open home; None when a server holds it.
    """

    def __init__(
        self,
        url: str | None,
        installation: "Installation | None",
        *,
        token: str | None = None,
        auth: httpx.Auth | None = None,
        authority: Path | None = None,
    ) -> None:
        self.url = url
        self.installation = installation
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = (
            None
            if url is None
            else httpx.Client(
                base_url=url,
                timeout=_TIMEOUT,
                headers=headers,
                auth=auth,
                transport=httpx.HTTPTransport(verify=_trust(authority), socket_options=SOCKET_OPTIONS),
            )
        )
        self._app = None if installation is None else _doors(installation)
        self._runner = asyncio.Runner()

    @property
    def http(self) -> httpx.Client | None:
        """For what is no plain question and answer; None where no server holds the home."""
        return self._http

    def get(self, path: str, **query: str | int) -> Any:
        """Answer of GET /api/v1/`path`, read as JSON.

        Raises:
            Refused: It was an error.
        """
        return _answer(self._send("GET", f"/api/v1/{path}", params=query))

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """Answer of POST /api/v1/`path` with a JSON body; `options` go to httpx.

        Raises:
            Refused: It was an error.
        """
        if body is not None:
            options["json"] = body
        return _answer(self._send("POST", f"/api/v1/{path}", **options))

    def patch(self, path: str, body: Any) -> Any:
        """Answer of PATCH /api/v1/`path` with a JSON body.

        Raises:
            Refused: It was an error.
        """
        return _answer(self._send("PATCH", f"/api/v1/{path}", json=body))

    def put(self, path: str, body: Any) -> Any:
        """Answer of PUT /api/v1/`path` with a JSON body.

        Raises:
            Refused: It was an error.
        """
        return _answer(self._send("PUT", f"/api/v1/{path}", json=body))

    def delete(self, path: str) -> Any:
        """Answer of DELETE /api/v1/`path`.

        Raises:
            Refused: It was an error.
        """
        return _answer(self._send("DELETE", f"/api/v1/{path}"))

    def fetch(self, path: str) -> bytes:
        """Bytes of GET /api/v1/`path`.

        Raises:
            Refused: It was an error.
        """
        response = self._send("GET", f"/api/v1/{path}")
        if response.is_error:
            _answer(response)
        return response.content

    def upload(self, batch: list[Upload]) -> list[dict[str, Any]]:
        """Land files; one entry a file, in order: outcome, image_set, code, sentence.

        Raises:
            Refused: It was an error.
        """
        if self.installation is not None:
            from radloop.functions.image_ingestion import ingest  # noqa: PLC0415 — no client of a server needs it

            landings = ingest(batch, self.installation.platform, by=OWNER)
            return [
                {"outcome": one.outcome, "image_set": one.image_set, "code": one.reason, "sentence": one.sentence}
                for one in landings
            ]
        files = [("files", (f"{place}.dcm", one.data, "application/dicom")) for place, one in enumerate(batch)]
        answer: list[dict[str, Any]] = self.post("uploads", files=files)["files"]
        return answer

    def verify(self, image_set: str, *, present: bool, site: str | None = None) -> bool:
        """Make a finding ground truth, having fetched a frame at full quality; False where there is one already.

        Raises:
            Refused: It was another error than that.
        """
        facts = self.get(f"image-sets/{image_set}")
        if facts["state"] != "INGESTED":
            return False
        frame = facts["frames"] // 2
        self.fetch(f"image-sets/{image_set}/frames/{frame}")
        body = {
            "version": facts["version"],
            "finding": "present" if present else "absent",
            "site": site if present else None,
            "confidence": "high",
            "note": "",
            "seen": {"frame": frame, "quality": facts["frame_list"][frame]["quality"]},
        }
        self.post(f"image-sets/{image_set}/verification", body)
        return True

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if self._http is not None:
            return self._http.request(method, path, **options)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=_TIMEOUT) as http:
                return await http.request(method, path, **options)

        return self._runner.run(ask())

    def close(self) -> None:
        """Let go of what was opened to send requests."""
        self._runner.close()
        if self._http is not None:
            self._http.close()


def is_untrusted(error: httpx.HTTPError) -> bool:
    """Whether the server showed a certificate that nobody we trust signed; trying again cannot help."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def silence_of(error: httpx.HTTPError) -> str:
    """Why no answer came, and what to do about it.

    >>> silence_of(httpx.ConnectError("[Errno 111] Connection refused"))
    'the server does not answer (ConnectError); look whether it runs, and whether the address is right'
    """
    if is_untrusted(error):
        return (
            "the server does not answer as one that is trusted: its certificate is of an authority we do not know; "
            "name that by --ca or RADLOOP_CA (of a radloop: keys/ca.pem in its home)"
        )
    kind = type(error).__name__
    if "WRONG_VERSION_NUMBER" in str(error):
        return "the server does not answer in TLS; try http:// instead of https://"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return f"the server does not answer ({kind}); if it serves TLS, write https:// instead of http://"
    if isinstance(error, httpx.TimeoutException):
        return f"the server does not answer in time ({kind}); try again"
    return f"the server does not answer ({kind}); look whether it runs, and whether the address is right"


def batches(uploads: Iterable[Upload]) -> Iterator[list[Upload]]:
    """Uploads in groups small enough for memory and large enough that one flush serves many."""
    batch: list[Upload] = []
    size = 0
    for one in uploads:
        batch.append(one)
        size += len(one.data)
        if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def reach(home: Path | None, server: str | None) -> Iterator[Client]:
    """A client of `server`, or of the server that holds `home`, or of `home` itself, owned for the while.

    Raises:
        Unavailable: Another process holds the home and tells no address.
    """
    if server is not None:
        token = _token()
        auth = kept_for(server) if token is None else None
        with closing(Client(server, None, token=token, auth=auth, authority=stated_authority())) as client:
            yield client
        return
    root = (home or Path("radloop-home")).resolve()
    place = Home(root)
    url = place.server()
    if url is not None:
        with closing(Client(url, None, **_as_owner(place, url))) as client:
            yield client
        return
    from radloop.wiring import open_local  # noqa: PLC0415 — a second's work that no client of a server needs

    with Home(root).owned(), open_local(root) as installation:
        installation.worker().start_over()
        with closing(Client(None, installation)) as client:
            yield client


def _as_owner(home: Home, url: str) -> dict[str, Any]:
    """How the owner of a home reaches its server.

    Raises:
        Denied: The token may be read by the owner of the home only.
    """
    try:
        token = home.owner_token.read_text()
    except FileNotFoundError:
        token = None  # nobody signs in there
    except PermissionError:
        raise Denied("only the owner of this home reaches its server without a token of their own") from None
    return {"token": token, "authority": home.authority if url.startswith("https:") else None}


def _token() -> str | None:
    """The bearer token for `--server`."""
    path = stated("token_file")
    return (os.environ.get("RADLOOP_TOKEN") if path is None else path.read_text().strip()) or None


def stated_authority() -> Path | None:
    """The certificate authority for a server that is named; None for those of the system.

    Raises:
        InvalidInput: It is no file.
    """
    path = stated("ca")
    named = os.environ.get("RADLOOP_CA")
    found = path or (Path(named) if named else None)
    if found is not None and not found.is_file():
        raise InvalidInput("RADLOOP_CA or --ca names no file")
    return found


def _trust(authority: Path | None) -> ssl.SSLContext | bool:
    """By what a server is checked: this authority alone, or else those of the system."""
    return True if authority is None else ssl.create_default_context(cafile=authority)


def _doors(installation: "Installation") -> Any:
    """The doors of a home that is open here, as an ASGI application."""
    from radloop.api.app import create_app  # noqa: PLC0415 — no client of a server needs it

    return create_app(installation.doors(is_open=True))


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    raise refusal(response)


def refusal(response: httpx.Response) -> Refused:
    """The error that a server answered with."""
    try:
        told = response.json()
        error = told.get("error", told)
        return Refused(response.status_code, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        words = "the server answered 401: sign in by radloop login, or name a token by RADLOOP_TOKEN or --token-file"
        return Refused(response.status_code, Unauthenticated.code, words)
    return Refused(response.status_code, "error", f"the server answered {response.status_code}")
