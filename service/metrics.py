"""Every number the service counts. The hot path bumps plain numbers, which are read when somebody asks."""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from time import time
from typing import Literal, NamedTuple, get_args

from service.numbers import Cells, Labels, Numbers, Owner, SharedNumbers

# Each bound is a series of each version, for Prometheus to keep. The request's duration is what promises are made of:
# three bounds a decade where a server alone answers, fewer in the seconds of a queue about to be refused.
SECONDS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25, 1.0, 10.0)
# A phase is asked which of the four is slow, and has its mean beside; from the 6 µs of a tiny network, by decades.
PHASE_SECONDS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
# The first bound tells whether requests share batches at all, the others about how many.
ROWS = (1, 4, 16, 64, 256, 1024)

RETIRED = 8
"""How many versions that are no longer served a page still shows, the last ones: so that nothing of what they counted
last is missed by a scraper, and that a page does not grow with every version there ever was."""

Dialect = Literal["v1", "v2"]
"""The protocol of a request: rows, or the Open Inference Protocol."""

Outcome = Literal["ok", "invalid", "refused", "expired", "failed", "cancelled"]
"""How a request ended: answered; refused for what it contains, for want of room or of a model that is ready; too late
for its own time limit; by a failure of the model or of the server; let go by its client."""

_FROM_ZERO: tuple[tuple[Dialect, Outcome], ...] = tuple(product(get_args(Dialect), ("ok", "failed")))

RESTARTS = "forwardpass_worker_restarts_total"
UNROUTED = "forwardpass_unrouted_requests_total"
LOADS = "forwardpass_model_loads_total"
REQUESTS = "forwardpass_requests_total"
INVALID = "forwardpass_invalid_requests_total"
OUTSIDE = "forwardpass_out_of_range_values_total"
IN_FLIGHT = "forwardpass_requests_in_flight"
QUEUE_ROWS = "forwardpass_queue_rows"
DURATION = "forwardpass_request_duration_seconds"
PHASES = "forwardpass_phase_duration_seconds"
BATCH_ROWS = "forwardpass_batch_rows"
# Those that Prometheus is not shown as they are.
PROCESS = "process"
_FAILED_SECONDS, _BATCHES, _LAST_BATCH = "failed_seconds", "batches", "last_batch"
# Those that are not only counted up.
_GAUGES, _LATEST = frozenset({IN_FLIGHT, QUEUE_ROWS, PROCESS}), frozenset({_LAST_BATCH})


class Histogram:
    """Counts of observations by bucket, and their sum."""

    __slots__ = ("bounds", "cells")

    def __init__(self, bounds: Sequence[float], cells: Cells) -> None:
        self.bounds = bounds
        self.cells = cells
        """The counts of the buckets, the last one of all above the bounds; behind them the sum."""

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.cells[bisect_left(self.bounds, value)] += 1
        self.cells[-1] += value

    @property
    def counts(self) -> list[int]:
        """How many were observed in each bucket alone."""
        return [int(count) for count in self.cells[:-1]]

    @property
    def total(self) -> float:
        """The sum of all that was observed."""
        return self.cells[-1]

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self.counts)


class Counts:
    """Counts by the values of some labels."""

    def __init__(self, numbers: Numbers, owner: Owner) -> None:
        self._numbers = numbers
        self._owner = owner
        self._cells = numbers.of(owner)

    def add(self, *labels: str, by: int = 1) -> None:
        """Count one, or several; on any thread, if on no other."""
        cells = self._cells.get(labels)
        if cells is None:
            cells = self._numbers.cells(self._owner, labels)
        cells[0] += by

    @property
    def by_labels(self) -> dict[Labels, int]:
        """What was counted so far."""
        return {labels: int(cells[0]) for labels, cells in list(self._cells.items()) if cells[0]}


class Version(NamedTuple):
    """What tells one model's numbers from another's."""

    model: str
    version: str


