"""Behaviour of service.model.graph_file."""

from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

from service.model.graph_file import files_beside, files_of_parts, without_shape
from tests.service.conftest import ODD, SAMPLES, graph_of, parted, sample_of, save, tabled


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


def test_weights_beside_a_graph_are_found(tmp_path: Path) -> None:
    """By the name that the graph has for their file, there or not; a graph that keeps its own has none."""
    file = tabled(tmp_path, 1.0)
    assert files_beside(file) == {"table.bin": tmp_path / "table.bin"}
    (tmp_path / "table.bin").unlink()
    assert files_beside(file) == {"table.bin": tmp_path / "table.bin"}
    assert files_beside(save(tmp_path, "line.onnx", "line")) == {}


@pytest.mark.parametrize("part", ["constant", "branch", "function"])
def test_weights_of_a_part_are_found(part: str, tmp_path: Path) -> None:
    """A constant of the graph is like any weight of it, those of a branch or a function are not."""
    file = parted(tmp_path, part)
    assert files_beside(file) == {"table.bin": tmp_path / "table.bin"}
    assert files_of_parts(file) == ([] if part == "constant" else ["table.bin"])
    assert files_of_parts(tabled(tmp_path, 1.0)) == files_of_parts(tmp_path / "none.onnx") == []


@pytest.mark.parametrize("name", [b"../an.bin", b"/any/file", b"link.bin.", b"nul\0.bin.", b"\xff" * 9])
def test_no_file_elsewhere_is_one_beside(name: bytes, tmp_path: Path) -> None:
    """Wherever a graph says that its weights lie, itself or by a link."""
    (tmp_path / "link.bin.").symlink_to("/etc/hosts")
    file = tabled(tmp_path, 1.0)
    # As long as the one before, for its length stands before it.
    file.write_bytes(file.read_bytes().replace(b"table.bin", name))
    assert files_beside(file) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x07\x07",
        b"\xff" * 100,
        b"\x3a\x04\x2a\x70",
        # The key of an entry for a weight, each of them longer than any file.
        b"".join(field + b"\xff" * 9 + b"\x7f" for field in (b"\x3a", b"\x2a", b"\x6a", b"\x0a")),
    ],
)
def test_what_is_no_graph_has_no_files_beside(content: bytes, tmp_path: Path) -> None:
    """Nor has a file that is not there."""
    file = tmp_path / "model.onnx"
    assert files_beside(file) == {}
    file.write_bytes(content)
    assert files_beside(file) == {}
