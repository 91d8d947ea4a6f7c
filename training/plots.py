"""The figures of the model cards, in one style.

Every function draws what it is given into a figure of its own. Nothing of matplotlib's state is left changed,
nothing of the user's settings shows, and the same values give the same bytes.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.style
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from training.task import History, Split

INK, GREY, PALE = "#1f2d3a", "#7d8a96", "#e3e8ec"
BLUE, ORANGE, GREEN, RED = "#2b6ca3", "#d97b29", "#3f8f6b", "#b8473d"
SERIES = (BLUE, ORANGE, GREEN, RED)
BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#a9c8e2", BLUE, "#123a5c"])
BLUE_TO_ORANGE = LinearSegmentedColormap.from_list("blue_to_orange", [BLUE, "#c6dbeb", "#ffffff", "#f6d8bd", ORANGE])

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": f"cycler('color', {list(SERIES)})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.dpi": 120,
    "font.size": 9.5,
    "grid.color": PALE,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 120,
    "text.color": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}

WIDE, SQUARE, PAIR = (6.4, 3.8), (5.0, 4.6), (8.4, 4.0)
"""Widths and heights of figures in inches."""
LOGARITHMIC_FROM = 20
"""Losses that span more than this factor are shown on a logarithmic axis."""
CALIBRATION_BINS = 10
GRID = 160
"""Points along each side of a decision surface."""
SHADES = 20
"""Steps in which its colours change."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside as all cards do; also a decorator: `@styled()`."""
    with mpl.style.context(STYLE, after_reset=True):
        yield


@styled()
def png(figure: Figure) -> bytes:
    """Render the figure's file: the same figure gives the same bytes."""
    # Each drawing would move the axes a little further: they stay where the first one puts them.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    return content.getvalue()


@styled()
def losses(history: History, *, loss: str = "loss", marks: Mapping[str, float] | None = None) -> Figure:
    """Draw training and validation loss over the epochs, with the best epoch and each of `marks` as a level."""
    figure, axes = _single(WIDE, "How it learned", "epoch", loss)
    curves = {"training": history.train, "validation": history.validation}
    for name, values in curves.items():
        if values:
            few = "o" if len(values) == 1 else None
            axes.plot(range(1, len(values) + 1), values, label=name, marker=few)
    if history.validation:
        best = int(np.argmin(history.validation))
        value = history.validation[best]
        axes.plot(best + 1, value, "o", color=ORANGE, markersize=6, label=f"best: {value:.4g} at epoch {best + 1}")
    _levels(axes.axhline, marks)
    every = [value for values in curves.values() for value in values]
    if min(every) > 0 and max(every) / min(every) > LOGARITHMIC_FROM:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(history.train) == 1:
        axes.set_xlim(0, 2)
    axes.legend()
    return figure


@styled()
def spread(
    values: Sequence[float],
    *,
    title: str,
    label: str,
    marks: Mapping[str, float],
) -> Figure:
    """Draw how many of the values, all above zero, lie where on a logarithmic axis; `marks` are vertical lines."""
    figure, axes = _single(WIDE, title, label, "how many")
    axes.set_xscale("log")
    bins = np.geomspace(min(values), max(values), 41)
    axes.hist(values, bins=list(bins), color=BLUE, alpha=0.8, edgecolor="white", linewidth=0.5)
    _levels(axes.axvline, marks)
    axes.legend()
    return figure


@styled()
def confusion(wanted: Tensor, answered: Tensor, labels: Sequence[str]) -> Figure:
    """Draw how often each true class was answered with each class; both are class numbers, one a row."""
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (_flat(wanted).astype(int), _flat(answered).astype(int)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _single(SQUARE, "What was taken for what", "answered class", "true class")
    axes.grid(visible=False)
    image = axes.imshow(shares, cmap=BLUES, vmin=0, vmax=1)
    size = 12 if len(labels) <= 4 else 8  # noqa: PLR2004 - as large as the cells allow
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else INK if count else GREY  # noqa: PLR2004 - half dark
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
    axes.set_xticks(range(len(labels)), list(labels))
    axes.set_yticks(range(len(labels)), list(labels))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, label="share of the true class", shrink=0.85).outline.set_visible(False)
    return figure


