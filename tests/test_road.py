"""The whole road: a model trained here, published, served by a real process and scored from a file."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import tritonclient.http

from service.manifest import GOLDEN_TOLERANCE
from tests.server import ROOT, Server, running
from training.pipeline import produce
from training.publish import publish
from training.task import Figures, Task
from training.tasks import TASKS

SUM_ROW = {"first_addend": 1, "second_addend": 2, "third_addend": 3}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The committed models, served."""
    with running() as server:
        yield server


def predict(server: Server, model: str, instances: list[Any]) -> list[Any]:
    """The predictions of version 1."""
    reply = httpx.post(f"{server.url}/v1/models/{model}:predict", json={"instances": instances})
    assert reply.status_code == httpx.codes.OK, reply.text
    predictions: list[Any] = reply.json()["predictions"]
    return predictions


def infer(server: Server, model: str, rows: np.ndarray[Any, Any], *, binary: bool) -> np.ndarray[Any, Any]:
    """The first output that the unmodified Triton client gets for a model's one input."""
    with tritonclient.http.InferenceServerClient(server.address) as client:
        metadata = client.get_model_metadata(model)
        tensor = tritonclient.http.InferInput(metadata["inputs"][0]["name"], list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows, binary_data=binary)
        name = metadata["outputs"][0]["name"]
        wanted = tritonclient.http.InferRequestedOutput(name, binary_data=binary)
        outputs: np.ndarray[Any, Any] = client.infer(model, [tensor], outputs=[wanted]).as_numpy(name)
    return outputs


def one_step(task: Task) -> Task:
    """The task with a single epoch and no gate."""
    recipe = dataclasses.replace(task.recipe, epochs=1)
    return dataclasses.replace(task, recipe=recipe, gate=lambda _: Figures({"loss": 0.0}, {"none": 0.0}))


@pytest.mark.parametrize("name", ["sum_of_three", "binary_classifier"])
def test_a_model_trained_for_one_step_answers_over_http_what_pytorch_answers(name: str, tmp_path: Path) -> None:
    """Train, publish, serve in a process of its own: every wire gives the network's numbers."""
    produced = produce(one_step(TASKS[name][0]))
    publish(tmp_path, produced.manifest, produced.files)
    rows = produced.trained.data.held_out.inputs
    with torch.no_grad():
        expected = produced.trained.network(rows).numpy()
    with running("--models", str(tmp_path)) as server:
        by_row = predict(server, name, rows.tolist())
        wires = {
            "v1": np.array([[r["probability"]] if isinstance(r, dict) else [r] for r in by_row], np.float32),
            "v2 JSON": infer(server, name, rows.numpy(), binary=False),
            "v2 binary": infer(server, name, rows.numpy(), binary=True),
        }
    for wire, outputs in wires.items():
        assert (np.abs(outputs - expected) <= GOLDEN_TOLERANCE * np.maximum(1, np.abs(expected))).all(), wire
        assert (outputs == wires["v1"]).all(), wire


