"""BYTES tensors as raw bytes: for each element its length, then its text in UTF-8."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import BinaryError, ElementError

MOST_TEXTS = 1_000_000
"""Texts of a tensor that comes in. Each takes time and memory of its own, be it empty, so that their bytes say little
of what they cost."""
_LENGTH = 4
"""Bytes of an element's length, a little-endian unsigned integer."""
_READ_LENGTH = struct.Struct("<I").unpack_from


def from_bytes(blob: memoryview, shape: Sequence[int], pointer: str) -> npt.NDArray[Any]:
    """The tensor of `str` elements that just fills `blob`; raises a `RequestError` at `pointer` where none does."""
    count = math.prod(shape)
    if len(blob) < count * _LENGTH:
        expected = f"{count * _LENGTH} or more, for the lengths of {count} elements"
        raise BinaryError.at(pointer, expected=expected, got=str(len(blob)))
    octets = bytes(blob)
    elements: list[str] = []
    begin = end = 0
    try:
        for index in range(count):
            begin = end + _LENGTH
            end = begin + _READ_LENGTH(octets, end)[0]
            if end > len(octets):
                raise _cut_off(pointer, end, index, len(octets))
            elements.append(octets[begin:end].decode())
    except struct.error:
        raise _cut_off(pointer, begin, len(elements), len(octets)) from None
    except UnicodeDecodeError as error:
        raise _not_utf8(error, pointer, f"element {len(elements)}") from None
    if end < len(blob):
        raise BinaryError.at(pointer, expected=f"{end}, where the last of {count} elements ends", got=str(len(blob)))
    return np.array(elements, np.object_).reshape(shape)


def from_one(blob: memoryview, shape: Sequence[int], pointer: str) -> npt.NDArray[Any]:
    """The tensor whose one element is the text that fills `blob`, without its length; raises at `pointer` likewise."""
    try:
        text = str(blob, "utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, pointer, "the text") from None
    return np.array([text], np.object_).reshape(shape)


def to_bytes(array: npt.NDArray[Any]) -> bytes:
    """The elements of a tensor of `str`, row-major."""
    parts: list[bytes] = []
    for element in array.reshape(-1).tolist():
        content = element.encode()
        parts += (len(content).to_bytes(_LENGTH, "little"), content)
    return b"".join(parts)


def _cut_off(pointer: str, end: int, index: int, length: int) -> BinaryError:
    return BinaryError.at(pointer, expected=f"{end} or more, where element {index} ends", got=str(length))


def _not_utf8(error: UnicodeDecodeError, pointer: str, what: str) -> ElementError:
    got = f"a tensor with others: {what} has {error.reason} at its byte {error.start}"
    return ElementError.at(pointer, expected="texts in UTF-8", got=got)
