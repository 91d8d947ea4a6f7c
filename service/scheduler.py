"""The batch policy: which waiting rows leave together.

It knows neither time nor threads: its owner calls `add` when a request comes and `take` when the model is free.
It is work-conserving: whenever rows wait, `take` gives a batch.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar


class Work:
    """One request's rows on their way through the queue; `taken` of its `rows` have left."""

    __slots__ = ("key", "rows", "taken")

    def __init__(self, rows: int, key: Hashable = None) -> None:
        self.rows = rows
        self.key = key
        self.taken = 0

    @property
    def done(self) -> bool:
        """Whether nobody waits for the rows that are left, so that they need not leave at all."""
        return False


W = TypeVar("W", bound=Work)


class Slice(NamedTuple, Generic[W]):
    """The rows of one request, from `start` to before `stop`, that leave in one batch."""

    work: W
    start: int
    stop: int


class Scheduler(Generic[W]):
    """A queue of requests, bounded in rows, that leaves in batches of at most `max_batch` rows.

    Only requests with equal keys share a batch. Keys take turns; requests of one key leave in the order they
    came. A request that fits into one batch is never divided; a larger one leaves in full batches.
    """

    def __init__(self, max_batch: int, max_queue: int) -> None:
        self.max_batch = max_batch
        self.max_queue = max_queue
        self.rows = 0
        """Rows that wait."""
        self._queues: dict[Hashable, deque[W]] = {}

    def add(self, work: W) -> bool:
        """Queue the request; False, with nothing changed, where the queue has no room for it."""
        if self.rows + work.rows > self.max_queue:
            return False
        self.rows += work.rows
        queue = self._queues.get(work.key)
        if queue is None:
            self._queues[work.key] = deque([work])
        else:
            queue.append(work)
        return True

    def take(self) -> list[Slice[W]]:
        """The next batch, in order; empty only where no rows wait."""
        while self._queues:
            key = next(iter(self._queues))
            queue = self._queues.pop(key)
            batch = self._fill(queue)
            if queue:
                # Behind the others: no key waits for more than one batch of each other key.
                self._queues[key] = queue
            if batch:
                return batch
        return []

    def _fill(self, queue: deque[W]) -> list[Slice[W]]:
        batch: list[Slice[W]] = []
        room = self.max_batch
        while queue and room:
            work = queue[0]
            left = work.rows - work.taken
            if work.done:
                queue.popleft()
                self.rows -= left
                continue
            if batch and room < left <= self.max_batch:
                break
            count = min(room, left)
            batch.append(Slice(work, work.taken, work.taken + count))
            work.taken += count
            self.rows -= count
            room -= count
            if work.taken == work.rows:
                queue.popleft()
        return batch
