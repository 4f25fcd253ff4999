"""Media types as headers write them: Content-Type, Accept, Content-Disposition (RFC 9110 §5.6.6, §12.5.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers

_PARAMETER = re.compile(r';\s*([^\s=;,"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')
_ESCAPED = re.compile(r"\\(.)")
_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+')


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range: `name` and the names of parameters in lower case, values as written."""

    name: str
    parameters: Mapping[str, str]

    @property
    def weight(self) -> float:
        """The q of an Accept header, 0..1; what is not a number counts as 0."""
        try:
            return min(1.0, max(0.0, float(self.parameters.get("q", "1"))))
        except ValueError:
            return 0.0


def media_type(header: str) -> MediaType:
    """The type one header value names; what cannot be read leaves out parameters rather than failing.

    >>> media_type('multipart/related; type="image/jph"; boundary=x').parameters["type"]
    'image/jph'
    """
    name, _, _ = header.partition(";")
    parameters = {
        found[1].lower(): _ESCAPED.sub(r"\1", found[2][1:-1]) if found[2].startswith('"') else found[2]
        for found in _PARAMETER.finditer(header)
    }
    return MediaType(name=name.strip().lower(), parameters=parameters)


def accepted(header: str | None) -> list[MediaType]:
    """What an Accept header asks for, the most wanted first; nothing said is anything.

    >>> [each.name for each in accepted("text/plain;q=0.5, image/png, image/gif;q=0")]
    ['image/png', 'text/plain']
    """
    ranges = [media_type(found[0]) for found in _ITEM.finditer(header or "*/*") if found[0].strip()]
    return sorted((each for each in ranges if each.weight > 0), key=lambda each: -each.weight)


def accepted_by(headers: Headers) -> list[MediaType]:
    """What the Accept headers of a request ask for, be there one, several or none."""
    return accepted(", ".join(headers.getlist("accept")) or None)
