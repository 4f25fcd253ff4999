"""Browsers sign in at the user pool: codes, cookies and what becomes of them, up to the doors that Lambda answers."""

import json
import logging
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from radloop import lambdas, native_app
from radloop.api.sign_in import ACCESS, BEGUN, RENEWAL, SESSION
from radloop.aws.sign_in import PoolPage
from radloop.aws.token_endpoint import TokenEndpoint
from radloop.core.contracts import contracts
from radloop.core.errors import Unauthenticated, Unavailable
from radloop.core.identity import Principal
from radloop.security.sign_in import NativeApp, SignedIn, challenge
from tests.aws.edge_function import EdgeFunction, edge_function
from tests.aws.emulators import client, unique
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.pool_page import Pool, come_in, pool_serving
from tests.aws.test_doors import NAME, request

SITE = "https://radloop.example.org"
HOME = f"{SITE}/app/"
ANNA = "anna@example.org"
KEY = bytes(32)


class Watch:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def pool() -> Iterator[Pool]:
    with pool_serving(HOME) as serving:
        serving.add(ANNA, "reader")
        yield serving


@pytest.fixture
def watch() -> Watch:
    return Watch()


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    told: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return told


def read(token: str) -> SignedIn:
    told = claims_of(token)
    principal = Principal(told["sub"], frozenset(told.get("cognito:groups", [])))
    return SignedIn(principal, ANNA, datetime.fromtimestamp(told["exp"], UTC))


def page_of(pool: Pool, watch: Watch, **other: Any) -> PoolPage:
    given = {"key": KEY, "clock": watch, "read": read, "idle": timedelta(minutes=17), **other}
    return PoolPage(pool.address, given.pop("client_id", pool.client), SITE, **given)


def come_back(address: str, name: str = ANNA) -> tuple[str, str]:
    """Sign in at the page as a browser would; the code and the state it leads back with."""
    shown = httpx.get(address)
    assert shown.status_code == 200, shown.text
    fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', shown.text.replace("&amp;", "&")))
    parts = urlsplit(address)
    answer = httpx.post(f"{parts.scheme}://{parts.netloc}/login", data={**fields, "name": name})
    place = answer.headers["location"]
    assert place.startswith(HOME)
    told = parse_qs(urlsplit(place).query)
    return told["code"][0], told["state"][0]


