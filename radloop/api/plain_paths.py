"""Addresses without a variable part, looked up rather than searched for.

The framework holds a path against one pattern after the other, and puts two layers around the answer that look for
errors which the gate answers to the same words. For a search or an upload that is a good part of what it costs.
"""

from collections.abc import Mapping, Sequence

from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send


class PlainPaths:
    """Answers at plain addresses as the framework would; `app` answers everywhere else, other methods included.

    This stands behind the gate, which guards, completes and measures it like any other answer, and tells its errors.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = plain_routes(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        route = self._route(scope)
        if route is None:
            await self._app(scope, receive, send)
        else:
            scope["path_params"] = {}
            await route.app(scope, receive, send)

    def _route(self, scope: Scope) -> Route | None:
        if scope["type"] != "http" or scope.get("root_path"):
            return None
        return self._routes.get((scope["method"], scope["path"]))


def plain_routes(routes: Sequence[BaseRoute]) -> Mapping[tuple[str, str], Route]:
    """The route that answers a method at a path, for all paths that stand in `routes` without a variable part."""
    found: dict[tuple[str, str], Route] = {}
    for route in routes:
        if not isinstance(route, Route) or route.param_convertors:
            continue
        for method in route.methods or ():
            scope = {"type": "http", "method": method, "path": route.path}
            first = next(each for each in routes if each.matches(scope)[0] is Match.FULL)
            if first is route:
                found[method, route.path] = route
    return found
