"""The batch policy: which waiting rows leave together.

It knows neither clocks nor threads: its owner calls `add` when a request comes, `remove` when nobody waits for it
any more, and `take` when the model is free, and says what time it is. It is work-conserving: whenever rows wait
that may still be computed, `take` gives a batch.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, Protocol, TypeVar


class Work(Protocol):
    """One request's rows on their way through the queue; no two are equal."""

    rows: int
    """How many they are: at least one."""
    taken: int
    """How many of them have left: none when it is added; counted by the scheduler."""
    size: int
    """Bytes that it holds until its last row leaves."""
    key: Hashable
    deadline: float | None
    """The time from which on its rows need not leave."""


W = TypeVar("W", bound=Work)

Slice = tuple[W, int, int]
"""The rows of one request that leave in one batch: from which row, to before which."""


class Batch(NamedTuple, Generic[W]):
    """Rows that leave together, in order."""

    slices: list[Slice[W]]
    rows: int


class _Line(Generic[W]):
    """The requests of one key that wait, in the order they came, and the rows of theirs that do."""

    __slots__ = ("rows", "works")

    def __init__(self) -> None:
        # A dict, because it keeps the order and lets one in the middle go at once.
        self.works: dict[W, None] = {}
        self.rows = 0


class Scheduler(Generic[W]):
    """A queue of requests, bounded in rows and in bytes, that leaves in batches of at most `max_batch` rows.

    Only requests with equal keys share a batch. Keys take turns; requests of one key leave in the order they
    came. A request that fits into one batch is never divided; a larger one leaves in full batches.
    """

    def __init__(self, max_batch: int, max_queue: int, max_queue_bytes: int) -> None:
        self.max_batch = max_batch
        self.max_queue = max_queue
        self.max_queue_bytes = max_queue_bytes
        self.rows = 0
        """Rows that wait."""
        self.bytes = 0
        """Bytes of the requests of which rows wait."""
        # No line is ever empty.
        self._lines: dict[Hashable, _Line[W]] = {}

    def add(self, work: W) -> bool:
        """Queue the request; False, with nothing changed, where the queue has no room for it."""
        rows, size = self.rows + work.rows, self.bytes + work.size
        if rows > self.max_queue or size > self.max_queue_bytes:
            return False
        self.rows, self.bytes = rows, size
        line = self._lines.get(work.key)
        if line is None:
            line = self._lines[work.key] = _Line()
        line.works[work] = None
        line.rows += work.rows
        return True

    def remove(self, work: W) -> None:
        """Free the place of a request, whose rows will not leave; nothing where none of them wait."""
        line = self._lines.get(work.key)
        if line is None or work not in line.works:
            return
        del line.works[work]
        left = work.rows - work.taken
        line.rows -= left
        self.rows -= left
        self.bytes -= work.size
        if not line.works:
            del self._lines[work.key]

    def take(self, now: float) -> Batch[W] | None:
        """The next batch; None only where no rows wait whose deadline is still to come.

        Requests that it comes across whose deadline has passed are removed.
        """
        while self._lines:
            key = next(iter(self._lines))
            line = self._lines.pop(key)
            batch = self._fill(line, now)
            if line.works:
                # Behind the others: no key waits for more than one batch of each other key.
                self._lines[key] = line
            if batch.slices:
                return batch
        return None

    def ahead(self, key: Hashable) -> int:
        """The rows of this key that leave before any which come now."""
        line = self._lines.get(key)
        return 0 if line is None else line.rows

    def _fill(self, line: _Line[W], now: float) -> Batch[W]:
        """Take the first rows of a line, and all that is too late before them."""
        slices: list[Slice[W]] = []
        ended: list[W] = []
        room, late, size = self.max_batch, 0, 0
        for work in line.works:
            start, stop = work.taken, work.rows
            left = stop - start
            if work.deadline is not None and work.deadline <= now:
                late += left
            elif left <= room:
                slices.append((work, start, stop))
                work.taken = stop
                room -= left
            else:
                if left > self.max_batch:
                    work.taken = start + room
                    slices.append((work, start, work.taken))
                    room = 0
                break
            ended.append(work)
            size += work.size
            if not room:
                break
        self._forget(line, ended)
        rows = self.max_batch - room
        line.rows -= rows + late
        self.rows -= rows + late
        self.bytes -= size
        return Batch(slices, rows)

    @staticmethod
    def _forget(line: _Line[W], ended: list[W]) -> None:
        if len(ended) == len(line.works):
            line.works = {}
            return
        for work in ended:
            del line.works[work]
