"""Behaviour of training.plots."""

import struct
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from training import plots
from training.task import History, Split

CLASSES = torch.tensor([0, 0, 0, 1, 1, 1])[:, None]
PROBABILITIES = torch.tensor([0.05, 0.3, 0.6, 0.4, 0.75, 1.0])[:, None]
POINTS = Split(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[0.0], [1.0]]))

FIGURES: dict[str, Callable[[], Figure]] = {
    "losses": lambda: plots.losses(History((100.0, 2.0, 1.0), (90.0, 3.0, 4.0)), marks={"published": 2.5}),
    "spread": lambda: plots.spread([0.1, 1.0, 10.0], title="t", label="x", marks={"mean": 3.7}),
    "confusion": lambda: plots.confusion(CLASSES, PROBABILITIES > 0.5, ["no", "yes"]),
    "roc_and_calibration": lambda: plots.roc_and_calibration(CLASSES, {"network": PROBABILITIES}),
    "predicted_against_true": lambda: plots.predicted_against_true(CLASSES, PROBABILITIES),
    "decision_surface": lambda: plots.decision_surface(
        lambda points: torch.sigmoid(points[:, :1]),
        {"training": POINTS},
        names=("x", "y"),
        labels=("left side", "right side"),
    ),
}


def texts(figure: Figure) -> str:
    """Everything that can be read in a figure."""
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        legend = axes.get_legend()
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(found)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_values_give_the_same_bytes(name: str) -> None:
    """Drawn anew, and rendered twice, a figure is one and the same PNG of a readable size."""
    figure = FIGURES[name]()
    content = plots.png(figure)
    assert content == plots.png(figure) == plots.png(FIGURES[name]())
    assert content.startswith(b"\x89PNG\r\n")
    assert min(struct.unpack(">II", content[16:24])) >= 400
    assert b"matplotlib" not in content.lower()


@pytest.mark.parametrize("name", FIGURES)
def test_the_users_settings_do_not_show(name: str) -> None:
    """Whatever style a process has chosen, the card looks the same; and the process keeps its choice."""
    plain = plots.png(FIGURES[name]())
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "red", "savefig.dpi": 7}):
        assert plots.png(FIGURES[name]()) == plain
        assert mpl.rcParams["font.size"] == 30


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_says_what_it_shows(name: str) -> None:
    """No reader has to guess what runs along an axis."""
    for axes in FIGURES[name]().axes:
        assert axes.get_ylabel()
        # A colour bar has no width.
        assert axes.get_xlabel() or axes.get_label() == "<colorbar>"


def test_losses_show_the_best_epoch() -> None:
    """Its number and loss stand in the legend, beside the levels to compare with; a wide span is logarithmic."""
    figure = FIGURES["losses"]()
    assert "best: 3 at epoch 2" in texts(figure)
    assert "published: 2.5" in texts(figure)
    assert figure.axes[0].get_yscale() == "log"


def test_a_single_epoch_is_a_point() -> None:
    """A history of one step without validation has a mark to see, and no best epoch."""
    figure = plots.losses(History((0.3,)))
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert "best" not in texts(figure)


def test_a_confusion_matrix_counts_rows() -> None:
    """True classes run down, answers across."""
    assert [text.get_text() for text in FIGURES["confusion"]().axes[0].texts] == ["2", "1", "1", "2"]


def test_a_roc_curve_states_its_area() -> None:
    """Of nine pairs of a negative and a positive row, eight are in order."""
    assert "network: area 0.889" in texts(FIGURES["roc_and_calibration"]())


def test_calibration_compares_tenths() -> None:
    """Each filled tenth is one point, at its mean probability and its share of positives; 1.0 is in the last."""
    line = FIGURES["roc_and_calibration"]().axes[1].lines[1]
    assert np.asarray(line.get_xdata()).tolist() == pytest.approx([0.05, 0.3, 0.4, 0.6, 0.75, 1.0])
    assert np.asarray(line.get_ydata()).tolist() == [0, 0, 1, 0, 1, 1]


def test_a_decision_surface_calls_the_classes_by_their_names() -> None:
    """Points stand in the legend by part and class, and the colours say whose probability they are."""
    shown = texts(FIGURES["decision_surface"]())
    assert "training, left side\ntraining, right side" in shown
    assert "probability of the right side" in shown


def test_a_decision_surface_asks_for_the_columns_in_order() -> None:
    """What depends on the first column alone changes from left to right."""
    asked: list[torch.Tensor] = []

    def first(points: torch.Tensor) -> torch.Tensor:
        asked.append(points)
        return (points[:, :1] > 0.5).float()

    plots.decision_surface(first, {"training": POINTS}, names=("x", "y"), labels=("left", "right"))
    (points,) = asked
    assert points[:, 0].max().item() == pytest.approx(1.08)
    assert points[:, 1].max().item() == pytest.approx(2.16)
    assert torch.equal(points[0, 1], points[1, 1])
