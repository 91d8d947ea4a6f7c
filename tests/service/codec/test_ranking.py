"""Behaviour of service.codec.ranking."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.codec.ranking import largest_columns


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, np.uint64])
@given(data=st.data(), rows=st.integers(1, 4), width=st.integers(1, 40), count=st.integers(1, 45))
@settings(deadline=None, max_examples=60)
def test_the_largest_are_those_of_a_whole_sort(
    dtype: type[Any], data: st.DataObject, rows: int, width: int, count: int
) -> None:
    """Of equal ones the first comes first, and NaN last, behind what is infinitely small."""
    if issubclass(dtype, np.floating):
        few: list[Any] = [0.0, -0.0, 0.5, 1.0, math.inf, -math.inf, math.nan]
    else:
        few = [0, 1, 2, int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)]
    cells = st.lists(st.sampled_from(few), min_size=width, max_size=width)
    table = data.draw(st.lists(cells, min_size=rows, max_size=rows))
    expected = [
        sorted(
            range(width),
            key=lambda column: (math.isnan(row[column]), -row[column] if row[column] == row[column] else 0),
        )
        for row in table
    ]
    ranked = largest_columns(np.array(table, dtype), count)
    assert ranked.tolist() == [columns[:count] for columns in expected]


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=5)
def test_a_large_table_is_ranked_row_by_row(seed: int) -> None:
    """In parts, and each row by itself."""
    table = np.random.default_rng(seed).integers(0, 50, (700, 1000)).astype(np.float32)
    whole = np.argsort(-table, axis=1, kind="stable")
    for count in (1, 5, 1000):
        assert np.array_equal(largest_columns(table, count), whole[:, :count])
