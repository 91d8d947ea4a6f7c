"""Other people's clients, unmodified, against a real server: Triton's, blocking and asyncio, and KServe's."""

import asyncio
import http.client
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http
import tritonclient.http.aio
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from service.manifest import Datatype
from tests.server import ROOT, Server, running
from tests.service.conftest import publish
from tests.zoo import DATATYPES, echo_name, publish_zoo

Array = npt.NDArray[Any]
Call = Callable[..., Any]
"""Calls a client's method of this name with these arguments and returns what comes of it."""


def limits(kind: type[np.integer[Any]]) -> Array:
    """The least and the largest integers of a type, and some between."""
    info = np.iinfo(kind)
    return np.array([[info.min, info.max], [1, 0]], kind)


VALUES: dict[Datatype, Array] = {
    "BOOL": np.array([[True, False], [False, True]]),
    "UINT8": limits(np.uint8),
    "UINT16": limits(np.uint16),
    "UINT32": limits(np.uint32),
    "UINT64": limits(np.uint64),
    "INT8": limits(np.int8),
    "INT16": limits(np.int16),
    "INT32": limits(np.int32),
    "INT64": limits(np.int64),
    "FP16": np.array([[65504, 6e-8], [-0.0, 0.1]], np.float16),
    "FP32": np.array([[3.4028235e38, 1e-45], [-0.0, 0.1]], np.float32),
    "FP64": np.array([[1.7976931348623157e308, 5e-324], [-0.0, 0.1]], np.float64),
    "BF16": np.array([[3.3895e38, 9.2e-41], [-0.0, 0.1]], ml_dtypes.bfloat16),
    "BYTES": np.array([[b"", "grün ☃ 𝄞".encode()], [b"a\0b", b'"\\\n']], np.object_),
}
"""Two rows of each datatype, with what is hardest to carry."""

