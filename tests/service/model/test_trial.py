"""Behaviour of service.model.trial."""

from collections.abc import Callable

import numpy as np
import pytest

from service.errors import ComputeError
from service.model.runtime import Arrays
from service.model.trial import BUDGET, cost_of_whole, try_batches

ROWS = (np.arange(16, dtype=np.float32).reshape(8, 2),)


class Machine:
    """Something that computes rows and has a clock: each run takes what `cost` says of its rows."""

    def __init__(
        self, cost: Callable[[int], float], change: Callable[[Arrays], Arrays] = lambda arrays: arrays
    ) -> None:
        self.now = 100.0
        self.sizes: list[int] = []
        self._cost = cost
        self._change = change

    def run(self, arrays: Arrays) -> Arrays:
        """The rows themselves, or what `change` makes of them."""
        self.sizes.append(len(arrays[0]))
        self.now += self._cost(len(arrays[0]))
        return self._change(arrays)

    def clock(self) -> float:
        """The time."""
        return self.now


def test_every_size_is_measured_where_there_is_time() -> None:
    """Powers of two, some odd sizes and the limit, each several times."""
    machine = Machine(lambda _: 1e-5)
    trial = try_batches(machine.run, ROWS, 100, clock=machine.clock)
    assert sorted(set(machine.sizes)) == [1, 2, 3, 4, 7, 8, 16, 32, 64, 100]
    assert all(machine.sizes.count(size) >= 3 for size in (2, 100))
    assert (trial.largest, trial.difference, trial.failed) == (100, None, None)
    assert trial.curve.seconds(50) == pytest.approx(1e-5)


@pytest.mark.parametrize("seconds", [1e-6, 1e-4, 1e-3, 0.004, 0.02, 0.3])
def test_a_slow_model_is_tried_no_longer_than_it_must(seconds: float) -> None:
    """Past the budget there are only the runs that tell whether rows keep apart, in the batches there will be."""
    machine = Machine(lambda rows: seconds * rows)
    trial = try_batches(machine.run, ROWS, 256, clock=machine.clock)
    assert machine.now - 100 <= max(BUDGET + seconds * trial.largest, 6 * seconds) * 1.01
    assert 2 in machine.sizes
    assert trial.curve.seconds(256) == pytest.approx(256 * seconds)


@pytest.mark.parametrize("disturbed", [2, 4, 8, 16])
def test_a_disturbed_size_is_tried_again(disturbed: int) -> None:
    """Also where the budget is used up: else it would say how large batches may be, as long as the server runs."""

    def cost(rows: int) -> float:
        first = rows == disturbed and machine.sizes.count(rows) == 1
        return (0.004 + 0.0001 * rows) * (20 if first else 1)

    machine = Machine(cost)
    trial = try_batches(machine.run, ROWS, 256, clock=machine.clock)
    assert trial.curve.seconds(disturbed) == pytest.approx(0.004 + 0.0001 * disturbed)
    # 48 where nothing disturbs, and 1 if the disturbed figure were taken for true.
    assert trial.largest >= 32


def test_the_largest_batch_has_been_tried_itself() -> None:
    """Also where the budget was spent on smaller ones."""
    machine = Machine(lambda rows: 0.02 + 0.001 * rows)
    trial = try_batches(machine.run, ROWS, 256, clock=machine.clock)
    assert trial.largest > 2
    assert max(machine.sizes) == trial.largest


def test_a_limit_of_one_row_needs_no_batch() -> None:
    """Nothing is tried that will never be run."""
    machine = Machine(lambda _: 1e-5)
    assert try_batches(machine.run, ROWS, 1, clock=machine.clock).largest == 1
    assert set(machine.sizes) == {1}


def by_the_batch(arrays: Arrays) -> Arrays:
    """Rows that know how many they are."""
    return (arrays[0] + np.float32(0.25) * (len(arrays[0]) >= 4),)


