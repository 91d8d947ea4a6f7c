"""What an ONNX file says that onnxruntime does not tell: tensors without a shape, and other files with weights."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

# Numbers of fields in ONNX's own description of its files, onnx.proto.
_GRAPH = 7
_INPUT, _OUTPUT = 11, 12
_NAME, _TYPE = 1, 2
_TENSOR = 1
_SHAPE = 2
_KEY, _VALUE = 1, 2

_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {13: "entry"},
}
"""Which fields of each of its messages lead to weights, and to what."""

# How a field of protobuf says where it ends.
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10


def without_shape(file: Path) -> set[str]:
    """The inputs and outputs of a graph, in a file that onnxruntime has read, of which no shape is told.

    onnxruntime announces them as scalars, which they need not be.
    """
    with file.open("rb") as model:
        return set(_without_shape(model))


class _Place(NamedTuple):
    """A file in which a graph keeps weights."""

    name: str
    """As the graph has it."""
    is_inner: bool
    """Whether they are those of a branch, a loop or a function."""


def files_beside(file: Path) -> dict[str, Path]:
    """The files in which a graph keeps weights, by the names that it has for them: those below its own folder.

    There are none in a file that is no graph.
    """
    try:
        folder = os.path.realpath(file.parent)
        places = {place.name: file.parent / place.name for place in _places(file)}
        return {name: path for name, path in places.items() if Path(os.path.realpath(path)).is_relative_to(folder)}
    except (OSError, ValueError):
        return {}


def files_of_parts(file: Path) -> list[str]:
    """The names that a graph has for files with weights of a branch, a loop or a function; as of `files_beside`."""
    try:
        return sorted(place.name for place in _places(file) if place.is_inner)
    except (OSError, ValueError):
        return []


def _places(file: Path) -> frozenset[_Place]:
    stat = file.stat()
    return _remembered_places(file, (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@lru_cache(maxsize=1024)
def _remembered_places(file: Path, _state: tuple[int, ...]) -> frozenset[_Place]:
    """Those of a file in this state; the same is asked for again and again, and to walk a large graph takes a while."""
    with file.open("rb") as model:
        return frozenset(_places_in(model))


def _without_shape(model: BinaryIO) -> Iterator[str]:
    for graph in _fields(model, _whole(model), _GRAPH):
        for role in (_INPUT, _OUTPUT):
            for value in _fields(model, graph, role):
                tensors = [tensor for kind in _fields(model, value, _TYPE) for tensor in _fields(model, kind, _TENSOR)]
                if not any(True for tensor in tensors for _ in _fields(model, tensor, _SHAPE)):
                    yield from (_text(model, name) for name in _fields(model, value, _NAME))


def _places_in(model: BinaryIO) -> Iterator[_Place]:
    parts = [("model", _whole(model), False)]
    while parts:
        kind, within, is_inner = parts.pop()
        if kind == "entry":
            if [_text(model, key) for key in _fields(model, within, _KEY)] == ["location"]:
                yield from (_Place(_text(model, value), is_inner) for value in _fields(model, within, _VALUE))
            continue
        for number, part in _all_fields(model, within):
            inner = _PARTS[kind].get(number)
            if inner is not None:
                parts.append((inner, part, is_inner or inner == "function" or (kind, inner) == ("attribute", "graph")))


def _whole(model: BinaryIO) -> range:
    return range(os.fstat(model.fileno()).st_size)


def _text(model: BinaryIO, at: range) -> str:
    model.seek(at.start)
    return model.read(len(at)).decode()


def _fields(content: BinaryIO, within: range, wanted: int) -> Iterator[range]:
    """Where the fields with a number lie in a message; raises `ValueError`."""
    return (field for number, field in _all_fields(content, within) if number == wanted)


def _all_fields(content: BinaryIO, within: range) -> Iterator[tuple[int, range]]:
    """The numbers of a message's fields that have their own length before them, and where they lie.

    Raises `ValueError`.
    """
    at = within.start
    while at < within.stop:
        tag, at = _varint(content, at)
        number, ends = tag >> 3, tag & 7
        if ends == _LENGTH:
            length, at = _varint(content, at)
            if at + length > within.stop:
                raise ValueError("a field of an ONNX file is longer than what it is part of")
            yield number, range(at, at + length)
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
