"""Behaviour of service.http.app."""

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.config import Settings
from service.errors import SettingsError
from service.http.app import create_app
from service.manifest import ModelManifest
from tests.service.conftest import SAMPLES, damage, publish, serving

MAX_BODY = 2000
ROW = {"instances": [[1, 2]]}
TENSOR = {"inputs": [{"name": "point", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.fixture(scope="module", params=["on", "off"])
def client(samples: Path, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a server with every sample, whose predictions take the short way or not."""
    with serving(create_app(Settings(models=samples, max_body=MAX_BODY, lane=request.param))) as client:
        yield client


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server one of whose two models is damaged."""
    root = tmp_path_factory.mktemp("hurt")
    publish(root, "line")
    damage(publish(root, "vote"))
    with serving(create_app(Settings(models=root))) as client:
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
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v1/models", {"models": sorted(set(SAMPLES) - {"deep", "fixed"})}),
        ("/v2/models/line/ready", {"name": "line", "ready": True}),
        ("/v2/models/line/versions/1/ready", {"name": "line", "ready": True}),
        (
            "/v1/models/line",
            {
                "name": "line",
                "ready": True,
                "model_version_status": [
                    {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                ],
            },
        ),
    ],
)
def test_states_are_told(path: str, content: object, client: httpx.Client) -> None:
    """Life, readiness and names come as the protocols have them."""
    reply = client.get(path)
    assert (reply.status_code, reply.json()) == (200, content)


def test_the_server_describes_itself(client: httpx.Client) -> None:
    """Name, version and the extensions' registered names."""
    content = client.get("/v2").json()
    assert content["name"] == "forwardpass"
    assert re.fullmatch(r"\d+\.\d+\.\d+", content["version"])
    assert {"binary_tensor_data", "model_repository"} <= set(content["extensions"])


@pytest.mark.parametrize("path", ["/v2/models/pair", "/v2/models/pair/versions/1"])
def test_a_model_describes_itself(path: str, client: httpx.Client) -> None:
    """Platform, versions and tensors of a model, -1 where a length is free."""
    assert client.get(path).json() == {
        "name": "pair",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "left", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "right", "datatype": "INT64", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "half", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "twice", "datatype": "INT64", "shape": [-1, 1]},
        ],
    }


@pytest.mark.parametrize("path", ["/v2/models/pair/config", "/v2/models/pair/versions/1/config"])
def test_a_model_has_a_configuration(path: str, client: httpx.Client) -> None:
    """In the form of Triton, with the most rows that a request may have."""
    content = client.get(path).json()
    assert content["max_batch_size"] == Settings().max_queue
    assert [field["data_type"] for field in content["input"]] == ["TYPE_FP32", "TYPE_INT64"]


def test_models_have_statistics(client: httpx.Client) -> None:
    """One model's are among those of all, and count what it answered."""
    client.post("/v1/models/vote:predict", json={"instances": [[1], [2]]})
    (own,) = client.get("/v2/models/vote/stats").json()["model_stats"]
    assert own["inference_count"] >= 2
    assert own["inference_stats"]["success"]["count"] >= 1
    assert client.get("/v2/models/vote/versions/1/stats").json() == {"model_stats": [own]}
    assert own in client.get("/v2/models/stats").json()["model_stats"]


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_models_are_not_controlled_over_http(verb: str, client: httpx.Client) -> None:
    """Whoever asks is told so; a model that is unknown is told apart."""
    error(client.post(f"/v2/repository/models/line/{verb}", json={}), 400, "unsupported")
    error(client.post(f"/v2/repository/models/lime/{verb}"), 404, "unknown_model")


def test_the_index_can_be_asked_for_the_ready_only(hurt: httpx.Client) -> None:
    """What does not answer is left out then; a body that is no such question is a fault."""
    assert [one["name"] for one in hurt.post("/v2/repository/index", json={"ready": True}).json()] == ["line"]
    error(hurt.post("/v2/repository/index", json={"ready": 1}), 400, "invalid_structure")
    error(hurt.post("/v2/repository/index", content=b"{"), 400, "invalid_json")


@pytest.mark.parametrize("path", ["/v2/models/line/manifest", "/v2/models/line/versions/1/manifest"])
def test_the_manifest_is_served(path: str, client: httpx.Client, samples: Path) -> None:
    """The very manifest that lies beside the model."""
    reply = client.get(path)
    assert reply.headers["content-type"] == "application/json"
    stored = (samples / "line" / "1" / "manifest.json").read_bytes()
    assert ModelManifest.parse(reply.content, path) == ModelManifest.parse(stored, "stored")


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


def test_the_index_lists_every_model(hurt: httpx.Client) -> None:
    """Also what does not answer, with the reason."""
    sound, refused = hurt.post("/v2/repository/index").json()
    assert sound == {"name": "line", "version": "1", "state": "READY", "reason": ""}
    assert (refused["name"], refused["version"], refused["state"]) == ("vote", "1", "UNAVAILABLE")
    assert "the manifest says" in refused["reason"]


def test_a_server_with_a_damaged_model_is_not_ready(hurt: httpx.Client) -> None:
    """Health says so for the server and for that model, and the other model answers."""
    assert (hurt.get("/v2/health/ready").status_code, hurt.get("/v2/health/ready").json()) == (503, {"ready": False})
    assert hurt.get("/v2/health/live").status_code == 200
    reply = hurt.get("/v2/models/vote/ready")
    assert (reply.status_code, reply.json()) == (503, {"name": "vote", "ready": False})
    assert hurt.get("/v2/models/line/ready").json() == {"name": "line", "ready": True}
    assert hurt.get("/v1/models").json() == {"models": ["line", "vote"]}
    assert hurt.post("/v1/models/line:predict", json=ROW).json() == {"predictions": [-2.0]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/vote"),
        ("GET", "/v2/models/vote/manifest"),
        ("POST", "/v1/models/vote:predict"),
        ("POST", "/v2/models/vote/infer"),
    ],
)
def test_a_damaged_model_says_when_to_come_again(method: str, path: str, hurt: httpx.Client) -> None:
    """Every question about it is answered with 503, the reason, and the time."""
    reply = hurt.request(method, path)
    assert error(reply, 503, "model_not_ready").startswith("vote version 1 is not served: ")
    assert reply.headers["retry-after"] == "1"


