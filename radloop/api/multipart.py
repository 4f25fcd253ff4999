"""Multipart bodies as they stream in, in memory that does not grow with them (RFC 2046 §5.1, RFC 7578)."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from starlette.exceptions import HTTPException

from radloop.api.media import media_type
from radloop.core.errors import InvalidInput

LONGEST_HEADERS = 16 * 1024
LONGEST_PADDING = 256
_LONGEST_BOUNDARY = 70


@dataclass(frozen=True, slots=True)
class Part:
    """One whole part: headers by lower-case name, and its body."""

    headers: Mapping[str, str]
    data: bytes

    @property
    def file_name(self) -> str | None:
        """What a form calls the file, or None for a part that is no file."""
        return media_type(self.headers.get("content-disposition", "")).parameters.get("filename")


class _At(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class MultipartParser:
    """Cuts a multipart body into its parts, whatever pieces it comes in.

    `feed` gives a mapping where a part begins (its headers), bytes for what its body holds, and None where it ends.

    Args:
        boundary: From the Content-Type, 1 to 70 ASCII characters.

    Raises:
        InvalidInput: The boundary is not a legal one.
    """

    def __init__(self, boundary: str) -> None:
        if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
            raise InvalidInput("a multipart body needs a boundary of 1 to 70 characters in its Content-Type")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._held = b"\r\n"  # so that the first delimiter looks like the others
        self._taken = 0  # bytes of `_held` that are dealt with
        self._at = _At.PREAMBLE

    def feed(self, data: bytes) -> Iterator[Mapping[str, str] | bytes | None]:
        """Take in the next piece; the answer must be read to its end before the next call.

        Raises:
            InvalidInput: The body breaks the rules of multipart.
        """
        self._held += data
        yield from self._found()
        self._held, self._taken = self._held[self._taken :], 0

    def finish(self) -> None:
        """The body is over.

        Raises:
            InvalidInput: It ended before its closing delimiter.
        """
        if self._at is not _At.EPILOGUE:
            raise InvalidInput("the multipart body ends before its closing boundary")

    def _found(self) -> Iterator[Mapping[str, str] | bytes | None]:
        while True:
            if self._at is _At.EPILOGUE:
                self._taken = len(self._held)
                return
            if self._at is _At.HEADERS:
                headers = self._take_headers()
                if headers is None:
                    return
                self._at = _At.BODY
                yield headers
            body, ending = self._take_body()
            if body and self._at is _At.BODY:
                yield body
            if ending is _Ending.UNKNOWN:
                return
            if ending is _Ending.NONE:
                continue
            if self._at is _At.BODY:
                yield None
            self._at = _At.EPILOGUE if ending is _Ending.LAST else _At.HEADERS

    def _take_headers(self) -> Mapping[str, str] | None:
        """The header block that comes next, or None while it is not all here."""
        end = self._held.find(b"\r\n\r\n", self._taken)
        if (len(self._held) if end < 0 else end) - self._taken > LONGEST_HEADERS:
            raise InvalidInput("the headers of a part are too long")
        if end < 0:
            return None
        headers = _headers(self._cut(end))
        self._taken += 4
        return headers

    def _take_body(self) -> tuple[bytes, "_Ending"]:
        """Body that is certain, and what stands behind it; a delimiter is taken too, but for its line break."""
        found = self._held.find(self._delimiter, self._taken)
        if found < 0:
            return self._cut(max(self._taken, len(self._held) - len(self._delimiter) + 1)), _Ending.UNKNOWN
        ending, length = _ending(self._held, found + len(self._delimiter))
        if ending is _Ending.NONE:
            return self._cut(found + 2), ending  # a line that only begins like a delimiter belongs to the body
        body = self._cut(found)
        if ending is not _Ending.UNKNOWN:
            self._taken += len(self._delimiter) + length
        return body, ending

    def _cut(self, end: int) -> bytes:
        cut, self._taken = self._held[self._taken : end], end
        return cut


class _Ending(Enum):
    """What stands behind something that looks like a delimiter."""

    UNKNOWN = auto()  # more must be read to tell
    NONE = auto()  # it is no delimiter
    PART = auto()  # another part follows
    LAST = auto()  # nothing follows


def _ending(held: bytes, at: int) -> tuple[_Ending, int]:
    """What stands at `at`, behind a delimiter, and how many bytes of padding to take with it."""
    rest = held[at : at + LONGEST_PADDING + 2]
    if rest[:2] == b"--":
        return _Ending.LAST, 2
    line = rest.lstrip(b" \t")
    padding = len(rest) - len(line)
    if line[:2] == b"\r\n":
        return _Ending.PART, padding
    if (line in {b"", b"\r"} and len(rest) < LONGEST_PADDING + 2) or rest == b"-":
        return _Ending.UNKNOWN, 0
    return _Ending.NONE, 0


def _headers(block: bytes) -> Mapping[str, str]:
    """Header lines by lower-case name; a folded line continues the one before."""
    lines = block.decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def parts_of(
    stream: AsyncIterable[bytes], boundary: str, *, longest_part: int, most_parts: int
) -> AsyncIterator[Part]:
    """The parts of a body, one whole part in memory at a time.

    Args:
        stream: The body as it arrives.
        boundary: From the Content-Type.
        longest_part: Bytes a part may have.
        most_parts: Parts there may be.

    Raises:
        InvalidInput: The body breaks the rules of multipart.
        HTTPException: 413, a part is too long or there are too many.
    """
    parser = MultipartParser(boundary)
    headers: Mapping[str, str] = {}
    body: list[bytes] = []
    length = count = 0
    async for piece in stream:
        for found in parser.feed(piece):
            if isinstance(found, bytes):
                length += len(found)
                if length > longest_part:
                    raise HTTPException(413, f"a file may have at most {longest_part >> 20} MiB")
                body.append(found)
            elif found is None:
                yield Part(headers, b"".join(body))
                body, length = [], 0
            else:
                count += 1
                if count > most_parts:
                    raise HTTPException(413, f"one request may carry at most {most_parts} files")
                headers = found
    parser.finish()
