"""What an ONNX file says that onnxruntime does not tell: tensors without a shape, and other files with weights."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Numbers of fields in ONNX's own description of its files, onnx.proto.
_GRAPH = 7
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_NAME, _TYPE = 1, 2
_TENSOR = 1
_SHAPE = 2
_EXTERNAL_DATA = 13
_KEY, _VALUE = 1, 2

# How a field of protobuf says where it ends.
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10


def without_shape(file: Path) -> set[str]:
    """The inputs and outputs of a graph, in a file that onnxruntime has read, of which no shape is told.

    onnxruntime announces them as scalars, which they need not be.
    """
    with file.open("rb") as model:
        return set(_without_shape(model))


def files_beside(file: Path) -> dict[str, Path]:
    """The files in which a graph keeps weights, by the names that it has for them: those below its own folder.

    There are none in a file that is no graph.
    """
    try:
        with file.open("rb") as model:
            names = sorted(set(_locations(model)))
        folder = os.path.realpath(file.parent)
        places = {name: file.parent / name for name in names}
        return {name: path for name, path in places.items() if Path(os.path.realpath(path)).is_relative_to(folder)}
    except (OSError, ValueError):
        return {}


def _without_shape(model: BinaryIO) -> Iterator[str]:
    for graph in _fields(model, _whole(model), _GRAPH):
        for role in (_INPUT, _OUTPUT):
            for value in _fields(model, graph, role):
                tensors = [tensor for kind in _fields(model, value, _TYPE) for tensor in _fields(model, kind, _TENSOR)]
                if not any(True for tensor in tensors for _ in _fields(model, tensor, _SHAPE)):
                    yield from (_text(model, name) for name in _fields(model, value, _NAME))


def _locations(model: BinaryIO) -> Iterator[str]:
    for graph in _fields(model, _whole(model), _GRAPH):
        for weight in _fields(model, graph, _INITIALIZER):
            for entry in _fields(model, weight, _EXTERNAL_DATA):
                if [_text(model, key) for key in _fields(model, entry, _KEY)] == ["location"]:
                    yield from (_text(model, value) for value in _fields(model, entry, _VALUE))


def _whole(model: BinaryIO) -> range:
    return range(os.fstat(model.fileno()).st_size)


def _text(model: BinaryIO, at: range) -> str:
    model.seek(at.start)
    return model.read(len(at)).decode()


def _fields(content: BinaryIO, within: range, wanted: int) -> Iterator[range]:
    """Where the fields with a number lie in a message; each has its own length before it. Raises `ValueError`."""
    at = within.start
    while at < within.stop:
        tag, at = _varint(content, at)
        number, ends = tag >> 3, tag & 7
        if ends == _LENGTH:
            length, at = _varint(content, at)
            if at + length > within.stop:
                raise ValueError("a field of an ONNX file is longer than what it is part of")
            if number == wanted:
                yield range(at, at + length)
            at += length
        elif ends == _VARINT:
            _, at = _varint(content, at)
        elif ends in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if ends == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"no field of an ONNX file ends as number {ends} says")


def _varint(content: BinaryIO, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    content.seek(at)
    number = 0
    for place, byte in enumerate(content.read(_LONGEST_VARINT)):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004  # the eighth bit says that there is more
            return number, at + place + 1
    raise ValueError("a number of an ONNX file does not end")
