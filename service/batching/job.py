"""A request on its way through a model's queue, and who is told what became of it."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from service.errors import ForwardpassError

P = TypeVar("P")
R = TypeVar("R")


class Job(Generic[P, R]):
    """The `rows` of a payload of `size` bytes; only payloads with equal keys share a batch.

    Once the clock `perf_counter` reaches the deadline its rows are not computed any more.
    """

    __slots__ = ("deadline", "is_over", "key", "parts", "payload", "rows", "since", "size", "taken")

    def __init__(  # noqa: PLR0913, PLR0917  # its parts, by place: names would cost on every request
        self, payload: P, rows: int, key: Hashable, size: int, deadline: float | None, since: float
    ) -> None:
        self.payload = payload
        self.rows = rows
        self.key = key
        self.size = size
        self.deadline = deadline
        self.since = since
        """When it came, on the clock `perf_counter`."""
        self.taken = 0
        """How many of its rows have left the queue."""
        self.parts: list[R] | None = None
        """The results so far, of one that leaves in several batches."""
        self.is_over = False
        """Whether it was settled or given up."""

    def settle(self, outcome: R | ForwardpassError) -> None:
        """Take the answer, or why there is none: called once, on the event loop, unless it was given up before."""
        raise NotImplementedError


class Answer(Future[R]):
    """The future of a job that is waited for; whoever cancels it gives the job up."""

    def __init__(self, loop: AbstractEventLoop, give_up: Callable[[], None]) -> None:
        super().__init__(loop=loop)
        self.give_up: Callable[[], None] | None = give_up

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401  # as asyncio has it
        """Cancel, and free the place in the queue at once."""
        cancelled = super().cancel(msg)
        if cancelled and self.give_up is not None:
            self.give_up()
        return cancelled


class AwaitedJob(Job[P, R]):
    """A job that resolves a future."""

    __slots__ = ("answer",)

    answer: Answer[R]

    def settle(self, outcome: R | ForwardpassError) -> None:
        """Resolve the future, which lets go of the job: else neither would be freed before the collector comes."""
        self.answer.give_up = None
        if isinstance(outcome, ForwardpassError):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)
