"""What a training task is: a frozen description of everything that decides its model."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Generator, Tensor, nn

from service.manifest import Kind, TensorSpec


class Split(NamedTuple):
    """Rows of one part of the data: row i of `targets` is the answer wanted for row i of `inputs`."""

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, inputs: ArrayLike, targets: ArrayLike) -> "Split":
        """Take inputs, (rows, columns), and one number a row, (rows,), to FP32: targets become (rows, 1)."""
        return cls(torch.as_tensor(inputs, dtype=torch.float32), torch.as_tensor(targets, dtype=torch.float32)[:, None])


@dataclass(frozen=True)
class Data:
    """The rows of a task: those it learns from, and where it has them, those it is watched and tested on."""

    train: Split
    validation: Split | None = None
    """Watched while training; its loss is measured after every epoch."""
    test: Split | None = None
    """Held out until the network is finished."""

    @property
    def held_out(self) -> Split:
        """The test rows; of a task that holds nothing out, the training rows."""
        return self.test or self.train

    @property
    def seen(self) -> Split:
        """All rows that a network sees in any way before it is tested: what a baseline may learn from too."""
        if self.validation is None or self.validation is self.test:
            return self.train
        return Split(*map(torch.cat, zip(self.train, self.validation, strict=True)))


@dataclass(frozen=True)
class Recipe:
    """How the weights are searched for."""

    optimiser: Literal["SGD", "Adam"]
    learning_rate: float
    epochs: int
    batch_size: int | None = None
    """Rows a step looks at, drawn in a new order each epoch; None is all of them at once, in their order."""
    weight_decay: float = 0.0
    annealed: bool = False
    """Whether the learning rate falls to zero over the epochs, along half a cosine."""
    patience: int | None = None
    """Epochs without a better validation loss after which it stops; the weights are then those of the best epoch."""
    starts: int = 1
    """Networks trained one after the other, from the task's seed and the ones after it; validation chooses."""

    @property
    def most_epochs(self) -> int:
        """Epochs of all starts, if none of them stops early."""
        return self.starts * self.epochs


def rank(loss: float) -> float:
    """The loss to compare by: one that is no number, which compares with nothing, is worse than all others."""
    return math.inf if math.isnan(loss) else loss


def best_place(losses: Sequence[float]) -> int:
    """Where the smallest loss stands, the first of equals."""
    return min(range(len(losses)), key=lambda place: rank(losses[place]))


@dataclass(frozen=True)
class History:
    """The losses of a training, one an epoch.

    `train` is the mean over the epoch's rows of the loss as each step found it, before it moved the weights;
    `validation` is measured after the epoch, and empty without validation rows.
    """

    train: tuple[float, ...]
    validation: tuple[float, ...] = ()

    @property
    def best(self) -> float:
        """The smallest validation loss, or without validation rows the last training loss; infinity if it is none."""
        return min(map(rank, self.validation), default=rank(self.train[-1]))


@dataclass(frozen=True)
class Trained:
    """A finished network in evaluation mode, with the data it learned from and its losses on the way."""

    network: nn.Module
    data: Data
    history: History
    seed: int
    """What it started from."""
    candidates: Mapping[str, "Trained"] = field(default_factory=dict)
    """Where a task tries several kinds of network, the best of each kind, by its name; the answer is one of them."""


ALLOWED = "allowed"
"""The baseline that is nobody's figure: how large the first metric, an error, may be."""


@dataclass(frozen=True)
class Figures:
    """How good a network is, beside what it has to beat, or is `ALLOWED`; the first of each is the one to compare."""

    metrics: dict[str, float]
    baseline: dict[str, float]


OnEpoch = Callable[[int, float], object]
"""Is told after every epoch its number, from 1 and over all starts, and its training loss."""


@dataclass(frozen=True)
class Task:
    """One version of one model, as data.

    `network` builds the network with fresh weights; it is given the data because scaling by what the training
    rows look like belongs into the network. `loss` takes the network's outputs and the targets.
    `gate` answers with the network's figures, or raises `GateError` where they miss `condition`.
    `plots` draws what suits the task, by the plot's name; every task has its losses drawn without being asked.
    """

    name: str
    version: int
    kind: Kind
    description: str
    source: str
    """Where the recipe comes from."""
    dataset: str
    """Where the rows come from."""
    data: Callable[[], Data]
    network: Callable[[Data], nn.Module]
    loss: nn.Module
    recipe: Recipe
    seed: int
    """Decides the first weights and the order of the rows."""
    input: TensorSpec
    output: TensorSpec
    condition: str
    gate: Callable[[Trained], Figures]
    plots: Callable[[Trained], dict[str, Figure]] = lambda _: {}
    fit: Callable[["Task", OnEpoch], Trained] | None = None
    """How it is trained where it is not by `training.loop.train`."""
    examples: Callable[[Data, int, Generator], Iterator[Tensor]] | None = None
    """Inputs of so many rows on which the exported models are compared with the network.

    Without it they are drawn uniformly from the range that each column spans in training.
    """

    @property
    def title(self) -> str:
        """The task as a person names it."""
        return f"{self.name} version {self.version}"
