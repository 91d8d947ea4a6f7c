"""Behaviour of service.codec.infer_input."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.codec.envelope import Input, InputParameters
from service.codec.infer_input import InputReader
from service.codec.tensors import to_bytes
from service.errors import BinaryError, ElementError, RequestError, ShapeError, UnsupportedError
from service.manifest import VARIABLE, Datatype, TensorSpec
from tests.service.codec.draws import DATATYPES, arrays, same_bits

MAX_ROWS = 8


def reader_of(datatype: Datatype, *shape: int, rows: bool = True) -> InputReader:
    """The reader of an input of a model with or without a batch."""
    return InputReader(TensorSpec(name="x", datatype=datatype, shape=shape), MAX_ROWS if rows else None)


@given(data=st.data(), datatype=st.sampled_from([name for name in DATATYPES if name != "BYTES"]))
@settings(deadline=None)
def test_a_body_alone_is_the_array_whose_bytes_it_is(data: st.DataObject, datatype: Datatype) -> None:
    """Of a variable number of rows, of one row of variable length, or of a graph's own shape."""
    shape = data.draw(st.sampled_from([(3, 2), (1, 4), (1, 1)]))
    array = data.draw(arrays(datatype, shape))
    body = bytes(to_bytes(array))
    assert same_bits(reader_of(datatype, VARIABLE, shape[1]).read_alone(body), array)
    assert same_bits(reader_of(datatype, *shape, rows=False).read_alone(body), array)
    assert same_bits(reader_of(datatype, shape[0], VARIABLE, rows=False).read_alone(body), array)
    flat = array.reshape(1, -1)
    assert same_bits(reader_of(datatype, VARIABLE, VARIABLE).read_alone(body), flat)


@given(text=st.text())
def test_a_text_alone_is_one_element(text: str) -> None:
    """Without its length before it, where the shape holds just one."""
    for reader, shape in (
        (reader_of("BYTES", VARIABLE, 1), (1, 1)),
        (reader_of("BYTES", VARIABLE, VARIABLE), (1, 1)),
        (reader_of("BYTES", rows=False), ()),
    ):
        array = reader.read_alone(text.encode())
        assert (array.shape, array.reshape(-1).tolist()) == (shape, [text])


@pytest.mark.parametrize(
    ("reader", "body", "kind"),
    [
        (reader_of("FP32", VARIABLE, 2), b"", BinaryError),
        (reader_of("FP32", VARIABLE, 2), bytes(12), BinaryError),
        (reader_of("FP32", VARIABLE, 2), bytes(8 * (MAX_ROWS + 1)), BinaryError),
        (reader_of("FP32", 2, rows=False), bytes(16), BinaryError),
        (reader_of("FP32", rows=False), b"", BinaryError),
        (reader_of("FP32", VARIABLE, VARIABLE), b"", BinaryError),
        (reader_of("FP32", VARIABLE, VARIABLE, VARIABLE), bytes(8), UnsupportedError),
        (reader_of("FP32", VARIABLE, VARIABLE, rows=False), bytes(8), UnsupportedError),
        (reader_of("FP32", VARIABLE), np.float32(math.nan).tobytes(), ElementError),
        (reader_of("BOOL", VARIABLE), b"\2", ElementError),
        (reader_of("BYTES", VARIABLE, 2), b"ab", UnsupportedError),
        (reader_of("BYTES", VARIABLE), b"\xff", ElementError),
    ],
)
def test_a_body_alone_that_is_no_tensor_is_refused(reader: InputReader, body: bytes, kind: type[RequestError]) -> None:
    """Of another size, of a shape that its size does not tell, or of other values; it is the body that is wrong."""
    with pytest.raises(kind) as caught:
        reader.read_alone(body)
    assert [fault.pointer for fault in caught.value.faults] == [""]


def test_an_input_is_read_from_json_or_from_its_bytes() -> None:
    """Whichever it brings."""
    reader = reader_of("INT8", VARIABLE, 2)
    listed = Input("x", [1, 2], "INT8", data=msgspec.Raw(b"[5, 6.0]"))
    raw = Input("x", [1, 2], "INT8", parameters=InputParameters(binary_data_size=2))
    assert reader.read(listed, memoryview(b""), "").tolist() == [[5, 6]]
    assert reader.read(raw, memoryview(b"\5\6"), "").tolist() == [[5, 6]]


def test_an_open_dimension_is_said_by_the_request() -> None:
    """The model's own sign for it is no length."""
    given_input = Input("x", [1, VARIABLE], "INT8", data=msgspec.Raw(b"[1, 2]"))
    with pytest.raises(ShapeError) as caught:
        reader_of("INT8", VARIABLE, VARIABLE).read(given_input, memoryview(b""), "")
    assert [(fault.pointer, fault.expected) for fault in caught.value.faults] == [("/shape/1", "1 or more")]


@pytest.mark.parametrize("rows", [True, False])
def test_dimensions_are_the_models(*, rows: bool) -> None:
    """An open one is at least 1; the batch has a most, and where there is none, no dimension has."""
    reader = reader_of("INT8", VARIABLE, 1, rows=rows)
    for length in (-1, 0, MAX_ROWS + 1):
        given_input = Input("x", [length, 1], "INT8", data=msgspec.Raw(b"[" + b",".join([b"1"] * length) + b"]"))
        if not rows and length > 0:
            assert reader.read(given_input, memoryview(b""), "").shape == (length, 1)
            continue
        with pytest.raises(ShapeError) as caught:
            reader.read(given_input, memoryview(b""), "/inputs/0")
        assert [fault.pointer for fault in caught.value.faults] == ["/inputs/0/shape/0"]
