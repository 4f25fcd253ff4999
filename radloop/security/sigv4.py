"""AWS Signature Version 4 as the receiver checks it: the Authorization header and presigned addresses.

The canonical request is made from what stood on the wire: the path still percent-encoded (so that encoding it once
more gives the double encoding that every service but S3 asks for), the query decoded as our doors decode it and
encoded again, the headers as bytes. Two requests that our doors would read differently never have one canonical form.

What is decided here, and why:

- **Time.** A header-form request may be `SKEW_S` old or early. A presigned address carries its own expiry, at most
  `LONGEST_PRESIGNED_S`; it may be early by the same skew.
- **Body.** The payload hash is part of what is signed, and `UNSIGNED-PAYLOAD` is refused even over TLS: the SDKs sign
  the body of every HealthImaging call, and an unsigned body would be the one part that a proxy could change.
- **Scope.** The service must be one of ours; any region is taken, because this installation is in none.
- **Headers.** `host` and every `x-amz-*` header that arrived must be signed.
- **Paths.** A path with empty or dot segments is refused: it would be signed as another than the one that is routed.
- **Replay.** A header-form request that may change something is accepted again under the identical signature only
  within `REPEAT_S` of the first time. An SDK that retries signs anew, but its clock has whole seconds, so that a retry
  or a twin within the same second carries the same signature; a longer repetition is no SDK's. Presigned addresses
  and safe methods may be repeated while they are valid: that is what they are for.

See: AWS General Reference, "Create a signed AWS API request"; RFC 3986 §5.2.4.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes

from radloop.core.errors import Unauthenticated

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICES = frozenset({"medical-imaging"})
SKEW_S = 300
LONGEST_PRESIGNED_S = 7 * 24 * 3600
REPEAT_S = 2.0
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DATE = "%Y%m%dT%H%M%SZ"
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELD = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_SCOPE = re.compile(r"(?P<key>[^/]+)/(?P<day>[^/]+)/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_SECONDS = re.compile(r"[0-9]{1,6}")
_HEADER_FIELDS = ("Credential", "SignedHeaders", "Signature")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_QUERY_FIELDS = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


class SignatureRefused(Unauthenticated):
    """Root of what is wrong with a signed request; `aws_code` is what AWS calls it."""

    aws_code = "AccessDeniedException"


class MissingToken(SignatureRefused):
    """The request carries no signature at all."""

    aws_code = "MissingAuthenticationTokenException"


class IncompleteSignature(SignatureRefused):
    """A part of the signature is absent or not of its form."""

    aws_code = "IncompleteSignatureException"


class UnrecognizedClient(SignatureRefused):
    """There is no such access key, or it is expired or revoked."""

    aws_code = "UnrecognizedClientException"


class InvalidSignature(SignatureRefused):
    """The signature is not the one of this request under this key."""

    aws_code = "InvalidSignatureException"


class SignatureExpired(InvalidSignature):
    """The signature is right and its time is over, or has not come, or it was used before."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it stood on the wire.

    Attributes:
        path: Still percent-encoded, without the query (`raw_path` of ASGI).
        query: Without the question mark (`query_string` of ASGI).
        headers: As they came, names in any case (`headers` of ASGI).
        body_sha256: Hexadecimal digest of the body. None where the body is not read yet: then the digest that the
            sender stated is signed for, and the reader must hold the body to `Signed.body_sha256`.
    """

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body_sha256: str | None


@dataclass(frozen=True, slots=True)
class Signed:
    """A request whose signature holds.

    Attributes:
        body_sha256: What the body's SHA-256 must be.
    """

    access_key_id: str
    body_sha256: str
    is_presigned: bool


class Replays(Protocol):
    """Where signatures that were accepted are remembered until they expire, so that none is used twice.

    Only right signatures come in here, so that nobody without a key can fill it. A restart may forget: a request
    captured before may be repeated after for the rest of its five minutes.
    """

    def admit(self, signature: str, now: datetime, until: datetime) -> bool:
        """Whether this is the first time, or a repetition within `REPEAT_S` of it."""
        ...


def verify(
    call: Call,
    secret_of: Callable[[str], str | None],
    now: datetime,
    *,
    services: Collection[str] = SERVICES,
    replays: Replays | None = None,
) -> Signed:
    """Hold a request to its signature.

    Args:
        call: The request.
        secret_of: The secret of an access key id; None where there is no such key or it is no longer valid.
        now: The present moment, in UTC.
        services: What the credential scope may name.
        replays: Where accepted signatures are remembered; None remembers nothing.

    Raises:
        MissingToken: It is not signed.
        IncompleteSignature: A part is absent or malformed.
        UnrecognizedClient: The access key is not one of ours, or a session token is named, of which we give none.
        InvalidSignature: The signature is another.
        SignatureExpired: Its time is over or not come, or it was used before.
    """
    headers = _joined(call.headers)
    pairs = _pairs(call.query)
    claim = _claim_of_header(headers) if "authorization" in headers else _claim_of_query(pairs)
    if claim.service not in services:
        raise InvalidSignature("the credential is scoped to another service")
    _require_signed(claim, headers)
    payload = _payload(call, headers)
    secret = secret_of(claim.access_key_id)
    if secret is None or claim.has_token:
        raise UnrecognizedClient("the security token included in the request is invalid")
    canonical = canonical_request(
        call.method,
        call.path,
        claim.pairs(pairs),
        headers,
        signed_headers=claim.signed_headers,
        payload_sha256=payload,
    )
    if not hmac.compare_digest(signature_of(secret, claim, canonical), claim.signature):
        raise InvalidSignature("the signature is not the one of this request under this key")
    until = _require_timely(claim, now)
    if replays is not None and not claim.is_presigned and call.method.upper() not in _SAFE_METHODS:
        _require_first(replays, claim, now, until)
    return Signed(claim.access_key_id, payload, claim.is_presigned)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says about its signature.

    Attributes:
        date: As written, `YYYYMMDD'T'HHMMSS'Z'`.
        expires_s: Of a presigned address; None for the header form.
    """

    access_key_id: str
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    date: str
    at: datetime
    expires_s: int | None
    has_token: bool

    @property
    def is_presigned(self) -> bool:
        """Whether the query carries it."""
        return self.expires_s is not None

    def pairs(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The part of the query that is signed."""
        return [pair for pair in pairs if not (self.is_presigned and pair[0] == b"X-Amz-Signature")]


def canonical_request(
    method: str,
    path: bytes,
    pairs: Sequence[tuple[bytes, bytes]],
    headers: Mapping[str, bytes],
    *,
    signed_headers: Sequence[str],
    payload_sha256: str,
) -> bytes:
    """The one form of a request that both sides sign.

    Raises:
        InvalidSignature: The path has empty or dot segments.
    """
    query = "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    )
    lines = b"".join(name.encode() + b":" + headers[name] + b"\n" for name in signed_headers)
    return b"\n".join(
        [
            method.upper().encode(),
            _canonical_path(path).encode(),
            query.encode(),
            lines,
            ";".join(signed_headers).encode(),
            payload_sha256.encode(),
        ]
    )


def signature_of(secret: str, claim: Claim, canonical: bytes) -> str:
    """The signature that a holder of `secret` would have made, hexadecimal."""
    key = f"AWS4{secret}".encode()
    for part in (claim.day, claim.region, claim.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    scope = f"{claim.day}/{claim.region}/{claim.service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, claim.date, scope, hashlib.sha256(canonical).hexdigest()])
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


# What a request says


def _claim_of_header(headers: Mapping[str, bytes]) -> Claim:
    text = headers["authorization"].decode("latin-1")
    if not text.startswith(ALGORITHM):
        raise MissingToken("missing authentication token")
    parts = text[len(ALGORITHM) :].split(",")
    found = [match for part in parts if (match := _FIELD.fullmatch(part.strip()))]
    named = {match[1]: match[2] for match in found}
    if len(found) != len(parts) or len(named) != len(found) or len(named) != len(_HEADER_FIELDS):
        raise IncompleteSignature(f"the Authorization header needs {', '.join(_HEADER_FIELDS)}, once each")
    written = _Written(
        credential=named["Credential"],
        signed_headers=named["SignedHeaders"],
        signature=named["Signature"],
        date=headers.get("x-amz-date", b"").decode("latin-1"),
        has_token="x-amz-security-token" in headers,
    )
    return _claim(written)


def _claim_of_query(pairs: Sequence[tuple[bytes, bytes]]) -> Claim:
    found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs if name.startswith(b"X-Amz-")]
    named = dict(found)
    if "X-Amz-Algorithm" not in named and "X-Amz-Signature" not in named:
        raise MissingToken("missing authentication token")
    if len(named) != len(found) or named.get("X-Amz-Algorithm") != ALGORITHM or not set(_QUERY_FIELDS) <= named.keys():
        raise IncompleteSignature(f"a presigned address needs {', '.join(_QUERY_FIELDS)}, once each")
    expires = named["X-Amz-Expires"]
    if not _SECONDS.fullmatch(expires) or not 0 < int(expires) <= LONGEST_PRESIGNED_S:
        raise IncompleteSignature(f"X-Amz-Expires must be from 1 to {LONGEST_PRESIGNED_S} seconds")
    written = _Written(
        credential=named["X-Amz-Credential"],
        signed_headers=named["X-Amz-SignedHeaders"],
        signature=named["X-Amz-Signature"],
        date=named["X-Amz-Date"],
        has_token="X-Amz-Security-Token" in named,
        expires_s=int(expires),
    )
    return _claim(written)


@dataclass(frozen=True, slots=True)
class _Written:
    """The parts of a signature as they were written, in the header or the query."""

    credential: str
    signed_headers: str
    signature: str
    date: str
    has_token: bool
    expires_s: int | None = None


def _claim(written: _Written) -> Claim:
    scope = _SCOPE.fullmatch(written.credential)
    if scope is None:
        raise IncompleteSignature("Credential must be KEY/DATE/REGION/SERVICE/aws4_request")
    names = tuple(written.signed_headers.split(";"))
    if list(names) != sorted(set(names)) or not all(_HEADER_NAME.fullmatch(name) for name in names):
        raise IncompleteSignature("SignedHeaders must be lower case, in order, and once each")
    if not _HEX_SHA256.fullmatch(written.signature):
        raise IncompleteSignature("Signature must be 64 hexadecimal digits")
    try:
        at = datetime.strptime(written.date, _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise IncompleteSignature("X-Amz-Date must be a moment such as 20260131T235959Z") from None
    if at.strftime(_DATE) != written.date or scope["day"] != written.date[:8]:
        raise IncompleteSignature("X-Amz-Date and the date of Credential must agree")
    return Claim(
        access_key_id=scope["key"],
        day=scope["day"],
        region=scope["region"],
        service=scope["service"],
        signed_headers=names,
        signature=written.signature,
        date=written.date,
        at=at,
        expires_s=written.expires_s,
        has_token=written.has_token,
    )


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """Headers by lower-case name: trimmed, runs of blanks made one, several of a name joined by commas."""
    joined: dict[str, bytes] = {}
    for name, value in headers:
        key, trimmed = name.decode("latin-1").lower(), b" ".join(value.split())
        joined[key] = joined[key] + b"," + trimmed if key in joined else trimmed
    return joined


def _pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values of a query, decoded: a plus is a blank, as our doors read it."""
    found = []
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            found.append((_decoded(name), _decoded(value)))
    return found


def _decoded(part: bytes) -> bytes:
    return unquote_to_bytes(part.replace(b"+", b" "))


def _encoded(part: bytes) -> str:
    return quote(part, safe="-_.~")


def _canonical_path(path: bytes) -> str:
    """The path as it stood on the wire, percent-encoded once more."""
    segments = path.split(b"/")[1:]
    if (
        not path.startswith(b"/")
        or any(part in {b"", b".", b".."} for part in segments[:-1])
        or segments[-1] in {b".", b".."}
    ):
        raise InvalidSignature("the path has empty or dot segments, which are signed as another path")
    return quote(path, safe="/~")


def _payload(call: Call, headers: Mapping[str, bytes]) -> str:
    """The payload hash that is signed for.

    Raises:
        InvalidSignature: The body is another, or not signed.
        IncompleteSignature: The body is not read yet and no hash of it is stated.
    """
    stated = headers.get("x-amz-content-sha256")
    if stated is None:
        if call.body_sha256 is None:
            raise IncompleteSignature("state the hash of the body in X-Amz-Content-SHA256")
        return call.body_sha256
    text = stated.decode("latin-1")
    if not _HEX_SHA256.fullmatch(text):
        raise InvalidSignature("the body must be signed: X-Amz-Content-SHA256 must be its SHA-256")
    if call.body_sha256 is not None and not hmac.compare_digest(text, call.body_sha256):
        raise InvalidSignature("the body is not the one that X-Amz-Content-SHA256 names")
    return text


def _require_signed(claim: Claim, headers: Mapping[str, bytes]) -> None:
    wanted = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if not wanted <= set(claim.signed_headers):
        raise InvalidSignature("host and every x-amz- header must be signed")
    if not set(claim.signed_headers) <= headers.keys():
        raise InvalidSignature("a signed header did not arrive")


def _require_timely(claim: Claim, now: datetime) -> datetime:
    """Until when the signature may be used.

    Raises:
        SignatureExpired: Not now.
    """
    until = claim.at + timedelta(seconds=SKEW_S if claim.expires_s is None else claim.expires_s)
    if now > until:
        raise SignatureExpired("signature expired")
    if now < claim.at - timedelta(seconds=SKEW_S):
        raise SignatureExpired("signature not yet current; look at the clock")
    return until


def _require_first(replays: Replays, claim: Claim, now: datetime, until: datetime) -> None:
    if not replays.admit(claim.signature, now, until):
        raise SignatureExpired("the same signed request was received before")