def test_a_code_is_exchanged_by_whoever_began(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun = page.begin()
    code, state = come_back(begun.address)
    grant = page.take(code, state, begun.kept)
    assert grant.person.principal.roles == {"reader"}
    assert read(grant.access_token) == grant.person
    (token,) = pool.refresh
    assert token not in urlsafe_b64decode(grant.kept + "==").decode("latin-1"), "what renews lies open in the browser"


def test_a_code_counts_once(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun = page.begin()
    code, state = come_back(begun.address)
    page.take(code, state, begun.kept)
    with pytest.raises(Unauthenticated, match="used before, or has expired"):
        page.take(code, state, begun.kept)


def test_a_code_of_another_browser_does_not_count(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun, other = page.begin(), page.begin()
    code, state = come_back(begun.address)
    for kept in ("", "AAAA", "no base64 ä", other.kept):
        with pytest.raises(Unauthenticated, match="not begun in this browser"):
            page.take(code, state, kept)
    assert "/oauth2/token" not in pool.asked, "the pool need not be asked for that"
    with pytest.raises(Unauthenticated, match="not begun"):
        page_of(pool, watch, key=bytes([1]) * 32).take(code, state, begun.kept)


def test_the_pool_holds_the_verifier_against_the_challenge(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun, other = page.begin(), page.begin()
    code, _ = come_back(begun.address)
    (state,) = parse_qs(urlsplit(other.address).query)["state"]
    with pytest.raises(Unauthenticated, match="used before, or has expired"):
        page.take(code, state, other.kept)  # a code that was put into somebody else's sign-in
    assert "/oauth2/token" in pool.asked


def test_a_sign_in_must_be_ended_within_ten_minutes(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun = page.begin()
    code, state = come_back(begun.address)
    watch.ahead = timedelta(minutes=10, seconds=1)
    with pytest.raises(Unauthenticated, match="ten minutes"):
        page.take(code, state, begun.kept)


@pytest.mark.parametrize("rotates", [False, True])
def test_a_session_is_renewed_until_it_is_revoked(pool: Pool, watch: Watch, rotates: bool) -> None:
    pool.rotates = rotates
    page = page_of(pool, watch)
    begun = page.begin()
    grant = page.take(*come_back(begun.address), begun.kept)
    for _ in range(2):
        before, grant = grant, page.renew(grant.kept)
        assert grant.access_token != before.access_token
    page.revoke(grant.kept)
    assert pool.refresh == {}
    with pytest.raises(Unauthenticated, match="the sign-in is over"):
        page.renew(grant.kept)
    page.revoke("")


def test_nobody_comes_back_who_was_away_longer_than_one_may_be_idle(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun = page.begin()
    grant = page.take(*come_back(begun.address), begun.kept)
    assert 31 * 60 < grant.kept_s <= 32 * 60
    watch.ahead = timedelta(minutes=32, seconds=1)
    with pytest.raises(Unauthenticated, match="the sign-in is over"):
        page.renew(grant.kept)
    watch.ahead = timedelta()
    for_ever = page_of(pool, watch, idle=None)
    grant = for_ever.renew(grant.kept)
    watch.ahead = timedelta(hours=11, minutes=59)
    assert for_ever.renew(grant.kept).kept


def test_what_was_sealed_for_one_use_does_not_open_for_another(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun = page.begin()
    grant = page.take(*come_back(begun.address), begun.kept)
    with pytest.raises(Unauthenticated):
        page.renew(page.begin().kept)
    with pytest.raises(Unauthenticated):
        page.take("code", "state", grant.kept)


def test_a_pool_that_is_away_or_does_not_know_us_is_ours_to_mend(pool: Pool, watch: Watch) -> None:
    page = page_of(pool, watch)
    begun = page.begin()
    code, state = come_back(begun.address)
    stranger = page_of(pool, watch, client_id="stranger")
    with pytest.raises(Unavailable, match="refuses this installation or is too busy, it answers 400"):
        stranger.take(code, state, begun.kept)
    pool.is_away = True
    with pytest.raises(Unavailable, match="503"):
        page.take(code, state, begun.kept)
    nowhere = PoolPage("http://127.0.0.1:9", pool.client, SITE, key=KEY, clock=watch, read=read)
    with pytest.raises(Unavailable, match="does not answer") as caught:
        nowhere.take(code, state, begun.kept)
    assert code not in str(caught.value)
    assert caught.value.__cause__ is None


def test_tokens_that_no_browser_would_keep_are_refused_in_words(pool: Pool, watch: Watch) -> None:
    pool.people[ANNA]["groups"] = ["x" * 100] * 30
    page = page_of(pool, watch)
    begun = page.begin()
    with pytest.raises(Unavailable, match="fewer groups"):
        page.take(*come_back(begun.address), begun.kept)


def test_the_emulators_own_page_takes_what_we_send(ministack: str, watch: Watch) -> None:
    """MiniStack's Cognito has the page and the token endpoint, PKCE checked; it has no `/oauth2/revoke`."""
    cognito = client(ministack, "cognito-idp")
    identity = cognito.create_user_pool(PoolName=unique("pool"))["UserPool"]["Id"]
    app = cognito.create_user_pool_client(
        UserPoolId=identity,
        ClientName="viewer",
        CallbackURLs=[HOME],
        LogoutURLs=[HOME],
        AllowedOAuthFlows=["code"],
        AllowedOAuthScopes=["openid", "email", "profile"],
        AllowedOAuthFlowsUserPoolClient=True,
        SupportedIdentityProviders=["COGNITO"],
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=identity, Username="anna", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=identity, Username="anna", Password="Correct-horse-1", Permanent=True)
    page = PoolPage(ministack, app, SITE, key=KEY, clock=watch, read=read)

    def walked(address: str) -> tuple[str, str]:
        shown = httpx.get(address)
        assert shown.status_code == 200, shown.text
        fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', shown.text))
        given = {**fields, "username": "anna", "password": "Correct-horse-1"}
        answer = httpx.post(f"{ministack}/login", data=given)
        told = parse_qs(urlsplit(answer.headers["location"]).query)
        return told["code"][0], told["state"][0]

    begun, other = page.begin(), page.begin()
    code, state = walked(begun.address)
    grant = page.take(code, state, begun.kept)
    assert claims_of(grant.access_token)["client_id"] == app
    with pytest.raises(Unauthenticated):
        page.take(code, state, begun.kept)
    code, _ = walked(begun.address)
    with pytest.raises(Unauthenticated):
        page.take(code, parse_qs(urlsplit(other.address).query)["state"][0], other.kept)
    assert claims_of(page.renew(grant.kept).access_token)["sub"] == claims_of(grant.access_token)["sub"]


# Behind the doors, as Lambda and API Gateway call them


class Browser:
    """Keeps cookies by name and path, and asks through CloudFront's function and the gateway's authorizer."""

    def __init__(self, edge: EdgeFunction) -> None:
        self._edge = edge
        self.jar: dict[str, Any] = {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        sent = {name: each.value for name, each in self.jar.items() if path.startswith(each["path"])}
        told = {"sec-fetch-site": "same-origin", "origin": SITE, **headers}
        edged = self._edge(told, sent, method=method, uri=path)["headers"]
        event = request(
            path,
            method=method,
            body=b"" if body is None else json.dumps(body).encode(),
            **{name.replace("_", "-"): each["value"] for name, each in edged.items()},
        )
        event["headers"]["content-type"] = "application/json"
        event["cookies"] = [f"{name}={value}" for name, value in sent.items()]
        token = edged.get("authorization", {}).get("value", "").removeprefix("Bearer ")
        is_open = path in {"/api/v1/sign-in", "/api/v1/session/renewal"} or (method, path) == ("POST", SESSION)
        if not is_open:
            if not token:
                return {"statusCode": 401, "body": '{"message":"Unauthorized"}'}  # as the gateway says it
            event["requestContext"]["authorizer"] = {
                "jwt": {"claims": {name: str(value) for name, value in claims_of(token).items()}}
            }
        answer: dict[str, Any] = lambdas.api(event, CONTEXT)
        for line in answer.get("cookies", []):
            (name, each), *_ = SimpleCookie(line).items()
            if each["max-age"] == "0":
                self.jar.pop(name, None)
            else:
                self.jar[name] = each
        return answer


@pytest.fixture(scope="module")
def far_pool() -> Iterator[Pool]:
    with pool_serving(HOME) as serving:
        yield serving


@pytest.fixture(scope="module")
def surroundings(ministack: str, healthimaging_url: str, far_pool: Pool) -> Iterator[Environment]:
    cognito = client(ministack, "cognito-idp")
    identity = cognito.create_user_pool(PoolName=unique("pool"), UsernameAttributes=["email"])["UserPool"]["Id"]
    made = cognito.admin_create_user(
        UserPoolId=identity,
        Username=ANNA,
        MessageAction="SUPPRESS",
        UserAttributes=[{"Name": "email", "Value": ANNA}],
    )["User"]
    cognito.create_group(UserPoolId=identity, GroupName="reader")
    cognito.admin_add_user_to_group(UserPoolId=identity, Username=ANNA, GroupName="reader")
    far_pool.pool = identity
    far_pool.add(ANNA, "reader", sub=next(each["Value"] for each in made["Attributes"] if each["Name"] == "sub"))
    more = {
        "RADLOOP_ISSUER": far_pool.issuer,
        "RADLOOP_CLIENT_ID": far_pool.client,
        "RADLOOP_NATIVE_CLIENT_ID": far_pool.native,
        "RADLOOP_SIGN_IN_URL": far_pool.address,
        "RADLOOP_SITE_URL": SITE,
    }
    with environment(ministack, healthimaging_url, more) as laid_out:
        yield laid_out


@pytest.fixture(scope="module")
def edge() -> Iterator[EdgeFunction]:
    with edge_function("cookie.js") as running:
        yield running


@pytest.fixture
def browser(surroundings: Environment, edge: EdgeFunction, ministack: str, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack)  # the pool's people are asked for by a client of its own
    return Browser(edge)


def told(answer: dict[str, Any]) -> Any:
    return json.loads(answer["body"])


def sign_in(browser: Browser) -> dict[str, Any]:
    way = told(browser.ask("GET", "/api/v1/sign-in"))
    assert way["kind"] == "redirect"
    code, state = come_back(way["address"])
    return browser.ask("POST", SESSION, {"code": code, "state": state})


def noted(surroundings: Environment) -> list[tuple[str, str, str]]:
    entries = surroundings.cloud.audit.entries(limit=1000)
    return [(each.principal, each.action, each.outcome) for each in entries if each.action.startswith("session.")]


def test_a_browser_comes_in_stays_in_and_goes_out(
    surroundings: Environment, browser: Browser, far_pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert browser.ask("GET", SESSION)["statusCode"] == 401
    answer = sign_in(browser)
    assert answer["statusCode"] == 200, answer["body"]
    session = told(answer)
    assert (session["name"], session["roles"], session["idle_minutes"]) == (ANNA, ["reader"], 15.0)
    assert 800 < session["renewal_s"] <= 900
    assert set(browser.jar) == {ACCESS, RENEWAL}, "what began the sign-in is over"
    for name, path in ((ACCESS, "/"), (RENEWAL, SESSION)):
        cookie = browser.jar[name]
        assert (cookie["path"], cookie["samesite"].lower()) == (path, "strict")
        assert cookie["httponly"]
        assert cookie["secure"]
    first = browser.jar[ACCESS].value
    assert browser.ask("GET", "/api/v1/worklist")["statusCode"] == 200
    assert told(browser.ask("GET", SESSION))["name"] == ANNA
    renewed = browser.ask("POST", "/api/v1/session/renewal")
    assert renewed["statusCode"] == 200
    second = browser.jar[ACCESS].value
    assert second != first
    assert browser.ask("GET", "/api/v1/worklist")["statusCode"] == 200
    (refresh,) = far_pool.refresh
    ended = browser.ask("DELETE", SESSION)
    assert told(ended) == {
        "signed_out": True,
        "address": f"{far_pool.address}/logout?client_id=viewer&logout_uri=https%3A%2F%2Fradloop.example.org%2Fapp%2F",
    }
    assert (browser.jar, far_pool.refresh) == ({}, {})
    assert browser.ask("GET", "/api/v1/worklist")["statusCode"] == 401
    sub = far_pool.people[ANNA]["sub"]
    assert (sub, "session.create", "success") in noted(surroundings)
    assert (sub, "session.delete", "success") in noted(surroundings)
    said = caplog.text + "".join(each["body"] for each in (answer, renewed, ended))
    for secret in (first, second, refresh):
        assert secret not in said, "a token stands in a log or in an answer's body"


def test_what_keeps_a_sign_in_that_begins_goes_to_the_session_alone(browser: Browser) -> None:
    browser.ask("GET", "/api/v1/sign-in")
    cookie = browser.jar[BEGUN]
    assert (cookie["path"], cookie["samesite"].lower(), cookie["max-age"]) == (SESSION, "lax", "600")
    assert cookie["httponly"]
    assert cookie["secure"]


def test_a_refusal_is_answered_in_words_noted_and_clears_what_was_kept(
    surroundings: Environment, browser: Browser
) -> None:
    assert sign_in(browser)["statusCode"] == 200
    before = len(noted(surroundings))
    browser.ask("GET", "/api/v1/sign-in")
    refused = browser.ask("POST", SESSION, {"code": "c", "state": "s"})
    assert refused["statusCode"] == 401
    assert "not begun in this browser" in told(refused)["error"]["message"]
    assert noted(surroundings)[: len(noted(surroundings)) - before] == [("nobody", "session.create", "failure")]
    assert browser.jar == {}
    assert browser.ask("POST", "/api/v1/session/renewal")["statusCode"] == 401


def test_no_password_of_ours_is_taken_where_the_pool_signs_people_in(browser: Browser) -> None:
    answer = browser.ask("POST", SESSION, {"name": "anna", "password": "correct horse battery"})
    assert (answer["statusCode"], told(answer)["error"]["code"]) == (400, "invalid-input")
    for body in (
        {"code": "c"},
        {"code": "c", "state": 7},
        {"code": "", "state": "s"},
        {"code": "c" * 3000, "state": "s"},
    ):
        assert browser.ask("POST", SESSION, body)["statusCode"] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "https://other.example.org"},
        {"origin": f"https://{NAME}"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_a_page_of_another_site_does_nothing_by_the_cookie(browser: Browser, headers: dict[str, str]) -> None:
    assert sign_in(browser)["statusCode"] == 200
    told_ = {name.replace("_", "-"): value for name, value in headers.items()}
    for method, path in (("POST", "/api/v1/session/renewal"), ("DELETE", SESSION), ("POST", SESSION)):
        answer = browser.ask(method, path, {}, **told_)
        assert (answer["statusCode"], told(answer)["error"]["code"]) == (403, "denied"), (method, path)
    assert browser.ask("DELETE", SESSION)["statusCode"] == 200, "a page of ours does"


def test_the_cookies_alone_let_nobody_in(surroundings: Environment, browser: Browser) -> None:
    assert sign_in(browser)["statusCode"] == 200
    event = request("/api/v1/worklist")
    event["cookies"] = [f"{name}={each.value}" for name, each in browser.jar.items()]
    assert lambdas.api(event, CONTEXT)["statusCode"] == 401


def test_a_token_that_another_pool_signed_lets_nobody_in(browser: Browser, far_pool: Pool) -> None:
    with pool_serving(HOME) as stranger:
        right, far_pool.key = far_pool.key, stranger.key
        try:
            answer = sign_in(browser)
        finally:
            far_pool.key = right
    assert answer["statusCode"] in {401, 503}
    assert ACCESS not in browser.jar


# Programs, which sign in whoever runs them


def native_token(told: dict[str, Any]) -> str:
    """What a program gets of a sign-in as the API told it to go about it."""
    verifier, redirect = "v" * 43, told["redirects"][0]
    asked = {
        "response_type": "code",
        "client_id": told["client_id"],
        "redirect_uri": redirect,
        "scope": told["scope"],
        "state": "s" * 16,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    }
    place = come_in(f"{told['address']}/oauth2/authorize?{urlencode(asked)}", ANNA)
    (code,) = parse_qs(urlsplit(place).query)["code"]
    return str(TokenEndpoint(told["address"], told["client_id"]).exchange(code, verifier, redirect)["access_token"])


def bearing(token: str) -> dict[str, Any]:
    """Who the API says the bearer of a token is, behind the gateway's authorizer."""
    event = request(SESSION, token=token)
    claims = {name: str(value) for name, value in claims_of(token).items()}
    event["requestContext"]["authorizer"] = {"jwt": {"claims": claims}}
    answer: dict[str, Any] = lambdas.api(event, CONTEXT)
    return answer


def test_a_program_is_told_how_it_signs_in_and_its_token_counts(browser: Browser, far_pool: Pool) -> None:
    native = told(browser.ask("GET", "/api/v1/sign-in"))["native_app"]
    contract = json.loads((contracts() / "sign-in.json").read_text())
    assert native == {
        "address": far_pool.address,
        "client_id": far_pool.native,
        "scope": contract["scope"],
        "redirects": contract["redirects"],
    }
    far_pool.loopbacks = set(native["redirects"])
    token = native_token(native)
    assert claims_of(token)["client_id"] == far_pool.native
    answer = bearing(token)
    assert (answer["statusCode"], told(answer)["id"]) == (200, far_pool.people[ANNA]["sub"])
    far_pool.native = "stranger"
    assert bearing(far_pool.access_token(ANNA, "stranger"))["statusCode"] == 401
    far_pool.native = native["client_id"]


def test_a_code_of_a_program_is_given_to_no_other_client_and_no_other_address(far_pool: Pool) -> None:
    redirects = ["http://127.0.0.1:14733/"]
    far_pool.loopbacks = set(redirects)
    begun = {"response_type": "code", "state": "s" * 16, "scope": "openid", "code_challenge_method": "S256"}
    begun |= {"code_challenge": challenge("v" * 43), "client_id": far_pool.native}
    for wrong in ("http://127.0.0.1:14734/", "http://localhost:14733/", "http://127.0.0.1:14733", HOME):
        asked = urlencode({**begun, "redirect_uri": wrong})
        assert httpx.get(f"{far_pool.address}/oauth2/authorize?{asked}").status_code == 400
    place = come_in(f"{far_pool.address}/oauth2/authorize?{urlencode({**begun, 'redirect_uri': redirects[0]})}", ANNA)
    (code,) = parse_qs(urlsplit(place).query)["code"]
    with pytest.raises(Unauthenticated):
        TokenEndpoint(far_pool.address, far_pool.client).exchange(code, "v" * 43, redirects[0])


def test_the_emulators_own_page_takes_what_a_program_sends(ministack: str) -> None:
    """MiniStack again, with a client that leads back to the loopback; the codes and the verifiers are held by it."""
    redirect = "http://127.0.0.1:14733/"
    cognito = client(ministack, "cognito-idp")
    identity = cognito.create_user_pool(PoolName=unique("pool"))["UserPool"]["Id"]
    app = cognito.create_user_pool_client(
        UserPoolId=identity,
        ClientName="native",
        CallbackURLs=[redirect],
        AllowedOAuthFlows=["code"],
        AllowedOAuthScopes=["openid"],
        AllowedOAuthFlowsUserPoolClient=True,
        SupportedIdentityProviders=["COGNITO"],
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=identity, Username="anna", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=identity, Username="anna", Password="Correct-horse-1", Permanent=True)
    native = NativeApp(ministack, app, "openid", (redirect,))
    begun, other = native_app.begin(native, redirect), native_app.begin(native, redirect)

    def walked(address: str) -> str:
        shown = httpx.get(address)
        assert shown.status_code == 200, shown.text
        fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', shown.text))
        given = {**fields, "username": "anna", "password": "Correct-horse-1"}
        place = httpx.post(f"{ministack}/login", data=given).headers["location"]
        assert place.startswith(f"{redirect}?")
        return urlsplit(place).query

    code = native_app.code_of(walked(begun.address), begun)
    sign_in = native_app.signed_in(native, SITE, begun, code)
    assert claims_of(sign_in.access_token)["client_id"] == app
    assert claims_of(sign_in.renewed().access_token)["sub"] == claims_of(sign_in.access_token)["sub"]
    with pytest.raises(Unauthenticated, match="used before"):
        native_app.signed_in(native, SITE, begun, code)
    stolen = native_app.code_of(walked(begun.address), begun)
    with pytest.raises(Unauthenticated):
        native_app.signed_in(native, SITE, other, stolen)  # whoever has the code has not the verifier
