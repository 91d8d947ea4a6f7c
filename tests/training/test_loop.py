"""Behaviour of training.loop."""

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.errors import GateError
from training.loop import evaluate, reproducible, train
from training.task import Data, Recipe, Split, Task
from training.tasks import TASKS

FULL_BATCH = TASKS["sum_of_three"][0]
MINI_BATCHES = TASKS["binary_classifier"][0]


def with_epochs(task: Task, epochs: int) -> Task:
    """Shorten a task's training."""
    return dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, epochs=epochs))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_same_seed_trains_the_same_weights(seed: int) -> None:
    """Whatever the process drew before, weights and losses agree to the last bit."""
    task = dataclasses.replace(with_epochs(MINI_BATCHES, 1), seed=seed)
    first = train(task)
    torch.rand(3)
    second = train(task)
    assert first.history == second.history
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_another_seed_trains_other_weights() -> None:
    """The seed is what decides, not a constant inside the loop."""
    task = with_epochs(FULL_BATCH, 1)
    assert train(task).history != train(dataclasses.replace(task, seed=task.seed + 1)).history


def test_a_full_batch_loss_is_taken_before_its_step() -> None:
    """The first loss is the fresh network's own."""
    with reproducible(FULL_BATCH.seed):
        data = FULL_BATCH.data()
        fresh = evaluate(FULL_BATCH.network(data), FULL_BATCH.loss, data.train)
    assert train(with_epochs(FULL_BATCH, 1)).history.train == (fresh,)


def test_one_gradient_step_is_the_recipes() -> None:
    """One epoch of SGD moves each weight by the learning rate times its gradient."""
    with reproducible(FULL_BATCH.seed):
        data = FULL_BATCH.data()
        network = FULL_BATCH.network(data)
        FULL_BATCH.loss(network(data.train.inputs), data.train.targets).backward()
    trained = train(with_epochs(FULL_BATCH, 1)).network
    for fresh, moved in zip(network.parameters(), trained.parameters(), strict=True):
        assert fresh.grad is not None
        assert torch.allclose(moved, fresh - 0.01 * fresh.grad)


def test_a_mini_batch_epoch_reports_the_mean_over_its_rows() -> None:
    """With steps too small to matter, the mean over shuffled batches is the loss over all rows."""
    recipe = Recipe(optimiser="SGD", learning_rate=1e-12, epochs=1, batch_size=64)
    trained = train(dataclasses.replace(MINI_BATCHES, recipe=recipe))
    whole = evaluate(trained.network, MINI_BATCHES.loss, trained.data.train)
    assert trained.history.train[0] == pytest.approx(whole, rel=1e-5)


def test_validation_rows_are_watched_every_epoch() -> None:
    """A task with validation rows has a second curve, whose last point is the finished network's."""
    trained = train(with_epochs(MINI_BATCHES, 3))
    assert trained.data.validation is not None
    assert len(trained.history.validation) == 3
    assert trained.history.validation[-1] == evaluate(trained.network, MINI_BATCHES.loss, trained.data.validation)


def test_without_validation_rows_there_is_no_second_curve() -> None:
    """A task that holds nothing out has only its training losses."""
    assert train(with_epochs(FULL_BATCH, 2)).history.validation == ()


def test_each_epoch_is_announced_with_its_loss() -> None:
    """Whoever watches sees the epochs from 1 on, with the losses of the history."""
    seen: list[tuple[int, float]] = []
    trained = train(with_epochs(FULL_BATCH, 3), lambda epoch, loss: seen.append((epoch, loss)))
    assert seen == list(enumerate(trained.history.train, start=1))


def test_a_finished_network_is_in_evaluation_mode() -> None:
    """What is exported behaves as it will when it is served."""
    assert not train(with_epochs(FULL_BATCH, 1)).network.training


def test_training_leaves_the_process_as_it_was() -> None:
    """The random state, thread count and choice of algorithms are the caller's own again."""
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    train(with_epochs(FULL_BATCH, 1))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())


def with_recipe(task: Task, **changes: object) -> Task:
    """Change what the recipe says."""
    return dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, **changes))  # type: ignore[arg-type] # a test names fields


PATIENT = with_recipe(MINI_BATCHES, learning_rate=0.1, epochs=60, patience=4)
"""Learns its rows by heart so fast that the validation loss soon rises."""


def test_an_early_stop_keeps_the_best_epochs_weights() -> None:
    """The finished network has the smallest validation loss that was measured, not the last."""
    trained = train(PATIENT)
    assert trained.data.validation is not None
    losses = trained.history.validation
    assert losses[-1] > min(losses) == trained.history.best
    assert evaluate(trained.network, PATIENT.loss, trained.data.validation) == min(losses)


