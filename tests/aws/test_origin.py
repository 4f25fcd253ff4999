"""Where CloudFront stands before the API nobody gets an answer beside it; where none does, nothing is asked for."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from radloop import lambdas
from radloop.api.sign_in import ACCESS
from radloop.aws.origin import HEADER, KEPT_S, Origin, origin_of
from radloop.core.errors import InvalidInput, NotFound, Unavailable
from tests.aws.edge import HOST, Authorized, Edge, Function, origin_header, served
from tests.aws.edge_function import edge_function
from tests.aws.emulators import client, free_port, unique
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.pool_page import Pool, pool_serving
from tests.aws.test_doors import request

SITE = "https://radloop.example.org"
ANNA = "anna@example.org"
FIRST, SECOND = "0f" * 32, "a1" * 32
REFUSED = {"code": "denied", "message": f"this API is asked through its site alone: {SITE}"}


class Safe:
    """Secrets that change, go and cannot be read, and a clock."""

    def __init__(self, **held: str) -> None:
        self.held: dict[str, str] = dict(held)
        self.away: set[str] = set()
        self.now = 1000.0
        self.asked: list[str] = []

    def read(self, name: str) -> str:
        self.asked.append(name)
        if name in self.away:
            raise Unavailable("secretsmanager answers ThrottlingException")
        if name not in self.held:
            raise NotFound("secretsmanager answers ResourceNotFoundException")
        return self.held[name]

    def origin(self, *names: str) -> Origin:
        return Origin(names, SITE, self.read, lambda: self.now)


def status(origin: Origin, **headers: str) -> int:
    answer = origin.refusal({"headers": {name.replace("_", "-"): value for name, value in headers.items()}})
    return 200 if answer is None else int(answer["statusCode"])


def shown(origin: Origin, secret: str) -> int:
    return status(origin, **{HEADER: secret})


def test_cloudfront_sends_what_the_function_looks_for() -> None:
    assert origin_header() == HEADER


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        " ",
        FIRST[:-1],
        FIRST + "0",
        FIRST.upper(),
        f" {FIRST}",
        f"{FIRST},{FIRST}",
        f"{FIRST},{SECOND}",
        "é",
        "\ud800",
        "?",
        "a",
        "b",
    ],
)
def test_each_secret_opens_and_nothing_else_does(wrong: str) -> None:
    origin = Safe(a=FIRST, b=SECOND).origin("a", "b")
    assert [shown(origin, each) for each in (FIRST, SECOND, wrong)] == [200, 200, 403]
    assert status(origin) == status(origin, x_other=FIRST) == 403


def test_where_no_cloudfront_stands_nothing_is_asked_for() -> None:
    safe = Safe()
    assert status(safe.origin()) == shown(safe.origin(), "whatever") == 200
    assert safe.asked == []


def test_the_secret_goes_no_further() -> None:
    told = {"headers": {HEADER: FIRST, "host": "x"}, "rawPath": "/healthz"}
    assert Safe(a=FIRST).origin("a").opened(told) == {"headers": {"host": "x"}, "rawPath": "/healthz"}
    assert told["headers"] == {HEADER: FIRST, "host": "x"}, "what came is left as it was"


def test_secrets_are_read_at_the_first_request_and_again_once_a_minute() -> None:
    safe = Safe(a=FIRST)
    origin = safe.origin("a")
    assert (status(origin), safe.asked) == (403, []), "who shows nothing makes nobody read"
    for _ in range(5):
        assert shown(origin, FIRST) == 200
        assert shown(origin, SECOND) == 403
    assert safe.asked == ["a"]
    safe.now += KEPT_S - 0.1
    assert shown(origin, FIRST) == 200
    assert safe.asked == ["a"]
    safe.now += 0.1
    assert shown(origin, FIRST) == 200
    assert safe.asked == ["a", "a"]


def test_a_secret_that_was_changed_or_taken_away_opens_for_a_minute_at_most() -> None:
    safe = Safe(a=FIRST, b=SECOND)
    origin = safe.origin("a", "b")
    assert [shown(origin, FIRST), shown(origin, SECOND)] == [200, 200]
    safe.held["a"] = "c0" * 32
    del safe.held["b"]
    safe.now += KEPT_S
    assert [shown(origin, each) for each in (FIRST, SECOND, "c0" * 32)] == [403, 403, 200]


def test_while_secrets_cannot_be_read_those_that_are_known_count() -> None:
    safe = Safe(a=FIRST, b=SECOND)
    origin = safe.origin("a", "b")
    assert shown(origin, FIRST) == 200
    safe.away = {"a", "b"}
    safe.now += KEPT_S
    assert [shown(origin, FIRST), shown(origin, SECOND), shown(origin, "x")] == [200, 200, 403]


def test_while_none_was_ever_read_nobody_comes_in_and_each_request_looks_again() -> None:
    safe = Safe(a=FIRST)
    safe.away = {"a"}
    origin = safe.origin("a")
    answer = origin.refusal({"headers": {HEADER: FIRST}})
    assert answer is not None
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "1")
    assert json.loads(answer["body"])["error"]["code"] == "unavailable"
    safe.away = set()
    assert shown(origin, FIRST) == 200


def test_a_secret_that_is_not_there_opens_nothing_and_does_not_stop_the_other() -> None:
    origin = Safe(b=SECOND).origin("a", "b")
    assert [shown(origin, SECOND), shown(origin, FIRST), shown(origin, "")] == [200, 403, 403]


@pytest.mark.parametrize("stated", ["", "[]", "{}", "null", '"a"', "[1]", '[""]', "arn:aws:secretsmanager:x"])
def test_a_variable_that_names_no_secret_lets_nobody_in(stated: str) -> None:
    with pytest.raises(InvalidInput, match="RADLOOP_ORIGIN_SECRETS"):
        origin_of({"RADLOOP_ORIGIN_SECRETS": stated})
    assert status(origin_of({})) == 200


# The real function, the emulator's Secrets Manager


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with pool_serving(f"{SITE}/app/") as serving:
        serving.add(ANNA, "reader")
        yield serving


@pytest.fixture(scope="module")
def fronted(ministack: str, healthimaging_url: str, pool: Pool) -> Iterator[Environment]:
    """An environment that CloudFront stands before, in the midst of changing one secret for another."""
    secrets = client(ministack, "secretsmanager")
    made = [secrets.create_secret(Name=unique("origin"), SecretString=each)["ARN"] for each in (FIRST, SECOND)]
    more = {
        "RADLOOP_ORIGIN_SECRETS": json.dumps(made),
        "RADLOOP_SITE_URL": SITE,
        "RADLOOP_SIGN_IN_URL": pool.address,
        "RADLOOP_ISSUER": pool.issuer,
        "RADLOOP_CLIENT_ID": pool.client,
        "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": pool.address,
    }
    with environment(ministack, healthimaging_url, more) as laid_out:
        yield laid_out


@pytest.fixture(autouse=True)
def asked(ministack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets and people are asked for when a request comes."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack)


PATHS = ("/healthz", "/api/v1/sign-in", "/api/v1/worklist", "/dicomweb/studies", "/nothing")


def test_beside_cloudfront_every_request_is_refused_before_anything_is_done(
    fronted: Environment, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    lambdas._application.cache_clear()
    entries = fronted.cloud.audit.entries(limit=1000)
    for headers in ({}, {HEADER: ""}, {HEADER: FIRST[::-1]}, {HEADER.upper(): "x"}):
        for path in PATHS:
            told = request(path, token=pool.access_token(ANNA))
            told["headers"] |= headers
            answer = lambdas.api(told, CONTEXT)
            assert (answer["statusCode"], json.loads(answer["body"])) == (403, {"error": REFUSED})
            assert answer["headers"]["cache-control"] == "no-store"
    answer = lambdas.api(request("/api/v1/session", method="POST", body=b"{}"), CONTEXT)
    assert answer["statusCode"] == 403
    assert lambdas._application.cache_info().currsize == 0, "the application was made for a stranger"
    assert fronted.cloud.audit.entries(limit=1000) == entries


def test_through_cloudfront_by_either_secret_the_answer_is_the_applications(
    fronted: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bodies = ""
    for secret in (FIRST, SECOND):
        for path, status_ in zip(PATHS, (200, 200, 401, 401, 404), strict=True):
            told = request(path)
            told["headers"][HEADER] = secret
            answer = lambdas.api(told, CONTEXT)
            assert answer["statusCode"] == status_, (path, answer["body"])
            bodies += json.dumps(answer)
    assert "begun: request" in caplog.text
    assert not any(secret in caplog.text + bodies for secret in (FIRST, SECOND)), (
        "a secret stands in a log or an answer"
    )


@pytest.fixture(scope="module")
def site(fronted: Environment, pool: Pool) -> Iterator[tuple[str, str]]:
    """Addresses on the loopback: of CloudFront, which sends the second secret, and of API Gateway beside it."""
    with ExitStack() as stack:
        api = Function(lambdas.api)
        stack.callback(api.close)
        gateway = Authorized(api, pool)
        cookie = stack.enter_context(edge_function("cookie.js"))
        ports = free_port(), free_port()
        stack.enter_context(served(Edge(cookie, gateway, gateway, secret=SECOND), ports[0]))
        stack.enter_context(served(_named(gateway), ports[1]))
        yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"


def _named(app: ASGIApp) -> ASGIApp:
    """As whoever asks API Gateway by its own name."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [each for each in scope["headers"] if each[0] != b"host"]
        await app({**scope, "headers": [*headers, (b"host", HOST.encode())]}, receive, send)

    return answer


