"""A server with every sample, and the form of its errors."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.http.app import create_app
from tests.service.conftest import serving

MAX_BODY = 2000
ROW = {"instances": [[1, 2]]}


@pytest.fixture(scope="module", params=["on", "off"])
def client(samples: Path, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a server with every sample, whose predictions take the short way or not."""
    with serving(create_app(Settings(models=samples, max_body=MAX_BODY, lane=request.param))) as client:
        yield client


def error(reply: httpx.Response, status: int, code: str) -> str:
    """The sentence of an error, which has our form."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    content = reply.json()
    assert content["code"] == code
    assert content.keys() <= {"error", "code", "faults", "retry_after_ms"}
    assert isinstance(content["error"], str)
    return str(content["error"])
