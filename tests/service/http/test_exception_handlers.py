"""Behaviour of service.http.exception_handlers."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.config import Settings
from service.http.app import create_app
from tests.service.http.conftest import error


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", "unknown_path"),
        ("GET", "/v3", "unknown_path"),
        ("GET", "/v2/models", "unknown_path"),
        ("GET", "/redoc", "unknown_path"),
        ("POST", "/v1/models/line/predict", "unknown_path"),
        ("POST", "/v2/models/line/infer/more", "unknown_path"),
        ("POST", "/v2/models/a%2Fb/infer", "unknown_path"),
        ("GET", "/static-offline-docs/nothing.js", "unknown_path"),
        ("GET", "/v1/models/lime", "unknown_model"),
        ("GET", "/v2/models/lime", "unknown_model"),
        ("GET", "/v2/models/lime/ready", "unknown_model"),
        ("GET", "/v2/models/lime/manifest", "unknown_model"),
        ("POST", "/v1/models/lime:predict", "unknown_model"),
        ("POST", "/v2/models/lime/infer", "unknown_model"),
        ("POST", "/v1/models/%FF:predict", "unknown_model"),
        ("GET", "/v2/models/line/versions/2", "unknown_version"),
        ("GET", "/v2/models/line/versions/2/ready", "unknown_version"),
        ("GET", "/v2/models/line/versions/2/manifest", "unknown_version"),
        ("POST", "/v1/models/line/versions/2:predict", "unknown_version"),
        ("POST", "/v2/models/line/versions/01/infer", "unknown_version"),
    ],
)
def test_what_is_not_there_is_a_404_in_json(method: str, path: str, code: str, client: httpx.Client) -> None:
    """Paths, models and versions are told apart by code."""
    assert error(client.request(method, path), 404, code)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/models/line:predict", "POST"),
        ("GET", "/v1/models/line/versions/1:predict", "POST"),
        ("GET", "/v2/models/line/infer", "POST"),
        ("DELETE", "/v2/models/line/versions/1/infer", "POST"),
        ("PUT", "/v1/models/line:predict", "POST"),
        ("GET", "/v1/models/lime:predict", "POST"),
        ("GET", "/v2/repository/index", "POST"),
        ("POST", "/", "GET"),
        ("POST", "/v2", "GET"),
        ("POST", "/v2/health/live", "GET"),
        ("POST", "/v2/health/ready", "GET"),
        ("POST", "/metrics", "GET"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/v1/models/line", "GET"),
        ("POST", "/v2/models/line", "GET"),
        ("DELETE", "/v2/models/line/ready", "GET"),
        ("POST", "/v2/models/line/manifest", "GET"),
    ],
)
def test_another_method_is_a_405_with_the_right_one(method: str, path: str, allowed: str, client: httpx.Client) -> None:
    """The header and the sentence say which method the path takes."""
    reply = client.request(method, path)
    assert allowed in error(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == allowed


def test_our_own_failure_is_json_too(samples: Path) -> None:
    """What nobody foresaw is a 500 in the same form, without its innards."""

    async def fail(_: Request) -> Response:
        raise RuntimeError("innards")

    app = create_app(Settings(models=samples))
    app.router.routes.append(Route("/fail", fail))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get("/fail")

    sentence = error(asyncio.run(ask()), 500, "internal")
    assert "innards" not in sentence
