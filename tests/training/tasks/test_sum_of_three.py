"""Behaviour of training.tasks.sum_of_three."""

import dataclasses
import math

import pytest
import torch

from training.errors import GateError
from training.pipeline import Produced
from training.task import History
from training.tasks.sum_of_three import PUBLISHED_LOSS, VERSION_1


def test_the_rows_are_the_tutorials() -> None:
    """Three rows, each with its sum."""
    inputs, targets = VERSION_1.data().train
    assert inputs.tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert targets.tolist() == [[6], [9], [12]]


def test_the_recorded_seed_reaches_the_published_loss(sum_of_three: Produced) -> None:
    """After a hundred epochs the loss is at most what the tutorial prints, far below where it began."""
    losses = sum_of_three.trained.history.train
    assert len(losses) == 100
    assert losses[-1] <= PUBLISHED_LOSS < losses[0]


def test_one_and_two_and_three_make_about_six(sum_of_three: Produced) -> None:
    """The trained network adds the tutorial's own rows to within a half."""
    with torch.no_grad():
        assert sum_of_three.trained.network(torch.tensor([[1.0, 2.0, 3.0]])).item() == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize("loss", [0.1013, math.inf, math.nan])
def test_a_worse_loss_fails_the_gate(sum_of_three: Produced, loss: float) -> None:
    """A last loss above the published one, or none at all, is refused with both figures."""
    worse = dataclasses.replace(sum_of_three.trained, history=History(train=(0.05, loss)))
    with pytest.raises(GateError, match=f"{loss:.5f}.*{PUBLISHED_LOSS}"):
        VERSION_1.gate(worse)
