"""Passwords: how they are kept, and how one is held against what is kept."""

import base64
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from radloop.core.errors import InvalidInput

LEAST_PASSWORD = 12
LONGEST_PASSWORD = 1024


class Passwords:
    """Keeps passwords as argon2id.

    Args:
        hasher: As RFC 9106 §4 advises for servers with little memory, unless told.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobodys = ""

    def kept(self, password: str) -> str:
        """What is written down of a password.

        Raises:
            InvalidInput: It is too short or too long.
        """
        if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise InvalidInput(f"a password has from {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters")
        return self._hasher.hash(_normal(password))

    def nobodys(self) -> str:
        """What a password is held to where there is no user, so that both take as long."""
        if not self._nobodys:
            self._nobodys = self._hasher.hash(secrets.token_urlsafe())
        return self._nobodys

    def matches(self, kept: str, password: str) -> bool:
        """Whether it is the one that was written down."""
        try:
            return len(password) <= LONGEST_PASSWORD and self._hasher.verify(kept, _normal(password))
        except (VerificationError, InvalidHashError):
            return False


def new_password() -> str:
    """A password of 120 random bits that can be read out: six groups of four letters and digits."""
    text = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    return "-".join(text[place : place + 4] for place in range(0, len(text), 4))


def _normal(password: str) -> bytes:
    """The same bytes from every keyboard."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
