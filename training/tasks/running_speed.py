"""A network whose back-propagation is written out by hand, in the steps of the mathematics.

For rows X and wanted speeds T, both scaled, the network computes

    A = X W1        (rows, 3)   what the hidden nodes add up
    H = s(A)        (rows, 3)   what they pass on
    B = H W2        (rows, 1)   what the output node adds up
    Y = s(B)        (rows, 1)   the scaled speed

with the sigmoid s(z) = 1 / (1 + exp(-z)), whose slope is s'(z) = s(z) (1 - s(z)), and is judged by

    L = ½ Σ (Y - T)²

The chain rule goes through this backwards. Each line takes the slope of L before it one operation further:

    ∂L/∂Y  = Y - T                      the square's 2 and the ½ cancel out
    ∂L/∂B  = ∂L/∂Y ∘ Y ∘ (1 - Y)        through the sigmoid, element by element (∘)
    ∂L/∂W2 = Hᵀ ∂L/∂B                   each weight by what came in through it, summed over the rows
    ∂L/∂H  = ∂L/∂B W2ᵀ                  each hidden node by the weight on its way out
    ∂L/∂A  = ∂L/∂H ∘ H ∘ (1 - H)        through the hidden sigmoid
    ∂L/∂W1 = Xᵀ ∂L/∂A                   as for W2

A step of gradient descent then moves each weight against its gradient: W ← W - rate · ∂L/∂W.
"""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.func import functional_call

from service.manifest import Feature, TensorSpec
from training import plots
from training.errors import GateError
from training.loop import reproducible
from training.task import ALLOWED, Data, Figures, History, OnEpoch, Recipe, Split, Task, Trained

COLUMNS, HIDDEN_NODES = 2, 3
FASTEST = 100.0
"""Miles per hour that the network's 1 stands for."""
LARGEST_ERROR = 0.005
"""Mean squared error of the scaled speeds that a finished network may have."""
GRADIENT_TOLERANCE = 1e-6
GRID = 80
"""Points along each side of the plotted plane."""


class Gradients(NamedTuple):
    """How the loss changes with each weight: shaped as the weights are."""

    hidden_weights: Tensor
    output_weights: Tensor