def test_a_program_and_a_browser_come_through_the_site_and_not_beside_it(site: tuple[str, str], pool: Pool) -> None:
    through, beside = site
    bearer = {"Authorization": f"Bearer {pool.access_token(ANNA)}"}
    cookie = {"Cookie": f"{ACCESS}={pool.access_token(ANNA)}"}
    worklist = "/api/v1/worklist"
    assert httpx.get(through + worklist, headers=bearer).status_code == 200
    assert httpx.get(through + worklist, headers=cookie).status_code == 200
    assert httpx.get(through + worklist, headers={**bearer, HEADER: "mine"}).status_code == 200
    assert httpx.get(through + "/healthz").status_code == 200
    assert httpx.get(through + worklist).status_code == 401
    for path in (worklist, "/healthz", "/api/v1/sign-in"):
        for more in ({}, {HEADER: "mine"}):
            answer = httpx.get(beside + path, headers={**bearer, **more})
            assert (answer.status_code, answer.json()) == (403, {"error": REFUSED})
    assert httpx.get(beside + worklist).status_code == 401, "the gateway's own authorizer comes before the function"


def test_without_a_site_the_api_stands_alone(
    fronted: Environment, pool: Pool, site: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, beside = site
    bearer = {"Authorization": f"Bearer {pool.access_token(ANNA)}"}
    monkeypatch.delenv("RADLOOP_ORIGIN_SECRETS")
    lambdas._origin.cache_clear()
    try:
        assert httpx.get(f"{beside}/api/v1/worklist", headers=bearer).status_code == 200
    finally:
        lambdas._origin.cache_clear()
