"""Behaviour of training.loss."""

import math

import pytest
import torch
from torch import nn

from training.loss import CrossEntropy


def test_the_loss_is_the_mean_of_the_logarithms() -> None:
    """Of the probabilities that the right classes were given, and of no others."""
    loss = CrossEntropy()(torch.tensor([[0.5, 0.5], [0.25, 0.75]]), torch.tensor([0, 0]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_it_is_pytorchs_own_after_the_softmax() -> None:
    """On what comes out of the softmax it gives what PyTorch's gives on what goes in, with the same gradient."""
    scores = torch.randn(6, 10, requires_grad=True)
    digits = torch.tensor([0, 1, 2, 7, 8, 9])
    ours, theirs = CrossEntropy()(scores.softmax(dim=1), digits), nn.CrossEntropyLoss()(scores, digits)
    assert ours.item() == pytest.approx(theirs.item())
    our_gradient, their_gradient = (torch.autograd.grad(loss, scores)[0] for loss in (ours, theirs))
    assert torch.allclose(our_gradient, their_gradient, atol=1e-6)


def test_the_loss_stays_finite() -> None:
    """A right class whose probability is rounded to zero costs much, and its gradient is a number."""
    scores = torch.tensor([[0.0, 1000.0]], requires_grad=True)
    loss = CrossEntropy()(scores.softmax(dim=1), torch.tensor([0]))
    loss.backward()
    assert 80 < loss.item() < 100
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
