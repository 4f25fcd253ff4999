"""Who asks, and what things are called."""

import hashlib
import secrets
from dataclasses import dataclass

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 32
_LETTERS = bytes(ord(_ALPHABET[byte % len(_ALPHABET)]) for byte in range(256))
_UNEVEN = bytes(range(256 - 256 % len(_ALPHABET), 256))  # left out, so that every letter is as likely as any other


def new_id() -> str:
    """A fresh random id of HealthImaging's shape: 32 characters of 0-9 and a-z."""
    letters = b""
    while len(letters) < _ID_LENGTH:  # 64 bytes do, but for once in more than a life
        letters = secrets.token_bytes(2 * _ID_LENGTH).translate(_LETTERS, _UNEVEN)
    return letters[:_ID_LENGTH].decode()


def derived_id(*parts: str) -> str:
    """The id that belongs to `parts`: the same parts give the same id, whoever asks and whenever.

    Work that may be done twice names its results this way, so that doing it twice makes one result.

    >>> len(derived_id("ImageIngested", "abc", "1"))
    32
    >>> derived_id("ab", "c") == derived_id("a", "bc")
    False
    """
    number = int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest(), "big")
    digits = []
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever stands behind a request.

    Attributes:
        id: Opaque; never a name or an e-mail address, because it goes into events and the audit.
        roles: What this principal may do: names of `contracts/roles.json`.
        patients: The only patients whose images this principal may know of, by PatientID; None for all.
    """

    id: str
    roles: frozenset[str]
    patients: frozenset[str] | None = None


OWNER = Principal(
    id="owner",
    roles=frozenset({"admin", "reader", "verifier", "adjudicator", "ml", "release-approver", "auditor"}),
)
SYSTEM = Principal(id="radloop", roles=frozenset({"system"}))
