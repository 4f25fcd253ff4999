"""What an operation of the platform API is: a row of the one table that both routes requests and documents itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from radloop.api.doors import Doors
from radloop.api.errors import answer_to
from radloop.api.gate import OPERATION
from radloop.api.media import media_type
from radloop.api.principal import permitted
from radloop.api.uploads import whole
from radloop.core.errors import InvalidInput, RadloopError
from radloop.core.identity import Principal

PREFIX = "/api/v1"
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
class Header:
    """A header that a request may carry, or that an answer does."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One row: an address, a method, what goes in, what comes out, who answers.

    Attributes:
        path: Below `prefix`, in Starlette's spelling; a parameter may name its convertor.
        action: What a caller must be allowed to do: an action of `contracts/roles.json`, `ANYBODY` or `SIGNED_IN`.
            It is asked for here and nowhere else. A row that names none is refused to everybody.
        answer: Runs in a thread, because everything below the doors waits; exactly one of it and `receive` is given.
        receive: For bodies that are read as they arrive, and answers with a status or headers of their own.
        gives: Name of a schema, or the media type of what is no JSON; empty for an answer without a body.
        also: Media types the answer may have besides, where the caller chooses.
        takes: Name of the schema of the JSON body.
        media: Media types of a body that `receive` reads.
        refusals: Statuses besides 400 and 500 that a caller must reckon with.
        status: Of an answer that is no refusal.
        headers: What a request may carry besides what HTTP itself knows.
        tells: Headers of an answer that is no refusal.
        always: Headers of every answer, refusals included.
        prefix: Where its part of the API begins.
        is_linked: Whether a signed link to the image set `id` may stand for the caller.
    """

    id: str
    method: str
    path: str
    summary: str
    gives: str
    answer: Callable[[Ask], Response] | None = None
    receive: Callable[[Request, Doors, Principal], Awaitable[dict[str, Any] | Response]] | None = None
    takes: str | None = None
    also: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    query: tuple[Query, ...] = ()
    refusals: tuple[int, ...] = ()
    status: int = 200
    headers: tuple[Header, ...] = ()
    tells: tuple[Header, ...] = ()
    always: Mapping[str, str] = field(default_factory=dict)
    action: str = ""
    prefix: str = PREFIX
    is_linked: bool = False

    @property
    def address(self) -> str:
        """The whole path, in Starlette's spelling."""
        return self.prefix + self.path

    def route(self, doors: Doors) -> Route:
        """Where Starlette finds it."""

        async def answered(request: Request) -> Response:
            linked = request.path_params["id"] if self.is_linked else None
            principal = permitted(request, self.action, linked=linked)
            if self.receive is not None:
                told = await self.receive(request, doors, principal)
                return told if isinstance(told, Response) else as_json(told)
            assert self.answer is not None
            body = await json_body(request) if self.takes is not None else {}
            ask = Ask(doors, principal, request.path_params, request.query_params, request.headers, body)
            return await run_in_threadpool(self.answer, ask)

        async def endpoint(request: Request) -> Response:
            request.scope[OPERATION] = self.id
            if not self.always:
                return await answered(request)
            try:
                response = await answered(request)
            except (HTTPException, RadloopError) as error:
                response = answer_to(error)
            response.headers.update(self.always)
            return response

        return Route(self.address, endpoint, methods=[self.method], name=self.id)


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


async def json_body(request: Request) -> Mapping[str, Any]:
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
