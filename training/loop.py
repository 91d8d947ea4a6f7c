"""The one loop in which networks learn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.task import Data, History, Recipe, Split, Task, Trained

THREADS = 1
"""A sum split among threads adds up in another order, to other last bits: one thread gives one result."""

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}

OnEpoch = Callable[[int, float], object]
"""Is told after every epoch its number, from 1, and its training loss."""


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Make PyTorch compute the same each time inside; outside, its state is as if nothing had happened."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(THREADS)
        torch.use_deterministic_algorithms(True)  # noqa: FBT003 - PyTorch takes it by position only
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(threads)


def train(task: Task, on_epoch: OnEpoch = lambda _epoch, _loss: None) -> Trained:
    """Train the task's network by its recipe: the same task gives the same weights to the last bit."""
    with reproducible(task.seed):
        data = task.data()
        network = task.network(data)
        order = torch.Generator().manual_seed(task.seed)
        train_losses, validation_losses = [], []
        optimiser = _optimiser(network, task.recipe)
        for epoch in range(1, task.recipe.epochs + 1):
            train_losses.append(_epoch(network, task.loss, optimiser, _batches(data, task.recipe, order)))
            if data.validation is not None:
                validation_losses.append(evaluate(network, task.loss, data.validation))
            on_epoch(epoch, train_losses[-1])
    network.eval()
    return Trained(network, data, History(tuple(train_losses), tuple(validation_losses)))


def evaluate(network: nn.Module, loss: nn.Module, split: Split) -> float:
    """Measure the loss over all rows of `split`; the network is left in evaluation mode."""
    network.eval()
    with torch.no_grad():
        total: float = loss(network(split.inputs), split.targets).item()
    return total


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Every optimiser takes `lr`; only their common base class does not say so.
    return OPTIMISERS[recipe.optimiser](network.parameters(), lr=recipe.learning_rate)  # type: ignore[call-arg]


def _batches(data: Data, recipe: Recipe, order: torch.Generator) -> Iterator[Split]:
    """Deal out the training rows of one epoch, step by step."""
    inputs, targets = data.train
    if recipe.batch_size is None:
        yield data.train
        return
    for rows in torch.split(torch.randperm(len(inputs), generator=order), recipe.batch_size):
        yield Split(inputs[rows], targets[rows])


def _epoch(network: nn.Module, loss: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterator[Split]) -> float:
    """Take one step for each batch; the answer is the mean loss over their rows, before each step."""
    network.train()
    total, rows = 0.0, 0
    for inputs, targets in batches:
        optimiser.zero_grad()
        batch_loss: Tensor = loss(network(inputs), targets)
        batch_loss.backward()  # type: ignore[no-untyped-call] # PyTorch leaves it untyped
        optimiser.step()
        total += batch_loss.item() * len(inputs)
        rows += len(inputs)
    return total / rows
