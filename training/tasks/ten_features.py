"""A network of ten features that takes a single step, to see its loss fall."""

from collections.abc import Iterator

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from service.manifest import Feature, TensorSpec
from training import plots
from training.errors import GateError
from training.loop import evaluate
from training.task import Data, Figures, Recipe, Split, Task, Trained

FEATURES = 10
TARGET = 0.5
OTHER_ROWS = 1_000


def _data() -> Data:
    """One row to learn from, (1, 10) to (1, 1), and others of its kind that show what the step does elsewhere.

    All features are drawn from a standard normal, always the same ones; every row wants the tutorial's one target.
    """
    generator = torch.Generator().manual_seed(0)
    return Data(train=_drawn(1, generator), test=_drawn(OTHER_ROWS, generator))


def _drawn(rows: int, generator: Generator) -> Split:
    return Split(torch.randn(rows, FEATURES, generator=generator), torch.full((rows, 1), TARGET))


def _network(_: Data) -> nn.Module:
    """(rows, 10) → (rows, 1): five rectified sums of the features, then one sum of these."""
    return nn.Sequential(nn.Linear(FEATURES, 5), nn.ReLU(), nn.Linear(5, 1))


def _gate(trained: Trained) -> Figures:
    """Set the loss after the step beside the loss that the step began with."""
    before = trained.history.train[0]
    after = evaluate(trained.network, LOSS, trained.data.train)
    # Written so that a loss which is no number fails too.
    if not after < before:
        raise GateError(f"the step takes the loss from {before:.6f} to {after:.6f}, which is not lower")
    return Figures(
        metrics={"train_loss": after, "test_loss": evaluate(trained.network, LOSS, trained.data.held_out)},
        baseline={"before_the_step": before},
    )


def _examples(_: Data, rows: int, generator: Generator) -> Iterator[Tensor]:
    # One training row spans no range from which others could be drawn.
    yield _drawn(rows, generator).inputs


@plots.styled()
def _plots(trained: Trained) -> dict[str, Figure]:
    """Draw one bar for the loss that the step found and one for the loss that it left."""
    losses = [trained.history.train[0], evaluate(trained.network, LOSS, trained.data.train)]
    figure = Figure(figsize=plots.WIDE)
    axes = figure.subplots()
    bars = axes.barh(["before the step", "after it"], losses, color=[plots.GREY, plots.BLUE], height=0.55)
    axes.bar_label(bars, labels=[f"{loss:.5f}" for loss in losses], padding=4)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.15)
    axes.set(
        title=f"One step lowers the loss by {1 - losses[1] / losses[0]:.1%}", xlabel="squared error of the one row"
    )
    return {"step": figure}


LOSS = nn.MSELoss()

VERSION_1 = Task(
    name="ten_features",
    version=1,
    kind="regression",
    description="What a single step makes of a network of random weights: its answers mean nothing yet.",
    source="Introductory PyTorch tutorial: a network with one hidden layer and a single training step",
    dataset=f"One row of {FEATURES} standard normal numbers with the target {TARGET}, from seed 0; "
    f"held out are {OTHER_ROWS:,} further rows with the same target, which the tutorial does not have",
    data=_data,
    network=_network,
    loss=LOSS,
    recipe=Recipe(optimiser="SGD", learning_rate=0.01, epochs=1),
    # The first of 0, 1, 2, …: nothing was tried.
    seed=0,
    input=TensorSpec(
        name="features",
        datatype="FP32",
        shape=(-1, FEATURES),
        features=tuple(
            Feature(name=f"feature_{column}", description=f"Column {column} of the random row.")
            for column in range(FEATURES)
        ),
    ),
    output=TensorSpec(
        name="answer",
        datatype="FP32",
        shape=(-1, 1),
        description=f"A number on its way to {TARGET}.",
    ),
    condition="The loss after the step is lower than before it.",
    gate=_gate,
    plots=_plots,
    examples=_examples,
)