POINTS = np.array([[1.0, 2.0], [0.25, -3.5]], np.float32)
PETALS = np.array([[1.0, 2.0, 3.0], [5.0, 0.0, 1.0]], np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The zoo, with a second version of one model, served."""
    root = tmp_path_factory.mktemp("zoo")
    publish_zoo(root)
    publish(root, "line", 2)
    with running("--models", str(root), "--versions", "all") as server:
        yield server


@pytest.fixture(scope="module", params=["blocking", "asyncio"])
def call(server: Server, request: pytest.FixtureRequest) -> Iterator[Call]:
    """Triton's client of each kind."""
    if request.param == "blocking":
        with tritonclient.http.InferenceServerClient(server.address) as client:
            yield lambda method, *arguments, **named: getattr(client, method)(*arguments, **named)
        return
    with asyncio.Runner() as runner:

        async def connect() -> Any:  # noqa: ANN401  # the client has no types
            return tritonclient.http.aio.InferenceServerClient(server.address)

        client = runner.run(connect())
        yield lambda method, *arguments, **named: runner.run(getattr(client, method)(*arguments, **named))
        runner.run(client.close())


def tensor(name: str, rows: Array, *, binary: bool = True) -> Any:  # noqa: ANN401  # the client has no types
    """An input with these rows."""
    made = InferInput(name, list(rows.shape), np_to_triton_dtype(rows.dtype))
    return made.set_data_from_numpy(rows, binary_data=binary)


def bits(array: Array) -> Any:  # noqa: ANN401  # bytes, or lists of them
    """What tells two arrays of one datatype apart, -0.0 and 0.0 included; texts as the client hands them out."""
    if array.dtype == np.object_:
        return [one if isinstance(one, bytes) else one.encode() for one in array.reshape(-1).tolist()]
    return array.tobytes()


def test_health_is_told_of_the_server_and_of_each_version(call: Call) -> None:
    """What is there is ready; another model or version is not, which is no error."""
    assert call("is_server_live") is True
    assert call("is_server_ready") is True
    assert call("is_model_ready", "line") is True
    assert call("is_model_ready", "line", "1") is True
    assert call("is_model_ready", "line", "9") is False
    assert call("is_model_ready", "nothing") is False


def test_metadata_names_the_server_its_extensions_and_every_tensor(call: Call) -> None:
    """A client that knows nothing of a model learns what it takes and gives."""
    metadata = call("get_server_metadata")
    assert metadata["name"] == "forwardpass"
    assert set(metadata["extensions"]) >= {
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "statistics",
    }
    assert call("get_model_metadata", "line") == {
        "name": "line",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "point", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "value", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert call("get_model_metadata", "echo_bytes", "1")["inputs"][0]["datatype"] == "BYTES"


def test_the_configuration_is_tritons(call: Call) -> None:
    """Tools that plan by Triton's configuration find the largest batch and the tensors without it."""
    config = call("get_model_config", "pair")
    assert (config["name"], config["platform"]) == ("pair", "onnxruntime_onnx")
    assert config["max_batch_size"] > 1
    assert [(one["name"], one["data_type"], one["dims"]) for one in config["input"]] == [
        ("left", "TYPE_FP32", [2]),
        ("right", "TYPE_INT64", [1]),
    ]
    assert [one["name"] for one in config["output"]] == ["half", "twice"]
    assert call("get_model_config", "echo_bytes", "1")["input"][0]["data_type"] == "TYPE_STRING"


def test_the_repository_index_lists_every_version(call: Call) -> None:
    """Each with its state."""
    index = call("get_model_repository_index")
    assert {(one["name"], one["version"]) for one in index} >= {("line", "1"), ("line", "2"), ("words", "1")}
    assert {one["state"] for one in index} == {"READY"}


def test_statistics_count_requests_and_rows(call: Call) -> None:
    """Of one version and of all of them, and they grow by what was asked."""

    def numbers() -> tuple[int, int, int]:
        (stats,) = call("get_inference_statistics", "vote", "1")["model_stats"]
        success = stats["inference_stats"]["success"]
        assert success["ns"] > 0 or success["count"] == 0
        return success["count"], stats["inference_stats"]["fail"]["count"], stats["inference_count"]

    before = numbers()
    scores = np.array([[-2.0], [0.0], [3.0]], np.float32)
    for _ in range(2):
        call("infer", "vote", [tensor("score", scores)])
    with pytest.raises(InferenceServerException):
        call("infer", "vote", [tensor("score", scores[:, 0])])
    after = numbers()
    assert [late - early for early, late in zip(before, after, strict=True)] == [2, 1, 6]
    every = call("get_inference_statistics")["model_stats"]
    assert {(stats["name"], stats["version"]) for stats in every} >= {("line", "1"), ("line", "2"), ("vote", "1")}


WAYS = [
    (datatype, binary_in, binary_out)
    for datatype in DATATYPES
    for binary_in in (True, False)
    for binary_out in (True, False)
    # The protocol has no BF16 in JSON.
    if datatype != "BF16" or (binary_in and binary_out)
]


@pytest.mark.parametrize(("datatype", "binary_in", "binary_out"), WAYS)
def test_every_datatype_comes_back_as_it_was_sent(
    call: Call,
    datatype: Datatype,
    binary_in: bool,  # noqa: FBT001  # a parameter
    binary_out: bool,  # noqa: FBT001  # a parameter
) -> None:
    """To the last bit, by each of the four ways that there are: as raw bytes or JSON in, as either out."""
    rows = VALUES[datatype]
    given = tensor("given", rows, binary=binary_in)
    wanted = InferRequestedOutput("same", binary_data=binary_out)
    result = call("infer", echo_name(datatype), [given], outputs=[wanted])
    assert result.get_output("same")["datatype"] == datatype
    assert ("data" in result.get_output("same")) != binary_out
    same = result.as_numpy("same")
    assert same.shape == rows.shape
    assert bits(same) == bits(rows)


def test_bf16_is_refused_as_json_with_the_way_that_works(call: Call) -> None:
    """The reply would have to invent a form for it."""
    wanted = InferRequestedOutput("same", binary_data=False)
    with pytest.raises(InferenceServerException, match="BF16") as refused:
        call("infer", "echo_bf16", [tensor("given", VALUES["BF16"])], outputs=[wanted])
    assert refused.value.status() == "400"


@pytest.mark.parametrize("binary", [True, False])
def test_several_inputs_and_outputs_find_their_names(call: Call, binary: bool) -> None:  # noqa: FBT001  # a parameter
    """In any order, all outputs or only those that are asked for, mixed forms included."""
    left = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    right = np.array([[5], [2**53 + 1]], np.int64)
    inputs = [tensor("right", right, binary=binary), tensor("left", left, binary=not binary)]
    everything = call("infer", "pair", inputs)
    assert (everything.as_numpy("half") == left / 2).all()
    assert (everything.as_numpy("twice") == right * 2).all()
    one = call("infer", "pair", inputs, outputs=[InferRequestedOutput("twice", binary_data=binary)])
    assert [output["name"] for output in one.get_response()["outputs"]] == ["twice"]
    assert (one.as_numpy("twice") == right * 2).all()
    wanted = [InferRequestedOutput("twice", binary_data=binary), InferRequestedOutput("half", binary_data=not binary)]
    mixed = call("infer", "pair", inputs, outputs=wanted)
    assert (mixed.as_numpy("half") == left / 2).all()
    assert (mixed.as_numpy("twice") == right * 2).all()


@pytest.mark.parametrize("reply", [None, "gzip", "deflate"])
@pytest.mark.parametrize("request_", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_changes_no_bit(
    call: Call,
    binary: bool,  # noqa: FBT001  # a parameter
    request_: str | None,
    reply: str | None,
) -> None:
    """In either direction and either form, of bodies large enough to be compressed."""
    rows = np.arange(4000, dtype=np.float32).reshape(-1, 2) / 7
    result = call(
        "infer",
        "echo_fp32",
        [tensor("given", rows, binary=binary)],
        outputs=[InferRequestedOutput("same", binary_data=binary)],
        request_compression_algorithm=request_,
        response_compression_algorithm=reply,
    )
    assert (result.as_numpy("same") == rows).all()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_the_client_only_writes_and_reads_is_understood(server: Server, coding: str) -> None:
    """`generate_request_body` and `parse_response_body` work over any HTTP client, and the reply is compressed."""
    rows = np.zeros((1000, 2), np.float32)
    body, json_length = tritonclient.http.InferenceServerClient.generate_request_body([tensor("given", rows)])
    headers = {"Accept-Encoding": coding, "Inference-Header-Content-Length": str(json_length)}
    connection = http.client.HTTPConnection(*server.endpoint, timeout=60)
    connection.request("POST", "/v2/models/echo_fp32/infer", body, headers)
    with connection.getresponse() as response:
        assert response.status == 200
        assert response.getheader("Content-Encoding") == coding
        content = response.read()
    connection.close()
    assert len(content) < rows.nbytes / 10
    result = tritonclient.http.InferenceServerClient.parse_response_body(
        content,
        header_length=int(response.getheader("Inference-Header-Content-Length", "")),
        content_encoding=coding,
    )
    assert (result.as_numpy("same") == rows).all()


@pytest.mark.parametrize("binary", [True, False])
def test_classification_gives_the_largest_with_their_labels(call: Call, binary: bool) -> None:  # noqa: FBT001  # a parameter
    """As texts `value:index:label`, the largest first; no more than there are, and the value is the output's."""
    plain = call("infer", "species", [tensor("petal", PETALS)]).as_numpy("probability")
    labels = ["setosa", "versicolor", "virginica"]
    for count in (1, 2, 3, 9):
        wanted = InferRequestedOutput("probability", binary_data=binary, class_count=count)
        result = call("infer", "species", [tensor("petal", PETALS)], outputs=[wanted])
        assert result.get_output("probability")["datatype"] == "BYTES"
        texts = result.as_numpy("probability")
        assert texts.shape == (2, min(count, 3))
        for row, numbers in zip(texts.tolist(), plain, strict=True):
            parts = [(one.decode() if isinstance(one, bytes) else one).split(":") for one in row]
            ranks = np.argsort(-numbers)[:count]
            assert [(int(index), label) for _, index, label in parts] == [(rank, labels[rank]) for rank in ranks]
            assert [np.float32(value) for value, _, _ in parts] == [numbers[rank] for rank in ranks]


def test_versions_are_told_apart_and_the_latest_is_meant_without_one(call: Call) -> None:
    """The reply names the version that answered."""
    for version, answering in (("", "2"), ("1", "1"), ("2", "2")):
        response = call("infer", "line", [tensor("point", POINTS)], version).get_response()
        assert (response["model_name"], response["model_version"]) == ("line", answering)


def test_the_id_comes_back_and_what_is_not_ours_is_passed_over(call: Call) -> None:
    """Sequences, priorities, own parameters and queries are other servers' business."""
    result = call(
        "infer",
        "line",
        [tensor("point", POINTS)],
        request_id="the ☃ id",
        sequence_id=5,
        sequence_start=True,
        sequence_end=True,
        priority=1,
        timeout=60_000_000,
        parameters={"mine": "yes"},
        query_params={"and": "more"},
        headers={"X-Request-Id": "7"},
    )
    assert result.get_response()["id"] == "the ☃ id"
    assert (result.as_numpy("value") == [[-2.0], [4.5]]).all()


def test_a_time_limit_that_nobody_can_keep_is_refused(call: Call) -> None:
    """A microsecond is over before the request is read."""
    with pytest.raises(InferenceServerException) as refused:
        call("infer", "line", [tensor("point", POINTS)], timeout=1)
    assert refused.value.status() == "504"
    assert refused.value.message()


def shared(given: Any) -> list[Any]:  # noqa: ANN401  # the client has no types
    """The input, said to lie in shared memory."""
    return [given.set_shared_memory("region", 16)]


@pytest.mark.parametrize(
    ("model", "inputs", "outputs", "status", "sentence"),
    [
        ("nothing", [tensor("point", POINTS)], None, "404", "no model 'nothing' is served"),
        ("line", [tensor("Point", POINTS)], None, "400", "/inputs/0/name should be one of point, but is 'Point'"),
        ("line", [tensor("point", PETALS)], None, "400", "/inputs/0/shape/1 should be 2, but is 3"),
        ("line", [tensor("point", POINTS.astype(np.float64))], None, "400", "/inputs/0/datatype should be FP32"),
        ("line", [tensor("point", POINTS * np.inf)], None, "400", "should be finite numbers"),
        ("line", [], None, "400", "'point'"),
        ("line", [tensor("point", POINTS)], [InferRequestedOutput("x")], "400", "/outputs/0/name should be one of"),
        ("line", shared(tensor("point", POINTS)), None, "400", "shared_memory_region"),
    ],
)
def test_an_error_arrives_as_the_clients_own_exception(  # noqa: PLR0913, PLR0917  # a table's columns
    call: Call, model: str, inputs: Sequence[Any], outputs: Sequence[Any] | None, status: str, sentence: str
) -> None:
    """With our sentence and status."""
    with pytest.raises(InferenceServerException) as refused:
        call("infer", model, inputs, outputs=outputs)
    assert refused.value.status() == status
    assert sentence in refused.value.message()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("load_model", ["line"]),
        ("unload_model", ["line"]),
        ("register_system_shared_memory", ["region", "/key", 64]),
        ("unregister_system_shared_memory", ["region"]),
        ("get_system_shared_memory_status", []),
        ("register_cuda_shared_memory", ["region", b"handle", 0, 64]),
        ("unregister_cuda_shared_memory", ["region"]),
        ("get_cuda_shared_memory_status", []),
        ("update_trace_settings", ["line", {"trace_rate": "1"}]),
        ("get_log_settings", []),
    ],
)
def test_what_is_not_offered_is_refused_in_a_sentence(call: Call, method: str, arguments: Sequence[Any]) -> None:
    """As an error of the client's making, not a success that nothing came of; the model goes on answering."""
    with pytest.raises(InferenceServerException) as refused:
        call(method, *arguments)
    assert refused.value.status() in ("400", "403", "404", "405")
    assert "an exception occurred in the client" not in refused.value.message()
    assert (call("infer", "line", [tensor("point", POINTS)]).as_numpy("value") == [[-2.0], [4.5]]).all()


def test_many_requests_at_once_each_get_their_own_answer(server: Server) -> None:
    """The blocking client's greenlets over several connections: rows meet in batches and part again."""
    rows = np.arange(64, dtype=np.float32).reshape(-1, 1, 2)
    with tritonclient.http.InferenceServerClient(server.address, concurrency=8) as client:
        pending = [client.async_infer("echo_fp32", [tensor("given", row)], request_id=str(row[0, 0])) for row in rows]
        for row, request in zip(rows, pending, strict=True):
            result = request.get_result(timeout=60)
            assert (result.as_numpy("same") == row).all()
            assert result.get_response()["id"] == str(row[0, 0])
        failing = client.async_infer("nothing", [tensor("given", rows[0])])
        with pytest.raises(InferenceServerException, match="no model 'nothing' is served"):
            failing.get_result(timeout=60)


def test_many_tasks_at_once_each_get_their_own_answer(server: Server) -> None:
    """The asyncio client likewise, a failing request among them."""
    rows = np.arange(256, dtype=np.float32).reshape(-1, 1, 2)

    async def ask() -> list[Any]:
        async with tritonclient.http.aio.InferenceServerClient(server.address) as client:
            good = [client.infer("echo_fp32", [tensor("given", row)]) for row in rows]
            bad = client.infer("echo_fp32", [tensor("given", rows[0, 0])])
            return await asyncio.gather(*good, bad, return_exceptions=True)

    *results, error = asyncio.run(ask())
    assert all((result.as_numpy("same") == row).all() for row, result in zip(rows, results, strict=True))
    assert isinstance(error, InferenceServerException)


def test_the_kserve_sdk_gets_the_numbers_of_a_plain_request(server: Server) -> None:
    """Its inference client, from an environment of its own, over both dialects, in JSON and binary."""
    plain = httpx.post(f"{server.url}/v1/models/line:predict", json={"instances": POINTS.tolist()}).json()
    python = ROOT / ".venv-kserve" / "bin" / "python"
    script = Path(__file__).parent / "clients" / "kserve_sdk.py"
    # Of the environment only what a program needs to run at all: the SDK reads settings of its own from it.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    result = subprocess.run(
        [python, script, server.url], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    predictions = plain["predictions"]
    assert told == {
        "live": {"v1": True, "v2": True},
        "server ready": True,
        "ready": {"v1": True, "v2": True},
        "missing model": {"v1": 404, "v2": False},
        "v1": {"predictions": predictions},
        "v1 by name": {"predictions": predictions},
        "v2 JSON": predictions,
        "v2 binary": predictions,
        "v2 binary reply": predictions,
        "v2 FP16": [1.0, 2.0, 0.25, -3.5],
        "v2 BYTES": ["grün", "☃"],
        "v2 id": "the id",
        "v2 refused": 400,
    }
