"""KMS keeps the contract of Keys; a data key serves one domain, and what is remembered of it is bounded.

Neither emulator answers as AWS does where a data key is another KMS key's: MiniStack unwraps it to rubbish, moto says
that we may not. So here another installation has another domain too, and AWS's answer is put into our client's mouth.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from radloop.aws.keys import KmsKeys, kept_once
from radloop.core.errors import Corrupt, Denied, NotFound, RadloopError, Unavailable
from radloop.core.ports import Keys
from tests.aws.emulators import client, make_bucket, unique
from tests.contracts.keys import KeysContract


class Counting:
    """A client of KMS that counts what it is asked for."""

    def __init__(self, kms: Any) -> None:
        self.kms = kms
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self.kms, name)


def new_key(address: str) -> str:
    arn: str = client(address, "kms").create_key()["KeyMetadata"]["Arn"]
    return arn


def keys_of(kms: Any, key: str, *, domain: str = "training", **more: Any) -> KmsKeys:
    secret: list[bytes] = []
    made = KmsKeys(kms, key, domain=domain, secret=lambda: secret[0], **more)
    secret.append(made.create_secret())
    return made


class TestKmsKeysOnMiniStack(KeysContract):
    @pytest.fixture
    def keys(self, ministack: str) -> Keys:
        return keys_of(client(ministack, "kms"), new_key(ministack))

    @pytest.fixture
    def others(self, ministack: str) -> Keys:
        return keys_of(client(ministack, "kms"), new_key(ministack), domain="elsewhere")


@pytest.fixture
def key(ministack: str) -> str:
    return new_key(ministack)


@pytest.fixture
def kms(ministack: str) -> Counting:
    return Counting(client(ministack, "kms"))


def test_a_data_key_of_another_domain_does_not_unwrap_under_the_same_kms_key(kms: Counting, key: str) -> None:
    wrapped = keys_of(kms, key, domain="training").create()
    with pytest.raises(Corrupt):
        keys_of(kms, key, domain="models").cipher(wrapped)


def test_the_secret_is_no_data_key_and_a_data_key_no_secret(kms: Counting, key: str) -> None:
    keys = keys_of(kms, key)
    with pytest.raises(Corrupt):
        keys.cipher(keys.create_secret())
    with pytest.raises(Corrupt):
        KmsKeys(kms, key, domain="training", secret=keys.create).pseudonym("P1")


def test_what_another_kms_key_wrapped_is_told_from_what_we_may_not_unwrap(key: str) -> None:
    kms = boto3.client("kms", region_name="eu-west-1")
    for code, kind in (("IncorrectKeyException", Corrupt), ("AccessDeniedException", Denied)):
        keys = KmsKeys(kms, key, domain="training", secret=bytes)
        with Stubber(kms) as answers, pytest.raises(kind):
            answers.add_client_error("decrypt", code, http_status_code=400)
            keys.cipher(b"wrapped")


def test_a_blob_that_was_moved_to_another_key_does_not_open(kms: Counting, ministack: str) -> None:
    here, there = (keys_of(kms, new_key(ministack)) for _ in range(2))
    wrapped = here.create()
    sealed = here.cipher(wrapped).seal(b"pixels", b"place")
    for moved in (wrapped, there.create()):
        with pytest.raises(Corrupt):
            there.cipher(moved).open(sealed, b"place")


@pytest.mark.parametrize("wrapped", [b"", b"x", b"\0" * 200, b"x" * 6145])
def test_what_kms_never_wrapped_does_not_unwrap(kms: Counting, key: str, wrapped: bytes) -> None:
    with pytest.raises(Corrupt):
        keys_of(kms, key).cipher(wrapped)


def test_a_data_key_is_asked_for_once_in_five_minutes(kms: Counting, key: str) -> None:
    now = [0.0]
    keys = keys_of(kms, key, monotonic=lambda: now[0])
    wrapped = keys.create()
    for _ in range(3):
        keys.cipher(wrapped)
    assert kms.asked["decrypt"] == 0, "who made it knows it"
    now[0] = 299.0
    keys.cipher(wrapped)
    assert kms.asked["decrypt"] == 0
    now[0] = 300.0
    for _ in range(3):
        keys.cipher(wrapped)
    assert kms.asked["decrypt"] == 1


def test_no_more_data_keys_are_remembered_than_there_is_room_for(
    kms: Counting, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radloop.aws.keys._MOST_CIPHERS", 2)
    keys = keys_of(kms, key)
    wrapped = [keys.create() for _ in range(3)]
    for each in (wrapped[1], wrapped[2], wrapped[0], wrapped[1]):
        keys.cipher(each)
    assert kms.asked["decrypt"] == 2, "the first had gone, then the one that was not asked for longest"


def test_the_secret_is_unwrapped_once_and_serves_each_purpose_apart(kms: Counting, key: str) -> None:
    keys = keys_of(kms, key)
    assert keys.derive("links") == keys.derive("links") != keys.derive("evidence")
    assert len(keys.derive("links")) == 32
    keys.pseudonym("P1")
    assert kms.asked["decrypt"] == 1


def test_all_who_start_at_once_share_the_secret_of_the_first(ministack: str, kms: Counting, key: str) -> None:
    bucket, s3 = make_bucket(ministack, unique("training-data")), client(ministack, "s3")

    def started(_: int) -> str:
        keys = keys_of(kms, key)
        shared = KmsKeys(
            kms,
            key,
            domain="training",
            secret=lambda: kept_once(s3, bucket, "radloop/secret", keys.create_secret),
        )
        return shared.pseudonym("P1")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(started, range(8)))) == 1


def test_a_secret_that_cannot_be_kept_is_not_made_up(ministack: str) -> None:
    with pytest.raises(NotFound):
        kept_once(client(ministack, "s3"), unique("lost"), "secret", lambda: b"x")


def test_a_key_that_is_switched_off_neither_makes_nor_opens(ministack: str, kms: Counting, key: str) -> None:
    keys, later = keys_of(kms, key), keys_of(kms, key)
    wrapped = keys.create()
    client(ministack, "kms").disable_key(KeyId=key)
    for act in (keys.create, lambda: later.cipher(wrapped)):
        with pytest.raises(RadloopError) as caught:
            act()
        assert isinstance(caught.value, Unavailable | Denied)


def test_errors_tell_no_key_and_no_patient(kms: Counting) -> None:
    keys = KmsKeys(kms, "arn:aws:kms:eu-west-1:123456789012:key/none", domain="training", secret=lambda: b"wrapped")
    for act in (keys.create, lambda: keys.pseudonym("DOE^JOHN"), lambda: keys.cipher(b"wrapped")):
        with pytest.raises(RadloopError) as caught:
            act()
        assert "DOE" not in str(caught.value)
        assert "wrapped'" not in str(caught.value)
        assert "arn:" not in str(caught.value)
