"""People of a Cognito user pool come in as who they are, and nobody comes in with a token that is wrong in any way."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey

from radloop.aws.identities import CognitoPeople
from radloop.aws.tokens import LONGEST_TOKEN, CognitoTokens, fetched
from radloop.core.errors import RadloopError, Unauthenticated, Unavailable
from radloop.core.tables import TABLES
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from tests.aws.emulators import client
from tests.aws.substrate import Substrate
from tests.aws.table import Watch
from tests.aws.user_pool import Home, House
from tests.contracts.identities import IdentitiesContract

ISSUER = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abcdefghi"
CLIENT = "viewer"
SUB = "de45b7c7-3bb7-4323-847b-2838b84743de"


@pytest.fixture
def watch() -> Watch:
    return Watch()


# Tokens that are wrong in one way each


KEY, OTHER_KEY = RSAKey.generate_key(2048, {"kid": "one"}), RSAKey.generate_key(2048, {"kid": "two"})


def key_set(*keys: RSAKey) -> dict[str, Any]:
    return {"keys": [{**key.as_dict(private=False), "alg": "RS256", "use": "sig"} for key in keys]}


def claims(**other: Any) -> dict[str, Any]:
    now = int(time.time())
    right = {
        "sub": SUB,
        "iss": ISSUER,
        "client_id": CLIENT,
        "token_use": "access",
        "username": SUB,
        "iat": now,
        "exp": now + 900,
        "cognito:groups": ["reader", "radiology"],
    }
    return {name: value for name, value in {**right, **other}.items() if value is not None}


def token(key: RSAKey = KEY, header: Mapping[str, Any] | None = None, **other: Any) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid, **(header or {})}, claims(**other), key)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.fixture
def tokens(watch: Watch) -> CognitoTokens:
    return CognitoTokens(ISSUER, {CLIENT}, watch, fetch=lambda: key_set(KEY))


def test_a_token_tells_whose_it_is(tokens: CognitoTokens) -> None:
    bearer = tokens.read(token())
    assert (bearer.sub, bearer.username, bearer.scope) == (SUB, SUB, None)
    assert bearer.groups == {"reader", "radiology"}
    assert tokens.read(token(**{"custom:patient_scope": '["P1"]'})).scope == '["P1"]'
    assert tokens.read(token(**{"cognito:groups": None})).groups == frozenset()


WRONG: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=int(time.time()) - 31),
    "from the future": lambda: token(iat=int(time.time()) + 120),
    "not yet valid": lambda: token(nbf=int(time.time()) + 120),
    "without an end": lambda: token(exp=None),
    "with an end that is no number": lambda: token(exp="tomorrow"),
    "with an end that no calendar has": lambda: token(exp=1 << 62),
    "without a beginning": lambda: token(iat=None),
    "of another pool": lambda: token(iss=f"{ISSUER}x"),
    "of no pool": lambda: token(iss=None),
    "of another client": lambda: token(client_id="stranger"),
    "of no client, with an audience": lambda: token(client_id=None, aud=CLIENT),
    "an ID token": lambda: token(token_use="id", client_id=None, aud=CLIENT),
    "an ID token that names a client too": lambda: token(token_use="id"),
    "of no use": lambda: token(token_use=None),
    "of nobody": lambda: token(sub=None),
    "of somebody without a name": lambda: token(username=None),
    "of a number": lambda: token(sub=7),
    "of a named number": lambda: token(username=7),
    "with groups that are a word": lambda: token(**{"cognito:groups": "admin"}),
    "with groups that are numbers": lambda: token(**{"cognito:groups": [1]}),
    "with a scope that is a list": lambda: token(**{"custom:patient_scope": ["P1"]}),
    "signed by a stranger": lambda: token(RSAKey.generate_key(2048, {"kid": "one"})),
    "under a key that nobody knows": lambda: token(OTHER_KEY),
    "under no key": lambda: jwt.encode({"alg": "RS256"}, claims(), KEY),
    "without a signature": lambda: token().rpartition(".")[0] + ".",
    "with another's claims": lambda: f"{token().split('.')[0]}.{part(claims(sub='x'))}.{token().split('.')[2]}",
    "with another algorithm of the same key": lambda: jwt.encode(
        {"alg": "RS512", "kid": "one"}, claims(), KEY, algorithms=["RS512"]
    ),
    "sealed by the public key": lambda: sealed_by(KEY.as_pem(private=False)),
    "of no algorithm": lambda: f"{part({'alg': 'none', 'kid': 'one'})}.{part(claims())}.",
    "of no algorithm, in capitals": lambda: f"{part({'alg': 'NONE', 'kid': 'one'})}.{part(claims())}.",
    "of no algorithm, with a signature": lambda: _header({"alg": "none", "kid": "one"}),
    "with a key of its own": lambda: token(OTHER_KEY, {"kid": "one", "jwk": OTHER_KEY.as_dict(private=False)}),
    "with a key elsewhere": lambda: token(OTHER_KEY, {"kid": "one", "jku": "https://example.org/keys"}),
    "with something critical that nobody knows": lambda: _header({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}),
    "too long": lambda: token(note="x" * LONGEST_TOKEN),
    "deep": lambda: f"{base64.urlsafe_b64encode(b'[' * 5000).decode().rstrip('=')}.{part({})}.",
    "of four parts": lambda: f"{token()}.x",
    "of other letters": lambda: token().replace(".", ".ä", 1),
    "of surrogates": lambda: "\udcff.\udcff.\udcff",
    "with a header that is a list": lambda: f"{part([1])}.{part(claims())}.x",
    "of nothing": lambda: "..",
}


def sealed_by(secret: bytes) -> str:
    """What a careless verifier takes: a seal by the key that everybody knows, as if it were a secret."""
    text = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(claims())}"
    seal = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(seal).decode().rstrip('=')}"


def _header(header: Mapping[str, Any]) -> str:
    """The right claims and signature behind another header."""
    return f"{part(header)}.{token().partition('.')[2]}"


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_token_that_is_wrong_does_not_count(tokens: CognitoTokens, wrong: str) -> None:
    made = WRONG[wrong]()
    with pytest.raises(Unauthenticated) as caught:
        tokens.read(made)
    assert str(caught.value) in {
        "the token is not one that is valid here",
        "the token has expired; sign in again",
    }
    assert caught.value.__cause__ is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_in_a_token_it_does_not_count(tokens: CognitoTokens, data: st.DataObject) -> None:
    made = token()
    at = data.draw(st.integers(0, len(made) - 1))
    other = data.draw(st.sampled_from("ABab01-_.= ~").filter(lambda letter: letter != made[at]))
    with_trailing_bits = len(made) - 1  # the last letter of a signature carries four bits that count for nothing
    if at == with_trailing_bits:
        return
    with pytest.raises(Unauthenticated):
        tokens.read(made[:at] + other + made[at + 1 :])


HEADERS = st.sampled_from(["alg", "kid", "b64", "crit", "x"])
ANY_PART = st.builds(
    part,
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.just("RS256"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HEADERS, inner, max_size=3),
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.text(max_size=30) | ANY_PART, min_size=2, max_size=4))
def test_no_text_at_all_breaks_the_reader(tokens: CognitoTokens, parts: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        tokens.read(".".join(parts))


def test_clocks_may_be_half_a_minute_apart(tokens: CognitoTokens) -> None:
    assert tokens.read(token(exp=int(time.time()) - 15)).sub == SUB
    assert tokens.read(token(iat=int(time.time()) + 15)).sub == SUB


# Keys that come and go


class Pool:
    """Gives keys, counts how often, and may be out of reach."""

    def __init__(self, *keys: RSAKey) -> None:
        self.given = key_set(*keys)
        self.asked = 0
        self.is_away = False

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.is_away:
            raise Unavailable("away")
        return self.given


def test_a_new_key_is_taken_when_a_token_names_it_and_an_old_one_let_go(watch: Watch) -> None:
    pool = Pool(KEY)
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=pool)
    for _ in range(3):
        tokens.read(token())
    assert pool.asked == 1
    pool.given = key_set(OTHER_KEY)
    watch.ahead = timedelta(seconds=11)
    tokens.read(token(OTHER_KEY))
    assert pool.asked == 2
    with pytest.raises(Unauthenticated):
        tokens.read(token())


def test_an_old_key_is_let_go_within_the_hour_though_nobody_names_a_new_one(watch: Watch) -> None:
    pool = Pool(KEY)
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=pool)
    tokens.read(token())
    pool.given = key_set(OTHER_KEY)
    watch.ahead = timedelta(minutes=61)
    late = int(watch().timestamp())
    with pytest.raises(Unauthenticated):
        tokens.read(token(iat=late, exp=late + 900))


def test_keys_that_nobody_knows_do_not_make_us_ask_again_and_again(watch: Watch) -> None:
    pool = Pool(KEY)
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=pool)
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            tokens.read(token(OTHER_KEY))
    assert pool.asked == 1


def test_a_pool_that_does_not_answer_locks_nobody_out_whose_key_is_known(watch: Watch) -> None:
    pool = Pool(KEY)
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=pool)
    pool.is_away = True
    with pytest.raises(Unavailable):
        tokens.read(token())
    pool.is_away, watch.ahead = False, timedelta(seconds=11)
    tokens.read(token())
    pool.is_away, watch.ahead = True, timedelta(minutes=62)
    late = int(watch().timestamp())
    assert tokens.read(token(iat=late, exp=late + 900)).sub == SUB


def test_keys_for_something_else_are_left_out(watch: Watch) -> None:
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024, {"kid": "weak"})
    given: list[Any] = [
        {**KEY.as_dict(private=False), "use": "enc"},
        {**KEY.as_dict(private=False), "alg": "RS512"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        {"kty": "RSA", "kid": "one"},
        {"kty": "RSA", "kid": "one", "n": 7, "e": "AQAB"},
        "one",
        weak.as_dict(private=False),
    ]
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=lambda: {"keys": given})
    for key in (KEY, weak):
        with pytest.raises(Unauthenticated):
            tokens.read(token(key))


def test_what_gives_no_keys_is_unavailable(ministack: str) -> None:
    for url in ("http://127.0.0.1:9/keys", f"{ministack}/_ministack/health"):
        with pytest.raises(Unavailable):
            fetched(url)


# A gateway that has verified the signature


def no_keys() -> dict[str, Any]:
    raise AssertionError("no key is needed")


def as_a_gateway_tells(made: str) -> dict[str, str]:
    """Every claim as text, lists in brackets without commas."""
    found = json.loads(base64.urlsafe_b64decode(f"{made.split('.')[1]}=="))
    return {name: f"[{' '.join(value)}]" if isinstance(value, list) else str(value) for name, value in found.items()}


def test_a_token_that_a_gateway_vouches_for_needs_no_key(watch: Watch) -> None:
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=no_keys, vouched=as_a_gateway_tells)
    bearer = tokens.read(token(jti="1"))
    assert (bearer.sub, bearer.groups) == (SUB, {"reader", "radiology"})


def test_where_nobody_vouches_the_signature_is_looked_at(watch: Watch) -> None:
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=lambda: key_set(KEY), vouched=lambda _: None)
    assert tokens.read(token()).sub == SUB
    with pytest.raises(Unauthenticated):
        tokens.read(token(OTHER_KEY))


@pytest.mark.parametrize(
    "other",
    [
        {"exp": 1},
        {"iat": 1 << 40},
        {"token_use": "id"},
        {"iss": f"{ISSUER}x"},
        {"client_id": "stranger"},
        {"jti": None},
        {"username": None},
        {"cognito:groups": "admin"},
    ],
    ids=str,
)
def test_a_gateway_does_not_make_a_wrong_token_right(watch: Watch, other: dict[str, Any]) -> None:
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=no_keys, vouched=as_a_gateway_tells)
    with pytest.raises(Unauthenticated):
        tokens.read(token(**{"jti": "1", **other}))


@pytest.mark.parametrize("name", ["jti", "sub", "iss", "client_id", "token_use", "username"])
def test_a_gateway_vouches_for_the_one_token_it_has_seen(watch: Watch, name: str) -> None:
    for seen in ({**as_a_gateway_tells(token(jti="1")), name: "other"}, {}):
        tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=no_keys, vouched=lambda _, seen=seen: seen)
        with pytest.raises(Unauthenticated):
            tokens.read(token(jti="1"))


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {}])
@pytest.mark.parametrize("payload", [{}, [1], "x"])
def test_a_gateway_cannot_have_verified_what_is_no_token_of_ours(watch: Watch, header: Any, payload: Any) -> None:
    right = claims(jti="1")
    tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=no_keys, vouched=lambda _: right)
    for made in (f"{part(header)}.{part(right)}.", f"{part({'alg': 'RS256'})}.{part(payload)}.x", ".."):
        with pytest.raises(Unauthenticated):
            tokens.read(made)


# People of a pool that others wrote


@pytest.fixture
def house(moto_server: str, tmp_path: Path, watch: Watch) -> Iterator[House]:
    """On moto: MiniStack publishes a key, but does not sign with it."""
    database = Database(tmp_path / "index.sqlite", bytes(32), TABLES)
    opened = House(moto_server, SqliteRecords(database, watch), watch)
    yield opened
    opened.close()
    database.close()


class TestCognitoIdentities(IdentitiesContract):
    """People on moto, credentials on MiniStack's DynamoDB."""

    @pytest.fixture
    def home(self, moto_server: str, substrate: Substrate) -> Iterator[Home]:
        opened = House(moto_server, substrate.records, substrate.watch)
        yield Home(opened, substrate)
        opened.close()