def test_one_and_two_and_three_is_near_six_by_position_and_by_name(server: Server) -> None:
    """The tutorial's first example is answered the same on both dialects, however it is written."""
    by_position, by_name = predict(server, "sum_of_three", [[1, 2, 3], SUM_ROW])
    assert by_position == by_name == pytest.approx(6, abs=0.5)
    tensor = {"name": "addends", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    reply = httpx.post(f"{server.url}/v2/models/sum_of_three/infer", json={"inputs": [tensor]})
    assert reply.json()["outputs"][0]["data"] == [by_position]


def test_the_unmodified_triton_client_finds_its_way(server: Server) -> None:
    """Health, metadata, the repository's index and errors are where that client looks for them."""
    with tritonclient.http.InferenceServerClient(server.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("sum_of_three", "2")
        assert client.get_server_metadata()["name"] == "forwardpass"
        assert {entry["name"] for entry in client.get_model_repository_index()} == set(TASKS)
        with pytest.raises(tritonclient.utils.InferenceServerException, match="no model 'nothing' is served"):
            client.infer("nothing", [])


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/models/sum_of_three:predict", '{"instances": [[1, 2]]}', 400, "shape_mismatch"),
        ("/v1/models/nothing:predict", '{"instances": [[1, 2]]}', 404, "unknown_model"),
        ("/v1/models/sum_of_three/versions/9:predict", '{"instances": [[1, 2]]}', 404, "unknown_version"),
        ("/v1/models/sum_of_three:predict", "one and two and three", 400, "invalid_json"),
        ("/v2/models/nothing/infer", "{}", 404, "unknown_model"),
        ("/v2/models/sum_of_three/infer", '{"inputs":', 400, "invalid_json"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(server: Server, path: str, body: str, status: int, code: str) -> None:
    """Wrong widths, unknown models and bodies that are no JSON get an error in the protocol's form."""
    reply = httpx.post(f"{server.url}{path}", content=body)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.json()["error"]


def test_a_file_that_is_not_the_published_one_is_named_at_start_and_the_other_models_serve(tmp_path: Path) -> None:
    """A damaged model stays out with a sentence that names the file; the server is not ready, but answers."""
    shutil.copytree(ROOT / "models", tmp_path, dirs_exist_ok=True)
    damaged = tmp_path / "sum_of_three" / "2" / "model.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    with running("--models", str(tmp_path)) as server:
        assert str(damaged) in "".join(server.log)
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == httpx.codes.SERVICE_UNAVAILABLE
        refused = httpx.post(f"{server.url}/v1/models/sum_of_three:predict", json={"instances": [[1, 2, 3]]})
        assert (refused.status_code, refused.json()["code"]) == (503, "model_not_ready")
        assert len(predict(server, "binary_classifier", [[0.0] * 20])) == 1
    looked_at = subprocess.run(
        [sys.executable, "-m", "service", "inspect", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert looked_at.returncode == 1
    assert str(damaged) in looked_at.stdout


def test_scoring_a_file_gives_row_by_row_what_http_gives(server: Server, tmp_path: Path) -> None:
    """The scorer's numbers and labels are those of the service, to the last bit."""
    golden = json.loads((ROOT / "models/binary_classifier/1/golden.json").read_text())["inputs"]["features"]
    generator = np.random.default_rng(0)
    rows = golden + generator.normal(size=(700, 20)).astype(np.float32).tolist()
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([[f"feature_{i}" for i in range(20)], *rows])
    command = [sys.executable, "-m", "service", "score", "binary_classifier", str(source), str(target)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{len(rows)} rows" in result.stdout
    with target.open(newline="") as file:
        scored = [{"probability": float(row["probability"]), "label": row["label"]} for row in csv.DictReader(file)]
    assert scored == predict(server, "binary_classifier", rows)


def test_the_readme_way_starts_the_server_and_sigterm_ends_it_with_status_0() -> None:
    """`make serve` serves the committed models from an environment without torch, and stops in order."""
    with running(command=["make", "--silent", "serve"]) as server:
        assert predict(server, "sum_of_three", [[1, 2, 3]])
        make = server.process.pid
        (service,) = Path(f"/proc/{make}/task/{make}/children").read_text().split()
        assert server.stop(int(service)) == 0
    python = ROOT / ".venv" / "bin" / "python"
    found = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in found.stderr


def test_sigterm_ends_the_process_with_status_0_after_answering_what_it_had_begun() -> None:
    """A request whose body is still coming when the signal arrives is answered before the process ends."""
    with running() as server:
        body = json.dumps({"instances": [[1, 2, 3]]}).encode()

        def halves() -> Iterator[bytes]:
            yield body[:5]
            os.kill(server.process.pid, signal.SIGTERM)
            yield body[5:]

        reply = httpx.post(f"{server.url}/v1/models/sum_of_three:predict", content=halves())
        assert reply.status_code == httpx.codes.OK
        assert server.process.wait(timeout=60) == 0


def test_sigterm_while_models_are_loaded_ends_the_process_with_status_0() -> None:
    """Nothing is in flight yet, and stopping on request is no failure."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "is ready" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_a_request_that_outlasts_the_drain_is_refused_in_our_form() -> None:
    """A body that does not come to its end gets a 503 when the time for requests in flight is over."""
    with running("--drain-seconds", "0") as server, socket.create_connection(server.endpoint) as client:
        client.sendall(b"POST /v1/models/sum_of_three:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        # Another request on another connection is answered only after the first has been read.
        httpx.get(f"{server.url}/v2/health/live")
        os.kill(server.process.pid, signal.SIGTERM)
        reply = b"".join(iter(lambda: client.recv(4096), b""))
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"draining"' in reply
        assert server.process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "--port", "http"], "port (variable FORWARDPASS_PORT, flag --port) is 'http'"),
        (["serve", "--models", "nowhere"], "models is nowhere: there is no such file or folder"),
        (["serve", "--provider", "cuda"], "has no CUDAExecutionProvider"),
        (["score", "nothing", "in.csv", "out.csv"], "no model 'nothing'"),
        (["inspect", "nowhere"], "nowhere: there is no such file or folder"),
        (["serve", "--host", "256.0.0.1"], "cannot listen on 256.0.0.1"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_one_line(arguments: list[str], sentence: str) -> None:
    """Nobody is shown a traceback for a wrong setting or a missing file."""
    result = subprocess.run(
        [sys.executable, "-m", "service", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode in (1, 2)
    assert sentence in result.stderr
    assert result.stderr.startswith("forwardpass: ")
    assert len(result.stderr.splitlines()) == 1


def test_without_an_extra_a_command_names_it() -> None:
    """Training from the service's environment, which has no torch, says what to install."""
    command = [str(ROOT / ".venv" / "bin" / "forwardpass"), "train"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, "forwardpass[cpu,training]" in result.stderr) == (2, True)
