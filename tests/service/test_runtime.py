"""Behaviour of service.runtime."""

import dataclasses
import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from service.errors import ComputeError, GoldenError, GraphError, ManifestError, ModelError, SettingsError
from service.manifest import Golden, TensorSpec
from service.runtime import Runtime, describe, require_provider
from service.store import StoredVersion, open_version
from tests.service.conftest import COMMITTED, SAMPLES, golden_of, graph_of, manifest_of, reference, tensor

WHERE = "models/line/1"
ANSWERING = [name for name in SAMPLES if name not in ("deep", "fixed")]


def load(name: str, **options: Any) -> Runtime:  # noqa: ANN401  # a runtime's own options
    """A sample's runtime."""
    sample = SAMPLES[name]
    return Runtime(graph_of(sample), manifest_of(name, sample), golden_of(name), WHERE, **options)


def opened(name: str) -> StoredVersion:
    """A committed model."""
    return open_version(COMMITTED / name / "1")


def runtime_of(stored: StoredVersion) -> Runtime:
    """The runtime of a version."""
    return Runtime(stored.graph, stored.manifest, stored.golden, str(stored.folder))


def refused(
    kind: type[ModelError],
    name: str,
    *,
    graph: bytes | None = None,
    golden: Golden | None = None,
    **changed: tuple[TensorSpec, ...],
) -> str:
    """The sentence with which a sample is refused that has another graph, golden rows or manifest."""
    sample = SAMPLES[name]
    manifest = manifest_of(name, sample).model_copy(update=changed)
    with pytest.raises(kind) as caught:
        Runtime(graph_of(sample) if graph is None else graph, manifest, golden, WHERE)
    assert type(caught.value) is kind
    return caught.value.message


def fresh_process(program: str, **environment: str) -> str:
    """What a program prints in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", ANSWERING)
def test_answers_are_those_of_the_reference(name: str) -> None:
    """What onnxruntime computes is what ONNX's own implementation of the operators gives."""
    sample = SAMPLES[name]
    arrays = tuple(
        np.array(sample.rows[spec.name], np.float32 if spec.datatype == "FP32" else np.int64) for spec in sample.inputs
    )
    outputs = load(name).run(arrays)
    for spec, output in zip(sample.outputs, outputs, strict=True):
        np.testing.assert_allclose(output, reference(sample, sample.rows)[spec.name], rtol=1e-6)
        assert output.dtype == (np.float32 if spec.datatype == "FP32" else np.int64)


