"""Behaviour of training.task."""

import torch

from training.task import Data, Split
from training.tasks import TASKS

ROWS = Split(torch.zeros(2, 1), torch.zeros(2, 1))
OTHER_ROWS = Split(torch.ones(2, 1), torch.ones(2, 1))


def test_the_test_rows_are_held_out() -> None:
    """Where a task has test rows, its figures come from them."""
    assert Data(train=ROWS, test=OTHER_ROWS).held_out is OTHER_ROWS


def test_without_test_rows_the_training_rows_stand_in() -> None:
    """A task of so few rows that it holds none out is judged by what it learned from."""
    assert Data(train=ROWS).held_out is ROWS


def test_a_title_names_the_version() -> None:
    """Two versions of one model can be told apart in a message."""
    assert TASKS["sum_of_three"][0].title == "sum_of_three version 1"
