"""A request on its way through a model's queue, and who is told what became of it."""

from collections.abc import Hashable
from typing import Generic, TypeVar

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