class ModelStats:
    """The numbers of one version of one model, which live in `numbers`; written on the event loop only."""

    def __init__(self, numbers: Numbers, version: Version) -> None:
        def cells(family: str, *labels: str, size: int = 1) -> Cells:
            return numbers.cells(Owner(family, version), labels, size)

        def histogram(family: str, bounds: Sequence[float], *labels: str) -> Histogram:
            return Histogram(bounds, cells(family, *labels, size=len(bounds) + 2))

        self._numbers = numbers
        self._version = version
        self.requests = Counts(numbers, Owner(REQUESTS, version))
        """Ended requests by protocol and outcome."""
        for dialect, outcome in _FROM_ZERO:
            self.requests.add(dialect, outcome, by=0)
        self._answered = {dialect: cells(REQUESTS, dialect, "ok") for dialect in get_args(Dialect)}
        self.invalid = Counts(numbers, Owner(INVALID, version))
        """Requests refused for their content, by error code."""
        self.outside = Counts(numbers, Owner(OUTSIDE, version))
        """Values outside the range that training saw, by feature; written where batches are computed."""
        self._in_flight = cells(IN_FLIGHT)
        self._queue_rows = cells(QUEUE_ROWS)
        self.duration = histogram(DURATION, SECONDS)
        self.decode = histogram(PHASES, PHASE_SECONDS, "decode")
        self.queue = histogram(PHASES, PHASE_SECONDS, "queue")
        self.compute = histogram(PHASES, PHASE_SECONDS, "compute")
        self.encode = histogram(PHASES, PHASE_SECONDS, "encode")
        self.batch_rows = histogram(BATCH_ROWS, ROWS)
        self._failed_seconds = cells(_FAILED_SECONDS)
        self._batches: dict[int, Cells] = {}
        self._last_batch = cells(_LAST_BATCH)

    def begin(self) -> None:
        """Count a request that is now in flight."""
        self._in_flight[0] += 1

    def end(self, protocol: Dialect, outcome: Outcome) -> None:
        """Count the end of a request in flight."""
        self._in_flight[0] -= 1
        self.requests.add(protocol, outcome)

    def answer(self, protocol: Dialect, decode: float, encode: float, duration: float) -> None:
        """Count a request in flight that is answered, with the seconds that it took."""
        # `observe`, three times, and `end`, without their calls.
        cells = self.decode.cells
        cells[bisect_left(PHASE_SECONDS, decode)] += 1
        cells[-1] += decode
        cells = self.encode.cells
        cells[bisect_left(PHASE_SECONDS, encode)] += 1
        cells[-1] += encode
        cells = self.duration.cells
        cells[bisect_left(SECONDS, duration)] += 1
        cells[-1] += duration
        self._in_flight[0] -= 1
        self._answered[protocol][0] += 1

    def fail(self, protocol: Dialect, outcome: Outcome, seconds: float) -> None:
        """Count a request in flight that gets an error, so many seconds after it was there."""
        self._failed_seconds[0] += seconds
        self.end(protocol, outcome)

    def count_batch(self, rows: int, seconds: float) -> None:
        """Count one batch that was computed."""
        self.batch_rows.observe(rows)
        self.compute.observe(seconds)
        cells = self._batches.get(rows)
        if cells is None:
            owner = Owner(_BATCHES, self._version)
            cells = self._batches[rows] = self._numbers.cells(owner, (str(rows),), 2)
        cells[0] += 1
        cells[1] += seconds
        self._last_batch[0] = time()

    def count_outside(self, found: Iterable[tuple[str, int]]) -> None:
        """Count values outside the range that training saw, by feature."""
        for feature, count in found:
            self.outside.add(feature, by=count)

    def wait(self, more: int) -> None:
        """Count rows that begin to wait, or, where it is negative, that wait no longer."""
        self._queue_rows[0] += more

    @property
    def in_flight(self) -> int:
        """Requests that are neither answered nor refused."""
        return int(self._in_flight[0])

    @property
    def queue_rows(self) -> int:
        """Rows that wait."""
        return int(self._queue_rows[0])

    @property
    def failed_seconds(self) -> float:
        """What the requests took that were not answered, from their first byte decoded to their error."""
        return self._failed_seconds[0]

    @property
    def batches(self) -> dict[int, tuple[int, float]]:
        """For each number of rows, how many batches had it and the seconds they took together."""
        batches = self._numbers.of(Owner(_BATCHES, self._version))
        return {int(rows): (int(count), seconds) for (rows,), (count, seconds) in batches.items()}

    @property
    def last_batch(self) -> float:
        """When a batch was last computed, in seconds since 1970; 0 where none was."""
        return self._last_batch[0]

    def ended(self, *outcomes: Outcome) -> int:
        """How many requests ended in one of these ways."""
        return sum(count for (_, outcome), count in self.requests.by_labels.items() if outcome in outcomes)


class Metrics:
    """All numbers of a server of so many processes, each of which counts by itself."""

    def __init__(self, workers: int = 1) -> None:
        self.numbers = Numbers() if workers == 1 else SharedNumbers(workers, gauges=_GAUGES, latest=_LATEST)
        """All of them, by family and labels."""
        self.models: dict[Version, ModelStats] = {}
        """The versions that are served, and the last ones that were."""
        self._retired: dict[Version, None] = {}
        """Those of them that are no longer served, the last one last."""
        self.ready: Callable[[], bool] = lambda: False
        """Whether every selected model answers."""
        self.selected: Callable[[], Iterable[tuple[Version, str | None]]] = tuple
        """The versions that are selected, each with the kind of its model; None where it does not answer."""
        self.restarts = Counts(self.numbers, Owner(RESTARTS))
        """Workers that ended though nobody had asked them to, and were replaced."""
        self.restarts.add(by=0)
        self.unrouted = Counts(self.numbers, Owner(UNROUTED))
        """Requests that reached no model, by error code."""
        self.loads = Counts(self.numbers, Owner(LOADS))
        """Attempts to load a version, by its model, its number and how they ended: `ok` or `failed`."""

    def show_process(self, worker: int) -> None:
        """Show the figures of this process, as those of one of several workers."""
        self.numbers.cells(Owner(PROCESS), (str(worker),))[0] = os.getpid()

    def model(self, name: str, version: int) -> ModelStats:
        """The numbers of a version that is served, which begin at zero the first time and go on after a reload."""
        key = Version(name, str(version))
        self._retired.pop(key, None)
        stats = self.models.get(key)
        if stats is None:
            stats = self.models[key] = ModelStats(self.numbers, key)
        return stats

    def retire(self, name: str, version: str) -> None:
        """Show a version that is no longer served as long as it is one of the last."""
        self._retired[Version(name, version)] = None
        if len(self._retired) > RETIRED:
            oldest = next(iter(self._retired))
            del self._retired[oldest], self.models[oldest]

    def total(self) -> Callable[[str, int], ModelStats]:
        """What the whole server has counted by now, to be read by name and version of those that are shown."""
        total = self.numbers.total(lambda owner: owner.labels in self.models)
        return lambda name, version: ModelStats(total, Version(name, str(version)))
