"""Behaviour of service.codec.replies."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.codec import tensors
from service.codec.replies import json_bytes, raw_bytes, too_large
from service.manifest import Datatype

FLOATS = hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 8)), elements=st.floats(-1, 1, width=32))


@given(array=FLOATS)
def test_a_tensor_of_numbers_has_about_as_many_bytes_as_told(array: tensors.Array) -> None:
    """As JSON not more by much than is told, since what is told decides what is refused."""
    actual = len(msgspec.json.encode(array.reshape(-1).tolist()))
    assert actual <= 1.3 * json_bytes("FP32", array.shape) + 2


@pytest.mark.parametrize(
    ("datatype", "size"), [("FP32", 4), ("BOOL", 1), ("BF16", 2), ("INT64", 8), ("FP16", 2), ("BYTES", 4)]
)
def test_raw_bytes_are_counted_exactly(datatype: Datatype, size: int) -> None:
    """An element has the bytes of its datatype; of a text only its length is known."""
    assert raw_bytes(datatype, (3, 5)) == 15 * size


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_nothing_is_told_of_a_shape_that_is_not_known(datatype: Datatype) -> None:
    """A free length may be anything, so nothing is refused for it."""
    assert (json_bytes(datatype, (3, -1)), raw_bytes(datatype, (3, -1))) == (0, 0)


def test_a_reply_that_is_too_large_is_told_with_the_bound() -> None:
    """Whoever asks learns how many bytes may come back, and about how many would."""
    (fault,) = too_large("/inputs/0/shape/0", 1, 500, 100).faults
    assert fault.pointer == "/inputs/0/shape/0"
    assert "100 bytes" in fault.expected
    assert fault.got == "1 row, whose reply has about 500 bytes"
