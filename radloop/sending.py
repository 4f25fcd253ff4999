"""Sending over a bad link: uploads that go on by themselves after a cut, and after this program was ended (tus 1.0.0).

What is remembered of an unfinished upload is its address and a digest of the paths, sizes and times of its files:
nothing of a patient.
"""

import base64
import hashlib
import json
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import httpx

from radloop.bundles import Bundle, Listed
from radloop.client import Refused, is_untrusted, refusal
from radloop.core.errors import Unavailable
from radloop.sign_ins import state_folder

PLACE: Final = "/api/v1/resumable"

Value = TypeVar("Value")

_TUS: Final = {"Tus-Resumable": "1.0.0"}
_CHUNK: Final = {**_TUS, "Content-Type": "application/offset+octet-stream"}
_LEAST_PART: Final = 1 << 20
_MOST_PART: Final = 64 << 20
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 30.0
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_AGAIN: Final = frozenset({408, 409, 423, 425, 429, 460, 500, 502, 503, 504})
_GONE: Final = frozenset({403, 404, 410})


class Content(Protocol):
    """Bytes that can be read from anywhere, again and again."""

    @property
    def length(self) -> int:
        """How many there are."""
        ...

    def read(self, start: int) -> Iterator[bytes]:
        """Bytes from `start` to the end, in portions."""
        ...


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one upload sends.

    Attributes:
        files: Names for the sender's own report, by place in the archive.
        digest: The same files, unchanged, have the same.
    """

    content: Content
    kind: str
    digest: str
    files: Sequence[str]


class _Archive:
    """A zip archive that is there already."""

    def __init__(self, path: Path, length: int) -> None:
        self._bundle = path
        self.length = length

    def read(self, start: int) -> Iterator[bytes]:
        with self._bundle.open("rb") as file:
            file.seek(start)
            while data := file.read(1 << 18):
                yield data


def parcels(files: Sequence[Path]) -> list[Parcel]:
    """Every zip archive by itself, and everything else in one bundle."""
    archives = [file for file in files if _is_archive(file)]
    others = [file for file in files if file not in set(archives)]
    found = [
        Parcel(_Archive(file, file.stat().st_size), "application/zip", _digest([file]), [file.name])
        for file in archives
    ]
    if others:
        bundle = Bundle([Listed(file, file.stat().st_size) for file in others])
        found.append(Parcel(bundle, "application/zip", _digest(others), [file.name for file in others]))
    return found


class Memory:
    """Addresses of unfinished uploads by digest, in one small file of the user's own."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or state_folder() / "uploads.json"

    def get(self, digest: str) -> str | None:
        """The address of the unfinished upload, if there is one."""
        found = self._read().get(digest)
        return None if found is None else str(found)

    def put(self, digest: str, place: str | None) -> None:
        """Remember an address, or with None forget it."""
        held = {key: value for key, value in self._read().items() if key != digest}
        if place is not None:
            held[digest] = place
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self._path.parent, prefix=".", delete=False) as file:
            json.dump(held, file)
        Path(file.name).replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            held = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return held if isinstance(held, dict) else {}


@dataclass(slots=True)
class Tally:
    """What a sending cost.

    Attributes:
        sent: Bytes handed to the network.
        fresh: Bytes that had to be sent when it began.
        cuts: How often it had to begin again.
    """

    sent: int = 0
    fresh: int = 0
    cuts: int = 0

    @property
    def resent(self) -> int:
        """Bytes that were sent more than once."""
        return max(0, self.sent - self.fresh)


