"""Who is answered where keys are asked for: what the key of a request must be for, by its path."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ForbiddenError, RequestError, UnauthorizedError
from service.http.failures import Failures
from service.http.route import PREDICTION_PATHS, name_of, respond
from service.http.wire import write_error
from service.keys import KeyRing, KeyScope
from service.metrics import Metrics

OPEN = frozenset({"/", "/v2/health/live", "/v2/health/ready"})
"""The paths that answer everybody: whether the process is there, and whether it answers."""

SCOPE_OF: dict[str, KeyScope] = {
    **dict.fromkeys(PREDICTION_PATHS, "predict"),
    "/metrics": "metrics",
    "/v2/repository/models/{name}/load": "admin",
    "/v2/repository/models/{name}/unload": "admin",
}
"""The paths for which a key must have a scope; for any other, also where nothing answers, every valid key will do."""

_SCHEME = "key"


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document that says where a key is asked for."""
    scheme = {"type": "http", "scheme": "bearer", "description": "A key that `forwardpass key` made."}
    components = document.get("components", {})
    for path in OPEN & document["paths"].keys():
        for operation in document["paths"][path].values():
            operation["security"] = []
    return {
        **document,
        "components": {**components, "securitySchemes": {_SCHEME: scheme}},
        "security": [{_SCHEME: []}],
    }


class Access:
    """Refuses a request that has no key for its path, and hands every other on."""

    def __init__(
        self, app: ASGIApp, keys: KeyRing, routes: Sequence[BaseRoute], metrics: Metrics, failures: Failures
    ) -> None:
        self._app = app
        self._keys = keys
        self._routes = routes
        """Those of the application, so that a path is here what it is there."""
        self._metrics = metrics
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            request = Request(scope)
            path, request_id = request.scope["path"], name_of(request)
            self._failures.tell(refusal, request.client, request_id, method=request.method, path=path)
            await respond(request, write_error(refusal), send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        path = self._path(scope)
        if path in OPEN:
            return None
        needed = SCOPE_OF.get(path)
        # Of a header that comes twice both are meant, which is no key.
        headers = [value for name, value in scope["headers"] if name == b"authorization"]
        scopes = self._keys.scopes_of(b",".join(headers))
        refusal: RequestError | None = None
        if scopes is None:
            refusal = UnauthorizedError("this asks for a valid key, in the header `Authorization: Bearer <key>`")
        elif needed is not None and needed not in scopes:
            refusal = ForbiddenError(f"this asks for a key with the scope {needed}, which this one does not have")
        if refusal is not None and needed == "predict":
            self._metrics.unrouted.add(refusal.code)
        return refusal

    def _path(self, scope: Scope) -> str:
        """The path of the route that the application will choose; empty where it has none."""
        matches = [(route.matches(scope)[0], route) for route in self._routes]
        for wanted in (Match.FULL, Match.PARTIAL):
            for match, route in matches:
                if match is wanted:
                    return route.path if isinstance(route, Route) else ""
        return ""
