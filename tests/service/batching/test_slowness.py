"""Behaviour of service.batching.slowness, by itself and with admission and scheduler, simulated."""

import random
from collections.abc import Hashable

import pytest

from service.batching.admission import require_time
from service.batching.job import Job
from service.batching.scheduler import Scheduler
from service.batching.slowness import Slowness
from service.errors import DeadlineError

MAX_BATCH = 4
DEADLINE = 0.25
SECONDS = 10


def measured(rows: int, _: Hashable) -> float:
    """Seconds of a batch."""
    return 0.008 + 0.0005 * rows


@pytest.mark.parametrize("load", [1.1, 5, 10])
@pytest.mark.parametrize("slower", [1.0, 1.02, 1.1, 2.0])
def test_most_of_what_is_computed_is_in_time(load: float, slower: float) -> None:
    """However much comes, and where runs take somewhat longer than predicted."""
    drawn, slowness = random.Random(1), Slowness()  # noqa: S311  # no secret

    def predicted(rows: int, key: Hashable) -> float:
        return slowness.factor * measured(rows, key)

    scheduler: Scheduler[Job[int, int]] = Scheduler(MAX_BATCH, 10_000, 10_000)
    capacity = MAX_BATCH / (slower * measured(MAX_BATCH, ""))
    comes, began, ends, free_at, in_time = 0.0, 0.0, float("inf"), 0.0, 0
    running: list[Job[int, int]] = []
    while (now := min(comes, ends)) < SECONDS:
        if now == ends:
            slowness.note(now - began, measured(len(running), ""))
            in_time += sum(now <= (job.deadline or 0) for job in running)
            running, ends = [], float("inf")
        else:
            comes += drawn.expovariate(load * capacity)
            job: Job[int, int] = Job(0, 1, "", 1, now + DEADLINE, now)
            try:
                require_time(scheduler, job, DEADLINE, max(0.0, free_at - now), predicted)
            except DeadlineError:
                continue
            scheduler.add(job)
        if not running and (batch := scheduler.take(now, predicted)) is not None:
            running = [job for job, _, _ in batch.slices]
            began, free_at = now, now + predicted(batch.rows, "")
            ends = now + slower * measured(batch.rows, "") * max(0.5, drawn.gauss(1, 0.05))
    assert in_time > 0.9 * capacity * SECONDS


def test_nine_runs_of_ten_take_no_longer() -> None:
    """Once it has seen some hundred."""
    drawn, slowness = random.Random(1), Slowness()  # noqa: S311  # no secret
    longer = 0
    for number in range(4000):
        took = drawn.uniform(1.0, 2.0)
        longer += number >= 400 and took > slowness.factor
        slowness.note(took, 1.0)
    assert 0.07 < longer / 3600 < 0.13


def test_it_is_bounded_and_forgets() -> None:
    """A single run says little, many say no more than four times as long, and quick ones that all is as it was."""
    slowness = Slowness()
    slowness.note(1000.0, 1.0)
    assert slowness.factor < 1.1
    for _ in range(100):
        slowness.note(1000.0, 1.0)
    assert slowness.factor == 4.0
    for _ in range(301):
        slowness.note(1.0, 1.0)
    assert slowness.factor == 1.0
