"""Signed links: a query that stands for its maker's right to read one image set, for a while.

For who cannot send a header or a cookie: a worker that fetches on its own, a cache, a program that is handed an
address. A link names whose right it is; what that principal may do is looked up anew each time it is used, so that it
opens nothing any more once its maker is disabled, revoked, or has lost the role or the patient.

The signature is HMAC-SHA-256 (RFC 2104) of image set, principal and end under a key of the home. It is looked at before
anything else of a link is, so that who cannot sign learns nothing from the refusals.
"""

import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from radloop.core.errors import ExpiredLink, InvalidInput, InvalidLink
from radloop.core.identity import Principal

LONGEST_LIFE_S = 3600
PURPOSE = "links"
"""What the key is derived for, see `Keyring.derive`."""

_FIELDS = ("expires", "principal", "signature")


@dataclass(frozen=True, slots=True)
class Link:
    """A link; `query` goes behind the question mark of an address."""

    query: str
    expires_at: datetime


class Links:
    """Makes links and checks them, under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, image_set: str, principal: Principal, *, seconds: int, now: datetime) -> Link:
        """A link to an image set that `principal` may read.

        Raises:
            InvalidInput: `seconds` is not from 1 to `LONGEST_LIFE_S`.
        """
        if not 1 <= seconds <= LONGEST_LIFE_S:
            raise InvalidInput(f"seconds must be a whole number from 1 to {LONGEST_LIFE_S}")
        ends = datetime.fromtimestamp(math.ceil((now + timedelta(seconds=seconds)).timestamp()), UTC)
        expires = str(int(ends.timestamp()))
        signature = self._signature(image_set, principal.id, expires)
        values = (expires, principal.id, signature)
        return Link(urlencode(list(zip(_FIELDS, values, strict=True))), ends)

    def check(self, image_set: str, query: Sequence[tuple[str, str]], now: datetime) -> str:
        """The id of the principal whose right a link is; `query` may hold other fields too.

        Raises:
            InvalidLink: A part is absent or doubled, or it was not signed for this image set, principal and end.
            ExpiredLink: Its time is over.
        """
        found = [[value for name, value in query if name == field] for field in _FIELDS]
        if any(len(values) != 1 for values in found):
            raise InvalidLink("a link has expires, principal and signature, once each")
        (expires,), (principal,), (signature,) = found
        right = self._signature(image_set, principal, expires)
        if not hmac.compare_digest(right.encode(), signature.encode("utf-8", "surrogatepass")):
            raise InvalidLink("the link was not signed for this image set, this principal and this time")
        if datetime.fromtimestamp(int(expires), UTC) <= now:
            raise ExpiredLink("the link has expired; ask for another")
        return principal

    def _signature(self, image_set: str, principal: str, expires: str) -> str:
        told = f"radloop link 1\n{image_set}\n{principal}\n{expires}"  # none of our ids has a line break
        return hmac.new(self._key, told.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def is_link(query: Sequence[tuple[str, str]]) -> bool:
    """Whether a query holds a part of a link, so that it is to be taken for one."""
    return any(name in _FIELDS for name, _ in query)