def test_the_state_of_a_damaged_model_says_why_it_does_not_answer(hurt: httpx.Client) -> None:
    """Version 1's status is there for a model that is not: that is what it is asked for."""
    content = hurt.get("/v1/models/vote").json()
    (version,) = content["model_version_status"]
    assert (content["ready"], version["state"]) == (False, "END")
    assert "model.onnx" in version["status"]["error_message"]


def test_metrics_are_served(client: httpx.Client) -> None:
    """The page has Prometheus' type and counts what was asked."""
    client.post("/v1/models/line:predict", json=ROW)
    reply = client.get("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(reply.text)}
    counts = [
        sample.value
        for sample in families["forwardpass_requests"].samples
        if (sample.labels["model"], sample.labels["outcome"]) == ("line", "ok")
    ]
    assert sum(counts) >= 1
    assert families["forwardpass_ready"].samples[0].value == 1


@pytest.mark.parametrize("accept", ["application/json", "*/*", None])
def test_home_is_a_sign_of_life(accept: str | None, client: httpx.Client) -> None:
    """Clients that ask for no page get JSON."""
    request = client.build_request("GET", "/")
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    reply = client.send(request)
    assert (reply.status_code, reply.json()) == (200, {"status": "alive"})


def test_home_sends_a_browser_to_the_documentation(client: httpx.Client) -> None:
    """A person who types the address finds what can be asked."""
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    reply = client.get("/", headers={"accept": accept}, follow_redirects=True)
    assert reply.url.path == "/docs"
    assert reply.headers["content-type"].startswith("text/html")


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
