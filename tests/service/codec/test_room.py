"""Behaviour of service.codec.room."""

import numpy as np
import pytest

from service.codec.room import ALIGNMENT, joined, room_for


@pytest.mark.parametrize("json_length", range(ALIGNMENT + 1))
def test_raw_tensors_can_be_read_in_place(json_length: int) -> None:
    """Wherever they begin in a body, numbers of the largest kind lie there as the processor wants them."""
    room = room_for(json_length + 32, json_length)
    assert len(room) == json_length + 32
    assert np.frombuffer(room[json_length:], np.float64).flags.aligned


def test_a_body_in_parts_is_put_together() -> None:
    """In order, in whatever parts it comes, to be read only."""
    for parts in ([], [b"abc"], [b"a", b"", b"bc" * 5000]):
        body = joined(parts, 2)
        assert body == b"".join(parts)
        assert body.readonly