class SpeedNetwork(nn.Module):
    """Takes (rows, 2) of age and weight to (rows, 1) of miles per hour.

    `maxima`, (2,), is what each column is divided by. The weights are drawn from a standard normal; there are no
    biases. No autograd runs here, so the weights are buffers: saved with the network, but nothing that PyTorch trains.
    """

    maxima: Tensor
    hidden_weights: Tensor
    output_weights: Tensor

    def __init__(self, maxima: Tensor) -> None:
        super().__init__()
        self.register_buffer("maxima", maxima)
        self.register_buffer("hidden_weights", torch.randn(COLUMNS, HIDDEN_NODES))
        self.register_buffer("output_weights", torch.randn(HIDDEN_NODES, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute Y from the raw columns, and turn it into miles per hour."""
        hidden = torch.sigmoid(inputs / self.maxima @ self.hidden_weights)
        return FASTEST * torch.sigmoid(hidden @ self.output_weights)

    def gradients(self, inputs: Tensor, targets: Tensor) -> Gradients:
        """Take the slope of the loss back through the network, as the head of this file derives it."""
        scaled = inputs / self.maxima
        hidden = torch.sigmoid(scaled @ self.hidden_weights)
        output = torch.sigmoid(hidden @ self.output_weights)

        by_output = output - targets / FASTEST
        by_output_sum = by_output * output * (1 - output)
        by_output_weights = hidden.T @ by_output_sum
        by_hidden = by_output_sum @ self.output_weights.T
        by_hidden_sum = by_hidden * hidden * (1 - hidden)
        by_hidden_weights = scaled.T @ by_hidden_sum
        return Gradients(by_hidden_weights, by_output_weights)

    def descend(self, gradients: Gradients, rate: float) -> None:
        """Move the weights one step against their gradients."""
        self.hidden_weights -= rate * gradients.hidden_weights
        self.output_weights -= rate * gradients.output_weights

    def extra_repr(self) -> str:
        """Name the layers where the network is printed."""
        return f"{COLUMNS} → {HIDDEN_NODES} sigmoid → 1 sigmoid"


class HalfSquaredError(nn.Module):
    """L: half the summed squared error of scaled speeds, from speeds in miles per hour."""

    def forward(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Compare (rows, 1) with (rows, 1); the answer is a scalar."""
        return ((answers - targets) / FASTEST).square().sum() / 2


def autograd(network: SpeedNetwork, inputs: Tensor, targets: Tensor) -> Gradients:
    """Let PyTorch differentiate the same network, to check the hand-written gradients by."""
    weights = {name: getattr(network, name).clone().requires_grad_() for name in Gradients._fields}
    loss = HalfSquaredError()(functional_call(network, weights, (inputs,)), targets)
    return Gradients(*torch.autograd.grad(loss, list(weights.values())))


def _data() -> Data:
    """Three rows, (3, 2) to (3, 1); nothing is held out."""
    return Data(
        train=Split(torch.tensor([[2.0, 9.0], [1.0, 5.0], [3.0, 6.0]]), torch.tensor([[92.0], [100.0], [89.0]]))
    )


def _network(data: Data) -> SpeedNetwork:
    return SpeedNetwork(data.train.inputs.amax(dim=0))


def _fit(task: Task, on_epoch: OnEpoch) -> Trained:
    """Take a step with all rows in each epoch; the losses are those that the steps found, as in the shared loop."""
    with reproducible(task.seed):
        data = task.data()
        network = _network(data)
        losses: list[float] = []
        for epoch in range(1, task.recipe.epochs + 1):
            losses.append(task.loss(network(data.train.inputs), data.train.targets).item())
            network.descend(network.gradients(*data.train), task.recipe.learning_rate)
            on_epoch(epoch, losses[-1])
    network.eval()
    return Trained(network, data, History(tuple(losses)), task.seed)


def _gate(trained: Trained) -> Figures:
    """Measure the finished network's error on its three rows, and its gradients against autograd's."""
    inputs, targets = trained.data.train
    error = _mean_squared_error(trained.network(inputs), targets)
    # Written so that an error which is no number fails too.
    if not error <= LARGEST_ERROR:
        raise GateError(f"the mean squared error is {error:.5f} after the last step; allowed is {LARGEST_ERROR}")
    difference = _gradient_difference(trained)
    if not difference <= GRADIENT_TOLERANCE:
        raise GateError(f"a gradient differs from autograd's by {difference:.2g}; allowed is {GRADIENT_TOLERANCE:g}")
    return Figures(
        metrics={
            "mean_squared_error": error,
            "gradient_difference": difference,
            # Beside the error, and not what it has to beat: the recipe does not get there.
            "mean_squared_error_of_the_mean": _mean_squared_error(targets.mean(), targets),
        },
        baseline={ALLOWED: LARGEST_ERROR},
    )


def _mean_squared_error(answers: Tensor, targets: Tensor) -> float:
    return ((answers - targets) / FASTEST).square().mean().item()


def _gradient_difference(trained: Trained) -> float:
    network = trained.network
    if not isinstance(network, SpeedNetwork):
        raise TypeError(f"{type(network).__name__} has no gradients written by hand")
    by_hand, by_autograd = network.gradients(*trained.data.train), autograd(network, *trained.data.train)
    return max((one - other).abs().max().item() for one, other in zip(by_hand, by_autograd, strict=True))


@plots.styled()
def _plot_plane(trained: Trained) -> dict[str, Figure]:
    """Draw what the network answers for ages and weights around the three it knows."""
    inputs, targets = trained.data.train
    ages, weights = torch.linspace(0, 4, GRID), torch.linspace(0, 10, GRID)
    plane = torch.cartesian_prod(weights, ages).flip(1)
    speeds = trained.network(plane).reshape(GRID, GRID)
    figure = Figure(figsize=plots.WIDE)
    axes = figure.subplots()
    axes.grid(visible=False)
    image = axes.contourf(ages.numpy(), weights.numpy(), speeds.numpy(), levels=20, cmap=plots.BLUES)
    axes.scatter(inputs[:, 0], inputs[:, 1], s=45, color=plots.ORANGE, edgecolors="white", zorder=3)
    for (age, weight), target, answer in zip(inputs, targets, trained.network(inputs), strict=True):
        axes.annotate(
            f"{target.item():.0f} wanted, {answer.item():.1f} answered",
            (age.item(), weight.item()),
            xytext=(0, -16),
            textcoords="offset points",
            ha="center",
            bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )
    axes.set(title="What it makes of three rows", xlabel="age", ylabel="weight")
    figure.colorbar(image, label="miles per hour").outline.set_visible(False)
    return {"speeds": figure}


VERSION_1 = Task(
    name="running_speed",
    version=1,
    kind="regression",
    description="How fast somebody of an age and a weight runs, learned from three examples by gradients worked out "
    "by hand. That they are right is the point: after these steps the network is no closer to the three speeds than "
    "their mean is, and the 100 mph of one of them no sigmoid can quite answer.",
    source="Introductory PyTorch tutorial: a network from scratch, with back-propagation by hand",
    dataset="The tutorial's three rows of age and weight: (2, 9) → 92 mph, (1, 5) → 100 mph, (3, 6) → 89 mph",
    data=_data,
    network=_network,
    loss=HalfSquaredError(),
    recipe=Recipe(optimiser="SGD", learning_rate=1.0, epochs=1000),
    # The first of 0, 1, 2, … that passes the gate.
    seed=0,
    fit=_fit,
    input=TensorSpec(
        name="features",
        datatype="FP32",
        shape=(-1, COLUMNS),
        features=(
            Feature(name="age", description="Age of the runner; the tutorial names no unit."),
            Feature(name="weight", description="Weight of the runner; the tutorial names no unit."),
        ),
    ),
    output=TensorSpec(name="speed", datatype="FP32", shape=(-1, 1), description="Running speed in miles per hour."),
    condition=f"After the last step the mean squared error of the speeds, in units of {FASTEST:g} mph, is at most "
    f"{LARGEST_ERROR}; every gradient written by hand equals autograd's to {GRADIENT_TOLERANCE:g}.",
    gate=_gate,
    plots=_plot_plane,
)
