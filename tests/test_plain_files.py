"""ONNX files without a manifest, served by a real process and asked by Triton's unmodified client."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import pytest
import tritonclient.http
from onnx import TensorProto, helper

from service.model.runtime import Runtime
from tests.server import ROOT, Server, running
from tests.service.conftest import ODD, Sample, graph_of, save, tensor

HALVES = Sample(
    inputs=(tensor("given", "BF16", 2),),
    outputs=(tensor("twice", "BF16", 2),),
    nodes=[
        helper.make_node("Cast", ["given"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["twice"], to=TensorProto.BFLOAT16),
    ],
    rows={},
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A folder of files, served by its path."""
    root = tmp_path_factory.mktemp("files")
    for name in ("pair", "echo", "fixed", "whole", "quantised"):
        save(root, f"{name}.onnx", name)
    (root / "halves.onnx").write_bytes(graph_of(HALVES))
    with running(str(root)) as server:
        yield server


def infer(server: Server, model: str, **inputs: tuple[str, Any]) -> dict[str, Any]:
    """The outputs by name; an input is its datatype and its array."""
    with tritonclient.http.InferenceServerClient(server.address) as client:
        tensors = []
        for name, (datatype, array) in inputs.items():
            tensors.append(tritonclient.http.InferInput(name, list(array.shape), datatype))
            tensors[-1].set_data_from_numpy(array)
        reply = client.infer(model, tensors)
        return {output["name"]: reply.as_numpy(output["name"]) for output in reply.get_response()["outputs"]}


def test_several_inputs_and_outputs_are_answered(server: Server) -> None:
    """Each by its name, floats and integers."""
    left, right = np.array([[1, 2], [3, 4]], np.float32), np.array([[5], [6]], np.int64)
    outputs = infer(server, "pair", left=("FP32", left), right=("INT64", right))
    assert outputs["half"].tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert outputs["twice"].tolist() == [[10], [12]]


def test_texts_are_answered(server: Server) -> None:
    """In UTF-8, as the bytes that came."""
    texts = np.array([["a", "ü 語"], ["", "b"]], object)
    outputs = infer(server, "echo", text=("BYTES", texts))
    assert [[one.decode() for one in row] for row in outputs["again"].tolist()] == texts.tolist()


def test_bf16_is_answered(server: Server) -> None:
    """Numbers that it holds exactly come out exactly."""
    given = np.array([[1.5, -2.0], [0.0, 1024.0]], ml_dtypes.bfloat16)
    assert infer(server, "halves", given=("BF16", given))["twice"].tolist() == (given * 2).tolist()


def test_one_row_at_a_time_still_answers_many(server: Server) -> None:
    """A fixed batch shows in the speed alone."""
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert infer(server, "fixed", row=("FP32", rows))["same"].tolist() == rows.tolist()


def test_a_graph_without_rows_answers_in_its_own_shapes(server: Server) -> None:
    """Two dimensions go in and one comes out."""
    square = np.array([[1, 2], [3, 4]], np.float32)
    assert infer(server, "whole", square=("FP32", square))["trace"].tolist() == [4.0, 6.0]


def test_rows_that_depend_on_each_other_are_answered_as_the_graph_does(server: Server) -> None:
    """Each request as it came, whoever else asks."""
    rows = np.array([[0.1, 0.25, -0.7, 0.33], [10, -20, 30, 5]], np.float32)
    expected = Runtime(graph_of(ODD["quantised"]), "graph").run((rows,))[0]
    assert infer(server, "quantised", signal=("FP32", rows))["filtered"].tobytes() == expected.tobytes()


def test_the_server_is_ready_and_says_how_each_is_served(server: Server) -> None:
    """What is to be known of a model stands in the index and in the log."""
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == httpx.codes.OK
    index = {entry["name"]: entry["reason"] for entry in httpx.post(f"{server.url}/v2/repository/index").json()}
    assert index["pair"] == index["echo"] == ""
    assert "one row at a time" in index["fixed"]
    assert "each request is a run by itself" in index["whole"]
    assert "a row's answer depends on the batch" in index["quantised"]
    assert "each request is a run by itself" in index["quantised"]
    log = "".join(server.log)
    for name in ("fixed", "whole", "quantised"):
        assert f"{name} version 1: {index[name]}" in log


def test_a_path_and_the_setting_are_one_too_many(tmp_path: Path) -> None:
    """Which of the two was meant is not guessed."""
    command = [sys.executable, "-m", "service", "serve", str(tmp_path), "--models", "models"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert (
        result.stderr == f"forwardpass: the models are named twice, as {tmp_path} and with --models: name them once\n"
    )


def test_inspecting_says_what_serving_does(tmp_path: Path) -> None:
    """By the same settings."""
    path = save(tmp_path, "quantised.onnx", "quantised")
    command = [sys.executable, "-m", "service", "inspect", str(path), "--dependent-rows", "request"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "only rows of one request are computed together" in result.stdout
