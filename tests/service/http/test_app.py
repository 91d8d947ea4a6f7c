"""Behaviour of service.http.app."""

import asyncio
import json
import logging
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.config import Settings
from service.errors import SettingsError
from service.http.app import create_app
from tests.service.conftest import serving
from tests.service.http.conftest import MAX_BODY, ROW, error

TENSOR = {"inputs": [{"name": "point", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


def exchange(client: httpx.Client, *pieces: bytes) -> bytes:
    """Everything that a server sends after these bytes, to the end of the reply's body."""
    address = (client.base_url.host, client.base_url.port)
    with socket.create_connection(address) as connection, connection.makefile("rb") as stream:
        for piece in pieces:
            connection.sendall(piece)
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        return head + stream.read(int(length[1]))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/models/line:predict", ROW),
        ("/v1/models/line/versions/1:predict", ROW),
        ("/v2/models/line/infer", TENSOR),
        ("/v2/models/line/versions/1/infer", TENSOR),
    ],
)
def test_predictions_are_answered(path: str, content: object, client: httpx.Client) -> None:
    """All four prediction paths give the model's number."""
    reply = client.post(path, json=content)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    predictions = reply.json().get("predictions") or reply.json()["outputs"][0]["data"]
    assert predictions == [-2.0]


def test_raw_tensors_go_both_ways(client: httpx.Client) -> None:
    """The header with the JSON's length is read and sent."""
    described = {"name": "point", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    text = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    reply = client.post(
        "/v2/models/line/infer",
        content=text + b"\0\0\x80\x3f\0\0\0\x40",
        headers={"Inference-Header-Content-Length": str(len(text))},
    )
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.content[int(reply.headers["inference-header-content-length"]) :] == b"\0\0\0\xc0"


def test_many_callers_at_once_get_their_own_answers(client: httpx.Client) -> None:
    """Each of many requests on many connections is answered by its own rows, the faulty ones by their fault."""

    async def call() -> None:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as caller:
            contents = [{"instances": [[n, n + 1]] * (n % 5)} for n in range(60)]
            replies = await asyncio.gather(*(caller.post("/v1/models/counter:predict", json=one) for one in contents))
        for number, reply in enumerate(replies):
            if number % 5 == 0:
                assert reply.status_code == 400
            else:
                assert reply.json() == {"predictions": [[number + 1, number + 11]] * (number % 5)}

    asyncio.run(call())


def test_the_documentation_needs_no_internet(client: httpx.Client) -> None:
    """All that the page refers to is served by the server itself."""
    page = client.get("/docs").text
    assets = re.findall(r"""(?:src|href)=["']([^"']+)["']|url: ["']([^"']+)["']""", page)
    places = [one or other for one, other in assets]
    assert len(places) >= 4
    assert "/openapi.json" in places
    for place in places:
        assert re.match(r"/(?!/)", place), f"{place} is elsewhere"
        reply = client.get(place)
        assert (reply.status_code, bool(reply.content)) == (200, True), place
    assert not re.findall(r"https?://", page)


@pytest.mark.parametrize("path", ["/v1/models/line:predict", "/v2/models/line/infer"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_refused(path: str, *, chunked: bool, client: httpx.Client) -> None:
    """Whether its size is announced or only found out, the limit holds; the connection's next request is answered."""
    body = b" " * (MAX_BODY + 1)
    reply = client.post(path, content=iter([body[:1000], body[1000:]]) if chunked else body)
    assert str(MAX_BODY) in error(reply, 413, "body_too_large")
    assert client.post("/v1/models/line:predict", json=ROW).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_just_the_limit_is_answered(*, chunked: bool, client: httpx.Client) -> None:
    """The limit itself is allowed."""
    body = json.dumps(ROW).encode().ljust(MAX_BODY)
    reply = client.post("/v1/models/line:predict", content=iter([body[:7], body[7:]]) if chunked else body)
    assert reply.status_code == 200


def test_an_announced_body_is_refused_before_it_comes(client: httpx.Client) -> None:
    """Nobody has to send a gigabyte to learn that it is too much."""
    head = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nContent-Length: 1000000000\r\n\r\n"
    reply = exchange(client, head)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in reply


def test_a_body_without_an_end_is_refused_at_the_limit(client: httpx.Client) -> None:
    """The server does not wait for the rest of what is too much already."""
    head = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    assert exchange(client, head, *[chunk] * (MAX_BODY // 1000 + 1)).startswith(b"HTTP/1.1 413 ")


def test_a_caller_that_goes_away_hurts_nobody(samples: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A body that never ends is dropped with its connection, without a trace in the log."""
    head = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nContent-Length: 100\r\n\r\n{"
    with caplog.at_level(logging.WARNING), serving(create_app(Settings(models=samples))) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(head)
        assert client.post("/v1/models/line:predict", json=ROW).status_code == 200
    assert not caplog.messages


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/v1/models/line:predict", b"{", {}, 400, "invalid_json"),
        ("/v1/models/line:predict", b'{"instances": [[1, true]]}', {}, 400, "invalid_value"),
        ("/v1/models/line:predict", b'{"instances": [[1, NaN]]}', {}, 400, "invalid_json"),
        ("/v2/models/line/infer", b"{}", {}, 400, "invalid_structure"),
        ("/v2/models/line/infer", b"{}", {"Inference-Header-Content-Length": "x"}, 400, "invalid_binary"),
        ("/v2/models/line/infer", b"{}", {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
        ("/v1/models/lookup:predict", b'{"instances": [[7]]}', {}, 500, "compute_failed"),
    ],
)
def test_a_request_that_fails_is_told_in_our_form(  # noqa: PLR0913  # what is sent, and what comes back
    *, path: str, body: bytes, headers: dict[str, str], status: int, code: str, client: httpx.Client
) -> None:
    """Every error's body is JSON with a sentence and a code."""
    assert error(client.post(path, content=body, headers=headers), status, code)


def test_a_server_without_models_does_not_start(tmp_path: Path) -> None:
    """It is said when the application is made, not at the first request."""
    with pytest.raises(SettingsError, match="expected an ONNX file, or a folder"):
        create_app(Settings(models=tmp_path))


def test_models_are_loaded_when_the_application_starts(samples: Path) -> None:
    """Before it the models are known and not ready; after its end they take no more."""
    app = create_app(Settings(models=samples))

    async def states() -> list[Any]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            before = await client.get("/v2/health/ready")
            async with app.router.lifespan_context(app):
                during = await client.get("/v2/health/ready")
                await client.post("/v1/models/line:predict", json=ROW)
            refused = await client.post("/v1/models/line:predict", json=ROW)
        return [before.status_code, during.status_code, refused.json()["code"]]

    assert asyncio.run(states()) == [503, 200, "draining"]
