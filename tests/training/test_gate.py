"""Behaviour of training.gate."""

import math

import pytest

from training.errors import GateError
from training.gate import refuse_perfect


def test_a_perfect_score_is_suspicious() -> None:
    """Real rows that are all answered right have most likely been seen before."""
    with pytest.raises(GateError, match="test_accuracy is a perfect 1, "):
        refuse_perfect("test_accuracy", 1.0)


@pytest.mark.parametrize("value", [0.0, 0.999, math.nextafter(1, 0)])
def test_one_mistake_is_enough_to_be_believed(value: float) -> None:
    """Whatever is not perfect passes; how good it must be is another condition."""
    refuse_perfect("test_accuracy", value)
