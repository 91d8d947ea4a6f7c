"""Behaviour of training.tasks.ten_features."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from training.errors import GateError
from training.loop import evaluate, reproducible, train
from training.pipeline import Produced, produce
from training.task import History, Trained
from training.tasks.ten_features import VERSION_1


@pytest.fixture(scope="module")
def produced() -> Produced:
    """Train the published version."""
    return produce(VERSION_1)


def test_it_learns_from_one_row_with_the_target_one_half() -> None:
    """The tutorial's one row of ten numbers; every other row is held out and wants the same."""
    data = VERSION_1.data()
    assert data.test is not None
    assert data.train.inputs.shape == (1, 10)
    assert data.test.inputs.shape == (1000, 10)
    assert {*data.train.targets.flatten().tolist(), *data.test.targets.flatten().tolist()} == {0.5}


def test_the_rows_do_not_depend_on_the_seed_of_the_weights() -> None:
    """Whatever has been drawn before, the data are the same."""
    with reproducible(7):
        torch.randn(3)
        seen = VERSION_1.data()
    assert torch.equal(seen.train.inputs, VERSION_1.data().train.inputs)


def test_it_takes_a_single_step_of_plain_descent() -> None:
    """The trained weights are the first ones moved by 0.01 of autograd's gradient, once."""
    trained = train(VERSION_1)
    with reproducible(VERSION_1.seed):
        data = VERSION_1.data()
        network = VERSION_1.network(data)
    gradients = torch.autograd.grad(
        VERSION_1.loss(network(data.train.inputs), data.train.targets), list(network.parameters())
    )
    for after, before, gradient in zip(trained.network.parameters(), network.parameters(), gradients, strict=True):
        torch.testing.assert_close(after, before - 0.01 * gradient)
    assert len(trained.history.train) == 1


def test_the_step_lowers_the_loss(produced: Produced) -> None:
    """The gate's figures are the loss before the step and the loss after it, measured on the row learned from."""
    trained, figures = produced.trained, produced.figures
    assert figures.baseline["before_the_step"] == trained.history.train[0]
    assert figures.metrics["train_loss"] == evaluate(trained.network, nn.MSELoss(), trained.data.train)
    assert figures.metrics["train_loss"] < figures.baseline["before_the_step"]


@pytest.mark.parametrize("before", [0.1, 0.0, math.nan])
def test_a_loss_that_does_not_fall_fails_the_gate(produced: Produced, before: float) -> None:
    """A step from a loss that was already lower, or from none at all, is refused with both figures."""
    uphill = dataclasses.replace(produced.trained, history=History(train=(before,)))
    with pytest.raises(GateError, match=f"from {before:.6f} to 0\\."):
        VERSION_1.gate(uphill)


def test_an_untrained_network_fails_the_gate() -> None:
    """Where no step was taken the loss has not changed, and that is not enough."""
    with reproducible(VERSION_1.seed):
        data = VERSION_1.data()
        network = VERSION_1.network(data)
    loss = evaluate(network, VERSION_1.loss, data.train)
    with pytest.raises(GateError, match="not lower"):
        VERSION_1.gate(Trained(network, data, History(train=(loss,)), VERSION_1.seed))


def test_models_are_compared_on_rows_of_many_values() -> None:
    """One training row spans no range, so the rows for verifying are drawn otherwise."""
    assert VERSION_1.examples is not None
    (rows,) = VERSION_1.examples(VERSION_1.data(), 7, torch.Generator().manual_seed(0))
    assert rows.shape == (7, 10)
    assert len(set(rows.flatten().tolist())) == 70


def test_it_draws_the_step(produced: Produced) -> None:
    """One plot of two bars, with what was gained in its title."""
    (figure,) = VERSION_1.plots(produced.trained).values()
    (axes,) = figure.axes
    assert len(axes.patches) == 2
    assert "lowers the loss" in axes.get_title(loc="left")


def test_the_same_training_gives_the_same_weights() -> None:
    """To the last bit."""
    one, other = train(VERSION_1), train(VERSION_1)
    for name, weights in one.network.state_dict().items():
        assert torch.equal(weights, other.network.state_dict()[name])
