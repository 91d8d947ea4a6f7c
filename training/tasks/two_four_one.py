"""A network of two inputs, four nodes and one output, with the activation that suits its data best."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import torch
from matplotlib.figure import Figure
from sklearn.datasets import make_moons
from torch import Tensor, nn

from service.manifest import Feature, TensorSpec
from training import plots
from training.errors import GateError
from training.loop import train
from training.task import Data, Figures, OnEpoch, Recipe, Split, Task, Trained
from training.two_classes import accuracy, logistic_regression

MARGIN = 0.05
"""How much more accurate than logistic regression the network has to be."""
ROWS, WATCHED_ROWS, HELD_OUT_ROWS = 100, 200, 1_000
NOISE = 0.2
PLOTTED_ROWS = 300
"""Held-out rows that the plotted plane shows: all would hide the rows that were learned from."""


class Sine(nn.Module):
    """The sine of each value."""

    def forward(self, sums: Tensor) -> Tensor:
        """Keep the shape."""
        return torch.sin(sums)


class Cosine(nn.Module):
    """The cosine of each value."""

    def forward(self, sums: Tensor) -> Tensor:
        """Keep the shape."""
        return torch.cos(sums)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "sine": Sine, "cosine": Cosine}


def _data() -> Data:
    """Points on two interleaving half-moons, (rows, 2), with their moons 0.0 or 1.0, (rows, 1).

    There are few to learn from, so that the network can overfit; and many held out, so that one sees it.
    """
    parts = [ROWS, WATCHED_ROWS, HELD_OUT_ROWS]
    # The points come in random order.
    points, moons = Split.of(*make_moons(sum(parts), noise=NOISE, random_state=42))
    return Data(*map(Split, torch.split(points, parts), torch.split(moons, parts)))


def _network(_: Data, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """(rows, 2) → (rows, 1): four sums, each bent by the activation, then one squeezed into a probability."""
    return nn.Sequential(nn.Linear(2, 4), activation(), nn.Linear(4, 1), nn.Sigmoid())


def _fit(task: Task, on_epoch: OnEpoch) -> Trained:
    """Train with each activation, which gets an equal part of the recipe's starts; the validation loss chooses."""
    starts = math.ceil(task.recipe.starts / len(ACTIVATIONS))
    candidates: dict[str, Trained] = {}
    for place, (name, activation) in enumerate(ACTIVATIONS.items()):
        earlier = place * starts
        candidate = dataclasses.replace(
            task,
            network=partial(_network, activation=activation),
            recipe=dataclasses.replace(task.recipe, starts=starts),
            seed=task.seed + earlier,
        )
        candidates[name] = train(candidate, _counted_on(on_epoch, earlier * task.recipe.epochs))
    best = min(candidates.values(), key=lambda candidate: candidate.history.best)
    return dataclasses.replace(best, candidates=candidates)


def _counted_on(on_epoch: OnEpoch, earlier: int) -> OnEpoch:
    return lambda epoch, loss: on_epoch(earlier + epoch, loss)


def _gate(trained: Trained) -> Figures:
    """Set the accuracy on the test rows beside logistic regression's, which can draw only a straight line."""
    data = trained.data
    reached = _accuracy(trained.network, data.held_out)
    linear = _linear_accuracy(data)
    # Written so that rounding decides nothing: both are counts of the same rows.
    if round((reached - linear) * len(data.held_out.inputs)) < MARGIN * len(data.held_out.inputs):
        raise GateError(f"{reached:.3f} of the test rows are right; logistic regression gets {linear:.3f}")
    train_accuracy = _accuracy(trained.network, data.train)
    return Figures(
        metrics={
            "test_accuracy": reached,
            "train_accuracy": train_accuracy,
            "train_test_gap": train_accuracy - reached,
            **{f"validation_loss_{name}": each.history.best for name, each in trained.candidates.items()},
        },
        baseline={"logistic_regression": linear},
    )


def _accuracy(network: nn.Module, rows: Split) -> float:
    with torch.no_grad():
        return accuracy(network(rows.inputs), rows.targets)


def _linear_accuracy(data: Data) -> float:
    return accuracy(logistic_regression(data), data.held_out.targets)


def _plots(trained: Trained) -> dict[str, Figure]:
    data = trained.data
    held_out = Split(*(column[:PLOTTED_ROWS] for column in data.held_out))
    return {
        "decision_surface": plots.decision_surface(
            trained.network,
            {"training": data.train, "held out": held_out},
            names=("x", "y"),
            labels=("upper moon", "lower moon"),
        ),
        "overfitting": _plot_overfitting(trained),
    }


@plots.styled()
def _plot_overfitting(trained: Trained) -> Figure:
    """Draw each activation's accuracy on the rows it learned from and on the held-out ones, with the gap between."""
    data = trained.data
    figure = Figure(figsize=plots.WIDE)
    axes = figure.subplots()
    names = []
    for place, (name, candidate) in enumerate(trained.candidates.items()):
        seen, unseen = _accuracy(candidate.network, data.train), _accuracy(candidate.network, data.held_out)
        axes.plot([unseen, seen], [place, place], color=plots.GREY, linewidth=2.5, zorder=1)
        axes.scatter(seen, place, s=70, color=plots.BLUE, label=None if place else f"{ROWS} training rows")
        axes.scatter(unseen, place, s=70, color=plots.ORANGE, label=None if place else f"{HELD_OUT_ROWS:,} held out")
        axes.text((seen + unseen) / 2, place - 0.12, f"{100 * (seen - unseen):.1f} points", ha="center", va="bottom")
        chosen = " (chosen)" if candidate.network is trained.network else ""
        names.append(f"{name}{chosen}\nvalidation loss {candidate.history.best:.4f}")
    axes.axvline(_linear_accuracy(data), color=plots.RED, linestyle="--", linewidth=1.3, label="logistic regression")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set(title="Better on what it has seen: overfitting", xlabel="share of rows that are right")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


VERSION_1 = Task(
    name="two_four_one",
    version=1,
    kind="binary_classification",
    description="Which of two interleaving half-moons a point lies on.",
    source="Introductory PyTorch tutorial: the figure of a network of 2, 4 and 1 nodes, and the three activations "
    "it names; it gives no data and no numbers",
    dataset=f"scikit-learn's make_moons({ROWS + WATCHED_ROWS + HELD_OUT_ROWS}, noise={NOISE}, random_state=42): the "
    f"first {ROWS} points train, {WATCHED_ROWS} decide when to stop and which activation, the last "
    f"{HELD_OUT_ROWS:,} are held out",
    data=_data,
    network=_network,
    loss=nn.BCELoss(),
    # Eight starts for each of the three activations.
    recipe=Recipe(optimiser="Adam", learning_rate=0.05, epochs=400, annealed=True, patience=100, starts=24),
    # The first of those starts; validation chooses.
    seed=0,
    fit=_fit,
    input=TensorSpec(
        name="point",
        datatype="FP32",
        shape=(-1, 2),
        features=(
            Feature(name="x", description="How far to the right the point lies."),
            Feature(name="y", description="How far up the point lies."),
        ),
    ),
    output=TensorSpec(
        name="probability",
        datatype="FP32",
        shape=(-1, 1),
        description="How likely the point is to lie on the lower moon.",
        labels=("upper", "lower"),
    ),
    condition=f"Accuracy on the test rows is at least {100 * MARGIN:g} points above logistic regression's (learned "
    "from training and validation rows).",
    gate=_gate,
    plots=_plots,
)
