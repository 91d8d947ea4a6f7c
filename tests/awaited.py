"""A job that is awaited: what tests put into a batcher, where the service has jobs that are told."""

import asyncio
from collections.abc import Callable, Hashable
from time import perf_counter
from typing import Any

from service.batching.batcher import Batcher
from service.batching.job import Job, P, R
from service.errors import ForwardpassError


class Answer(asyncio.Future[R]):
    """The future of a job; whoever cancels it gives the job up."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.give_up: Callable[[], None] | None = give_up

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401  # as asyncio has it
        """Cancel, and free the place in the queue at once."""
        cancelled = super().cancel(msg)
        if cancelled and self.give_up is not None:
            self.give_up()
        return cancelled


class AwaitedJob(Job[P, R]):
    """A job that resolves a future."""

    answer: Answer[R]

    def settle(self, outcome: R | ForwardpassError) -> None:
        """Resolve the future, which lets go of the job: else neither would be freed before the collector comes."""
        self.answer.give_up = None
        if isinstance(outcome, ForwardpassError):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


def submit(  # noqa: PLR0913  # a job's parts
    batcher: Batcher[P, R], payload: P, rows: int, key: Hashable, *, size: int = 0, deadline: float | None = None
) -> Answer[R]:
    """Queue a job made of these, and give the future of its answer; raises as `Batcher.queue` does."""
    job: AwaitedJob[P, R] = AwaitedJob(payload, rows, key, size, deadline, perf_counter())
    job.answer = Answer(lambda: batcher.give_up(job))
    batcher.queue(job)
    return job.answer
