"""Sealing: AES-256-GCM under data keys, which are themselves wrapped by a key-encryption key."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from radloop.core.errors import Corrupt

NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16
KEY_BYTES = 32

_DOES_NOT_OPEN = "sealed bytes do not open: damaged, or sealed for another place"


class GcmCipher:
    """The Cipher port: one AES-256-GCM message a call, nonce in front, context as associated data.

    Nonces are random 96 bit numbers; a data key belongs to one image set, far below the 2^32 messages that NIST
    SP 800-38D §8.3 allows one key with random nonces.
    """

    def __init__(self, key: bytes) -> None:
        self._gcm = AESGCM(key)

    def seal(self, data: bytes, context: bytes) -> bytes:
        """See `Cipher.seal`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._gcm.encrypt(nonce, data, context)

    def open(self, sealed: bytes | bytearray | memoryview, context: bytes) -> bytes:
        """See `Cipher.open`."""
        try:
            return self._gcm.decrypt(bytes(sealed[:NONCE_BYTES]), memoryview(sealed)[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise Corrupt(_DOES_NOT_OPEN) from None

    def open_between(
        self, sealed: bytes | bytearray | memoryview, context: bytes, head: bytes, tail: bytes
    ) -> bytes | bytearray:
        """See `Cipher.open_between`."""
        if not head and not tail:
            return self.open(sealed, context)
        start, end = len(head), len(head) + len(sealed) - OVERHEAD_BYTES
        try:
            whole = bytearray(end + len(tail))
            with memoryview(whole) as room:
                self._gcm.decrypt_into(
                    bytes(sealed[:NONCE_BYTES]), memoryview(sealed)[NONCE_BYTES:], context, room[start:end]
                )
        except (InvalidTag, ValueError):
            raise Corrupt(_DOES_NOT_OPEN) from None
        whole[:start] = head
        whole[end:] = tail
        return whole


class Keyring:
    """The Keys port under one key-encryption key (KEK) of 32 bytes; AES key wrap of RFC 3394."""

    def __init__(self, kek: bytes) -> None:
        self._kek = kek

    def create(self) -> bytes:
        """See `Keys.create`."""
        return aes_key_wrap(self._kek, os.urandom(KEY_BYTES))

    def cipher(self, wrapped: bytes) -> GcmCipher:
        """See `Keys.cipher`."""
        return GcmCipher(self.unwrap(wrapped))

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key itself.

        Raises:
            Corrupt: It was not wrapped by our key-encryption key.
        """
        try:
            return aes_key_unwrap(self._kek, wrapped)
        except (InvalidUnwrap, ValueError):
            raise Corrupt("data key does not unwrap: another key-encryption key wrapped it") from None

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, by HMAC-SHA-256 of the KEK (NIST SP 800-108 in spirit)."""
        return hmac.new(self._kek, f"radloop {purpose}".encode(), hashlib.sha256).digest()

    def pseudonym(self, patient_id: str) -> str:
        """See `Keys.pseudonym`."""
        return hmac.new(self.derive("pseudonym"), patient_id.encode(), hashlib.sha256).hexdigest()[:32]
