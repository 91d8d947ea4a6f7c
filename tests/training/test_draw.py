"""Behaviour of training.draw."""

import pytest
import torch
from torch import Generator, Tensor

from service.manifest import TensorSpec
from training.draw import drawn, uniform


def seeded() -> Generator:
    """A source of chance that is always the same."""
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_floats_fill_the_range_of_their_column(dtype: torch.dtype) -> None:
    """They keep their type, stay within what the column spans, and come near its ends."""
    rows = torch.tensor([[0.0, -60_000.0], [1.0, 60_000.0], [0.5, 0.0]], dtype=dtype)
    inputs = uniform(rows, 500, seeded())
    assert (inputs.shape, inputs.dtype) == ((500, 2), dtype)
    for column, (least, most) in enumerate([(0, 1), (-60_000, 60_000)]):
        assert least <= inputs[:, column].min() < least + 0.05 * (most - least)
        assert most - 0.05 * (most - least) < inputs[:, column].max() <= most


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_all_else_is_a_value_of_its_column(dtype: torch.dtype) -> None:
    """An id that no row has may be none; every one that a row has comes up."""
    rows = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(dtype)
    many = torch.tensor([[2, 30], [9, 50]])
    assert uniform(rows, 20, seeded()).dtype == dtype
    drawn_ids = uniform(many, 50, seeded())
    assert [set(column.tolist()) for column in drawn_ids.T] == [{2, 9}, {30, 50}]


def shapes(source: TensorSpec, rows: Tensor) -> list[list[int]]:
    """Of the inputs that are drawn, two rows each."""
    return [list(inputs.shape) for inputs in drawn(source, rows, 2, seeded())]


def test_a_length_that_is_announced_is_kept() -> None:
    """Rows of one shape are drawn once, as `uniform` draws them."""
    rows = torch.rand(3, 4)
    (inputs,) = drawn(TensorSpec(name="x", datatype="FP32", shape=(-1, 4)), rows, 5, seeded())
    assert torch.equal(inputs, uniform(rows, 5, seeded()))


def test_every_open_length_is_varied() -> None:
    """One, that of the rows and a longer odd one, each with each of another open dimension."""
    one = TensorSpec(name="x", datatype="FP32", shape=(-1, -1, 2))
    assert shapes(one, torch.rand(3, 6, 2)) == [[2, 1, 2], [2, 6, 2], [2, 7, 2]]
    two = TensorSpec(name="x", datatype="FP32", shape=(-1, -1, -1))
    assert shapes(two, torch.rand(3, 6, 3)) == [[2, length, width] for length in (1, 6, 7) for width in (1, 3, 5)]


def test_ids_of_a_vocabulary_can_be_any_of_it() -> None:
    """Also those that the rows do not hold."""
    words = tuple(map(str, range(10)))
    source = TensorSpec(name="ids", datatype="INT64", shape=(-1, 3), vocabulary=words)
    (inputs,) = drawn(source, torch.zeros(2, 3, dtype=torch.int64), 100, seeded())
    assert (inputs.dtype, set(inputs.flatten().tolist())) == (torch.int64, set(range(10)))
