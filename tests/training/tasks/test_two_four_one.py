"""Behaviour of training.tasks.two_four_one."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from training.errors import GateError
from training.loop import reproducible
from training.pipeline import Produced, produce
from training.task import Recipe, Task, Trained
from training.tasks.two_four_one import ACTIVATIONS, MARGIN, VERSION_1


class StraightLine(nn.Module):
    """Tells the moons apart by their height alone."""

    def forward(self, points: Tensor) -> Tensor:
        """Below a quarter, where the moons meet, it says the lower one."""
        return torch.sigmoid(0.25 - points[:, 1:])


@pytest.fixture(scope="module")
def produced() -> Produced:
    """Train the published version."""
    return produce(VERSION_1)


def _shortened(epochs: int, starts: int) -> Task:
    recipe = Recipe(optimiser="Adam", learning_rate=0.05, epochs=epochs, starts=starts)
    return dataclasses.replace(VERSION_1, recipe=recipe)


def _fit(task: Task, told: list[int]) -> Trained:
    assert task.fit is not None
    return task.fit(task, lambda epoch, _loss: told.append(epoch))


def test_few_rows_train_and_many_are_held_out() -> None:
    """100, 200 and 1,000 points, none in two parts, each part with both moons."""
    data = VERSION_1.data()
    assert data.validation is not None
    assert data.test is not None
    parts = (data.train, data.validation, data.test)
    assert [part.inputs.shape for part in parts] == [(100, 2), (200, 2), (1000, 2)]
    assert len({tuple(row) for part in parts for row in part.inputs.tolist()}) == 1300
    for part in parts:
        assert 0.4 < part.targets.mean() < 0.6
        assert set(part.targets.flatten().tolist()) == {0, 1}


def test_labels_name_the_moons_as_they_lie() -> None:
    """The second label is the one whose points lie lower."""
    points, moons = VERSION_1.data().held_out
    heights = [points[moons[:, 0] == number, 1].mean().item() for number in (0, 1)]
    assert VERSION_1.output.labels == ("upper", "lower")
    assert heights[0] > heights[1]


@pytest.mark.parametrize(("name", "function"), [("relu", torch.relu), ("sine", torch.sin), ("cosine", torch.cos)])
def test_an_activation_is_what_it_is_called(name: str, function: Callable[[Tensor], Tensor]) -> None:
    """Element by element, in any shape."""
    values = torch.linspace(-4, 4, 12).reshape(3, 4)
    assert torch.equal(ACTIVATIONS[name]()(values), function(values))


def test_every_activation_gets_its_part_of_the_starts() -> None:
    """The seeds follow each other, and epochs are counted through."""
    told: list[int] = []
    chosen = _fit(_shortened(epochs=2, starts=6), told)
    assert told == list(range(1, 13))
    assert list(chosen.candidates) == list(ACTIVATIONS)
    for place, candidate in enumerate(chosen.candidates.values()):
        assert candidate.seed in {2 * place, 2 * place + 1}


def test_the_validation_loss_chooses(produced: Produced) -> None:
    """The published network is the candidate with the smallest one, whatever its test accuracy."""
    chosen = produced.trained
    best = min(chosen.candidates.values(), key=lambda candidate: candidate.history.best)
    assert (chosen.network, chosen.seed, chosen.history) == (best.network, best.seed, best.history)
    losses = {name: produced.figures.metrics[f"validation_loss_{name}"] for name in ACTIVATIONS}
    assert min(losses.values()) == chosen.history.best


def test_the_published_recipe_passes_the_gate(produced: Produced) -> None:
    """At least five points above logistic regression, which a straight line cannot be far from."""
    metrics, baseline = produced.figures.metrics, produced.figures.baseline
    assert metrics["test_accuracy"] >= baseline["logistic_regression"] + MARGIN
    assert 0.8 < baseline["logistic_regression"] < 0.9


def test_it_is_better_on_what_it_has_seen(produced: Produced) -> None:
    """The gap that the tutorial calls overfitting is there, and is the difference of the two accuracies."""
    metrics = produced.figures.metrics
    assert metrics["train_test_gap"] == metrics["train_accuracy"] - metrics["test_accuracy"] > 0


def test_answers_are_probabilities(produced: Produced) -> None:
    """The sigmoid is part of the network, however far a point lies from the moons."""
    with torch.no_grad():
        answers = produced.trained.network(torch.linspace(-1e3, 1e3, 60).reshape(30, 2))
    assert ((answers >= 0) & (answers <= 1)).all()


def test_an_untrained_network_fails_the_gate(produced: Produced) -> None:
    """Random weights do not find the moons."""
    with reproducible(VERSION_1.seed):
        network = VERSION_1.network(produced.trained.data)
    with pytest.raises(GateError, match=r"of the test rows are right; logistic regression gets 0\.8"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=network))


def test_a_straight_line_fails_the_gate(produced: Produced) -> None:
    """As good as logistic regression is not good enough."""
    with pytest.raises(GateError, match="logistic regression"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=StraightLine()))


def test_it_draws_the_line_and_the_gap(produced: Produced) -> None:
    """The plane with its points, and the accuracies of every activation, one of them chosen."""
    drawn = VERSION_1.plots(produced.trained)
    assert set(drawn) == {"decision_surface", "overfitting"}
    rows = [label.get_text() for label in drawn["overfitting"].axes[0].get_yticklabels()]
    assert [row.split()[0] for row in rows] == list(ACTIVATIONS)
    assert sum("chosen" in row for row in rows) == 1


def test_a_moment_of_training_gives_the_same_weights_twice() -> None:
    """To the last bit; a single start is enough to try every activation once."""
    one, other = (_fit(_shortened(epochs=2, starts=1), []) for _ in range(2))
    for name, weights in one.network.state_dict().items():
        assert torch.equal(weights, other.network.state_dict()[name])
