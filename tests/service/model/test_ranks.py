"""Behaviour of service.model.ranks."""

from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

from service.model.ranks import without_shape
from tests.service.conftest import ODD, SAMPLES, graph_of, sample_of


@pytest.mark.parametrize("name", [*SAMPLES, *ODD])
def test_a_graph_that_tells_its_shapes_has_none_without(name: str, tmp_path: Path) -> None:
    """Whatever else the file holds."""
    (tmp_path / "model.onnx").write_bytes(graph_of(sample_of(name)))
    assert without_shape(tmp_path / "model.onnx") == set()


def model(**shapes: list[int | str | None] | None) -> ModelProto:
    """A graph that copies tensors of these shapes; the copies have the shapes too."""
    names = {name: f"{name} copied" for name in shapes}
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [copy]) for name, copy in names.items()],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(names[name], TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        value_info=[helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_scalar_has_a_shape(tmp_path: Path) -> None:
    """One without any length; what has no shape has none to have lengths, and neither has a name beyond ASCII."""
    file = tmp_path / "model.onnx"
    file.write_bytes(model(scalar=[], vector=[None], table=["rows", 300], any=None, größe=None).SerializeToString())
    assert without_shape(file) == {"any", "any copied", "größe", "größe copied"}


def test_other_fields_are_passed_over(tmp_path: Path) -> None:
    """Of every kind that a file may have, also those that ONNX does not know."""
    content = model(any=None).SerializeToString()
    # Numbers 900 to 902, as they would lie there: eight bytes, four, and a large number.
    unknown = b"\xa1\x38" + bytes(8) + b"\xad\x38" + bytes(4) + b"\xb0\x38" + b"\xff" * 9 + b"\x01"
    (tmp_path / "model.onnx").write_bytes(unknown + content + unknown)
    assert without_shape(tmp_path / "model.onnx") == {"any", "any copied"}


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    """It never comes so far: onnxruntime reads it first."""
    (tmp_path / "model.onnx").write_bytes(b"\x07\x07")
    with pytest.raises(ValueError, match="no field of an ONNX file"):
        without_shape(tmp_path / "model.onnx")