def test_an_id_token_of_the_same_sign_in_does_not_count(house: House) -> None:
    email, _ = house.person("reader")
    with pytest.raises(Unauthenticated):
        house.identities.of_token(house.signed_in(email, "IdToken"))


@pytest.mark.parametrize(
    ("scope", "patients"),
    [
        ("*", None),
        ("P1", frozenset()),
        ('{"P1": 1}', frozenset()),
        ("[1]", frozenset()),
        ("[" * 2000, frozenset()),
    ],
)
def test_a_scope_names_patients_and_what_cannot_be_read_names_nobody(
    house: House, scope: str, patients: frozenset[str] | None
) -> None:
    email, sub = house.person("reader", scope=scope)
    assert house.identities.of_token(house.signed_in(email)).patients == patients
    assert house.identities.of_id(sub).patients == patients


def test_a_scope_in_the_token_narrows_and_never_widens(house: House, watch: Watch) -> None:
    for attribute, claim, expected in (
        ('["P1", "P2"]', '["P2", "P3"]', {"P2"}),
        ('["P1"]', "*", {"P1"}),
        (None, '["P1"]', {"P1"}),
        (None, "*", None),
    ):
        email, sub = house.person("reader", scope=attribute)
        username = house.cognito.admin_get_user(UserPoolId=house.pool, Username=email)["Username"]
        house.identities._tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=lambda: key_set(KEY))
        made = token(sub=sub, username=username, **{"custom:patient_scope": claim})
        assert house.identities.of_token(made).patients == expected


