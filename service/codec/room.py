"""The memory that a body is gathered in: one piece, its raw tensors where their numbers can be read in place."""

from collections.abc import Sequence

import numpy as np

ALIGNMENT = 16
"""At a multiple of so many bytes numbers of every datatype can be read."""


def room_for(length: int, json_length: int) -> memoryview:
    """Memory for a body of `length` bytes, of which the raw tensors begin at `json_length`; nothing is in it yet."""
    memory = np.empty(length + ALIGNMENT, np.uint8)
    start = -(memory.__array_interface__["data"][0] + json_length) % ALIGNMENT
    return memory.data[start : start + length]


def joined(parts: Sequence[bytes], json_length: int) -> memoryview:
    """The body that came in these parts, copied once."""
    room, size = room_for(sum(map(len, parts)), json_length), 0
    for part in parts:
        room[size : size + len(part)] = part
        size += len(part)
    return room.toreadonly()
