"""Behaviour of service.http.access; every path of whole servers is tried in tests/test_keys.py."""

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Message, Receive, Scope, Send

from service.config import Settings
from service.http.access import OPEN, SCOPE_OF, Access, describe
from service.http.app import create_app
from service.http.failures import Failures
from service.keys import Entry, KeyRing
from service.metrics import Metrics

KEYS = {scope: f"the key for {scope}".replace(" ", "_") for scope in ("predict", "metrics", "admin")}
RING = KeyRing([Entry(sha256(key.encode()).digest(), frozenset({scope})) for scope, key in KEYS.items()])  # type: ignore[arg-type]  # the scopes there are
LOAD = "/v2/repository/models/a/load"
PREDICT = "/v1/models/a:predict"


async def _nothing(_: Request) -> Response:
    return Response()


ROUTES: list[BaseRoute] = [
    *(Route(path, _nothing, methods=["POST"]) for path, scope in SCOPE_OF.items() if scope != "metrics"),
    *(Route(path, _nothing, methods=["GET"]) for path in (*OPEN, "/metrics", "/v1/models/{name}")),
    Mount("/files", Response()),
]


def asked(method: str, path: str, *headers: tuple[str, str], metrics: Metrics | None = None) -> tuple[int, Any]:
    """The status of a refusal with its headers; 200 where the application was asked."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("a refusal does not wait for the body")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }

    async def ask() -> None:
        failures = Failures()
        await Access(app, RING, ROUTES, metrics or Metrics(), failures)(scope, receive, send)
        failures.close()

    asyncio.run(ask())
    return sent[0]["status"], dict(sent[0]["headers"])


def bearer(scope: str) -> tuple[str, str]:
    """The header of whoever has the key with this scope."""
    return "authorization", f"Bearer {KEYS[scope]}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/", "everybody"),
        ("GET", "/v2/health/live", "everybody"),
        ("DELETE", "/v2/health/ready", "everybody"),
        ("POST", PREDICT, "predict"),
        ("GET", "/v2/models/a/versions/1/infer", "predict"),
        ("POST", f"{PREDICT}\n", "predict"),
        ("GET", "/metrics", "metrics"),
        ("OPTIONS", "/metrics", "metrics"),
        ("POST", LOAD, "admin"),
        ("PUT", LOAD, "admin"),
        ("GET", "/v1/models/a", "every key"),
        ("GET", "/files/a", "every key"),
        ("GET", "/nothing", "every key"),
        ("GET", "/v2/health/live/", "every key"),
        ("GET", "//", "every key"),
        ("GET", "", "every key"),
    ],
)
def test_a_path_asks_for_its_scope(method: str, path: str, allowed: str) -> None:
    """Whatever the method; where nothing answers, for any key."""
    assert asked(method, path)[0] == (200 if allowed == "everybody" else 401)
    for scope in KEYS:
        expected = 200 if allowed in (scope, "everybody", "every key") else 403
        assert asked(method, path, bearer(scope))[0] == expected


def test_a_refusal_says_what_is_asked_for_and_gives_the_requests_name_back() -> None:
    """Not what was wrong with a key; the scope that a valid one lacks."""
    name = ("x-request-id", "seven")
    for headers in ([], [bearer("predict"), bearer("predict")], [("authorization", "Basic abc")]):
        status, given = asked("GET", "/metrics", name, *headers)
        assert (status, given[b"www-authenticate"]) == (401, b'Bearer realm="forwardpass"')
        assert given[b"x-request-id"] == b"seven"
    status, given = asked("GET", "/metrics", name, bearer("predict"))
    assert (status, given[b"x-request-id"]) == (403, b"seven")
    assert given[b"www-authenticate"] == b'Bearer realm="forwardpass", error="insufficient_scope"'


def test_predictions_that_are_refused_are_counted() -> None:
    """Beside the others that reached no model."""
    metrics = Metrics()
    asked("POST", PREDICT, metrics=metrics)
    asked("POST", PREDICT, bearer("admin"), metrics=metrics)
    asked("POST", PREDICT, bearer("predict"), metrics=metrics)
    asked("POST", LOAD, metrics=metrics)
    assert metrics.unrouted.by_labels == {("unauthorized",): 1, ("forbidden",): 1}


def test_the_document_says_where_a_key_is_asked_for() -> None:
    """Everywhere but on the open paths; what else it says stays."""
    schemas: dict[str, Any] = {"schemas": {"a": {}}}
    made = describe({"openapi": "3.1.0", "components": schemas, "paths": {"/": {"get": {}}, PREDICT: {"post": {}}}})
    assert made["paths"] == {"/": {"get": {"security": []}}, PREDICT: {"post": {}}}
    ((scheme, content),) = made["components"]["securitySchemes"].items()
    assert made["security"] == [{scheme: []}]
    assert (content["type"], content["scheme"]) == ("http", "bearer")
    assert (made["openapi"], made["components"]["schemas"]) == ("3.1.0", {"a": {}})


def test_the_paths_that_are_named_are_paths_of_the_application(samples: Path) -> None:
    """None is spelt otherwise here than there, which would let every key in."""
    routes = {route.path for route in create_app(Settings(models=samples)).routes if isinstance(route, Route)}
    assert SCOPE_OF.keys() | OPEN <= routes
