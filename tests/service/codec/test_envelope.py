"""Behaviour of service.codec.envelope."""

import json

import msgspec
import pytest

from service.codec.envelope import take_apart
from service.errors import BinaryError, JsonError, StructureError

INPUT = {"name": "x", "shape": [1], "datatype": "INT8"}


def test_a_body_is_json_then_bytes() -> None:
    """Its header says where the one ends; without the header all is JSON."""
    text = json.dumps({"id": "7", "inputs": [INPUT]}).encode()
    for body, length, rest in ((text, None, b""), (text, len(text), b""), (text + b"ab", len(text), b"ab")):
        envelope, blobs = take_apart(body, length)
        assert (envelope.id, bytes(blobs)) == ("7", rest)
    with pytest.raises(JsonError):
        take_apart(text + b"ab", None)


@pytest.mark.parametrize("length", [-1, 1000])
def test_json_is_no_longer_than_the_body(length: int) -> None:
    """The header that says so is named."""
    with pytest.raises(BinaryError, match="Inference-Header-Content-Length"):
        take_apart(b"{}", length)


def test_parameters_that_are_not_known_cost_nothing() -> None:
    """They are skipped, whatever they hold, and the known ones are typed."""
    more = {"anything": [1, {}], "binary_data_size": 3, "timeout": 5}
    envelope = take_apart(json.dumps({"inputs": [INPUT | {"parameters": more}], "parameters": more}).encode(), None)[0]
    assert msgspec.to_builtins(envelope.parameters) == {"binary_data_output": None, "timeout": 5}
    assert envelope.inputs[0].parameters is not None
    assert envelope.inputs[0].parameters.binary_data_size == 3


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (b"[]", ""),
        (b"{}", ""),
        (b'{"inputs": [{}]}', "/inputs/0"),
        (b'{"inputs": [], "outputs": [{"name": 5}]}', "/outputs/0/name"),
        (b'{"inputs": [], "id": 5}', "/id"),
        (b'{"inputs": [], "parameters": {"timeout": -1}}', "/parameters/timeout"),
    ],
)
def test_another_structure_is_told_with_its_place(text: bytes, pointer: str) -> None:
    """A key that is missing or has the wrong type."""
    with pytest.raises(StructureError) as caught:
        take_apart(text, None)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
