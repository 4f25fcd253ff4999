"""People sign in at a pool that is set as ours is, and the emulator's API Gateway lets through whom AWS's would."""

import io
import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.edge import distribution
from tests.aws.emulators import ACCOUNT, REGION, client, unique
from tests.aws.packages import tool

people, gateway = tool("lab_people"), tool("lab_gateway")
ECHO = """
import json
def told(event, context):
    claims = event["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims")
    return {"statusCode": 200, "body": json.dumps(event["headers"] if event["rawPath"] == "/headers" else claims)}
"""


@pytest.fixture
def pool(ministack: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A pool with a second factor for everybody, and an app client that takes no password but by SRP."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack)
    cognito = client(ministack, "cognito-idp")
    made = cognito.create_user_pool(PoolName=unique("pool"), UsernameAttributes=["email"], MfaConfiguration="ON")
    identity = made["UserPool"]["Id"]
    cognito.create_group(UserPoolId=identity, GroupName="reader")
    app = cognito.create_user_pool_client(
        UserPoolId=identity,
        ClientName="viewer",
        ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )
    return identity, app["UserPoolClient"]["ClientId"]


@pytest.fixture
def door(ministack: str, pool: tuple[str, str]) -> Iterator[Any]:
    """An HTTP API whose default route asks for a token of the pool, and two routes that ask for nothing."""
    identity, app = pool
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as package:
        package.writestr("echo.py", ECHO)
    functions, apis, name = client(ministack, "lambda"), client(ministack, "apigatewayv2"), unique("echo")
    made = functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=f"arn:aws:iam::{ACCOUNT}:role/echo",
        Handler="echo.told",
        Code={"ZipFile": code.getvalue()},
    )
    api = apis.create_api(Name=name, ProtocolType="HTTP")
    authorizer = apis.create_authorizer(
        ApiId=api["ApiId"],
        Name="tokens",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": f"https://cognito-idp.{REGION}.amazonaws.com/{identity}", "Audience": [app]},
    )["AuthorizerId"]
    target = apis.create_integration(
        ApiId=api["ApiId"],
        IntegrationType="AWS_PROXY",
        IntegrationUri=made["FunctionArn"],
        PayloadFormatVersion="2.0",
    )["IntegrationId"]
    asking, nothing = {"AuthorizationType": "JWT", "AuthorizerId": authorizer}, {"AuthorizationType": "NONE"}
    for route, kind in (("$default", asking), ("GET /healthz", nothing), ("GET /headers", nothing)):
        apis.create_route(ApiId=api["ApiId"], RouteKey=route, Target=f"integrations/{target}", **kind)
    apis.create_stage(ApiId=api["ApiId"], StageName="$default", AutoDeploy=True)
    yield gateway.Gateway(ministack, api["ApiEndpoint"])
    functions.delete_function(FunctionName=name)


def test_a_person_comes_in_by_password_and_second_factor(pool: tuple[str, str], door: Any) -> None:
    person = people.Person(*pool, "reader@example.org", frozenset({"reader"}))
    claims = door.ask("GET", "/api/v1/worklist", person.token())
    assert claims["cognito:groups"] == "[reader]"
    assert (claims["client_id"], claims["token_use"]) == (pool[1], "access")
    assert int(claims["exp"]) > time.time()


def test_nobody_else_comes_in_but_to_the_route_that_is_open(pool: tuple[str, str], door: Any) -> None:
    person = people.Person(*pool, "reader@example.org", frozenset({"reader"}))
    head, payload, seal = person.token().split(".")
    changed = f"{head}.{payload}.{seal[:20]}{'A' if seal[20] != 'A' else 'B'}{seal[21:]}"
    for wrong in ("", changed, f"{head}.{payload}.", "a.b.c", "radloop_0123456789"):
        status, _, answer = door.call("GET", "/api/v1/worklist", token=wrong)
        assert (status, json.loads(answer)) == (401, {"message": "Unauthorized"})
    assert door.call("GET", "/healthz")[0] == 200


def test_a_token_of_another_pool_does_not_count(ministack: str, pool: tuple[str, str], door: Any) -> None:
    cognito = client(ministack, "cognito-idp")
    other = cognito.create_user_pool(PoolName=unique("pool"), UsernameAttributes=["email"], MfaConfiguration="ON")
    identity = other["UserPool"]["Id"]
    app = cognito.create_user_pool_client(UserPoolId=identity, ClientName="viewer")["UserPoolClient"]["ClientId"]
    stranger = people.Person(identity, app, "reader@example.org", frozenset())
    assert door.call("GET", "/api/v1/worklist", token=stranger.token())[0] == 401


def test_the_lab_shows_the_api_what_cloudfront_as_it_was_applied_shows_it(ministack: str, door: Any) -> None:
    host = f"{unique('api')}.execute-api.{REGION}.amazonaws.com"
    distribution(ministack, host, "0f" * 32)
    shown = gateway.shown_by_cloudfront(host)
    assert shown == {"x-radloop-origin": "0f" * 32}
    assert gateway.shown_by_cloudfront(f"other-{host}") == {}
    told = gateway.Gateway(ministack, door.endpoint, shown).call("GET", "/headers")[2]
    assert json.loads(told)["x-radloop-origin"] == "0f" * 32, (
        "the gateway hands the header to the function, in small letters"
    )
    assert "x-radloop-origin" not in json.loads(door.call("GET", "/headers")[2])


def test_a_wrong_password_and_a_wrong_code_are_refused(pool: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    person = people.Person(*pool, "reader@example.org", frozenset({"reader"}))
    with monkeypatch.context() as patch:
        patch.setattr(people, "PASSWORD", "Correct-horse-battery-2")
        with pytest.raises(ClientError, match="NotAuthorizedException"):
            person.token()
    with monkeypatch.context() as patch:
        patch.setattr(person, "_secret", b"another secret here!")
        with pytest.raises(ClientError, match="CodeMismatchException"):
            person.token()
    assert person.token()
