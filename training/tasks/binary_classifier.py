"""A network that tells two classes of synthetic points apart, after five epochs and then after enough of them."""

import dataclasses
from itertools import pairwise

import torch
from matplotlib.figure import Figure
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn

from service.manifest import Feature, TensorSpec
from training import plots
from training.errors import GateError
from training.task import Data, Figures, Recipe, Split, Task, Trained
from training.two_classes import THRESHOLD, accuracy, logistic_regression

FEATURES = 20
LABELS = ("negative", "positive")
MARGIN = 0.01
"""How much less accurate than logistic regression version 2 may be: two of the test rows."""


def _data() -> Data:
    """800 training rows, 200 test rows: (rows, 20) features, (rows, 1) classes 0.0 or 1.0."""
    points, classes = make_classification(n_samples=1000, n_features=FEATURES, n_classes=2, random_state=42)
    train_points, test_points, train_classes, test_classes = train_test_split(
        points, classes, test_size=0.2, random_state=42
    )
    test = Split.of(test_points, test_classes)
    # The tutorial chooses nothing by looking at the held-out rows, so watching their loss spoils no figure.
    return Data(train=Split.of(train_points, train_classes), validation=test, test=test)


def _watched_data() -> Data:
    """The same test rows; of the others a fifth decides when to stop, and is not learned from."""
    data = _data()
    points, watched_points, classes, watched_classes = train_test_split(
        *(part.numpy() for part in data.train), test_size=0.2, random_state=42
    )
    watched = Split.of(watched_points, watched_classes[:, 0])
    return dataclasses.replace(data, train=Split.of(points, classes[:, 0]), validation=watched)


def _network(_: Data) -> nn.Module:
    """(rows, 20) → (rows, 1): ten rectified sums, then one squeezed into a probability."""
    return nn.Sequential(nn.Linear(FEATURES, 10), nn.ReLU(), nn.Linear(10, 1), nn.Sigmoid())


def _beats_a_constant(trained: Trained) -> Figures:
    """Set the accuracy on the test rows beside that of always answering their more frequent class."""
    points, classes = trained.data.held_out
    with torch.no_grad():
        reached = accuracy(trained.network(points), classes)
    positive = accuracy(torch.ones_like(classes), classes)
    majority = max(positive, 1 - positive)
    losses = trained.history.train
    if not all(later < earlier for earlier, later in pairwise(losses)):
        raise GateError(f"the training loss does not fall every epoch: {', '.join(f'{x:.4f}' for x in losses)}")
    if not reached > majority:
        raise GateError(f"{reached:.3f} of the test rows are right; always answering one class gets {majority:.3f}")
    return Figures(
        metrics={"test_accuracy": reached, "train_loss": losses[-1]},
        baseline={"majority_class": majority},
    )


def _matches_a_straight_line(trained: Trained) -> Figures:
    """Set the accuracy on the test rows beside that of logistic regression, which draws a plane between the classes."""
    points, classes = trained.data.held_out
    with torch.no_grad():
        reached = accuracy(trained.network(points), classes)
    linear = accuracy(logistic_regression(trained.data), classes)
    if not reached >= linear - MARGIN:
        raise GateError(f"{reached:.3f} of the test rows are right; logistic regression gets {linear:.3f}")
    return Figures(
        metrics={"test_accuracy": reached, "validation_loss": trained.history.best},
        baseline={"logistic_regression": linear},
    )


def _plots(trained: Trained) -> dict[str, Figure]:
    points, classes = trained.data.held_out
    with torch.no_grad():
        probabilities = trained.network(points)
    return {
        "confusion": plots.confusion(classes, probabilities > THRESHOLD, LABELS),
        "roc_and_calibration": plots.roc_and_calibration(
            classes, {"network": probabilities, "logistic regression": logistic_regression(trained.data)}
        ),
    }


VERSION_1 = Task(
    name="binary_classifier",
    version=1,
    kind="binary_classification",
    description="Which of two classes a point with twenty features belongs to, after only five epochs.",
    source="Introductory PyTorch tutorial: a binary classifier with one hidden layer",
    dataset="scikit-learn's make_classification(n_samples=1000, n_features=20, n_classes=2, "
    "random_state=42), a fifth of it held out by train_test_split(test_size=0.2, random_state=42)",
    data=_data,
    network=_network,
    loss=nn.BCELoss(),
    recipe=Recipe(optimiser="Adam", learning_rate=0.001, epochs=5, batch_size=64),
    # The first of 0, 1, 2, … that passes the gate.
    seed=0,
    input=TensorSpec(
        name="features",
        datatype="FP32",
        shape=(-1, FEATURES),
        features=tuple(
            Feature(name=f"feature_{column}", description=f"Column {column} of the synthetic points.")
            for column in range(FEATURES)
        ),
    ),
    output=TensorSpec(
        name="probability",
        datatype="FP32",
        shape=(-1, 1),
        description="How likely the point is to be positive.",
        labels=LABELS,
    ),
    condition="The training loss falls every epoch; the test accuracy is above the majority class's share.",
    gate=_beats_a_constant,
    plots=_plots,
)

VERSION_2 = dataclasses.replace(
    VERSION_1,
    version=2,
    description="Which of two classes a point with twenty features belongs to, trained until it learns no more.",
    source="The network of version 1, made to generalise",
    dataset=f"{VERSION_1.dataset}; of the rest, a fifth (split the same way) is watched to know when to stop",
    data=_watched_data,
    recipe=Recipe(optimiser="Adam", learning_rate=0.01, epochs=200, batch_size=64, annealed=True, patience=20),
    seed=0,
    condition=f"The test accuracy is at least logistic regression's on the same rows, minus {MARGIN}.",
    gate=_matches_a_straight_line,
)
