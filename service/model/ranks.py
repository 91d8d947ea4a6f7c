"""Which tensors of an ONNX file have no shape: onnxruntime announces them as scalars, which they need not be."""

import mmap
from collections.abc import Iterator
from pathlib import Path

# Numbers of fields in ONNX's own description of its files, onnx.proto.
_GRAPH = 7
_INPUT, _OUTPUT = 11, 12
_NAME, _TYPE = 1, 2
_TENSOR = 1
_SHAPE = 2

# How a field of protobuf says where it ends.
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def without_shape(file: Path) -> set[str]:
    """The inputs and outputs of a graph, in a file that onnxruntime has read, of which no shape is told."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return set(_without_shape(content))


def _without_shape(model: mmap.mmap) -> Iterator[str]:
    whole = range(len(model))
    for graph in _fields(model, whole, _GRAPH):
        for role in (_INPUT, _OUTPUT):
            for value in _fields(model, graph, role):
                tensors = [tensor for kind in _fields(model, value, _TYPE) for tensor in _fields(model, kind, _TENSOR)]
                if not any(True for tensor in tensors for _ in _fields(model, tensor, _SHAPE)):
                    yield from (model[name.start : name.stop].decode() for name in _fields(model, value, _NAME))


def _fields(content: mmap.mmap, within: range, wanted: int) -> Iterator[range]:
    """Where the fields with a number lie in a message; each has its own length before it."""
    at = within.start
    while at < within.stop:
        tag, at = _varint(content, at)
        number, ends = tag >> 3, tag & 7
        if ends == _LENGTH:
            length, at = _varint(content, at)
            if number == wanted:
                yield range(at, at + length)
            at += length
        elif ends == _VARINT:
            _, at = _varint(content, at)
        elif ends in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if ends == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"no field of an ONNX file ends as number {ends} says")


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  # the eighth bit says that there is more
            return number, at