class Sender:
    """Sends parcels to one server, however often the connection breaks.

    Args:
        http: A client whose base address is the server's.
        memory: Where unfinished uploads are remembered.
        told: Called with how many more bytes are durable on the other side; less than 0 is possible.
        patience_s: Seconds without one more durable byte after which it is given up; running it again goes on.
    """

    def __init__(
        self,
        http: httpx.Client,
        memory: Memory,
        *,
        told: Callable[[int], None] = lambda _: None,
        patience_s: float = 600.0,
    ) -> None:
        self._http = http
        self._memory = memory
        self._told = told
        self._patience_s = patience_s
        self._part = _LEAST_PART
        self._limit = _MOST_PART
        self.tally = Tally()

    def send(self, parcel: Parcel) -> str:
        """Bring a parcel to the server; returns the address that tells what becomes of it.

        Raises:
            Refused: The server does not want it.
            Unavailable: It could not be reached for too long.
        """
        key = hashlib.sha256(f"{self._http.base_url}|{parcel.digest}".encode()).hexdigest()
        place = self._memory.get(key)
        offset = None if place is None else self._patiently(lambda place=place: self._offset(place))  # type: ignore[misc]
        if place is None or offset is None:
            place, offset = self._patiently(lambda: self._begin(parcel)), 0
            self._memory.put(key, place)
        self._told(offset)
        self.tally.fresh += parcel.content.length - offset
        while offset < parcel.content.length:
            offset = self._patiently(self._parts(parcel, place, offset))
        return place

    def finish(self, place: str, parcel: Parcel | None = None, *, wait_s: float = 0.5) -> dict[str, Any]:
        """Wait for what becomes of an upload, and forget it.

        Raises:
            Refused: The server has forgotten it.
            Unavailable: It could not be reached for too long.
        """
        while True:
            told: dict[str, Any] = self._patiently(lambda: self._ask("GET", place).json())
            if told["state"] not in {"receiving", "landing"}:
                break
            time.sleep(wait_s)
        if parcel is not None:
            self._memory.put(hashlib.sha256(f"{self._http.base_url}|{parcel.digest}".encode()).hexdigest(), None)
        return told

    def _parts(self, parcel: Parcel, place: str, offset: int) -> Callable[[], int]:
        """One try to send what is missing: asks where to go on after a cut, returns the new offset at its end."""
        known = [offset]

        def once() -> int:
            if known[0] < 0:
                now = self._offset(place)
                if now is None:
                    raise Refused(404, "not-found", "the server has forgotten the upload; run the command again")
                self._told(now - offset)
                if now != offset:
                    return now
                known[0] = now
            start, known[0] = known[0], -1
            end = self._patch(parcel.content, place, start)
            self._told(end - offset)
            return end

        return once

    def _patch(self, content: Content, place: str, offset: int) -> int:
        length = min(self._part, self._limit, content.length - offset)
        self._part = max(_LEAST_PART, self._part // 2)  # unless this one arrives
        headers = {**_CHUNK, "Upload-Offset": str(offset), "Content-Length": str(length)}
        answer = self._ask("PATCH", place, headers=headers, content=self._counted(content.read(offset), length))
        self._part = min(_MOST_PART, self._part * 4)
        return int(answer.headers["Upload-Offset"])

    def _counted(self, portions: Iterator[bytes], length: int) -> Iterator[bytes]:
        """The first `length` bytes, counted as they leave."""
        for portion in portions:
            data = portion[:length]
            length -= len(data)
            for begin in range(0, len(data), 1 << 16):
                piece = data[begin : begin + (1 << 16)]
                yield piece
                self.tally.sent += len(piece)
            if not length:
                return

    def _begin(self, parcel: Parcel) -> str:
        kind = base64.b64encode(parcel.kind.encode()).decode()
        headers = {**_TUS, "Upload-Length": str(parcel.content.length), "Upload-Metadata": f"filetype {kind}"}
        return str(httpx.URL(self._ask("POST", PLACE, headers=headers).headers["Location"]).path)

    def _offset(self, place: str) -> int | None:
        """Bytes that are durable on the other side; None where the upload is not known any more."""
        try:
            return int(self._ask("HEAD", place, headers=_TUS).headers["Upload-Offset"])
        except Refused as error:
            if error.status in _GONE:
                return None
            raise

    def _ask(self, method: str, place: str, *, headers: Mapping[str, str] | None = None, content: Any = None) -> Any:
        answer = self._http.request(method, place, headers=headers, content=content, timeout=_TIMEOUT)
        if answer.is_success:
            self._limit = _limit_of(answer.headers.get("Upload-Limit", "")) or self._limit
            return answer
        raise refusal(answer)

    def _patiently(self, task: Callable[[], Value]) -> Value:
        """Try until it works, waiting longer each time."""
        given_up, wait_s = time.monotonic() + self._patience_s, _FIRST_WAIT_S
        while True:
            try:
                return task()
            except httpx.TransportError as error:
                if is_untrusted(error):
                    raise
                why = type(error).__name__
            except Refused as error:
                if error.status not in _AGAIN:
                    raise
                why = error.code
            except Unavailable as error:  # nobody gives a token now
                why = error.code
            self.tally.cuts += 1
            if time.monotonic() > given_up:
                raise Unavailable(f"nothing got through for too long ({why}); run the command again to go on")
            time.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 — jitter
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _limit_of(header: str) -> int | None:
    """Bytes that one request may bring at most, where the server says so.

    >>> _limit_of("max-size=100, max-append-size=4194304")
    4194304
    """
    found = re.search(r"(?:^|,)\s*max-append-size=(\d{1,18})(?:\s*[,;]|$)", header)
    return max(int(found[1]), 1) if found else None


def names_of(parcel: Parcel, reasons: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Reasons with the names of the first files they are about; names never leave this machine."""
    is_bundle = isinstance(parcel.content, Bundle)
    return [
        {**reason, "names": [parcel.files[place - 1] for place in reason["places"]] if is_bundle else []}
        for reason in reasons
    ]


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = b"".join(islice(iter(lambda: file.read(132), b""), 1))
    return beginning[:2] == b"PK" and beginning[128:132] != b"DICM"


def _digest(files: Sequence[Path]) -> str:
    """A digest of what files are called, how long they are and when they were written; not of what is in them."""
    digest = hashlib.sha256()
    for file in files:
        told = file.stat()
        digest.update(f"{file.resolve()}\0{told.st_size}\0{told.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
