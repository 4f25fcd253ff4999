"""CloudFront and API Gateway, as the modules `cdn` and `api` set them, before the function `api` or an application.

CloudFront's own functions run as they stand in infra/, and what a page may do is read there too. Whether an address
opens a pack is decided by what Amazon's guide says of it, with nothing of ours that signs.

See:
    Amazon CloudFront Developer Guide, "Use signed URLs" (order of the checks, time of the check, ranges) and "Create a
    signed URL using a custom policy" (form of the policy, wildcards, signs of base64).
"""

import asyncio
import base64
import binascii
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc import jwt
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.aws.edge_function import FUNCTIONS, EdgeFunction
from tests.aws.emulators import client
from tests.aws.environment import CONTEXT
from tests.aws.pool_page import Pool

HOST = "abc123.execute-api.eu-west-1.amazonaws.com"
"""The API's own name: CloudFront asks it by that, and tells nobody the viewer's Host (AllViewerExceptHostHeader)."""

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/api/v1/sign-in"),
    ("POST", "/api/v1/session"),
    ("POST", "/api/v1/session/renewal"),
}
"""Routes without an authorizer."""

_RESERVED = ("Policy", "Signature", "Key-Pair-Id")
_STANDARD = str.maketrans("-_~", "+=/")


class Refused(Exception):
    """A signed address opens nothing; the message is CloudFront's."""


@dataclass(frozen=True)
class KeyGroup:
    """Public keys that CloudFront knows, PEM by id, and its clock."""

    keys: Mapping[str, bytes]
    clock: Callable[[], datetime]

    def admit(self, url: str) -> str:
        """The Resource of the policy that opens `url`, which is as the viewer sent it.

        Raises:
            Refused: Nothing does.
        """
        base, _, query = url.partition("?")
        parts = [part.partition("=") for part in query.split("&") if part]
        told = {name: value for name, _, value in parts if name in _RESERVED}
        if sum(name in _RESERVED for name, _, _ in parts) != len(told):
            raise Refused("Access denied")
        if not told.get("Key-Pair-Id"):
            raise Refused("Missing Key-Pair-Id query parameter or cookie value")
        if told["Key-Pair-Id"] not in self.keys:
            raise Refused("Unknown Key")
        policy = _decoded(told.get("Policy", ""))
        key = load_pem_public_key(self.keys[told["Key-Pair-Id"]])
        assert isinstance(key, rsa.RSAPublicKey)
        try:
            key.verify(_decoded(told.get("Signature", "")), policy, padding.PKCS1v15(), SHA1())
        except InvalidSignature:
            raise Refused("Access denied") from None
        rest = "&".join("".join(part) for part in parts if part[0] not in _RESERVED)
        return self._resource_of(policy, f"{base}?{rest}" if rest else base)

    def _resource_of(self, policy: bytes, url: str) -> str:
        """What the policy opens, where that is `url`, and now."""
        try:
            (statement,) = json.loads(policy)["Statement"]
            resource, condition = str(statement["Resource"]), statement["Condition"]
            end = condition["DateLessThan"]["AWS:EpochTime"]
        except (ValueError, KeyError, TypeError):
            raise Refused("Malformed Policy") from None
        is_ours = condition.keys() == {"DateLessThan"} and isinstance(end, int)
        if re.search(rb"\s", policy) or not is_ours or not resource.startswith(("http://", "https://", "*")):
            raise Refused("Malformed Policy")
        if not _wildcards(resource).fullmatch(url) or self.clock().timestamp() >= end:
            raise Refused("Access denied")
        return resource


def _wildcards(resource: str) -> re.Pattern[str]:
    """`*` is any number of signs, `?` is one."""
    return re.compile("".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in resource), re.DOTALL)


def _decoded(text: str) -> bytes:
    """What stands in an address as base64 whose `+=/` are `-_~`."""
    if set(text) & set("+=/"):
        raise Refused("Access denied")
    try:
        return base64.b64decode(text.translate(_STANDARD), validate=True)
    except binascii.Error:
        raise Refused("Access denied") from None


@dataclass(frozen=True)
class Given:
    """A request for a pack, and what became of it.

    Attributes:
        path: With its leading `/`.
        span: The header Range.
        resource: Of the policy that opened it; empty where none did.
        size: Bytes of the body.
    """

    path: str
    span: str
    status: int
    resource: str
    size: int


