"""What networks that tell two classes apart are measured by."""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from training.task import Data

THRESHOLD = 0.5
"""Above this probability a row counts as of the second class, here as where the model is served."""


def accuracy(probabilities: Tensor, classes: Tensor) -> float:
    """Count the share of rows that are on the right side of the threshold: (rows, 1), and (rows, 1) of 0.0 and 1.0."""
    right = (probabilities > THRESHOLD) == (classes == 1)
    return int(right.sum()) / len(right)


def logistic_regression(data: Data) -> Tensor:
    """Give the held-out rows their probabilities, (rows, 1), by a model that knows only one straight cut.

    It learns from every row that a network saw in any way.
    """
    points, classes = data.seen
    model = LogisticRegression().fit(points.numpy(), classes[:, 0].numpy())
    return torch.from_numpy(model.predict_proba(data.held_out.inputs.numpy())[:, 1:])
