"""What a model's first runs show: how long batches of each size take, and whether a row's answer depends on them."""

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import NamedTuple

import numpy as np

from service.codec.tensors import Array
from service.errors import ComputeError
from service.model.cost import CostCurve
from service.model.runtime import Arrays
from service.model.sample import ROWS, differ

BUDGET = 0.05
"""Seconds that the runs of one model may take. What must be known is tried also where it takes longer."""

_REPEATS = 3
_NOTICED = 1.1
"""How many times as much a row must cost in a larger batch to be looked at again."""
# Beside the powers of two, sizes that vector instructions cannot divide evenly.
_ODD_SIZES = (3, 7)


class Trial(NamedTuple):
    """What was seen."""

    curve: CostCurve
    largest: int
    """The largest batch worth having, of those that the graph takes."""
    difference: float | None
    """By how much a row's answer was another in a batch than alone; None where it never was."""
    failed: int | None = None
    """The rows of a batch on which the graph failed, if it did."""
    differing: bool = True
    """Whether two of the rows differed: rows that are all alike do not show what they do to each other."""


class _Stopwatch:
    """Runs batches and keeps what they took."""

    def __init__(self, run: Callable[[Arrays], Arrays], clock: Callable[[], float]) -> None:
        self._run = run
        self._clock = clock
        self._began = clock()
        self.points: list[tuple[int, float]] = []

    @property
    def left(self) -> float:
        """What is left of the budget."""
        return self._began + BUDGET - self._clock()

    @property
    def seems_disturbed(self) -> bool:
        """Whether each row of the last size cost more than in a smaller batch, which something else may have done."""
        rows, _ = self.points[-1]
        smaller = [seconds / fewer for fewer, seconds in self.points if fewer < rows]
        least = min(seconds for size, seconds in self.points if size == rows)
        return bool(smaller) and least / rows > _NOTICED * min(smaller)

    def run(self, arrays: Arrays, rows: int) -> Arrays:
        """The outputs, timed as a batch of so many rows."""
        began = self._clock()
        outputs = self._run(arrays)
        self.points.append((rows, self._clock() - began))
        return outputs


def cost_of_whole(
    run: Callable[[Arrays], Arrays], sample: Arrays, clock: Callable[[], float] = perf_counter
) -> CostCurve:
    """What a request costs that is a run of its own, one having been tried."""
    watch = _Stopwatch(run, clock)
    for _ in _repeats(watch):
        watch.run(sample, 1)
    return CostCurve(watch.points)


def try_batches(
    run: Callable[[Arrays], Arrays],
    sample: Arrays,
    limit: int,
    *,
    until_dependent: bool = False,
    clock: Callable[[], float] = perf_counter,
) -> Trial:
    """Try batches of the sample's rows, up to `limit` of them, as far as the budget goes.

    Rows are compared to the last bit. The largest batch worth having has always been tried itself, and one of two
    rows in any case. A size on which the graph fails ends the growth, and with `until_dependent` so does another
    answer than alone. Raises `ComputeError` where the graph fails on every row.
    """
    watch = _Stopwatch(run, clock)
    rows, alone = _alone(watch, sample)
    tried, difference = 1, None
    for size in _worth_trying(watch, limit):
        try:
            difference = _larger(difference, _try(watch, rows, alone, size))
        except ComputeError:
            return Trial(CostCurve(watch.points), tried, difference, failed=size, differing=differ(rows))
        tried = size
        if until_dependent and difference is not None:
            break
    curve = CostCurve(watch.points)
    return Trial(curve, min(curve.largest(limit), tried), difference, differing=differ(rows))


def _worth_trying(watch: _Stopwatch, limit: int) -> Iterator[int]:
    """Sizes in ascending order, as far as the budget goes; then the one that the curve makes of them, if larger."""
    tried = 1
    for size in _sizes(limit):
        seconds = min(seconds for rows, seconds in watch.points if rows == tried)
        if size > 2 and seconds / tried * size > watch.left:  # noqa: PLR2004  # two rows are tried in any case
            break
        yield size
        tried = size
    largest = CostCurve(watch.points).largest(limit)
    if largest > tried:
        yield largest


def _alone(watch: _Stopwatch, sample: Arrays) -> tuple[Arrays, list[Arrays]]:
    """Rows of the sample and the answer to each, computed by itself: two where there are as many, more if time allows.

    A row on which the graph fails is left out; where it fails on all, it raises the `ComputeError`.
    """
    rows: list[int] = []
    answers: list[Arrays] = []
    error = ComputeError("there is no row to try")
    for row in range(min(ROWS, len(sample[0]))):
        if len(rows) > 1 and watch.left < BUDGET / 2:
            break
        try:
            answers.append(watch.run(tuple(array[row : row + 1] for array in sample), 1))
        except ComputeError as failure:
            error = failure
        else:
            rows.append(row)
    if not rows:
        raise error
    return tuple(array[rows] for array in sample), answers


def _sizes(limit: int) -> Iterator[int]:
    powers = [1 << power for power in range(1, limit.bit_length())]
    yield from sorted({*powers, *(size for size in _ODD_SIZES if size <= limit), *([limit] if limit > 1 else [])})


def _repeats(watch: _Stopwatch) -> Iterator[int]:
    """Up to `_REPEATS` times; past the first only where the budget has room for it, or where that is in doubt.

    One disturbed figure would otherwise decide for as long as the server runs how large batches may be.
    """
    for time in range(_REPEATS):
        if time and watch.points[-1][1] > watch.left and not watch.seems_disturbed:
            return
        yield time


def _try(watch: _Stopwatch, rows: Arrays, alone: list[Arrays], size: int) -> float | None:
    """Run a batch of the rows that were answered alone, over and over; how much an answer is another, if it is."""
    batch = tuple(np.resize(array, (size, *array.shape[1:])) for array in rows)
    outputs: Arrays = ()
    for _ in _repeats(watch):
        outputs = watch.run(batch, size)
    difference: float | None = None
    for output, *answers in zip(outputs, *alone, strict=True):
        if len({answer.shape for answer in answers}) > 1:
            return float("inf")
        expected = np.resize(np.concatenate(answers), (size, *answers[0].shape[1:]))
        difference = _larger(difference, _difference(output, expected))
    return difference


def _difference(one: Array, other: Array) -> float | None:
    """How far two arrays are apart; None where they are the same to the last bit."""
    if one.shape != other.shape:
        return float("inf")
    if one.dtype.kind == "O":
        return None if np.array_equal(one, other) else float("inf")
    if one.tobytes() == other.tobytes():
        return None
    if one.dtype.kind == "f":
        # A NaN is a NaN, whichever of its bits are set.
        numbers = ~(np.isnan(one) & np.isnan(other))
        one, other = one[numbers], other[numbers]
        if one.tobytes() == other.tobytes():
            return None
    with np.errstate(invalid="ignore", over="ignore"):
        largest = float(np.max(np.abs(one.astype(np.float64) - other.astype(np.float64))))
    return largest if np.isfinite(largest) else float("inf")


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
