"""Behaviour of service.http.endpoints."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.config import Settings
from service.http.app import create_app
from service.manifest import ModelManifest
from tests.service.conftest import SAMPLES, damage, publish, serving
from tests.service.http.conftest import ROW, error


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server one of whose two models is damaged."""
    root = tmp_path_factory.mktemp("hurt")
    publish(root, "line")
    damage(publish(root, "vote"))
    with serving(create_app(Settings(models=root))) as client:
        yield client


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
