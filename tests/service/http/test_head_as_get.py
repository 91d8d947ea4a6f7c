"""Behaviour of service.http.head_as_get."""

from pathlib import Path

import httpx

from service.config import Settings
from service.http.app import create_app
from tests.service.conftest import serving


def test_a_head_request_has_no_body(samples: Path) -> None:
    """Load balancers ask so: what GET answers, without its content."""
    with serving(create_app(Settings(models=samples))) as client:
        reply = client.head("/v2/health/live")
        assert (reply.status_code, reply.content) == (200, b"")
        assert client.get("/v2/health/live").headers["content-length"] == reply.headers["content-length"]
        assert isinstance(client.head("/v1/models/line:predict"), httpx.Response)
        assert client.head("/v1/models/line:predict").status_code == 405
