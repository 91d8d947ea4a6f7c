"""What a large body costs a real server in memory, beside the body itself."""

import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from service.codec.tensors import DTYPES
from service.manifest import Golden
from tests.server import Server, running
from tests.service.conftest import Sample, graph_of, manifest_of, tensor, write_version

WIDTH = 1000
MOST_BESIDE = 64 * 1024
"""Bytes for whatever is no copy of the body."""

SUM = (helper.make_node("ReduceSum", ["floats", "axis"], ["sum"]),)
MODELS = {
    "sums": Sample(
        inputs=(tensor("wide", "FP32", WIDTH),),
        outputs=(tensor("sum", "FP32", 1),),
        nodes=[helper.make_node("Identity", ["wide"], ["floats"]), *SUM],
        constants={"axis": np.array([1])},
        rows={"wide": [[0.0] * WIDTH]},
    ),
    "sums_of_halves": Sample(
        inputs=(tensor("wide", "BF16", WIDTH),),
        outputs=(tensor("sum", "FP32", 1),),
        nodes=[helper.make_node("Cast", ["wide"], ["floats"], to=TensorProto.FLOAT), *SUM],
        constants={"axis": np.array([1])},
        rows={"wide": [[0.0] * WIDTH]},
    ),
    "spread": Sample(
        inputs=(tensor("one", "FP32", 1),),
        outputs=(tensor("wide", "FP32", WIDTH),),
        nodes=[helper.make_node("MatMul", ["one", "ones"], ["wide"])],
        constants={"ones": np.ones((1, WIDTH), np.float32)},
        rows={"one": [[0.0]]},
    ),
}


class Cost(NamedTuple):
    """One request with its reply, and what the server traced of it."""

    request: int
    """Bytes of the request's body."""
    reply: int
    """Bytes of the reply's body."""
    peak: int
    """Bytes in use at the most, beyond those before."""


@pytest.fixture(scope="module", params=["on", "off"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """The models, served by a process that traces its memory; predictions take the short way or not."""
    root = tmp_path_factory.mktemp("models")
    for name, sample in MODELS.items():
        width = sample.outputs[0].shape[-1]
        golden = Golden(inputs=dict(sample.rows), outputs={sample.outputs[0].name: [[0.0] * width]})
        write_version(root, manifest_of(name, sample), {"model.onnx": graph_of(sample), "golden.json": golden.render()})
    environment = {"FORWARDPASS_MODELS": str(root), "FORWARDPASS_LANE": request.param}
    with running(command=[sys.executable, "-m", "tests.traced"], environment=environment) as server:
        yield server


def cost(server: Server, model: str, rows: int, *, announced: bool = True) -> Cost:
    """The cost of a binary request of so many rows, and of its binary reply, once the server has answered one."""
    (spec,) = MODELS[model].inputs
    width = spec.shape[-1]
    blob = bytes(rows * width * DTYPES[spec.datatype].itemsize)
    size = {"binary_data_size": len(blob)}
    given = {"name": spec.name, "datatype": spec.datatype, "shape": [rows, width], "parameters": size}
    text = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    # An odd length, behind which no number can be read in place unless somebody sees to it.
    text += b" " * (1 - len(text) % 2)
    body = text + blob
    headers = {"Inference-Header-Content-Length": str(len(text)), "Accept-Encoding": "identity"}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(2):
            before = client.get("/traced").json()["current"]
            content = body if announced else iter([body])
            reply = client.post(f"/v2/models/{model}/infer", content=content, headers=headers)
            assert reply.status_code == httpx.codes.OK, reply.text
            peak = client.get("/traced").json()["peak"]
    return Cost(len(body), len(reply.content), peak - before)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize(("model", "rows"), [("sums", 4000), ("sums", 250), ("sums_of_halves", 4000)])
def test_a_large_request_is_held_at_most_twice(server: Server, model: str, rows: int, *, announced: bool) -> None:
    """From its first byte to its answer a body of raw tensors takes twice its size at most, however it comes."""
    found = cost(server, model, rows, announced=announced)
    assert found.peak <= 2 * found.request + MOST_BESIDE, f"{found.peak / found.request:.3f} times the body"


def test_a_large_reply_is_held_at_most_twice(server: Server) -> None:
    """As the model's numbers and as the bytes that are sent."""
    found = cost(server, "spread", 4000)
    assert found.peak <= 2 * found.reply + MOST_BESIDE, f"{found.peak / found.reply:.3f} times the reply"
