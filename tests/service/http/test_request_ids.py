"""Behaviour of service.http.request_ids."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.http.app import create_app
from service.keys import add_key, make_key
from tests.service.conftest import serving

PATHS = [
    ("GET", "/", 200),
    ("GET", "/v2", 200),
    ("GET", "/v2/health/ready", 200),
    ("HEAD", "/v2/health/live", 200),
    ("GET", "/metrics", 200),
    ("GET", "/docs", 200),
    ("GET", "/v1/models", 200),
    ("GET", "/v2/models/line", 200),
    ("GET", "/v2/models/none", 404),
    ("GET", "/nothing", 404),
    ("GET", "/v1/models/line:predict", 405),
    ("DELETE", "/v2", 405),
    ("POST", "/v2/repository/index", 200),
    ("POST", "/v1/models/line:predict", 400),
    ("POST", "/v2/models/none/infer", 404),
]


@pytest.fixture(scope="module", params=["on", "off"])
def client(samples: Path, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a server whose predictions take the short way or not."""
    with serving(create_app(Settings(models=samples, lane=request.param))) as client:
        yield client


@pytest.mark.parametrize("asked", PATHS, ids=lambda asked: f"{asked[0]} {asked[1]}")
@pytest.mark.parametrize(("given", "back"), [("a-b/c", ["a-b/c"]), ("7" * 129, []), ("7 8", []), (None, [])])
def test_the_name_of_a_request_comes_back_whatever_answers_it(
    asked: tuple[str, str, int], given: str | None, back: list[str], client: httpx.Client
) -> None:
    """Once, where it is a name; also from what refuses."""
    method, path, status = asked
    headers = {} if given is None else {"x-request-id": given}
    reply = client.request(method, path, headers=headers, content=b"{}" if method == "POST" else None)
    assert reply.status_code == status
    assert reply.headers.get_list("x-request-id") == back


def test_it_comes_back_from_who_asks_for_a_key(samples: Path, tmp_path: Path) -> None:
    """Once."""
    add_key(tmp_path / "keys.toml", make_key("shop", ["metrics"]))
    with serving(create_app(Settings(models=samples, keys=tmp_path / "keys.toml"))) as client:
        for path in ("/v2", "/v1/models/line:predict"):
            reply = client.post(path, headers={"x-request-id": "a"})
            assert (reply.status_code, reply.headers.get_list("x-request-id")) == (401, ["a"])


def test_it_comes_back_from_a_failure_of_the_server_itself(samples: Path) -> None:
    """Which is answered around everything else."""

    async def broken() -> None:
        raise RuntimeError

    app = create_app(Settings(models=samples))
    app.add_api_route("/broken", broken)
    with serving(app) as client:
        reply = client.get("/broken", headers={"x-request-id": "a"})
    assert (reply.status_code, reply.headers.get_list("x-request-id")) == (500, ["a"])


def test_the_log_names_a_request_that_was_refused(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its path; one without a name has none there."""
    with caplog.at_level("INFO", "service.http.failures"):
        client.get("/nothing", headers={"x-request-id": "a"})
        client.get("/v2/models/none")
        client.post("/v1/models/none:predict", headers={"x-request-id": "b"})
    fields = [vars(record)["fields"] for record in caplog.records if record.name == "service.http.failures"]
    assert [one.get("request_id") for one in fields] == ["a", None, "b"]