@pytest.mark.parametrize("name", ["sum_of_three", "binary_classifier"])
def test_committed_models_answer_as_the_reference(name: str) -> None:
    """The graphs that training exported say the same to both implementations."""
    stored = opened(name)
    (spec,), (output,) = stored.manifest.inputs, stored.manifest.outputs
    rows = np.random.default_rng(1).normal(size=(50, *spec.row_shape)).astype(np.float32)
    (answer,) = runtime_of(stored).run((rows,))
    (expected,) = ReferenceEvaluator(onnx.load_from_string(stored.graph)).run([output.name], {spec.name: rows})
    np.testing.assert_allclose(answer, np.asarray(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sum_of_three", "binary_classifier"])
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_row_has_the_same_bits_alone_and_in_any_batch(name: str, lengths: list[int], seed: int) -> None:
    """However requests are mixed, each gets the very answer that it would get alone, row for row."""
    stored = opened(name)
    runtime = runtime_of(stored)
    width = stored.manifest.inputs[0].row_shape
    generator = np.random.default_rng(seed)
    payloads = [(generator.normal(scale=3, size=(length, *width)).astype(np.float32),) for length in lengths]
    results = runtime.run_batch([(payload, 0, len(payload[0])) for payload in payloads])
    for (rows,), (answer,) in zip(payloads, results, strict=True):
        assert answer.tobytes() == runtime.run((rows,))[0].tobytes()
        alone = [runtime.run((rows[index : index + 1],))[0] for index in range(len(rows))]
        assert answer.tobytes() == np.concatenate(alone).tobytes()


@given(data=st.data(), rows=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_a_divided_request_is_joined_to_the_answer_of_the_whole(data: st.DataObject, rows: int) -> None:
    """The parts of a request, run in batches of their own and joined, give all outputs of all rows in order."""
    runtime = load("pair")
    payload = (np.arange(2 * rows, dtype=np.float32).reshape(rows, 2), np.arange(rows).reshape(rows, 1))
    cuts = sorted(data.draw(st.sets(st.integers(1, rows))) | {0, rows})
    parts = [(payload, start, stop) for start, stop in itertools.pairwise(cuts)]
    joined = runtime.join([runtime.run_batch([part])[0] for part in parts])
    for one, other in zip(joined, runtime.run(payload), strict=True):
        assert one.tobytes() == other.tobytes()


def test_several_inputs_are_stacked_each_for_itself() -> None:
    """Rows of two requests stay together across inputs and outputs."""
    payloads = [(np.full((2, 2), float(number), np.float32), np.full((2, 1), number, np.int64)) for number in (1, 2, 3)]
    results = load("pair").run_batch([(payload, 1, 2) for payload in payloads])
    assert [(half.tolist(), twice.tolist()) for half, twice in results] == [
        ([[number / 2] * 2], [[2 * number]]) for number in (1, 2, 3)
    ]


def test_an_output_with_other_rows_is_refused() -> None:
    """A graph that doubles the batch cannot be cut into answers."""
    sample = dataclasses.replace(
        SAMPLES["vote"], nodes=[helper.make_node("Concat", ["score", "score"], ["probability"], axis=0)]
    )
    runtime = Runtime(graph_of(sample), manifest_of("vote", sample), None, WHERE)
    with pytest.raises(ComputeError, match=r"output 'probability' has shape \[4, 1\] for a batch of 2 rows"):
        runtime.run_batch([((np.zeros((2, 1), np.float32),), 0, 2)])


def test_a_graph_that_fails_while_it_runs_is_told() -> None:
    """An exception of onnxruntime's own does not leave the runtime."""
    with pytest.raises(ComputeError, match=r"onnxruntime fails on a batch of shape \[1, 1\]: .*indices"):
        load("lookup").run((np.array([[7]], np.int64),))


@pytest.mark.parametrize("content", [b"", b"garbage", graph_of(SAMPLES["line"])[:-9]])
def test_a_graph_that_is_none_is_refused(content: bytes) -> None:
    """What onnxruntime cannot load is an error in one line that names the place."""
    message = refused(GraphError, "line", graph=content)
    assert message.startswith(f"{WHERE}: onnxruntime cannot load the graph: ")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"inputs": (tensor("dot", "FP32", 2),)},
            "inputs of the graph are ['point'], of the manifest ['dot']",
        ),
        (
            {"outputs": (tensor("worth", "FP32", 1),)},
            "outputs of the graph are ['value'], of the manifest ['worth']",
        ),
        (
            {"inputs": (tensor("point", "FP32", 2), tensor("more", "FP32", 2))},
            "inputs of the graph are ['point'], of the manifest ['point', 'more']",
        ),
        (
            {"inputs": (tensor("point", "FP64", 2),)},
            "input 'point' is FP32 [-1, 2] in the graph, FP64 [-1, 2] in the manifest",
        ),
        (
            {"outputs": (tensor("value", "INT64", 1),)},
            "output 'value' is FP32 [-1, 1] in the graph, INT64 [-1, 1] in the manifest",
        ),
        (
            {"inputs": (tensor("point", "FP32", 3),)},
            "input 'point' is FP32 [-1, 2] in the graph, FP32 [-1, 3] in the manifest",
        ),
        (
            {"inputs": (tensor("point", "FP32", -1),)},
            "input 'point' is FP32 [-1, 2] in the graph, FP32 [-1, -1] in the manifest",
        ),
        (
            {"inputs": (tensor("point", "FP32", 2, 1),)},
            "input 'point' is FP32 [-1, 2] in the graph, FP32 [-1, 2, 1] in the manifest",
        ),
    ],
)
def test_a_graph_that_is_not_the_manifests_is_refused(changed: Mapping[str, Any], said: str) -> None:
    """Other names, numbers, datatypes or shapes are told with both sides and the place."""
    assert refused(GraphError, "line", **changed) == f"{WHERE}: {said}"


