"""How commands reach an installation: the server that holds the home, or the home itself where nobody holds it."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from radloop.api.app import create_app
from radloop.core.errors import RadloopError
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.functions.image_ingestion import ingest
from radloop.local.home import Home
from radloop.wiring import Installation, open_local

_BATCH_FILES = 64
_BATCH_BYTES = 64 << 20
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
        self._runner = asyncio.Runner()

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

    def upload(self, batch: list[Upload]) -> list[dict[str, Any]]:
        """Land files; one entry a file, in order: outcome, image_set, code, sentence.

        Raises:
            Refused: It was an error.
        """
        if self.installation is not None:
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
    root = (home or Path("radloop-home")).resolve()
    url = server or Home(root).server()
    if url is not None:
        with closing(Client(url, None)) as client:
            yield client
        return
    with Home(root).owned(), open_local(root) as installation:
        installation.worker().start_over()
        with closing(Client(None, installation)) as client:
            yield client


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    try:
        error = response.json()["error"]
        raise Refused(response.status_code, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        raise Refused(response.status_code, "error", f"the server answered {response.status_code}") from None
