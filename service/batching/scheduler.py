"""The batch policy: which waiting rows leave together.

It knows neither clocks nor threads: its owner calls `add` when a request comes, `remove` when nobody waits for it
any more, and `take` when the model is free, and says what time it is. It is work-conserving: whenever rows wait
that may still be computed, `take` gives a batch.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
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

Cost = Callable[[int, Hashable], float]
"""The predicted seconds of a batch of so many rows of a key, never less than for fewer."""

Slice = tuple[W, int, int]
"""The rows of one request that leave in one batch: from which row, to before which."""


class Batch(NamedTuple, Generic[W]):
    """Rows of one key that leave together, in order."""

    slices: list[Slice[W]]
    rows: int

    @property
    def key(self) -> Hashable:
        """The key of all of them."""
        return self.slices[0][0].key


class _Line(Generic[W]):
    """The requests of one key that wait."""

    __slots__ = ("divided", "divided_first", "rows", "whole")

    def __init__(self) -> None:
        # A dict, because it keeps the order and lets one in the middle go at once.
        self.whole: dict[W, None] = {}
        """Those that fit into one batch, in the order they came."""
        self.rows = 0
        """The rows of those."""
        self.divided: OrderedDict[W, None] = OrderedDict()
        """Those that do not, in the order of their turns."""
        self.divided_first = False
        """Whether the next batch begins with one of these, where one waits."""


class Scheduler(Generic[W]):
    """A queue of requests that leaves in batches of at most `max_batch` rows.

    Only requests with equal keys share a batch, and keys take turns. Of one key, the requests that fit into one
    batch leave whole and in the order they came. A larger one is divided. Where both wait, every second batch of the
    key begins with the whole ones and every second with a divided one, and what room these leave is for the others:
    no batch has room left while rows of a divided request of its key wait. Divided requests take turns: the one that
    a batch begins with goes behind the others.

    So nobody waits for ever. Where r rows of whole requests wait, the last of these requests leaves
    with batch number 2 * (2 * (r - 1) // (max_batch + 1) + 1) of their key at the latest; without divided ones that
    would be half as many. A divided request of b batches has left with batch number 2 * b * n of its key at the
    latest, where no more than n divided ones, itself included, wait at a time.

    At most `max_queue` rows of whole requests wait, and as many of divided ones: neither kind takes the other's room.
    Together they hold at most `max_queue_bytes` bytes.
    """

    def __init__(self, max_batch: int, max_queue: int, max_queue_bytes: int) -> None:
        self.max_batch = max_batch
        self.max_queue = max_queue
        self.max_queue_bytes = max_queue_bytes
        self.rows = 0
        """Rows that wait."""
        self.divided_rows = 0
        """Those of them that are of divided requests."""
        self.bytes = 0
        """Bytes of the requests of which rows wait."""
        self.late: list[W] = []
        """Requests that `take` has removed, since they would be late; its owner tells them, and empties it."""
        # No line is ever empty.
        self._lines: dict[Hashable, _Line[W]] = {}

    def add(self, work: W) -> bool:
        """Queue the request; False, with nothing changed, where the queue has no room for it."""
        rows, size = work.rows, self.bytes + work.size
        if self.beside(work) + rows > self.max_queue or size > self.max_queue_bytes:
            return False
        self.rows += rows
        self.bytes = size
        line = self._lines.get(work.key)
        if line is None:
            line = self._lines[work.key] = _Line()
        if rows > self.max_batch:
            line.divided[work] = None
            self.divided_rows += rows
        else:
            line.whole[work] = None
            line.rows += rows
        return True

    def remove(self, work: W) -> None:
        """Free the place of a request, whose rows will not leave; nothing where none of them wait."""
        line = self._lines.get(work.key)
        if line is None:
            return
        if work in line.whole:
            del line.whole[work]
            line.rows -= work.rows
        elif work in line.divided:
            del line.divided[work]
            self.divided_rows -= work.rows - work.taken
        else:
            return
        self.rows -= work.rows - work.taken
        self.bytes -= work.size
        if not line.whole and not line.divided:
            del self._lines[work.key]

    def take(self, now: float, cost: Cost) -> Batch[W] | None:
        """The next batch; None only where no rows wait whose deadline is later than its end.

        Requests that it comes across which would be late are removed, and noted: where more comes than can be
        computed, those that wait longest always have hardly any time left, and most would be computed in vain.
        """
        while self._lines:
            key = next(iter(self._lines))
            line = self._lines.pop(key)
            batch = self._fill(line, key, now, cost)
            if line.whole or line.divided:
                # Behind the others: no key waits for more than one batch of each other key.
                self._lines[key] = line
            if batch.slices:
                return batch
        return None

    def beside(self, work: W) -> int:
        """The rows that wait and count, as this request's would, towards the same `max_queue`."""
        return self.divided_rows if work.rows > self.max_batch else self.rows - self.divided_rows

    def ahead(self, work: W) -> int:
        """The rows of its key that are certain to leave before this request or with it, if it comes now."""
        line = self._lines.get(work.key)
        return 0 if line is None or work.rows > self.max_batch else line.rows

    def _fill(self, line: _Line[W], key: Hashable, now: float, cost: Cost) -> Batch[W]:
        """Take the first rows of a line, and all before them whose deadline is not later than the batch's end."""
        predicted = self.max_batch if line.divided else min(line.rows, self.max_batch)
        end = now + cost(predicted, key)
        late_before = len(self.late)
        slices: list[Slice[W]] = []
        if not line.divided:
            room = self._take_whole(line, slices, self.max_batch, end)
        elif line.divided_first:
            room = self._take_divided(line, slices, self.max_batch, end)
            room = self._take_whole(line, slices, room, end)
        else:
            room = self._take_whole(line, slices, self.max_batch, end)
            room = self._take_divided(line, slices, room, end)
        if len(self.late) > late_before and room > self.max_batch - predicted:
            room = self._take_back(late_before, slices, room, lambda rows: now + cost(rows, key))
        if slices:
            first = slices[0][0]
            line.divided_first = first.rows <= self.max_batch
            if first in line.divided:
                line.divided.move_to_end(first)
        return Batch(slices, self.max_batch - room)

    def _take_whole(self, line: _Line[W], slices: list[Slice[W]], room: int, end: float) -> int:
        """Fill so many rows of a batch with whole requests, in order, up to one that does not fit; what room is left.

        It forgets those that are too late before that.
        """
        ended: list[W] = []
        before, late, size = room, 0, 0
        for work in line.whole:
            rows = work.rows
            if work.deadline is not None and work.deadline <= end:
                late += rows
                self.late.append(work)
            elif rows <= room:
                slices.append((work, 0, rows))
                work.taken = rows
                room -= rows
            else:
                break
            ended.append(work)
            size += work.size
        if len(ended) == len(line.whole):
            line.whole = {}
        else:
            for work in ended:
                del line.whole[work]
        gone = before - room + late
        line.rows -= gone
        self.rows -= gone
        self.bytes -= size
        return room

    def _take_back(self, late_before: int, slices: list[Slice[W]], room: int, end: Callable[[int], float]) -> int:
        """Fill so many rows with requests that are in time after all, now that others are too late; what room is left.

        Else one that is large and late would make those late that were to leave with it. Those come first that have
        the most time, so that none of them is made late by the next.
        """
        late = self.late[late_before:]
        in_time: set[W] = set()
        for work in sorted(late, key=_deadline, reverse=True):
            taken = self.max_batch - room
            if _deadline(work) <= end(taken + 1):
                break
            if work.rows <= room and _deadline(work) > end(taken + work.rows):
                slices.append((work, 0, work.rows))
                work.taken = work.rows
                room -= work.rows
                in_time.add(work)
        self.late[late_before:] = [work for work in late if work not in in_time]
        return room

    def _take_divided(self, line: _Line[W], slices: list[Slice[W]], room: int, end: float) -> int:
        """Fill so many rows of a batch with divided requests, in the order of their turns; what room is left.

        It forgets those that have ended, or are too late.
        """
        while room and line.divided:
            work = next(iter(line.divided))
            start = work.taken
            gone = work.rows - start
            if work.deadline is None or work.deadline > end:
                gone = min(gone, room)
                work.taken = start + gone
                slices.append((work, start, work.taken))
                room -= gone
                ended = work.taken == work.rows
            else:
                ended = True
                self.late.append(work)
            self.rows -= gone
            self.divided_rows -= gone
            if ended:
                del line.divided[work]
                self.bytes -= work.size
        return room


def _deadline(work: Work) -> float:
    return math.inf if work.deadline is None else work.deadline
