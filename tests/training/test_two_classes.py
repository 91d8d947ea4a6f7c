"""Behaviour of training.two_classes."""

import torch

from training.task import Data, Split
from training.two_classes import accuracy, logistic_regression

LEFT, RIGHT = Split.of([[-2.0], [-1.0]], [0, 0]), Split.of([[1.0], [2.0]], [1, 1])
BOTH = Split.of([[-3.0], [3.0], [4.0]], [0, 1, 1])


def test_a_row_is_right_on_its_side_of_the_threshold() -> None:
    """One half itself is of the first class, as it is answered where the model is served."""
    probabilities = torch.tensor([[0.5], [0.51], [0.49], [1.0]])
    assert accuracy(probabilities, torch.tensor([[0.0], [1.0], [1.0], [1.0]])) == 0.75


def test_logistic_regression_learns_from_all_that_was_seen() -> None:
    """Each part alone has one class; from both it learns to tell the held-out rows apart."""
    probabilities = logistic_regression(Data(train=LEFT, validation=RIGHT, test=BOTH))
    assert probabilities.shape == (3, 1)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert accuracy(probabilities, BOTH.targets) == 1
