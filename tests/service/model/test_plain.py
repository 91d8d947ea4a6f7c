"""Behaviour of service.model.plain."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from service.errors import ManifestError
from service.manifest import ModelManifest
from service.model.plain import describe
from service.model.runtime import Runtime
from tests.service.conftest import ODD, SAMPLES, graph_of, sample_of

WHERE = "models/plain.onnx"
EXPORT = 'export it free, with dynamic_shapes=({0: "batch"},) of torch.onnx.export'

Shapes = dict[str, list[int | str | None]]


def described(content: bytes) -> tuple[ModelManifest, tuple[str, ...]]:
    """What a graph is served as."""
    return describe(Runtime(content, WHERE), "plain")


def graph_file(nodes: list[onnx.NodeProto], inputs: Shapes, outputs: Shapes) -> bytes:
    """An ONNX file of single floats."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def copies(inputs: Shapes, outputs: Shapes) -> bytes:
    """A graph whose outputs are its inputs, one by one."""
    nodes = [helper.make_node("Identity", [one], [other]) for one, other in zip(inputs, outputs, strict=True)]
    return graph_file(nodes, inputs, outputs)


@pytest.mark.parametrize("name", [*SAMPLES, *ODD])
def test_a_graph_describes_itself(name: str) -> None:
    """Names, datatypes, shapes and batches come from the file, and are those that a manifest would say."""
    sample = sample_of(name)
    manifest, _ = described(graph_of(sample))
    plain = {"features": None, "labels": None}
    assert manifest.inputs == tuple(spec.model_copy(update=plain) for spec in sample.inputs)
    assert manifest.outputs == tuple(spec.model_copy(update=plain) for spec in sample.outputs)
    assert (manifest.batching, manifest.max_batch) == (sample.batching, sample.max_batch)
    assert (manifest.name, manifest.version, manifest.kind) == ("plain", 1, "tensors")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"a": ["rows", 2]}, {"b": ["rows", 2]}),
        ({"a": [None, "columns"]}, {"b": [None, "columns"]}),
        ({"a": ["rows", 2], "c": ["rows", "rows"]}, {"b": [None, 2], "d": ["rows", None]}),
        # What tf2onnx calls a length that it knows nothing of.
        ({"a": ["unk__6", 2]}, {"b": ["unk__7", 2]}),
    ],
)
def test_a_graph_with_a_free_first_dimension_has_batches(inputs: Shapes, outputs: Shapes) -> None:
    """Called the same wherever it is called anything; nothing need be said of it."""
    manifest, notes = described(copies(inputs, outputs))
    assert (manifest.batching, manifest.max_batch, notes) == ("rows", None, ())
    assert all(spec.shape[0] == -1 for spec in manifest.inputs + manifest.outputs)


@pytest.mark.parametrize("first", [1, "rows", None])
def test_a_batch_of_one_is_served_row_by_row(first: int | str | None) -> None:
    """With the flag that would free it, also where only the inputs tell of it."""
    manifest, notes = described(copies({"a": [1, 2], "c": [1, "n"]}, {"b": [1, 2], "d": [first, None]}))
    assert (manifest.batching, manifest.max_batch) == ("rows", 1)
    assert [spec.shape for spec in manifest.inputs] == [(-1, 2), (-1, -1)]
    assert notes == (f"its batch dimension is fixed at 1, so it is served one row at a time: {EXPORT}",)


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ({"a": [3, 2]}, {"b": [3, 2]}, f"the first dimension of 'a' is fixed at 3 (if it is a batch, {EXPORT})"),
        ({"a": ["n"], "c": [1, 2]}, {"b": ["n"], "d": [1, 2]}, "the first dimension of 'c' is fixed at 1"),
        ({"a": ["n"], "c": []}, {"b": ["n"], "d": []}, "'c', 'd' has no dimension, so no batch"),
        ({"a": ["n"], "c": ["m"]}, {"b": ["n"], "d": ["m"]}, "its first dimensions are different lengths, 'm', 'n'"),
    ],
)
def test_a_graph_without_a_batch_takes_requests_whole(inputs: Shapes, outputs: Shapes, said: str) -> None:
    """In its own shapes, and why is told."""
    manifest, (note,) = described(copies(inputs, outputs))
    assert manifest.batching == "none"
    shapes = [[length if isinstance(length, int) else -1 for length in shape] for shape in inputs.values()]
    assert [list(spec.shape) for spec in manifest.inputs] == shapes
    assert note.startswith(said)
    assert note.endswith("so each request is a run by itself")


def test_a_graph_that_gives_other_rows_takes_requests_whole() -> None:
    """What it declares is not all that counts: a trial shows it."""
    nodes = [helper.make_node("Concat", ["a", "a"], ["b"], axis=0)]
    manifest, (note,) = described(graph_file(nodes, {"a": ["rows", 2]}, {"b": ["rows", 2]}))
    assert manifest.batching == "none"
    assert "output 'b' has shape [2, 2] for a batch of 1 rows" in note


def test_a_graph_that_fails_on_two_rows_takes_requests_whole() -> None:
    """What it declares holds for any number of rows, what it does for one."""
    sample = dataclasses.replace(
        SAMPLES["line"],
        nodes=[
            helper.make_node("MatMul", ["point", "weights"], ["worth"]),
            helper.make_node("Shape", ["worth"], ["shape"]),
            helper.make_node("Squeeze", ["worth", "first"], ["row"]),
            helper.make_node("Expand", ["row", "shape"], ["value"]),
        ],
        constants=dict(SAMPLES["line"].constants) | {"first": np.array([0], np.int64)},
    )
    manifest, (note,) = described(graph_of(sample))
    assert manifest.batching == "none"
    assert note.startswith("it takes no batches (onnxruntime fails on a batch of shape [2, 2]")


def test_a_graph_that_fails_on_zeros_takes_requests_whole() -> None:
    """Of its batches nothing is known, and that is said."""
    sample = dataclasses.replace(SAMPLES["lookup"], constants={"table": np.zeros(0, np.float32)})
    manifest, notes = described(graph_of(sample))
    assert manifest.batching == "none"
    assert notes == ("it fails on rows of zeros, so each request is a run by itself",)


def test_a_graph_without_inputs_is_refused() -> None:
    """A graph that computes nothing from nothing has no manifest, and the sentence says what it lacks."""
    nodes = [helper.make_node("Constant", [], ["one"], value_floats=[1.0])]
    with pytest.raises(ManifestError, match=rf"^{WHERE}: the graph has no inputs, so there is nothing to ask it$"):
        described(graph_file(nodes, {}, {"one": [1]}))


@pytest.mark.parametrize("name", ['a"b', "a\\b"])
def test_a_name_that_no_manifest_can_hold_is_refused(name: str) -> None:
    """It is the graph's fault, in one sentence."""
    with pytest.raises(ManifestError, match=rf"^{WHERE}: inputs/0/name: "):
        described(copies({name: ["rows"]}, {"other": ["rows"]}))
