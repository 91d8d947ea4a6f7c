"""Behaviour of training.tasks.binary_classifier."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import nn

from training.errors import GateError
from training.loop import train
from training.pipeline import Produced
from training.task import History, Task
from training.tasks.binary_classifier import VERSION_1, VERSION_2


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


def test_both_versions_are_tested_on_the_same_rows() -> None:
    """So that they can be compared; the rows version 2 watches are neither learned from nor tested on."""
    first, second = VERSION_1.data(), VERSION_2.data()
    assert first.test is not None
    assert second.test is not None
    assert second.validation is not None
    assert torch.equal(first.test.inputs, second.test.inputs)
    assert torch.equal(first.test.targets, second.test.targets)
    rows = [tuple(row) for part in (second.train, second.validation) for row in part.inputs.tolist()]
    assert len(rows) == len(set(rows)) == 800
    assert set(rows) == {tuple(row) for row in first.train.inputs.tolist()}


def test_version_2_is_as_good_as_logistic_regression() -> None:
    """Trained until its validation loss no longer falls, it beats version 1, with the straight line beside it."""
    trained = train(VERSION_2)
    assert len(trained.history.train) < VERSION_2.recipe.epochs
    figures = VERSION_2.gate(trained)
    assert figures.metrics["test_accuracy"] >= figures.baseline["logistic_regression"] - 0.01
    assert figures.baseline["logistic_regression"] == 0.855


def test_version_2_refuses_what_version_1_allows(binary_classifier: Produced) -> None:
    """Better than the majority class is not enough."""
    with pytest.raises(GateError, match=r"0\.660 of the test rows are right; logistic regression gets 0\.855"):
        VERSION_2.gate(binary_classifier.trained)


@pytest.mark.parametrize("task", [VERSION_1, VERSION_2])
def test_the_card_compares_with_logistic_regression(task: Task, binary_classifier: Produced) -> None:
    """Confusion matrix, ROC and calibration are there, the latter two with both models' curves."""
    figures = task.plots(binary_classifier.trained)
    assert set(figures) == {"confusion", "roc_and_calibration"}
    legend = figures["roc_and_calibration"].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text().split(":")[0] for text in legend.get_texts()] == ["network", "logistic regression"]
