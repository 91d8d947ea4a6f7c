"""Behaviour of training.loop."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.loop import evaluate, reproducible, train
from training.task import Recipe, Task
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
