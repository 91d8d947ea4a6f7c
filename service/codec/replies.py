"""How many bytes a reply will have, told before anything is computed."""

import math
from collections.abc import Sequence

from service.codec import tensors
from service.errors import ReplyTooLargeError
from service.manifest import VARIABLE, Datatype

MAX_REPLY = 64 << 20
"""Bytes of a reply. Numbers take several times as many as JSON as they take in memory, and all of them are written
at once."""
_JSON_BYTES = {bool: 6, int: 12, float: 20, str: 3}
"""About how many bytes an element takes in JSON, with its comma; of texts only what surrounds them is known."""
_LENGTH = 4
"""Bytes of the length that stands before a text in a raw tensor."""


def json_bytes(datatype: Datatype, shape: Sequence[int]) -> int:
    """About how many bytes a tensor has as JSON; 0 where its shape is not known."""
    return _count(shape) * _JSON_BYTES[tensors.element_type(datatype)]


def raw_bytes(datatype: Datatype, shape: Sequence[int]) -> int:
    """How many bytes a tensor has as raw bytes, texts without their content; 0 where its shape is not known."""
    return _count(shape) * (_LENGTH if datatype == "BYTES" else tensors.DTYPES[datatype].itemsize)


def too_large(pointer: str, rows: int, size: int, max_reply: int) -> ReplyTooLargeError:
    """The error of a request, for so many rows at `pointer`, whose reply would be of about so many bytes."""
    expected = f"few enough rows for a reply of {max_reply} bytes or fewer"
    got = f"{rows} row{'' if rows == 1 else 's'}, whose reply has about {size} bytes"
    return ReplyTooLargeError.at(pointer, expected=expected, got=got)


def _count(shape: Sequence[int]) -> int:
    return 0 if VARIABLE in shape else math.prod(shape)
