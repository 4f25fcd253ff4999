"""Faults put between a real client and its server, where the network would put them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError

from radloop.aws.clients import made

Fault = Callable[[Any], AWSResponse | None]
"""Given a request on its way: an answer in the server's place, or None to let it through."""


def client_with(address: str, service: str, operation: str, faults: list[Fault]) -> Any:
    """A client that meets `faults`, one a request of `operation`, and none afterwards."""
    client = made(service, address)
    left = list(faults)

    def before(request: Any, **_: Any) -> AWSResponse | None:
        return left.pop(0)(request) if left else None

    client.meta.events.register_first(f"before-send.{service}.{operation}", before)
    return client


def refuse(kind: str, *, reasons: list[str] | None = None, status: int = 400) -> Fault:
    """The server refuses, and has done nothing."""
    body: dict[str, Any] = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "no"}
    if reasons is not None:
        body["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return lambda request: answer(request.url, status, body)


def lose_the_answer(request: Any) -> AWSResponse | None:
    """The server does it, and the answer is lost on its way."""
    httpx.post(request.url, content=request.body, headers=_plain(request.headers)).raise_for_status()
    raise ReadTimeoutError(endpoint_url=request.url)


def let_through(_: Any) -> None:
    """No fault."""


def _plain(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}


class _Raw:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> list[bytes]:
        return [self._content]


def answer(url: str, status: int, body: Mapping[str, Any]) -> AWSResponse:
    headers = {"content-type": "application/x-amz-json-1.0"}
    return AWSResponse(url, status, headers, _Raw(json.dumps(body).encode()))
