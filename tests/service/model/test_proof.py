"""Behaviour of service.model.proof."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import helper

from service.errors import GoldenError, GraphError, ModelError
from service.manifest import Golden, TensorSpec
from service.model.proof import prove
from service.model.runtime import Runtime
from tests.service.conftest import ODD, SAMPLES, Sample, golden_of, graph_of, manifest_of, sample_of, tensor

WHERE = "models/line/1"


def refused(
    kind: type[ModelError],
    name: str,
    *,
    golden: Golden | None = None,
    **changed: tuple[TensorSpec, ...],
) -> str:
    """The sentence with which a sample is refused that has other golden rows or another manifest."""
    sample = SAMPLES[name]
    manifest = manifest_of(name, sample).model_copy(update=changed)
    with pytest.raises(kind) as caught:
        prove(Runtime(graph_of(sample), WHERE), manifest, golden)
    assert type(caught.value) is kind
    return caught.value.message


@pytest.mark.parametrize("name", [*SAMPLES, *ODD])
def test_sound_golden_rows_are_given_back(name: str) -> None:
    """Of every kind of model: rows, texts, one row at a time, no rows at all."""
    sample = sample_of(name)
    rows = prove(Runtime(graph_of(sample), WHERE), manifest_of(name, sample), golden_of(name))
    assert rows is not None
    for spec, array in zip(sample.inputs, rows, strict=True):
        assert array.tolist() == np.array(sample.rows[spec.name], array.dtype).tolist()


def test_without_golden_rows_the_tensors_alone_are_compared() -> None:
    """There is nothing to give back."""
    assert prove(Runtime(graph_of(SAMPLES["line"]), WHERE), manifest_of("line", SAMPLES["line"]), None) is None


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
    assert prove(Runtime(graph_of(sample), WHERE), manifest, golden_of("tokens")) is not None


def test_a_batch_of_one_row_may_be_fixed_only_where_no_run_has_more() -> None:
    """The manifest has to say so, for a graph of one row and for no other."""
    sample = SAMPLES["fixed"]
    runtime = Runtime(graph_of(sample), WHERE)
    assert prove(runtime, manifest_of("fixed", sample), None) is None
    for most in (None, 2):
        with pytest.raises(GraphError, match=r"input 'row' is FP32 \[1, 2\] in the graph, FP32 \[-1, 2\] in the"):
            prove(runtime, manifest_of("fixed", sample).model_copy(update={"max_batch": most}), None)
    two = dataclasses.replace(sample, first=2)
    with pytest.raises(GraphError, match=r"input 'row' is FP32 \[2, 2\] in the graph"):
        prove(Runtime(graph_of(two), WHERE), manifest_of("fixed", two), None)


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
    assert prove(Runtime(graph_of(SAMPLES["line"]), WHERE), manifest_of("line", SAMPLES["line"]), golden) is not None


@pytest.mark.parametrize("row", [{"a": 1}, "x", None, [[1.0]], [10**400, 1.0]])
def test_golden_rows_of_another_kind_are_refused(row: object) -> None:
    """Whatever stands where a row should, it is the model's fault, in our words."""
    golden = Golden(inputs={"point": [row]}, outputs={"value": [[0.0]]})
    with pytest.raises(ModelError):
        prove(Runtime(graph_of(SAMPLES["line"]), WHERE), manifest_of("line", SAMPLES["line"]), golden)


def test_golden_rows_are_one_or_more() -> None:
    """A file that holds none proves nothing."""
    sample = Sample(
        inputs=(tensor("one", "FP32"),),
        outputs=(tensor("same", "FP32"),),
        nodes=[helper.make_node("Identity", ["one"], ["same"])],
        rows={},
    )
    with pytest.raises(GoldenError, match=f"{WHERE}: there are no golden rows"):
        prove(
            Runtime(graph_of(sample), WHERE),
            manifest_of("one", sample),
            Golden(inputs={"one": []}, outputs={"same": []}),
        )


def test_golden_rows_that_cannot_be_run_are_refused() -> None:
    """Rows of another width are the model's fault, in our words."""
    golden = Golden(inputs={"point": [[1.0, 2.0, 3.0]]}, outputs={"value": [[0.0]]})
    assert "onnxruntime fails on a batch of shape [1, 3]" in refused(GraphError, "line", golden=golden)


@pytest.mark.parametrize("element", [1, None, b"x", ["x"]])
def test_golden_texts_are_texts(element: object) -> None:
    """Nothing else stands for one."""
    golden = Golden(inputs={"text": [["a", element]]}, outputs={"again": [["a", "b"]]})
    with pytest.raises(GoldenError, match="the golden rows do not fit the manifest"):
        prove(Runtime(graph_of(ODD["echo"]), WHERE), manifest_of("echo", ODD["echo"]), golden)


def test_another_text_is_another_answer() -> None:
    """Both are shown."""
    golden = Golden(inputs={"text": [["a", "b"]]}, outputs={"again": [["a", "c"]]})
    with pytest.raises(GoldenError, match="output 'again' of golden row 0 is b where c is recorded"):
        prove(Runtime(graph_of(ODD["echo"]), WHERE), manifest_of("echo", ODD["echo"]), golden)
