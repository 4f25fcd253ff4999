"""Addresses of packs, checked here as the CloudFront Developer Guide says CloudFront checks them."""

import base64
import json
import subprocess
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.security.edge import Edge

NOW = datetime(2026, 11, 23, 12, 0, 0, 1, UTC)
URL = "https://radloop.example.org/packs"
READER = Principal("reader-1", frozenset({"reader"}))


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def decoded(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "=").replace("~", "/"), validate=True)


def opens(address: str, file: str, at: datetime, *, whose: str | None = None) -> bool:
    """Whether CloudFront would give a file below `address`: signature right, resource matching, not over."""
    base, _, query = address.partition("?")
    told = dict(parse_qsl(query, strict_parsing=True))
    policy = decoded(told.pop("Policy"))
    try:
        rsa_key().public_key().verify(decoded(told.pop("Signature")), policy, padding.PKCS1v15(), SHA1())
    except InvalidSignature:
        return False
    assert told.pop("Key-Pair-Id") == "K2EXAMPLE"
    rest = "&".join(f"{name}={value}" for name, value in told.items()) if whose is None else f"for={whose}"
    url = f"{file if file.startswith('https:') else base + file}?{rest}"
    (statement,) = json.loads(policy)["Statement"]
    end = statement["Condition"]["DateLessThan"]["AWS:EpochTime"]
    return fnmatchcase(url, statement["Resource"].replace("[", "[[]")) and at.timestamp() < end


@pytest.fixture
def edge() -> Edge:
    return Edge(URL, "K2EXAMPLE", lambda: pem_of(rsa_key()))


def test_every_file_of_one_version_of_one_image_set_is_opened_for_an_hour(edge: Edge) -> None:
    address = edge.address("abc", 3, READER, NOW)
    assert address.startswith(f"{URL}/abc/3/?for=")
    for file in ("index", "previews/0", "frames/29"):
        assert opens(address, file, NOW)
        assert opens(address, file, NOW + timedelta(minutes=59, seconds=59))
        assert not opens(address, file, NOW + timedelta(hours=1, seconds=1))


@pytest.mark.parametrize("other", ["abd/3/index", "abc/2/index", "abc/30/index", "abcd/3/index", "index", "../index"])
def test_nothing_else_is_opened(edge: Edge, other: str) -> None:
    assert not opens(edge.address("abc", 3, READER, NOW), f"{URL}/{other}", NOW)


def test_an_address_is_of_one_principal(edge: Edge) -> None:
    one, other = (edge.address("abc", 3, whose, NOW) for whose in (READER, OWNER))
    (name, whose), *_ = parse_qsl(urlsplit(other).query)
    assert name == "for"
    assert opens(other, "index", NOW)
    assert not opens(one, "index", NOW, whose=whose)
    assert READER.id not in one


def test_what_is_changed_in_the_policy_breaks_the_signature(edge: Edge) -> None:
    address = edge.address("abc", 3, READER, NOW)
    policy = dict(parse_qsl(urlsplit(address).query))["Policy"]
    longer = decoded(policy).replace(b'"AWS:EpochTime":1', b'"AWS:EpochTime":2')
    forged = base64.b64encode(longer).decode().translate(str.maketrans("+=/", "-_~"))
    assert forged != policy
    assert not opens(address.replace(policy, forged), "index", NOW)


def test_the_policy_has_no_space_and_the_query_no_sign_that_needs_escaping(edge: Edge) -> None:
    query = urlsplit(edge.address("abc", 3, READER, NOW)).query
    assert set(query) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~=&")
    assert b" " not in decoded(dict(parse_qsl(query))["Policy"])


def test_openssl_finds_the_signature_right(edge: Edge, tmp_path: Path) -> None:
    told = dict(parse_qsl(urlsplit(edge.address("abc", 3, READER, NOW)).query))
    public = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, data in {"key": public, "policy": decoded(told["Policy"]), "sign": decoded(told["Signature"])}.items():
        (tmp_path / name).write_bytes(data)
    asked = ["openssl", "dgst", "-sha1", "-verify", "key", "-signature", "sign", "policy"]
    try:
        done = subprocess.run(asked, cwd=tmp_path, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.stdout == b"Verified OK\n", done.stderr


def test_a_key_of_ecdsa_signs_too() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    told = dict(parse_qsl(urlsplit(Edge(URL, "K", lambda: pem_of(key)).address("abc", 3, READER, NOW)).query))
    key.public_key().verify(decoded(told["Signature"]), decoded(told["Policy"]), ec.ECDSA(SHA1()))


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\n", pem_of(ed25519.Ed25519PrivateKey.generate())])
def test_what_is_no_key_for_it_is_refused_without_a_word_of_it(pem: bytes) -> None:
    with pytest.raises(InvalidInput, match="the key that packs are signed with"):
        Edge(URL, "K", lambda: pem).address("abc", 3, READER, NOW)


def test_the_key_is_asked_for_once_and_not_before_it_is_needed() -> None:
    asked: list[int] = []

    def key() -> bytes:
        asked.append(1)
        return pem_of(rsa_key())

    made = Edge(f"{URL}/", "K2EXAMPLE", key)
    assert not asked
    assert made.address("abc", 3, READER, NOW) == made.address("abc", 3, READER, NOW)
    assert asked == [1]


def test_a_key_that_cannot_be_had_is_asked_for_again_in_a_minute() -> None:
    asked: list[int] = []

    def key() -> bytes:
        asked.append(1)
        if len(asked) == 1:
            raise Unavailable("nobody is there")
        return pem_of(rsa_key())

    made = Edge(URL, "K2EXAMPLE", key)
    for later in (0, 1, 59):
        with pytest.raises(Unavailable):
            made.address("abc", 3, READER, NOW + timedelta(seconds=later))
    assert asked == [1]
    assert opens(made.address("abc", 3, READER, NOW + timedelta(minutes=1)), "index", NOW)


def test_packs_may_lie_on_the_origin_that_is_asked() -> None:
    assert Edge("/packs", "K", lambda: pem_of(rsa_key())).address("abc", 3, READER, NOW).startswith("/packs/abc/3/?")
