"""Where the numbers that are counted live: in a process's own memory, or in that of all workers of a server.

Workers are forked, so what is shared is anonymous memory that they inherit; each writes to a region of its own, without
asking anybody, and reads those of all. A region outlives its worker: whoever takes its place counts on.
"""

import json
import mmap
from collections.abc import Callable
from operator import add
from threading import Lock
from typing import NamedTuple, TypeAlias

Labels = tuple[str, ...]
Cells: TypeAlias = "list[float] | memoryview[float]"
"""Numbers that belong together, such as the buckets of a histogram. All are exact up to 2^53."""


class Owner(NamedTuple):
    """What cells are of: the name of a family, and the labels that all of them have."""

    family: str
    labels: Labels = ()


Held = dict[Owner, dict[Labels, Cells]]

_NAMES, _CELLS = 1 << 23, 1 << 22
"""Bytes of a region for names and for numbers. Only what is written to is ever taken from the machine."""
_HEAD = 8
"""Bytes before the names that say how many of those behind them are valid."""


class Numbers:
    """Cells by what they are of and by the labels that tell them from the owner's others."""

    def __init__(self) -> None:
        self._held: Held = {}

    def of(self, owner: Owner) -> dict[Labels, Cells]:
        """The cells of an owner so far. More may come while it is read, from another thread too."""
        return self._held.setdefault(owner, {})

    def cells(self, owner: Owner, labels: Labels = (), size: int = 1) -> Cells:
        """So many cells, always the same for the same labels, which were zero at first; on any thread."""
        group = self.of(owner)
        cells = group.get(labels)
        return group.setdefault(labels, self._new(owner, labels, size)) if cells is None else cells

    def owners(self) -> list[Owner]:
        """Whatever has cells."""
        return list(self._held)

    def total(self, _wanted: Callable[[Owner], bool]) -> "Numbers":
        """What there is to be read, of the owners that are wanted at least, by all workers where there are several."""
        return self

    def take(self, worker: int) -> None:
        """Be this worker, where there are several."""

    def _new(self, _owner: Owner, _labels: Labels, size: int) -> Cells:
        return [0] * size


class SharedNumbers(Numbers):
    """The numbers of a process that supervises several workers, then of the one it becomes; `total` adds up all.

    Families in `gauges` tell of the moment, so that nothing of them outlives a worker; of those in `latest` the
    greatest counts. What finds no room any more is counted by its worker alone, and does not show.
    """

    def __init__(self, workers: int, *, gauges: frozenset[str], latest: frozenset[str]) -> None:
        super().__init__()
        self._regions = [_Region() for _ in range(workers + 1)]
        self._own = self._regions[workers]
        self._gauges = gauges
        self._latest = latest

    def take(self, worker: int) -> None:
        """Be this worker from now on, and go on where the one before it ended; before anything is counted."""
        self._own = self._regions[worker]
        for owner, labels, cells in self._own.read(lambda _: True):
            self.of(owner)[labels] = cells
            if owner.family in self._gauges:
                cells[:] = memoryview(bytes(cells.nbytes)).cast("d")

    def total(self, wanted: Callable[[Owner], bool]) -> Numbers:
        """Copies of what all workers have counted, added up, of these owners: all others would only take time."""
        total = Numbers()
        for region in self._regions:
            for owner, labels, cells in region.read(wanted):
                sums = total.cells(owner, labels, len(cells))
                sums[:] = [*map(max if owner.family in self._latest else add, sums, cells)]  # type: ignore[call-overload]  # these are lists
        return total

    def _new(self, owner: Owner, labels: Labels, size: int) -> Cells:
        cells = self._own.add(owner, labels, size)
        return super()._new(owner, labels, size) if cells is None else cells


class _Region:
    """The cells of one worker, in shared memory: names, each with its number of cells, and the cells in their order."""

    def __init__(self) -> None:
        self._names = mmap.mmap(-1, _NAMES)
        self._valid = memoryview(self._names)[:_HEAD].cast("Q")
        """How many bytes of names there are. Written last, so that nobody ever reads half of one."""
        self._cells = memoryview(mmap.mmap(-1, _CELLS)).cast("d")
        self._seen = 0
        """How many bytes of them are read."""
        self._used = 0
        """How many cells these have."""
        self._found: dict[Owner, dict[Labels, memoryview[float]]] = {}
        self._lock = Lock()
        """Guards what is known of it against this process's other threads."""

    def read(self, wanted: Callable[[Owner], bool]) -> "list[tuple[Owner, Labels, memoryview[float]]]":
        """The cells of all names of these owners that there are by now."""
        with self._lock:
            self._look()
            owners = [(owner, group) for owner, group in self._found.items() if wanted(owner)]
            return [(owner, labels, cells) for owner, group in owners for labels, cells in group.items()]

    def add(self, owner: Owner, labels: Labels, size: int) -> "memoryview[float] | None":
        """The cells of a name, new ones if need be, which its own worker alone may add; None where it is full."""
        name = json.dumps([owner.family, owner.labels, labels, size]).encode() + b"\n"
        with self._lock:
            self._look()
            start = _HEAD + self._seen
            if labels not in self._found.get(owner, ()):
                if start + len(name) > _NAMES or self._used + size > len(self._cells):
                    return None
                self._names[start : start + len(name)] = name
                self._valid[0] = self._seen + len(name)
                self._look()
            return self._found[owner][labels]

    def _look(self) -> None:
        """Read the names that have come."""
        valid = self._valid[0]
        for line in self._names[_HEAD + self._seen : _HEAD + valid].splitlines():
            family, owned, labels, size = json.loads(line)
            group = self._found.setdefault(Owner(family, tuple(owned)), {})
            group[tuple(labels)] = self._cells[self._used : self._used + size]
            self._used += size
        self._seen = valid
