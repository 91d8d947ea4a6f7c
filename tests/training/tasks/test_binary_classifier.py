"""Behaviour of training.tasks.binary_classifier."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import nn

from training.errors import GateError
from training.pipeline import Produced
from training.task import History
from training.tasks.binary_classifier import VERSION_1


class Constant(nn.Module):
    """Answers every row with one probability."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Ignore what the rows are."""
        return torch.full((len(points), 1), self.probability)


def test_a_fifth_of_the_rows_is_held_out() -> None:
    """800 rows to learn from, 200 others to be tested on."""
    data = VERSION_1.data()
    assert data.test is not None
    assert (len(data.train.inputs), len(data.test.inputs)) == (800, 200)
    assert not {tuple(row) for row in data.train.inputs.tolist()} & {tuple(row) for row in data.test.inputs.tolist()}


def test_the_loss_falls_every_epoch(binary_classifier: Produced) -> None:
    """The recorded seed learns in each of the five epochs."""
    losses = binary_classifier.trained.history.train
    assert len(losses) == 5
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_it_beats_the_majority_class(binary_classifier: Produced) -> None:
    """On rows it has not seen, the network is right more often than the best constant answer."""
    figures = binary_classifier.figures
    assert figures.metrics["test_accuracy"] > figures.baseline["majority_class"] >= 0.5


def test_answers_are_probabilities(binary_classifier: Produced) -> None:
    """The sigmoid is part of the network, however far a row lies from what it has seen."""
    with torch.no_grad():
        answers = binary_classifier.trained.network(torch.linspace(-1e3, 1e3, 60).reshape(3, 20))
    assert ((answers >= 0) & (answers <= 1)).all()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_constant_answer_fails_the_gate(binary_classifier: Produced, probability: float) -> None:
    """A network that always names one class is no better than the baseline, whichever class it is."""
    constant = dataclasses.replace(binary_classifier.trained, network=Constant(probability))
    with pytest.raises(GateError, match="of the test rows are right"):
        VERSION_1.gate(constant)


def test_a_loss_that_stands_still_fails_the_gate(binary_classifier: Produced) -> None:
    """One epoch without progress is enough to refuse."""
    stuck = dataclasses.replace(binary_classifier.trained, history=History(train=(0.7, 0.6, 0.6)))
    with pytest.raises(GateError, match=r"0\.7000, 0\.6000, 0\.6000"):
        VERSION_1.gate(stuck)