def test_rows_that_a_batch_changes_are_found_out() -> None:
    """By how much is told, and where it is asked nothing more is tried."""
    machine = Machine(lambda _: 1e-5, by_the_batch)
    assert try_batches(machine.run, ROWS, 64, clock=machine.clock).difference == 0.25
    assert max(machine.sizes) == 64
    machine.sizes.clear()
    assert try_batches(machine.run, ROWS, 64, until_dependent=True, clock=machine.clock).difference == 0.25
    assert max(machine.sizes) == 4


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda arrays: (arrays[0] * np.float32("nan"),), None),
        (lambda arrays: (np.where(len(arrays[0]) > 1, np.float32("nan"), arrays[0]),), float("inf")),
        (lambda arrays: (np.where(len(arrays[0]) > 1, arrays[0], np.float32("nan")),), float("inf")),
        # The same number by other bits: not the same answer.
        (lambda arrays: (np.where(len(arrays[0]) > 1, np.float32(-0.0), np.float32(0)) * np.abs(arrays[0]),), 0.0),
        (lambda arrays: (np.where(len(arrays[0]) > 1, np.inf, arrays[0]),), float("inf")),
        (lambda arrays: (np.resize(arrays[0], (len(arrays[0]), len(arrays[0]))),), float("inf")),
        (lambda arrays: (arrays[0].astype(str).astype(object),), None),
        (lambda arrays: (np.full(len(arrays[0]), str(len(arrays[0])), object),), float("inf")),
        (lambda arrays: (np.full(len(arrays[0]), len(arrays[0]) > 1),), 1.0),
    ],
)
def test_answers_are_compared_to_the_last_bit(change: Callable[[Arrays], Arrays], difference: float | None) -> None:
    """Of every datatype; a NaN is a NaN, and what has another shape could not be more different."""
    machine = Machine(lambda _: 1e-5, change)
    assert try_batches(machine.run, ROWS, 8, clock=machine.clock).difference == difference


def failing_from(rows: int) -> Callable[[Arrays], Arrays]:
    """Something that takes fewer rows only."""

    def change(arrays: Arrays) -> Arrays:
        if len(arrays[0]) >= rows:
            raise ComputeError("too many")
        return arrays

    return change


@pytest.mark.parametrize(("rows", "largest", "failed"), [(2, 1, 2), (5, 4, 7), (100, 64, 128)])
def test_a_size_that_fails_ends_the_growth(rows: int, largest: int, failed: int) -> None:
    """What the graph takes is what it gets."""
    machine = Machine(lambda _: 1e-5, failing_from(rows))
    trial = try_batches(machine.run, ROWS, 256, clock=machine.clock)
    assert (trial.largest, trial.failed) == (largest, failed)


def test_a_row_that_the_graph_does_not_take_is_left_out() -> None:
    """What was made up of the golden rows need not be valid; the others tell enough."""

    def change(arrays: Arrays) -> Arrays:
        if (arrays[0] == 4).any():
            raise ComputeError("no such row")
        return arrays

    trial = try_batches(change, ROWS, 64)
    assert (trial.difference, trial.failed) == (None, None)


def test_a_graph_that_fails_on_every_row_cannot_be_tried() -> None:
    """The error is the caller's to tell."""
    with pytest.raises(ComputeError):
        try_batches(failing_from(1), ROWS, 8)


def test_a_request_that_is_a_run_is_measured_as_it_is() -> None:
    """A few times where it is fast, once where it is slow."""
    for seconds, runs in ((1e-4, 3), (1.0, 1)):
        machine = Machine(lambda _, seconds=seconds: seconds)  # type: ignore[misc]  # a default binds it now
        curve = cost_of_whole(machine.run, ROWS, machine.clock)
        assert curve.seconds(1) == pytest.approx(seconds)
        assert len(machine.sizes) == runs


@pytest.mark.parametrize(("rows", "differing"), [([[1, 2]] * 4, False), ([[1, 2], [1, 2], [1, 3]], True)])
def test_rows_that_are_all_alike_are_told(rows: list[list[float]], *, differing: bool) -> None:
    """They would not show what they do to each other; also where a size fails."""
    for change in (lambda arrays: arrays, failing_from(3)):
        machine = Machine(lambda _: 1e-5, change)
        assert try_batches(machine.run, (np.array(rows, np.float32),), 8, clock=machine.clock).differing == differing
