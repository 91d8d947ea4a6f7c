"""The one loop in which networks learn."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.task import Data, History, OnEpoch, Recipe, Split, Task, Trained

THREADS = 1
"""A sum split among threads adds up in another order, to other last bits: one thread gives one result."""

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}


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
    best: Trained | None = None
    for start in range(task.recipe.starts):
        trained = _train_from(task, start, on_epoch)
        if best is None or trained.history.best < best.history.best:
            best = trained
    if best is None:
        raise ValueError(f"{task.title} has no start")
    return best


def _train_from(task: Task, start: int, on_epoch: OnEpoch) -> Trained:
    recipe, seed = task.recipe, task.seed + start
    with reproducible(seed):
        data = task.data()
        network = task.network(data)
        order = torch.Generator().manual_seed(seed)
        optimiser = _optimiser(network, recipe)
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs) if recipe.annealed else None
        train_losses: list[float] = []
        validation_losses: list[float] = []
        best_weights = copy.deepcopy(network.state_dict())
        for epoch in range(1, recipe.epochs + 1):
            train_losses.append(_epoch(network, task.loss, optimiser, _batches(data, recipe, order)))
            if annealing is not None:
                annealing.step()
            if data.validation is not None:
                validation_losses.append(evaluate(network, task.loss, data.validation))
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
    return len(losses) - 1 - losses.index(min(losses))


def evaluate(network: nn.Module, loss: nn.Module, split: Split) -> float:
    """Measure the loss over all rows of `split`; the network is left in evaluation mode."""
    network.eval()
    with torch.no_grad():
        total: float = loss(network(split.inputs), split.targets).item()
    return total


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Every optimiser here takes both; only their common base class does not say so.
    return OPTIMISERS[recipe.optimiser](
        network.parameters(),
        lr=recipe.learning_rate,  # type: ignore[call-arg]
        weight_decay=recipe.weight_decay,
    )


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
