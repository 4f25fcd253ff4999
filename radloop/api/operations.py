"""What an operation of the platform API is: a row of the one table that both routes requests and documents itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from radloop.api.doors import Doors
from radloop.api.gate import OPERATION
from radloop.api.media import media_type
from radloop.api.principal import principal_of
from radloop.api.uploads import whole
from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal

LONGEST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as an operation sees it.

    Attributes:
        path: What the address names, such as `id`.
        body: The JSON object that was sent; empty where the operation takes none.
    """

    doors: Doors
    principal: Principal
    path: Mapping[str, Any]
    query: QueryParams
    headers: Headers
    body: Mapping[str, Any]

    def number(self, name: str, default: int, *, least: int = 0, most: int) -> int:
        """A whole number of the query.

        Raises:
            InvalidInput: It is none, or out of range.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not least <= int(text) <= most:
            raise InvalidInput(f"{name} must be a whole number from {least} to {most}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query."""

    name: str
    schema: Mapping[str, Any]
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One row: an address, a method, what goes in, what comes out, who answers.

    Attributes:
        path: Below `/api/v1`, in Starlette's spelling; a parameter may name its convertor.
        answer: Runs in a thread, because everything below the doors waits; exactly one of it and `receive` is given.
        receive: For bodies that are read as they arrive.
        gives: Name of a schema, or the media type of what is no JSON.
        takes: Name of the schema of the JSON body.
        media: Media types of a body that `receive` reads.
        refusals: Statuses besides 400 and 500 that a caller must reckon with.
    """

    id: str
    method: str
    path: str
    summary: str
    gives: str
    answer: Callable[[Ask], Response] | None = None
    receive: Callable[[Request, Doors, Principal], Awaitable[dict[str, Any]]] | None = None
    takes: str | None = None
    media: tuple[str, ...] = ()
    query: tuple[Query, ...] = ()
    refusals: tuple[int, ...] = ()

    def route(self, prefix: str, doors: Doors) -> Route:
        """Where Starlette finds it."""

        async def endpoint(request: Request) -> Response:
            request.scope[OPERATION] = self.id
            principal = principal_of(request)
            if self.receive is not None:
                return as_json(await self.receive(request, doors, principal))
            assert self.answer is not None
            body = await _json_body(request) if self.takes is not None else {}
            ask = Ask(doors, principal, request.path_params, request.query_params, request.headers, body)
            return await run_in_threadpool(self.answer, ask)

        return Route(prefix + self.path, endpoint, methods=[self.method], name=self.id)


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain values as a JSON answer."""
    return Response(orjson.dumps(value), status_code=status, media_type="application/json", headers=dict(headers or {}))


def validator(*parts: object) -> str:
    """A strong ETag that stands for `parts`, and for the same bytes as long as they are the same."""
    return f'"{"-".join(str(part) for part in parts)}"'


def is_unchanged(headers: Headers, tag: str) -> bool:
    """Whether the caller holds what `tag` stands for (RFC 9110 §13.1.2)."""
    known = [each.strip().removeprefix("W/") for each in headers.get("if-none-match", "").split(",")]
    return tag in known or known == ["*"]


async def _json_body(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request.

    Raises:
        InvalidInput: It is not JSON, or no object.
        HTTPException: 415 for another type, 413 for too much.
    """
    if media_type(request.headers.get("content-type", "")).name != "application/json":
        raise HTTPException(415, "Send a JSON object, with Content-Type: application/json.")
    try:
        body = orjson.loads(await whole(request.stream(), LONGEST_BODY))
    except orjson.JSONDecodeError:
        raise InvalidInput("the body is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidInput("the body must be a JSON object")
    return body
