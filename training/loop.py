"""The one loop in which networks learn."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.task import History, OnEpoch, Recipe, Split, Task, Trained, best_place

THREADS = 1
"""A sum split among threads adds up in another order, to other last bits: one thread gives one result."""

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}

Learn = Callable[[Task, nn.Module, Split, torch.optim.Optimizer, torch.Generator], float]
"""Takes the steps of one epoch on the training rows, in an order that the generator draws.

The answer is the mean loss over the rows, taken of each step before it moved the weights.
"""
Measure = Callable[[nn.Module, nn.Module, Split], float]
"""Measures a network by a loss over rows, and leaves it in evaluation mode."""


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


def learn_rows(
    task: Task, network: nn.Module, rows: Split, optimiser: torch.optim.Optimizer, order: torch.Generator
) -> float:
    """Take one step for each batch of the rows, as `Learn` says."""
    network.train()
    total = 0.0
    for inputs, targets in _batches(rows, task.recipe.batch_size, order):
        optimiser.zero_grad()
        loss: Tensor = task.loss(network(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call] # PyTorch leaves it untyped
        optimiser.step()
        total += loss.item() * len(inputs)
    return total / len(rows.inputs)


def _batches(rows: Split, size: int | None, order: torch.Generator) -> Iterator[Split]:
    """Deal out the rows in a new order; without a size all of them at once, in their own."""
    if size is None:
        yield rows
        return
    for chosen in torch.split(torch.randperm(len(rows.inputs), generator=order), size):
        yield Split(rows.inputs[chosen], rows.targets[chosen])


def evaluate(network: nn.Module, loss: nn.Module, rows: Split) -> float:
    """Measure the loss over all rows at once, as `Measure` says."""
    network.eval()
    with torch.no_grad():
        measured: float = loss(network(rows.inputs), rows.targets).item()
    return measured


def train(
    task: Task,
    on_epoch: OnEpoch = lambda _epoch, _loss: None,
    *,
    learn: Learn = learn_rows,
    measure: Measure = evaluate,
) -> Trained:
    """Train the task's network by its recipe: the same task gives the same weights to the last bit.

    Of several starts the one with the best loss is the answer. `learn` and `measure` are others where the rows are
    no examples of their own but a text. Raises `ValueError` for a recipe without a start, or one with patience where
    there are no validation rows.
    """
    if not task.recipe.starts:
        raise ValueError(f"{task.title} has no start")
    starts = (_train_from(task, start, on_epoch, learn, measure) for start in range(task.recipe.starts))
    return min(starts, key=lambda trained: trained.history.best)


def _train_from(task: Task, start: int, on_epoch: OnEpoch, learn: Learn, measure: Measure) -> Trained:
    recipe, seed = task.recipe, task.seed + start
    with reproducible(seed):
        data = task.data()
        if recipe.patience is not None and data.validation is None:
            raise ValueError(f"{task.title} has patience, and no validation rows to be patient about")
        network = task.network(data)
        order = torch.Generator().manual_seed(seed)
        optimiser = _optimiser(network, recipe)
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs) if recipe.annealed else None
        train_losses: list[float] = []
        validation_losses: list[float] = []
        best_weights = copy.deepcopy(network.state_dict())
        for epoch in range(1, recipe.epochs + 1):
            train_losses.append(learn(task, network, data.train, optimiser, order))
            if annealing is not None:
                annealing.step()
            if data.validation is not None:
                validation_losses.append(measure(network, task.loss, data.validation))
            on_epoch(start * recipe.epochs + epoch, train_losses[-1])
            if recipe.patience is not None:
                since_best = _since_best(validation_losses)
                if since_best == 0:
                    best_weights = copy.deepcopy(network.state_dict())
                elif since_best == recipe.patience:
                    break
        if recipe.patience is not None:
            network.load_state_dict(best_weights)
    network.eval()
    return Trained(network, data, History(tuple(train_losses), tuple(validation_losses)), seed)


def _since_best(losses: list[float]) -> int:
    """Epochs that have passed since the one with the smallest loss."""
    return len(losses) - 1 - best_place(losses)


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Every optimiser here takes both; only their common base class does not say so.
    return OPTIMISERS[recipe.optimiser](
        network.parameters(),
        lr=recipe.learning_rate,  # type: ignore[call-arg]
        weight_decay=recipe.weight_decay,
    )