@pytest.mark.parametrize("patience", [1, 4])
def test_patience_counts_the_epochs_since_the_best(patience: int) -> None:
    """It stops when so many epochs have passed without a better validation loss, and no sooner."""
    losses = train(with_recipe(PATIENT, patience=patience)).history.validation
    assert len(losses) < PATIENT.recipe.epochs
    assert len(losses) - 1 - losses.index(min(losses)) == patience
    for epoch in range(len(losses) - 1):
        assert epoch - losses.index(min(losses[: epoch + 1])) < patience


def test_more_patience_than_epochs_trains_all_of_them() -> None:
    """Nothing but patience ends a training before its last epoch."""
    assert len(train(with_recipe(PATIENT, epochs=5, patience=5)).history.train) == 5


def test_an_annealed_learning_rate_ends_near_zero() -> None:
    """The steps shrink along half a cosine: at the start a full one, at the last epoch hardly any."""
    weights: list[list[float]] = []
    task = with_recipe(FULL_BATCH, epochs=50, annealed=True, learning_rate=1e-4)

    class Watched(nn.Linear):
        """A layer whose weights are written down whenever it computes."""

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            """Compute as ever."""
            weights.append(self.weight.flatten().tolist())
            return super().forward(rows)

    trained = train(dataclasses.replace(task, network=lambda _data: Watched(3, 1)))
    weights.append(trained.network.state_dict()["weight"].flatten().tolist())
    steps = [max(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in pairwise(weights)]
    assert steps[0] > 0
    assert steps[-1] < 0.01 * steps[0]


def test_of_several_starts_the_best_on_validation_is_kept() -> None:
    """The finished network is the one that a training from its recorded seed alone gives."""
    several = with_recipe(MINI_BATCHES, starts=3, epochs=2)
    trained = train(several)
    alone = [
        train(dataclasses.replace(with_recipe(several, starts=1), seed=several.seed + start)) for start in range(3)
    ]
    best = min(alone, key=lambda one: one.history.best)
    assert (trained.seed, trained.history) == (best.seed, best.history)
    assert len({one.history.best for one in alone}) == 3
    for one, other in zip(trained.network.parameters(), best.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_epochs_are_counted_over_all_starts() -> None:
    """A start that stops early leaves its numbers out: each has as many as it may take."""
    seen: list[int] = []
    several = with_recipe(MINI_BATCHES, starts=2, epochs=3)
    train(several, lambda epoch, _loss: seen.append(epoch))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert several.recipe.most_epochs == 6


def test_without_a_start_there_is_nothing_to_train() -> None:
    """A recipe that cannot give a network says which task it belongs to."""
    with pytest.raises(ValueError, match="sum_of_three version 1 has no start"):
        train(with_recipe(FULL_BATCH, starts=0))


def test_patience_needs_rows_to_watch() -> None:
    """Without validation rows no epoch is the best one."""
    with pytest.raises(ValueError, match="sum_of_three version 1 has patience, and no validation rows"):
        train(with_recipe(FULL_BATCH, patience=3))


class Broken(nn.Linear):
    """A layer whose every answer is no number."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute, and spoil it."""
        return super().forward(rows) * torch.nan


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_start_that_runs_away_loses_to_any_other(broken: int) -> None:
    """Whichever of the starts ends with a loss that is no number, it is not the answer."""
    asked: list[int] = []

    def network(_: Data) -> nn.Module:
        asked.append(len(asked))
        return (Broken if asked[-1] == broken else nn.Linear)(3, 1)

    trained = train(dataclasses.replace(with_recipe(FULL_BATCH, starts=3, epochs=2), network=network))
    assert not isinstance(trained.network, Broken)
    assert trained.history.best == trained.history.train[-1]


def test_where_all_run_away_the_gate_decides() -> None:
    """There is an answer, whose loss is worse than any."""
    task = dataclasses.replace(with_recipe(FULL_BATCH, starts=2, epochs=2), network=lambda _: Broken(3, 1))
    trained = train(task)
    assert trained.history.best == math.inf
    with pytest.raises(GateError, match="nan"):
        task.gate(trained)


def test_an_epoch_that_is_no_number_is_not_the_best() -> None:
    """Patience counts from the best of the others, whose weights are kept."""
    losses = iter([torch.nan, 3.0, 2.0, torch.nan, torch.nan])
    task = with_recipe(MINI_BATCHES, epochs=9, patience=2)
    weights: list[list[float]] = []

    def measure(network: nn.Module, _loss: nn.Module, _rows: Split) -> float:
        weights.append([value for each in network.parameters() for value in each.flatten().tolist()])
        return next(losses)

    trained = train(task, measure=measure)
    assert (len(trained.history.validation), trained.history.best) == (5, 2.0)
    assert [value for each in trained.network.parameters() for value in each.flatten().tolist()] == weights[2]
