"""The platform API behind API Gateway: the same application, by events in payload format 2.0."""

import base64
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from radloop import doors_aws, lambdas
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Upload
from radloop.core.tables import IMAGE_SETS
from radloop.functions import incidents
from radloop.security.identities import Identities
from radloop.security.isolation import isolating
from tests.aws.emulators import REGION, client, unique
from tests.aws.environment import CONTEXT, Environment, environment
from tests.aws.test_lambdas import assemble, ended
from tests.store.house import phantom

NAME = "abc123.execute-api.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def surroundings(ministack: str, healthimaging_url: str) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.2) as made:
        yield made


@pytest.fixture(scope="module")
def token(surroundings: Environment) -> str:
    ports = surroundings.cloud.platform
    identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
    return identities.create_credential(roles=frozenset({"reader", "verifier"}), patients=None, by=OWNER).token


def request(path: str, *, token: str = "", method: str = "GET", body: bytes = b"", **headers: str) -> dict[str, Any]:
    parts = urlsplit(path)
    told = {"host": NAME, "x-forwarded-proto": "https", **headers}
    if token:
        told["authorization"] = f"Bearer {token}"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": told,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": NAME,
            "domainPrefix": "abc123",
            "http": {
                "method": method,
                "path": parts.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "23/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795435200000,
        },
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def body_of(answer: Any) -> bytes:
    text: str = answer["body"]
    return base64.b64decode(text) if answer["isBase64Encoded"] else text.encode()


def test_the_api_answers_and_lets_nobody_in_without_a_token(surroundings: Environment, token: str) -> None:
    assert lambdas.api(request("/healthz"), CONTEXT)["statusCode"] == 200
    assert lambdas.api(request("/api/v1/worklist"), CONTEXT)["statusCode"] == 401
    answer = lambdas.api(request("/api/v1/worklist", token=token), CONTEXT)
    assert answer["statusCode"] == 200
    assert answer["headers"]["strict-transport-security"]


def test_another_name_than_the_apis_own_is_turned_away(surroundings: Environment) -> None:
    told = request("/healthz")
    told["headers"]["host"] = "evil.example"
    assert lambdas.api(told, CONTEXT)["statusCode"] == 403


def test_frames_and_files_of_healthimaging_are_served_as_those_of_our_own_store(
    surroundings: Environment, token: str
) -> None:
    surroundings.cloud.images.land([Upload(data) for data in phantom()], by=OWNER)
    surroundings.cloud.platform.bus.route()
    assemble(surroundings)
    (job,) = ended(surroundings)
    surroundings.cloud.images.take_up(job, by=OWNER)
    (row,) = surroundings.cloud.platform.records.find(IMAGE_SETS)
    answer = lambdas.api(request(f"/api/v1/image-sets/{row.key}/frames/0", token=token), CONTEXT)
    assert answer["statusCode"] == 200, body_of(answer)
    assert body_of(answer)[:4] == b"\xff\x4f\xff\x51"  # SOC and SIZ of a codestream
    study, series = (row.columns[name] for name in ("study_uid", "series_uid"))
    instances = f"/dicomweb/studies/{study}/series/{series}/instances"
    found = lambdas.api(request(instances, token=token, accept="application/dicom+json"), CONTEXT)
    assert len(json.loads(body_of(found))) == 4


def test_an_answer_that_lambda_cannot_carry_is_refused_in_words(
    surroundings: Environment, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors_aws, "LONGEST_ANSWER", 10)
    answer = lambdas.api(request("/api/v1/worklist", token=token), CONTEXT)
    assert answer["statusCode"] == 413
    assert json.loads(answer["body"])["error"]["code"] == "too-large"