class Packs:
    """The behaviour `/packs/*`: objects of a bucket, by the same path, for who has a signed address."""

    def __init__(self, s3: Any, bucket: str, group: KeyGroup) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._group = group
        self.given: list[Given] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await run_in_threadpool(self._answer, Request(scope))
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path, query = request.scope["raw_path"].decode(), request.url.query
        url = f"{request.url.scheme}://{request.headers['host']}{path}" + (f"?{query}" if query else "")
        span, resource = request.headers.get("range", ""), ""
        if request.method not in {"GET", "HEAD"}:
            response = Response(status_code=403)
        else:
            try:
                resource = self._group.admit(url)
                response = self._object(unquote(path.removeprefix("/")), span)
            except Refused as refused:
                response = _xml(403, str(refused))
        self.given.append(Given(path, span, response.status_code, resource, len(response.body)))
        return response

    def _object(self, key: str, span: str) -> Response:
        asked = {"Range": span} if span else {}
        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=key, **asked)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 416:
                return _xml(416, "InvalidRange")
            return _xml(403, "AccessDenied")  # who may not list a bucket is told this of what is not there
        told = found["ResponseMetadata"]["HTTPHeaders"]
        kept = ("content-type", "content-encoding", "content-range", "cache-control", "etag", "accept-ranges")
        headers = {name: told[name] for name in kept if name in told}
        return Response(found["Body"].read(), 206 if "content-range" in headers else 200, headers)


def _xml(status: int, message: str) -> Response:
    return Response(f"<Error><Message>{message}</Message></Error>", status, media_type="text/xml")


class Authorized:
    """The gateway's JWT authorizer: what it lets through goes on with the claims in `scope["claims"]`."""

    def __init__(self, app: ASGIApp, pool: Pool) -> None:
        self._app = app
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        claims = self._claims(Headers(scope=scope).get("authorization", ""))
        is_open = (scope["method"], scope["path"]) in OPEN
        if claims is None and not is_open:
            await Response('{"message":"Unauthorized"}', 401)(scope, receive, send)
            return
        await self._app({**scope, "claims": None if is_open else claims}, receive, send)

    def _claims(self, stated: str) -> Mapping[str, Any] | None:
        try:
            claims = jwt.decode(stated.removeprefix("Bearer "), self._pool.key, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return None
        mine = claims["iss"] == self._pool.issuer and claims["client_id"] in {self._pool.client, self._pool.native}
        return claims if mine and time.time() < claims["exp"] else None


class Function:
    """A route of an HTTP API to a Lambda function, in payload format 2.0: one execution environment, one at a time."""

    def __init__(self, handler: Callable[[Any, Any], Any]) -> None:
        self._handler = handler
        self._environment = ThreadPoolExecutor(1, initializer=_with_loop)

    def close(self) -> None:
        self._environment.submit(_end_loop).result()
        self._environment.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        event = _event(scope, await Request(scope, receive).body())
        told = await asyncio.get_running_loop().run_in_executor(self._environment, self._handler, event, CONTEXT)
        body = str(told.get("body") or "")
        data = base64.b64decode(body) if told["isBase64Encoded"] else body.encode()
        response = Response(data, told["statusCode"], told.get("headers") or {})
        for cookie in told.get("cookies") or ():
            response.headers.append("set-cookie", cookie)
        await response(scope, receive, send)


def _with_loop() -> None:
    """Mangum runs its loop in the thread that it is called in."""
    asyncio.set_event_loop(asyncio.new_event_loop())


def _end_loop() -> None:
    asyncio.get_event_loop().close()
    asyncio.set_event_loop(None)


def _event(scope: Scope, body: bytes) -> dict[str, Any]:
    headers = Headers(scope=scope)
    told = {name: ",".join(headers.getlist(name)) for name in headers if name != "cookie"}
    claims, path, method = scope["claims"], scope["path"], scope["method"]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}" if (method, path) in OPEN else "$default",
        "rawPath": path,
        "rawQueryString": scope["query_string"].decode(),
        "headers": {**told, "x-forwarded-proto": "https"},
        "requestContext": {
            "apiId": "abc123",
            "domainName": HOST,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": ""},
            "requestId": "id",
            "stage": "$default",
            "time": f"{datetime.now(UTC):%d/%b/%Y:%H:%M:%S +0000}",
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": bool(body),
    }
    if "cookie" in headers:
        event["cookies"] = headers["cookie"].split("; ")
    if body:
        event["body"] = base64.b64encode(body).decode()
    if claims is not None:
        event["requestContext"]["authorizer"] = {
            "jwt": {"claims": {name: _text(each) for name, each in claims.items()}}
        }
    return event


