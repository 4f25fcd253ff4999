"""The certificate authority of one home, and the certificate its server shows.

The authority is made once and lives ten years; who trusts its file `ca.pem` trusts every certificate this home shows.
The server's own certificate lives ninety days and is made anew in good time, or when it lacks a name.
"""

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from radloop.core.errors import Corrupt, Denied

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
LOOPBACK_NAMES = ("localhost", "runtime-localhost", "127.0.0.1", "::1")

_EARLY = timedelta(hours=1)
"""Clocks of clients may be behind ours."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where they lie.

    Attributes:
        authority: What clients trust, PEM; anyone may read it.
        leaf: The server's certificate, PEM.
        key: The server's private key, PEM (PKCS #8), its owner's only.
        is_new: Whether the server's certificate was made just now.
    """

    authority: Path
    leaf: Path
    key: Path
    is_new: bool


def certificates(folder: Path, names: Iterable[str], now: datetime) -> Certificates:
    """The certificates in `folder`, made or made anew where needed.

    Args:
        folder: Holds `ca.pem`, `ca-key.pem`, `server.pem` and `server-key.pem`.
        names: Host names and IP addresses the server answers to, besides those of the loopback.
        now: The present moment, in UTC.

    Raises:
        Denied: Others than the owner may read a private key.
        Corrupt: A file does not hold what it should.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = _names((*LOOPBACK_NAMES, *names))
    authority, authority_key = _authority(folder, now)
    leaf_path, key_path = folder / "server.pem", folder / "server-key.pem"
    is_new = not _is_good(leaf_path, key_path, authority, wanted, now)
    if is_new:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(key.public_key(), wanted, authority, authority_key, now)
        leaf_path.unlink(missing_ok=True)  # a crash between the two leaves a key without certificate, made anew later
        _write(key_path, _private(key), 0o600)
        _write(leaf_path, leaf.public_bytes(serialization.Encoding.PEM), 0o644)
    return Certificates(folder / "ca.pem", leaf_path, key_path, is_new)


def fingerprint(path: Path) -> str:
    """SHA-256 of a certificate, as browsers show it."""
    return _certificate(path).fingerprint(hashes.SHA256()).hex(":").upper()


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = folder / "ca.pem", folder / "ca-key.pem"
    if path.exists() and key_path.exists():
        certificate = _certificate(path)
        if certificate.not_valid_after_utc - LEAF_LIFE > now:
            return certificate, _key(key_path)
    key = ec.generate_private_key(ec.SECP256R1())
    # its name carries the moment, so that a later authority is not taken for this one
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "radloop"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"radloop local authority {now:%Y-%m-%d %H:%M:%S}"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.unlink(missing_ok=True)
    _write(key_path, _private(key), 0o600)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def _leaf(
    key: ec.EllipticCurvePublicKey,
    names: tuple[x509.GeneralName, ...],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "radloop")]))
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + LEAF_LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _is_good(
    path: Path, key_path: Path, authority: x509.Certificate, names: tuple[x509.GeneralName, ...], now: datetime
) -> bool:
    """Whether the certificate that is there will do."""
    if not (path.exists() and key_path.exists()):
        return False
    try:
        found = _certificate(path)
        found.verify_directly_issued_by(authority)
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (Corrupt, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    is_own = found.public_key() == _key(key_path).public_key()
    return is_own and set(held) == set(names) and found.not_valid_after_utc - now > RENEW_BEFORE


def _names(names: Iterable[str]) -> tuple[x509.GeneralName, ...]:
    """Names as certificates write them, each once; an address as an address."""
    found: dict[str, x509.GeneralName] = {}
    for name in names:
        try:
            found[name] = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            found[name.lower()] = x509.DNSName(name.lower())
    return tuple(found.values())


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise Corrupt(f"{path.name} holds no certificate") from None


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    if path.stat().st_mode & 0o077:
        raise Denied(f"{path.name} may be read by others than its owner; chmod 600 it")
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        raise Corrupt(f"{path.name} holds no private key") from None
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise Corrupt(f"{path.name} holds a key of another kind")
    return found


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write beside its place and rename over it, so that no reader sees half a file or a wider mode."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
