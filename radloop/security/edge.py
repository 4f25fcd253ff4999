"""Addresses of static packs, signed as CloudFront checks them: for one image set, one principal and an hour.

The policy names every file of one version of one image set, and carries for whom it was made as a part of the query,
so that neither can be changed without breaking the signature. Whoever holds such a query can read these files until it
is over, also after its maker has lost the right to: CloudFront asks nobody. So it is short.

CloudFront checks RSA or ECDSA over SHA-1, and writes base64 with other signs than RFC 4648 has for addresses.

See:
    Amazon CloudFront Developer Guide, "Create a signed URL using a custom policy".
"""

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.identity import Principal, derived_id

LIFE: Final = timedelta(hours=1)

_PAUSE: Final = timedelta(minutes=1)
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_SIGNS: Final = bytes.maketrans(b"+=/", b"-_~")


class Edge:
    """Makes addresses of packs.

    Args:
        url: What the packs lie below, such as `https://example.org/packs`; or a path, of the origin that is asked.
        key_id: The id under which CloudFront knows the public key.
        key: Gives the private key, PEM; asked once, when the first address is signed. Where it fails, it is not asked
            again for a minute, so that nobody waits for it again and again.
    """

    def __init__(self, url: str, key_id: str, key: Callable[[], bytes]) -> None:
        self._url = url.rstrip("/")
        self._key_id = key_id
        self._pem = key
        self._key: _Key | None = None
        self._asked_again = datetime.min.replace(tzinfo=UTC)

    def address(self, image_set: str, version: int, principal: Principal, now: datetime) -> str:
        """What the packs of a version of an image set lie below, ending in `/`, and behind `?` what opens them.

        Raises:
            InvalidInput: The private key is none that CloudFront takes.
            Unavailable: It cannot be had now.
        """
        base = f"{self._url}/{image_set}/{version}/"
        whose = f"for={derived_id('edge', principal.id)}"  # tells strangers nothing
        ends = math.ceil((now + LIFE).timestamp())
        condition = {"DateLessThan": {"AWS:EpochTime": ends}}
        statement = {"Resource": f"{base}*?{whose}", "Condition": condition}
        policy = json.dumps({"Statement": [statement]}, separators=(",", ":")).encode()
        query = (
            f"{whose}&Policy={_text(policy)}&Signature={_text(self._signed(policy, now))}&Key-Pair-Id={self._key_id}"
        )
        return f"{base}?{query}"

    def _signed(self, policy: bytes, now: datetime) -> bytes:
        key = self._loaded(now) if self._key is None else self._key
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(policy, padding.PKCS1v15(), SHA1())  # noqa: S303 — what CloudFront checks
        return key.sign(policy, ec.ECDSA(SHA1()))  # noqa: S303 — the same

    def _loaded(self, now: datetime) -> _Key:
        if now < self._asked_again:
            raise Unavailable("the key that packs are signed with could not be had a moment ago")
        self._asked_again = now + _PAUSE
        self._key = _private_key(self._pem())
        return self._key


def _private_key(pem: bytes) -> _Key:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInput("the key that packs are signed with is no private key in PEM") from None
    if not isinstance(key, _Key):
        raise InvalidInput("the key that packs are signed with must be of RSA or ECDSA")
    return key


def _text(data: bytes) -> str:
    return base64.b64encode(data).translate(_SIGNS).decode()
