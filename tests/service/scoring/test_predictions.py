"""Behaviour of service.scoring.predictions."""

import json
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.codec.tensors import DTYPES, Array, labels_of
from service.codec.words import WordsCodec
from service.errors import ComputeError, ScoreError
from service.manifest import Datatype, ModelManifest, TensorSpec
from service.scoring.predictions import columns_of, fields_of, refuse_twins
from tests.service.codec.draws import JSON_DATATYPES, arrays
from tests.service.conftest import manifest_of, sample_of, tensor

WORDS = ("<unknown>", "the", "value", "of", "a", "list", "is")
NEXT = ModelManifest(
    schema=1,
    name="next",
    version=1,
    kind="next_word",
    inputs=(TensorSpec(name="context", datatype="INT64", shape=(-1, -1), vocabulary=WORDS),),
    outputs=(TensorSpec(name="probability", datatype="FP32", shape=(-1, len(WORDS))),),
)


def made(*outputs: TensorSpec) -> ModelManifest:
    """The manifest of a model with these outputs."""
    inputs = (tensor("x", "FP32", 1),)
    return ModelManifest(schema=1, name="made", version=1, kind="tensors", inputs=inputs, outputs=outputs)


def batch_of(manifest: ModelManifest, *outputs: Array) -> pa.RecordBatch:
    """The outputs as rows."""
    batch = pa.RecordBatch.from_arrays(columns_of(manifest, outputs), schema=fields_of(manifest))
    batch.validate(full=True)
    return batch


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ([tensor("value", "FP32", 1)], ["value: float"]),
        ([tensor("value", "FP32")], ["value: float"]),
        ([tensor("half", "FP16", 2), tensor("n", "INT64", 1)], ["half_0: halffloat", "half_1: halffloat", "n: int64"]),
        ([tensor("p", "FP32", 1, labels=("no", "yes"))], ["p: float", "label: string"]),
        ([tensor("p", "FP64", 2, labels=("a", "b"))], ["p_a: double", "p_b: double", "label: string"]),
        (
            [tensor("p", "FP32", 1, labels=("no", "yes")), tensor("q", "FP32", 1, labels=("no", "yes"))],
            ["p: float", "p_label: string", "q: float", "q_label: string"],
        ),
        ([tensor("flag", "BOOL", 1), tensor("text", "BYTES", 1)], ["flag: bool", "text: string"]),
        ([tensor("image", "UINT8", 2, 3)], ["image: list<item: list<item: uint8>>"]),
        ([tensor("one", "FP32", 1, 1)], ["one: list<item: list<item: float>>"]),
        ([tensor("free", "BYTES", -1)], ["free: list<item: string>"]),
    ],
)
def test_names_and_types_are_those_of_the_manifest(outputs: list[TensorSpec], names: list[str]) -> None:
    """Known before anything is computed."""
    assert [f"{field.name}: {field.type}" for field in fields_of(made(*outputs))] == names


def test_two_columns_of_one_name_are_told() -> None:
    """A file could not tell them apart."""
    with pytest.raises(ScoreError, match="made gives two columns 'y_1', which a file cannot tell apart"):
        fields_of(made(tensor("y_1", "FP32", 1), tensor("y", "FP32", 2)))
    with pytest.raises(ScoreError, match="it has two columns 'b'"):
        refuse_twins(["a", "b", "c", "b"], "it has")
    refuse_twins(["a", "b"], "it has")


@given(
    data=st.data(),
    datatype=st.sampled_from(JSON_DATATYPES),
    row_shape=st.sampled_from([(), (1,), (3,), (2, 3), (-1,), (-1, 2)]),
)
def test_every_value_is_kept(data: st.DataObject, datatype: Datatype, row_shape: tuple[int, ...]) -> None:
    """To the bit, in its row and place, in the model's own type."""
    shape = (data.draw(st.integers(1, 4)), *(2 if length == -1 else length for length in row_shape))
    array = data.draw(arrays(datatype, shape, finite=False))
    batch = batch_of(made(tensor("y", datatype, *row_shape)), array)
    if len(row_shape) <= 1 and -1 not in row_shape:
        found = [[row[name] for name in batch.schema.names] for row in batch.to_pylist()]
        flat: list[Any] = array.reshape(len(array), -1).tolist()
    else:
        found, flat = batch.column(0).to_pylist(), array.tolist()
    if DTYPES[datatype].kind == "f":
        assert np.array(found, array.dtype).tobytes() == np.array(flat, array.dtype).tobytes()
    else:
        assert found == flat


@given(
    array=hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5), elements=st.floats(width=32)
    )
)
def test_labels_are_those_of_http(array: Array) -> None:
    """Of the largest column, or of a single probability; also where numbers are none."""
    width = array.shape[1]
    spec = tensor("y", "FP32", width, labels=("no", "yes") if width == 1 else tuple("abcde"[:width]))
    column = batch_of(made(spec), array).column("label")
    assert column.type == pa.string()
    assert column.to_pylist() == labels_of(spec, array)


@given(
    probabilities=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.just(len(WORDS))), elements=st.floats(0, 1, width=32)
    )
)
def test_next_words_are_those_of_http(probabilities: Array) -> None:
    """The same words with the same probabilities, in the same order."""
    codec = WordsCodec(NEXT, 8)
    body = json.dumps({"instances": [{"context": ["the"]}] * len(probabilities)}).encode()
    reply = msgspec.json.decode(codec.encode(codec.decode(body), [(probabilities,)]))
    (column,) = columns_of(NEXT, [probabilities])
    assert fields_of(NEXT).field("next").type == column.type
    assert column.to_pylist() == [prediction["next"] for prediction in reply["predictions"]]
    assert fields_of(NEXT).field("unknown").type == pa.list_(pa.int32())


@pytest.mark.parametrize("shape", [(2, 2), (2,), (2, 3, 1)])
def test_an_output_of_another_shape_is_told(shape: tuple[int, ...]) -> None:
    """What the manifest says is what the columns are."""
    with pytest.raises(ComputeError, match="output 'y' has shape "):
        columns_of(made(tensor("y", "FP32", 3)), [np.zeros(shape, np.float32)])


def test_outputs_stand_in_the_manifests_order() -> None:
    """Each followed by its label."""
    manifest = manifest_of("pair", sample_of("pair"))
    batch = batch_of(manifest, np.array([[1, 2]], np.float32), np.array([[3]]))
    assert batch.to_pylist() == [{"half_0": 1.0, "half_1": 2.0, "twice": 3}]
