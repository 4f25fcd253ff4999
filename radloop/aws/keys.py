"""The Keys port under a key of KMS: data keys leave KMS only to be used, and are kept wrapped by it."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import code_of, status_of, translated
from radloop.core.errors import Corrupt, Unavailable
from radloop.security.sealing import KEY_BYTES, GcmCipher, Keyring

CONTEXT = "radloop"
"""Name in KMS's encryption context under which the domain of a key stands; key policies may demand it."""

_LONGEST_WRAPPED_BYTES = 6144  # of KMS's CiphertextBlob
_MOST_CIPHERS = 1024
_CIPHER_LIFE_S = 300.0
_FOREIGN = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_PRECONDITION_FAILED, _CONFLICT = 412, 409


class KmsKeys:
    """The Keys port under one KMS key; ciphers are those of `security.sealing`.

    A data key that was unwrapped is remembered for five minutes, so that a series costs one call of KMS and not one a
    slice; that long taking the right to decrypt away needs to act. What is remembered is bounded.

    Args:
        kms: A boto3 client of KMS.
        key: ARN of the key.
        domain: What the key is for; part of the encryption context, so that no other domain's data keys unwrap.
        secret: Gives the installation's wrapped secret (of `create_secret`), asked once; pseudonyms and what `derive`
            gives depend on it, so it must stay the same for as long as the installation lives.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        kms: Any,
        key: str,
        *,
        domain: str,
        secret: Callable[[], bytes],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kms = kms
        self._key = key
        self._context = {CONTEXT: domain}
        self._wrapped_secret = secret
        self._monotonic = monotonic
        self._secret: Keyring | None = None
        self._ciphers: OrderedDict[bytes, tuple[GcmCipher, float]] = OrderedDict()
        self._guard = Lock()

    def create(self) -> bytes:
        """See `Keys.create`."""
        plain, wrapped = self._generated(self._context)
        self._remember(wrapped, GcmCipher(plain))
        return wrapped

    def cipher(self, wrapped: bytes) -> GcmCipher:
        """See `Keys.cipher`."""
        with self._guard:
            known = self._ciphers.get(wrapped)
            if known is not None and self._monotonic() < known[1]:
                self._ciphers.move_to_end(wrapped)
                return known[0]
        cipher = GcmCipher(self._unwrapped(wrapped, self._context))
        self._remember(wrapped, cipher)
        return cipher

    def pseudonym(self, patient_id: str) -> str:
        """See `Keys.pseudonym`."""
        return self._own().pseudonym(patient_id)

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose; see `Keyring.derive`."""
        return self._own().derive(purpose)

    def create_secret(self) -> bytes:
        """A fresh wrapped secret for an installation that has none; it unwraps as nothing else."""
        return self._generated(self._secret_context())[1]

    def _own(self) -> Keyring:
        with self._guard:
            if self._secret is None:
                self._secret = Keyring(self._unwrapped(self._wrapped_secret(), self._secret_context()))
            return self._secret

    def _secret_context(self) -> dict[str, str]:
        return {**self._context, "purpose": "secret"}

    def _generated(self, context: dict[str, str]) -> tuple[bytes, bytes]:
        try:
            made = self._kms.generate_data_key(KeyId=self._key, KeySpec="AES_256", EncryptionContext=context)
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "kms") from error
        return bytes(made["Plaintext"]), bytes(made["CiphertextBlob"])

    def _unwrapped(self, wrapped: bytes, context: dict[str, str]) -> bytes:
        if not 0 < len(wrapped) <= _LONGEST_WRAPPED_BYTES:
            raise Corrupt(f"a wrapped data key is at most {_LONGEST_WRAPPED_BYTES} bytes long, found {len(wrapped)}")
        try:
            answer = self._kms.decrypt(CiphertextBlob=wrapped, KeyId=self._key, EncryptionContext=context)
        except ClientError as error:
            if code_of(error) in _FOREIGN:
                raise Corrupt("data key does not unwrap: another key, or one for another domain, wrapped it") from None
            raise translated(error, "kms") from error
        except BotoCoreError as error:
            raise translated(error, "kms") from error
        plain = bytes(answer["Plaintext"])
        if len(plain) != KEY_BYTES:
            raise Corrupt(f"data key unwraps to {len(plain)} bytes, expected {KEY_BYTES}")
        return plain

    def _remember(self, wrapped: bytes, cipher: GcmCipher) -> None:
        with self._guard:
            self._ciphers[wrapped] = (cipher, self._monotonic() + _CIPHER_LIFE_S)
            self._ciphers.move_to_end(wrapped)
            while len(self._ciphers) > _MOST_CIPHERS:
                self._ciphers.popitem(last=False)


def kept_once(s3: Any, bucket: str, name: str, make: Callable[[], bytes]) -> bytes:
    """What lies in a bucket under `name`; where nothing does, what `make` gives, unless somebody else is first.

    It is how an installation's wrapped secret comes to be: whoever starts first makes it, and nobody replaces it.

    Raises:
        NotFound: There is no such bucket.
        Denied: We may not read or write there.
        Unavailable: S3 does not answer, or neither shows nor takes the object.
    """
    try:
        for _ in range(3):
            found = _object(s3, bucket, name)
            if found is not None:
                return found
            _offer(s3, bucket, name, make())
    except (BotoCoreError, ClientError) as error:
        raise translated(error, "s3") from error
    raise Unavailable("s3 neither shows nor takes the object")


def _object(s3: Any, bucket: str, name: str) -> bytes | None:
    try:
        with s3.get_object(Bucket=bucket, Key=name)["Body"] as body:
            return bytes(body.read())
    except ClientError as error:
        if code_of(error) == "NoSuchKey":
            return None
        raise


def _offer(s3: Any, bucket: str, name: str, data: bytes) -> None:
    """Write the object unless there is one."""
    try:
        s3.put_object(Bucket=bucket, Key=name, Body=data, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
    except ClientError as error:
        if status_of(error) not in {_PRECONDITION_FAILED, _CONFLICT}:
            raise