@pytest.fixture
def person(surroundings: Environment, ministack: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The access token of a reader of a user pool whose keys are out of reach; the doors know the pool."""
    cognito = client(ministack, "cognito-idp")
    pool = cognito.create_user_pool(PoolName=unique("pool"), UsernameAttributes=["email"])["UserPool"]["Id"]
    viewer = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="viewer", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    cognito.create_group(UserPoolId=pool, GroupName="reader")
    name = "reader@example.org"
    cognito.admin_create_user(UserPoolId=pool, Username=name, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password="Correct-horse-1", Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName="reader")
    asked = {"USERNAME": name, "PASSWORD": "Correct-horse-1"}
    answer = cognito.admin_initiate_auth(
        UserPoolId=pool, ClientId=viewer, AuthFlow="ADMIN_USER_PASSWORD_AUTH", AuthParameters=asked
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack)
    monkeypatch.setenv("RADLOOP_ISSUER", f"https://cognito-idp.{REGION}.amazonaws.com/{pool}")
    monkeypatch.setenv("RADLOOP_CLIENT_ID", viewer)
    lambdas._application.cache_clear()
    yield answer["AuthenticationResult"]["AccessToken"]
    lambdas._application.cache_clear()


def test_what_the_authorizer_found_in_a_token_counts_and_nothing_without_it(
    surroundings: Environment, person: str
) -> None:
    payload = person.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    told = request("/api/v1/worklist", token=person)
    told["requestContext"]["authorizer"] = {"jwt": {"claims": {name: str(each) for name, each in claims.items()}}}
    assert lambdas.api(told, CONTEXT)["statusCode"] == 200
    told["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = "somebody-else"
    assert lambdas.api(told, CONTEXT)["statusCode"] == 401
    without = lambdas.api(request("/api/v1/worklist", token=person), CONTEXT)
    assert without["statusCode"] in {401, 503}  # the pool's keys cannot be asked for from here


def test_who_is_isolated_is_refused_and_the_account_at_the_pool_follows(
    surroundings: Environment, person: str, ministack: str
) -> None:
    ports = surroundings.cloud.platform
    identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
    token = identities.create_credential(roles={"admin"}, patients=None, by=OWNER).token
    claims = json.loads(base64.urlsafe_b64decode(person.split(".")[1] + "=="))
    told = request("/api/v1/worklist", token=person)
    told["requestContext"]["authorizer"] = {"jwt": {"claims": {name: str(each) for name, each in claims.items()}}}
    pool, cognito = os.environ["RADLOOP_ISSUER"].rpartition("/")[2], client(ministack, "cognito-idp")

    def is_enabled() -> bool:
        return bool(cognito.admin_get_user(UserPoolId=pool, Username=claims["username"])["Enabled"])

    at = "2026-01-05T09:00:00+00:00"
    by_the_watch = isolating(ports.records, claims["sub"], incident="i", by="radloop", at=at)
    ports.records.commit(Change(writes=by_the_watch))
    assert is_enabled()
    assert lambdas.api(told, CONTEXT)["statusCode"] == 401
    assert not is_enabled()
    let_in = request(f"/api/v1/isolations/{claims['sub']}", token=token, method="DELETE")
    assert json.loads(lambdas.api(let_in, CONTEXT)["body"]) == {"principal": claims["sub"], "released": True}
    assert is_enabled()
    assert lambdas.api(told, CONTEXT)["statusCode"] == 200
    by_hand = request(
        "/api/v1/isolations",
        token=token,
        method="POST",
        body=json.dumps({"principal": claims["sub"]}).encode(),
        **{"content-type": "application/json"},
    )
    for _ in range(2):
        assert lambdas.api(by_hand, CONTEXT)["statusCode"] == 200
    assert not is_enabled()
    assert lambdas.api(told, CONTEXT)["statusCode"] == 401
    incidents.release(claims["sub"], ports, by="radloop")  # and the pool was not told
    assert json.loads(lambdas.api(let_in, CONTEXT)["body"])["released"], "asked again, it does what is left"
    assert is_enabled()
    cognito.admin_disable_user(UserPoolId=pool, Username=claims["username"])
    assert lambdas.api(by_hand, CONTEXT)["statusCode"] == 200
    assert json.loads(lambdas.api(let_in, CONTEXT)["body"])["released"]
    assert not is_enabled(), "somebody else had disabled the account before"
    listed = json.loads(lambdas.api(request("/api/v1/incidents", token=token), CONTEXT)["body"])
    assert listed["isolated"] == []
