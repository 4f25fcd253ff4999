"""Ed25519 (RFC 8032): keys as people hold them, and what is signed with them.

A signature under a plan covers the role and the id of its signer and then the exact bytes of the plan, so that neither
can be exchanged afterwards. Public keys and signatures are written in hexadecimal; files hold keys as PEM.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from radloop.core.errors import InvalidInput


class PrivateKey:
    """An Ed25519 key pair; the Signer port.

    Args:
        seed: 32 bytes, the private key itself.
    """

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def generate(cls) -> "PrivateKey":
        """A fresh key pair."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_pem(cls, data: bytes, password: bytes | None = None) -> "PrivateKey":
        """The key pair in a PEM file.

        Raises:
            InvalidInput: It holds no Ed25519 key, or the password is missing or wrong.
        """
        try:
            key = load_pem_private_key(data, password)
        except TypeError:
            sealed = password is None
            raise InvalidInput("the key needs its password" if sealed else "the key takes no password") from None
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidInput("this is no private key in PEM, or the password is another one") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInput("this is a private key, but not of Ed25519")
        return cls(key.private_bytes_raw())

    @property
    def public_key(self) -> str:
        """See `Signer.public_key`."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> bytes:
        """See `Signer.sign`."""
        return self._key.sign(data)

    def pem(self, password: bytes | None = None) -> bytes:
        """The private key as PEM (PKCS #8), sealed where there is a password."""
        sealing = NoEncryption() if not password else BestAvailableEncryption(password)
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing)


def public_pem(public_key: str) -> bytes:
    """A public key as PEM."""
    return _public(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_key_of(data: bytes) -> str:
    """The public key that a PEM file or 64 hexadecimal digits hold.

    Raises:
        InvalidInput: It is neither, or no key of Ed25519.
    """
    text = data.strip()
    try:
        if text.startswith(b"-----"):
            key = load_pem_public_key(text)
            if not isinstance(key, Ed25519PublicKey):
                raise InvalidInput("this is a public key, but not of Ed25519")
            return key.public_bytes_raw().hex()
        return _public(text.decode("ascii").lower()).public_bytes_raw().hex()
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput("this is no public key: expected PEM or 64 hexadecimal digits") from None


def is_signed(public_key: str, data: bytes, signature: str) -> bool:
    """Whether `signature` was made over `data` with the private key that belongs to `public_key`."""
    try:
        _public(public_key).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def plan_message(plan: bytes, *, signer: str, role: str) -> bytes:
    """What a signer of a plan signs; neither ids nor roles hold a line break."""
    return f"radloop change control plan 1\n{role}\n{signer}\n".encode() + plan


def fingerprint(public_key: str) -> str:
    """A short name of a public key, to be compared by eye: 8 groups of 4 digits of its SHA-256."""
    digits = hashlib.sha256(bytes.fromhex(public_key)).hexdigest()
    return " ".join(digits[place : place + 4] for place in range(0, 32, 4))


def _public(public_key: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
