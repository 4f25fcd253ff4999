"""The HTTP application: all doors put together."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from radloop.api.dicomweb import OPERATION_NAMES, dicomweb_routes
from radloop.api.doors import Doors
from radloop.api.errors import answer_to
from radloop.api.frames_first import FramesFirst
from radloop.api.gate import Gate
from radloop.api.healthimaging.routes import HealthImaging
from radloop.api.healthimaging.routes import operation_names as healthimaging_names
from radloop.api.openapi import OPERATIONS
from radloop.api.operations import Operation, as_json
from radloop.api.plain_paths import PlainPaths
from radloop.api.principal import permitted
from radloop.api.stream import PREFIX as STREAMS
from radloop.api.viewer import ViewerFiles
from radloop.core.errors import NotFound, RadloopError
from radloop.monitoring.metrics import exposition

__all__ = ["Doors", "create_app", "operation_names"]


def create_app(doors: Doors) -> Starlette:
    """The application on `doors`; it holds nothing else, so that any number may run beside each other."""
    healthimaging = HealthImaging(doors)
    frames_of_healthimaging, *other_healthimaging = healthimaging.routes()
    routes: list[BaseRoute] = [
        frames_of_healthimaging,
        Route("/healthz", _healthy, name="healthz"),
        Route("/metrics", _metrics(doors), name="metrics"),
        Route("/", _to_viewer, name="root"),
        *(operation.route(doors) for operation in sorted(OPERATIONS, key=_how_seldom)),
        *dicomweb_routes(doors),
        *other_healthimaging,
    ]
    if doors.static is not None:
        routes.append(Mount("/app", ViewerFiles(directory=doors.static, html=True), name="viewer"))
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Gate, doors=doors),
            Middleware(FramesFirst, doors=doors, healthimaging=healthimaging),
            Middleware(PlainPaths, routes=routes),
        ],
        exception_handlers={HTTPException: _refused, RadloopError: _refused},
    )
    app.state.doors = doors
    return app


def operation_names() -> list[str]:
    """What `Meter` counts calls by."""
    return [*(operation.id for operation in OPERATIONS), *OPERATION_NAMES, *healthimaging_names()]


def _how_seldom(operation: Operation) -> bool:
    """Streams come first, because a route costs a look at each one before it."""
    return operation.prefix != STREAMS


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 — Starlette's signature
    return answer_to(error)


async def _healthy(request: Request) -> Response:  # noqa: ARG001 — Starlette's signature
    """Whether this process answers; nothing more, because anyone may ask."""
    return as_json({"status": "ok"})


async def _to_viewer(request: Request) -> Response:  # noqa: ARG001 — Starlette's signature
    return RedirectResponse("/app/", status_code=307)


def _metrics(doors: Doors) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        permitted(request, "metrics.read")
        if doors.meter is None:
            raise NotFound("nothing is measured here")
        text = await run_in_threadpool(exposition, doors.meter, doors.platform)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return endpoint
