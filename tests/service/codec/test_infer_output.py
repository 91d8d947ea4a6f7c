"""Behaviour of service.codec.infer_output."""

import json
import math
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.codec.envelope import take_apart
from service.codec.infer_output import OutputReader, Wanted, largest_classes
from service.codec.oip import InferCodec, InferRequest
from service.codec.tensors import DTYPES, Array, Inputs, numbers_of
from service.errors import UnsupportedError
from service.manifest import VARIABLE, Batching, Datatype, ModelManifest, TensorSpec
from tests.service.codec.draws import DATATYPES, arrays

NUMBERS = [name for name in DATATYPES if name not in ("BOOL", "BYTES")]


def spec_of(datatype: Datatype, *shape: int, labels: tuple[str, ...] | None = None) -> TensorSpec:
    """An output."""
    return TensorSpec(name="y", datatype=datatype, shape=shape, labels=labels)


def manifest_of(*outputs: TensorSpec, batching: Batching = "rows") -> ModelManifest:
    """A model with these outputs."""
    shape = (VARIABLE,) if batching == "rows" else ()
    inputs = (TensorSpec(name="x", datatype="FP32", shape=shape),)
    return ModelManifest(name="m", version=1, kind="tensors", batching=batching, inputs=inputs, outputs=outputs)


def wanted(manifest: ModelManifest, *outputs: dict[str, Any]) -> tuple[Wanted, ...]:
    """What a request for these outputs wants."""
    return OutputReader(manifest).read(take_apart(json.dumps({"inputs": [], "outputs": outputs}).encode(), None)[0])


@given(data=st.data(), datatype=st.sampled_from(NUMBERS), count=st.integers(1, 6))
@settings(deadline=None)
def test_the_largest_come_first_with_their_exact_numbers(data: st.DataObject, datatype: Datatype, count: int) -> None:
    """As many as are asked for or as there are; of equal ones the first, and NaN last."""
    array: Array = data.draw(arrays(datatype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4), finite=False))
    named = largest_classes(spec_of(datatype, VARIABLE, VARIABLE), array, count, rows=True)
    assert named.shape == (len(array), min(count, array.shape[1]))
    for row, texts in zip(numbers_of(datatype, array), named.tolist(), strict=True):
        ranks = [(not math.isnan(value), value) for value in row]
        # `sorted` is stable, backwards too.
        order = sorted(range(len(row)), key=ranks.__getitem__, reverse=True)[:count]
        assert [int(text.split(":")[1]) for text in texts] == order
        read = np.array([row.dtype.type(text.split(":")[0]) for text in texts])
        assert np.array_equal(read, row[order], equal_nan=row.dtype.kind == "f")


def test_a_class_is_its_value_its_index_and_its_label() -> None:
    """The label only where there is one; a single probability is that of the second label."""
    row = np.array([[0.1, 0.7, 0.7]], np.float32)
    assert largest_classes(spec_of("FP32", VARIABLE, 3), row, 3, rows=True).tolist() == [["0.7:1", "0.7:2", "0.1:0"]]
    labelled = spec_of("FP32", VARIABLE, 3, labels=("a", "b:c", "d"))
    assert largest_classes(labelled, row, 2, rows=True).tolist() == [["0.7:1:b:c", "0.7:2:d"]]
    probability = spec_of("FP32", VARIABLE, 1, labels=("no", "yes"))
    assert largest_classes(probability, row[:, :1], 2, rows=True).tolist() == [["0.1:0:yes"]]


def test_without_a_batch_the_classes_are_a_list() -> None:
    """A graph's own dimensions of one do not count."""
    manifest = manifest_of(spec_of("INT8", 1, 3), batching="none")
    assert wanted(manifest, {"name": "y", "parameters": {"classification": 2}}) == (Wanted(0, binary=False, classes=2),)
    named = largest_classes(manifest.outputs[0], np.array([[-128, 5, 6]], np.int8), 2, rows=False)
    assert named.tolist() == ["6:2", "5:1"]


@pytest.mark.parametrize(
    ("spec", "batching"),
    [
        (spec_of("BYTES", VARIABLE, 2), "rows"),
        (spec_of("BOOL", VARIABLE, 2), "rows"),
        (spec_of("FP32", VARIABLE), "rows"),
        (spec_of("FP32", VARIABLE, 2, 2), "rows"),
        (spec_of("FP32"), "none"),
        (spec_of("FP32", 2, 3), "none"),
        (spec_of("FP32", VARIABLE, VARIABLE), "none"),
    ],
)
def test_classes_need_a_list_of_numbers(spec: TensorSpec, batching: Batching) -> None:
    """What holds no numbers, or not in one list, is refused at the parameter."""
    with pytest.raises(UnsupportedError, match="one list of numbers a row") as caught:
        wanted(manifest_of(spec, batching=batching), {"name": "y", "parameters": {"classification": 1}})
    assert [fault.pointer for fault in caught.value.faults] == ["/outputs/0/parameters/classification"]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("datatype", ["FP32", "BF16"])
def test_the_public_client_asks_for_classes_and_reads_them(datatype: Datatype, *, raw: bool) -> None:
    """As texts, in JSON or as bytes."""
    manifest = manifest_of(spec_of(datatype, VARIABLE, 3, labels=("a", "b", "c")))
    asked = triton.InferRequestedOutput("y", binary_data=raw, class_count=2)
    body, length = triton.InferenceServerClient.generate_request_body(
        [triton.InferInput("x", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))], outputs=[asked]
    )
    codec = InferCodec(manifest, 4)
    request = codec.decode(body, length)
    assert request.wanted == (Wanted(0, raw, 2),)
    singles = np.array([[0.25, 2.0, 0.5]], np.float32)
    array = (singles.view(np.uint32) >> 16).astype(DTYPES["BF16"]) if datatype == "BF16" else singles
    answer, length = codec.encode(request, [array])
    result = triton.InferenceServerClient.parse_response_body(answer, header_length=length)
    assert result.get_output("y")["datatype"] == "BYTES"
    texts = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("y").reshape(-1)]
    assert (result.as_numpy("y").shape, texts) == ((1, 2), ["2.0:1:b", "0.5:2:c"])


def test_all_outputs_can_come_as_bytes() -> None:
    """Whatever they are."""
    manifest = manifest_of(spec_of("BF16", VARIABLE))
    assert OutputReader(manifest).every_raw() == (Wanted(0, binary=True),)
    assert InferRequest(Inputs((), 1), ()).timeout is None