def _text(claim: Any) -> str:
    """A claim as the gateway hands it on: lists in brackets, without commas."""
    return f"[{' '.join(map(str, claim))}]" if isinstance(claim, list) else str(claim)


class Edge:
    """CloudFront: the viewer's files, the packs, and the API for all else.

    Args:
        function: `cookie.js`, running.
        api: What the gateway's authorizer stands before.
        pages: Gives what lies below `/app/`, and leads there from `/`.
        packs: Gives what lies below `/packs/`.
        secret: Put into a header of every request to the API, over what the viewer sent there (see "Add custom headers
            to origin requests"); nothing is put in where it is empty.
    """

    def __init__(
        self, function: EdgeFunction, api: ASGIApp, pages: ASGIApp, packs: ASGIApp | None = None, *, secret: str = ""
    ) -> None:
        self._function = function
        self._shown = {origin_header(): secret} if secret else {}
        self._api = api
        self._pages = pages
        self._packs = packs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._packs is not None and scope["path"].startswith("/packs/"):
            await self._packs(scope, receive, send)
        elif scope["path"] in {"/", "/app"} or scope["path"].startswith("/app/"):
            await self._pages(_with_headers(scope, {**Headers(scope=scope), "host": HOST}), receive, send)
        else:
            headers = {**Headers(scope=scope), "host": HOST}
            cookies = cookie_parser(headers.get("cookie", ""))
            passed = self._function(headers, cookies, method=scope["method"], uri=scope["path"])["headers"]
            told = {name: each["value"] for name, each in passed.items()}
            await self._api(_with_headers(scope, {**told, **self._shown}), receive, send)


def _with_headers(scope: Scope, headers: Mapping[str, str]) -> Scope:
    return {**scope, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


class Pages:
    """The bucket `web` with the function `viewer.js` before it, and the policy that CloudFront sends along."""

    def __init__(self, folder: Path, function: EdgeFunction) -> None:
        self._files = StaticFiles(directory=folder)
        self._function = function
        self._policy = page_policy().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passed = self._function({}, {}, uri=scope["path"])
        if "statusCode" in passed:
            headers = {name: each["value"] for name, each in passed["headers"].items()}
            await Response(status_code=passed["statusCode"], headers=headers)(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", self._policy)]
            await send(message)

        await self._files({**scope, "path": passed["uri"].removeprefix("/app")}, receive, told)


def origin_header() -> str:
    """The header by which module `cdn` lets the API know CloudFront."""
    (name,) = re.findall(r'^  origin_header = "([a-z-]+)"$', (FUNCTIONS / "main.tf").read_text(), re.MULTILINE)
    return str(name)


def distribution(address: str, host: str, secret: str) -> None:
    """A distribution of the emulator's, which shows an API of this name a secret; it hands on nothing."""
    origin = {
        "Id": "api",
        "DomainName": host,
        "CustomHeaders": {"Quantity": 1, "Items": [{"HeaderName": origin_header(), "HeaderValue": secret}]},
        "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only"},
    }
    behavior = {
        "TargetOriginId": "api",
        "ViewerProtocolPolicy": "https-only",
        "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
    }
    client(address, "cloudfront").create_distribution(
        DistributionConfig={
            "CallerReference": host,
            "Comment": "",
            "Enabled": True,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": behavior,
        }
    )


def page_policy() -> str:
    """The Content-Security-Policy of module `cdn`."""
    (listed,) = re.findall(
        r'content_security_policy = join\("; ", \[(.*?)\n\s*\]\)', (FUNCTIONS / "main.tf").read_text(), re.DOTALL
    )
    return "; ".join(re.findall(r'"([^"]+)"', listed))


@contextmanager
def served(app: ASGIApp, port: int) -> Iterator[None]:
    """The application at a port of the loopback, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