def test_who_was_narrowed_is_so_within_a_minute(house: House, watch: Watch) -> None:
    email, _ = house.person("reader")
    made = house.signed_in(email)
    assert house.identities.of_token(made).patients is None
    house.cognito.admin_update_user_attributes(
        UserPoolId=house.pool, Username=email, UserAttributes=[{"Name": "custom:patient_scope", "Value": '["P1"]'}]
    )
    watch.ahead = timedelta(seconds=61)
    assert house.identities.of_token(made).patients == {"P1"}


def test_who_is_gone_comes_in_no_more(house: House) -> None:
    email, sub = house.person("reader")
    made = house.signed_in(email)
    house.cognito.admin_delete_user(UserPoolId=house.pool, Username=email)
    for act in (lambda: house.identities.of_token(made), lambda: house.identities.of_id(sub)):
        with pytest.raises(Unauthenticated) as caught:
            act()
        assert email not in str(caught.value)


def test_an_account_made_anew_under_the_old_name_is_not_the_old_one(house: House, watch: Watch) -> None:
    email, _ = house.person("reader")
    username = house.cognito.admin_get_user(UserPoolId=house.pool, Username=email)["Username"]
    house.identities._tokens = CognitoTokens(ISSUER, {CLIENT}, watch, fetch=lambda: key_set(KEY))
    with pytest.raises(Unauthenticated):
        house.identities.of_token(token(sub=SUB, username=username))


def test_somebody_in_very_many_groups_has_all_their_roles(watch: Watch) -> None:
    pages = {None: (["reader"], "a"), "a": (["verifier"], None)}

    class Cognito:
        def list_users(self, **_: Any) -> dict[str, Any]:
            person = {"Username": SUB, "Enabled": True, "Attributes": [{"Name": "sub", "Value": SUB}]}
            return {"Users": [person]}

        def admin_list_groups_for_user(self, **given: Any) -> dict[str, Any]:
            names, more = pages[given.get("NextToken")]
            found = {"Groups": [{"GroupName": name} for name in names]}
            return found if more is None else {**found, "NextToken": more}

    people = CognitoPeople(Cognito(), "pool", watch)
    assert people.groups_of(people.of_sub(SUB)) == {"reader", "verifier"}


def test_a_pool_that_is_out_of_reach_is_unavailable_and_tells_no_name(watch: Watch) -> None:
    people = CognitoPeople(client("http://127.0.0.1:9", "cognito-idp"), "pool", watch)
    with pytest.raises(RadloopError) as caught:
        people.named("someone@example.org")
    assert isinstance(caught.value, Unavailable)
    assert "someone" not in str(caught.value)
