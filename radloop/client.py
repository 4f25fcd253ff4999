"""How commands reach an installation: the server that holds the home, or the home itself where nobody holds it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from radloop.api.app import create_app
from radloop.core.errors import RadloopError
from radloop.local.home import Home
from radloop.wiring import Installation, open_local

_TIMEOUT = httpx.Timeout(600.0, connect=10.0)


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

    def __init__(self, url: str | None, installation: Installation | None) -> None:
        self.url = url
        self.installation = installation
        self._http = None if url is None else httpx.Client(base_url=url, timeout=_TIMEOUT)
        self._app = None if installation is None else create_app(installation.doors())

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

    def fetch(self, path: str) -> bytes:
        """Bytes of GET /api/v1/`path`.

        Raises:
            Refused: It was an error.
        """
        response = self._send("GET", f"/api/v1/{path}")
        if response.is_error:
            _answer(response)
        return response.content

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if self._http is not None:
            return self._http.request(method, path, **options)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=_TIMEOUT) as http:
                return await http.request(method, path, **options)

        return asyncio.run(ask())


@contextmanager
def reach(home: Path | None, server: str | None) -> Iterator[Client]:
    """A client of `server`, or of the server that holds `home`, or of `home` itself, owned for the while.

    Raises:
        Unavailable: Another process holds the home and tells no address.
    """
    root = (home or Path("radloop-home")).resolve()
    url = server or Home(root).server()
    if url is not None:
        yield Client(url, None)
        return
    with Home(root).owned(), open_local(root) as installation:
        installation.worker().start_over()
        yield Client(None, installation)


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    try:
        error = response.json()["error"]
        raise Refused(response.status_code, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        raise Refused(response.status_code, "error", f"the server answered {response.status_code}") from None
