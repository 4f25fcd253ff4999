"""The stand-in for CloudFront admits what AWS's own SDK signs and nothing else; what we sign is that, sign by sign."""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from radloop.core.identity import Principal
from radloop.security.edge import LIFE, Edge
from tests.aws.edge import KeyGroup, Refused, page_policy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
URL = "https://radloop.example.org/packs"
BASE, KEY_ID = f"{URL}/abc/3/", "K2EXAMPLE"
END = NOW + LIFE


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def signer() -> CloudFrontSigner:
    return CloudFrontSigner(KEY_ID, lambda message: key().sign(message, padding.PKCS1v15(), SHA1()))


def group(at: datetime = NOW) -> KeyGroup:
    public = key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return KeyGroup({KEY_ID: public}, lambda: at)


def signed(url: str, resource: str, end: datetime = END) -> str:
    """What AWS's SDK makes of it."""
    address: str = signer().generate_presigned_url(url, policy=signer().build_policy(resource, end))
    return address


def signed_policy(url: str, policy: str) -> str:
    address: str = signer().generate_presigned_url(url, policy=policy)
    return address


@pytest.mark.parametrize(
    ("resource", "file"),
    [
        (f"{BASE}*?for=x", "frames/0?for=x"),
        (f"{BASE}*", "frames/0?for=x"),
        (f"{BASE}*", "frames/0"),
        (f"{BASE}frames/?", "frames/7"),
        (f"{BASE}frames/0?for=x", "frames/0?for=x"),
        (f"{BASE}*?a=1&b=2", "index?a=1&b=2"),
    ],
)
def test_what_the_sdk_signs_is_admitted_until_it_is_over(resource: str, file: str) -> None:
    address = signed(BASE + file, resource)
    assert group().admit(address) == resource
    assert group(END - timedelta(seconds=1)).admit(address) == resource
    with pytest.raises(Refused):
        group(END).admit(address)


def test_ours_is_the_address_that_the_sdk_makes() -> None:
    pem = key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    base, _, query = (
        Edge(URL, KEY_ID, lambda: pem).address("abc", 3, Principal("anna", frozenset()), NOW).partition("?")
    )
    whose, *_ = query.split("&")
    assert base == BASE
    assert f"{base}frames/0?{query}" == signed(f"{BASE}frames/0?{whose}", f"{BASE}*?{whose}")
    assert group().admit(f"{base}frames/0?{query}") == f"{BASE}*?{whose}"


@pytest.mark.parametrize(
    ("resource", "file"),
    [
        (f"{URL}/abc/4/*?for=x", "frames/0?for=x"),
        (f"{BASE}*?for=y", "frames/0?for=x"),
        (f"{BASE}*?for=x", "frames/0"),
        (f"{BASE}*?for=x", "frames/0?for=x&more=1"),
        (f"{BASE}frames/?", "frames/10"),
        (f"{BASE}frames/0", "frames/0?for=x"),
        ("http://radloop.example.org/packs/*", "frames/0"),
        (f"{URL}/ABC/3/*", "frames/0"),
        (BASE.replace(".", "?").replace("example", "examples") + "*", "frames/0"),
    ],
)
def test_another_file_than_the_policy_names_is_not(resource: str, file: str) -> None:
    with pytest.raises(Refused, match="Access denied"):
        group().admit(signed(BASE + file, resource))


@pytest.mark.parametrize(
    "policy",
    [
        "no policy",
        "{}",
        "[]",
        '{"Statement":[]}',
        f'{{"Statement":[{{"Resource":"{BASE}*"}}]}}',
        f'{{"Statement":[{{"Resource":"{BASE}*","Condition":{{}}}}]}}',
        f'{{"Statement":[{{"Resource":"{BASE}*","Condition":{{"DateLessThan":{{"AWS:EpochTime":"1"}}}}}}]}}',
        f'{{"Statement":[{{"Resource":"{BASE}*", "Condition":{{"DateLessThan":{{"AWS:EpochTime":4000000000}}}}}}]}}',
        '{"Statement":[{"Resource":"/packs/*","Condition":{"DateLessThan":{"AWS:EpochTime":4000000000}}}]}',
    ],
)
def test_a_policy_of_another_form_opens_nothing_however_it_is_signed(policy: str) -> None:
    with pytest.raises(Refused, match="Malformed Policy"):
        group().admit(signed_policy(f"{BASE}frames/0", policy))


def test_each_part_of_the_query_must_be_there_once_and_right() -> None:
    address = signed(f"{BASE}frames/0", f"{BASE}*")
    base, _, query = address.partition("?")
    parts = query.split("&")
    for place, part in enumerate(parts):
        name, _, value = part.partition("=")
        others = [*parts[:place], *parts[place + 1 :]]
        for wrong in ([], [f"{name}="], [part, part], [f"{name}={value[:-8]}"], [f"{name.lower()}={value}"]):
            with pytest.raises(Refused):
                group().admit(f"{base}?{'&'.join([*others, *wrong])}")
    assert group().admit(f"{base}?{'&'.join(reversed(parts))}") == f"{BASE}*"


def test_no_sign_of_policy_or_signature_can_be_another() -> None:
    address = signed(f"{BASE}frames/0", f"{BASE}*")
    _, _, query = address.partition("?")
    policy, signature = (dict(part.split("=") for part in query.split("&"))[name] for name in ("Policy", "Signature"))
    for text in (policy, signature):
        for place in range(0, len(text.rstrip("_")) - 1, 7):
            other = f"{text[:place]}{'A' if text[place] != 'A' else 'B'}{text[place + 1 :]}"
            with pytest.raises(Refused):
                group().admit(address.replace(text, other))


def test_one_key_does_not_stand_for_another() -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    public = stranger.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    address = signed(f"{BASE}frames/0", f"{BASE}*")
    with pytest.raises(Refused, match="Access denied"):
        KeyGroup({KEY_ID: public}, lambda: NOW).admit(address)
    with pytest.raises(Refused, match="Unknown Key"):
        KeyGroup({"K3": public}, lambda: NOW).admit(address)


def test_the_policy_of_pages_is_read_from_the_module() -> None:
    told = dict(part.split(" ", 1) for part in page_policy().split("; "))
    assert told["default-src"] == "'self'"
    assert "'unsafe-eval'" not in told["script-src"].split()
    assert told["frame-ancestors"] == "'none'"


def test_the_sdk_writes_base64_with_the_signs_that_are_read_here() -> None:
    address = signed_policy(f"{BASE}frames/0", json.dumps({"Statement": "ÿþ?>"}, ensure_ascii=False))
    policy = address.partition("Policy=")[2].partition("&")[0]
    assert json.loads(base64.b64decode(policy.translate(str.maketrans("-_~", "+=/"))))
