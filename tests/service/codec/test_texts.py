"""Behaviour of service.codec.texts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from service.codec.tensors import Array
from service.codec.texts import from_bytes, from_one, to_bytes
from service.errors import BinaryError, ElementError, RequestError
from tests.service.codec.draws import arrays, same_bits

TEXTS = arrays("BYTES", hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))


@given(array=TEXTS)
@settings(deadline=None)
def test_texts_are_written_as_the_public_client_writes_them(array: Array) -> None:
    """And it reads what is written here; what it wrote is read back as it was."""
    written = to_bytes(array)
    assert written == serialize_byte_tensor(array).item()
    assert [text.decode() for text in deserialize_bytes_tensor(written)] == array.reshape(-1).tolist()
    assert same_bits(from_bytes(memoryview(written), array.shape, ""), array)


@given(array=TEXTS, cut=st.integers(0, 40), splice=st.binary(max_size=5))
@settings(deadline=None)
def test_other_bytes_are_refused_at_their_place(array: Array, cut: int, splice: bytes) -> None:
    """Damaged bytes are some other texts of as many elements, or a fault; never anything else."""
    written = to_bytes(array)
    damaged = written[:cut] + splice + written[cut + 1 :]
    try:
        read = from_bytes(memoryview(damaged), array.shape, "/here")
    except RequestError as error:
        assert [fault.pointer for fault in error.faults] == ["/here"]  # noqa: PT017  # either outcome is right
    else:
        assert to_bytes(read) == damaged


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", BinaryError, "8 or more, for the lengths of 2 elements"),
        (b"\1\0\0\0a\1\0\0\0", BinaryError, "10 or more, where element 1 ends"),
        (b"\1\0\0\0a\xff\xff\xff\xff", BinaryError, "where element 1 ends"),
        (b"\1\0\0\0a\1\0\0", BinaryError, "where element 1 ends"),
        (b"\0\0\0\0\0\0\0\0\0", BinaryError, "8, where the last of 2 elements ends"),
        (b"\1\0\0\0a\1\0\0\0\xff", ElementError, "element 1 has invalid start byte at its byte 0"),
    ],
)
def test_the_fault_says_where_the_bytes_go_wrong(content: bytes, kind: type[RequestError], words: str) -> None:
    """Missing, left over or no UTF-8."""
    with pytest.raises(kind, match=words):
        from_bytes(memoryview(content), (2,), "/inputs/0")


def test_more_elements_than_there_can_be_are_not_looked_for() -> None:
    """A shape of a size that nobody could send is refused by the lengths alone."""
    with pytest.raises(BinaryError):
        from_bytes(memoryview(bytes(8)), (2**40, 2**20), "")


def test_a_text_alone_is_its_bytes() -> None:
    """Without a length before it."""
    assert same_bits(from_one(memoryview("é☃".encode()), (1, 1), ""), np.array([["é☃"]], np.object_))
    with pytest.raises(ElementError, match="the text has invalid continuation byte at its byte 0"):
        from_one(memoryview(b"\xed\xa0\x80"), (), "")