def test_a_manifest_may_fix_what_a_graph_leaves_open() -> None:
    """A graph for rows of any length serves a manifest with a certain one."""
    sample = SAMPLES["tokens"]
    manifest = manifest_of("tokens", sample).model_copy(update={"inputs": (tensor("ids", "INT64", 3),)})
    runtime = Runtime(graph_of(sample), manifest, golden_of("tokens"), WHERE)
    assert runtime.run((np.array([[1, 2, 3]], np.int64),))[0].tolist() == [[101, 102, 103]]


@pytest.mark.parametrize(
    ("name", "outputs", "said"),
    [
        (
            "line",
            {"value": [[-2.0], [4.5], [-0.82]]},
            "output 'value' of golden row 2 is -0.824999988079071 where -0.819999992847442",
        ),
        (
            "line",
            {"value": [[-2.0], [4.5]]},
            "the golden rows' output 'value' has shape [3, 1] where [2, 1] is recorded",
        ),
        ("line", {"value": [[-2.0], [4.5], []]}, "the golden rows do not fit the manifest"),
        ("line", {"value": [[-2.0], [4.5], ["x"]]}, "the golden rows do not fit the manifest"),
        ("line", {}, "the golden rows do not fit the manifest: 'value'"),
        (
            "counter",
            {"next": [[2, 12], [9007199254740993, 5]]},
            "output 'next' of golden row 1 is 9007199254740994 where 9007199254740993 is recorded",
        ),
        ("counter", {"next": [[2, 12], [2**70, 5]]}, "the golden rows do not fit the manifest"),
    ],
)
def test_golden_rows_with_other_answers_are_refused(name: str, outputs: dict[str, list[Any]], said: str) -> None:
    """The row and both answers are named; integers must be equal to the last digit."""
    golden = Golden(inputs=dict(SAMPLES[name].rows), outputs=outputs)
    message = refused(GoldenError, name, golden=golden)
    assert message.startswith(f"{WHERE}: ")
    assert said in message


def test_golden_rows_may_differ_by_the_tolerance() -> None:
    """Floats of another machine differ in their last digits."""
    golden = Golden(inputs=dict(SAMPLES["line"].rows), outputs={"value": [[-2.00001], [4.5], [-0.825009]]})
    Runtime(graph_of(SAMPLES["line"]), manifest_of("line", SAMPLES["line"]), golden, WHERE)


@pytest.mark.parametrize("row", [{"a": 1}, "x", None, [[1.0]], [10**400, 1.0]])
def test_golden_rows_of_another_kind_are_refused(row: object) -> None:
    """Whatever stands where a row should, it is the model's fault, in our words."""
    golden = Golden(inputs={"point": [row]}, outputs={"value": [[0.0]]})
    with pytest.raises(ModelError):
        Runtime(graph_of(SAMPLES["line"]), manifest_of("line", SAMPLES["line"]), golden, WHERE)


def test_golden_rows_that_cannot_be_run_are_refused() -> None:
    """Rows of another width are the model's fault, in our words."""
    golden = Golden(inputs={"point": [[1.0, 2.0, 3.0]]}, outputs={"value": [[0.0]]})
    assert "onnxruntime fails on a batch of shape [1, 3]" in refused(GraphError, "line", golden=golden)


def test_a_missing_provider_is_a_settings_error() -> None:
    """Whoever asks for a GPU with the CPU's wheel is told which extra to install."""
    for attempt in (lambda: load("line", provider="cuda"), lambda: require_provider("cuda")):
        with pytest.raises(SettingsError, match=r"no CUDAExecutionProvider: install forwardpass\[cuda\]"):
            attempt()
    require_provider("cpu")


