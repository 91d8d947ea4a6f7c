"""A network that learns to add three numbers, from three examples and then from many."""

import dataclasses
import statistics

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from service.manifest import Feature, TensorSpec
from training import plots
from training.errors import GateError
from training.loop import train
from training.task import ALLOWED, Data, Figures, Recipe, Split, Task, Trained

PUBLISHED_LOSS = 0.10121
"""What the tutorial prints at epoch 100."""
STARTS_SHOWN, STARTS_REACHING = 200, 33
"""Seeds whose trainings the card shows, and how many of them end at the published loss or below it."""
LARGEST_ERROR = 0.05
"""How far version 2 may be from the sum of any three numbers up to `LIMIT`."""
LIMIT = 10.0
ROWS, WATCHED_ROWS, HELD_OUT_ROWS = 4_000, 1_000, 10_000


def _three_rows() -> Data:
    """Three rows, (3, 3) to (3, 1); nothing is held out."""
    return Data(train=_with_sums(torch.tensor([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0]])))


def _any_three() -> Data:
    """Draw triples from all numbers up to `LIMIT`, always the same ones whatever the network starts from."""
    generator = torch.Generator().manual_seed(0)
    return Data(
        train=_drawn(ROWS, generator),
        validation=_drawn(WATCHED_ROWS, generator),
        test=_drawn(HELD_OUT_ROWS, generator),
    )


def _drawn(rows: int, generator: Generator) -> Split:
    return _with_sums(LIMIT * (2 * torch.rand(rows, 3, generator=generator) - 1))


def _with_sums(addends: Tensor) -> Split:
    return Split(addends, addends.sum(dim=1, keepdim=True))


def _network(_: Data) -> nn.Module:
    """(rows, 3) → (rows, 1): four rectified sums of the inputs, then one sum of these."""
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def _reaches_the_tutorial(trained: Trained) -> Figures:
    """Compare the loss at the last epoch, taken before that epoch's step, as the tutorial prints it."""
    loss = trained.history.train[-1]
    # Written so that a loss which is no number fails too.
    if not loss <= PUBLISHED_LOSS:
        raise GateError(f"the loss at the last epoch is {loss:.5f}; the tutorial reaches {PUBLISHED_LOSS}")
    return Figures(metrics={"train_loss": loss}, baseline={"tutorial": PUBLISHED_LOSS})


def _adds(trained: Trained) -> Figures:
    """Measure how wrong the network is about the triple that it is most wrong about."""
    errors = _errors(trained.network, trained.data.held_out)
    largest = errors.max().item()
    if not largest <= LARGEST_ERROR:
        raise GateError(f"one of {len(errors):,} held-out sums is off by {largest:.4f}; allowed is {LARGEST_ERROR}")
    before = _errors(train(VERSION_1).network, trained.data.held_out).max().item()
    return Figures(
        metrics={"largest_error": largest, "mean_error": errors.mean().item()},
        baseline={ALLOWED: LARGEST_ERROR, "version_1": before},
    )


def _errors(network: nn.Module, rows: Split) -> Tensor:
    with torch.no_grad():
        errors: Tensor = (network(rows.inputs) - rows.targets).abs()
    return errors


def final_losses(starts: int) -> list[float]:
    """Train version 1 from so many seeds, to see how much of a training this short is luck."""
    tasks = (dataclasses.replace(VERSION_1, seed=seed) for seed in range(starts))
    return [train(task).history.train[-1] for task in tasks]


def _plot_luck(trained: Trained) -> dict[str, Figure]:
    finals = final_losses(STARTS_SHOWN)
    reached = sum(final <= PUBLISHED_LOSS for final in finals)
    return {
        "starts": plots.spread(
            finals,
            title=f"The same training from {STARTS_SHOWN} seeds: {reached} reach the published loss",
            label="mean squared error at epoch 100",
            marks={
                "published": PUBLISHED_LOSS,
                "this version": trained.history.train[-1],
                "median": statistics.median(finals),
            },
        )
    }


def _plot_sums(trained: Trained) -> dict[str, Figure]:
    addends, sums = trained.data.held_out
    with torch.no_grad():
        answers = trained.network(addends)
    return {
        "predicted_against_true": plots.predicted_against_true(sums, answers),
        "errors": plots.spread(
            # Of an exact answer there is no logarithm.
            (answers - sums).abs().clamp(min=1e-6).flatten().tolist(),
            title=f"How far {len(sums):,} held-out sums are off",
            label="distance of the answer from the sum",
            marks={"allowed": LARGEST_ERROR},
        ),
    }


VERSION_1 = Task(
    name="sum_of_three",
    version=1,
    kind="regression",
    description="The sum of three numbers, learned from three examples: right near them, a guess elsewhere.",
    source="Introductory PyTorch tutorial: a network with one hidden layer that adds three numbers; its seed is the "
    f"first, counted from 0, that reaches the tutorial's figure, as {STARTS_REACHING} of the first {STARTS_SHOWN} do",
    dataset="The tutorial's three rows: (1, 2, 3) → 6, (2, 3, 4) → 9, (3, 4, 5) → 12",
    data=_three_rows,
    network=_network,
    loss=nn.MSELoss(),
    recipe=Recipe(optimiser="SGD", learning_rate=0.01, epochs=100),
    seed=11,
    input=TensorSpec(
        name="addends",
        datatype="FP32",
        shape=(-1, 3),
        features=tuple(
            Feature(name=f"{ordinal}_addend", description=f"The {ordinal} number to add.")
            for ordinal in ("first", "second", "third")
        ),
    ),
    output=TensorSpec(name="sum", datatype="FP32", shape=(-1, 1), description="What the numbers add up to."),
    condition=f"The loss printed at epoch 100 is at most the tutorial's {PUBLISHED_LOSS}.",
    gate=_reaches_the_tutorial,
    plots=_plot_luck,
)

VERSION_2 = dataclasses.replace(
    VERSION_1,
    version=2,
    description=f"The sum of any three numbers from -{LIMIT:g} to {LIMIT:g}.",
    source="The network of version 1, made to generalise",
    dataset=f"Triples drawn uniformly from -{LIMIT:g} to {LIMIT:g}, with their sums",
    data=_any_three,
    # A start whose rectifiers fall silent never recovers, hence several.
    recipe=Recipe(
        optimiser="Adam", learning_rate=0.01, epochs=100, batch_size=100, annealed=True, patience=30, starts=3
    ),
    seed=0,
    condition=f"None of {HELD_OUT_ROWS:,} held-out sums is off by more than {LARGEST_ERROR}.",
    gate=_adds,
    plots=_plot_sums,
)
