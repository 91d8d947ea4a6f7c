"""Behaviour of service.http.route."""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.config import Settings
from service.http.app import create_app
from service.predict import LARGE
from tests.service.conftest import serving

LINE = "/v1/models/line:predict"
ROW = {"instances": [[1, 2]]}
MAX_BODY = 1 << 20


@pytest.fixture(scope="module", params=["on", "off"])
def client(samples: Path, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a server with every sample, whose predictions take the short way or not."""
    with serving(create_app(Settings(models=samples, max_body=MAX_BODY, lane=request.param))) as client:
        yield client


def many(rows: int) -> bytes:
    """A body with so many rows for `line`."""
    return json.dumps({"instances": [[index, 0] for index in range(rows)]}).encode()


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("rows", [1, 5000], ids=["small", "large"])
def test_a_compressed_body_is_read(coding: str, compress: Any, rows: int, client: httpx.Client) -> None:  # noqa: ANN401  # a function of a library
    """The answer is that of the body as it was."""
    reply = client.post(LINE, content=compress(many(rows)), headers={"content-encoding": coding})
    assert reply.json() == {"predictions": [index / 2 for index in range(rows)]}


def test_a_large_compressed_body_is_read(client: httpx.Client) -> None:
    """One that is expanded aside is answered the same."""
    # Stored, not shrunk, so that it is large on its way.
    body = gzip.compress(many(5000).ljust(LARGE + 1), compresslevel=0)
    assert len(body) > LARGE
    reply = client.post(LINE, content=body, headers={"content-encoding": "gzip"})
    assert len(reply.json()["predictions"]) == 5000


def raw(rows: int, spaces: int) -> tuple[bytes, dict[str, str]]:
    """A body with so many rows for `line` as raw numbers behind JSON that ends in spaces, and its header."""
    blob = np.array([[index, 0] for index in range(rows)], np.float32).tobytes()
    tensor = {"name": "point", "datatype": "FP32", "shape": [rows, 2], "parameters": {"binary_data_size": len(blob)}}
    text = json.dumps({"inputs": [tensor]}).encode() + b" " * spaces
    return text + blob, {"inference-header-content-length": str(len(text))}


@pytest.mark.parametrize("rows", [1, 8000, 8192 * 5])
@pytest.mark.parametrize("spaces", range(4))
@pytest.mark.parametrize("way", ["whole", "chunked", "gzip"])
def test_raw_tensors_are_read_wherever_they_lie(way: str, spaces: int, rows: int, client: httpx.Client) -> None:
    """At an even place or an odd one, announced or not, compressed or not: the answer is the same."""
    body, headers = raw(rows, spaces)
    content: Any = body if way == "whole" else iter([body[:9], body[9:]])
    if way == "gzip":
        content, headers = gzip.compress(body, compresslevel=0), headers | {"content-encoding": "gzip"}
    reply = client.post("/v2/models/line/infer", content=content, headers=headers)
    if rows > 32768:
        assert (reply.status_code, reply.json()["code"]) == (400, "shape_mismatch")
    else:
        assert reply.json()["outputs"][0]["data"] == [index / 2 for index in range(rows)]


@pytest.mark.parametrize("rows", [1, 8192])
def test_a_header_of_the_other_protocol_means_nothing(rows: int, client: httpx.Client) -> None:
    """A body of rows is JSON, whatever a header says of raw tensors behind it."""
    headers = {"inference-header-content-length": "5"}
    body = many(rows).ljust(LARGE + 1)
    assert len(client.post(LINE, content=body, headers=headers).json()["predictions"]) == rows


@pytest.mark.parametrize("length", [LARGE * 2, LARGE * 2 + 9, 99])
def test_json_that_is_no_part_of_the_body_is_refused(length: int, client: httpx.Client) -> None:
    """A header may say what it likes of a large body."""
    headers = {"inference-header-content-length": str(length)}
    reply = client.post("/v2/models/line/infer", content=b"{}".ljust(LARGE * 2), headers=headers)
    assert reply.status_code == 400
    assert client.post("/v2/models/line/infer", content=b"", headers=headers).json()["code"] == "invalid_binary"


def test_a_reply_is_compressed_for_a_client_that_takes_it(client: httpx.Client) -> None:
    """A long one; a short one, or one for another client, goes out as it is."""
    for rows, accept, coding in ((500, "gzip", "gzip"), (500, "identity", None), (1, "gzip", None)):
        reply = client.post(LINE, content=many(rows), headers={"accept-encoding": accept})
        assert reply.headers.get("content-encoding") == coding
        assert len(reply.json()["predictions"]) == rows


def test_the_limit_holds_for_the_expanded_body(client: httpx.Client) -> None:
    """A small body that expands beyond what may come is refused, and the next request is answered."""
    bomb = gzip.compress(bytes(MAX_BODY + 1))
    reply = client.post(LINE, content=bomb, headers={"content-encoding": "gzip"})
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")
    assert client.post(LINE, json=ROW).json() == {"predictions": [-2.0]}


def test_a_damaged_body_is_counted_by_its_code(client: httpx.Client) -> None:
    """What no model has seen is in the count of requests that reached none."""
    client.post(LINE, content=b"plain", headers={"content-encoding": "gzip"})
    assert 'forwardpass_unrouted_requests_total{code="invalid_compression"} 1.0' in client.get("/metrics").text


MANY = {"instances": [[1, 2]] * 4000}
"""More rows than are computed, one by one, before the event loop has gone round a few times."""


async def ask(app: FastAPI, body: dict[str, Any], gone: asyncio.Event) -> list[dict[str, Any]]:
    """What the application sends to a client, which goes away at an event."""
    sent: list[dict[str, Any]] = []
    unread = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive() -> dict[str, Any]:
        if unread:
            return unread.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:  # noqa: ANN401  # an ASGI message
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": LINE, "headers": [], "query_string": b"", "app": app}
    await app(scope, receive, send)
    return sent


async def metrics(app: FastAPI) -> str:
    """The page of metrics."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as reader:
        return (await reader.get("/metrics")).text


def check_let_go(page: str) -> None:
    """One request of two was let go, before all its rows were computed."""
    labels = 'model="line",outcome="cancelled",protocol="v1",version="1"'
    assert f"forwardpass_requests_total{{{labels}}} 1.0" in page
    assert 'forwardpass_requests_in_flight{model="line",version="1"} 0.0' in page
    (computed,) = re.findall(r'forwardpass_batch_rows_sum\{model="line",version="1"\} (.*)', page)
    assert float(computed) < 8000


def test_the_rows_of_a_client_that_has_gone_are_not_computed(samples: Path) -> None:
    """While they wait, their place in the queue is given up; another request is answered."""
    app = create_app(Settings(models=samples, execution="thread", max_batch=1))

    async def scene() -> str:
        async with app.router.lifespan_context(app):
            gone = asyncio.Event()
            stays, goes = (asyncio.ensure_future(ask(app, MANY, event)) for event in (asyncio.Event(), gone))
            await asyncio.sleep(0)
            gone.set()
            assert await goes == []
            assert (await stays)[0]["status"] == 200
        # Nobody is left who waits for a client to go.
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return await metrics(app)

    check_let_go(asyncio.run(scene()))


def test_a_request_for_which_the_server_has_no_more_time_is_told_so(samples: Path) -> None:
    """Its rows are not computed either."""
    app = create_app(Settings(models=samples, execution="thread", max_batch=1))

    async def scene() -> str:
        async with app.router.lifespan_context(app):
            stays, ends = (asyncio.ensure_future(ask(app, MANY, asyncio.Event())) for _ in range(2))
            for _ in range(3):
                await asyncio.sleep(0)
            ends.cancel()
            head, body = await ends
            assert (head["status"], json.loads(body["body"])["code"]) == (503, "draining")
            assert (await stays)[0]["status"] == 200
        return await metrics(app)

    check_let_go(asyncio.run(scene()))


@pytest.mark.parametrize(
    ("given", "back"),
    [
        ("a-b/c_1.2", "a-b/c_1.2"),
        ("7" * 128, "7" * 128),
        ("7" * 129, None),
        ("7 8", None),
        ("\u00fc", None),
        ("", None),
    ],
)
def test_the_name_of_a_request_comes_back_with_its_reply(given: str, back: str | None, client: httpx.Client) -> None:
    """Whatever the reply is, and however often the name or the head has come before; what is no name does not."""
    headers = {b"x-request-id": given.encode("latin-1")}
    for body in (ROW, ROW, {"instances": "none"}, ROW):
        reply = client.post(LINE, json=body, headers=headers)
        assert reply.headers.get("x-request-id") == back
    assert client.post("/v1/models/nothing:predict", json=ROW, headers=headers).headers.get("x-request-id") == back
    assert client.post(LINE, content=b" " * LARGE, headers=headers).headers.get("x-request-id") == back
    assert "x-request-id" not in client.post(LINE, json=ROW).headers
