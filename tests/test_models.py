"""Every published version, as a running server answers it, against its TorchScript."""

import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import tritonclient.http
from numpy.typing import NDArray

from service.manifest import GOLDEN_TOLERANCE, VARIABLE, ModelManifest, TensorSpec
from tests.server import ROOT, Server, running

VERSIONS = sorted((ROOT / "models").glob("*/*/manifest.json"))
BATCH = 64
FREE_LENGTH = 7

Array = NDArray[Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """All versions of the committed models, served."""
    with running("--versions", "all") as server:
        yield server


def version_id(path: Path) -> str:
    """A version as a person names it."""
    return f"{path.parent.parent.name}/{path.parent.name}"


def draw(spec: TensorSpec, rows: int) -> Array:
    """Random valid rows of an input: within the range that training saw, where that is known."""
    generator = np.random.default_rng(0)
    shape = [rows, *(FREE_LENGTH if length == VARIABLE else length for length in spec.row_shape)]
    if spec.vocabulary is not None:
        return generator.integers(0, len(spec.vocabulary), shape)
    if spec.features is None:
        return generator.uniform(0, 16, shape).astype(np.float32)
    least, most = zip(*((feature.minimum or 0, feature.maximum or 0) for feature in spec.features), strict=True)
    return generator.uniform(least, most, shape).astype(np.float32)


def infer(server: Server, manifest: ModelManifest, rows: Array) -> Array:
    """The output that Triton's client gets."""
    (source,), (target,) = manifest.inputs, manifest.outputs
    with tritonclient.http.InferenceServerClient(server.address) as client:
        tensor = tritonclient.http.InferInput(source.name, list(rows.shape), source.datatype)
        tensor.set_data_from_numpy(rows)
        reply = client.infer(manifest.name, [tensor], model_version=str(manifest.version))
    output: Array = reply.as_numpy(target.name)
    return output


@pytest.mark.parametrize("path", VERSIONS, ids=version_id)
def test_the_service_answers_what_torchscript_answers(path: Path, server: Server) -> None:
    """For rows that no golden file holds, to within the tolerance of every published figure."""
    manifest = ModelManifest.parse(path.read_bytes(), str(path))
    rows = draw(manifest.inputs[0], BATCH)
    with warnings.catch_warnings(), torch.no_grad():
        # TorchScript is one of the two files that a version is published as.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
        network = torch.jit.load(io.BytesIO(path.with_name("model.pt").read_bytes()))  # type: ignore[no-untyped-call]  # PyTorch's own
        expected = network(torch.from_numpy(rows)).numpy()
    answered = infer(server, manifest, rows)
    assert (np.abs(answered - expected) <= GOLDEN_TOLERANCE * np.maximum(1, np.abs(expected))).all()


@pytest.mark.parametrize("path", VERSIONS, ids=version_id)
def test_a_row_is_answered_the_same_alone_and_in_a_batch(path: Path, server: Server) -> None:
    """To the last bit: whoever shares a batch changes nothing."""
    manifest = ModelManifest.parse(path.read_bytes(), str(path))
    rows = draw(manifest.inputs[0], BATCH)
    together = infer(server, manifest, rows)
    alone = np.concatenate([infer(server, manifest, rows[index : index + 1]) for index in range(BATCH)])
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize("path", VERSIONS, ids=version_id)
def test_the_example_of_the_documentation_is_answered(path: Path, server: Server) -> None:
    """Version 1 takes what /docs shows: names, words and images included."""
    manifest = ModelManifest.parse(path.read_bytes(), str(path))
    document = httpx.get(f"{server.url}/openapi.json").json()
    operation = document["paths"][f"/v1/models/{manifest.name}:predict"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["schema"]["example"]
    reply = httpx.post(f"{server.url}/v1/models/{manifest.name}/versions/{manifest.version}:predict", json=example)
    assert reply.status_code == httpx.codes.OK, reply.text
    assert len(reply.json()["predictions"]) == len(example["instances"])


@pytest.mark.parametrize(
    "path", [path for path in VERSIONS if path.parent.parent.name.startswith("next_word")], ids=version_id
)
def test_words_go_in_and_words_come_out(path: Path, server: Server) -> None:
    """Contexts of unequal length in one request are answered in order, each as it is alone."""
    manifest = ModelManifest.parse(path.read_bytes(), str(path))
    contexts = [["the", "value", "of"], ["zebra"], ["a"], ["this", "is", "the"]]

    def ask(some: list[list[str]]) -> list[Any]:
        content = {"instances": [{"context": context} for context in some]}
        reply = httpx.post(f"{server.url}/v1/models/{manifest.name}:predict", json=content)
        assert reply.status_code == httpx.codes.OK, reply.text
        predictions: list[Any] = reply.json()["predictions"]
        return predictions

    together = ask(contexts)
    assert together == [prediction for context in contexts for prediction in ask([context])]
    assert [prediction["unknown"] for prediction in together] == [[], [0], [], []]
    assert all(len(prediction["next"]) == 5 for prediction in together)


def test_every_version_is_sound() -> None:
    """Each has the files that a published version has, the card among them."""
    for path in VERSIONS:
        files = json.loads(path.read_text())["files"]
        assert {"model.onnx", "model.pt", "golden.json", "README.md"} <= set(files), path
        assert set(files) | {"manifest.json"} == {file.name for file in path.parent.iterdir()}, path