@styled()
def roc_and_calibration(classes: Tensor, probabilities: Mapping[str, Tensor]) -> Figure:
    """Draw how well probabilities of the class 1 order the rows, beside how far they can be believed.

    Several models' probabilities for the same rows, by the model's name, are set side by side.
    """
    figure = Figure(figsize=PAIR)
    left, right = figure.subplots(1, 2)
    wanted = _flat(classes).astype(int)
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2)
        axes.set(aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    for name, column in probabilities.items():
        scores = _flat(column)
        false_positives, true_positives, _ = roc_curve(wanted, scores)
        area = float(roc_auc_score(wanted, scores))
        left.plot(false_positives, true_positives, label=f"{name}: area {area:.3f}")
        means, shares, counts = _calibration(wanted, scores)
        (line,) = right.plot(means, shares, label=name)
        right.scatter(means, shares, s=8 + 120 * counts / counts.sum(), color=line.get_color(), zorder=3)
    left.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    right.set(title="Calibration", xlabel="probability answered", ylabel="share that is positive")
    left.legend(loc="lower right")
    right.legend(loc="upper left")
    return figure


@styled()
def predicted_against_true(wanted: Tensor, answered: Tensor) -> Figure:
    """Draw each row's answer over the true value; a perfect answer lies on the diagonal."""
    figure, axes = _single(SQUARE, "Predicted against true", "true value", "answer")
    truths, answers = _flat(wanted), _flat(answered)
    every = np.concatenate([truths, answers])
    margin = 0.04 * (float(np.ptp(every)) or 1.0)
    limits = (float(every.min()) - margin, float(every.max()) + margin)
    axes.plot(limits, limits, color=GREY, linestyle=":", linewidth=1.2, label="exact")
    many = len(truths) > 500  # noqa: PLR2004 - then the points would cover each other
    area, opacity = (5, 0.25) if many else (26, 0.7)
    axes.scatter(truths, answers, s=area, alpha=opacity, color=BLUE, linewidths=0, label=f"{len(truths):,} rows")
    axes.set(aspect="equal", xlim=limits, ylim=limits)
    axes.legend(loc="lower right")
    return figure


@styled()
def decision_surface(
    probability: Callable[[Tensor], Tensor],
    splits: Mapping[str, Split],
    *,
    names: tuple[str, str],
    labels: tuple[str, str],
) -> Figure:
    """Draw over a plane what the network answers, with the rows of each part of the data upon it.

    `probability` takes points, (rows, 2), to (rows, 1), how likely each is of the second class; `names` are the two
    columns', `labels` the two classes'.
    """
    figure, axes = _single((6.4, 4.6), "Where it draws the line", *names)
    axes.grid(visible=False)
    points = torch.cat([split.inputs for split in splits.values()])
    margin = 0.08 * (points.amax(dim=0) - points.amin(dim=0))
    low, high = (points.amin(dim=0) - margin).tolist(), (points.amax(dim=0) + margin).tolist()
    across, up = torch.linspace(low[0], high[0], GRID), torch.linspace(low[1], high[1], GRID)
    plane = torch.cartesian_prod(up, across).flip(1)
    with torch.no_grad():
        heights = probability(plane).reshape(GRID, GRID).numpy()
    levels = np.linspace(0, 1, SHADES + 1)
    image = axes.contourf(across.numpy(), up.numpy(), heights, levels=levels, cmap=BLUE_TO_ORANGE, alpha=0.75)
    axes.contour(across.numpy(), up.numpy(), heights, levels=[0.5], colors=[INK], linewidths=1.4)
    for (part, split), marker in zip(splits.items(), "o^sD", strict=False):
        for number, (named, colour) in enumerate(zip(labels, (BLUE, ORANGE), strict=True)):
            rows = split.inputs[split.targets.flatten() == number]
            axes.scatter(
                rows[:, 0],
                rows[:, 1],
                s=17,
                marker=marker,
                color=colour,
                edgecolors="white",
                linewidths=0.5,
                label=f"{part}, {named}",
            )
    bar = figure.colorbar(image, label=f"probability of the {labels[1]}", ticks=np.linspace(0, 1, 6))
    bar.outline.set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    return figure


def _single(size: tuple[float, float], title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.set(title=title, xlabel=across, ylabel=up)
    return figure, axes


def _levels(line: Callable[..., object], marks: Mapping[str, float] | None) -> None:
    for (name, level), colour in zip((marks or {}).items(), (RED, GREEN, GREY), strict=False):
        line(level, color=colour, linestyle="--", linewidth=1.3, label=f"{name}: {level:.4g}")


def _flat(column: Tensor) -> NDArray[np.float64]:
    return column.detach().flatten().double().numpy()


def _calibration(
    wanted: NDArray[np.int_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int_]]:
    """For each tenth of the probabilities that has rows: mean probability, share of class 1, rows."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    every = np.bincount(bins, minlength=CALIBRATION_BINS)
    filled = every > 0
    counts = every[filled]
    means = np.bincount(bins, weights=scores, minlength=CALIBRATION_BINS)[filled] / counts
    shares = np.bincount(bins, weights=wanted, minlength=CALIBRATION_BINS)[filled] / counts
    return means, shares, counts
