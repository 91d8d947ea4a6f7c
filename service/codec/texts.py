"""BYTES tensors as raw bytes: for each element its length, then its text in UTF-8."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import BinaryError, ElementError

_LENGTH = 4
"""Bytes of an element's length, a little-endian unsigned integer."""


def from_bytes(blob: memoryview, shape: Sequence[int], pointer: str) -> npt.NDArray[Any]:
    """The tensor of `str` elements that just fills `blob`; raises a `RequestError` at `pointer` where none does."""
    count = math.prod(shape)
    if len(blob) < count * _LENGTH:
        expected = f"{count * _LENGTH} or more, for the lengths of {count} elements"
        raise BinaryError.at(pointer, expected=expected, got=str(len(blob)))
    elements: list[str] = []
    end = 0
    for index in range(count):
        begin = end + _LENGTH
        end = begin + int.from_bytes(blob[end:begin], "little")
        if end > len(blob):
            expected = f"{end} or more, where element {index} ends"
            raise BinaryError.at(pointer, expected=expected, got=str(len(blob)))
        elements.append(_to_text(blob[begin:end], pointer, f"element {index}"))
    if end < len(blob):
        raise BinaryError.at(pointer, expected=f"{end}, where the last of {count} elements ends", got=str(len(blob)))
    return np.array(elements, np.object_).reshape(shape)


def from_one(blob: memoryview, shape: Sequence[int], pointer: str) -> npt.NDArray[Any]:
    """The tensor whose one element is the text that fills `blob`, without its length; raises at `pointer` likewise."""
    return np.array([_to_text(blob, pointer, "the text")], np.object_).reshape(shape)


def to_bytes(array: npt.NDArray[Any]) -> bytes:
    """The elements of a tensor of `str`, row-major."""
    parts: list[bytes] = []
    for element in array.reshape(-1).tolist():
        content = element.encode()
        parts += (len(content).to_bytes(_LENGTH, "little"), content)
    return b"".join(parts)


def _to_text(content: memoryview, pointer: str, what: str) -> str:
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        got = f"a tensor with others: {what} has {error.reason} at its byte {error.start}"
        raise ElementError.at(pointer, expected="texts in UTF-8", got=got) from None
