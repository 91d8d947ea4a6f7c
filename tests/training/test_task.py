"""Behaviour of training.task."""

import math

import numpy as np
import pytest
import torch

from training.task import Data, History, Split, best_place
from training.tasks import TASKS

ROWS = Split(torch.zeros(2, 1), torch.zeros(2, 1))
OTHER_ROWS = Split(torch.ones(2, 1), torch.ones(2, 1))


def test_the_test_rows_are_held_out() -> None:
    """Where a task has test rows, its figures come from them."""
    assert Data(train=ROWS, test=OTHER_ROWS).held_out is OTHER_ROWS


def test_without_test_rows_the_training_rows_stand_in() -> None:
    """A task of so few rows that it holds none out is judged by what it learned from."""
    assert Data(train=ROWS).held_out is ROWS


def test_a_baseline_may_see_what_the_network_saw() -> None:
    """The rows to learn from and those to watch, in this order; never the held-out ones, though they be watched."""
    assert Data(train=ROWS).seen is ROWS
    assert Data(train=ROWS, validation=OTHER_ROWS, test=OTHER_ROWS).seen is ROWS
    inputs, targets = Data(train=ROWS, validation=OTHER_ROWS, test=ROWS).seen
    assert inputs.tolist() == targets.tolist() == [[0], [0], [1], [1]]


def test_arrays_become_a_column_of_targets() -> None:
    """Numbers of any kind are taken to float32, one target a row."""
    inputs, targets = Split.of(np.array([[1, 2], [3, 4]]), [5.0, 6.0])
    assert inputs.dtype == targets.dtype == torch.float32
    assert (inputs.tolist(), targets.tolist()) == ([[1, 2], [3, 4]], [[5], [6]])


def test_a_title_names_the_version() -> None:
    """Two versions of one model can be told apart in a message."""
    assert TASKS["sum_of_three"][0].title == "sum_of_three version 1"


@pytest.mark.parametrize("losses", [(math.nan, 0.5, 2.0), (0.5, math.nan, 0.5), (2.0, 0.5, math.nan)])
def test_a_loss_that_is_no_number_is_never_the_best(losses: tuple[float, ...]) -> None:
    """Wherever it stands among others; alone it is worse than all."""
    assert History(train=(1.0,), validation=losses).best == 0.5
    assert best_place(losses) == losses.index(0.5)
    assert History(train=(1.0, math.nan)).best == History(train=(1.0,), validation=(math.nan,)).best == math.inf