def test_a_graph_in_which_rows_meet_is_found_out() -> None:
    """Its answers in a batch are not those alone; of a plain network they are."""
    sample = dataclasses.replace(
        SAMPLES["vote"], nodes=[helper.make_node("Softmax", ["score"], ["probability"], axis=0)]
    )
    mixing = Runtime(graph_of(sample), manifest_of("vote", sample), None, WHERE)
    assert not mixing.keeps_rows_apart(8)
    assert mixing.keeps_rows_apart(1)
    assert load("line").keeps_rows_apart(256)


def test_a_batch_of_any_size_can_be_timed() -> None:
    """The figure is some seconds, for more rows than the model has golden ones too."""
    runtime = load("line")
    assert runtime.seconds_for(1) > 0
    assert runtime.seconds_for(1000) > 0
    without_rows = Runtime(graph_of(SAMPLES["pair"]), manifest_of("pair", SAMPLES["pair"]), None, WHERE)
    assert without_rows.seconds_for(3) > 0


def test_a_batch_that_the_graph_cannot_take_is_not_timed() -> None:
    """A graph for one row at a time says so."""
    with pytest.raises(GraphError, match=r"a batch of shape \[2, 2\]"):
        load("fixed").seconds_for(2)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_graph_describes_itself(name: str) -> None:
    """Names, datatypes and shapes come from the file, and the graph runs under that manifest."""
    sample = SAMPLES[name]
    manifest = describe(graph_of(sample), name, WHERE)
    plain = {"features": None, "labels": None}
    assert manifest.inputs == tuple(spec.model_copy(update=plain) for spec in sample.inputs)
    assert manifest.outputs == tuple(spec.model_copy(update=plain) for spec in sample.outputs)
    assert (manifest.name, manifest.version, manifest.kind) == (name, 1, "tensors")
    Runtime(graph_of(sample), manifest, None, WHERE)


def model(inputs: list[onnx.ValueInfoProto], nodes: list[onnx.NodeProto], output: onnx.ValueInfoProto) -> bytes:
    """An ONNX file."""
    graph = helper.make_graph(nodes, "graph", inputs, [output])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )


def test_a_graph_of_strings_is_refused() -> None:
    """A tensor that no request can carry is named with its type."""
    text = [helper.make_tensor_value_info(name, TensorProto.STRING, ["rows", 1]) for name in ("text", "same")]
    content = model(text[:1], [helper.make_node("Identity", ["text"], ["same"])], text[1])
    with pytest.raises(GraphError, match=rf"{WHERE}: 'text' is a tensor\(string\), which no request can carry"):
        describe(content, "words", WHERE)


def test_a_graph_without_inputs_is_refused() -> None:
    """A graph that computes nothing from nothing has no manifest, and the sentence says what it lacks."""
    output = helper.make_tensor_value_info("one", TensorProto.FLOAT, [1])
    content = model([], [helper.make_node("Constant", [], ["one"], value_floats=[1.0])], output)
    with pytest.raises(ManifestError, match=rf"^{WHERE}: inputs: "):
        describe(content, "constant", WHERE)


def test_garbage_does_not_describe_itself() -> None:
    """It is refused as a graph, in one line."""
    with pytest.raises(GraphError, match=f"{WHERE}: onnxruntime cannot load the graph"):
        describe(b"garbage", "x", WHERE)


def test_telemetry_is_off_before_onnxruntime_is_loaded() -> None:
    """A process that imports the runtime reports to nobody, unless its operator says otherwise."""
    program = "import os, service.runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert fresh_process(program) == "1"
    assert fresh_process(program, ORT_DISABLE_TELEMETRY="0") == "0"


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_session_has_no_more_threads_than_asked_for(threads: int) -> None:
    """The caller's thread counts as one, also after a batch that is worth dividing."""
    program = f"""
import os
import numpy as np
from service.runtime import Runtime
from tests.service.conftest import SAMPLES, golden_of, graph_of, manifest_of
sample = SAMPLES["deep"]
parts = graph_of(sample), manifest_of("deep", sample), golden_of("deep")
before = len(os.listdir("/proc/self/task"))
runtime = Runtime(*parts, "deep", threads={threads})
runtime.run((np.ones((64, 512), np.float32),))
print(len(os.listdir("/proc/self/task")) - before)
"""
    assert int(fresh_process(program)) <= threads - 1
