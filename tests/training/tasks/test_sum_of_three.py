"""Behaviour of training.tasks.sum_of_three."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from training.errors import GateError
from training.pipeline import Produced
from training.task import Data, History, Split, Trained
from training.tasks.sum_of_three import (
    HELD_OUT_ROWS,
    LARGEST_ERROR,
    LIMIT,
    PUBLISHED_LOSS,
    STARTS_REACHING,
    STARTS_SHOWN,
    VERSION_1,
    VERSION_2,
    final_losses,
)


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


def adder(bias: float) -> Trained:
    """Give a network that adds, and is off by so much."""
    network = nn.Linear(3, 1)
    nn.init.ones_(network.weight)
    nn.init.constant_(network.bias, bias)
    return Trained(network.eval(), VERSION_2.data(), History((1.0,), (1.0,)), seed=0)


def test_any_three_numbers_are_drawn_once_and_for_all() -> None:
    """Every start sees the same triples, from the whole range; none of them is in two parts."""
    torch.manual_seed(1)
    data, again = VERSION_2.data(), VERSION_2.data()
    assert data.validation is not None
    assert data.test is not None
    parts = [data.train, data.validation, data.test]
    assert torch.equal(data.train.inputs, again.train.inputs)
    assert len(data.test.inputs) == HELD_OUT_ROWS
    rows = [tuple(row) for part in parts for row in part.inputs.tolist()]
    assert len(set(rows)) == len(rows)
    for part in parts:
        assert -LIMIT <= part.inputs.min() < -0.99 * LIMIT
        assert 0.99 * LIMIT < part.inputs.max() <= LIMIT
        assert torch.equal(part.targets, part.inputs.sum(dim=1, keepdim=True))


def test_version_2_gate_is_the_largest_error() -> None:
    """A network that is off by no more passes, with version 1's largest error beside it; one by more does not."""
    figures = VERSION_2.gate(adder(0.9 * LARGEST_ERROR))
    assert figures.metrics["largest_error"] == pytest.approx(0.9 * LARGEST_ERROR, rel=1e-3)
    assert figures.metrics["mean_error"] == pytest.approx(0.9 * LARGEST_ERROR, rel=1e-3)
    assert figures.baseline["allowed"] == LARGEST_ERROR
    assert figures.baseline["version_1"] > 1
    for bias in (1.1 * LARGEST_ERROR, -1.1 * LARGEST_ERROR, math.nan):
        with pytest.raises(GateError, match=r"one of 10,000 held-out sums is off by .*; allowed is 0\.05"):
            VERSION_2.gate(adder(bias))


def test_one_wrong_sum_is_enough() -> None:
    """The gate looks at the worst row, not at the mean."""
    good = adder(0.0)
    assert good.data.test is not None
    targets = good.data.test.targets.clone()
    targets[7] += 1
    wrong = Data(good.data.train, good.data.validation, Split(good.data.test.inputs, targets))
    with pytest.raises(GateError, match=r"off by 1\.0"):
        VERSION_2.gate(dataclasses.replace(good, data=wrong))


def test_reaching_the_published_loss_is_luck(sum_of_three: Produced) -> None:
    """From other seeds the same training ends elsewhere; the recorded one is the first that gets there."""
    finals = final_losses(STARTS_SHOWN)
    reaching = [seed for seed, final in enumerate(finals) if final <= PUBLISHED_LOSS]
    assert (reaching[0], len(reaching)) == (VERSION_1.seed, STARTS_REACHING)
    assert finals[VERSION_1.seed] == sum_of_three.trained.history.train[-1]
    assert "the first, counted from 0," in VERSION_1.source
    assert f"as {len(reaching)} of the first {len(finals)} do" in VERSION_1.source
