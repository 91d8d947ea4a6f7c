"""Behaviour of training.gate."""

import math

import pytest

from training.errors import GateError
from training.gate import refuse_too_good


@pytest.mark.parametrize("value", [0.95, 0.988, 1.0, math.inf])
def test_a_figure_beyond_what_data_allows_is_suspicious(value: float) -> None:
    """Rows that are all but answered right have most likely been seen before; the limit itself is too much."""
    with pytest.raises(GateError, match=rf"R² is {value:.4g}, and 0\.95 is already too good"):
        refuse_too_good("R²", value, 0.95)


@pytest.mark.parametrize("value", [-1.0, 0.0, math.nextafter(0.95, 0), math.nan])
def test_a_figure_below_it_is_believed(value: float) -> None:
    """How good it must be is another condition, which refuses what is no number too."""
    refuse_too_good("R²", value, 0.95)
